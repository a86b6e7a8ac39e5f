//! Names of addresses, and addresses of names.

use std::net::IpAddr;

use dkimctl_state::name::Fqdn;
use hickory_proto::rr::{Name, RData, RecordType};

use crate::observe::lookup::{Found, Lookup, shown};

/// What the reverse zone says of an address.
#[derive(Debug, Clone, PartialEq)]
pub enum Reverse {
    Pointers(Vec<Pointer>),
    /// No PTR. `exists`: the name stands there without one.
    Missing {
        exists: bool,
    },
    Unknown(String),
}

/// A PTR, and where its name leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Pointer {
    pub name: String,
    pub forward: Forward,
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Forward {
    /// A and AAAA.
    pub addresses: Vec<IpAddr>,
    /// What could not be asked: another address may stand there.
    pub unknown: Vec<String>,
}

impl Reverse {
    pub fn pointers(&self) -> &[Pointer] {
        match self {
            Reverse::Pointers(pointers) => pointers,
            _ => &[],
        }
    }
}

impl Forward {
    /// Whether the name has this address; `None` if that is not known.
    pub fn leads_to(&self, ip: IpAddr) -> Option<bool> {
        let ip = ip.to_canonical();
        match self.addresses.iter().any(|address| address.to_canonical() == ip) {
            true => Some(true),
            false if self.unknown.is_empty() => Some(false),
            false => None,
        }
    }
}

/// The name under which an address is looked up: octets in `in-addr.arpa` (RFC 1035 section 3.5), nibbles in
/// `ip6.arpa` (RFC 3596 section 2.5).
pub fn reverse_name(ip: IpAddr) -> Name {
    let text = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa."
        }
    };
    Name::from_ascii(text).unwrap_or_default()
}

/// Asks for the PTRs of an address and for the addresses of each.
pub fn look(lookup: &Lookup, ip: IpAddr) -> Reverse {
    let looked = lookup.ask(&reverse_name(ip), RecordType::PTR);
    let records = match looked.found {
        Found::Records(records) => records,
        Found::NoData => return Reverse::Missing { exists: true },
        Found::NoName => return Reverse::Missing { exists: false },
        Found::Unknown(why) => return Reverse::Unknown(why),
    };
    let mut pointers: Vec<Pointer> = Vec::new();
    for record in records {
        let RData::PTR(target) = record else { continue };
        let name = shown(&target.0);
        if pointers.iter().all(|pointer| pointer.name != name) {
            pointers.push(Pointer { forward: forward(lookup, &name), name });
        }
    }
    pointers.sort_by(|a, b| a.name.cmp(&b.name));
    if pointers.is_empty() { Reverse::Missing { exists: true } } else { Reverse::Pointers(pointers) }
}

/// Asks for both kinds of addresses of a name. What is no host's name has none.
pub fn forward(lookup: &Lookup, name: &str) -> Forward {
    let mut forward = Forward::default();
    let Ok(fqdn) = name.parse::<Fqdn>() else { return forward };
    let name = dkimctl_providers::wire::to_name(&fqdn);
    for rtype in [RecordType::A, RecordType::AAAA] {
        match lookup.ask(&name, rtype).found {
            Found::Records(records) => forward.addresses.extend(records.iter().filter_map(address)),
            Found::NoData | Found::NoName => {}
            Found::Unknown(why) => forward.unknown.push(format!("{rtype} of {fqdn}: {why}")),
        }
    }
    forward.addresses.sort();
    forward.addresses.dedup();
    forward
}

pub(super) fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_backwards() {
        let name = |ip: &str| shown(&reverse_name(ip.parse().unwrap()));
        assert_eq!(name("203.0.113.10"), "10.113.0.203.in-addr.arpa");
        assert_eq!(name("::ffff:203.0.113.10"), "10.113.0.203.in-addr.arpa");
        let nibbles = "6.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.2.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(name("2001:db8:25::16"), nibbles);
    }

    #[test]
    fn what_could_not_be_asked_is_not_missing() {
        let ip: IpAddr = "203.0.113.10".parse().unwrap();
        let other = Forward { addresses: vec!["203.0.113.99".parse().unwrap()], unknown: vec![] };
        assert_eq!(other.leads_to(ip), Some(false));
        assert_eq!(Forward { unknown: vec!["SERVFAIL".into()], ..other.clone() }.leads_to(ip), None);
        assert_eq!(other.leads_to("::ffff:203.0.113.99".parse().unwrap()), Some(true));
    }
}
