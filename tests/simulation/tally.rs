//! What a run of the simulation went through, so that nothing is believed to be tested that was never reached.

use std::collections::BTreeMap;

/// The boundaries of every effect: a process can die, or stop for days, at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    AskBefore,
    AskAfter,
    ImportBefore,
    ImportAfter,
    LookBefore,
    LookAfter,
    SweepBefore,
    SweepAfter,
    CreateBefore,
    CreateAfter,
    ApplyBefore,
    ApplyAfter,
    PostBefore,
    HostHolds,
    HostTable,
    HostProbed,
    HostWiped,
    PostAfter,
    ShredBefore,
    ShredAfter,
    CommitBefore,
    CommitAfter,
}

impl Edge {
    pub const ALL: [Edge; 22] = [
        Edge::AskBefore,
        Edge::AskAfter,
        Edge::ImportBefore,
        Edge::ImportAfter,
        Edge::LookBefore,
        Edge::LookAfter,
        Edge::SweepBefore,
        Edge::SweepAfter,
        Edge::CreateBefore,
        Edge::CreateAfter,
        Edge::ApplyBefore,
        Edge::ApplyAfter,
        Edge::PostBefore,
        Edge::HostHolds,
        Edge::HostTable,
        Edge::HostProbed,
        Edge::HostWiped,
        Edge::PostAfter,
        Edge::ShredBefore,
        Edge::ShredAfter,
        Edge::CommitBefore,
        Edge::CommitAfter,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Edge::AskBefore => "before a request is written",
            Edge::AskAfter => "after a request was written",
            Edge::ImportBefore => "before a receipt is imported",
            Edge::ImportAfter => "after a receipt was imported",
            Edge::LookBefore => "before a provider is asked",
            Edge::LookAfter => "after a provider was asked",
            Edge::SweepBefore => "before the servers are asked",
            Edge::SweepAfter => "after the servers were asked",
            Edge::CreateBefore => "before a key is made",
            Edge::CreateAfter => "after a key was made",
            Edge::ApplyBefore => "before a DNS change",
            Edge::ApplyAfter => "after a DNS change",
            Edge::PostBefore => "before orders are written",
            Edge::HostHolds => "after a host stored a key",
            Edge::HostTable => "after a host changed its table",
            Edge::HostProbed => "after a host probed its signer",
            Edge::HostWiped => "after a host wiped a key",
            Edge::PostAfter => "after orders were written",
            Edge::ShredBefore => "before a sealed key is shredded",
            Edge::ShredAfter => "after a sealed key was shredded",
            Edge::CommitBefore => "before a commit",
            Edge::CommitAfter => "after a commit",
        }
    }
}

/// Counts of everything; two add up.
#[derive(Default, Clone)]
pub struct Tally {
    pub schedules: u64,
    pub runs: u64,
    pub sent: u64,
    pub verified: u64,
    /// Simulated days.
    pub days: u64,
    pub counts: BTreeMap<(Group, &'static str), u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    Profile,
    Phase,
    KilledIn,
    KilledAt,
    PausedAt,
    Misfortune,
}

impl Tally {
    pub fn hit(&mut self, group: Group, what: &'static str) {
        *self.counts.entry((group, what)).or_default() += 1;
    }

    pub fn count(&self, group: Group, what: &'static str) -> u64 {
        self.counts.get(&(group, what)).copied().unwrap_or(0)
    }

    pub fn add(&mut self, other: &Tally) {
        self.schedules += other.schedules;
        self.runs += other.runs;
        self.sent += other.sent;
        self.verified += other.verified;
        self.days += other.days;
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
    }

    pub fn table(&self) -> String {
        use std::fmt::Write as _;
        let mut out = String::new();
        let Tally { schedules, runs, sent, verified, days, .. } = self;
        let years = days / 365;
        let _ = writeln!(out, "{schedules:>10} schedules, {years} years");
        let _ = writeln!(out, "{runs:>10} runs");
        let _ = writeln!(out, "{sent:>10} messages sent at dangerous moments, verified {verified} times");
        let mut last = None;
        for ((group, what), count) in &self.counts {
            if last != Some(group) {
                let heading = match group {
                    Group::Profile => "schedules by profile",
                    Group::Phase => "commits with a key that is",
                    Group::KilledIn => "killed while a key was",
                    Group::KilledAt => "killed",
                    Group::PausedAt => "paused",
                    Group::Misfortune => "misfortunes",
                };
                let _ = writeln!(out, "{heading}");
                last = Some(group);
            }
            let _ = writeln!(out, "{count:>10} {what}");
        }
        out
    }
}

/// Everything that has to have gone wrong.
pub const MISFORTUNES: [&str; 33] = [
    "a stale process was refused its commit",
    "a stale process was refused its orders",
    "another process ran meanwhile",
    "a host was down",
    "a host could not store a key",
    "a probe showed nothing",
    "a probe showed the wrong key",
    "an old container went on",
    "a server was silent",
    "the API said OK and did nothing",
    "the API did it and did not say so",
    "the API lost a change",
    "a batch ended in its middle",
    "a guard held: the value had changed",
    "the API asked to wait",
    "the API was out of reach",
    "the API refused",
    "an older state was refused",
    "an operator wanted to go back",
    "the active key became known",
    "an old key became known",
    "an operator held everything",
    "an operator released it",
    "an operator insisted on retirement",
    "somebody deleted the new record",
    "somebody added a value beside it",
    "somebody changed its TTL",
    "somebody put an old record back",
    "somebody used a free selector",
    "the clock jumped",
    "the clock was set right",
    "the state was copied",
    "an older state was put back",
];
