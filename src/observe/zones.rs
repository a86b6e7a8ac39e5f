//! Which zone holds a name, and at which addresses it is served.
//!
//! A resolver is asked for the SOA and the NS of the domain at the top (`example.com`), and for the addresses of name
//! servers: things that exist. From there down to the name it is the zone's own servers that are asked whether a
//! label is delegated, for they do not remember that something was not there.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use dkimctl_providers::wire;
use dkimctl_state::name::Fqdn;
use hickory_proto::rr::{RData, Record, RecordType};

use super::{Batches, Config, ask_batches, from_name, question, to_name, why_unknown};

/// The servers of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Servers {
    pub zone: Fqdn,
    /// How each is shown, and where it is; no address when none was found.
    list: Vec<(String, Option<SocketAddr>)>,
}

impl Servers {
    pub fn addresses(&self) -> BTreeSet<SocketAddr> {
        self.list.iter().filter_map(|(_, address)| *address).collect()
    }

    pub fn labels(&self) -> impl Iterator<Item = (&str, Option<SocketAddr>)> {
        self.list.iter().map(|(label, address)| (label.as_str(), *address))
    }
}

/// What is known of zones in this run.
#[derive(Debug, Default)]
pub(super) struct Zones {
    /// By the name that was asked for: the zone that begins there, `None` if none does, or why it is not known.
    cuts: HashMap<Fqdn, Result<Option<Servers>, String>>,
    /// By the domain at the top: the zone that holds it.
    tops: HashMap<Fqdn, Result<Fqdn, String>>,
    /// By the name of a name server.
    addresses: HashMap<Fqdn, Vec<IpAddr>>,
}

/// A name on its way down: the servers of the lowest zone found so far, and the labels still to be tried.
struct Descent {
    at: Result<Servers, String>,
    below: Vec<Fqdn>,
}

impl Zones {
    /// The servers of the zone that holds each name; same order, same length.
    pub fn find(&mut self, config: &Config, names: &[Fqdn]) -> Vec<Result<Servers, String>> {
        let given = |name: &Fqdn| {
            let holding = config.nameservers.iter().filter(|(zone, _)| name.is_in(zone));
            let (zone, addresses) = match holding.max_by_key(|(zone, _)| zone.as_str().len()) {
                Some((zone, addresses)) => (zone.clone(), addresses),
                None if config.servers.is_empty() => return None,
                None => (probable_zone(name), &config.servers),
            };
            let list = addresses.iter().map(|address| (address.to_string(), Some(*address))).collect();
            Some(Servers { zone, list })
        };
        let searched: Vec<Fqdn> = names.iter().filter(|name| given(name).is_none()).cloned().collect();
        let mut found: HashMap<Fqdn, Result<Servers, String>> =
            searched.iter().cloned().zip(self.search(config, &searched)).collect();
        let one = |name: &Fqdn| match given(name) {
            Some(servers) => Ok(servers),
            None => found.get_mut(name).map_or_else(|| Err("the zone was not found".into()), |result| result.clone()),
        };
        names.iter().map(one).collect()
    }

    fn search(&mut self, config: &Config, names: &[Fqdn]) -> Vec<Result<Servers, String>> {
        if names.is_empty() {
            return Vec::new();
        }
        if config.resolvers.is_empty() {
            let why = "no resolver is known to find its name servers with; set `resolvers` or the zone's `nameservers`";
            return vec![Err(why.into()); names.len()];
        }
        self.learn_tops(config, names);
        let tops: BTreeSet<Fqdn> = names.iter().filter_map(|name| self.tops[&top(name)].clone().ok()).collect();
        self.learn_apexes(config, &tops);

        let mut descents: Vec<Descent> = names.iter().map(|name| self.begin(name)).collect();
        loop {
            let mut tried: BTreeMap<Fqdn, Servers> = BTreeMap::new();
            for Descent { at, below } in &descents {
                if let (Ok(servers), Some(next)) = (at, below.last()) {
                    tried.insert(next.clone(), servers.clone());
                }
            }
            if tried.is_empty() {
                return descents.into_iter().map(|descent| descent.at).collect();
            }
            self.learn_cuts(config, &tried);
            for descent in &mut descents {
                let Some(next) = descent.below.pop() else { continue };
                match self.cuts.get(&next) {
                    Some(Ok(Some(servers))) => descent.at = Ok(servers.clone()),
                    Some(Err(why)) => descent.at = Err(why.clone()),
                    Some(Ok(None)) | None => {}
                }
            }
        }
    }

