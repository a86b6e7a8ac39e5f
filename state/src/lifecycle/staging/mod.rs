//! The way of a domain's DMARC policy from `p=none` to `p=reject`, decided on evidence.
//!
//! The shape is that of [`super::rotation`]: facts in ([`course`], [`evidence`]), one decision out ([`due`]), no effect.
//! [`ladder`] has the rungs, [`gates`] what has to be seen before one is left, [`sources`] whose mail a row is about,
//! and [`policy`] every threshold with its reason.
//!
//! One rung a run. Never while a key is being switched, never while another clock disagrees. A step back needs no
//! evidence and no patience.

pub mod course;
pub mod evidence;
pub mod gates;
pub mod ladder;
pub mod policy;
pub mod sources;
pub mod spf;

use serde::Serialize;

use self::course::{ChangeKind, Course};
use self::gates::{Evidence, Standing, State, Verdict, applied, weigh};
use self::ladder::Rung;
use self::policy::{Permille, StagingPolicy};
use self::sources::{Class, Ours};
use crate::record::txt::TxtText;
use crate::time::{Span, Time};

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    pub policy: &'a StagingPolicy,
    pub course: &'a Course,
    pub ours: &'a Ours<'a>,
    pub evidence: Evidence<'a>,
    pub around: &'a Around,
    pub at: Time,
}

/// What the rest of the program knows, as plain data.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// A key is on its way to sign, or on its way back: its selector.
    pub key_switch: Option<String>,
    /// When a probe last proved that our mail is signed, aligned and verifies.
    pub dkim_proved: Option<Time>,
    /// What is wrong with the SPF record; empty when it is sound.
    pub spf_errors: Vec<String>,
    /// What is wrong with the DMARC record.
    pub dmarc_errors: Vec<String>,
    /// What other clocks say against ours.
    pub clock_disagrees: bool,
    /// Why it is not known that every name server shows the record that stands.
    pub servers: Option<String>,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "move", rename_all = "snake_case")]
pub enum Move {
    /// Replace exactly `from` by `to`.
    Write {
        kind: ChangeKind,
        rung: Rung,
        from: TxtText,
        to: TxtText,
        why: String,
    },
    Stay,
}

/// Why the record stays as it is, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "wait", rename_all = "snake_case")]
pub enum StagingWait {
    /// The record was not taken over yet.
    NotAdopted,
    /// A change was begun and not seen to end.
    Pending,
    Held {
        since: Time,
        by: String,
        reason: String,
    },
    /// The top of the ladder, or of the profile.
    AtTheTop {
        rung: Rung,
    },
    /// The rehearsal is not over.
    Rehearsal {
        until: Time,
    },
    /// The gates are not open.
    Gates {
        state: State,
        earliest: Option<Time>,
        closed: Vec<&'static str>,
    },
    KeySwitch {
        selector: String,
    },
    /// No recent proof that our mail is signed.
    DkimProof {
        last: Option<Time>,
    },
    Spf {
        errors: Vec<String>,
    },
    ClockDisagrees,
    /// Some name server does not show the record that stands, or did not say.
    Servers {
        why: String,
    },
    /// Mail of a declared sender suffers. An operator decides, or `alarm.automatic` does.
    Alarm {
        why: String,
    },
}

/// A decision with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Due {
    pub rung: Option<Rung>,
    #[serde(rename = "next")]
    pub what: Move,
    pub waits: Vec<StagingWait>,
    pub verdict: Option<Verdict>,
}

