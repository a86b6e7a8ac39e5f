//! RELAY001, live: an Exim that takes everything, one that takes nothing, and one that is not ours.

use dkimctl::doctor::finding::{Findings, Outcome, Severity};
use dkimctl::doctor::relay_probe;

use crate::lab::{At, Lab, ip};

#[test]
fn an_open_relay_is_told_from_a_closed_one_and_strangers_are_left_alone() {
    let Some(mut lab) = Lab::start() else { return };
    lab.serve_mail("203.0.113.28", "accept", &[]);
    let tried = |at: At, target: &str, ours: &[&str]| {
        let ours: Vec<_> = ours.iter().map(|text| ip(text)).collect();
        let tries = lab.inside(at, || relay_probe::look(target, &ours)).unwrap();
        let mut findings = Findings::default();
        relay_probe::judge(&tries, &mut findings);
        findings.iter().map(|finding| (finding.result, finding.severity)).collect::<Vec<_>>()
    };
    use Outcome::{Fail, Ok, Unknown};
    // From another machine, which is how strangers see it.
    assert_eq!(tried(At::Host, "203.0.113.28:25", &["203.0.113.28"]), [(Fail, Severity::Critical)]);
    assert_eq!(tried(At::Host, "203.0.113.25:25", &["203.0.113.25"]), [(Ok, Severity::Critical)]);
    // On the machine itself a proxy may make the difference.
    assert_eq!(tried(At::World, "203.0.113.28:25", &[]), [(Fail, Severity::Error)]);
    // Both ports are tried unless one is named; nobody listens at 587.
    assert_eq!(tried(At::World, "203.0.113.25", &[]).len(), 2);
    // Not an address of ours: not a single packet.
    assert_eq!(tried(At::Host, "203.0.113.28:25", &[]), [(Unknown, Severity::Critical)]);
    assert_eq!(tried(At::Host, "[2001:db8:25::25]:25", &["2001:db8:25::25"]), [(Ok, Severity::Critical)]);
}
