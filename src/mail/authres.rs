//! `Authentication-Results` as they are really written (RFC 8601 section 2.2, and what differs from it in the wild).
//!
//! The grammar is strict; those who write the field are not. Accepted here, each because a large provider writes it: no
//! authserv-id (Microsoft), a comment glued to the result and `;` at the end (Yahoo), `;` inside of comments (GMX,
//! Riseup), bare words between results (Microsoft), `reason=` and unknown properties anywhere, quoted values, results
//! that no registry knows (`perm_fail`, `bestguesspass`, `timeout`), encoded words (Microsoft). What cannot be
//! understood is skipped, and the scan is linear: the text comes from the network.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};

use super::header::harmless;

/// One field, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthRes {
    /// Who says so, in lower case; `None` where Microsoft leaves it out.
    pub id: Option<String>,
    pub results: Vec<MethodResult>,
}

/// `dkim=pass (2048-bit key) header.d=example.com`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodResult {
    /// In lower case: `spf`, `dkim`, `dmarc`, `iprev`, `x-ptr`, `compauth`...
    pub method: String,
    pub verdict: Verdict,
    /// Comments in it, without their brackets.
    pub comments: Vec<String>,
    /// Properties, their names in lower case: `header.d`, `smtp.mailfrom`, `reason`, `action`...
    pub properties: Vec<(String, String)>,
}

/// What a method came to (RFC 8601 section 2.7), with the spellings of the wild.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Fail,
    SoftFail,
    Neutral,
    None,
    Policy,
    TempError,
    PermError,
    /// A word that means nothing to us: never a pass.
    Other(String),
}

/// So much of one field is looked at.
const MOST_OCTETS: usize = 64 << 10;
const MOST_RESULTS: usize = 200;
const MOST_PROPERTIES: usize = 64;

impl Verdict {
    fn of(word: &str) -> Verdict {
        match word.to_ascii_lowercase().as_str() {
            "pass" => Verdict::Pass,
            "fail" | "hardfail" => Verdict::Fail,
            "softfail" => Verdict::SoftFail,
            "neutral" => Verdict::Neutral,
            "none" => Verdict::None,
            "policy" | "discard" | "nxdomain" => Verdict::Policy,
            "temperror" | "temp_error" | "temp_fail" | "tempfail" | "timeout" => Verdict::TempError,
            "permerror" | "perm_error" | "perm_fail" | "permfail" => Verdict::PermError,
            // Microsoft guesses that a record which is not there would have passed (`bestguesspass`): no pass.
            other => Verdict::Other(other.to_owned()),
        }
    }

    pub fn is_pass(&self) -> bool {
        *self == Verdict::Pass
    }

    /// Something is wrong with the mail or its records, as against "could not look" and "nothing there to look at".
    pub fn is_failure(&self) -> bool {
        matches!(self, Verdict::Fail | Verdict::SoftFail | Verdict::PermError | Verdict::Policy | Verdict::Neutral)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::SoftFail => "softfail",
            Verdict::Neutral => "neutral",
            Verdict::None => "none",
            Verdict::Policy => "policy",
            Verdict::TempError => "temperror",
            Verdict::PermError => "permerror",
            Verdict::Other(word) => word,
        })
    }
}

impl Serialize for Verdict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl MethodResult {
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The first of these that is there.
    pub fn any(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.property(name))
    }

    /// `header.d`, or what stands behind the `@` of `header.i`; mail.ru and Zoho write the domain alone there.
    pub fn signing_domain(&self) -> Option<String> {
        let domain = self.any(&["header.d", "d"]).or_else(|| {
            let identity = self.any(&["header.i", "i"])?;
            Some(identity.rsplit_once('@').map_or(identity, |(_, domain)| domain))
        })?;
        name(domain)
    }

    pub fn selector(&self) -> Option<String> {
        self.any(&["header.s", "s", "x-selector"]).and_then(name)
    }
}

/// A name in lower case, without what providers put around it.
fn name(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| matches!(c, '<' | '>' | '"' | '.' | ',')).to_ascii_lowercase();
    (!text.is_empty() && text != "none").then_some(text)
}

/// The domain in a value that is an address, a domain, or either in angle brackets.
pub fn domain_in(value: &str) -> Option<String> {
    name(value.rsplit_once('@').map_or(value, |(_, domain)| domain))
}

/// Microsoft sometimes packs the whole value into encoded words, against RFC 2047 section 5.
fn unencoded(value: &str) -> Cow<'_, str> {
    let mut octets = Vec::new();
    for word in value.split_whitespace() {
        let inside = word.strip_prefix("=?").and_then(|word| word.strip_suffix("?="));
        let mut parts = inside.unwrap_or_default().splitn(3, '?');
        let (charset, encoding, text) = (parts.next(), parts.next(), parts.next());
        let is_known = charset.is_some_and(|name| ["utf-8", "us-ascii"].contains(&name.to_ascii_lowercase().as_str()));
        let decoded = match (is_known, encoding, text) {
            (true, Some("B" | "b"), Some(text)) => STANDARD.decode(text).ok(),
            _ => None,
        };
        match decoded {
            Some(decoded) => octets.extend(decoded),
            None => return Cow::Borrowed(value),
        }
    }
    let text = String::from_utf8_lossy(&octets).into_owned();
    Cow::Owned(harmless(&text, usize::MAX).into_owned())
}

