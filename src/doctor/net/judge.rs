//! What the facts of the way out come to: NET001 to NET008 and IP6001. Pure.

use super::blocklist::Listed;
use super::generic::sign_of_a_machine;
use super::{Address, Facts, Family, Helo, Pointer, Port25, Reverse, Tried};
use crate::doctor::finding::{Findings, Tier};
use crate::report::doctor::net as say;

/// The checks of [`judge`].
pub const IDS: [&str; 7] = ["NET001", "NET002", "NET003", "NET004", "NET005", "NET006", "NET007"];

pub fn judge(facts: &Facts, findings: &mut Findings) {
    if let Some(relay) = &facts.relay {
        IDS.iter().for_each(|id| findings.skip(id, "relayhost", say::relayed(relay)));
        return;
    }
    for family in Family::BOTH {
        port(facts, family, findings);
    }
    if facts.addresses.is_empty() {
        findings.unknown("NET002", Tier::Observed, "egress", say::no_address(&facts.ports));
    }
    for address in &facts.addresses {
        reverse(address, facts.helo.as_ref(), findings);
        matches_helo(address, facts.helo.as_ref(), findings);
    }
    for listing in &facts.listings {
        let about = format!("{} at {}", listing.ip, listing.zone);
        match &listing.result {
            Listed::No => findings.ok("NET008", Tier::Observed, about, say::not_listed(listing.ip, &listing.zone)),
            Listed::Unknown(why) => {
                findings.unknown("NET008", Tier::Observed, about, say::unlisted(why));
            }
            Listed::Yes { codes, text } => {
                let said = say::listed(listing.ip, &listing.zone, codes, text.as_deref());
                findings.found("NET008", Tier::Observed, about, said);
            }
        }
    }
}

/// NET001: one open peer is enough; that all fail is a finding, and that nobody could be asked is none.
fn port(facts: &Facts, family: Family, findings: &mut Findings) {
    let tries: Vec<&Tried> = facts.ports.iter().filter(|tried| tried.family == family).collect();
    let about = family.as_str();
    let open = tries.iter().find(|tried| matches!(tried.outcome, Port25::Open(_)));
    let shut = tries.iter().find(|tried| matches!(tried.outcome, Port25::Silent | Port25::Refused));
    let no_way = tries.iter().find(|tried| matches!(tried.outcome, Port25::NoRoute(_)));
    match (open, shut, no_way) {
        (Some(open), ..) => findings.ok("NET001", Tier::Observed, about, say::open(family, &open.peer)),
        // A container without IPv6 sends by IPv4, and nothing is wrong with that.
        (None, None, Some(_)) if family == Family::V6 => findings.skip("NET001", about, say::no_ipv6()),
        (None, None, Some(tried)) => {
            findings.found("NET001", Tier::Observed, about, say::no_route(family, &tried.peer));
        }
        (None, Some(shut), _) => {
            let refused = shut.outcome == Port25::Refused;
            findings.found("NET001", Tier::Observed, about, say::shut(family, &shut.peer, refused));
        }
        (None, None, None) if tries.is_empty() => findings.skip("NET001", about, say::no_peer(family)),
        (None, None, None) => {
            findings.unknown("NET001", Tier::Observed, about, say::untried(&tries));
        }
    }
}

