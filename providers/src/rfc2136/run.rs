//! One `apply`: changes packed into messages, refused messages sorted out, accepted ones read back.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::net::TcpStream;

use dkimctl_state::name::Fqdn;
use hickory_proto::rr::RecordType;

use super::message::Update;
use super::{Exchanged, Rfc2136};
use crate::{AtName, DnsProvider, Entry, Guarded, Op, Outcome, ProviderError, Zone};

/// One change on its way: which, and what is required to stand there, in the server's own chunks.
#[derive(Clone)]
struct Job {
    index: usize,
    seen: AtName,
    /// Whether the required chunks were taken afresh from the server.
    fresh: bool,
}

/// One call of `apply`.
pub(super) struct Run<'a> {
    host: &'a Rfc2136,
    zone: &'a Zone,
    ops: &'a [Guarded],
    outcomes: Vec<Option<Outcome>>,
    stream: Option<TcpStream>,
    stopped: bool,
}

impl<'a> Run<'a> {
    pub fn new(host: &'a Rfc2136, zone: &'a Zone, ops: &'a [Guarded]) -> Self {
        Run { host, zone, ops, outcomes: vec![None; ops.len()], stream: None, stopped: false }
    }

    pub fn perform(mut self) -> Vec<Outcome> {
        let (mut jobs, mut unchanged) = (Vec::new(), Vec::new());
        for (index, Guarded { op, seen }) in self.ops.iter().enumerate() {
            if !op.name().is_in(&self.zone.name) {
                // Sent, it would be NOTZONE for the whole message (RFC 2136 section 3.4.1.3).
                self.outcomes[index] = Some(Outcome::Rejected(ProviderError::NoZone(op.name().clone())));
                continue;
            }
            let job = Job { index, seen: seen.clone(), fresh: false };
            match op.after(seen) {
                Some(after) if !after.same_as(seen) => jobs.push(job),
                _ => unchanged.push(job),
            }
        }
        self.look(&unchanged);
        // Prerequisites are judged before any update of the message (RFC 2136 section 3.2), so two changes of one
        // name go in two messages: the second one is planned upon what the first leaves.
        while !jobs.is_empty() && !self.stopped {
            let mut names = HashSet::new();
            let (round, later) = jobs.into_iter().partition(|job| names.insert(self.ops[job.index].op.name()));
            self.round(round);
            jobs = later;
        }
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::NotTried)).collect()
    }

    /// Of changes that would change nothing, says whether the name really is as was seen.
    fn look(&mut self, jobs: &[Job]) {
        for (job, now) in jobs.iter().zip(self.observe(jobs)) {
            let Guarded { op, seen } = &self.ops[job.index];
            self.outcomes[job.index] = Some(match now {
                Ok(now) if now.same_as(seen) && op.after(seen).is_some() => Outcome::Already,
                Ok(now) => self.ops[job.index].mismatch(now),
                Err(error) => Outcome::Rejected(error),
            });
        }
    }

    fn round(&mut self, jobs: Vec<Job>) {
        let mut accepted = Vec::new();
        let mut queue: VecDeque<_> = (!jobs.is_empty()).then_some(jobs).into_iter().collect();
        while let Some(mut batch) = queue.pop_front()
            && !self.stopped
        {
            let (update, packed) = self.pack(&batch);
            let rest = batch.split_off(packed.max(1));
            if !rest.is_empty() {
                queue.push_front(rest);
            }
            if packed == 0 {
                self.settle(&batch, &Outcome::Rejected(self.host.too_long()));
                continue;
            }
            match self.host.exchange(&mut self.stream, update, &self.zone.name) {
                Exchanged::Done => accepted.extend(batch),
                Exchanged::Prerequisite => self.sort_out(batch, &mut queue),
                Exchanged::Refused(error) if batch.len() == 1 => self.settle(&batch, &Outcome::Rejected(error)),
                Exchanged::Refused(_) => halve(batch, &mut queue),
                Exchanged::Fatal(error) => self.stop(&batch, &Outcome::Rejected(error)),
                Exchanged::Unknown(why) => self.stop(&batch, &Outcome::Unknown(why)),
            }
        }
        self.read_back(&accepted);
    }

    /// Packs as many of `batch` as one message holds, and returns it with their number.
    fn pack(&self, batch: &[Job]) -> (Update, usize) {
        let mut update = Update::new(&self.zone.name);
        for (packed, job) in batch.iter().enumerate() {
            let mark = update.mark();
            write_change(&mut update, &self.ops[job.index].op, &job.seen);
            if !update.fits() {
                update.back_to(&mark);
                return (update, packed);
            }
        }
        (update, batch.len())
    }

    /// Some name of a batch does not hold what was seen: finds out which, and sends the others again.
    fn sort_out(&mut self, batch: Vec<Job>, queue: &mut VecDeque<Vec<Job>>) {
        let asked = batch.len();
        let alone = asked == 1;
        let mut again = Vec::with_capacity(asked);
        for (job, now) in batch.iter().zip(self.observe(&batch)) {
            let guarded = &self.ops[job.index];
            match now {
                // The same texts: it was the chunking, or another one's fault.
                Ok(now) if now.same_as(&guarded.seen) && !(alone && job.fresh) => {
                    again.push(Job { index: job.index, seen: now, fresh: true });
                }
                Ok(now) => self.outcomes[job.index] = Some(guarded.mismatch(now)),
                Err(error) => self.outcomes[job.index] = Some(Outcome::Rejected(error)),
            }
        }
        if again.len() == asked && !alone && batch.iter().all(|job| job.fresh) {
            halve(again, queue);
        } else if !again.is_empty() {
            queue.push_front(again);
        }
    }

    /// The last word on what the server accepted.
    fn read_back(&mut self, accepted: &[Job]) {
        for (job, now) in accepted.iter().zip(self.observe(accepted)) {
            self.outcomes[job.index] = Some(match now {
                Ok(now) if self.ops[job.index].op.holds_in(&now) => Outcome::Applied(None),
                Ok(now) => Outcome::Conflict(now),
                Err(error) => Outcome::Unknown(format!("accepted, but it could not be read back: {error}")),
            });
        }
    }

    fn observe(&self, jobs: &[Job]) -> Vec<Result<AtName, ProviderError>> {
        if jobs.is_empty() {
            return Vec::new();
        }
        let names: Vec<Fqdn> = jobs.iter().map(|job| self.ops[job.index].op.name().clone()).collect();
        match self.host.observe(self.zone, &names) {
            Ok(seen) => seen.into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error); jobs.len()],
        }
    }

    fn settle(&mut self, jobs: &[Job], outcome: &Outcome) {
        for job in jobs {
            self.outcomes[job.index] = Some(outcome.clone());
        }
    }

    fn stop(&mut self, jobs: &[Job], outcome: &Outcome) {
        self.settle(jobs, outcome);
        self.stopped = true;
    }
}

