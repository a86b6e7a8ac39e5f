//! SYS001: the clock in the greeting of a real Exim, once right and once ten minutes ahead.

use std::time::Duration;

use dkimctl::doctor::clock;
use dkimctl::doctor::finding::{Findings, Outcome};
use dkimctl::doctor::net::look::{Ask, look};
use dkimctl_state::time::Span;

use crate::lab::{At, Lab, PEER};

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
        clock::judge(&clock::of_peers(&facts), Span::minutes(5), &mut findings);
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
