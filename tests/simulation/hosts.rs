//! The mail hosts and the way to them. A host obeys its orders to the letter, in the order deliver, table, probe,
//! wipe; it answers at once or by receipts, and now and then badly.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use dkimctl::post::{Post, PostError};
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Incoming, Ledger, Phase};
use dkimctl_state::lifecycle::plan::signing_keys;
use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::time::{Span, Time};

use crate::mail::Act;
use crate::schedule::HostPlan;
use crate::seeded::Seeded;
use crate::sim::Sim;
use crate::tally::{Edge, Group};

pub struct MailHost {
    label: Label,
    plan: HostPlan,
    /// Record name and `p=` of every key that was ever heard of.
    known: BTreeMap<Fingerprint, (Rc<str>, Rc<str>)>,
    holds: Vec<Fingerprint>,
    table: Option<Fingerprint>,
    orders: Orders,
    /// The manifest's serial: it never decreases.
    serial: u64,
    ordered: i64,
    applied: Option<i64>,
    proved: Vec<Fact>,
    down_until: i64,
    full_until: i64,
    /// An old container: its key, since when and until when.
    straggler: Option<(Fingerprint, i64, i64)>,
}

/// What a manifest says.
#[derive(Clone, PartialEq, Default)]
struct Orders {
    hold: Vec<Fingerprint>,
    table: Option<Fingerprint>,
    /// The table's key is not proven yet.
    coming: bool,
    /// The key that must sign no more.
    back: Option<Fingerprint>,
    wipe: Vec<Fingerprint>,
}

impl MailHost {
    pub fn new(label: Label, plan: HostPlan) -> Self {
        MailHost {
            label,
            plan,
            known: BTreeMap::new(),
            holds: Vec::new(),
            table: None,
            orders: Orders::default(),
            serial: 0,
            ordered: 0,
            applied: None,
            proved: Vec::new(),
            down_until: 0,
            full_until: 0,
            straggler: None,
        }
    }

    fn act(&self) -> Act {
        let signs = |key| {
            let (name, key) = self.known.get(key)?;
            Some(Act::Signs { name: Rc::clone(name), key: Rc::clone(key) })
        };
        match &self.table {
            None => Act::Unsigned,
            Some(key) if !self.holds.contains(key) => Act::Tempfail,
            Some(key) => signs(key).unwrap_or(Act::Tempfail),
        }
    }

    /// A new manifest is written.
    fn order(&mut self, orders: Orders, now: i64) {
        self.orders = orders;
        self.serial += 1;
        self.ordered = now;
        self.applied = None;
        self.proved.clear();
    }
}

/// One process's way to the hosts: it remembers the serials that it found, and yields to a newer writer.
pub struct Courier {
    sim: Rc<Sim>,
    serials: RefCell<Vec<u64>>,
}

impl Courier {
    pub fn new(sim: &Rc<Sim>) -> Self {
        let serials = sim.hosts.borrow().iter().map(|host| host.serial).collect();
        Courier { sim: Rc::clone(sim), serials: RefCell::new(serials) }
    }
}

impl Post for Courier {
    fn instruct(
        &self,
        host: &Label,
        domains: &[(&Ledger, Vec<Fingerprint>)],
    ) -> Result<BTreeMap<SigningDomain, Vec<Fact>>, PostError> {
        let sim = &self.sim;
        sim.edge(Edge::PostBefore);
        let position = sim.hosts.borrow().iter().position(|h| h.label == *host);
        let index = position.ok_or_else(|| PostError::NoSuchHost(host.clone()))?;
        let now = sim.truth();
        sim.remote_host_works(index, now);
        if sim.hosts.borrow()[index].serial != self.serials.borrow()[index] {
            sim.tally.borrow_mut().hit(Group::Misfortune, "a stale process was refused its orders");
            return Err(PostError::Outbox {
                host: host.clone(),
                why: "another process has written newer orders".to_owned(),
            });
        }
        let remote = sim.hosts.borrow()[index].plan.remote.is_some();
        if !remote && now < sim.hosts.borrow()[index].down_until {
            sim.tally.borrow_mut().hit(Group::Misfortune, "a host was down");
            return Err(PostError::Host { host: host.clone(), why: "the signer does not answer".to_owned() });
        }
        let mut proved = BTreeMap::new();
        for (ledger, wipe) in domains {
            let orders = sim.orders(ledger, wipe.clone());
            if sim.hosts.borrow()[index].orders != orders || sim.hosts.borrow()[index].serial == 0 {
                let mut hosts = sim.hosts.borrow_mut();
                let host = &mut hosts[index];
                for (_, key) in ledger.keys() {
                    let name = Rc::from(key.record_name(&ledger.domain).as_str());
                    host.known.entry(key.fingerprint).or_insert((name, Rc::from(key.public.to_string())));
                }
                host.order(orders.clone(), now);
                self.serials.borrow_mut()[index] = host.serial;
            }
            if remote {
                let arrived = sim.hosts.borrow()[index].receipt(now);
                proved.insert(ledger.domain.clone(), arrived);
            } else {
                proved.insert(ledger.domain.clone(), sim.obey(index, &orders, now, true));
            }
        }
        sim.edge(Edge::PostAfter);
        Ok(proved)
    }
}