fn halve(mut batch: Vec<Job>, queue: &mut VecDeque<Vec<Job>>) {
    let second = batch.split_off(batch.len() / 2);
    queue.push_front(second);
    queue.push_front(batch);
}

/// Writes one change and the prerequisites for what was seen.
fn write_change(update: &mut Update, op: &Op, seen: &AtName) {
    let name = op.name();
    let entries: &[Entry] = match seen {
        AtName::Txt { entries, .. } => entries,
        _ => &[],
    };
    if entries.is_empty() {
        update.require_none(name, RecordType::TXT);
        // A server would ignore a TXT beside an alias without a word (RFC 2136 section 3.4.2.2).
        update.require_none(name, RecordType::CNAME);
    }
    for entry in entries {
        update.require_txt(name, &chunks(entry));
    }
    let (gone, new) = match op {
        Op::Add { text, ttl, .. } => (vec![text], Some((text, *ttl))),
        Op::Replace { old, new, ttl, .. } => (vec![old, new], Some((new, *ttl))),
        Op::Remove { text, .. } => (vec![text], None),
    };
    // What is there already is deleted and added again in the same message: otherwise Knot keeps the old TTL, and a
    // copy in other chunks would stay beside it.
    for entry in entries.iter().filter(|entry| gone.contains(&&entry.text)) {
        update.delete(name, &chunks(entry));
    }
    if let Some((text, ttl)) = new {
        update.add(name, ttl, &Entry::new(text.clone()).raw);
    }
}

/// The record's own chunks; the usual ones when the caller does not know them.
fn chunks(entry: &Entry) -> Cow<'_, [Vec<u8>]> {
    if entry.raw.is_empty() { Entry::new(entry.text.clone()).raw.into() } else { (&entry.raw).into() }
}
