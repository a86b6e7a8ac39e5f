use std::net::IpAddr;

use super::*;
use crate::doctor::finding::Outcome::{self, Fail, Ok, Skip, Unknown, Warn};
use crate::doctor::net::{Dialogue, Forward, Known};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pointer(name: &str, addresses: &[&str]) -> Pointer {
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    Pointer { name: name.into(), forward: Forward { addresses, unknown: Vec::new() } }
}

fn tried(family: Family, outcome: Port25) -> Tried {
    Tried { family, peer: "mx.example.net".into(), outcome }
}

fn results(facts: &Facts) -> Vec<(&'static str, String, Outcome)> {
    let mut findings = Findings::default();
    judge(facts, &mut findings);
    ipv6(facts, &mut findings);
    findings.iter().map(|finding| (finding.id, finding.about.clone(), finding.result)).collect()
}

fn result(facts: &Facts, id: &str) -> Option<Outcome> {
    results(facts).into_iter().find(|(found, ..)| *found == id).map(|(.., result)| result)
}

fn of_address(text: &str, reverse: Reverse) -> Facts {
    Facts { addresses: vec![Address { ip: ip(text), known: Known::Configured, reverse }], ..Facts::default() }
}

#[test]
fn nothing_known_is_no_finding() {
    let found = results(&Facts::default());
    assert!(found.iter().all(|(.., result)| matches!(result, Unknown | Skip)), "{found:?}");
    assert!(found.contains(&("NET002", "egress".to_owned(), Unknown)));
}

#[test]
fn behind_a_relay_nothing_of_this_host_counts() {
    let facts = Facts {
        relay: Some("[smtp.relay.example]:587".into()),
        ..of_address("192.0.2.1", Reverse::Missing { exists: false })
    };
    assert!(results(&facts).iter().all(|(.., result)| *result == Skip));
}

#[test]
fn one_open_peer_outweighs_one_that_is_silent() {
    let v4 = |outcomes: Vec<Port25>| {
        let ports = outcomes.into_iter().map(|outcome| tried(Family::V4, outcome)).collect();
        result(&Facts { ports, ..Facts::default() }, "NET001")
    };
    let open = || Port25::Open(Dialogue::default());
    assert_eq!(v4(vec![Port25::Silent, open()]), Some(Ok));
    assert_eq!(v4(vec![Port25::Silent, Port25::Silent]), Some(Fail));
    assert_eq!(v4(vec![Port25::Refused]), Some(Fail));
    assert_eq!(v4(vec![Port25::NoRoute("unreachable".into())]), Some(Fail));
    assert_eq!(v4(vec![Port25::Unknown("SERVFAIL".into())]), Some(Unknown));
    assert_eq!(v4(vec![Port25::NotSmtp("SSH-2.0".into())]), Some(Unknown));
}

#[test]
fn unknown_names_are_not_missing_names() {
    let unclear = Pointer {
        name: "mail.example.com".into(),
        forward: Forward { addresses: Vec::new(), unknown: vec!["SERVFAIL".into()] },
    };
    for reverse in [Reverse::Unknown("SERVFAIL".into()), Reverse::Pointers(vec![unclear])] {
        let facts = of_address("2001:db8::1", reverse);
        assert_eq!(result(&facts, "NET005"), Some(Unknown));
        assert_eq!(result(&facts, "IP6001"), Some(Unknown));
        assert!(results(&facts).iter().all(|(.., result)| !result.is_bad()), "{:?}", results(&facts));
    }
}

#[test]
fn ipv6_without_a_name_has_two_ways_out() {
    let facts = of_address("2001:db8::1", Reverse::Missing { exists: false });
    let mut findings = Findings::default();
    ipv6(&facts, &mut findings);
    let finding = findings.iter().next().unwrap();
    assert_eq!(finding.result, Fail);
    for text in ["reverse DNS", "inet_protocols=ipv4", "dig +short -x 2001:db8::1"] {
        assert!(finding.fix.contains(text), "{}", finding.fix);
    }
}

#[test]
fn of_several_names_one_is_to_stay() {
    let both = vec![pointer("mail.example.com", &["192.0.2.1"]), pointer("old.example.com", &["192.0.2.9"])];
    assert_eq!(result(&of_address("192.0.2.1", Reverse::Pointers(both.clone())), "NET004"), Some(Warn));
    let none = vec![both[1].clone(), pointer("older.example.com", &[])];
    let facts = of_address("192.0.2.1", Reverse::Pointers(none));
    assert_eq!((result(&facts, "NET003"), result(&facts, "NET004")), (Some(Fail), None));
}
