//! Gathers the facts of the way out: one connection to port 25 a family, and questions to name servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dkimctl_providers::wire::{Answer, Options, ask, to_name};
use dkimctl_state::name::Fqdn;
use hickory_proto::rr::RecordType;

use super::blocklist;
use super::port25::{self, Port25};
use super::reverse::{self, address};
use super::{Address, Facts, Family, Helo, Known, Tried};
use crate::doctor::helo_name::{Fault, fault};
use crate::doctor::inside::Inside;
use crate::observe::lookup::Lookup;

/// What is to be looked at, and how.
#[derive(Debug, Clone)]
pub struct Ask {
    pub inside: Inside,
    /// Mail servers to try port 25 of, in turn, until one answers.
    pub peers: Vec<String>,
    /// Addresses that mail leaves from, as somebody wrote them down. A family with one is not learned from a peer.
    pub public: Vec<IpAddr>,
    /// `relayhost`, if there is one.
    pub relay: Option<String>,
    pub helo: Option<Named>,
    /// Block lists to ask; none unless somebody wants it.
    pub blocklists: Vec<String>,
    /// How long a connection may take.
    pub patience: Duration,
}

/// The HELO name as it was read; see [`Helo`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Named {
    pub name: String,
    pub source: String,
}

/// Who is asked unless somebody else is named: servers that everybody reaches, and that echo the address.
pub const PEERS: [&str; 2] = ["gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"];

impl Default for Ask {
    fn default() -> Self {
        Ask {
            inside: Inside::here(),
            peers: PEERS.map(String::from).to_vec(),
            public: Vec::new(),
            relay: None,
            helo: None,
            blocklists: Vec::new(),
            patience: Duration::from_secs(8),
        }
    }
}

pub fn look(wanted: &Ask, lookup: &Lookup) -> Facts {
    let mut facts = Facts { relay: wanted.relay.clone(), ..Facts::default() };
    facts.helo = wanted.helo.as_ref().map(|helo| helo_of(helo, lookup));
    // Whoever relays does not speak to the world: the addresses that count are the relay's.
    if wanted.relay.is_some() {
        return facts;
    }
    facts.ports = std::thread::scope(|scope| {
        let tries = Family::BOTH.map(|family| scope.spawn(move || try_family(wanted, lookup, family)));
        tries.into_iter().flat_map(|tried| tried.join().unwrap_or_default()).collect()
    });
    for (ip, known) in egress(&facts.ports, &wanted.public) {
        facts.addresses.push(Address { ip, known, reverse: reverse::look(lookup, ip) });
    }
    if let Some(&resolver) = lookup.config().resolvers.first() {
        let options = lookup.config().options;
        for ip in facts.addresses.iter().map(|address| address.ip) {
            facts.listings.extend(wanted.blocklists.iter().map(|zone| blocklist::ask(resolver, options, zone, ip)));
        }
    }
    facts
}

fn helo_of(named: &Named, lookup: &Lookup) -> Helo {
    let Named { name, source } = named.clone();
    // What only this machine knows, or nobody, is not asked for: it has no address that others see.
    let forward = match fault(&name, "") {
        Some(Fault::Example) | None => reverse::forward(lookup, &name),
        Some(_) => Default::default(),
    };
    Helo { forward, name, source }
}

/// The addresses that mail leaves from: what was written down, and what the peers saw in the other families.
pub(super) fn egress(ports: &[Tried], public: &[IpAddr]) -> Vec<(IpAddr, Known)> {
    let mut found: Vec<(IpAddr, Known)> = public.iter().map(|ip| (ip.to_canonical(), Known::Configured)).collect();
    for tried in ports {
        let Port25::Open(dialogue) = &tried.outcome else { continue };
        let peer = tried.peer.clone();
        let seen = match (dialogue.echoed(), dialogue.local) {
            (Some(ip), _) => (ip, Known::Echoed { peer }),
            // Nobody translates an address that is public already, as a rule.
            (None, Some(ip)) if is_public(ip) => (ip, Known::Own { peer }),
            _ => continue,
        };
        // What a peer saw is better evidence than what somebody wrote down, of the same address.
        match found.iter_mut().find(|(ip, _)| *ip == seen.0) {
            Some(known) => *known = seen,
            None => found.push(seen),
        }
    }
    found
}

/// Tries the peers of one family in turn, until one answers or shows that there is no way.
fn try_family(wanted: &Ask, lookup: &Lookup, family: Family) -> Vec<Tried> {
    let mut tries = Vec::new();
    let helo = wanted.helo.as_ref().map(|helo| helo.name.as_str());
    for peer in &wanted.peers {
        let ip = match address_of(lookup, peer, family) {
            Ok(Some(ip)) => ip,
            Ok(None) => continue,
            Err(why) => {
                tries.push(Tried { family, peer: peer.clone(), outcome: Port25::Unknown(why) });
                continue;
            }
        };
        let outcome = port25::ask(&wanted.inside, SocketAddr::new(ip, 25), helo, wanted.patience);
        let settled = matches!(outcome, Port25::Open(_) | Port25::NoRoute(_));
        let shown = if *peer == ip.to_string() { peer.clone() } else { format!("{peer} {ip}") };
        tries.push(Tried { family, peer: shown, outcome });
        if settled {
            break;
        }
    }
    tries
}

/// The peer's address in a family; `None` if it has none there.
fn address_of(lookup: &Lookup, peer: &str, family: Family) -> Result<Option<IpAddr>, String> {
    if let Ok(ip) = peer.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok(Some(ip).filter(|ip| Family::of(*ip) == family));
    }
    let name: Fqdn = peer.parse().map_err(|error| format!("{error}"))?;
    let rtype = if family == Family::V4 { RecordType::A } else { RecordType::AAAA };
    let options = Options { recursion: true, ..lookup.config().options };
    let mut why = "no resolver is known".to_owned();
    for &resolver in &lookup.config().resolvers {
        match ask(resolver, &to_name(&name), rtype, options) {
            Answer::Records(records) => return Ok(records.answers.iter().find_map(|record| address(&record.data))),
            Answer::NoData(_) | Answer::NxDomain(_) => return Ok(None),
            other => {
                why = format!("{peer} could not be looked up at {resolver}: {}", crate::observe::why_unknown(&other))
            }
        }
    }
    Err(why)
}

/// Whether an address is one that the world can answer to.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let shared = a == 100 && (64..128).contains(&b); // RFC 6598
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || shared || a >= 224)
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xe000 == 0x2000,
    }
}
