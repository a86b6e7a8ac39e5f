//! The name that the mail server gives itself, as peers and DNS see it: HELO001 to HELO003. Pure; [`super::net::look`]
//! gathers.

use super::finding::{Findings, Tier};
use super::helo_name::{HELO, fault};
use super::net::{Address, Dialogue, Facts, Helo, Port25};
use crate::report::doctor::{helo_name, helo_seen as say};

/// HELO001 as it is configured here. What is in force inside a container, [`super::helo_name`] says.
pub fn in_force(helo: &Helo, findings: &mut Findings) {
    match fault(&helo.name, "") {
        None => findings.ok("HELO001", Tier::Effective, HELO, helo_name::name_in_force(&helo.name)),
        Some(fault) => {
            findings.found("HELO001", Tier::Effective, HELO, helo_name::bad_name_in_force(&helo.name, fault, None));
        }
    }
}

/// What peers and DNS say of the name.
pub fn judge(facts: &Facts, findings: &mut Findings) {
    let Some(helo) = &facts.helo else {
        for id in ["HELO002", "HELO003"] {
            findings.unknown(id, Tier::Effective, HELO, say::not_known());
        }
        return;
    };
    if let Some((peer, reply)) = refused(facts) {
        findings.found("HELO001", Tier::Observed, HELO, say::refused(helo, peer, reply));
    } else if let (None, Some(peer)) = (fault(&helo.name, ""), accepted(facts)) {
        findings.ok("HELO001", Tier::Observed, HELO, say::accepted(helo, peer));
    }
    // RFC 5321 section 4.1.3: an address in brackets stands for the host itself; there is no name to look up.
    if helo.name.starts_with('[') {
        findings.skip("HELO002", HELO, say::literal());
        findings.skip("HELO003", HELO, say::literal());
        return;
    }
    resolves(helo, &facts.addresses, findings);
    match &facts.relay {
        Some(relay) => findings.skip("HELO003", HELO, say::relayed(relay)),
        None if facts.addresses.is_empty() => {
            findings.unknown("HELO003", Tier::Effective, HELO, say::no_address());
        }
        None => facts.addresses.iter().for_each(|address| is_the_reverse_name(helo, address, findings)),
    }
}

/// A peer that took EHLO with this name.
fn accepted(facts: &Facts) -> Option<&str> {
    facts.ports.iter().find_map(|tried| match &tried.outcome {
        Port25::Open(dialogue) if dialogue.accepted() => Some(tried.peer.as_str()),
        _ => None,
    })
}

/// A peer that did not take EHLO with this name.
fn refused(facts: &Facts) -> Option<(&str, &str)> {
    facts.ports.iter().find_map(|tried| match &tried.outcome {
        // Before a greeting of 220 a refusal is about the address, not about the name.
        Port25::Open(Dialogue { greeting, reply, .. }) if greeting.starts_with("220") && reply.starts_with("50") => {
            Some((tried.peer.as_str(), reply.as_str()))
        }
        _ => None,
    })
}

fn resolves(helo: &Helo, addresses: &[Address], findings: &mut Findings) {
    let forward = &helo.forward;
    if !forward.addresses.is_empty() {
        findings.ok("HELO002", Tier::Effective, HELO, say::resolves(helo));
    } else if forward.unknown.is_empty() {
        findings.found("HELO002", Tier::Effective, HELO, say::does_not_resolve(helo, addresses));
    } else {
        findings.unknown("HELO002", Tier::Effective, HELO, say::unresolved(helo));
    }
}

fn is_the_reverse_name(helo: &Helo, address: &Address, findings: &mut Findings) {
    let about = address.ip.to_string();
    let confirmed: Vec<&str> = address.confirmed().collect();
    if confirmed.iter().any(|name| name.eq_ignore_ascii_case(helo.name.trim_end_matches('.'))) {
        findings.ok("HELO003", Tier::Effective, about, say::matches(helo, address));
    } else if confirmed.is_empty() {
        findings.skip("HELO003", about, say::nothing_to_match(address));
    } else {
        findings.found("HELO003", Tier::Effective, about, say::differs(helo, address, &confirmed));
    }
}

#[cfg(test)]
#[path = "helo_seen_tests.rs"]
mod tests;
