//! Macro strings and domain-specs (RFC 7208 section 7): parsed, built, expanded.

use std::fmt;

use super::error::Wrong;

/// `*( macro-expand / macro-literal )`; in explanation texts with spaces.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MacroString {
    parts: Vec<Part>,
}

/// A macro string that ends as a domain name must (RFC 7208 section 7.1, `domain-spec`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainSpec(MacroString);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Literal(String),
    /// `%%`, `%_` or `%-`: the character after the percent sign.
    Escape(Escape),
    Expand(Expand),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// `%%` is `%`.
    Percent,
    /// `%_` is a space.
    Space,
    /// `%-` is `%20`.
    UrlSpace,
}

/// `%{letter digits r delimiters}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expand {
    pub letter: Letter,
    /// An upper-case letter: the value is percent-encoded.
    pub url_encoded: bool,
    /// How many right-hand parts are kept.
    pub keep: Option<u32>,
    pub reverse: bool,
    /// Characters that the value is split at; `.` if there are none.
    pub delimiters: String,
}

/// What a macro stands for (RFC 7208 section 7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Letter {
    /// `s`: the sender.
    Sender,
    /// `l`: the local part of the sender.
    LocalPart,
    /// `o`: the domain of the sender.
    SenderDomain,
    /// `d`: the domain whose record is evaluated.
    Domain,
    /// `i`: the client's address, in parts.
    Ip,
    /// `p`: the validated name of the client.
    ClientName,
    /// `v`: `in-addr` or `ip6`.
    IpVersion,
    /// `h`: HELO or EHLO.
    Helo,
    /// `c`: the client's address as people read it; explanations only.
    PrettyIp,
    /// `r`: the host that checks; explanations only.
    Receiver,
    /// `t`: the time in seconds; explanations only.
    Timestamp,
}

const LETTERS: [(char, Letter); 11] = [
    ('s', Letter::Sender),
    ('l', Letter::LocalPart),
    ('o', Letter::SenderDomain),
    ('d', Letter::Domain),
    ('i', Letter::Ip),
    ('p', Letter::ClientName),
    ('v', Letter::IpVersion),
    ('h', Letter::Helo),
    ('c', Letter::PrettyIp),
    ('r', Letter::Receiver),
    ('t', Letter::Timestamp),
];

/// RFC 7208 section 7.1: `delimiter = "." / "-" / "+" / "," / "/" / "_" / "="`
const DELIMITERS: &str = ".-+,/_=";

/// Where a macro string stands, which decides what it may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A domain-spec: `c`, `r` and `t` are not allowed.
    Domain,
    /// The value of a modifier that nobody knows: the same, for those letters are for `exp` texts only.
    Modifier,
    /// An explanation text: any macro, and spaces.
    Explanation,
}

/// An error with its offset in the parsed text.
pub(crate) type At<T> = Result<T, (usize, Wrong)>;

impl MacroString {
    pub fn parse(text: &str, place: Place) -> At<MacroString> {
        let mut parts: Vec<Part> = Vec::new();
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            if c == '%' {
                let (part, length) = parse_macro(&text[at..], place).map_err(|(o, wrong)| (at + o, wrong))?;
                parts.push(part);
                at += length;
                continue;
            }
            // RFC 7208 section 7.1: macro-literal = %x21-24 / %x26-7E; explain-string adds SP.
            if !(c.is_ascii_graphic() || c == ' ' && place == Place::Explanation) {
                return Err((at, Wrong::Octet(text.as_bytes()[at])));
            }
            match parts.last_mut() {
                Some(Part::Literal(literal)) => literal.push(c),
                _ => parts.push(Part::Literal(c.to_string())),
            }
            at += 1;
        }
        Ok(MacroString { parts })
    }

    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The letters that the expansion needs.
    pub fn letters(&self) -> impl Iterator<Item = Letter> {
        self.parts.iter().filter_map(|part| match part {
            Part::Expand(expand) => Some(expand.letter),
            _ => None,
        })
    }

    /// Puts the values in. `value` is asked for each macro in turn, so that a costly one (`p`) is found only if used.
    pub fn expand(&self, mut value: impl FnMut(Letter) -> String) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => out.push_str(literal),
                Part::Escape(Escape::Percent) => out.push('%'),
                Part::Escape(Escape::Space) => out.push(' '),
                Part::Escape(Escape::UrlSpace) => out.push_str("%20"),
                Part::Expand(expand) => out.push_str(&expand.apply(&value(expand.letter))),
            }
        }
        out
    }
}

impl DomainSpec {
    pub fn parse(text: &str) -> At<DomainSpec> {
        if text.is_empty() {
            return Err((0, Wrong::EmptyDomain));
        }
        let string = MacroString::parse(text, Place::Domain)?;
        match string.parts.last() {
            Some(Part::Literal(literal)) if !ends_in_toplabel(literal) => {
                Err((text.len() - literal.len(), Wrong::DomainEnd(literal.clone())))
            }
            _ => Ok(DomainSpec(string)),
        }
    }

    /// The macro string itself.
    pub fn string(&self) -> &MacroString {
        &self.0
    }

