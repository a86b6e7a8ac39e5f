//! The world of one schedule: true time, providers, hosts, the stored state, and the boundaries at which a process
//! dies or stops.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use dkimctl_providers::AtName;
use dkimctl_providers::memory::Memory;
use dkimctl_state::lifecycle::ledger::{Ledger, Line, Phase};
use dkimctl_state::lifecycle::policy::Policy;
use dkimctl_state::lifecycle::settings::{Settings, SlotPattern, Slots};
use dkimctl_state::name::{Fqdn, Label, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, Fingerprint};
use dkimctl_state::time::{Span, Time};

use crate::hosts::MailHost;
use crate::mail::Mail;
use crate::schedule::{Dice, Pause, Schedule};
use crate::seeded::Seeded;
use crate::store::Kept;
use crate::tally::{Edge, Group, Tally};

/// When every schedule begins.
const START: i64 = 1_790_000_000;

pub struct Sim {
    pub schedule: Schedule,
    pub seeded: Seeded,
    pub settings: Settings,
    pub truth: Arc<AtomicI64>,
    /// Seconds that the machine's clock is ahead of the true time.
    pub skew: Cell<i64>,
    pub providers: Vec<Arc<Memory>>,
    /// Which of its machines each address asks next.
    pub turns: RefCell<BTreeMap<Fqdn, u64>>,
    pub hosts: RefCell<Vec<MailHost>>,
    pub kept: RefCell<Kept>,
    pub blobs: RefCell<BTreeMap<Fingerprint, String>>,
    pub mail: RefCell<Mail>,
    pub dice: RefCell<Dice>,
    pub tally: RefCell<Tally>,
    pub run: Cell<u64>,
    /// No more misfortune from now on.
    pub calm: Cell<bool>,
    edges: Cell<u64>,
    /// DNS changes that were begun.
    changes: Cell<u64>,
    kills: RefCell<Vec<u64>>,
    pauses: RefCell<Vec<Pause>>,
    transcript: Option<RefCell<Vec<String>>>,
}

/// What a killed process unwinds with.
pub struct Killed;

thread_local! {
    // A provider has to be `Send`, which a simulation is not: its calls find their simulation by the thread.
    static HERE: RefCell<Option<Rc<Sim>>> = const { RefCell::new(None) };
}

pub fn here() -> Rc<Sim> {
    HERE.with(|here| here.borrow().clone()).expect("a simulation runs on this thread")
}

impl Sim {
    pub fn new(schedule: Schedule, seeded: Seeded, transcript: bool) -> Rc<Sim> {
        let domain: SigningDomain = "example.com".parse().unwrap();
        let truth = Arc::new(AtomicI64::new(START));
        let settings = settings(&schedule, &domain, seeded);
        let mut mail = Mail::new(schedule.providers, schedule.soa_minimum.into());
        let mut providers = Vec::new();
        for provider in 0..schedule.providers {
            let clock = Arc::clone(&truth);
            let now = move || Time::from_unix(clock.load(Ordering::Relaxed));
            let memory = Memory::new(&[domain.as_fqdn().clone()], schedule.seed ^ provider as u64, now);
            let addresses = schedule.addresses.iter().filter(|a| a.provider == provider);
            let lags: Vec<Span> = addresses.flat_map(|a| a.lags.iter().copied()).collect();
            for (index, lag) in lags.iter().enumerate() {
                mail.server(format!("ns{index}.dns{provider}"), provider, lag.as_secs() as i64);
            }
            memory.set_lags(&lags);
            memory.set_soa(86_400, schedule.soa_minimum);
            memory.set_faults(schedule.faults);
            providers.push(Arc::new(memory));
        }
        let hosts = settings.hosts.iter().zip(&schedule.hosts).map(|(label, plan)| MailHost::new(label.clone(), *plan));
        let mut kills = schedule.kills.clone();
        kills.sort_unstable();
        let sim = Rc::new(Sim {
            hosts: RefCell::new(hosts.collect()),
            kept: RefCell::new(Kept::new(domain)),
            skew: Cell::new(0),
            turns: RefCell::default(),
            blobs: RefCell::default(),
            mail: RefCell::new(mail),
            dice: RefCell::new(Dice::new(schedule.seed.rotate_left(32))),
            tally: RefCell::default(),
            run: Cell::new(0),
            calm: Cell::new(false),
            edges: Cell::new(0),
            changes: Cell::new(0),
            pauses: RefCell::new(schedule.pauses.clone()),
            transcript: transcript.then(RefCell::default),
            kills: RefCell::new(kills),
            truth,
            providers,
            settings,
            schedule,
            seeded,
        });
        HERE.with(|here| *here.borrow_mut() = Some(Rc::clone(&sim)));
        sim
    }

