//! The oracle: mail that is signed, waits in queues, and is verified through caches.
//!
//! It knows what each signer did and what each provider's zone held, by the true time, and nothing of plans, phases
//! or rules. A resolver may have asked any server at any moment before, so a verification asks for every answer that
//! some cache could still hold: one of them that is not exactly the key is a message that somebody refuses.

use std::collections::BTreeMap;
use std::rc::Rc;

/// Seconds since 1970, by the true clock.
pub type Instant = i64;

const BEFORE_EVERYTHING: Instant = i64::MIN / 4;

/// Resolvers keep a denial for five minutes even where the SOA says less (a cache's own least TTL).
const LEAST_DENIAL: i64 = 300;

/// The longest a message waits in our own queue: five days (RFC 5321 section 4.5.4.1).
const QUEUE: i64 = 5 * 86_400;

pub struct Mail {
    servers: Vec<Server>,
    /// Seconds that a denial is cached.
    denial: i64,
    zones: Vec<BTreeMap<String, Vec<Rrset>>>,
    signers: Vec<Signer>,
    onboarded: Option<Instant>,
    revoked: Vec<(String, Instant)>,
    pub sent: u64,
    pub verified: u64,
}

/// A name server copies its provider after a lag.
struct Server {
    name: String,
    provider: usize,
    lag: i64,
}

/// What stood at a name from `since` on: one `p=` for each key record.
struct Rrset {
    since: Instant,
    ttl: i64,
    keys: Vec<String>,
}

struct Signer {
    name: String,
    did: Vec<(Instant, Act)>,
}

/// What a mail host does with a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Act {
    /// It sends nothing.
    Idle,
    /// It does not sign (yet).
    Unsigned,
    /// Its table names a key that it does not hold.
    Tempfail,
    Signs {
        name: Rc<str>,
        key: Rc<str>,
    },
}

/// A message that was lost.
#[derive(Debug)]
pub struct Lost {
    pub sent: Instant,
    pub verified: Instant,
    pub why: String,
}

impl Mail {
    pub fn new(providers: usize, denial: i64) -> Self {
        Mail {
            servers: Vec::new(),
            denial: denial.max(LEAST_DENIAL),
            zones: (0..providers).map(|_| BTreeMap::new()).collect(),
            signers: Vec::new(),
            onboarded: None,
            revoked: Vec::new(),
            sent: 0,
            verified: 0,
        }
    }

    pub fn server(&mut self, name: String, provider: usize, lag: i64) {
        self.servers.push(Server { name, provider, lag });
    }

    /// A zone changed.
    pub fn zone(&mut self, provider: usize, name: &str, at: Instant, ttl: u32, texts: &[String]) {
        let keys = texts.iter().filter_map(|text| key_of(text)).collect();
        let history = self.zones[provider].entry(name.to_owned()).or_default();
        let rrset = Rrset { since: at, ttl: ttl.into(), keys };
        if history.last().is_none_or(|last| (last.ttl, &last.keys) != (rrset.ttl, &rrset.keys)) {
            history.push(rrset);
        }
    }

    /// A signer's table or its key files changed.
    pub fn signer(&mut self, signer: &str, at: Instant, act: Act) {
        let position = self.signers.iter().position(|s| s.name == signer).unwrap_or_else(|| {
            self.signers.push(Signer { name: signer.to_owned(), did: Vec::new() });
            self.signers.len() - 1
        });
        let did = &mut self.signers[position].did;
        if did.last().is_none_or(|(_, last)| *last != act) {
            did.push((at, act));
        }
    }

    /// From now on every message has to be signed.
    pub fn onboarded(&mut self, at: Instant) {
        self.onboarded.get_or_insert(at);
    }

    /// The operator declares a key worthless: its messages may fail from now on, and no others.
    pub fn revoked(&mut self, key: &str, at: Instant) {
        self.revoked.push((key.to_owned(), at));
    }

