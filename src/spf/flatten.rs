//! Flattening, as a plan and never as a change: the includes of a record as the addresses they stand for today.
//!
//! It goes stale in silence when a service moves, so it carries the hash of what it was made from; whoever publishes
//! it compares that hash again (`dkimctl spf check --flatten --expect HASH`).

use dkimctl_state::record::spf::{Directive, Mechanism, Qualifier, SpfRecord, Term};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::eval::analyze;
use super::lint::networks;
use super::resolver::Resolver;
use super::tree::{AtDomain, Branch, Visit};

/// A record without lookups, as far as that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flat {
    pub domain: String,
    pub record: String,
    /// SHA-256 over every record and address that it was made from, in hexadecimal digits.
    pub snapshot: String,
    /// Terms that had to stay, each with its reason.
    pub kept: Vec<String>,
    pub octets: usize,
}

/// What the record would be; `Err` says why nothing can be said.
pub fn flatten(resolver: &dyn Resolver, domain: &str) -> Result<Flat, String> {
    let tree = analyze(resolver, domain);
    unreadable(&tree)?;
    let mut terms: Vec<Term> = Vec::new();
    let mut kept = Vec::new();
    for visit in &tree.terms {
        match flat(visit) {
            Ok(new) => new.into_iter().for_each(|term| {
                if !terms.contains(&term) {
                    terms.push(term);
                }
            }),
            Err(why) => {
                kept.push(format!("{}: {why}", visit.term));
                terms.push(visit.term.clone());
            }
        }
    }
    let record = SpfRecord { terms }.to_string();
    let octets = record.len();
    Ok(Flat { domain: domain.to_owned(), record, snapshot: snapshot(&tree), kept, octets })
}

/// The networks in place of one term, or why it stays.
fn flat(visit: &Visit) -> Result<Vec<Term>, &'static str> {
    let Term::Directive(directive) = &visit.term else { return Err("a modifier is not flattened") };
    let below: Vec<(std::net::IpAddr, u8)> = match (&directive.mechanism, &visit.below) {
        (Mechanism::All | Mechanism::Ip4(..) | Mechanism::Ip6(..), _) => return Ok(vec![visit.term.clone()]),
        _ if visit.dynamic => return Err("it depends on the message"),
        (Mechanism::Include(_), Some(below)) => {
            let mut plain = true;
            below.walk(&mut |_, visit| {
                let Term::Directive(d) = &visit.term else { return };
                let is_end = d.mechanism == Mechanism::All;
                plain &= is_end || !visit.dynamic && d.qualifier() == Qualifier::Pass;
                plain &= !matches!(d.mechanism, Mechanism::Exists(_) | Mechanism::Ptr(_));
                plain &= !(is_end && d.qualifier() == Qualifier::Pass);
            });
            if !plain {
                return Err("its record holds more than addresses that pass");
            }
            networks(below)
        }
        (Mechanism::A(..) | Mechanism::Mx(..), _) => {
            let alone = Branch { terms: vec![visit.clone()], ..Branch::new("", AtDomain::Dynamic) };
            networks(&alone)
        }
        _ => return Err("it is not a list of addresses"),
    };
    let mechanism = |(ip, length): (std::net::IpAddr, u8)| match ip {
        std::net::IpAddr::V4(ip) => Mechanism::Ip4(ip, (length < 32).then_some(length)),
        std::net::IpAddr::V6(ip) => Mechanism::Ip6(ip, (length < 128).then_some(length)),
    };
    let written = directive.written;
    Ok(below.into_iter().map(|n| Term::Directive(Directive { written, mechanism: mechanism(n) })).collect())
}

fn unreadable(tree: &Branch) -> Result<(), String> {
    let mut wrong = None;
    tree.branches(&mut |branch| {
        if !matches!(branch.at, AtDomain::Record(_)) {
            wrong.get_or_insert_with(|| format!("{} cannot be read as one SPF record", branch.domain));
        }
    });
    tree.walk(&mut |_, visit| {
        if let Some(trouble) = &visit.trouble {
            wrong.get_or_insert_with(|| trouble.clone());
        }
    });
    wrong.map_or(Ok(()), Err)
}

/// What the whole tree was made of when it was looked at.
pub fn snapshot(tree: &Branch) -> String {
    let mut lines = Vec::new();
    tree.branches(&mut |branch| {
        if let AtDomain::Record(text) = &branch.at {
            lines.push(format!("{} {text}", branch.domain.to_ascii_lowercase()));
        }
    });
    tree.walk(&mut |branch, visit| {
        lines.extend(visit.addresses.iter().map(|ip| format!("{} {} {ip}", branch.domain, visit.term)));
    });
    lines.sort();
    lines.dedup();
    Sha256::digest(lines.join("\n")).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    const ZONE: &str = "
        d.test TXT v=spf1 ip4:192.0.2.1 include:i.test a:h.test include:odd.test exists:%{i}.test ~all
        i.test TXT v=spf1 ip4:198.51.100.0/24 include:j.test -all
        j.test TXT v=spf1 ip6:2001:db8::/32 -all
        odd.test TXT v=spf1 -ip4:203.0.113.1 ip4:203.0.113.0/24 -all
        h.test A 192.0.2.7";

    #[test]
    fn lists_of_addresses_become_addresses_and_the_rest_stays() {
        let flat = flatten(&Fake::new(ZONE), "d.test").unwrap();
        assert_eq!(
            flat.record,
            "v=spf1 ip4:192.0.2.1 ip4:198.51.100.0/24 ip6:2001:db8::/32 ip4:192.0.2.7 include:odd.test \
             exists:%{i}.test ~all"
        );
        assert_eq!(flat.kept.len(), 2);
        let moved = Fake::new(&ZONE.replace("192.0.2.7", "192.0.2.8"));
        assert_ne!(flatten(&moved, "d.test").unwrap().snapshot, flat.snapshot);
        assert_eq!(flatten(&Fake::new(ZONE), "d.test").unwrap().snapshot, flat.snapshot);
    }

    #[test]
    fn what_cannot_be_read_is_not_flattened() {
        let fake = Fake::new("d.test TXT v=spf1 include:i.test ~all\ni.test FAIL");
        assert!(flatten(&fake, "d.test").is_err());
    }
}