/// Takes a field's value apart. Never fails; what is not understood is left out.
pub fn parse(value: &str) -> AuthRes {
    let value = &*unencoded(value);
    let mut end = value.len().min(MOST_OCTETS);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let mut found = AuthRes::default();
    let mut current: Option<MethodResult> = None;
    let mut begun = false;
    let mut after_semicolon = true;
    let mut scanner = Scanner { rest: &value[..end] };
    while let Some(token) = scanner.next() {
        match token {
            Token::Semicolon => {
                found.keep(current.take());
                (begun, after_semicolon) = (true, true);
            }
            Token::Comment(text) => {
                if let Some(result) = &mut current
                    && result.comments.len() < MOST_PROPERTIES
                {
                    result.comments.push(text.trim().to_owned());
                }
            }
            Token::Word(word) => {
                // The authserv-id is the first word, if it is no result. A version may stand behind it.
                if !begun {
                    begun = true;
                    found.id = name(word);
                }
                after_semicolon = false;
            }
            Token::Pair(key, value) => {
                begun = true;
                let key = key.trim_matches('"').to_ascii_lowercase();
                match &mut current {
                    Some(result) if !starts_result(&key, after_semicolon) => {
                        if result.properties.len() < MOST_PROPERTIES {
                            result.properties.push((key, value.to_owned()));
                        }
                    }
                    _ if starts_result(&key, after_semicolon) => {
                        found.keep(current.take());
                        // `dkim/1=pass`: the version of the method (RFC 8601 section 2.2).
                        let method = key.split('/').next().unwrap_or_default().to_owned();
                        let verdict = Verdict::of(value);
                        current = Some(MethodResult { method, verdict, comments: Vec::new(), properties: Vec::new() });
                    }
                    _ => {}
                }
                after_semicolon = false;
            }
        }
    }
    found.keep(current.take());
    found
}

impl AuthRes {
    fn keep(&mut self, result: Option<MethodResult>) {
        if let Some(result) = result
            && self.results.len() < MOST_RESULTS
        {
            self.results.push(result);
        }
    }

    pub fn of<'a>(&'a self, method: &'a str) -> impl Iterator<Item = &'a MethodResult> {
        self.results.iter().filter(move |result| result.method == method)
    }
}

/// A result begins behind a semicolon and nowhere else: a sender's address that is quoted there may hold `dkim=pass`.
fn starts_result(key: &str, after_semicolon: bool) -> bool {
    after_semicolon && !key.is_empty() && !key.contains('.') && key != "reason" && key != "action"
}

enum Token<'t> {
    Semicolon,
    Comment(&'t str),
    Word(&'t str),
    Pair(&'t str, &'t str),
}

struct Scanner<'t> {
    rest: &'t str,
}

impl<'t> Scanner<'t> {
    fn next(&mut self) -> Option<Token<'t>> {
        self.rest = self.rest.trim_start();
        match self.rest.as_bytes().first()? {
            b';' => {
                self.rest = &self.rest[1..];
                Some(Token::Semicolon)
            }
            b'(' => Some(Token::Comment(self.comment())),
            _ => {
                let key = self.word("=;(");
                // Blanks around `=` are allowed (CFWS), and some write them.
                let behind = self.rest.trim_start();
                let Some(value) = behind.strip_prefix('=') else {
                    return Some(Token::Word(key));
                };
                self.rest = value.trim_start();
                Some(Token::Pair(key, self.value()))
            }
        }
    }

    /// Up to a blank or one of `ends`.
    fn word(&mut self, ends: &str) -> &'t str {
        let end = self.rest.find(|c: char| c.is_whitespace() || ends.contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// A token, or a quoted string without its quotes. A bracket ends a token: Yahoo glues comments to results.
    fn value(&mut self) -> &'t str {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            // `rule=[ip4:...]`, `smtp.remote-ip=...`: equal signs may stand in a value, as in `prvs=...`.
            return self.word(";(");
        };
        let mut escaped = false;
        let end = quoted.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        // A quote that is never closed ends with the field.
        let end = end.unwrap_or(quoted.len());
        self.rest = quoted.get(end + 1..).unwrap_or_default();
        &quoted[..end]
    }

    /// A comment may hold comments (RFC 5322 section 3.2.2); one that is never closed ends with the field.
    ///
    /// Quotes count as quotes, though the grammar says otherwise: providers put the sender's address into comments, and
    /// `"x) ; dkim=pass ("@example.com` is an address.
    fn comment(&mut self) -> &'t str {
        let (mut depth, mut escaped, mut quoted) = (0u32, false, false);
        for (at, byte) in self.rest.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                _ if quoted => {}
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let text = &self.rest[1..at];
                self.rest = &self.rest[at + 1..];
                return text;
            }
        }
        let text = &self.rest[1..];
        self.rest = "";
        text
    }
}

#[cfg(test)]
#[path = "authres_tests.rs"]
mod tests;
