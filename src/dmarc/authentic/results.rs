//! `Authentication-Results` of a server that the operator trusts (RFC 8601): what it says need not be proved again, and
//! can be said no more once a reporter's key is gone.
//!
//! Anybody can write such a field. It counts if it names a trusted authserv-id and stands above every `Received` field
//! but those of the same server: whatever stands below came from outside (RFC 8601 section 5).

use dkimctl_state::name::Fqdn;

/// The domains that a trusted server found to have signed, or to pass DMARC; `None` if no trusted server spoke.
pub(super) fn vouched(raw: &[u8], trusted: &[String]) -> Option<Vec<Fqdn>> {
    let mut found = None;
    for (name, value) in fields(raw) {
        if name.eq_ignore_ascii_case("authentication-results") {
            let tokens = tokens(&value);
            let mut parts = tokens.split(|token| token == ";");
            let server = parts.next().and_then(|part| part.first());
            if server.is_some_and(|server| trusted.iter().any(|known| known.eq_ignore_ascii_case(server))) {
                found.get_or_insert_with(Vec::new).extend(parts.filter_map(passing));
            }
        } else if name.eq_ignore_ascii_case("received") && found.is_some() {
            // Below it begins what came from somewhere else.
            break;
        } else if name.eq_ignore_ascii_case("received") && !by_one_of(&value, trusted) {
            break;
        }
    }
    found
}

/// `Received: ... by mx.example.com ...`, of a server that is trusted itself.
fn by_one_of(value: &str, trusted: &[String]) -> bool {
    let tokens = tokens(value);
    let by = tokens.iter().position(|token| token.eq_ignore_ascii_case("by")).and_then(|at| tokens.get(at + 1));
    by.is_some_and(|by| trusted.iter().any(|known| known.eq_ignore_ascii_case(by)))
}

/// `dkim=pass header.d=x` and `dmarc=pass header.from=x`.
fn passing(result: &[String]) -> Option<Fqdn> {
    let text: String = result.join(" ").replace(" = ", "=").replace(" . ", ".");
    let mut words = text.split_whitespace();
    let property = match words.next()?.to_ascii_lowercase().as_str() {
        "dkim=pass" => "header.d=",
        "dmarc=pass" => "header.from=",
        _ => return None,
    };
    let value = words.find_map(|word| {
        let (key, _) = word.split_at_checked(property.len())?;
        key.eq_ignore_ascii_case(property).then(|| &word[property.len()..])
    })?;
    value.trim_start_matches('@').parse().ok()
}

/// The header fields from above, unfolded.
fn fields(raw: &[u8]) -> Vec<(String, String)> {
    const LONGEST: usize = 64 << 10;
    let head = String::from_utf8_lossy(&raw[..raw.len().min(LONGEST)]).into_owned();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in head.lines() {
        if line.is_empty() {
            break;
        }
        match (line.starts_with([' ', '\t']), fields.last_mut()) {
            (true, Some((_, value))) => {
                value.push(' ');
                value.push_str(line.trim());
            }
            _ => {
                if let Some((name, value)) = line.split_once(':') {
                    fields.push((name.trim_end().to_owned(), value.trim().to_owned()));
                }
            }
        }
    }
    fields
}

/// Words, and `;` and `=` by themselves; comments are left out, quoted strings are one word.
fn tokens(value: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    let (mut depth, mut quoted, mut escaped) = (0u32, false, false);
    for c in value.chars() {
        let last = tokens.last_mut().expect("there is always one");
        match c {
            _ if escaped => {
                escaped = false;
                if depth == 0 {
                    last.push(c);
                }
            }
            '\\' if quoted || depth > 0 => escaped = true,
            '"' if depth == 0 => quoted = !quoted,
            // A `;` in quotes separates nothing: no value that counts has one.
            c if quoted => last.push(if c == ';' || c.is_whitespace() { '_' } else { c }),
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 => {}
            ';' => tokens.extend([";".to_owned(), String::new()]),
            '=' => tokens.extend(["=".to_owned(), String::new()]),
            c if c.is_whitespace() => tokens.push(String::new()),
            c => last.push(c),
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(head: &str) -> Option<Vec<String>> {
        let raw = format!("{}\r\n\r\nbody", head.replace('\n', "\r\n"));
        let found = vouched(raw.as_bytes(), &["mx.example.com".to_owned()])?;
        Some(found.iter().map(Fqdn::to_string).collect())
    }

    #[test]
    fn a_trusted_server_is_believed() {
        let ours = "Received: from x by mx.example.com\nAuthentication-Results: mx.example.com (amavis);\n\
                    \tdkim=pass (2048-bit key) header.d=yahoo.com header.b=x;\n\
                    \tdmarc=pass (p=reject; dkim=fail) header.from=dmarc.yahoo.com; spf=pass smtp.mailfrom=a@evil.example";
        assert_eq!(said(ours).unwrap(), ["yahoo.com", "dmarc.yahoo.com"]);
        let spaced = "Authentication-Results: \"mx.example.com\" 1; DKIM = pass reason=\"a; b\" header.d = Google.com";
        assert_eq!(said(spaced).unwrap(), ["google.com"]);
        let failed =
            "Authentication-Results: mx.example.com; dkim=fail header.d=yahoo.com; dkim=passed header.d=a.example";
        assert_eq!(said(failed).unwrap(), [""; 0]);
    }

    #[test]
    fn what_others_wrote_is_not() {
        let result = "Authentication-Results: mx.example.com; dkim=pass header.d=yahoo.com";
        // Below the field of the server that took it in from outside, or in a comment, or by another server.
        assert_eq!(said(&format!("Received: from x by other.example\n{result}")), None);
        assert_eq!(said("Authentication-Results: mx.evil.example; dkim=pass header.d=yahoo.com"), None);
        assert_eq!(said("Authentication-Results: (mx.example.com;) x; dkim=pass header.d=yahoo.com"), None);
        let shadowed =
            format!("Authentication-Results: mx.example.com; dkim=none\nReceived: from x by mx.example.com\n{result}");
        assert_eq!(said(&shadowed).unwrap(), [""; 0]);
        assert_eq!(said("Subject: x\n\nAuthentication-Results: mx.example.com; dkim=pass header.d=yahoo.com"), None);
    }
}
