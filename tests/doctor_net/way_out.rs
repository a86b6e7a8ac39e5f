//! Port 25 and the address that mail leaves from, seen by a real Exim on the other side of a real NAT.

use std::time::Duration;

use dkimctl::doctor::finding::{Findings, Outcome};
use dkimctl::doctor::inside::Inside;
use dkimctl::doctor::net::look::{Ask, Named, look};
use dkimctl::doctor::net::{Facts, Known, judge};

use crate::lab::{At, Lab, PEER, ip};

fn from(lab: &Lab, inside: Inside, peer: &str) -> Facts {
    let ask = Ask {
        inside,
        peers: vec![peer.to_owned()],
        helo: Some(Named { name: "mail.example.com".into(), source: "the test".into() }),
        patience: Duration::from_secs(4),
        ..Ask::default()
    };
    lab.inside(At::Host, || look(&ask, &Lab::lookup()))
}

fn result(facts: &Facts, id: &str, about: &str) -> Option<Outcome> {
    let mut findings = Findings::default();
    judge::judge(facts, &mut findings);
    judge::ipv6(facts, &mut findings);
    findings.iter().find(|finding| finding.id == id && finding.about == about).map(|finding| finding.result)
}

#[test]
fn the_address_is_learned_from_what_the_peer_sees() {
    let Some(lab) = Lab::start() else { return };
    let learned = |facts: &Facts| {
        let echoed = |known: &Known| matches!(known, Known::Echoed { peer } if peer.starts_with(PEER));
        assert!(facts.addresses.iter().all(|address| echoed(&address.known)), "{facts:?}");
        facts.addresses.iter().map(|address| address.ip).collect::<Vec<_>>()
    };
    for inside in [lab.container(), lab.container_by_commands()] {
        let facts = from(&lab, inside, PEER);
        assert_eq!(learned(&facts), [ip("203.0.113.10"), ip("2001:db8:25::10")]);
        for id in ["NET002", "NET003", "NET007"] {
            assert_eq!(result(&facts, id, "203.0.113.10"), Some(Outcome::Ok), "{id}");
        }
        assert_eq!(result(&facts, "NET001", "IPv4"), Some(Outcome::Ok));
        assert_eq!(result(&facts, "NET001", "IPv6"), Some(Outcome::Ok));
        assert_eq!(result(&facts, "IP6001", "2001:db8:25::10"), Some(Outcome::Ok));
    }
    // Another address of the host, as after a change of its rules: DNS knows nothing of it.
    lab.leave_from("203.0.113.18", "2001:db8:25::16");
    let facts = from(&lab, lab.container(), PEER);
    assert_eq!(learned(&facts), [ip("203.0.113.18"), ip("2001:db8:25::16")]);
    assert_eq!(result(&facts, "NET007", "203.0.113.18"), Some(Outcome::Warn));
    assert_eq!(result(&facts, "IP6001", "2001:db8:25::16"), Some(Outcome::Fail));
}

#[test]
fn a_closed_port_25_is_found_and_ipv6_may_be_absent() {
    let Some(lab) = Lab::start() else { return };
    lab.without_ipv6();
    let facts = from(&lab, lab.container(), PEER);
    assert_eq!(result(&facts, "NET001", "IPv4"), Some(Outcome::Ok));
    assert_eq!(result(&facts, "NET001", "IPv6"), Some(Outcome::Skip), "{facts:?}");
    assert_eq!(result(&facts, "IP6001", "IPv6"), Some(Outcome::Ok));
    // The provider drops packets to port 25.
    lab.port_25("ip", "drop");
    for inside in [lab.container(), lab.container_by_commands()] {
        let facts = from(&lab, inside, PEER);
        assert_eq!(result(&facts, "NET001", "IPv4"), Some(Outcome::Fail), "{facts:?}");
        // Nothing was learned, so nothing is said of addresses.
        assert_eq!(result(&facts, "NET002", "egress"), Some(Outcome::Unknown));
    }
}

#[test]
fn a_refused_port_25_is_found() {
    let Some(lab) = Lab::start() else { return };
    lab.port_25("inet", "reject with tcp reset");
    for inside in [lab.container(), lab.container_by_commands()] {
        let facts = from(&lab, inside, PEER);
        assert_eq!(result(&facts, "NET001", "IPv4"), Some(Outcome::Fail), "{facts:?}");
        assert_eq!(result(&facts, "NET001", "IPv6"), Some(Outcome::Fail), "{facts:?}");
    }
}

#[test]
fn what_could_not_be_tried_is_unknown() {
    let Some(lab) = Lab::start() else { return };
    // A peer whose name cannot be looked up just now.
    let facts = from(&lab, lab.container(), "mx.lame.example.net");
    assert_eq!(result(&facts, "NET001", "IPv4"), Some(Outcome::Unknown), "{facts:?}");
    // A container whose network is not known here, without a bash.
    let nowhere = Inside { exec: vec!["false".into()], ..Inside::here() };
    let facts = from(&lab, nowhere, PEER);
    assert_eq!(result(&facts, "NET001", "IPv4"), Some(Outcome::Unknown), "{facts:?}");
    assert_eq!(result(&facts, "NET002", "egress"), Some(Outcome::Unknown));
}
