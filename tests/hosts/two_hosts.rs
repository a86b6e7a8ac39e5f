//! A zone on BIND and on PowerDNS at once. What is there counts when it is at both, and one that is silent holds up
//! the next step and loses nothing.

use std::time::{Duration, Instant};

use dkimctl_state::lifecycle::ledger::Phase;

use crate::lab::{Lab, Plan, key, powerdns, rfc2136, texts_at};
use crate::opendkimd;
use crate::servers::{Bind, Pdns, TestZone, servers_or_skip};

const ZONE: &str = "example.com";

struct Two {
    bind: Bind,
    pdns: Pdns,
    lab: Lab,
}

impl Two {
    fn start() -> Option<Two> {
        let [server, tool, sqlite] = Pdns::programs();
        if !servers_or_skip(&[Bind::PROGRAM, server, tool, sqlite]) || !opendkimd::available("two hosts") {
            return None;
        }
        let zone = || TestZone { soa_ttl: 1, soa_minimum: 1, ..TestZone::new(ZONE) };
        let (bind, pdns) = (Bind::start(&[key()], &[zone()]), Pdns::start(&[zone()]));
        let providers = rfc2136("bind", bind.address, &[ZONE]) + &powerdns("pdns", &pdns.api);
        let observe = format!("nameservers = [\"{}\", \"{}\"]", bind.address, pdns.address);
        let provider = "providers = [\"bind\", \"pdns\"]";
        let lab = Lab::new(&Plan { domain: ZONE, provider, providers: &providers, observe: &observe, signs: true });
        Some(Two { bind, pdns, lab })
    }

    /// How many values each host has at a selector.
    fn values(&self, selector: &str) -> [usize; 2] {
        let name = format!("{selector}._domainkey.{ZONE}");
        [self.bind.address, self.pdns.address].map(|server| texts_at(server, &name).len())
    }

    /// Advances for some time, in which `holds` must never cease to be so.
    fn meanwhile(&self, seconds: u64, holds: impl Fn(&Lab) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let mut text = String::new();
        while Instant::now() < deadline {
            text = self.lab.run(&["advance", ZONE]).0;
            assert!(holds(&self.lab), "{:?}\n{text}", self.lab.phases());
        }
        text
    }
}

fn active(lab: &Lab) -> Option<String> {
    lab.key_in(Phase::Active).map(|key| key.selector.to_string())
}

#[test]
fn a_host_that_falls_silent_holds_up_a_rotation_and_loses_nothing() {
    let Some(two) = Two::start() else { return };
    let lab = &two.lab;
    lab.ok(&["rotate", ZONE]);
    assert_eq!(two.values("s1"), [1, 1], "written at both");
    lab.until_active("s1");
    let s1 = lab.key_in(Phase::Active).unwrap();
    assert_eq!(s1.record_at.len(), 2, "a fact for each host");

    // One is silent when the next key is made: it waits half published, and the old one goes on signing.
    two.pdns.freeze();
    let (said, _) = lab.run(&["rotate", ZONE]);
    assert!(lab.key_in(Phase::Active).is_some() && !said.contains("may sign"), "{said}");
    let said = two.meanwhile(8, |lab| active(lab).as_deref() == Some("s1"));
    assert!(said.contains("pdns"), "the silent one is named: {said}");
    assert_eq!(lab.key_in(Phase::Retiring), None);
    two.pdns.thaw();
    // Both have it, and then the other one is silent before the switch.
    lab.until("s2 seen everywhere", |lab| {
        lab.key_in(Phase::Propagated).is_some() || active(lab).as_deref() == Some("s2")
    });
    lab.until_active("s2");
    assert_eq!(two.values("s2"), [1, 1]);
    let s2 = lab.key_in(Phase::Active).unwrap();
    assert_eq!(s2.record_at.len(), 2);
    let (committed, seen) = (lab.when("committed", &s2), lab.when("seen_everywhere", &s2));
    assert!(committed >= seen, "never before both had it");

    // One is silent when the old record is to go: it goes at the other, and is not forgotten.
    two.bind.freeze();
    two.meanwhile(8, |lab| !lab.phases().contains(&("s1".to_owned(), Phase::Gone)));
    two.bind.thaw();
    lab.until("s1 gone", |lab| lab.phases().contains(&("s1".to_owned(), Phase::Gone)));
    assert_eq!(two.values("s1"), [0, 0], "removed at both");
    assert_eq!(two.values("s2"), [1, 1]);
    assert_eq!(active(lab).as_deref(), Some("s2"));
}
