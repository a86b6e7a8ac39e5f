//! The probe: an ordinary short message with a token by which it is found again.

use std::fmt;

use dkimctl_state::time::Time;
use serde::{Deserialize, Serialize};

use crate::mail::header::{self, Field};

/// The field that carries the token. The subject carries it too: some mailboxes search nothing else.
pub const FIELD: &str = "X-Dkimctl-Probe";
const SUBJECT: &str = "dkimctl probe ";

/// A token: 26 characters that sort by time, as a ULID does (48 bits of milliseconds, 80 random ones, base32).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl Token {
    pub fn new(now: Time) -> Token {
        let milliseconds = u64::try_from(now.unix()).unwrap_or(0) * 1000;
        let random = uuid::Uuid::new_v4().as_u128();
        let bits = (u128::from(milliseconds) << 80) | (random & ((1 << 80) - 1));
        let digit = |place: u32| char::from(ALPHABET[(bits >> (place * 5)) as usize & 31]);
        Token((0..26).rev().map(digit).collect())
    }

    pub fn parse(text: &str) -> Option<Token> {
        let text = text.trim().to_ascii_uppercase();
        (text.len() == 26 && text.bytes().all(|byte| ALPHABET.contains(&byte))).then_some(Token(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn subject(&self) -> String {
        format!("{SUBJECT}{}", self.0)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The token of a message that is a probe.
pub fn token_in(fields: &[Field]) -> Option<String> {
    let field = header::first(fields, FIELD).and_then(Token::parse);
    let subject = || {
        let (_, behind) = header::first(fields, "Subject")?.split_once(SUBJECT)?;
        Token::parse(behind.split_whitespace().next()?)
    };
    field.or_else(subject).map(|token| token.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_sort_by_time_and_are_found_again() {
        let early = Token::new(Time::from_unix(1_795_000_000));
        let late = Token::new(Time::from_unix(1_795_000_001));
        assert!(early < late);
        assert_eq!(Token::parse(&early.to_string().to_lowercase()), Some(early.clone()));
        let message = format!("Subject: Re: {}\r\n\r\n", early.subject());
        assert_eq!(token_in(&header::fields(message.as_bytes())), Some(early.to_string()));
        assert_eq!(token_in(&header::fields(b"X-Dkimctl-Probe: no token\r\n\r\n")), None);
    }
}