    /// The true time.
    pub fn truth(&self) -> i64 {
        self.truth.load(Ordering::Relaxed)
    }

    /// The time by the machine's clock.
    pub fn machine(&self) -> Time {
        Time::from_unix(self.truth() + self.skew.get())
    }

    pub fn pass(&self, seconds: i64) {
        self.truth.store(self.truth() + seconds.max(0), Ordering::Relaxed);
    }

    pub fn roll(&self, limit: u64) -> u64 {
        self.dice.borrow_mut().below(limit)
    }

    /// A boundary of an effect: time passes, and the process may die or stop here.
    pub fn edge(self: &Rc<Self>, edge: Edge) {
        if self.calm.get() {
            return;
        }
        let number = self.edges.replace(self.edges.get() + 1);
        if !self.schedule.kills.is_empty() && self.kills.borrow().first() == Some(&number) {
            self.kills.borrow_mut().remove(0);
            self.killed(edge);
        }
        if edge == Edge::ApplyBefore {
            self.changes.set(self.changes.get() + 1);
        }
        let now = |pause: &Pause| match pause.before_change {
            true => edge == Edge::ApplyBefore && pause.at < self.changes.get(),
            false => pause.at <= number,
        };
        let due = |pauses: &mut Vec<Pause>| Some(pauses.remove(pauses.iter().position(now)?));
        let pause = due(&mut self.pauses.borrow_mut());
        if let Some(pause) = pause {
            self.tally.borrow_mut().hit(Group::PausedAt, edge.name());
            self.say(|| format!("the process stops {} for {}", edge.name(), pause.span));
            let until = self.truth() + pause.span.as_secs() as i64;
            self.others(pause.others, until);
            self.pass(until - self.truth());
            self.say(|| "the process goes on".to_owned());
        }
    }

    pub fn boundaries(&self) -> u64 {
        self.edges.get()
    }

    /// `kill -9`.
    fn killed(self: &Rc<Self>, edge: Edge) -> ! {
        let phases: Vec<Phase> = self.kept.borrow().ledger().keys().map(|(phase, _)| phase).collect();
        let mut tally = self.tally.borrow_mut();
        tally.hit(Group::KilledAt, edge.name());
        phases.iter().for_each(|phase| tally.hit(Group::KilledIn, phase.as_str()));
        drop(tally);
        self.say(|| format!("killed {}", edge.name()));
        if self.seeded == Seeded::CommitNotDurable {
            self.kept.borrow_mut().lose_last();
        }
        resume_unwind(Box::new(Killed));
    }

    /// What the oracle is told of a zone, after anything may have changed it.
    pub fn zone_changed(&self, provider: usize, name: &Fqdn) {
        let (ttl, texts) = match self.providers[provider].at(name) {
            AtName::Txt { ttl, entries } => {
                (ttl, entries.iter().map(|entry| entry.text.to_str_lossy().into_owned()).collect())
            }
            _ => (0, Vec::new()),
        };
        self.mail.borrow_mut().zone(provider, name.as_str(), self.truth(), ttl, &texts);
    }

    /// A line of the transcript that a replay prints.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(transcript) = &self.transcript {
            let true_time = Time::from_unix(self.truth());
            let skew = match self.skew.get() {
                0 => String::new(),
                skew => format!(" (the clock is off by {} d)", skew / 86_400),
            };
            transcript.borrow_mut().push(format!("{} {true_time}{skew} {}", self.truth(), line()));
        }
    }

    pub fn transcript(&self) -> Vec<String> {
        self.transcript.as_ref().map(RefCell::take).unwrap_or_default()
    }

    pub fn ledger(&self) -> Ledger {
        self.kept.borrow().ledger().clone()
    }

    pub fn line(&self) -> Line {
        self.kept.borrow().ledger().lines.get(&Algorithm::Rsa).cloned().unwrap_or_default()
    }
}

fn settings(schedule: &Schedule, domain: &SigningDomain, seeded: Seeded) -> Settings {
    let slot = |text| SlotPattern::parse(text).unwrap();
    let label = |text: String| -> Label { text.parse().unwrap() };
    let mut policy = Policy { suspended: seeded.rule(), ..Policy::default() };
    if seeded == Seeded::ShortWindow {
        policy.window = Span::days(4);
    }
    Settings {
        domain: domain.clone(),
        slots: [(Algorithm::Rsa, Slots { regular: vec![slot("s1"), slot("s2")], spare: Some(slot("s3")) })].into(),
        rsa_bits: 2048,
        ttl: schedule.ttl,
        providers: (0..schedule.providers).map(|n| label(format!("dns{n}"))).collect(),
        hosts: (0..schedule.hosts.len()).map(|n| label(format!("mail{n}"))).collect(),
        policy,
    }
}
