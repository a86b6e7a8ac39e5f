//! Any server that takes RFC 2136 updates with TSIG: BIND, Knot, PowerDNS and others.
//!
//! Each change goes with prerequisites for exactly what was seen (RFC 2136 section 2.4), so the server itself refuses
//! what was planned upon something else. As many changes as fit travel in one message over TCP: a server syncs its
//! journal once a message, and 120 changes cost no more than one.
//!
//! An answer of NOERROR is no proof. Servers ignore a TXT beside a CNAME in silence, and the deletion of a record
//! that is chunked in another way, so every change is read back before it counts as applied.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dkimctl_state::name::Fqdn;
use dkimctl_state::time::Time;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};

use crate::wire::{self, Answer, Question, from_name, to_name};
use crate::{AtName, Caps, CompareAndSet, Descriptor, DnsProvider, Entry, Guarded, Outcome, ProviderError, Zone};

mod message;
mod run;
mod transfer;
mod words;

pub use message::{Algorithm, Key, KeyError};
use message::{Distrust, Update, wildcard_of};
use run::Run;

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "rfc2136",
    name: "RFC 2136 dynamic update (BIND, Knot, PowerDNS)",
    credentials: "the primary server's host and port, and a TSIG key (name, algorithm, secret in base64)",
    least_rights: "a TSIG key that may change TXT below _domainkey, at _dmarc and, for SPF, at the zone's own name",
    rights_template: include_str!("rfc2136/policy.conf"),
    docs: "https://www.rfc-editor.org/rfc/rfc2136",
};

/// Where the primary is, what it serves, and the key it knows us by.
#[derive(Debug, Clone)]
pub struct Config {
    /// `host:port`, where the host is a name or an address (`[2001:db8::1]:53`).
    pub server: String,
    pub zones: Vec<Fqdn>,
    pub key: Key,
    /// Of one exchange.
    pub timeout: Duration,
}

pub struct Rfc2136 {
    config: Config,
    /// The server's time minus ours in the last signed answer, in seconds; `i64::MIN` before there was one.
    server_ahead: AtomicI64,
    messages: AtomicU64,
    /// Seconds since 1970.
    now: fn() -> i64,
}

impl Rfc2136 {
    pub fn new(config: Config) -> Self {
        Rfc2136 { config, server_ahead: AtomicI64::new(i64::MIN), messages: AtomicU64::new(0), now: system_seconds }
    }

    /// With another clock to sign by, for tests of a wrong one.
    pub fn with_clock(mut self, now: fn() -> i64) -> Self {
        self.now = now;
        self
    }

    /// UPDATE messages sent so far that were to change something.
    pub fn messages_sent(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

impl DnsProvider for Rfc2136 {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn caps(&self) -> Caps {
        Caps {
            min_ttl: 0,
            // A replacement names the old text twice and the new one once, all in one message.
            max_text: 20_000,
            max_batch: 1000,
            atomic_batch: true,
            compare_and_set: CompareAndSet::Exact,
            rate: None,
        }
    }

    /// The zones as configured. Whether the server serves one shows when it is first asked about it, so that one
    /// wrong zone does not hold up the others.
    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        Ok(self.config.zones.iter().map(Zone::named).collect())
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        zone.holds(names)?;
        let questions: Vec<_> =
            names.iter().map(|name| Question { name: to_name(name), rtype: RecordType::TXT }).collect();
        let answers = self.ask(&questions)?;
        let mut seen = Vec::with_capacity(names.len());
        for (name, answer) in names.iter().zip(&answers) {
            seen.push(self.read_answer(&zone.name, name, answer)?);
        }
        self.unmask_wildcards(&zone.name, names, &mut seen)?;
        Ok(seen)
    }

    fn list(&self, zone: &Zone) -> Result<Option<Vec<Fqdn>>, ProviderError> {
        self.transfer(&zone.name)
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        Run::new(self, zone, ops).perform()
    }

    fn clock(&self) -> Option<Time> {
        let ahead = self.server_ahead.load(Ordering::Relaxed);
        (ahead != i64::MIN).then(|| Time::from_unix((self.now)().saturating_add(ahead)))
    }
}

impl Rfc2136 {
    fn addresses(&self) -> Result<Vec<SocketAddr>, ProviderError> {
        let found: Vec<_> = self.config.server.to_socket_addrs().map_err(|error| self.no_address(&error))?.collect();
        if found.is_empty() { Err(self.no_address(&"no address")) } else { Ok(found) }
    }