/// What one domain's policy needs now.
pub fn due(now: Now<'_>) -> Due {
    let mut due = Due { rung: now.course.rung(), what: Move::Stay, waits: Vec::new(), verdict: None };
    let (Some(standing), Some(record), Some(base)) = (now.course.now(), now.course.record(), now.course.base()) else {
        due.waits.push(StagingWait::NotAdopted);
        return due;
    };
    if now.course.pending.is_some() {
        due.waits.push(StagingWait::Pending);
        return due;
    }
    let rung = Rung::of(&record);
    if let Some(why) = alarm(now) {
        match back(now, &why) {
            // A step back is taken under a hold, during a switch and with any clock: it can only help.
            Some(back) if now.policy.alarm.automatic => {
                due.what = back;
                return due;
            }
            _ => due.waits.push(StagingWait::Alarm { why }),
        }
    }
    if let Some(hold) = &now.course.hold {
        let (since, by, reason) = (hold.since, hold.by.clone(), hold.reason.clone());
        due.waits.push(StagingWait::Held { since, by, reason });
    }
    let Some((next, to)) = ladder::next(&record, &base, now.policy) else {
        due.waits.push(StagingWait::AtTheTop { rung });
        return due;
    };
    let since = now.course.counts_from().unwrap_or(standing.since);
    let until = since + now.policy.rehearsal;
    if rung.is_rehearsal() && now.at < until {
        due.waits.push(StagingWait::Rehearsal { until });
    }
    due.gates(now, rung);
    due.surroundings(now);
    if due.waits.is_empty() {
        let weaker = ladder::weaker(&record, &to);
        let to = to.text();
        let mut why = match to.to_str_lossy().contains("pct=") && next == rung {
            true => format!("the percentage that stands has shown nothing new on {rung}"),
            false => format!("every gate from {rung} to {next} is open"),
        };
        for (whom, before, after) in weaker {
            let rehearsed = if next.is_rehearsal() { " while it is rehearsed" } else { "" };
            why.push_str(&format!("; for {whom} it has the effect of {after}, not {before}{rehearsed}"));
        }
        due.what = Move::Write { kind: ChangeKind::Climb, rung: next, from: standing.text.clone(), to, why };
    }
    due
}

/// One step back, to exactly what stood before. `None` at the foot of the ladder.
pub fn back(now: Now<'_>, why: &str) -> Option<Move> {
    let (standing, before) = (now.course.now()?, now.course.before()?);
    let rung = crate::record::dmarc::read(&before.text).0.as_ref().map_or(Rung::None, Rung::of);
    Some(Move::Write {
        kind: ChangeKind::Rollback,
        rung,
        from: standing.text.clone(),
        to: before.text.clone(),
        why: why.to_owned(),
    })
}

/// Why a domain cannot be parked: somebody sends from it.
pub fn may_park(now: Now<'_>) -> Result<(), String> {
    let passing: u64 = now.evidence.rows.iter().filter(|row| row.outcome.aligned()).map(|row| row.count).sum();
    match passing {
        0 => Ok(()),
        n => Err(format!("{n} messages of this domain passed DMARC in the reports that are kept: it sends mail")),
    }
}

impl Due {
    fn gates(&mut self, now: Now<'_>, rung: Rung) {
        let Some((record, standing)) = now.course.record().zip(now.course.now()) else { return };
        let since = now.course.counts_from().unwrap_or(standing.since);
        let mut thresholds = rung.thresholds(now.policy).clone();
        if rung.is_rehearsal() {
            // The evidence of weeks was weighed one rung below. A rehearsal is short: it must not show anything new.
            let days = (now.policy.rehearsal.as_secs() / 86400).max(1) as u32;
            thresholds.days = Some(if now.policy.low_volume { days.div_ceil(2) } else { days });
            thresholds.settled_days = 0;
            thresholds.fewer_reporters_double = false;
            thresholds.reporters = thresholds.reporters.min(2);
            thresholds.volume = thresholds.volume.min(1);
            // Reports count from the second day on, and the last two days' are not there yet.
            thresholds.coverage = Permille(thresholds.coverage.0.min(500));
        }
        let mut lint = now.around.dmarc_errors.clone();
        lint.extend(now.around.spf_errors.iter().cloned());
        let standing = Standing { record: &record, since, ttl: now.course.cached() };
        // The rehearsal's own length runs from the change; the gates' window begins a day later.
        let verdict = weigh(now.policy, &thresholds, now.ours, standing, now.evidence, &lint, now.at);
        let closed: Vec<&'static str> = verdict
            .gates
            .iter()
            .filter(|gate| matches!(gate.state, gates::GateState::Blocked | gates::GateState::Insufficient))
            .map(|gate| gate.id)
            .collect();
        if verdict.state != State::Clean {
            self.waits.push(StagingWait::Gates { state: verdict.state, earliest: verdict.earliest, closed });
        }
        self.verdict = Some(verdict);
    }

