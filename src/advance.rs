//! The loop: observe, plan, perform a wave, record, again, until only waits remain.
//!
//! It is run by an operator's `rotate`, by cron, and by the simulator; there is no other path to an effect. A kill at
//! any instant followed by the same command ends in the same state as no kill, because every step is an ensure and
//! every fact is recorded after it was seen to hold.

use std::collections::{BTreeMap, BTreeSet};

use dkimctl_state::lifecycle::check::{Rule, check};
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::plan::{Plan, names_to_see, plan};
use dkimctl_state::lifecycle::rotation::Now;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::step::{Step, Wave};
use dkimctl_state::lifecycle::wait::Wait;
use dkimctl_state::name::{Fqdn, Label, SigningDomain};
use dkimctl_state::store::{Change, Event, Store, StoreError};
use dkimctl_state::time::{Span, Time};

use crate::world::{Failure, Raw, Subject, World};

/// What one run did, what it waits for, and what went wrong; per domain.
#[derive(Debug, Default)]
pub struct Run {
    pub done: Vec<(SigningDomain, Time, Fact)>,
    pub waits: BTreeMap<SigningDomain, Vec<Wait>>,
    pub failures: Vec<(SigningDomain, Failure)>,
    /// The earliest time at which any of these domains is to be planned again.
    pub wake: Option<Time>,
}

impl Run {
    /// The domains in which a step failed, or a host turned out not to sign with a new key. That a person has not
    /// entered a record yet says nothing of the other domains.
    pub fn failed_domains(&self) -> impl Iterator<Item = &SigningDomain> {
        let failed = self.failures.iter().filter(|(_, failure)| !failure.waits_for_a_person());
        let refused = self.done.iter().filter(|(.., fact)| matches!(fact, Fact::Refused { host: Some(_), .. }));
        failed.map(|(domain, _)| domain).chain(refused.map(|(domain, ..)| domain))
    }
}

/// Who is told while a run is under way.
pub trait Watcher {
    fn wave(&self, _wave: Wave, _steps: usize) {}
    fn fact(&self, _domain: &SigningDomain, _fact: &Fact) {}
}

/// Nobody is told.
impl Watcher for () {}

/// How long a look at the world may be acted upon: a process that was paused looks again.
const FRESH: Span = Span::seconds(60);

/// How old the evidence of a key's use may be: it was read before the run began, and the retire safety of a window
/// covers a day of not knowing. A process that stood still for longer ends, and the next one begins with the receipts.
const STANDSTILL: Span = Span::hours(24);

/// A clock that went back meanwhile says nothing of how long ago the look was.
fn fresh(looked_at: Time, now: Time) -> bool {
    now >= looked_at && now.since(looked_at) <= FRESH
}

