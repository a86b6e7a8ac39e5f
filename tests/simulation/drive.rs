//! One life: cron comes when it is due, operators ask, people edit, and in the end everybody behaves.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

use dkimctl::advance::{Run, advance};
use dkimctl::world::World;
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Outgoing, Phase};
use dkimctl_state::lifecycle::request::{Hold, Intent, Request};
use dkimctl_state::lifecycle::wait::Wait;
use dkimctl_state::record::dkim::{Algorithm, Fingerprint};
use dkimctl_state::store::{Change, Event as Logged, Store, StoreError};

use crate::hosts::Courier;
use crate::people::People;
use crate::ports::{Ports, dns};
use crate::schedule::{Event, Profile, Schedule};
use crate::seeded::Seeded;
use crate::sim::{Killed, Sim};
use crate::store::Handle;
use crate::tally::{Edge, Group, Tally};

/// How a life ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Well,
    /// A message could not be verified.
    Lost(String),
    /// What was asked for never came to its end.
    Hang(String),
}

pub struct Life {
    pub end: End,
    pub tally: Tally,
    pub transcript: Vec<String>,
}

/// Runs after the end of all misfortune within which everything must have come to rest.
const PATIENCE: u64 = 150;

/// The longest that cron stays away from a domain that waits for the world.
const LONGEST_PAUSE: i64 = 6 * 3600;

pub fn live(schedule: Schedule, seeded: Seeded, transcript: bool) -> Life {
    let profile = schedule.profile;
    let sim = Sim::new(schedule, seeded, transcript);
    let began = sim.truth();
    let hang =
        Driver { sim: Rc::clone(&sim), people: People::default(), idle: 0, phases: Vec::new(), asked: 0, last: None }
            .live();
    for index in 0..sim.settings.hosts.len() {
        sim.remote_host_works(index, sim.truth());
    }
    let end = match sim.mail.borrow_mut().judge(sim.truth()) {
        Err(lost) => End::Lost(format!("sent at {}, verified at {}: {}", lost.sent, lost.verified, lost.why)),
        Ok(()) => hang.map_or(End::Well, End::Hang),
    };
    let mut tally = sim.tally.take();
    tally.schedules = 1;
    tally.hit(Group::Profile, profile.name());
    tally.days = ((sim.truth() - began) / 86_400) as u64;
    (tally.sent, tally.verified) = (sim.mail.borrow().sent, sim.mail.borrow().verified);
    Life { end, tally, transcript: sim.transcript() }
}

struct Driver {
    sim: Rc<Sim>,
    people: People,
    /// Runs in a row in which no key came further.
    idle: u32,
    phases: Vec<(Phase, Fingerprint)>,
    /// Rotations asked for after the first key.
    asked: u64,
    last: Option<Run>,
}

impl Driver {
    /// Lives until everything rests; why it does not, if it does not.
    fn live(mut self) -> Option<String> {
        let sim = Rc::clone(&self.sim);
        sim.ask(Intent::Rotate);
        loop {
            let run = sim.run.get();
            if run >= sim.schedule.trouble {
                self.everybody_behaves();
            }
            if run >= sim.schedule.trouble + PATIENCE {
                let waits = self
                    .last
                    .map(|run| (run.waits, run.failures.into_iter().map(|(_, f)| f.to_string()).collect::<Vec<_>>()));
                return (!sim.schedule.insists).then(|| format!("after {run} runs: {waits:?}"));
            }
            let cron = self.next_cron();
            let events: Vec<Event> =
                sim.schedule.events.iter().filter(|(at, _)| *at == run).map(|(_, event)| *event).collect();
            for event in events {
                sim.pass_until(moment(&sim, cron));
                self.people.act(&sim, event);
            }
            if let Some(why) = self.operate() {
                return Some(why);
            }
            if (sim.calm.get() || sim.schedule.profile == Profile::EachKill) && self.rests() {
                sim.say(|| format!("everything rests, after {} boundaries", sim.boundaries()));
                return None;
            }
            sim.pass_until(self.next_cron());
            self.run();
        }
    }

