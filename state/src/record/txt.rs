//! The text of a TXT record: logical bytes, whatever the quoting and the chunking.
//!
//! A TXT record carries character-strings of at most 255 octets (RFC 1035 section 3.3.14), and whoever reads one
//! for DKIM or SPF joins them without a space (RFC 6376 section 3.6.2.2, RFC 7208 section 3.3). So two records that
//! differ in chunking alone are the same text, and everything here compares joined bytes.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The joined octets of one TXT record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxtText(Box<[u8]>);

/// A quoted presentation form that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TxtError {
    #[error("a quoted string is not closed")]
    Unclosed,
    #[error("an escape is cut off or above \\255")]
    Escape,
    #[error("something stands between the quoted strings")]
    Between,
}

impl TxtText {
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        TxtText(bytes.into().into_boxed_slice())
    }

    /// Joins the character-strings of one record.
    pub fn join<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        TxtText(chunks.into_iter().flatten().copied().collect())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text for people and for parsers; what is not UTF-8 is replaced, so never compare by it.
    /// The first words in quotes, for people.
    pub fn beginning(&self) -> String {
        const ENOUGH: usize = 40;
        let text = self.to_str_lossy();
        let more = if text.chars().count() > ENOUGH { "..." } else { "" };
        format!("\"{}{more}\"", text.chars().take(ENOUGH).collect::<String>().escape_debug())
    }

    pub fn to_str_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// Character-strings of at most 255 octets; one empty string for an empty text.
    pub fn chunks(&self) -> Vec<&[u8]> {
        if self.0.is_empty() { vec![&[]] } else { self.0.chunks(255).collect() }
    }

    /// `"first 255 octets" "the rest"`: the presentation form (RFC 1035 section 5.1), quotes and backslashes
    /// escaped, what is not printable ASCII as `\DDD`. A `;` needs no escape inside quotes.
    pub fn quoted(&self) -> String {
        let quote = |chunk: &[u8]| {
            let mut out = String::with_capacity(chunk.len() + 2);
            out.push('"');
            for &byte in chunk {
                match byte {
                    b'"' | b'\\' => out.extend(['\\', byte as char]),
                    b' '..=b'~' => out.push(byte as char),
                    _ => out.push_str(&format!("\\{byte:03}")),
                }
            }
            out.push('"');
            out
        };
        self.chunks().into_iter().map(quote).collect::<Vec<_>>().join(" ")
    }

    /// Reads the presentation form back: one or more quoted strings, with or without space between them.
    pub fn from_quoted(text: &str) -> Result<Self, TxtError> {
        let mut bytes = Vec::new();
        let mut rest = text.trim().bytes();
        loop {
            match rest.next() {
                None => return Ok(TxtText(bytes.into())),
                Some(b' ' | b'\t') => continue,
                Some(b'"') => {}
                Some(_) => return Err(TxtError::Between),
            }
            loop {
                match rest.next().ok_or(TxtError::Unclosed)? {
                    b'"' => break,
                    b'\\' => bytes.push(unescape(&mut rest)?),
                    byte => bytes.push(byte),
                }
            }
        }
    }
}

fn unescape(rest: &mut impl Iterator<Item = u8>) -> Result<u8, TxtError> {
    let first = rest.next().ok_or(TxtError::Escape)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = rest.next().filter(u8::is_ascii_digit).ok_or(TxtError::Escape)?;
        value = value * 10 + u32::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| TxtError::Escape)
}

impl From<&str> for TxtText {
    fn from(text: &str) -> Self {
        TxtText::new(text.as_bytes())
    }
}

impl From<String> for TxtText {
    fn from(text: String) -> Self {
        TxtText::new(text.into_bytes())
    }
}

impl fmt::Display for TxtText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.to_str_lossy().chars() {
            // Somebody else's TXT is printed on an operator's terminal: no control characters.
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for TxtText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted())
    }
}

/// As the quoted presentation form, which carries any octet.
impl Serialize for TxtText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.quoted())
    }
}

impl<'de> Deserialize<'de> for TxtText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        TxtText::from_quoted(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_zone_files_and_apis_write() {
        for (seen, meant) in [
            (r#""a""b""#, "ab"),
            (r#""v=DKIM1; k=rsa; " "p=AB""#, "v=DKIM1; k=rsa; p=AB"),
            (r#""semi\; colon""#, "semi; colon"),
            (r#""\097\"\\""#, r#"a"\"#),
            (r#""""#, ""),
        ] {
            assert_eq!(TxtText::from_quoted(seen).unwrap(), TxtText::from(meant), "{seen}");
        }
        assert_eq!(TxtText::from_quoted(r#""open"#), Err(TxtError::Unclosed));
        assert_eq!(TxtText::from_quoted(r#""\9""#), Err(TxtError::Escape));
        assert_eq!(TxtText::from_quoted("bare"), Err(TxtError::Between));
    }

    proptest! {
        #[test]
        fn any_octets_survive_quoting(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            let text = TxtText::new(bytes);
            prop_assert_eq!(TxtText::from_quoted(&text.quoted()).unwrap(), text.clone());
            prop_assert!(text.chunks().iter().all(|chunk| chunk.len() <= 255));
            prop_assert_eq!(TxtText::join(text.chunks()), text);
        }
    }
}