/// Advances these domains as far as they go now.
pub fn advance(
    world: &World<'_>,
    store: &mut dyn Store,
    settings: &[&Settings],
    actor: &str,
    watcher: &dyn Watcher,
) -> Result<Run, StoreError> {
    let mut batch = Batch::load(store, settings)?;
    let mut run = Run::default();
    let mut waiting: BTreeSet<usize> = (0..settings.len()).collect();
    let mut raw = Raw::default();
    // The domains whose world has to be looked at (again) before they are planned.
    let mut stale = waiting.clone();
    let began = world.clock.now();
    let mut looked_at = began;
    while !waiting.is_empty() {
        let at = world.clock.now();
        if at.since(began) > STANDSTILL {
            waiting.iter().for_each(|index| batch.postpone(*index, at));
            break;
        }
        if !fresh(looked_at, at) {
            stale = waiting.clone();
        }
        if !stale.is_empty() {
            raw.extend(batch.observe(world, &stale, at));
            looked_at = at;
            stale.clear();
        }
        let mut plans = batch.plan(&waiting, at);
        if batch.conclude(&mut plans, at, watcher) {
            // That a key may sign is on the disk before any table changes.
            let early = settings.iter().all(|s| s.policy.suspended != Some(Rule::CommitFirst));
            if early {
                batch.commit(store, actor, &mut run)?;
            }
            continue;
        }
        for (index, plan) in &mut plans {
            // Done once in this run is done: whatever did not help will not help at once.
            plan.steps.retain(|step| !batch.tried[*index].contains(step));
        }
        let Some(wave) = plans.iter().flat_map(|(_, plan)| &plan.steps).map(Step::wave).min() else {
            batch.settle(plans, &mut run);
            break;
        };
        plans.retain(|(index, plan)| {
            let resting = plan.steps.is_empty();
            if resting {
                waiting.remove(index);
                batch.rest(*index, plan, &mut run);
            }
            !resting
        });
        let steps = batch.permitted(plans, wave, at, &mut run, &mut waiting);
        if !fresh(looked_at, world.clock.now()) {
            stale = waiting.clone();
            continue;
        }
        watcher.wave(wave, steps.len());
        let effects = world.perform(&batch.subjects, &raw, wave, &steps);
        let now = world.clock.now();
        for ((index, step), effect) in steps.into_iter().zip(effects) {
            match effect {
                Ok(facts) => facts.iter().for_each(|fact| {
                    batch.record(index, fact, now, watcher);
                }),
                Err(failure) => {
                    batch.postpone(index, now);
                    waiting.remove(&index);
                    run.failures.push((batch.subjects[index].ledger.domain.clone(), failure));
                }
            }
            if matches!(wave, Wave::Publish | Wave::Withdraw | Wave::Generate) {
                stale.insert(index);
            }
            batch.tried[index].push(step);
        }
        stale.retain(|index| waiting.contains(index));
        batch.commit(store, actor, &mut run)?;
    }
    batch.commit(store, actor, &mut run)?;
    run.wake = batch.wakes.iter().flatten().min().copied();
    Ok(run)
}

/// The domains of one run, and what is not yet written down of them.
struct Batch<'a> {
    subjects: Vec<Subject<'a>>,
    revisions: Vec<u64>,
    /// When each domain is to be planned again, as stored and as decided.
    stored_wakes: Vec<Option<Time>>,
    wakes: Vec<Option<Time>>,
    events: Vec<Vec<(Time, Fact)>>,
    tried: Vec<Vec<Step>>,
}

impl<'a> Batch<'a> {
    fn load(store: &dyn Store, settings: &[&'a Settings]) -> Result<Self, StoreError> {
        let mut batch = Batch {
            subjects: Vec::new(),
            revisions: Vec::new(),
            stored_wakes: Vec::new(),
            wakes: Vec::new(),
            events: settings.iter().map(|_| Vec::new()).collect(),
            tried: settings.iter().map(|_| Vec::new()).collect(),
        };
        for settings in settings {
            let loaded = store.load(&settings.domain)?;
            batch.subjects.push(Subject { settings, ledger: loaded.ledger, seen: Default::default() });
            batch.revisions.push(loaded.revision);
            batch.stored_wakes.push(loaded.wake);
            batch.wakes.push(loaded.wake);
        }
        Ok(batch)
    }

    fn observe(&mut self, world: &World<'_>, which: &BTreeSet<usize>, at: Time) -> Raw {
        let mut names: BTreeMap<Fqdn, Vec<Label>> = BTreeMap::new();
        let mut of: Vec<(usize, Vec<Fqdn>)> = Vec::new();
        for index in which {
            let Subject { settings, ledger, .. } = &self.subjects[*index];
            let wanted = names_to_see(settings, ledger, at);
            for name in &wanted {
                names.entry(name.clone()).or_insert_with(|| settings.providers.clone());
            }
            of.push((*index, wanted));
        }
        let tolerance =
            which.iter().map(|i| self.subjects[*i].settings.policy.clock_tolerance).min().unwrap_or_default();
        let (mut seen, raw) = world.observe(&names, at, tolerance);
        for (index, wanted) in of {
            let mine = wanted.into_iter().filter_map(|name| seen.names.remove_entry(&name)).collect();
            self.subjects[index].seen.names = mine;
            self.subjects[index].seen.clock = seen.clock;
        }
        raw
    }

    fn now(&self, index: usize, at: Time) -> Now<'_> {
        let Subject { settings, ledger, seen } = &self.subjects[index];
        Now { settings, ledger, seen, at }
    }

