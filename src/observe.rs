//! Asks every address of every authoritative server what it serves, for many names at once.
//!
//! A selector may be signed with when no verifier could fail to see it, so one server that lags, or that could not
//! be asked, decides. What was not learnt is [`Answer::Unknown`] with the reason; it is never taken for absence.
//!
//! Before a name is published no recursive resolver is asked for it, nor for a name between it and its zone: the
//! answer that it does not exist would be remembered, and hide it from everybody behind that resolver
//! (RFC 2308 section 5, RFC 8020). Resolvers are asked for zones and name servers only. Nor is one asked afterwards: it
//! would tell what one cache holds, and when every cache must have let go follows from TTLs that were seen.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;

use dkimctl_providers::wire::{self, Question, from_name, to_name};
use dkimctl_state::lifecycle::seen::{Answer, ServerAnswer, Sweep};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

pub mod configured;
pub mod lookup;
pub mod resolv_conf;
mod zones;

use zones::{Servers, Zones};

/// Asks every address of every authoritative server.
pub trait Sweeper {
    /// One sweep for each name, in order; all are dated `at`.
    fn sweep(&self, names: &[Fqdn], at: Time) -> Vec<Sweep>;

    /// What each name is an alias of, say its own servers; `None` where it is none. Not followed any further. One
    /// server that knows the alias is enough: a sweep asks whether all do.
    fn aliases(&self, names: &[Fqdn]) -> Vec<Result<Option<Fqdn>, String>> {
        names.iter().map(|_| Ok(None)).collect()
    }
}

/// Whom to ask.
#[derive(Debug, Clone)]
pub struct Config {
    /// Zones whose servers are given, not looked up: laboratories, hidden primaries, split horizons.
    pub nameservers: BTreeMap<Fqdn, Vec<SocketAddr>>,
    /// Servers to ask for every other zone, instead of those that the delegation names; looked up when empty.
    pub servers: Vec<SocketAddr>,
    /// Recursive resolvers, tried in order, that know the zones' name servers.
    pub resolvers: Vec<SocketAddr>,
    /// The port of servers that were looked up: 53, but for tests.
    pub port: u16,
    pub families: Families,
    pub options: wire::Options,
}

/// Which addresses of a server are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    pub v4: bool,
    pub v6: bool,
}

impl Default for Config {
    /// The resolvers of this host, both families.
    fn default() -> Self {
        Config {
            nameservers: BTreeMap::new(),
            servers: Vec::new(),
            resolvers: resolv_conf::system_resolvers(),
            port: 53,
            families: Families { v4: true, v6: true },
            options: wire::Options::default(),
        }
    }
}

/// Asks the real servers. Zones and their servers are looked up once in the life of a value: one run.
pub struct AuthoritativeSweeper {
    config: Config,
    zones: Mutex<Zones>,
}

/// Aliases are followed this far (as resolvers do); a longer chain is a mistake.
pub(crate) const LONGEST_CHAIN: usize = 8;

/// Servers asked at the same time.
const THREADS: usize = 16;

impl AuthoritativeSweeper {
    pub fn new(config: Config) -> Self {
        AuthoritativeSweeper { config, zones: Mutex::default() }
    }

    fn servers(&self, names: &[Fqdn]) -> Vec<Result<Servers, String>> {
        let mut zones = self.zones.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        zones.find(&self.config, names)
    }