    /// The name, if no macro stands in it.
    pub fn literal(&self) -> Option<&str> {
        match self.0.parts.as_slice() {
            [Part::Literal(literal)] => Some(literal.strip_suffix('.').unwrap_or(literal)),
            _ => None,
        }
    }

    /// The name that is asked for.
    // RFC 7208 section 7.3: an expanded name above 253 characters loses labels from the left until it fits.
    pub fn expand(&self, value: impl FnMut(Letter) -> String) -> String {
        let full = self.0.expand(value);
        let mut name = full.strip_suffix('.').unwrap_or(&full);
        while name.len() > 253 {
            match name.split_once('.') {
                Some((_, rest)) => name = rest,
                None => break,
            }
        }
        name.to_owned()
    }
}

/// RFC 7208 section 7.1: `domain-end = ( "." toplabel [ "." ] )`
fn ends_in_toplabel(literal: &str) -> bool {
    let bare = literal.strip_suffix('.').unwrap_or(literal);
    bare.rsplit_once('.').is_some_and(|(_, label)| is_toplabel(label))
}

/// RFC 7208 section 7.1: letters and digits with at least one letter, or with an inner hyphen.
fn is_toplabel(label: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && ends(label.chars().next())
        && ends(label.chars().next_back())
        && !label.chars().all(|c| c.is_ascii_digit())
}

/// Reads one macro at the start of `text`, and says how long it is.
fn parse_macro(text: &str, place: Place) -> At<(Part, usize)> {
    match text.as_bytes().get(1) {
        Some(b'%') => return Ok((Part::Escape(Escape::Percent), 2)),
        Some(b'_') => return Ok((Part::Escape(Escape::Space), 2)),
        Some(b'-') => return Ok((Part::Escape(Escape::UrlSpace), 2)),
        Some(b'{') => {}
        _ => return Err((0, Wrong::Percent)),
    }
    let end = text.find('}').ok_or((0, Wrong::Unclosed))?;
    let body = &text[2..end];
    let first = body.chars().next().ok_or((2, Wrong::MacroLetter(None)))?;
    let letter = LETTERS
        .iter()
        .find(|(known, _)| *known == first.to_ascii_lowercase())
        .map(|(_, letter)| *letter)
        .ok_or((2, Wrong::MacroLetter(Some(first))))?;
    // RFC 7208 section 7.2: c, r and t are allowed only in the texts that exp= leads to.
    if place != Place::Explanation && matches!(letter, Letter::PrettyIp | Letter::Receiver | Letter::Timestamp) {
        return Err((2, Wrong::ExplanationOnly(first)));
    }
    let mut rest = &body[1..];
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let keep = match &rest[..digits] {
        "" => None,
        // RFC 7208 section 7.3: the DIGIT transformer, if given, MUST be nonzero; no value has a part too many.
        number => match number.parse::<u32>().unwrap_or(u32::MAX) {
            0 => return Err((3, Wrong::MacroDigits)),
            keep => Some(keep),
        },
    };
    rest = &rest[digits..];
    let reverse = rest.starts_with(['r', 'R']);
    rest = &rest[usize::from(reverse)..];
    if let Some((offset, stray)) = rest.char_indices().find(|(_, c)| !DELIMITERS.contains(*c)) {
        return Err((3 + digits + usize::from(reverse) + offset, Wrong::MacroTail(stray)));
    }
    let url_encoded = first.is_ascii_uppercase();
    Ok((Part::Expand(Expand { letter, url_encoded, keep, reverse, delimiters: rest.to_owned() }), end + 1))
}

impl Expand {
    /// RFC 7208 section 7.3: split, reverse, keep the right-hand parts, join with dots, encode.
    fn apply(&self, value: &str) -> String {
        let is_plain = self.keep.is_none() && !self.reverse && self.delimiters.is_empty();
        let transformed = if is_plain {
            value.to_owned()
        } else {
            let delimiters = if self.delimiters.is_empty() { "." } else { &self.delimiters };
            let mut parts: Vec<&str> = value.split(|c| delimiters.contains(c)).collect();
            if self.reverse {
                parts.reverse();
            }
            let kept = self.keep.map_or(parts.len(), |keep| keep as usize).min(parts.len());
            parts[parts.len() - kept..].join(".")
        };
        if self.url_encoded { url_encode(&transformed) } else { transformed }
    }
}

/// RFC 7208 section 7.3: an upper-case letter escapes all but the unreserved characters of RFC 3986 section 2.3.
fn url_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl fmt::Display for MacroString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(literal) => f.write_str(literal),
            Part::Escape(Escape::Percent) => f.write_str("%%"),
            Part::Escape(Escape::Space) => f.write_str("%_"),
            Part::Escape(Escape::UrlSpace) => f.write_str("%-"),
            Part::Expand(expand) => write!(f, "{expand}"),
        })
    }
}

impl fmt::Display for Expand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = LETTERS.iter().find(|(_, letter)| *letter == self.letter).map_or('d', |(c, _)| *c);
        let letter = if self.url_encoded { letter.to_ascii_uppercase() } else { letter };
        write!(f, "%{{{letter}")?;
        if let Some(keep) = self.keep {
            write!(f, "{keep}")?;
        }
        write!(f, "{}{}}}", if self.reverse { "r" } else { "" }, self.delimiters)
    }
}

impl fmt::Display for DomainSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
