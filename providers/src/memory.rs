//! A DNS host in memory, for tests and simulations: strict about guards, and as rude as it is told to be.
//!
//! It does on purpose what real hosts do by accident: refuse now and then, answer with an error after having done
//! the thing, answer OK without doing it, stop in the middle of a batch, ask to wait, and serve a change late on
//! some of its name servers. The same seed and the same calls give the same misfortunes. It never sleeps and never
//! looks at a clock of its own.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::{Span, Time};

use crate::{
    AtName, Caps, ChangeId, CompareAndSet, Descriptor, DnsProvider, Entry, Guarded, Outcome, ProviderError, Zone,
};

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "memory",
    name: "Memory (tests and simulations only)",
    credentials: "none",
    least_rights: "none; nothing leaves the process",
    rights_template: "",
    docs: "",
};

/// How often each misfortune strikes, in thousandths; all zero by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// An operation is refused.
    pub refused: u16,
    /// An operation is done, and the answer is lost.
    pub done_but_unknown: u16,
    /// An operation is not done, and the answer is lost.
    pub lost: u16,
    /// An operation is not done, and the answer is OK.
    pub ok_but_not_done: u16,
    /// A call is turned away with `retry_after`, and so is every call until that has passed.
    pub rate_limited: u16,
    pub retry_after: Duration,
    /// A batch ends in its middle.
    pub partial: u16,
    /// An observation fails.
    pub blind: u16,
}

/// What was asked of the host so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    pub observe: u64,
    pub apply: u64,
    /// Operations that changed something.
    pub writes: u64,
}

/// What one of the host's name servers says to a resolver at a certain time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    Answer {
        at: AtName,
        /// min(SOA TTL, SOA minimum), in seconds (RFC 2308 section 5).
        negative_ttl: u32,
    },
    /// No answer comes.
    Silent,
}

/// The host. Its time is what the function given to [`Memory::new`] says.
pub struct Memory {
    zones: Vec<Zone>,
    clock: Box<dyn Fn() -> Time + Send + Sync>,
    inner: Mutex<Inner>,
}

struct Inner {
    random: u64,
    faults: Faults,
    /// Every state that a name ever had, oldest first.
    names: HashMap<Fqdn, Vec<(Time, AtName)>>,
    servers: Vec<Server>,
    soa_ttl: u32,
    soa_minimum: u32,
    limited_until: Option<Time>,
    calls: Calls,
}

#[derive(Clone, Copy, Default)]
struct Server {
    lag: Span,
    silent: bool,
}

impl Memory {
    /// A host with one name server that has no lag, an SOA TTL and minimum of 300 s, and no faults.
    pub fn new(zones: &[Fqdn], seed: u64, clock: impl Fn() -> Time + Send + Sync + 'static) -> Self {
        Memory {
            zones: zones.iter().map(Zone::named).collect(),
            clock: Box::new(clock),
            inner: Mutex::new(Inner {
                random: seed,
                faults: Faults::default(),
                names: HashMap::new(),
                servers: vec![Server::default()],
                soa_ttl: 300,
                soa_minimum: 300,
                limited_until: None,
                calls: Calls::default(),
            }),
        }
    }

    pub fn set_faults(&self, faults: Faults) {
        self.inner().faults = faults;
    }

    /// As many name servers as there are lags; a change is served by each one its lag after it was made.
    pub fn set_lags(&self, lags: &[Span]) {
        self.inner().servers = lags.iter().map(|&lag| Server { lag, silent: false }).collect();
    }

    pub fn set_silent(&self, server: usize, silent: bool) {
        if let Some(server) = self.inner().servers.get_mut(server) {
            server.silent = silent;
        }
    }

    /// Seconds each.
    pub fn set_soa(&self, ttl: u32, minimum: u32) {
        let mut inner = self.inner();
        (inner.soa_ttl, inner.soa_minimum) = (ttl, minimum);
    }

    pub fn servers(&self) -> usize {
        self.inner().servers.len()
    }

    pub fn calls(&self) -> Calls {
        self.inner().calls
    }

    /// What a resolver that asks this server at `now` is told.
    pub fn answer(&self, server: usize, name: &Fqdn, now: Time) -> Served {
        let inner = self.inner();
        let Some(Server { lag, silent: false }) = inner.servers.get(server) else { return Served::Silent };
        let history = inner.names.get(name).map_or(&[][..], Vec::as_slice);
        let served = history.iter().rev().find(|(made, _)| *made + *lag <= now);
        Served::Answer {
            at: served.map_or(AtName::Absent, |(_, at)| at.clone()),
            negative_ttl: inner.soa_ttl.min(inner.soa_minimum),
        }
    }

    /// What stands at a name by the host's own records.
    pub fn at(&self, name: &Fqdn) -> AtName {
        self.inner().at(name).clone()
    }

    /// Somebody edits the name behind our back.
    pub fn edit(&self, name: &Fqdn, at: AtName) {
        let now = (self.clock)();
        self.inner().write(name, at, now);
    }