    /// Asks each name's own servers, without following an alias.
    fn hop(&self, names: &[Fqdn], rtype: RecordType) -> Vec<Hop> {
        let found = self.servers(names);
        let mut asked: Batches = HashMap::new();
        let mut zones_asked = BTreeSet::new();
        for (index, servers) in found.iter().enumerate() {
            let Ok(servers) = servers else { continue };
            for server in servers.addresses() {
                let questions = asked.entry(server).or_default();
                questions.push((Asked::Name(index), question(&names[index], rtype)));
                // A name that exists comes without SOA, so the SOA is asked for, once a zone and server.
                if zones_asked.insert((servers.zone.clone(), server)) {
                    questions.push((Asked::Soa(servers.zone.clone()), question(&servers.zone, RecordType::SOA)));
                }
            }
        }
        let mut said: HashMap<(usize, SocketAddr), Said> = HashMap::new();
        let mut negative: HashMap<Fqdn, u32> = HashMap::new();
        for (server, asked, answer) in ask_batches(asked, self.config.options) {
            match asked {
                Asked::Name(index) => drop(said.insert((index, server), read(&names[index], &answer))),
                Asked::Soa(zone) => {
                    if let Some(ttl) = soa_negative_ttl(&answer) {
                        let largest = negative.entry(zone).or_default();
                        *largest = ttl.max(*largest);
                    }
                }
            }
        }
        let hop = |(index, servers): (usize, Result<Servers, String>)| match servers {
            Err(why) => {
                Hop { said: vec![(names[index].to_string(), Said::Plain(Answer::Unknown(why)))], negative_ttl: None }
            }
            Ok(servers) => Hop {
                negative_ttl: negative.get(&servers.zone).copied(),
                said: servers
                    .labels()
                    .map(|(label, address)| {
                        let missing =
                            || Said::Plain(Answer::Unknown(format!("the name server {label} has no address")));
                        let answer =
                            address.and_then(|address| said.get(&(index, address)).cloned()).unwrap_or_else(missing);
                        (label.to_owned(), answer)
                    })
                    .collect(),
            },
        };
        found.into_iter().enumerate().map(hop).collect()
    }
}

impl Sweeper for AuthoritativeSweeper {
    fn sweep(&self, names: &[Fqdn], at: Time) -> Vec<Sweep> {
        let mut sweeps: Vec<Sweep> = names.iter().map(|_| nothing_yet(at)).collect();
        let mut visited: Vec<BTreeSet<Fqdn>> = names.iter().map(|name| BTreeSet::from([name.clone()])).collect();
        let mut places: Vec<(usize, Fqdn)> = names.iter().cloned().enumerate().collect();
        while !places.is_empty() {
            let names: Vec<Fqdn> = places.iter().map(|(_, name)| name.clone()).collect();
            let hops = self.hop(&names, RecordType::TXT);
            let mut next = Vec::new();
            for ((index, name), hop) in places.into_iter().zip(hops) {
                let sweep = &mut sweeps[index];
                sweep.negative_ttl = sweep.negative_ttl.max(hop.negative_ttl);
                let targets = take_in(sweep, hop);
                for target in targets {
                    let looped = !visited[index].insert(target.clone());
                    if looped || visited[index].len() > LONGEST_CHAIN {
                        let why = if looped { "leads back to itself" } else { "is too long" };
                        sweep.answers.push(ServerAnswer {
                            server: name.to_string(),
                            answer: Answer::Unknown(format!("the chain of aliases {why} at `{target}`")),
                        });
                    } else {
                        next.push((index, target));
                    }
                }
            }
            places = next;
        }
        sweeps
    }

    fn aliases(&self, names: &[Fqdn]) -> Vec<Result<Option<Fqdn>, String>> {
        // Asked for TXT, a server follows an alias as far as its own zones reach, and gives up where that has no end.
        self.hop(names, RecordType::CNAME).into_iter().map(Hop::alias).collect()
    }
}

fn nothing_yet(at: Time) -> Sweep {
    Sweep { at, answers: Vec::new(), negative_ttl: None, cname: None }
}

/// Takes in what was said and returns where it leads. Servers that do not know the alias (yet) stay in the list with
/// their own answer, and so do the servers of each target if they do not agree upon one.
fn take_in(sweep: &mut Sweep, hop: Hop) -> BTreeSet<Fqdn> {
    let mut targets = BTreeSet::new();
    for (server, said) in hop.said {
        match said {
            Said::Plain(answer) => sweep.answers.push(ServerAnswer { server, answer }),
            Said::Alias(target, ttl) => {
                let longest = sweep.cname.as_ref().map_or(ttl, |(_, before)| ttl.max(*before));
                sweep.cname = Some((target.clone(), longest));
                targets.insert(target);
            }
        }
    }
    targets
}

/// What the servers of one name said.
struct Hop {
    said: Vec<(String, Said)>,
    negative_ttl: Option<u32>,
}

impl Hop {
    /// The one target of those that know an alias.
    fn alias(self) -> Result<Option<Fqdn>, String> {
        let (mut targets, mut unknown) = (BTreeSet::new(), Vec::new());
        for (server, said) in self.said {
            match said {
                Said::Alias(target, _) => drop(targets.insert(target)),
                Said::Plain(Answer::Unknown(why)) => unknown.push(format!("{server} ({why})")),
                Said::Plain(_) => {}
            }
        }
        let mut targets = targets.into_iter();
        match (targets.next(), targets.next()) {
            (Some(one), Some(two)) => Err(format!("its servers say an alias of `{one}`, and of `{two}`")),
            (None, _) if !unknown.is_empty() => Err(format!("no answer from {}", unknown.join(", "))),
            (target, _) => Ok(target),
        }
    }
}

