//! The name that the mail server gives itself.

use super::net::record_type;
use crate::doctor::finding::Said;
use crate::doctor::net::{Address, Helo};

fn said(evidence: impl Into<String>, fix: impl Into<String>) -> Said {
    Said { evidence: evidence.into(), fix: fix.into() }
}

pub fn not_known() -> Said {
    said(
        "the HELO name is not known: no mail server was named to look at",
        "name its container: dkimctl doctor --container NAME",
    )
}

pub fn accepted(helo: &Helo, peer: &str) -> String {
    format!("HELO is {} ({}), and {peer} took it", helo.name, helo.source)
}

pub fn refused(helo: &Helo, peer: &str, reply: &str) -> Said {
    let first = reply.lines().next().unwrap_or_default();
    said(
        format!("{peer} does not take EHLO {}: {first:.200}", helo.name),
        "set `myhostname` in main.cf to the name that the reverse zone gives for your address",
    )
}

pub fn literal() -> String {
    "HELO is an address, not a name".to_owned()
}

pub fn relayed(relay: &str) -> String {
    format!("mail leaves through {relay}, whose HELO the receivers see")
}

pub fn resolves(helo: &Helo) -> String {
    let addresses: Vec<String> = helo.forward.addresses.iter().map(ToString::to_string).collect();
    format!("{} is {}", helo.name, addresses.join(", "))
}

pub fn does_not_resolve(helo: &Helo, addresses: &[Address]) -> Said {
    let name = helo.name.trim_end_matches('.');
    said(
        format!("HELO is {name}, which has neither A nor AAAA: receivers answer 450 4.7.1 Host not found"),
        match addresses {
            [] => {
                format!("add an A record of {name} with the address that mail leaves from\ncheck: dig +short A {name}")
            }
            known => {
                let record = |address: &Address| {
                    let rtype = record_type(address.ip);
                    format!("add the address that mail leaves from: {name}. {rtype} {}\n", address.ip)
                };
                let records: String = known.iter().map(record).collect();
                format!("{records}check: dig +short A {name}")
            }
        },
    )
}

pub fn unresolved(helo: &Helo) -> Said {
    said(
        format!("whether {} has an address is not known: {}", helo.name, helo.forward.unknown.join("; ")),
        format!("ask again later: dig A {} +trace", helo.name),
    )
}

pub fn no_address() -> Said {
    said(
        "the address that mail leaves from is not known, so its reverse name cannot be compared with HELO",
        "name it: dkimctl doctor --public-ip 203.0.113.10",
    )
}

pub fn matches(helo: &Helo, address: &Address) -> String {
    format!("HELO {} is the reverse name of {}", helo.name, address.ip)
}

pub fn nothing_to_match(address: &Address) -> String {
    format!("{} has no confirmed reverse name to compare with", address.ip)
}

pub fn differs(helo: &Helo, address: &Address, confirmed: &[&str]) -> Said {
    let (name, ip) = (&helo.name, address.ip);
    said(
        format!(
            "HELO is {name}, and the reverse name of {ip} is {}. That works at most receivers, and lowers the score \
             at some",
            confirmed.join(", ")
        ),
        format!(
            "set `myhostname = {}` in main.cf\nor set the reverse name of {ip} to {name}, and {name}. {} {ip}",
            confirmed[0],
            record_type(ip)
        ),
    )
}
