//! TXT values as Route 53 writes them: quoted strings of at most 255 octets, with octal escapes.
//! <https://docs.aws.amazon.com/Route53/latest/DeveloperGuide/ResourceRecordTypes.html#TXTFormat>

use dkimctl_state::record::txt::TxtText;

/// `"first 255 octets" "the rest"`; what is not printable ASCII as `\ooo`, for a zone file's decimal `\ddd` would be
/// read as something else here.
pub(super) fn encode(text: &TxtText) -> String {
    let quote = |chunk: &[u8]| chunk.iter().fold(String::from("\""), |out, &byte| out + &escaped(byte)) + "\"";
    text.chunks().into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn escaped(byte: u8) -> String {
    match byte {
        b'"' => "\\\"".into(),
        b'\\' => "\\134".into(),
        b' '..=b'~' => (byte as char).to_string(),
        _ => format!("\\{byte:03o}"),
    }
}

/// The octets of each string; `None` when it is not made of quoted strings.
pub(super) fn decode(value: &str) -> Option<Vec<Vec<u8>>> {
    let mut strings = Vec::new();
    let mut rest = value.trim().bytes();
    loop {
        match rest.next() {
            None => return (!strings.is_empty()).then_some(strings),
            Some(b' ' | b'\t') => continue,
            Some(b'"') => {}
            Some(_) => return None,
        }
        let mut string = Vec::new();
        loop {
            match rest.next()? {
                b'"' => break,
                b'\\' => string.push(unescape(&mut rest)?),
                byte => string.push(byte),
            }
        }
        strings.push(string);
    }
}

fn unescape(rest: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = rest.next()?;
    if !(b'0'..=b'7').contains(&first) {
        return Some(first);
    }
    let mut value = u32::from(first - b'0');
    for _ in 0..2 {
        let digit = rest.next().filter(|digit| (b'0'..=b'7').contains(digit))?;
        value = value * 8 + u32::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

/// A listed value as it may be sent back: Route 53 lists adjacent strings as `"a""b"` at times, and then refuses them
/// so (aws/aws-sdk-js-v3#5626). Everything else stays as it was.
pub(super) fn respaced(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 4);
    let (mut inside, mut escaped, mut closed) = (false, false, false);
    for c in value.chars() {
        if c == '"' && !escaped {
            if !inside && closed {
                out.push(' ');
            }
            inside = !inside;
        }
        closed = c == '"' && !escaped && !inside;
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    out
}

/// Where Route 53 sorts a name: by its labels from the right, compared as one string with a dot at the end.
/// <https://docs.aws.amazon.com/Route53/latest/APIReference/API_ListResourceRecordSets.html>
pub(super) fn place(name: &str) -> String {
    // Of the escapes in names only the wildcard's matters here.
    let name = name.trim_end_matches('.').replace("\\052", "*");
    let labels: Vec<&str> = name.rsplit('.').collect();
    labels.join(".") + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_survive() {
        let text = TxtText::new("a\"b\\c;d é\u{1}".repeat(60).into_bytes());
        let value = encode(&text);
        assert!(value.contains("\\303\\251") && value.is_ascii(), "octal, not decimal: {value}");
        let strings = decode(&value).unwrap();
        assert!(strings.iter().all(|string| string.len() <= 255));
        assert_eq!(TxtText::join(strings.iter().map(Vec::as_slice)), text);
        assert_eq!(decode("bare"), None);
        assert_eq!(decode("\"open"), None);
    }

    #[test]
    fn adjacent_strings_get_a_space_and_nothing_else_changes() {
        assert_eq!(respaced(r#""a""b""#), r#""a" "b""#);
        for same in [r#""a" "b""#, r#""a\"\"b""#, r#""a\\" "b""#, r#""""#, r#""a"  "b""#] {
            assert_eq!(respaced(same), same);
        }
    }

    #[test]
    fn names_are_sorted_from_the_right() {
        let mut names = ["b.example.com.", "a.b.example.com.", "example.com.", "a.example.com.", "\\052.example.com."];
        names.sort_by_key(|name| place(name));
        assert_eq!(
            names,
            ["example.com.", "\\052.example.com.", "a.example.com.", "b.example.com.", "a.b.example.com."]
        );
    }
}