    /// Sends and verifies messages at every moment that matters: as the first and as the last of its signer's table,
    /// at each change of the record, and until its queue gives up. The first that fails, if any.
    pub fn judge(&mut self, end: Instant) -> Result<(), Lost> {
        let (mut sent, mut verified) = (0, 0);
        let mut verdict = Ok(());
        'all: for signer in &self.signers {
            for (index, (from, act)) in signer.did.iter().enumerate() {
                let to = signer.did.get(index + 1).map_or(end, |(next, _)| *next);
                if *act == Act::Idle {
                    continue;
                }
                let Act::Signs { name, key } = act else {
                    let due = self.onboarded.map_or(end, |since| since.max(*from));
                    if due < to {
                        sent += 1;
                        let why = format!("{} could not sign it: {act:?}", signer.name);
                        verdict = Err(Lost { sent: due, verified: due, why });
                        break 'all;
                    }
                    continue;
                };
                for (at, checks) in self.messages(name, *from, to) {
                    sent += 1;
                    for moment in checks {
                        verified += 1;
                        if let Err(why) = self.verify(name, key, moment) {
                            let why = format!("{} signed it by {name}: {why}", signer.name);
                            verdict = Err(Lost { sent: at, verified: moment, why });
                            break 'all;
                        }
                    }
                }
            }
        }
        self.sent += sent;
        self.verified += verified;
        verdict
    }

    /// The messages of one signer between two changes of its table, each with the moments at which it is verified.
    fn messages(&self, name: &str, from: Instant, to: Instant) -> Vec<(Instant, Vec<Instant>)> {
        if from >= to {
            return Vec::new();
        }
        let mut changes: Vec<Instant> = self.servers.iter().flat_map(|s| self.changes(s, name)).collect();
        changes.sort_unstable();
        changes.dedup();
        let queued = |sent: Instant| {
            let under_way = changes.iter().copied().filter(move |c| *c > sent && *c <= sent + QUEUE);
            std::iter::once(sent).chain(under_way).chain([sent + QUEUE]).collect::<Vec<_>>()
        };
        let mut messages = vec![(from, queued(from)), (to - 1, queued(to - 1))];
        let meanwhile = changes.iter().copied().filter(|c| *c > from && *c < to - 1);
        messages.extend(meanwhile.map(|change| (change, vec![change, change + QUEUE])));
        messages
    }

    fn changes<'a>(&'a self, server: &'a Server, name: &str) -> impl Iterator<Item = Instant> + 'a {
        let history = self.zones[server.provider].get(name).map_or(&[][..], Vec::as_slice);
        history.iter().map(|rrset| rrset.since + server.lag)
    }

    /// Whether every cache that exists finds exactly this key.
    fn verify(&self, name: &str, key: &str, moment: Instant) -> Result<(), String> {
        if self.revoked.iter().any(|(revoked, at)| revoked == key && *at <= moment) {
            return Ok(());
        }
        let nothing = Rrset { since: BEFORE_EVERYTHING, ttl: 0, keys: Vec::new() };
        for server in &self.servers {
            let history = self.zones[server.provider].get(name).map_or(&[][..], Vec::as_slice);
            let answers = std::iter::once(&nothing).chain(history);
            let nexts = history.iter().map(|next| Some(next.since + server.lag)).chain([None]);
            for (answer, next) in answers.zip(nexts) {
                let first = answer.since + server.lag;
                let cached = if answer.keys.is_empty() && answer.ttl == 0 { self.denial } else { answer.ttl };
                // The last resolver to get this answer asked a second before the next one was served.
                let forgotten = next.map_or(Instant::MAX, |next| next - 1 + cached);
                let served = first <= moment && next.is_none_or(|next| first < next);
                if served && moment < forgotten && answer.keys != [key] {
                    let found = if answer.keys.is_empty() { "no key".to_owned() } else { answer.keys.join(" and ") };
                    let until = next.map_or("still".to_owned(), |next| format!("until {next}"));
                    return Err(format!("{} served {found} {until}, cached for {cached} s, not {key}", server.name));
                }
            }
        }
        Ok(())
    }
}

/// The `p=` of a key record; `None` if the text is none.
fn key_of(text: &str) -> Option<String> {
    let tags = text.split(';').filter_map(|tag| tag.trim().split_once('='));
    tags.into_iter().find(|(tag, _)| *tag == "p").map(|(_, key)| key.trim().to_owned())
}