    /// Somebody puts these texts at the name, and nothing else.
    pub fn edit_txt(&self, name: &Fqdn, ttl: u32, texts: &[&str]) {
        let entries = texts.iter().map(|text| Entry::new(TxtText::from(*text))).collect();
        self.edit(name, if texts.is_empty() { AtName::Absent } else { AtName::Txt { ttl, entries } });
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere cannot leave a half-made change: each write is one push.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DnsProvider for Memory {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn caps(&self) -> Caps {
        Caps {
            min_ttl: 1,
            max_text: 4096,
            max_batch: 200,
            atomic_batch: false,
            compare_and_set: CompareAndSet::Exact,
            rate: None,
        }
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        Ok(self.zones.clone())
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        let now = (self.clock)();
        let mut inner = self.inner();
        inner.calls.observe += 1;
        inner.limit(now)?;
        let blind = inner.faults.blind;
        if inner.strikes(blind) {
            return Err(ProviderError::Unreachable("the host gave no answer; nothing is known of it now".into()));
        }
        zone.holds(names)?;
        Ok(names.iter().map(|name| inner.at(name).clone()).collect())
    }

    fn list(&self, zone: &Zone) -> Result<Option<Vec<Fqdn>>, ProviderError> {
        let inner = self.inner();
        let stands = |name: &&Fqdn| name.is_in(&zone.name) && matches!(inner.at(name), AtName::Txt { .. });
        let mut names: Vec<Fqdn> = inner.names.keys().filter(stands).cloned().collect();
        names.sort();
        Ok(Some(names))
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        let now = (self.clock)();
        let mut inner = self.inner();
        inner.calls.apply += 1;
        if let Err(error) = inner.limit(now) {
            return vec![Outcome::Rejected(error); ops.len()];
        }
        let partial = inner.faults.partial;
        let reached = if inner.strikes(partial) && !ops.is_empty() {
            (inner.next() % ops.len() as u64) as usize
        } else {
            ops.len()
        };
        let mut outcomes = Vec::with_capacity(ops.len());
        outcomes.extend(ops[..reached].iter().map(|guarded| inner.perform(zone, guarded, now)));
        outcomes.resize(ops.len(), Outcome::NotTried);
        outcomes
    }

    fn clock(&self) -> Option<Time> {
        Some((self.clock)())
    }
}

impl Inner {
    fn perform(&mut self, zone: &Zone, guarded: &Guarded, now: Time) -> Outcome {
        let Guarded { op, seen } = guarded;
        let name = op.name();
        if !name.is_in(&zone.name) {
            return Outcome::Rejected(ProviderError::NoZone(name.clone()));
        }
        let stands = self.at(name);
        if !stands.same_as(seen) {
            return guarded.mismatch(stands.clone());
        }
        // Upon what stands, so that the form of the other values at the name is kept.
        let Some(after) = op.after(stands) else { return Outcome::Conflict(stands.clone()) };
        if after.same_as(stands) {
            return Outcome::Already;
        }
        let faults = self.faults;
        if self.strikes(faults.refused) {
            let (code, message) = ("refused".into(), "the host refuses this record today".into());
            return Outcome::Rejected(ProviderError::Rejected { code, message });
        }
        if self.strikes(faults.lost) {
            return Outcome::Unknown("no answer came; the change may or may not have happened".into());
        }
        let change = ChangeId(self.calls.writes.to_string());
        if self.strikes(faults.ok_but_not_done) {
            return Outcome::Applied(Some(change));
        }
        self.write(name, after, now);
        self.calls.writes += 1;
        if self.strikes(faults.done_but_unknown) {
            return Outcome::Unknown("no answer came; the change may or may not have happened".into());
        }
        Outcome::Applied(Some(change))
    }

    fn at(&self, name: &Fqdn) -> &AtName {
        self.names.get(name).and_then(|history| history.last()).map_or(&AtName::Absent, |(_, at)| at)
    }

    fn write(&mut self, name: &Fqdn, at: AtName, now: Time) {
        match self.names.get_mut(name) {
            Some(history) => history.push((now, at)),
            None => drop(self.names.insert(name.clone(), vec![(now, at)])),
        }
    }

    fn limit(&mut self, now: Time) -> Result<(), ProviderError> {
        if self.strikes(self.faults.rate_limited) {
            self.limited_until = Some(now + Span::seconds(self.faults.retry_after.as_secs()));
        }
        match self.limited_until {
            Some(until) if until > now => {
                let after = Some(Duration::from_secs(until.since(now).as_secs()));
                Err(ProviderError::RateLimited { after })
            }
            _ => Ok(()),
        }
    }

    fn strikes(&mut self, thousandths: u16) -> bool {
        // A fault that is off draws no number, so a run without faults is the same under every seed.
        thousandths > 0 && self.next() % 1000 < u64::from(thousandths)
    }

    /// SplitMix64: small, fast, and the same everywhere.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("zones", &self.zones).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