    /// Asks at the first of the server's addresses that answers at all.
    fn ask(&self, questions: &[Question]) -> Result<Vec<Answer>, ProviderError> {
        let options = wire::Options { timeout: self.config.timeout, ..wire::Options::default() };
        let mut answers = Vec::new();
        for address in self.addresses()? {
            answers = wire::ask_all(address, questions, options);
            let dead = |a: &Answer| matches!(a, Answer::Timeout | Answer::ConnectionRefused | Answer::NoRoute(_));
            if !answers.iter().all(dead) {
                break;
            }
        }
        Ok(answers)
    }

    fn read_answer(&self, zone: &Fqdn, name: &Fqdn, answer: &Answer) -> Result<AtName, ProviderError> {
        match answer {
            Answer::Records(records) if records.authoritative => Ok(at_name(name, &records.answers)),
            Answer::NxDomain(negative) | Answer::NoData(negative) if negative.authoritative => Ok(AtName::Absent),
            Answer::NoData(negative) => match delegated_below(zone, negative) {
                Some(delegated) => Ok(delegated),
                None => Err(self.not_authoritative(zone)),
            },
            Answer::Records(_) | Answer::NxDomain(_) => Err(self.not_authoritative(zone)),
            Answer::Rcode(ResponseCode::Refused | ResponseCode::NotAuth) => Err(self.not_authoritative(zone)),
            Answer::Rcode(code) => Err(self.query_failed(name, *code)),
            Answer::Timeout => Err(self.no_connection("no answer in time")),
            Answer::ConnectionRefused => Err(self.no_connection("connection refused")),
            Answer::NoRoute(why) | Answer::Garbled(why) => Err(self.no_connection(why)),
        }
    }

    /// A wildcard (RFC 4592) makes a name look as if it held what only `*` holds; updates do not see it so. Where one
    /// shows the very same, a bare prerequisite asks the server what is really there.
    fn unmask_wildcards(&self, zone: &Fqdn, names: &[Fqdn], seen: &mut [AtName]) -> Result<(), ProviderError> {
        let mut parents = BTreeSet::new();
        for (name, _) in names.iter().zip(&*seen).filter(|(_, at)| **at != AtName::Absent) {
            let ancestors = std::iter::successors(name.parent(), Fqdn::parent);
            parents.extend(ancestors.take_while(|parent| parent.is_in(zone)));
        }
        let questions: Vec<_> =
            parents.iter().map(|p| Question { name: wildcard_of(p), rtype: RecordType::TXT }).collect();
        let mut wild = Vec::new();
        for (question, answer) in questions.iter().zip(self.ask(&questions)?) {
            if let Answer::Records(records) = answer {
                wild.push(at_wire_name(&question.name, &records.answers));
            }
        }
        let same = |at: &AtName, wild: &AtName| match (at, wild) {
            (AtName::Cname { target: a, .. }, AtName::Cname { target: b, .. }) => a == b,
            _ => at.same_as(wild),
        };
        for (name, at) in names.iter().zip(seen) {
            if wild.iter().any(|wild| same(at, wild)) && !self.really_there(zone, name, at)? {
                *at = AtName::Absent;
            }
        }
        Ok(())
    }

    fn really_there(&self, zone: &Fqdn, name: &Fqdn, at: &AtName) -> Result<bool, ProviderError> {
        let rtype = if matches!(at, AtName::Cname { .. }) { RecordType::CNAME } else { RecordType::TXT };
        let mut question = Update::new(zone);
        question.require_some(name, rtype);
        match self.exchange(&mut None, question, zone) {
            Exchanged::Done => Ok(true),
            Exchanged::Prerequisite => Ok(false),
            Exchanged::Refused(error) | Exchanged::Fatal(error) => Err(error),
            Exchanged::Unknown(why) => Err(ProviderError::Unreachable(why)),
        }
    }