    fn surroundings(&mut self, now: Now<'_>) {
        let Around { key_switch, dkim_proved, spf_errors, clock_disagrees, servers, .. } = now.around;
        if let Some(selector) = key_switch {
            self.waits.push(StagingWait::KeySwitch { selector: selector.clone() });
        }
        if !dkim_proved.is_some_and(|at| now.at.since(at) <= now.policy.dkim_proof) {
            self.waits.push(StagingWait::DkimProof { last: *dkim_proved });
        }
        if !spf_errors.is_empty() {
            self.waits.push(StagingWait::Spf { errors: spf_errors.clone() });
        }
        if *clock_disagrees {
            self.waits.push(StagingWait::ClockDisagrees);
        }
        if let Some(why) = servers {
            self.waits.push(StagingWait::Servers { why: why.clone() });
        }
    }

    /// When to look again: the earliest date that is known, and daily otherwise, since reports come daily.
    pub fn wake(&self, at: Time) -> Time {
        let tomorrow = at + Span::days(1);
        let until = self.waits.iter().filter_map(|wait| match wait {
            StagingWait::Rehearsal { until } => Some(*until),
            StagingWait::Gates { earliest, .. } => *earliest,
            _ => None,
        });
        until.filter(|until| *until > at).min().map_or(tomorrow, |until| until.min(tomorrow))
    }
}

/// Whether mail of a declared sender suffers from the policy that stands, and how.
pub fn alarm(now: Now<'_>) -> Option<String> {
    let (record, alarm) = (now.course.record()?, &now.policy.alarm);
    if !Rung::of(&record).enforces() && record.percent.unwrap_or(0) == 0 {
        return None;
    }
    let since = now.course.now()?.since.max(now.at - alarm.window);
    // What anybody can send does not bring a policy down by itself.
    let recent: Vec<_> = now
        .evidence
        .rows
        .iter()
        .filter(|row| row.day.start() + Span::days(1) > since && row.trust > evidence::Trust::Unverified)
        .filter(|row| applied(&record, &row.published))
        .cloned()
        .collect();
    let classified = now.ours.classify(&recent, &now.policy.floor);
    let declared =
        |who: &str| now.ours.senders.iter().any(|sender| sender.name == who) || who.starts_with("an address");
    let mut by_who: std::collections::BTreeMap<&str, Suffering<'_>> = Default::default();
    for one in classified.iter().filter(|one| matches!(one.class, Class::Pass | Class::KnownFail) && declared(&one.who))
    {
        let suffering = by_who.entry(&one.who).or_default();
        suffering.all += one.row.count;
        if one.class == Class::KnownFail {
            suffering.failed += one.row.count;
            if one.row.outcome.disposition > crate::record::dmarc::Policy::None {
                suffering.harmed += one.row.count;
            }
            suffering.days.insert(one.row.day);
            suffering.reporters.insert(&one.row.reporter);
        }
    }
    by_who.into_iter().find_map(|(who, s)| {
        let wide = s.reporters.len() >= alarm.reporters as usize || s.days.len() >= alarm.days as usize;
        let share = Permille::of(s.failed, s.all);
        let failing = share >= alarm.share && s.failed >= alarm.messages;
        let harmed = s.harmed >= alarm.harmed;
        (wide && (failing || harmed)).then(|| {
            format!(
                "{share} of the mail of {who} fails ({} of {}), and {} messages were held back",
                s.failed, s.all, s.harmed
            )
        })
    })
}

#[derive(Default)]
struct Suffering<'a> {
    all: u64,
    failed: u64,
    harmed: u64,
    days: std::collections::BTreeSet<evidence::Day>,
    reporters: std::collections::BTreeSet<&'a str>,
}

#[cfg(test)]
#[path = "scenario_tests/mod.rs"]
mod scenarios;
