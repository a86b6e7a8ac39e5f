//! `Authentication-Results` of a server that the operator trusts (RFC 8601): what it says need not be proved again, and
//! can be said no more once a reporter's key is gone.
//!
//! Anybody can write such a field. It counts if it names a trusted authserv-id and stands above every `Received` field
//! but those of the same server: whatever stands below came from outside (RFC 8601 section 5).

use dkimctl_state::name::Fqdn;

use crate::mail::authres::{self, MethodResult, domain_in};
use crate::mail::{header, received};

/// Octets of a message that are looked at: whoever is trusted writes at its top.
const MOST_OCTETS: usize = 64 << 10;

/// The domains that a trusted server found to have signed, or to pass DMARC; `None` if no trusted server spoke.
pub(super) fn vouched(raw: &[u8], trusted: &[String]) -> Option<Vec<Fqdn>> {
    let is_trusted = |server: Option<String>| {
        server.is_some_and(|server| trusted.iter().any(|known| known.eq_ignore_ascii_case(&server)))
    };
    let mut found = None;
    for field in header::fields(top(raw)) {
        if field.is("Authentication-Results") {
            let said = authres::parse(&field.value);
            if is_trusted(said.id) {
                found.get_or_insert_with(Vec::new).extend(said.results.iter().filter_map(passing));
            }
        // Below a trusted result, or a server that is not trusted, begins what came from somewhere else.
        } else if field.is("Received") && (found.is_some() || !is_trusted(received::parse(&field.value).by)) {
            break;
        }
    }
    found
}

/// Whole lines only: a name that is cut off is another name.
fn top(raw: &[u8]) -> &[u8] {
    match raw.get(..MOST_OCTETS) {
        None => raw,
        Some(top) => &top[..top.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)],
    }
}

/// `dkim=pass header.d=x` and `dmarc=pass header.from=x`.
fn passing(result: &MethodResult) -> Option<Fqdn> {
    let domain = match result.method.as_str() {
        "dkim" => result.signing_domain(),
        "dmarc" => result.property("header.from").and_then(domain_in),
        _ => None,
    };
    domain.filter(|_| result.verdict.is_pass())?.parse().ok()
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
    #[test]
    fn what_is_beyond_the_top_is_not_read_and_not_read_in_half() {
        let result = "Authentication-Results: mx.example.com; dkim=pass header.d=google.com";
        let padding = |octets: usize| format!("X-Padding: {}\r\n", "x".repeat(octets - 13));
        // The cut falls right behind `google.com`.
        let forged = format!("{}{result}.evil.example", padding(MOST_OCTETS - result.len()));
        assert_eq!(said(&forged.replace("\r\n", "\n")), None);
        assert_eq!(said(&format!("{}\n{result}", padding(MOST_OCTETS).replace("\r\n", ""))), None);
        assert_eq!(said(&format!("X-Short: x\n{result}")).unwrap(), ["google.com"]);
    }
}