impl MailHost {
    /// What the last receipt proves, once it is here: only of the orders that stand.
    fn receipt(&self, now: i64) -> Vec<Fact> {
        let way = self.plan.remote.unwrap_or_default().as_secs() as i64;
        match self.applied {
            Some(applied) if now >= applied + way => self.proved.clone(),
            _ => Vec::new(),
        }
    }
}

impl Sim {
    fn orders(&self, ledger: &Ledger, wipe: Vec<Fingerprint>) -> Orders {
        let wanted = |phase| matches!(phase, Phase::Propagated | Phase::Switching | Phase::Active);
        let live = ledger.keys().filter(|(phase, _)| wanted(*phase)).map(|(_, key)| key.fingerprint);
        let hold = live.filter(|key| self.blobs.borrow().contains_key(key)).collect();
        let switching = ledger.lines.values().find_map(|line| match &line.incoming {
            Some(Incoming::Switching(switching)) => Some(switching),
            _ => None,
        });
        let table = signing_keys(ledger).next().map(|key| key.fingerprint);
        Orders {
            hold,
            table,
            coming: switching.is_some_and(|s| s.refused.is_none()),
            back: switching.filter(|s| s.refused.is_some()).map(|s| s.key.fingerprint),
            wipe,
        }
    }

    /// A host of another machine applies what it finds, in its own time.
    pub fn remote_host_works(self: &Rc<Self>, index: usize, now: i64) {
        let (due, orders) = {
            let hosts = self.hosts.borrow();
            let host = &hosts[index];
            let Some(way) = host.plan.remote else { return };
            let way = way.as_secs() as i64;
            let due = match host.applied {
                // It goes on looking, and proves what it could not prove before.
                Some(applied) => (now - way).max(applied),
                None => (host.ordered + way).max(host.down_until),
            };
            if host.serial == 0 || due > now || now < host.down_until {
                return;
            }
            (due, host.orders.clone())
        };
        let proved = self.obey(index, &orders, due, false);
        let mut hosts = self.hosts.borrow_mut();
        let host = &mut hosts[index];
        host.applied.get_or_insert(due);
        host.proved = proved;
    }

    /// `host apply`: deliver, table, probe, wipe. What it proves. Under the host's own lock a newer manifest shows
    /// before each act, so a stale one is given up there.
    fn obey(self: &Rc<Self>, index: usize, orders: &Orders, at: i64, local: bool) -> Vec<Fact> {
        let serial = self.hosts.borrow()[index].serial;
        let stale = || self.hosts.borrow()[index].serial != serial;
        let edge = |edge| {
            if local {
                self.edge(edge);
            }
        };
        let mut proved = Vec::new();
        for key in &orders.hold {
            if !stale() && self.hosts.borrow_mut()[index].store(key, self) {
                let host = self.hosts.borrow()[index].label.clone();
                proved.push(Fact::Delivered { key: *key, host });
                edge(Edge::HostHolds);
            }
        }
        if stale() {
            return Vec::new();
        }
        if self.turn_table(index, orders, at) {
            edge(Edge::HostTable);
        }
        if stale() {
            return Vec::new();
        }
        proved.extend(self.probe(index, orders, at));
        edge(Edge::HostProbed);
        for key in &orders.wipe {
            if stale() {
                return Vec::new();
            }
            let mut hosts = self.hosts.borrow_mut();
            let host = &mut hosts[index];
            if self.schedule.insists && host.table == Some(*key) {
                continue;
            }
            host.holds.retain(|held| held != key);
            self.mail.borrow_mut().signer(host.label.as_str(), at, host.act());
            proved.push(Fact::Wiped { key: *key, host: host.label.clone() });
            drop(hosts);
            edge(Edge::HostWiped);
        }
        proved
    }

