//! The header fields of a message (RFC 5322 section 2.2), in the order in which they stand.
//!
//! Real mailboxes hold lines that no grammar allows. What is no field is left out; nothing is ever an error.

use std::borrow::Cow;

/// A field; its value unfolded, without the line ends and without what would steer a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub value: String,
}

/// Octets of a header that are looked at, and fields in it. What a mailbox provider writes stands at its top.
pub const MOST_OCTETS: usize = 1 << 20;
const MOST_FIELDS: usize = 4000;

impl Field {
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    pub fn begins(&self, prefix: &str) -> bool {
        self.name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    }
}

/// The fields above the first empty line.
pub fn fields(raw: &[u8]) -> Vec<Field> {
    let mut found: Vec<Field> = Vec::new();
    let head = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    for (number, line) in head[..head.len().min(MOST_OCTETS)].split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        // The line that separates messages in an mbox is no field.
        if number == 0 && (line.starts_with(b"From ") || line.starts_with(b">From ")) {
            continue;
        }
        let text = String::from_utf8_lossy(line);
        let text = harmless(&text, usize::MAX);
        let is_full = found.len() == MOST_FIELDS;
        match found.last_mut() {
            Some(last) if matches!(line[0], b' ' | b'\t') => {
                last.value.push(' ');
                last.value.push_str(text.trim());
            }
            _ if is_full => break,
            _ => found.extend(field(&text)),
        }
    }
    found
}

fn field(line: &str) -> Option<Field> {
    let (name, value) = line.split_once(':')?;
    let name = name.trim_end();
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    is_name.then(|| Field { name: name.to_owned(), value: value.trim().to_owned() })
}

/// The value of the first field of this name.
pub fn first<'f>(fields: &'f [Field], name: &str) -> Option<&'f str> {
    fields.iter().find(|field| field.is(name)).map(|field| field.value.as_str())
}

/// The domain in a `From` field: what stands behind the last `@` of the first address.
pub fn domain_of(address: &str) -> Option<String> {
    let address = match (address.rfind('<'), address.rfind('>')) {
        (Some(open), Some(close)) if open < close => &address[open + 1..close],
        _ => address.split(',').next().unwrap_or(address),
    };
    let domain = address.rsplit_once('@')?.1;
    let end = domain.find(|c: char| !(c.is_alphanumeric() || "-._".contains(c))).unwrap_or(domain.len());
    let domain = domain[..end].trim_end_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(domain)
}

/// Text that a sender may have written, made harmless for a terminal, and short.
pub fn harmless(text: &str, most: usize) -> Cow<'_, str> {
    let is_plain =
        |c: char| (!c.is_control() || c == '\t') && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.len() <= most && text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let kept: String = text.chars().filter(|c| is_plain(*c)).take(most).collect();
    Cow::Owned(kept)
}

#[cfg(test)]
#[path = "header_tests.rs"]
mod tests;
