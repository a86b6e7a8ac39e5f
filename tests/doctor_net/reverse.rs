//! Reverse names, HELO and block lists against real zones: the verdict of every row, and that SERVFAIL and silence
//! are no verdict.

use std::net::IpAddr;

use dkimctl::doctor::finding::{Findings, Outcome};
use dkimctl::doctor::helo_seen;
use dkimctl::doctor::net::judge;
use dkimctl::doctor::net::look::{Ask, Named, look};
use dkimctl::doctor::net::{Facts, Reverse};

use crate::lab::{At, Lab, RESOLVER, ip};

/// What each check says of one address, without those that say that all is well.
fn troubles(findings: &Findings, about: &str) -> Vec<(&'static str, Outcome)> {
    let bad = findings.iter().filter(|finding| finding.about == about);
    bad.filter(|finding| finding.result > Outcome::Skip).map(|finding| (finding.id, finding.result)).collect()
}

fn judged(facts: &Facts) -> Findings {
    let mut findings = Findings::default();
    judge::judge(facts, &mut findings);
    judge::ipv6(facts, &mut findings);
    facts.helo.iter().for_each(|helo| helo_seen::in_force(helo, &mut findings));
    helo_seen::judge(facts, &mut findings);
    findings
}

fn asked(lab: &Lab, public: &[&str], named: &str, blocklists: &[&str]) -> Facts {
    let ask = Ask {
        peers: Vec::new(),
        public: public.iter().map(|text| ip(text)).collect(),
        helo: Some(Named { name: named.into(), source: "the test".into() }),
        blocklists: blocklists.iter().map(|&zone| zone.to_owned()).collect(),
        ..Ask::default()
    };
    lab.inside(At::Host, || look(&ask, &Lab::lookup()))
}