    /// The names strictly between the top zone and the name itself are where another zone may begin.
    fn begin(&self, name: &Fqdn) -> Descent {
        let zone = match &self.tops[&top(name)] {
            Ok(zone) => zone,
            Err(why) => return Descent { at: Err(why.clone()), below: Vec::new() },
        };
        let at = match self.cuts.get(zone) {
            Some(Ok(Some(servers))) => Ok(servers.clone()),
            Some(Err(why)) => Err(why.clone()),
            _ => Err(format!("the name servers of `{zone}` were not found")),
        };
        let between = std::iter::successors(name.parent(), Fqdn::parent).take_while(|n| n != zone && n.is_in(zone));
        Descent { at, below: between.collect() }
    }

    /// Finds the zones that hold the domains at the top.
    fn learn_tops(&mut self, config: &Config, names: &[Fqdn]) {
        let new: BTreeSet<Fqdn> = names.iter().map(top).filter(|top| !self.tops.contains_key(top)).collect();
        let new: Vec<Fqdn> = new.into_iter().collect();
        let answers = ask_resolvers(config, &new, RecordType::SOA);
        for (domain, answer) in new.into_iter().zip(answers) {
            let zone = match &answer {
                wire::Answer::Records(records) => soa_owner(&records.answers),
                wire::Answer::NoData(negative) | wire::Answer::NxDomain(negative) => {
                    negative.soa.as_ref().and_then(|(zone, _, _)| from_name(zone))
                }
                other => {
                    let why = format!("the zone of `{domain}` could not be looked up: {}", why_unknown(other));
                    self.tops.insert(domain, Err(why));
                    continue;
                }
            };
            let zone = zone.ok_or_else(|| format!("no zone holds `{domain}`, says the resolver; is it registered?"));
            self.tops.insert(domain, zone);
        }
    }

    fn learn_apexes(&mut self, config: &Config, zones: &BTreeSet<Fqdn>) {
        let new: Vec<Fqdn> = zones.iter().filter(|zone| !self.cuts.contains_key(zone)).cloned().collect();
        let answers = ask_resolvers(config, &new, RecordType::NS);
        let targets: Vec<_> = new
            .into_iter()
            .zip(answers)
            .map(|(zone, answer)| {
                let found = match &answer {
                    wire::Answer::Records(records) => Ok(ns_targets(&records.answers)),
                    other => {
                        Err(format!("the name servers of `{zone}` could not be looked up: {}", why_unknown(other)))
                    }
                };
                (zone, found)
            })
            .collect();
        self.learn_servers(config, targets);
    }

    /// Asks the servers above whether a zone begins at each name. They are asked for NS: a parent refers (no AA, NS
    /// in the authority section), a server of both answers, and otherwise there is no cut.
    fn learn_cuts(&mut self, config: &Config, tried: &BTreeMap<Fqdn, Servers>) {
        let mut left: BTreeMap<&Fqdn, Vec<SocketAddr>> = BTreeMap::new();
        for (name, servers) in tried.iter().filter(|(name, _)| !self.cuts.contains_key(name)) {
            left.insert(name, servers.addresses().into_iter().collect());
        }
        let mut targets = Vec::new();
        let mut last_why: HashMap<Fqdn, String> = HashMap::new();
        while !left.is_empty() {
            let mut batches: Batches<Fqdn> = HashMap::new();
            left.retain(|name, addresses| match addresses.pop() {
                Some(address) => {
                    batches.entry(address).or_default().push(((*name).clone(), question(name, RecordType::NS)));
                    true
                }
                None => {
                    let why = last_why.remove(name).unwrap_or_else(|| "its servers have no address".into());
                    targets.push(((*name).clone(), Err(format!("whether `{name}` is delegated is unknown: {why}"))));
                    false
                }
            });
            for (server, name, answer) in ask_batches(batches, config.options) {
                let found = match &answer {
                    wire::Answer::Records(records) => Some(ns_targets(&records.answers)),
                    wire::Answer::NoData(negative) if !negative.authoritative => referred(&name, negative),
                    wire::Answer::NoData(_) => Some(Vec::new()),
                    wire::Answer::NxDomain(negative) if negative.authoritative => Some(Vec::new()),
                    _ => None,
                };
                if found.is_none() {
                    last_why.insert(name.clone(), format!("{}: {}", server.ip(), why_unknown(&answer)));
                }
                if let Some(found) = found {
                    left.remove(&name);
                    targets.push((name, Ok(found)));
                }
            }
        }
        self.learn_servers(config, targets);
    }

    /// Looks up the addresses of name servers, and keeps the zones that they serve.
    fn learn_servers(&mut self, config: &Config, targets: Vec<(Fqdn, Result<Vec<Fqdn>, String>)>) {
        let hosts: Vec<&Fqdn> = targets.iter().filter_map(|(_, found)| found.as_ref().ok()).flatten().collect();
        self.learn_addresses(config, &hosts);
        for (zone, found) in targets {
            let servers = found.map(|hosts| {
                let mut list: Vec<_> = hosts.iter().flat_map(|host| self.at(config, host)).collect();
                list.sort();
                (!list.is_empty()).then(|| Servers { zone: zone.clone(), list })
            });
            self.cuts.insert(zone, servers);
        }
    }

