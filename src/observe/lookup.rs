//! Any record of any name, as the zone's own servers serve it, at the end of its aliases.
//!
//! For names that stand already: reverse names, hosts, HELO names. A caching resolver would do for most of them, and
//! shows yesterday's reverse name for the rest.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use dkimctl_providers::wire::{self, Question, from_name};
use dkimctl_state::name::Fqdn;
use hickory_proto::rr::{Name, RData, RecordType};

use super::zones::Zones;
use super::{Batches, Config, LONGEST_CHAIN, ask_batches, why_unknown};

/// Asks the authoritative servers, and remembers which they are.
pub struct Lookup {
    config: Config,
    zones: Mutex<Zones>,
}

/// What was found, and where it led.
#[derive(Debug, Clone, PartialEq)]
pub struct Looked {
    /// The aliases that were followed, in order.
    pub aliases: Vec<String>,
    pub found: Found,
}

/// What stands at the end of the aliases. None of these is ever taken for another.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    Records(Vec<RData>),
    /// The name is there without such a record.
    NoData,
    /// NXDOMAIN.
    NoName,
    /// Some server did not say, and no other had a record.
    Unknown(String),
}

/// A server as it is shown, and where it is.
type Server = (String, Option<SocketAddr>);

/// What the servers of one name said.
enum Hop {
    Found(Found),
    Alias(Name),
    /// The name lies in a zone below, served by these.
    Referred(Vec<Fqdn>),
}