    /// When cron comes next, by the true time.
    fn next_cron(&self) -> i64 {
        let sim = &self.sim;
        let now = sim.truth();
        let late = sim.roll(sim.schedule.cadence.as_secs().max(1)) as i64;
        let due = match sim.kept.borrow().wake() {
            Some(wake) => wake.unix() - sim.skew.get(),
            None => now + 86_400,
        };
        // Who waits for the world is looked at less and less often.
        let pause = if self.idle == 0 { 1 } else { (150_i64 << self.idle.min(16)).min(LONGEST_PAUSE) };
        if sim.skew.get() != 0 && !sim.schedule.witness {
            // Nobody else tells the time, so somebody notices before the wrong clock has caught up with the facts.
            return now + LONGEST_PAUSE;
        }
        due.max(now + pause) + late
    }

    fn run(&mut self) {
        let sim = &self.sim;
        sim.run.set(sim.run.get() + 1);
        sim.hosts_fail();
        let began = sim.truth();
        let run = sim.everybody_works().and_then(|()| sim.process());
        let phases: Vec<_> = sim.ledger().keys().map(|(phase, key)| (phase, key.fingerprint)).collect();
        self.idle = if phases == self.phases && run.is_some() { self.idle + 1 } else { 0 };
        self.phases = phases;
        if let Some(run) = run {
            if run.failures.is_empty() {
                self.people.saw(began, &run);
            }
            sim.say(|| format!("  {:?} {:?}", run.waits.values().collect::<Vec<_>>(), run.failures));
            self.last = Some(run);
        }
    }

    fn everybody_behaves(&self) {
        let sim = &self.sim;
        if !sim.calm.replace(true) {
            sim.say(|| "--- from now on nothing goes wrong".to_owned());
            sim.skew.set(0);
            sim.providers.iter().for_each(|provider| provider.set_faults(Default::default()));
            sim.hosts_recover();
            if let Some(newest) = self.people.newest.as_ref().filter(|_| sim.kept.borrow().is_older()) {
                *sim.kept.borrow_mut() = newest.clone();
            }
        }
    }

    /// What the operator does besides what the schedule has for him. Why he gives up, if he does.
    fn operate(&mut self) -> Option<String> {
        let sim = Rc::clone(&self.sim);
        self.people.repair(&sim);
        if sim.skew.get() != 0 {
            return None;
        }
        let ledger = sim.ledger();
        let line = sim.line();
        if sim.calm.get() && ledger.hold.is_some() {
            sim.record(Fact::Released);
        }
        let says =
            |wanted: fn(&Wait) -> bool| self.last.iter().flat_map(|run| run.waits.values().flatten()).any(wanted);
        let rollback = line.request.as_ref().is_some_and(|r| r.intent == Intent::Rollback);
        if rollback && says(|wait| matches!(wait, Wait::NoWayBack)) {
            let promised = line.outgoing.iter().rev().find_map(|outgoing| match outgoing {
                Outgoing::Retiring(r) => Some(r),
                _ => None,
            });
            if let Some(key) = promised.filter(|r| sim.machine() < r.stopped + sim.settings.policy.rollback_grace)
                && !sim.schedule.insists
                && (key.key.shredded.is_some() || !key.key.wiped.is_empty())
            {
                return Some("within the grace there was no way back: the old key was destroyed".to_owned());
            }
            sim.ask(Intent::Rotate);
        } else if line.request.is_none() && line.incoming.is_none() {
            match &line.active {
                None => sim.ask(Intent::Rotate),
                Some(active) if self.asked < sim.schedule.rotations => {
                    let due = active.since + sim.schedule.rest;
                    if due <= sim.machine() || self.idle > 0 || sim.kept.borrow().wake().is_none_or(|wake| wake > due) {
                        sim.pass_until(due.unix());
                        sim.ask(Intent::Rotate);
                        self.asked += 1;
                    }
                }
                Some(_) => {}
            }
        }
        None
    }

    /// Everything that was asked for has come to its end.
    fn rests(&self) -> bool {
        let line = self.sim.line();
        line.request.is_none()
            && line.incoming.is_none()
            && line.active.is_some()
            && line.outgoing.iter().all(|outgoing| matches!(outgoing, Outgoing::Gone(_)))
            && self.asked >= self.sim.schedule.rotations
    }
}

/// When somebody acts before cron comes: at once, at the last moment, or in between.
fn moment(sim: &Sim, cron: i64) -> i64 {
    let now = sim.truth();
    match sim.roll(3) {
        0 => now,
        1 => cron - 1,
        _ => now + sim.roll((cron - now).max(1) as u64) as i64,
    }
}

impl Sim {
    pub fn pass_until(&self, at: i64) {
        self.pass(at - self.truth());
    }