/// NET002 to NET006 of one address.
fn reverse(address: &Address, helo: Option<&Helo>, findings: &mut Findings) {
    let ip = address.ip;
    let about = ip.to_string();
    let helo = helo.map(|helo| helo.name.as_str());
    let pointers = match &address.reverse {
        Reverse::Unknown(why) => {
            findings.unknown("NET005", Tier::Effective, about, say::unknown_reverse(ip, why));
            return;
        }
        Reverse::Missing { exists } => {
            findings.ok("NET005", Tier::Effective, &about, say::answered(ip));
            findings.found("NET002", Tier::Effective, about, say::no_reverse(address, *exists, helo));
            return;
        }
        Reverse::Pointers(pointers) => pointers,
    };
    findings.ok("NET002", Tier::Effective, &about, say::has_reverse(ip, pointers));
    let leads = |wanted: Option<bool>| -> Vec<&Pointer> {
        pointers.iter().filter(|pointer| pointer.forward.leads_to(ip) == wanted).collect()
    };
    let (back, elsewhere, unclear) = (leads(Some(true)), leads(Some(false)), leads(None));
    if let Some(pointer) = unclear.first() {
        findings.unknown("NET005", Tier::Effective, &about, say::unknown_forward(ip, pointer));
    } else {
        findings.ok("NET005", Tier::Effective, &about, say::answered(ip));
    }
    match (back.first(), unclear.is_empty()) {
        (Some(pointer), _) => findings.ok("NET003", Tier::Effective, &about, say::confirmed(ip, &pointer.name)),
        (None, true) => {
            findings.found("NET003", Tier::Effective, &about, say::unconfirmed(ip, &elsewhere, helo));
        }
        (None, false) => {}
    }
    match pointers.len() {
        1 => findings.ok("NET004", Tier::Effective, &about, say::one_name(ip)),
        _ if !back.is_empty() && !elsewhere.is_empty() => {
            findings.found("NET004", Tier::Effective, &about, say::several(ip, &back, &elsewhere, helo));
        }
        count if back.len() == count => {
            findings.ok("NET004", Tier::Effective, &about, say::several_confirmed(ip, count));
        }
        // None leads back, or that is not known: NET003 and NET005 say so.
        _ => {}
    }
    let shown = back.first().copied().unwrap_or(&pointers[0]);
    match sign_of_a_machine(&shown.name, ip) {
        Some(sign) => {
            findings.found("NET006", Tier::Effective, about, say::generic(ip, &shown.name, &sign, helo));
        }
        None => findings.ok("NET006", Tier::Effective, about, say::own_name(&shown.name)),
    }
}

/// NET007: the address is one of those that DNS gives for the HELO name.
fn matches_helo(address: &Address, helo: Option<&Helo>, findings: &mut Findings) {
    let Some(helo) = helo else { return };
    let about = address.ip.to_string();
    match helo.forward.leads_to(address.ip) {
        Some(true) => findings.ok("NET007", Tier::Observed, about, say::helo_leads_here(&helo.name, address.ip)),
        // Without any address HELO002 speaks.
        Some(false) if helo.forward.addresses.is_empty() => {}
        Some(false) => {
            findings.found("NET007", Tier::Observed, about, say::other_address(address, helo));
        }
        None => {
            let why = helo.forward.unknown.join("; ");
            findings.unknown("NET007", Tier::Observed, about, say::unresolved(&helo.name, &why));
        }
    }
}

/// IP6001: whoever sends by IPv6 needs a confirmed name there, for the large mailbox providers refuse the rest.
pub fn ipv6(facts: &Facts, findings: &mut Findings) {
    if let Some(relay) = &facts.relay {
        findings.skip("IP6001", "relayhost", say::relayed(relay));
        return;
    }
    let mut any = false;
    for address in facts.addresses.iter().filter(|address| Family::of(address.ip) == Family::V6) {
        any = true;
        let about = address.ip.to_string();
        let unclear = match &address.reverse {
            Reverse::Unknown(why) => Some(why.clone()),
            Reverse::Missing { .. } => None,
            Reverse::Pointers(pointers) => {
                let unclear = pointers.iter().find(|pointer| pointer.forward.leads_to(address.ip).is_none());
                unclear.map(|pointer| pointer.forward.unknown.join("; "))
            }
        };
        match (address.confirmed().next(), unclear) {
            (Some(name), _) => findings.ok("IP6001", Tier::Effective, about, say::confirmed(address.ip, name)),
            (None, Some(why)) => {
                findings.unknown("IP6001", Tier::Effective, about, say::unknown_reverse(address.ip, &why));
            }
            (None, None) => {
                let helo = facts.helo.as_ref().map(|helo| helo.name.as_str());
                findings.found("IP6001", Tier::Effective, about, say::ipv6_without_name(address, helo));
            }
        }
    }
    let v6 = || facts.ports.iter().filter(|tried| tried.family == Family::V6);
    if any {
    } else if v6().any(|tried| matches!(tried.outcome, Port25::NoRoute(_))) {
        findings.ok("IP6001", Tier::Observed, "IPv6", say::no_ipv6());
    } else if v6().any(|tried| !matches!(tried.outcome, Port25::Silent | Port25::Refused)) {
        findings.unknown("IP6001", Tier::Observed, "IPv6", say::no_address(&facts.ports));
    } else {
        findings.skip("IP6001", "IPv6", say::nothing_by_ipv6());
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