    fn plan(&self, which: &BTreeSet<usize>, at: Time) -> Vec<(usize, Plan)> {
        which.iter().map(|index| (*index, plan(self.now(*index, at)))).collect()
    }

    /// Records the conclusions of these plans. Whether there were any; then the plans are out of date.
    fn conclude(&mut self, plans: &mut [(usize, Plan)], at: Time, watcher: &dyn Watcher) -> bool {
        let mut any = false;
        for (index, plan) in plans {
            for step in &plan.steps {
                if let Step::Record(fact) = step
                    && check(self.now(*index, at), step).is_ok()
                {
                    any |= self.record(*index, fact, at, watcher);
                }
            }
        }
        any
    }

    /// The steps of this wave that no rule forbids. A domain with a forbidden one stops.
    fn permitted(
        &mut self,
        plans: Vec<(usize, Plan)>,
        wave: Wave,
        at: Time,
        run: &mut Run,
        waiting: &mut BTreeSet<usize>,
    ) -> Vec<(usize, Step)> {
        let mut permitted = Vec::new();
        for (index, plan) in plans {
            let mut mine: Vec<Step> = plan.steps.into_iter().filter(|step| step.wave() == wave).collect();
            if let Some(broken) = mine.iter().find_map(|step| check(self.now(index, at), step).err()) {
                mine.clear();
                waiting.remove(&index);
                self.postpone(index, at);
                run.waits.insert(self.subjects[index].ledger.domain.clone(), plan.waits);
                run.failures.push((self.subjects[index].ledger.domain.clone(), broken.into()));
            }
            permitted.extend(mine.into_iter().map(|step| (index, step)));
        }
        permitted
    }

    /// Whether the fact told anything new.
    fn record(&mut self, index: usize, fact: &Fact, at: Time, watcher: &dyn Watcher) -> bool {
        let ledger = &mut self.subjects[index].ledger;
        let before = ledger.clone();
        // A host may prove again what is known, and late proofs may have nothing left to prove; neither is an error.
        let told = ledger.record(fact, at).is_ok() && !ledger.says_the_same(&before);
        if told {
            watcher.fact(&ledger.domain, fact);
            self.events[index].push((at, fact.clone()));
        } else {
            *ledger = before;
        }
        told
    }

    /// A domain that failed is looked at again soon.
    fn postpone(&mut self, index: usize, at: Time) {
        self.wakes[index] = Some(at + self.subjects[index].settings.policy.poll);
    }

    fn rest(&mut self, index: usize, plan: &Plan, run: &mut Run) {
        self.wakes[index] = plan.wake;
        run.waits.insert(plan.domain.clone(), plan.waits.clone());
    }

    fn settle(&mut self, plans: Vec<(usize, Plan)>, run: &mut Run) {
        for (index, plan) in plans {
            self.rest(index, &plan, run);
        }
    }

    /// Writes down what happened since the last commit: all domains or none.
    fn commit(&mut self, store: &mut dyn Store, actor: &str, run: &mut Run) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        let mut indexes = Vec::new();
        for (index, subject) in self.subjects.iter().enumerate() {
            if self.events[index].is_empty() && self.wakes[index] == self.stored_wakes[index] {
                continue;
            }
            let event = |(at, fact): &(Time, Fact)| Event { at: *at, actor: actor.to_owned(), fact: fact.clone() };
            changes.push(Change {
                ledger: subject.ledger.clone(),
                revision: self.revisions[index],
                wake: self.wakes[index],
                events: self.events[index].iter().map(event).collect(),
            });
            indexes.push(index);
        }
        if changes.is_empty() {
            return Ok(());
        }
        store.commit(&changes)?;
        for index in indexes {
            self.revisions[index] += 1;
            self.stored_wakes[index] = self.wakes[index];
            let domain = &self.subjects[index].ledger.domain;
            run.done.extend(self.events[index].drain(..).map(|(at, fact)| (domain.clone(), at, fact)));
        }
        Ok(())
    }
}