    /// The hosts do their part, and cron begins with their receipts. `None` if it did not live to go on.
    fn everybody_works(self: &Rc<Self>) -> Option<()> {
        for index in 0..self.settings.hosts.len() {
            self.remote_host_works(index, self.truth());
        }
        self.evidence().into_iter().try_for_each(|fact| self.import(fact))
    }

    /// One process: the real loop until it rests, fails, or dies. `None` if it did not live to tell.
    pub fn process(self: &Rc<Self>) -> Option<Run> {
        self.tally.borrow_mut().runs += 1;
        self.say(|| format!("run {}", self.run.get()));
        let run = survive(|| {
            let ports = Ports(Rc::clone(self));
            let (dns, post) = (dns(self), Courier::new(self));
            let world = World { clock: &ports, vault: &ports, dns: &dns, sweeper: &ports, post: &post };
            advance(&world, &mut Handle(Rc::clone(self)), &[&self.settings], "cron", &())
        });
        if self.line().active.is_some() {
            self.mail.borrow_mut().onboarded(self.truth());
        }
        match run? {
            Ok(run) => Some(run),
            Err(error) => {
                if matches!(error, StoreError::Older { .. }) {
                    self.tally.borrow_mut().hit(Group::Misfortune, "an older state was refused");
                }
                self.say(|| format!("  {error}"));
                None
            }
        }
    }

    /// Other processes, while one stands still: the lock was broken.
    pub fn others(self: &Rc<Self>, count: u64, until: i64) {
        for _ in 0..count {
            let wake = self.kept.borrow().wake().map_or(i64::MAX, |wake| wake.unix() - self.skew.get());
            let next = wake.max(self.truth() + 61);
            if next >= until {
                break;
            }
            self.pass_until(next);
            self.say(|| "another process".to_owned());
            if self.everybody_works().and_then(|()| self.process()).is_some() {
                self.tally.borrow_mut().hit(Group::Misfortune, "another process ran meanwhile");
            }
        }
    }

    /// An operator asks.
    pub fn ask(self: &Rc<Self>, intent: Intent) {
        self.say(|| format!("the operator asks: {intent:?}"));
        let request = Request { intent, asked: self.machine(), by: "operator".to_owned(), reason: None };
        self.record(Fact::Asked { algorithm: Algorithm::Rsa, request });
    }

    pub fn hold(self: &Rc<Self>) {
        let hold = Hold { since: self.machine(), by: "operator".to_owned(), reason: "a freeze".to_owned() };
        self.record(Fact::Held { hold });
    }

    /// A fact that a command writes down; a person who was cut off does it again.
    pub fn record(self: &Rc<Self>, fact: Fact) {
        while survive(|| {
            self.edge(Edge::AskBefore);
            self.write(&fact);
            self.edge(Edge::AskAfter);
        })
        .is_none()
        {}
    }

    /// A receipt that cron imports, or the next cron.
    fn import(self: &Rc<Self>, fact: Fact) -> Option<()> {
        survive(|| {
            self.edge(Edge::ImportBefore);
            self.write(&fact);
            self.edge(Edge::ImportAfter);
        })
    }

    fn write(self: &Rc<Self>, fact: &Fact) {
        let mut store = Handle(Rc::clone(self));
        let Ok(mut loaded) = store.load(&self.settings.domain) else { return };
        let before = loaded.ledger.clone();
        let at = self.machine();
        if loaded.ledger.record(fact, at).is_err()
            || loaded.ledger.lines == before.lines && loaded.ledger.hold == before.hold
        {
            return;
        }
        let events = vec![Logged { at, actor: "operator".to_owned(), fact: fact.clone() }];
        let wake = Some(loaded.wake.map_or(at, |wake| wake.min(at)));
        let change = Change { ledger: loaded.ledger, revision: loaded.revision, wake, events };
        // Somebody else was quicker: a person sees that and looks again.
        let _stale = store.commit(&[change]);
    }
}

/// Whether a process came through; a panic that is not a kill is a bug.
fn survive<T>(process: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(process)) {
        Ok(done) => Some(done),
        Err(payload) if payload.is::<Killed>() => None,
        Err(bug) => resume_unwind(bug),
    }
}

impl End {
    pub fn kind(&self) -> &'static str {
        match self {
            End::Well => "nothing",
            End::Lost(_) => "a message failed",
            End::Hang(_) => "a rotation hung",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Well => f.write_str("all is well"),
            End::Lost(why) => write!(f, "a message failed: {why}"),
            End::Hang(why) => write!(f, "it never ended: {why}"),
        }
    }
}
