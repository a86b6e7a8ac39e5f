//! `Received` fields (RFC 5321 section 4.4): who took the message from whom, and how.
//!
//! `from HELO (PTR [address]) by HOST with PROTOCOL`, as most write it; `from ADDRESS (EHLO HELO)`, as Yahoo does;
//! `from PTR ([address] helo=HELO)`, as Exim does; `from HELO (address)`, as Microsoft does. HELO is the sender's own
//! word, PTR often is; only `by` and the address are the receiver's.

use std::net::IpAddr;

/// One hop.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Received {
    /// Whether there is a `from` at all; providers leave it out between hosts of their own.
    pub has_from: bool,
    /// The name that the client gave.
    pub helo: Option<String>,
    /// The client's reverse name, as the receiver looked it up; `None` where it says `unknown` or nothing.
    pub ptr: Option<String>,
    /// The receiver said in so many words that there is no (confirmed) reverse name.
    pub ptr_unknown: bool,
    /// Every address in the `from` clause, the client's own last.
    pub addresses: Vec<IpAddr>,
    /// The host that wrote the field, in lower case.
    pub by: Option<String>,
    /// `ESMTPS`, `LMTP`, `HTTP`...
    pub with: Option<String>,
    /// Version and cipher, or that there was TLS.
    pub tls: Option<String>,
}

const MOST_OCTETS: usize = 16 << 10;

impl Received {
    /// The client's address, as its connection came from it.
    pub fn client(&self) -> Option<IpAddr> {
        self.addresses.last().copied()
    }

    /// Whether the transfer was encrypted; `None` if the field does not tell.
    pub fn encrypted(&self) -> Option<bool> {
        let with = self.with.as_deref().unwrap_or_default().to_ascii_uppercase();
        match with.as_str() {
            _ if self.tls.is_some() => Some(true),
            // RFC 3848: an S for TLS, an A for authentication.
            "ESMTPS" | "ESMTPSA" | "SMTPS" | "LMTPS" | "UTF8SMTPS" | "UTF8SMTPSA" => Some(true),
            "ESMTP" | "SMTP" | "ESMTPA" | "UTF8SMTP" => Some(false),
            _ => None,
        }
    }
}

pub fn parse(value: &str) -> Received {
    let mut end = value.len().min(MOST_OCTETS);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    let parts = parts(&value[..end]);
    let mut found = Received::default();
    let mut at = 0;
    if matches!(parts.first(), Some(Part::Word(word)) if word.eq_ignore_ascii_case("from")) {
        found.has_from = true;
        // The first word is the client's own, whatever it says: even `by`.
        let token = match parts.get(1) {
            Some(Part::Word(word)) => *word,
            _ => "",
        };
        at = 1 + usize::from(!token.is_empty());
        let mut comments = Vec::new();
        while let Some(part) = parts.get(at) {
            match part {
                Part::Word(word) if word.eq_ignore_ascii_case("by") => break,
                Part::Comment(text) | Part::Word(text) => comments.push(*text),
            }
            at += 1;
        }
        found.client_of(token, &comments);
    }
    while let Some(part) = parts.get(at) {
        at += 1;
        let Part::Word(word) = part else {
            if let Part::Comment(text) = part {
                found.tls = found.tls.take().or_else(|| tls(text));
            }
            continue;
        };
        let next = match parts.get(at) {
            Some(Part::Word(next)) => Some(*next),
            _ => None,
        };
        match word.to_ascii_lowercase().as_str() {
            "by" if found.by.is_none() => found.by = next.map(host),
            "with" if found.with.is_none() => {
                // `with Microsoft SMTP Server`, `with LMTP id`.
                found.with = next.map(|next| next.trim_end_matches(';').to_owned());
            }
            _ => {}
        }
    }
    found
}

