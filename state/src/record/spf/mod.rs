//! The SPF record (RFC 7208 sections 4.5, 4.6 and 12): parsed, built, and read back.
//!
//! [`term`] holds mechanisms and modifiers, [`macro_string`] domain-specs and their expansion, [`error`] every way a
//! record can be wrong, each with its position.

pub mod error;
pub mod macro_string;
pub mod term;

use std::fmt;
use std::ops::Range;

use super::txt::TxtText;
pub use error::{SpfError, Wrong};
pub use macro_string::{DomainSpec, Letter, MacroString};
pub use term::{Directive, DualCidr, Mechanism, Modifier, Qualifier, Term};

/// An SPF record: its terms in order, with at most one `redirect=` and one `exp=`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SpfRecord {
    pub terms: Vec<Term>,
}

/// One term as it stands in a text: where, what it says, and what it means or why it means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<'t> {
    /// Octets of the record's text.
    pub range: Range<usize>,
    pub text: &'t str,
    pub term: Result<Term, SpfError>,
}

const VERSION: &str = "v=spf1";

/// Whether a TXT text is an SPF record at all, well-formed or not.
// RFC 7208 section 4.5: records that do not begin with a version section of exactly "v=spf1" are discarded; the
// section ends with a space or the end of the record. Section 12: literal strings in ABNF are case-insensitive.
pub fn is_spf(text: &TxtText) -> bool {
    let bytes = text.as_bytes();
    bytes.get(..VERSION.len()).is_some_and(|start| start.eq_ignore_ascii_case(VERSION.as_bytes()))
        && bytes.get(VERSION.len()).is_none_or(|next| *next == b' ')
}

impl SpfRecord {
    /// Reads a record whole: one error anywhere spoils it.
    // RFC 7208 section 4.6: a syntax error anywhere in the record makes check_host() return permerror at once,
    // without further interpretation.
    pub fn parse(text: &TxtText) -> Result<SpfRecord, SpfError> {
        let mut terms = Vec::new();
        let mut modifiers: Vec<&'static str> = Vec::new();
        for placed in SpfRecord::placed(ascii(text)?)? {
            let term = placed.term?;
            if let Some(name) = term.single() {
                // RFC 7208 section 6: redirect= and exp= MUST NOT appear more than once each.
                if modifiers.contains(&name) {
                    let wrong = Wrong::ModifierTwice(name);
                    return Err(SpfError { at: placed.range.start, term: placed.text.to_owned(), wrong });
                }
                modifiers.push(name);
            }
            terms.push(term);
        }
        Ok(SpfRecord { terms })
    }

    /// Reads every term on its own, so that all of the mistakes can be told at once.
    pub fn placed(text: &str) -> Result<Vec<Placed<'_>>, SpfError> {
        if !is_spf(&text.into()) {
            return Err(SpfError { at: 0, term: first_word(text).to_owned(), wrong: Wrong::Version });
        }
        // RFC 7208 section 4.6.1: terms = *( 1*SP ( directive / modifier ) ), then *SP. A tab is no space.
        let mut placed = Vec::new();
        let mut at = VERSION.len();
        for word in text[VERSION.len()..].split(' ') {
            if !word.is_empty() {
                let term = Term::parse(word).map_err(|(offset, wrong)| SpfError {
                    at: at + offset,
                    term: word.to_owned(),
                    wrong,
                });
                placed.push(Placed { range: at..at + word.len(), text: word, term });
            }
            at += word.len() + 1;
        }
        Ok(placed)
    }

    pub fn directives(&self) -> impl Iterator<Item = &Directive> {
        self.terms.iter().filter_map(|term| match term {
            Term::Directive(directive) => Some(directive),
            Term::Modifier(_) => None,
        })
    }

    /// The target of `redirect=` (RFC 7208 section 6.1).
    pub fn redirect(&self) -> Option<&DomainSpec> {
        self.terms.iter().find_map(|term| match term {
            Term::Modifier(Modifier::Redirect(target)) => Some(target),
            _ => None,
        })
    }

    /// The target of `exp=` (RFC 7208 section 6.2).
    pub fn exp(&self) -> Option<&DomainSpec> {
        self.terms.iter().find_map(|term| match term {
            Term::Modifier(Modifier::Exp(target)) => Some(target),
            _ => None,
        })
    }

    /// The qualifier of the first `all`; what stands after it is never looked at (RFC 7208 section 5.1).
    pub fn all(&self) -> Option<Qualifier> {
        self.directives().find(|d| d.mechanism == Mechanism::All).map(Directive::qualifier)
    }

    pub fn text(&self) -> TxtText {
        self.to_string().into()
    }
}

/// The text of a record, if it is US-ASCII as the grammar asks.
pub fn ascii(text: &TxtText) -> Result<&str, SpfError> {
    let bytes = text.as_bytes();
    if let Some(at) = bytes.iter().position(|byte| !byte.is_ascii()) {
        let term = String::from_utf8_lossy(bytes).split(' ').find(|word| !word.is_ascii()).unwrap_or("").to_owned();
        return Err(SpfError { at, term, wrong: Wrong::Octet(bytes[at]) });
    }
    // All ASCII, so this cannot fail; a failure would still be an error about the first octet, not a panic.
    std::str::from_utf8(bytes).map_err(|_| SpfError { at: 0, term: String::new(), wrong: Wrong::Version })
}

fn first_word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

impl fmt::Display for SpfRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(VERSION)?;
        self.terms.iter().try_for_each(|term| write!(f, " {term}"))
    }
}

#[cfg(test)]
#[path = "spf_tests.rs"]
mod tests;
