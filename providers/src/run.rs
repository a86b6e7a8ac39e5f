//! One `apply` for hosts that are changed by calls: look, compare, pack, send, look again.
//!
//! The order of things is the same everywhere: what no longer holds what was seen is not sent; a call that is refused
//! is halved until the bad change stands alone; an accepted change is read back before it counts as applied.

use std::collections::{HashSet, VecDeque};

use dkimctl_state::name::Fqdn;

use crate::{AtName, ChangeId, Guarded, Op, Outcome, ProviderError, Zone};

/// One change on its way, and what stands at its name in the host's own form.
#[derive(Debug, Clone)]
pub(crate) struct Job<'a> {
    pub index: usize,
    pub guarded: &'a Guarded,
    pub now: AtName,
    /// What the name will hold, for hosts that write it as a whole.
    #[cfg_attr(not(any(feature = "powerdns", feature = "route53")), allow(dead_code))]
    pub after: AtName,
    again: bool,
}

impl Job<'_> {
    pub fn op(&self) -> &Op {
        &self.guarded.op
    }

    pub fn name(&self) -> &Fqdn {
        self.guarded.op.name()
    }
}

/// What became of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    Done(Option<ChangeId>),
    /// Nothing was done, for something in it.
    Refused(ProviderError),
    /// Nothing was done, and no other call would fare better.
    Fatal(ProviderError),
    /// It may or may not have been done.
    Unknown(String),
}

/// The calls of a host.
pub(crate) trait Calls {
    fn look(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError>;

    /// A sentence when this change cannot be made here whatever the moment.
    fn objection(&self, _job: &Job) -> Option<ProviderError> {
        None
    }

    /// How many of `jobs`, from the first, one call takes; at least one.
    fn fit(&self, jobs: &[Job]) -> usize;

    fn send(&self, zone: &Zone, jobs: &[Job]) -> Sent;
}

pub(crate) fn apply(calls: &dyn Calls, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
    let mut run = Run { calls, zone, outcomes: vec![None; ops.len()], stopped: false, tries: 0 };
    let mut waiting = Vec::new();
    for (index, guarded) in ops.iter().enumerate() {
        if guarded.op.name().is_in(&zone.name) {
            waiting.push((index, guarded));
        } else {
            run.outcomes[index] = Some(Outcome::Rejected(ProviderError::NoZone(guarded.op.name().clone())));
        }
    }
    // A second change of a name is planned upon what the first one leaves.
    while !waiting.is_empty() && !run.stopped {
        let mut names = HashSet::new();
        let (round, later) = waiting.into_iter().partition(|(_, guarded)| names.insert(guarded.op.name().clone()));
        run.round(round);
        waiting = later;
    }
    run.outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::NotTried)).collect()
}

struct Run<'a> {
    calls: &'a dyn Calls,
    zone: &'a Zone,
    outcomes: Vec<Option<Outcome>>,
    stopped: bool,
    /// Of names whose form had changed when they were refused.
    tries: u32,
}