impl Received {
    fn client_of(&mut self, token: &str, comments: &[&str]) {
        let mut exim_helo = None;
        for text in comments {
            self.tls = self.tls.take().or_else(|| tls(text));
            for word in text.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
                if let Some(helo) = word.strip_prefix("helo=").or_else(|| word.strip_prefix("HELO=")) {
                    exim_helo = Some(helo.trim_end_matches(')'));
                } else if let Some(address) = address(word) {
                    self.addresses.push(address);
                }
            }
        }
        let first = comments.first().copied().unwrap_or_default();
        let yahoo_helo = first.strip_prefix("EHLO ").or_else(|| first.strip_prefix("HELO "));
        if let Some(helo) = yahoo_helo {
            // What is in the brackets is the client's own word, an address in it too. qmail writes
            // `from PTR (HELO HELO) (ADDRESS)`.
            self.helo = Some(host(helo));
            let behind = comments.iter().skip(1).flat_map(|text| text.split(' ')).filter_map(address);
            self.addresses = behind.chain(address(token)).collect();
            self.ptr = if address(token).is_some() { None } else { named(token) };
            self.ptr_unknown = token.eq_ignore_ascii_case("unknown");
        } else if let Some(helo) = exim_helo {
            self.helo = Some(host(helo));
            match address(token) {
                Some(address) => self.addresses.push(address),
                None => self.ptr = named(token),
            }
            self.ptr_unknown = self.ptr.is_none();
        } else {
            self.helo = (!token.is_empty()).then(|| host(token));
            let ptr = first.split(['[', ' ']).next().unwrap_or_default();
            self.ptr = if address(ptr).is_some() { None } else { named(ptr) };
            self.ptr_unknown = ptr.eq_ignore_ascii_case("unknown");
            if self.addresses.is_empty() {
                self.addresses.extend(address(token));
            }
        }
    }
}

fn named(word: &str) -> Option<String> {
    let name = host(word);
    let is_name = name.contains('.') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    is_name.then_some(name)
}

fn host(word: &str) -> String {
    word.trim_matches(|c: char| matches!(c, '.' | ';' | ',' | '(' | ')')).to_ascii_lowercase()
}

/// `203.0.113.10`, `[203.0.113.10]:25`, `[IPv6:2001:db8::1]`, `(2603:10b6::1)`
fn address(word: &str) -> Option<IpAddr> {
    let inside = match word.find('[') {
        Some(open) => word[open + 1..].split(']').next().unwrap_or_default(),
        None => word.trim_matches(|c: char| matches!(c, '(' | ')' | ';')),
    };
    let bare = inside.strip_prefix("IPv6:").or_else(|| inside.strip_prefix("ipv6:")).unwrap_or(inside);
    // A zone (`fe80::1%7`) is the receiver's own affair.
    bare.split('%').next().unwrap_or_default().parse().ok()
}

/// `version=TLS1_3 cipher=...`, `using TLSv1.3 with cipher ...`, `TLS1.3:...`
fn tls(comment: &str) -> Option<String> {
    let position = comment.find("TLS").filter(|at| {
        let before = comment[..*at].chars().next_back();
        before.is_none_or(|c| matches!(c, '=' | ' ' | '(' | '['))
    })?;
    let word: String =
        comment[position..].chars().take_while(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
    Some(word.replace('_', ".").replace("TLSv", "TLS"))
}

enum Part<'t> {
    Word(&'t str),
    Comment(&'t str),
}

/// Words and whole comments up to the date.
fn parts(text: &str) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() && parts.len() < 400 {
        if rest.starts_with('(') {
            let mut depth = 0u32;
            let close = rest.bytes().position(|byte| {
                depth += u32::from(byte == b'(');
                depth -= u32::from(byte == b')' && depth > 0);
                depth == 0
            });
            let close = close.unwrap_or(rest.len());
            parts.push(Part::Comment(rest[1..close].trim()));
            rest = rest.get(close + 1..).unwrap_or_default();
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c == '(').unwrap_or(rest.len());
            parts.push(Part::Word(&rest[..end]));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    parts
}

#[cfg(test)]
#[path = "received_tests.rs"]
mod tests;