#[test]
fn every_row_of_the_table() {
    use Outcome::{Fail, Unknown, Warn};
    let Some(lab) = Lab::start() else { return };
    // The address; the name that its server gives itself; what is found.
    let rows: &[(&str, &str, &[(&str, Outcome)])] = &[
        ("203.0.113.10", "mail.example.com", &[]),
        ("2001:db8:25::10", "mail.example.com", &[]),
        ("203.0.113.11", "mail.example.com", &[("NET002", Fail), ("NET007", Warn)]),
        ("2001:db8:25::11", "mail.example.com", &[("NET002", Fail), ("NET007", Warn), ("IP6001", Fail)]),
        ("203.0.113.12", "wrong.example.com", &[("NET003", Fail), ("NET007", Warn)]),
        ("2001:db8:25::12", "wrong.example.com", &[("NET003", Fail), ("NET007", Warn), ("IP6001", Fail)]),
        ("203.0.113.13", "mail13.example.com", &[("NET004", Warn)]),
        ("203.0.113.14", "mail14.example.com", &[]),
        ("203.0.113.15", "mail.example.com", &[("NET005", Unknown), ("NET007", Warn)]),
        ("203.0.113.16", "mail16.example.com", &[]),
        ("2001:db8:25::16", "mail16.example.com", &[("NET002", Fail), ("IP6001", Fail)]),
        ("203.0.113.17", "static-203-0-113-17.isp.example.net", &[("NET006", Warn)]),
        ("203.0.113.18", "mail.example.com", &[("NET007", Warn), ("HELO003", Warn)]),
        // A name server that is silent.
        ("203.0.113.19", "mail.example.com", &[("NET005", Unknown), ("NET007", Warn)]),
        // A name that is there, with something else.
        ("203.0.113.20", "mail.example.com", &[("NET002", Fail), ("NET007", Warn)]),
        // Two names that both lead back.
        ("203.0.113.21", "a21.example.com", &[]),
        // The reverse name is there, and its own zone is broken.
        ("203.0.113.22", "mail.example.com", &[("NET005", Unknown), ("NET007", Warn)]),
        // Aliases that lead to each other.
        ("203.0.113.23", "mail.example.com", &[("NET005", Unknown), ("NET007", Warn)]),
    ];
    let mut wrong = Vec::new();
    for (address, helo, wanted) in rows {
        let facts = asked(&lab, &[address], helo, &[]);
        let found = troubles(&judged(&facts), address);
        if found != *wanted {
            wrong.push(format!("{address} as {helo}: {found:?}, not {wanted:?}\n  {:?}", facts.addresses));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // RFC 2317: the alias was followed into a zone of another server.
    let facts = asked(&lab, &["203.0.113.14"], "mail14.example.com", &[]);
    let Reverse::Pointers(pointers) = &facts.addresses[0].reverse else { panic!("{facts:?}") };
    assert_eq!(pointers[0].name, "mail14.example.com");
}

#[test]
fn a_reason_is_given_with_the_server_that_did_not_answer() {
    let Some(lab) = Lab::start() else { return };
    for (address, server, why) in
        [("203.0.113.15", "203.0.113.25", "SERVFAIL"), ("203.0.113.19", "203.0.113.26", "no answer")]
    {
        let findings = judged(&asked(&lab, &[address], "mail.example.com", &[]));
        let unknown = findings.iter().find(|finding| finding.id == "NET005").unwrap();
        assert!(unknown.evidence.contains(server) && unknown.evidence.contains(why), "{}", unknown.evidence);
    }
}

#[test]
fn helo_names_as_receivers_judge_them() {
    use Outcome::{Fail, Ok, Skip, Warn};
    let Some(lab) = Lab::start() else { return };
    for (name, full, resolves, is_ptr) in [
        ("mail.example.com", Ok, Ok, Ok),
        ("MAIL.example.com", Ok, Ok, Ok),
        ("f7a2c4b1d3e5", Fail, Fail, Warn),
        ("f7a2c4b1d3e5.localdomain", Fail, Fail, Warn),
        ("localhost.localdomain", Fail, Fail, Warn),
        ("mail_relay.example.com", Fail, Fail, Warn),
        ("nothing.example.com", Ok, Fail, Warn),
        ("only4.example.com", Ok, Ok, Warn),
        ("[203.0.113.10]", Ok, Skip, Skip),
    ] {
        let findings = judged(&asked(&lab, &["203.0.113.10"], name, &[]));
        let result = |id: &str| findings.iter().find(|finding| finding.id == id).map(|finding| finding.result);
        let found = (result("HELO001"), result("HELO002"), result("HELO003"));
        assert_eq!(found, (Some(full), Some(resolves), Some(is_ptr)), "{name}");
    }
    // A name whose zone is broken is not known, and not missing.
    let findings = judged(&asked(&lab, &["203.0.113.10"], "mail.lame.example.net", &[]));
    let unknown = findings.iter().find(|finding| finding.id == "HELO002").unwrap();
    assert_eq!(unknown.result, Outcome::Unknown, "{}", unknown.evidence);
}

#[test]
fn block_lists_list_or_do_not_or_are_dead() {
    use Outcome::{Ok, Unknown, Warn};
    let Some(lab) = Lab::start() else { return };
    assert_eq!(RESOLVER.parse::<std::net::SocketAddr>().unwrap().ip(), ip("203.0.113.25"));
    for (address, zone, wanted) in [
        ("203.0.113.10", "zen.example.org", Warn),
        ("203.0.113.18", "zen.example.org", Ok),
        ("203.0.113.18", "dead.example.net", Unknown),
        // The list has no test address of IPv6, so that it says nothing is no answer.
        ("2001:db8:25::10", "zen.example.org", Unknown),
    ] {
        let findings = judged(&asked(&lab, &[address], "mail.example.com", &[zone]));
        let listing = findings.iter().find(|finding| finding.id == "NET008").unwrap();
        assert_eq!(listing.result, wanted, "{address} at {zone}: {}", listing.evidence);
    }
    let facts = asked(&lab, &["203.0.113.10"], "mail.example.com", &[]);
    assert!(facts.listings.is_empty(), "nobody asked for lists");
    let _: Vec<IpAddr> = facts.addresses.iter().map(|address| address.ip).collect();
}
