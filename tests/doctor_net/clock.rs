//! SYS001: the clock in the greeting of a real Exim and in the cookies of real name servers, once right and once
//! ten minutes ahead.

use std::time::Duration;

use dkimctl::doctor::clock::{self, cookie};
use dkimctl::doctor::finding::{Findings, Outcome};
use dkimctl::doctor::net::look::{Ask, look};
use dkimctl_providers::wire::Options;
use dkimctl_state::time::Span;
use hickory_proto::rr::Name;

use crate::lab::{At, Lab, PEER, RESOLVER};
use crate::servers::servers_or_skip;

#[test]
fn a_clock_is_compared_with_that_of_the_peer() {
    let Some(mut lab) = Lab::start() else { return };
    lab.serve_mail("203.0.113.28", "deny", &["faketime", "-f", "+10m"]);
    let result = |peer: &str| {
        let ask = Ask {
            inside: lab.container(),
            peers: vec![peer.to_owned()],
            patience: Duration::from_secs(4),
            ..Ask::default()
        };
        let facts = lab.inside(At::Host, || look(&ask, &Lab::lookup()));
        let mut findings = Findings::default();
        clock::judge(&clock::of_peers(&facts), false, Span::minutes(5), &mut findings);
        let finding = findings.iter().next().unwrap();
        (finding.result, finding.evidence.clone())
    };
    let (right, evidence) = result(PEER);
    assert_eq!(right, Outcome::Ok, "{evidence}");
    let (wrong, evidence) = result("late.example.net");
    assert_eq!(wrong, Outcome::Fail, "{evidence}");
    assert!(evidence.contains("10m") || evidence.contains("9m"), "{evidence}");
    // Nobody there to compare with.
    assert_eq!(result("gone.example.net").0, Outcome::Unknown);
}

#[test]
fn a_name_server_tells_its_time_in_a_cookie() {
    let Some(mut lab) = Lab::start() else { return };
    if !servers_or_skip(&["knotd"]) {
        return;
    }
    lab.serve_names_late();
    let options = Options { timeout: Duration::from_secs(2), tries: 2, ..Options::default() };
    let name = Name::from_ascii("mail.example.com.").unwrap();
    let clock = |at: At, server: &str| lab.inside(at, || cookie::ask(server.parse().unwrap(), &name, options));
    let right = clock(At::Host, RESOLVER).unwrap();
    assert!(right.distance() <= Span::seconds(5), "{right:?}");
    // It refuses the question, for it has no zone, and tells its time all the same.
    let late = clock(At::Host, "203.0.113.28:53").unwrap();
    assert!((Span::minutes(9)..=Span::minutes(11)).contains(&late.distance()), "{late:?}");
    // The same server is no witness against the machine that it stands on; and from a silent one nothing is known.
    assert_eq!(clock(At::World, RESOLVER), None);
    assert_eq!(clock(At::Host, "203.0.113.26:53"), None);
}