impl<'a> Run<'a> {
    fn round(&mut self, ops: Vec<(usize, &'a Guarded)>) {
        let names: Vec<Fqdn> = ops.iter().map(|(_, guarded)| guarded.op.name().clone()).collect();
        let seen = match self.calls.look(self.zone, &names) {
            Ok(seen) => seen,
            Err(error) => {
                self.stopped = true;
                for (index, _) in ops {
                    self.outcomes[index] = Some(Outcome::Rejected(error.clone()));
                }
                return;
            }
        };
        let jobs = ops.into_iter().zip(seen).filter_map(|((index, guarded), now)| self.judge(index, guarded, now));
        let jobs: Vec<Job> = jobs.collect();
        let mut accepted = Vec::new();
        let mut queue: VecDeque<Vec<Job>> = (!jobs.is_empty()).then_some(jobs).into_iter().collect();
        while let Some(mut batch) = queue.pop_front()
            && !self.stopped
        {
            let rest = batch.split_off(self.calls.fit(&batch).clamp(1, batch.len()));
            if !rest.is_empty() {
                queue.push_front(rest);
            }
            match self.calls.send(self.zone, &batch) {
                Sent::Done(change) => accepted.extend(batch.into_iter().map(|job| (job, change.clone()))),
                Sent::Refused(error) => self.sort_out(batch, &error, &mut queue),
                Sent::Fatal(error) => self.stop(&batch, &Outcome::Rejected(error)),
                Sent::Unknown(why) => self.stop(&batch, &Outcome::Unknown(why)),
            }
        }
        self.read_back(&accepted);
    }

    /// Whether a change is still to be sent; if not, its outcome is set.
    fn judge(&mut self, index: usize, guarded: &'a Guarded, now: AtName) -> Option<Job<'a>> {
        let outcome = if !now.same_as(&guarded.seen) {
            guarded.mismatch(now)
        } else {
            match guarded.op.after(&now) {
                None => Outcome::Conflict(now),
                Some(after) if after.same_as(&now) => Outcome::Already,
                Some(after) => {
                    let job = Job { index, guarded, now, after, again: false };
                    match self.calls.objection(&job) {
                        Some(error) => Outcome::Rejected(error),
                        None => return Some(job),
                    }
                }
            }
        };
        self.outcomes[index] = Some(outcome);
        None
    }

    /// A call was refused as a whole. Somebody may have changed a name since we looked; if not, one of the changes
    /// is bad, and halving finds it.
    fn sort_out(&mut self, batch: Vec<Job<'a>>, error: &ProviderError, queue: &mut VecDeque<Vec<Job<'a>>>) {
        if batch.len() > 1 && batch.iter().all(|job| job.again) {
            return halve(batch, queue);
        }
        let names: Vec<Fqdn> = batch.iter().map(|job| job.name().clone()).collect();
        let Ok(seen) = self.calls.look(self.zone, &names) else {
            return self.stop(&batch, &Outcome::Rejected(error.clone()));
        };
        let (asked, mut moved) = (batch.len(), false);
        let mut again = Vec::with_capacity(asked);
        for (job, now) in batch.into_iter().zip(seen) {
            moved |= job.now != now;
            let fresh = self.judge(job.index, job.guarded, now);
            again.extend(fresh.map(|fresh| Job { again: true, ..fresh }));
        }
        match again.len() {
            0 => {}
            // Nothing has changed meanwhile, so it is this change that is bad.
            1 if asked == 1 && !moved => self.outcomes[again[0].index] = Some(Outcome::Rejected(error.clone())),
            1 if asked == 1 => self.last_try(again, queue),
            _ if moved => queue.push_front(again),
            _ => halve(again, queue),
        }
    }

    /// A name that changes its form all the time is tried a few times, not for ever.
    fn last_try(&mut self, again: Vec<Job<'a>>, queue: &mut VecDeque<Vec<Job<'a>>>) {
        self.tries += 1;
        if self.tries > 20 {
            let why = "the name changes while it is being written; see who else writes it, then run again";
            let error = ProviderError::Rejected { code: "busy".into(), message: why.into() };
            return self.stop(&again, &Outcome::Rejected(error));
        }
        queue.push_front(again);
    }

    /// The last word on what the host accepted.
    fn read_back(&mut self, accepted: &[(Job<'a>, Option<ChangeId>)]) {
        if accepted.is_empty() {
            return;
        }
        let names: Vec<Fqdn> = accepted.iter().map(|(job, _)| job.name().clone()).collect();
        let seen = self.calls.look(self.zone, &names);
        for (place, (job, change)) in accepted.iter().enumerate() {
            self.outcomes[job.index] = Some(match &seen {
                Ok(seen) if job.op().holds_in(&seen[place]) => Outcome::Applied(change.clone()),
                Ok(seen) => Outcome::Conflict(seen[place].clone()),
                Err(error) => Outcome::Unknown(format!("accepted, but it could not be read back: {error}")),
            });
        }
    }

    fn stop(&mut self, jobs: &[Job], outcome: &Outcome) {
        for job in jobs {
            self.outcomes[job.index] = Some(outcome.clone());
        }
        self.stopped = true;
    }
}

fn halve<'a>(mut batch: Vec<Job<'a>>, queue: &mut VecDeque<Vec<Job<'a>>>) {
    let second = batch.split_off(batch.len() / 2);
    queue.push_front(second);
    queue.push_front(batch);
}