    fn turn_table(&self, index: usize, orders: &Orders, at: i64) -> bool {
        let mut hosts = self.hosts.borrow_mut();
        let host = &mut hosts[index];
        let holds = orders.table.is_none_or(|key| host.holds.contains(&key));
        let careful = self.schedule.insists;
        let lies = self.seeded == Seeded::TurnBackUnproven && orders.back.is_some();
        // No key in the ledger is no order to stop signing: only a turn back to nothing is.
        let silent = orders.table.is_none() && orders.back.is_none();
        if host.table == orders.table || silent || (careful && !holds) || lies {
            return false;
        }
        if let (Some(old), Some(_), Some(span)) = (host.table, orders.table, host.plan.straggler) {
            host.plan.straggler = None;
            let Act::Signs { name, key } = host.act() else { return false };
            let until = at + span.as_secs() as i64;
            let mut mail = self.mail.borrow_mut();
            let container = format!("the old container of {}", host.label);
            mail.signer(&container, at, Act::Signs { name, key });
            mail.signer(&container, until, Act::Idle);
            host.straggler = Some((old, at, until));
            self.tally.borrow_mut().hit(Group::Misfortune, "an old container went on");
        }
        host.table = orders.table;
        self.mail.borrow_mut().signer(host.label.as_str(), at, host.act());
        self.say(|| format!("  {} now: {:?}", host.label, host.act()));
        true
    }

    /// Which key a test message was signed with.
    fn probe(&self, index: usize, orders: &Orders, at: i64) -> Option<Fact> {
        let mut hosts = self.hosts.borrow_mut();
        let host = &mut hosts[index];
        let label = host.label.clone();
        if let Some(key) = orders.back {
            let back = host.table == orders.table || self.seeded == Seeded::TurnBackUnproven;
            return back.then_some(Fact::TurnedBack { key, host: label });
        }
        let key = orders.table.filter(|key| host.table == Some(*key) && host.holds.contains(key))?;
        let troubled = !self.calm.get();
        if troubled && host.plan.mute > 0 {
            host.plan.mute -= 1;
            self.tally.borrow_mut().hit(Group::Misfortune, "a probe showed nothing");
            return None;
        }
        if troubled && orders.coming && host.plan.wrong > 0 {
            host.plan.wrong -= 1;
            self.tally.borrow_mut().hit(Group::Misfortune, "a probe showed the wrong key");
            self.say(|| format!("  {label} at {at}: the probe is wrong"));
            return Some(Fact::Refused { key, host: Some(label), why: "the signature is wrong".to_owned() });
        }
        Some(Fact::Signing { key, host: label })
    }

    /// What the hosts' logs show: who signed with what. Receipts carry it.
    pub fn evidence(&self) -> Vec<Fact> {
        let now = self.truth();
        let mut facts = Vec::new();
        for host in self.hosts.borrow().iter() {
            let used = |key, at: i64| {
                let seen = Time::from_unix(at + self.skew.get());
                Fact::Used { key, seen, by: format!("{}: the log", host.label) }
            };
            if let Some((key, since, until)) = host.straggler
                && since < now
            {
                facts.push(used(key, now.min(until)));
            }
            if let Some(key) = host.table.filter(|_| self.schedule.insists) {
                facts.push(used(key, now));
            }
        }
        facts
    }

    /// The hosts that fail from this run on.
    pub fn hosts_fail(&self) {
        let (run, now) = (self.run.get(), self.truth());
        for host in self.hosts.borrow_mut().iter_mut() {
            if let Some((_, span)) = host.plan.down.take_if(|(from, _)| *from <= run) {
                host.down_until = now + span.as_secs() as i64;
                self.say(|| format!("{} is down for {span}", host.label));
            }
            if let Some((_, span)) = host.plan.full.take_if(|(from, _)| *from <= run) {
                host.full_until = now + span.as_secs() as i64;
                self.say(|| format!("the disk of {} is full for {span}", host.label));
            }
        }
    }

    /// All hosts are well again, and quick.
    pub fn hosts_recover(&self) {
        for host in self.hosts.borrow_mut().iter_mut() {
            (host.plan.down, host.plan.full) = (None, None);
            host.full_until = 0;
            host.down_until = host.down_until.min(self.truth());
            host.plan.remote = host.plan.remote.map(|_| Span::seconds(30));
        }
    }
}

impl MailHost {
    /// Stores a sealed key, unless the disk is full.
    fn store(&mut self, key: &Fingerprint, sim: &Sim) -> bool {
        if !self.holds.contains(key) {
            if sim.truth() < self.full_until {
                sim.tally.borrow_mut().hit(Group::Misfortune, "a host could not store a key");
                return false;
            }
            self.holds.push(*key);
            if self.table == Some(*key) {
                sim.mail.borrow_mut().signer(self.label.as_str(), sim.truth(), self.act());
            }
        }
        true
    }
}