    fn connect(&self) -> Result<TcpStream, ProviderError> {
        let mut last = None;
        for address in self.addresses()? {
            match TcpStream::connect_timeout(&address, self.config.timeout) {
                Ok(stream) => {
                    // Without it a second message on the connection waits for the delayed acknowledgement of the first.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(self.no_connection(&last.map_or_else(|| "no address".to_owned(), |error| error.to_string())))
    }

    /// Sends one UPDATE and tells what became of it. Whatever goes wrong before the message is sent did not happen;
    /// whatever goes wrong after that is unknown.
    fn exchange(&self, stream: &mut Option<TcpStream>, update: Update, zone: &Fqdn) -> Exchanged {
        let id = Message::query().id;
        let changes = update.changes();
        let mut request = update.finish(id);
        let now = (self.now)();
        let mac = match self.config.key.sign(&mut request, now.max(0) as u64) {
            Ok(mac) if request.len() <= usize::from(u16::MAX) => mac,
            Ok(_) => return Exchanged::Refused(self.too_long()),
            Err(why) => return Exchanged::Fatal(ProviderError::Auth(why)),
        };
        let mut open = match stream.take().map_or_else(|| self.connect(), Ok) {
            Ok(open) => open,
            Err(error) => return Exchanged::Fatal(error),
        };
        self.messages.fetch_add(u64::from(changes), Ordering::Relaxed);
        let answer = wire::send_message(&mut open, &request, self.config.timeout)
            .and_then(|()| wire::receive_message(&mut open, self.config.timeout));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return Exchanged::Unknown(self.no_answer(&error)),
        };
        *stream = Some(open);
        match self.config.key.open(&answer, &mac, id) {
            Ok((answer, time)) => {
                let time = i64::try_from(time).unwrap_or(i64::MAX);
                self.server_ahead.store(time.saturating_sub((self.now)()), Ordering::Relaxed);
                self.read_code(answer.response_code, zone)
            }
            // A refusal needs no signature to be heeded; an acceptance does.
            Err(Distrust::Unsigned(answer)) if answer.response_code != ResponseCode::NoError => {
                self.read_code(answer.response_code, zone)
            }
            Err(Distrust::Unsigned(_)) => Exchanged::Unknown(self.distrusted("it is not signed")),
            Err(Distrust::Untrue(why)) => Exchanged::Unknown(self.distrusted(&why)),
            Err(Distrust::BadKey) => Exchanged::Fatal(self.bad_key()),
            Err(Distrust::BadSignature) => Exchanged::Fatal(self.bad_signature()),
            Err(Distrust::BadTime(server)) => {
                let server = i64::try_from(server).unwrap_or(i64::MAX);
                self.server_ahead.store(server.saturating_sub(now), Ordering::Relaxed);
                Exchanged::Fatal(self.bad_time(server, now))
            }
        }
    }

    fn read_code(&self, code: ResponseCode, zone: &Fqdn) -> Exchanged {
        match code {
            ResponseCode::NoError => Exchanged::Done,
            ResponseCode::YXRRSet | ResponseCode::NXRRSet | ResponseCode::YXDomain | ResponseCode::NXDomain => {
                Exchanged::Prerequisite
            }
            ResponseCode::NotAuth | ResponseCode::NotImp => Exchanged::Fatal(self.not_primary(zone, code)),
            code => Exchanged::Refused(self.update_refused(zone, code)),
        }
    }
}

/// What became of one message.
enum Exchanged {
    Done,
    /// One of the names no longer holds what was seen; nothing was done.
    Prerequisite,
    /// The message was refused for something in it; nothing was done.
    Refused(ProviderError),
    /// No message would fare better.
    Fatal(ProviderError),
    Unknown(String),
}

/// A referral to a zone below ours: one delegated name must not hold up the others.
fn delegated_below(zone: &Fqdn, negative: &wire::Negative) -> Option<AtName> {
    let (below, server) = negative.referral.first()?;
    let below = from_name(below).filter(|below| below != zone && below.is_in(zone))?;
    Some(AtName::Delegated { zone: below, server: server.to_string() })
}

pub(crate) fn at_name(name: &Fqdn, answers: &[Record]) -> AtName {
    at_wire_name(&to_name(name), answers)
}

fn at_wire_name(name: &hickory_proto::rr::Name, answers: &[Record]) -> AtName {
    let (mut ttl, mut entries) = (u32::MAX, Vec::new());
    for record in answers.iter().filter(|record| record.name == *name) {
        match &record.data {
            RData::CNAME(target) => {
                return match from_name(&target.0) {
                    Some(target) => AtName::Cname { target, ttl: record.ttl },
                    None => AtName::Unsupported(format!("the name is an alias of `{}`", target.0)),
                };
            }
            RData::TXT(txt) => {
                ttl = ttl.min(record.ttl);
                entries.push(Entry::from_chunks(txt.txt_data.iter().map(|chunk| &**chunk)));
            }
            _ => {}
        }
    }
    if entries.is_empty() { AtName::Absent } else { AtName::Txt { ttl, entries } }
}

fn system_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

impl fmt::Debug for Rfc2136 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rfc2136").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "rfc2136/words_tests.rs"]
mod tests;
