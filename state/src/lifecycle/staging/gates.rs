//! The gates between two rungs. Each prints its number, its threshold, the rows behind it, and when it can be passed
//! at the earliest. Three answers, never two: clean, blocked, or not enough evidence to say.
//!
//! What anybody can send (reports by mail that nobody vouches for, reports that are damaged) may close a gate and
//! never opens one.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::evidence::{Day, Published, Refusal, Report, Row, Trust};
use super::policy::{StagingPolicy, Thresholds};
use super::sources::{Class, Classified, Ours};
use crate::record::dmarc::DmarcRecord;
use crate::time::{Span, Time};

mod mail;
mod reports;

/// What the gates look at.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    pub reports: &'a [Report],
    pub rows: &'a [Row],
    /// The reports about the domain that were refused whole.
    pub refused: &'a [Refusal],
}

/// The rung that is to be left.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    pub record: &'a DmarcRecord,
    /// Since when every server shows it.
    pub since: Time,
    /// The longest that caches held the record before.
    pub ttl: Span,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Clean,
    Blocked,
    Insufficient,
}

/// One gate, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gate {
    pub id: &'static str,
    pub state: GateState,
    /// What was counted, with its unit.
    pub value: String,
    pub threshold: String,
    /// What is behind the number, the largest first.
    pub rows: Vec<String>,
    /// When it can be passed, if nothing else goes wrong; `None` if a person has to act, or if it is passed.
    pub earliest: Option<Time>,
    /// What to do about it.
    pub fix: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GateState {
    Met,
    /// Not as it should be, and no reason to wait.
    Warned,
    Insufficient,
    Blocked,
}

/// What all gates say together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub state: State,
    pub from: Time,
    pub to: Time,
    pub gates: Vec<Gate>,
    /// Messages in the window, by class.
    pub messages: BTreeMap<Class, u64>,
    /// Reports that were made under another policy than the one that stands.
    pub other_policy: u64,
    /// Reports by mail that nobody vouches for.
    pub unverified: u64,
    /// When the next rung can be reached at the earliest; `None` if a person has to act first.
    pub earliest: Option<Time>,
}

/// Whether a reporter applied this record. What it did not say may be either.
pub fn applied(record: &DmarcRecord, seen: &Published) -> bool {
    let percent = seen.percent.is_none_or(|percent| percent == record.percent.unwrap_or(100));
    let testing = seen.testing.is_none_or(|testing| testing == record.testing.unwrap_or(false));
    seen.policy == record.policy && percent && testing
}

/// Weighs the evidence. `lint` is what is wrong with the records themselves, as sentences.
pub fn weigh(
    policy: &StagingPolicy,
    thresholds: &Thresholds,
    ours: &Ours<'_>,
    standing: Standing<'_>,
    evidence: Evidence<'_>,
    lint: &[String],
    now: Time,
) -> Verdict {
    let declared = ours.senders.iter().map(|sender| sender.since).max();
    let settled = standing.since + standing.ttl.max(policy.settle);
    let begins = declared.map_or(settled, |declared| declared.max(settled));
    let days = policy.days(thresholds);

    let everything: Vec<&Report> =
        evidence.reports.iter().filter(|r| r.begin >= begins && r.end <= now + Span::days(1)).collect();
    let matching: Vec<&Report> =
        everything.iter().copied().filter(|r| applied(standing.record, &r.published)).collect();
    let believed = |report: &&&Report| report.complete && report.trust > Trust::Unverified;
    let reporters = |from: Time| {
        let names = matching.iter().filter(believed).filter(|r| r.end > from).map(|r| r.reporter.as_str());
        names.collect::<BTreeSet<&str>>()
    };
    // One reporter less is made up for by twice the days.
    let single = Span::days(days.into());
    let needed = match reporters(now - single).len() as u32 {
        n if thresholds.fewer_reporters_double && n + 1 == thresholds.reporters => days * 2,
        _ => days,
    };
    let from = begins.max(now - Span::days(needed.into()));
    let in_window: Vec<&Report> = matching.iter().copied().filter(|r| r.end > from).collect();
    let first_day = Day::of(from);
    let rows: Vec<Row> = evidence
        .rows
        .iter()
        .filter(|row| row.day >= first_day && row.day.start() <= now && applied(standing.record, &row.published))
        .filter(|row| row.day.start() + Span::days(1) > begins)
        .cloned()
        .collect();
    let classified = ours.classify(&rows, &policy.floor);

    let scene = Scene { policy, thresholds, ours, now, from, begins, needed, in_window, classified, evidence };
    let mut gates = vec![
        scene.days(),
        scene.coverage(),
        scene.gap(),
        scene.freshness(),
        scene.reporters(),
        scene.volume(),
        scene.pass(),
        scene.worst_sender(),
        scene.senders_seen(),
        scene.dkim_share(),
        scene.unresolved(),
        scene.settled(),
        scene.forwarded(),
        scene.selectors(),
        scene.records(lint),
        scene.integrity(everything.len() as u64),
    ];
    gates.retain(|gate| !gate.threshold.is_empty());
    let has = |state| gates.iter().any(|gate| gate.state == state);
    let state = match (has(GateState::Blocked), has(GateState::Insufficient)) {
        (true, _) => State::Blocked,
        (_, true) => State::Insufficient,
        _ => State::Clean,
    };
    let open: Vec<&Gate> =
        gates.iter().filter(|g| matches!(g.state, GateState::Blocked | GateState::Insufficient)).collect();
    let earliest = match open.is_empty() {
        true => Some(now),
        false if open.iter().any(|gate| gate.earliest.is_none()) => None,
        false => open.iter().filter_map(|gate| gate.earliest).max(),
    };
    let mut messages = BTreeMap::new();
    for one in &scene.classified {
        *messages.entry(one.class).or_default() += one.row.count;
    }
    Verdict {
        state,
        from,
        to: now,
        messages,
        other_policy: (everything.len() - matching.len()) as u64,
        unverified: scene.in_window.iter().filter(|r| r.trust == Trust::Unverified).count() as u64,
        gates,
        earliest,
    }
}

struct Scene<'a> {
    policy: &'a StagingPolicy,
    thresholds: &'a Thresholds,
    ours: &'a Ours<'a>,
    now: Time,
    from: Time,
    begins: Time,
    needed: u32,
    in_window: Vec<&'a Report>,
    classified: Vec<Classified<'a>>,
    evidence: Evidence<'a>,
}

impl Scene<'_> {
    fn gate(&self, id: &'static str, met: bool, otherwise: GateState, value: String, threshold: String) -> Gate {
        let state = if met { GateState::Met } else { otherwise };
        Gate { id, state, value, threshold, rows: Vec::new(), earliest: None, fix: None }
    }

    fn window(&self) -> Span {
        Span::days(self.needed.into())
    }
}

/// Whether a row counts where it would open a gate. Failures count, whoever reports them; what passes counts only in a
/// whole report of somebody believed, for the failures of half a report are in its other half.
fn counts(one: &Classified<'_>) -> bool {
    one.class != Class::Pass || (one.row.trust > Trust::Unverified && one.row.complete)
}