#[derive(Clone)]
enum Said {
    Plain(Answer),
    Alias(Fqdn, u32),
}

enum Asked {
    /// The TXT of the name with this index.
    Name(usize),
    Soa(Fqdn),
}

type Batches<A = Asked> = HashMap<SocketAddr, Vec<(A, Question)>>;

/// Asks each server its questions, the servers side by side.
fn ask_batches<A: Send>(batches: Batches<A>, options: wire::Options) -> Vec<(SocketAddr, A, wire::Answer)> {
    let queue = Mutex::new(batches.into_iter().collect::<Vec<_>>());
    let pop = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
    let work = || {
        let mut done = Vec::new();
        while let Some((server, batch)) = pop() {
            let (asked, questions): (Vec<A>, Vec<Question>) = batch.into_iter().unzip();
            let answers = wire::ask_all(server, &questions, options);
            done.extend(asked.into_iter().zip(answers).map(|(asked, answer)| (server, asked, answer)));
        }
        done
    };
    let count = queue.lock().map_or(1, |queue| queue.len()).min(THREADS);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    })
}

fn question(name: &Fqdn, rtype: RecordType) -> Question {
    Question { name: to_name(name), rtype }
}

/// What an authoritative server's answer says about the name.
fn read(name: &Fqdn, answer: &wire::Answer) -> Said {
    match answer {
        wire::Answer::Records(records) if records.authoritative => {
            let own = to_name(name);
            let (mut ttl, mut texts) = (0, Vec::new());
            for record in records.answers.iter().filter(|record| record.name == own) {
                match &record.data {
                    RData::CNAME(target) => {
                        return match from_name(&target.0) {
                            Some(target) => Said::Alias(target, record.ttl),
                            None => unknown(format!("the name is an alias of `{}`, which is no host's name", target.0)),
                        };
                    }
                    RData::TXT(txt) => {
                        ttl = record.ttl.max(ttl);
                        texts.push(TxtText::join(txt.txt_data.iter().map(|chunk| &**chunk)));
                    }
                    _ => {}
                }
            }
            if texts.is_empty() {
                return unknown("the answer holds records, but not of this name".into());
            }
            texts.sort();
            Said::Plain(Answer::Txt { ttl, texts })
        }
        wire::Answer::NxDomain(negative) | wire::Answer::NoData(negative) if negative.authoritative => {
            Said::Plain(Answer::Absent)
        }
        other => unknown(why_unknown(other)),
    }
}

fn unknown(why: String) -> Said {
    Said::Plain(Answer::Unknown(why))
}

/// Why an answer says nothing about the name.
pub(crate) fn why_unknown(answer: &wire::Answer) -> String {
    match answer {
        wire::Answer::Records(_) | wire::Answer::NxDomain(_) | wire::Answer::NoData(_) => {
            "it answers without authority: the zone is delegated to it, or away from it, by mistake".into()
        }
        wire::Answer::Rcode(ResponseCode::ServFail) => {
            "it answers SERVFAIL: it has trouble with its copy of the zone".into()
        }
        wire::Answer::Rcode(ResponseCode::Refused) => "it answers REFUSED: it does not serve this zone to us".into(),
        wire::Answer::Rcode(code) => format!("it answers {code} (code {})", u16::from(*code)),
        wire::Answer::Timeout => "no answer came, neither over UDP nor over TCP".into(),
        wire::Answer::ConnectionRefused => "its port is closed (connection refused)".into(),
        wire::Answer::NoRoute(why) => format!(
            "unreachable from this host ({why}); if it has no IPv6 at all, `families = [\"v4\"]` asks IPv4 addresses only"
        ),
        wire::Answer::Garbled(why) => format!("what came is no answer: {why}"),
    }
}

fn soa_negative_ttl(answer: &wire::Answer) -> Option<u32> {
    match answer {
        wire::Answer::Records(records) if records.authoritative => {
            records.answers.iter().find_map(|record| match &record.data {
                RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
                _ => None,
            })
        }
        wire::Answer::NoData(negative) | wire::Answer::NxDomain(negative) => negative.ttl(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "observe/tests.rs"]
mod tests;