    /// Looks up the addresses of name servers that are not known yet.
    fn learn_addresses(&mut self, config: &Config, hosts: &[&Fqdn]) {
        let new: BTreeSet<Fqdn> =
            hosts.iter().copied().filter(|host| !self.addresses.contains_key(host)).cloned().collect();
        let new: Vec<Fqdn> = new.into_iter().collect();
        for (wanted, rtype) in [(config.families.v4, RecordType::A), (config.families.v6, RecordType::AAAA)] {
            let answers = if wanted { ask_resolvers(config, &new, rtype) } else { Vec::new() };
            for (host, answer) in new.iter().zip(answers) {
                let found = self.addresses.entry(host.clone()).or_default();
                if let wire::Answer::Records(records) = answer {
                    found.extend(records.answers.iter().filter_map(address));
                }
            }
        }
    }

    /// Where these name servers are, as [`Servers::labels`] shows them.
    pub fn hosts(&mut self, config: &Config, hosts: &[Fqdn]) -> Vec<(String, Option<SocketAddr>)> {
        self.learn_addresses(config, &hosts.iter().collect::<Vec<_>>());
        hosts.iter().flat_map(|host| self.at(config, host)).collect()
    }

    fn at(&self, config: &Config, host: &Fqdn) -> Vec<(String, Option<SocketAddr>)> {
        let found = self.addresses.get(host).map_or(&[][..], Vec::as_slice);
        if found.is_empty() {
            return vec![(host.to_string(), None)];
        }
        found.iter().map(|ip| (format!("{host} {ip}"), Some(SocketAddr::new(*ip, config.port)))).collect()
    }
}

/// The last two labels, without those that begin with an underscore (`_domainkey.test`): the longest name that a
/// resolver may be asked for without doing harm.
fn top(name: &Fqdn) -> Fqdn {
    let low_enough = |name: &Fqdn| name.labels().count() <= 2 && !name.as_str().starts_with('_');
    std::iter::successors(Some(name.clone()), Fqdn::parent).find(low_enough).unwrap_or_else(|| name.clone())
}

/// Where the SOA of a name is asked for when nobody says which zone holds it. The answer to any name of a zone shows it,
/// but for the name itself, which may be an alias.
fn probable_zone(name: &Fqdn) -> Fqdn {
    let domain = name.as_str().split_once("._domainkey.").and_then(|(_, domain)| domain.parse().ok());
    domain.or_else(|| name.parent()).unwrap_or_else(|| name.clone())
}

/// Asks the first resolver that answers; the next ones for what it could not answer.
fn ask_resolvers(config: &Config, names: &[Fqdn], rtype: RecordType) -> Vec<wire::Answer> {
    let options = wire::Options { recursion: true, ..config.options };
    let mut answers = vec![wire::Answer::Timeout; names.len()];
    let mut left: Vec<usize> = (0..names.len()).collect();
    for &resolver in &config.resolvers {
        let questions: Vec<_> = left.iter().map(|&index| question(&names[index], rtype)).collect();
        for (&index, answer) in left.iter().zip(wire::ask_all(resolver, &questions, options)) {
            answers[index] = answer;
        }
        let answered = |answer: &wire::Answer| {
            matches!(answer, wire::Answer::Records(_) | wire::Answer::NoData(_) | wire::Answer::NxDomain(_))
        };
        left.retain(|&index| !answered(&answers[index]));
        if left.is_empty() {
            break;
        }
    }
    answers
}

/// The servers that `name` is delegated to; `None` when the server points elsewhere, as one does that is not
/// responsible at all.
fn referred(name: &Fqdn, negative: &wire::Negative) -> Option<Vec<Fqdn>> {
    let owner = to_name(name);
    let to_it = negative.referral.iter().filter(|(zone, _)| *zone == owner);
    let targets: Vec<Fqdn> = to_it.filter_map(|(_, target)| from_name(target)).collect();
    (!targets.is_empty()).then_some(targets)
}

fn soa_owner(records: &[Record]) -> Option<Fqdn> {
    records.iter().find(|record| matches!(record.data, RData::SOA(_))).and_then(|record| from_name(&record.name))
}

fn ns_targets(records: &[Record]) -> Vec<Fqdn> {
    let target = |record: &Record| match &record.data {
        RData::NS(target) => from_name(&target.0),
        _ => None,
    };
    records.iter().filter_map(target).collect()
}

fn address(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}
