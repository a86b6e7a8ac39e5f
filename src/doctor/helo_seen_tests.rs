use super::*;
use crate::doctor::finding::Outcome;

#[test]
fn a_name_that_a_peer_does_not_take_is_found() {
    use crate::doctor::net::{Family, Forward, Tried};
    let facts = |reply: &str| Facts {
        helo: Some(Helo {
            name: "mail.example.com".into(),
            source: "myhostname".into(),
            forward: Forward { addresses: vec!["192.0.2.1".parse().unwrap()], unknown: Vec::new() },
        }),
        ports: vec![Tried {
            family: Family::V4,
            peer: "mx.example.net".into(),
            outcome: Port25::Open(Dialogue { greeting: "220 mx".into(), reply: reply.into(), ..Dialogue::default() }),
        }],
        ..Facts::default()
    };
    let result = |reply: &str| {
        let mut findings = Findings::default();
        judge(&facts(reply), &mut findings);
        findings.iter().find(|finding| finding.id == "HELO001").map(|finding| finding.result)
    };
    assert_eq!(result("501 5.5.4 that is you? no"), Some(Outcome::Fail));
    assert_eq!(result("250 mx.example.net"), Some(Outcome::Ok));
    // Too busy, or it does not like the address: no word about the name.
    assert_eq!(result("421 4.7.0 try later"), None);
}