impl Lookup {
    pub fn new(config: Config) -> Self {
        Lookup { config, zones: Mutex::default() }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn ask(&self, name: &Name, rtype: RecordType) -> Looked {
        let mut looked = Looked { aliases: Vec::new(), found: Found::NoName };
        let mut at = name.clone();
        loop {
            looked.found = match self.follow(&at, rtype) {
                Err(_) if self.is_below_no_top(&at) => Found::NoName,
                Err(why) => Found::Unknown(why),
                Ok(Hop::Found(found)) => found,
                Ok(Hop::Referred(_)) => Found::Unknown(format!("the servers of {at} refer to each other")),
                Ok(Hop::Alias(target)) => {
                    let shown = shown(&target);
                    if looked.aliases.contains(&shown) || looked.aliases.len() >= LONGEST_CHAIN {
                        Found::Unknown(format!("the chain of aliases does not end at {shown}"))
                    } else {
                        looked.aliases.push(shown);
                        at = target;
                        continue;
                    }
                }
            };
            return looked;
        }
    }

    /// Where the name is served, as far as that could be found.
    pub fn served_at(&self, name: &Name) -> Vec<SocketAddr> {
        let servers = self.servers(name).unwrap_or_default();
        servers.into_iter().filter_map(|(_, address)| address).collect()
    }

    /// Asks the servers of a name, and those that they refer to.
    fn follow(&self, name: &Name, rtype: RecordType) -> Result<Hop, String> {
        let mut servers = self.servers(name)?;
        for _ in 0..LONGEST_CHAIN {
            match self.hop(name, rtype, &servers) {
                Hop::Referred(hosts) => servers = self.zones().hosts(&self.config, &hosts),
                other => return Ok(other),
            }
        }
        Ok(Hop::Referred(Vec::new()))
    }

    fn zones(&self) -> std::sync::MutexGuard<'_, Zones> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers of the lowest zone that is known to hold the name.
    fn servers(&self, name: &Name) -> Result<Vec<Server>, String> {
        let fqdn = match from_name(name) {
            Some(fqdn) => fqdn,
            // RFC 2317 section 4 names zones `0/25.2.0.192.in-addr.arpa`, which no host is called: the zone above is
            // looked for, and refers to it.
            None => {
                let above = std::iter::successors(Some(name.base_name()), |n| (!n.is_root()).then(|| n.base_name()));
                let above = above.take_while(|n| !n.is_root()).find_map(|n| from_name(&n));
                let above = above.ok_or_else(|| format!("{name} is no name that can be looked up"))?;
                above.child("x").map_err(|error| error.to_string())?
            }
        };
        let mut config = self.config.clone();
        // Servers that were given for everything: which zone of theirs it is does not matter here.
        if !config.servers.is_empty() && !config.nameservers.keys().any(|zone| fqdn.is_in(zone)) {
            config.nameservers.insert(fqdn.clone(), config.servers.clone());
        }
        let found = self.zones().find(&config, &[fqdn]).pop();
        let servers = found.unwrap_or_else(|| Err("the zone was not found".into()))?;
        Ok(servers.labels().map(|(label, address)| (label.to_owned(), address)).collect())
    }

    /// Whether the root itself denies the name: no zone holds `mail.localdomain`, and nobody has to be asked for it.
    fn is_below_no_top(&self, name: &Name) -> bool {
        let options = wire::Options { recursion: true, ..self.config.options };
        self.config.resolvers.iter().any(|&resolver| match wire::ask(resolver, name, RecordType::A, options) {
            wire::Answer::NxDomain(negative) => negative.soa.is_some_and(|(zone, _, _)| zone.is_root()),
            _ => false,
        })
    }

    /// Asks every server of a name.
    fn hop(&self, name: &Name, rtype: RecordType, servers: &[Server]) -> Hop {
        let addresses: BTreeSet<SocketAddr> = servers.iter().filter_map(|(_, address)| *address).collect();
        let question = || Question { name: name.clone(), rtype };
        let batches: Batches<()> = addresses.iter().map(|&server| (server, vec![((), question())])).collect();
        let answers = ask_batches(batches, self.config.options);
        let said: HashMap<SocketAddr, wire::Answer> =
            answers.into_iter().map(|(server, (), answer)| (server, answer)).collect();
        let mut sum = Sum::default();
        for (label, address) in servers {
            match address.and_then(|address| said.get(&address)) {
                Some(answer) => sum.add(name, rtype, label, answer),
                None => sum.unknown.push(format!("{label} has no address")),
            }
        }
        sum.hop()
    }
}

/// The answers of several servers of one name.
#[derive(Default)]
struct Sum {
    records: Vec<RData>,
    alias: Option<Name>,
    referral: Vec<Fqdn>,
    no_data: bool,
    no_name: bool,
    unknown: Vec<String>,
    /// Servers that this machine has no way to: they say nothing against what others say.
    unreachable: Vec<String>,
}

impl Sum {
    fn add(&mut self, name: &Name, rtype: RecordType, server: &str, answer: &wire::Answer) {
        match answer {
            wire::Answer::Records(records) if records.authoritative => {
                let own = records.answers.iter().filter(|record| record.name == *name);
                for record in own {
                    match &record.data {
                        RData::CNAME(target) if rtype != RecordType::CNAME => self.alias = Some(target.0.clone()),
                        data if data.record_type() == rtype && !self.records.contains(data) => {
                            self.records.push(data.clone());
                        }
                        _ => {}
                    }
                }
            }
            wire::Answer::NoData(negative) if negative.authoritative => self.no_data = true,
            wire::Answer::NxDomain(negative) if negative.authoritative => self.no_name = true,
            wire::Answer::NoData(negative) if leads_down(name, negative) => {
                self.referral.extend(negative.referral.iter().filter_map(|(_, target)| from_name(target)));
            }
            wire::Answer::NoRoute(_) => self.unreachable.push(format!("{server}: {}", why_unknown(answer))),
            other => self.unknown.push(format!("{server}: {}", why_unknown(other))),
        }
    }

    fn hop(mut self) -> Hop {
        if !self.records.is_empty() {
            return Hop::Found(Found::Records(self.records));
        }
        if let Some(target) = self.alias {
            return Hop::Alias(target);
        }
        if !self.referral.is_empty() {
            self.referral.sort();
            self.referral.dedup();
            return Hop::Referred(self.referral);
        }
        if self.unknown.is_empty() && !self.no_data && !self.no_name {
            self.unknown = self.unreachable;
        }
        Hop::Found(match () {
            () if !self.unknown.is_empty() => Found::Unknown(self.unknown.join("; ")),
            () if self.no_data => Found::NoData,
            () if self.no_name => Found::NoName,
            () => Found::Unknown("no server was found to ask".into()),
        })
    }
}

/// Whether a referral is to a zone that holds the name, and not to the root, as a lame server gives it.
fn leads_down(name: &Name, negative: &wire::Negative) -> bool {
    negative.referral.iter().any(|(zone, _)| !zone.is_root() && zone.zone_of(name))
}

/// A name as it is shown: lower case, without the dot at its end.
pub fn shown(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}
