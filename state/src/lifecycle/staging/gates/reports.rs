//! Gates about the reports: whether there are enough, of enough days, and whole ones.

use std::collections::{BTreeMap, BTreeSet};

use super::super::evidence::{Day, Refusal, Trust};
use super::super::policy::Permille;
use super::{Gate, GateState, Scene};
use crate::time::Span;

impl Scene<'_> {
    pub(super) fn days(&self) -> Gate {
        let since = self.now.since(self.begins);
        let until = self.begins + self.window();
        let value = format!("{} days since {}", since.as_secs() / 86400, self.begins);
        let met = self.now >= until;
        let gate = self.gate("days", met, GateState::Insufficient, value, format!("{} days", self.needed));
        Gate { earliest: (!met).then_some(until), ..gate }
    }

    /// Days that a complete report of somebody believed is about.
    pub(super) fn covered(&self) -> BTreeSet<Day> {
        let mut covered = BTreeSet::new();
        for report in self.in_window.iter().filter(|r| r.complete && r.trust > Trust::Unverified) {
            covered.insert(report.day());
        }
        covered
    }

    /// The whole days of the window; today and yesterday are not over for reporters.
    pub(super) fn expected(&self) -> Vec<Day> {
        let first = Day::of(self.from).0 + i32::from(self.from.unix().rem_euclid(86400) != 0);
        (first..Day::of(self.now).0 - 1).map(Day).collect()
    }

    pub(super) fn coverage(&self) -> Gate {
        let (covered, expected) = (self.covered(), self.expected());
        let present = expected.iter().filter(|day| covered.contains(day)).count();
        let share = if expected.is_empty() { Permille(0) } else { Permille::of(present as u64, expected.len() as u64) };
        let met = share >= self.thresholds.coverage;
        let value = format!("{share} ({present} of {} days)", expected.len());
        let gate =
            self.gate("coverage", met, GateState::Insufficient, value, format!(">= {}", self.thresholds.coverage));
        let missing: Vec<&Day> = expected.iter().filter(|day| !covered.contains(day)).collect();
        let rows = missing.iter().take(5).map(|day| format!("no complete report about {day}")).collect();
        // When enough of the missing days have left the window.
        let allowed =
            self.needed as usize - (self.needed as usize * self.thresholds.coverage.0 as usize).div_ceil(1000);
        let leaves = (missing.len() > allowed).then(|| *missing[missing.len() - 1 - allowed]);
        let earliest = leaves.map(|day| day.start() + Span::days(1) + self.window());
        Gate { rows, earliest: (!met).then_some(earliest.unwrap_or(self.begins + self.window())), ..gate }
    }

    pub(super) fn gap(&self) -> Gate {
        let (covered, expected) = (self.covered(), self.expected());
        let (mut longest, mut run, mut last) = (0, 0, None);
        for day in &expected {
            run = if covered.contains(day) { 0 } else { run + 1 };
            longest = longest.max(run);
            if run > self.thresholds.gap_days {
                last = Some(*day);
            }
        }
        let met = longest <= self.thresholds.gap_days;
        let threshold = format!("<= {} days", self.thresholds.gap_days);
        let gate = self.gate("gap", met, GateState::Insufficient, format!("{longest} days"), threshold);
        // What remains of the gap in the window then is short enough.
        let keep = Span::days(u64::from(self.thresholds.gap_days));
        let earliest = last.map(|day| day.start() + Span::days(1) - keep + self.window());
        let rows =
            last.map(|day| format!("no complete report in the {longest} days up to {day}")).into_iter().collect();
        Gate { rows, earliest: (!met).then_some(earliest).flatten(), ..gate }
    }

    pub(super) fn freshness(&self) -> Gate {
        let newest = self.in_window.iter().filter(|r| r.complete && r.trust > Trust::Unverified).map(|r| r.end).max();
        let age = newest.map(|newest| self.now.since(newest));
        let met = age.is_some_and(|age| age <= self.thresholds.freshness);
        let value = age.map_or("no report".to_owned(), |age| format!("{} h", age.as_secs() / 3600));
        let threshold = format!("<= {} h", self.thresholds.freshness.as_secs() / 3600);
        let gate = self.gate("freshness", met, GateState::Insufficient, value, threshold);
        let fix = "see whether the address in rua= still takes mail, then `dkimctl dmarc ingest`";
        Gate { fix: (!met).then(|| fix.to_owned()), earliest: (!met).then_some(self.now + Span::days(1)), ..gate }
    }

    pub(super) fn reporters(&self) -> Gate {
        let believed = self.in_window.iter().filter(|r| r.complete && r.trust > Trust::Unverified);
        let names: BTreeSet<&str> = believed.map(|r| r.reporter.as_str()).collect();
        let count = names.len() as u32;
        let wanted = self.thresholds.reporters;
        let doubled = self.thresholds.fewer_reporters_double && count + 1 == wanted;
        let threshold = match self.thresholds.fewer_reporters_double {
            true => format!(">= {wanted}, or {} in twice the days", wanted.saturating_sub(1)),
            false => format!(">= {wanted}"),
        };
        let gate =
            self.gate("reporters", count >= wanted || doubled, GateState::Insufficient, count.to_string(), threshold);
        Gate { rows: names.iter().take(5).map(|name| (*name).to_owned()).collect(), ..gate }
    }

    pub(super) fn integrity(&self, reports: u64) -> Gate {
        let partial = self.in_window.iter().filter(|r| !r.complete).count() as u64;
        let inside: Vec<&Refusal> = self.evidence.refused.iter().filter(|refusal| refusal.until > self.from).collect();
        let refused = inside.len() as u64;
        let share = Permille::of_at_least(partial + refused, reports + refused);
        let met = share <= self.policy.damaged;
        let value = format!("{share} ({partial} partial, {refused} refused)");
        let gate = self.gate("integrity", met, GateState::Insufficient, value, format!("<= {}", self.policy.damaged));
        let rows = self.in_window.iter().filter(|r| !r.complete).take(MOST_ROWS);
        let mut rows: Vec<String> =
            rows.map(|r| format!("{} {} of {} was not whole", r.reporter, r.id, r.day())).collect();
        rows.extend(by_reason(&inside));
        let damaged = self.in_window.iter().filter(|r| !r.complete).map(|r| r.end);
        let last = damaged.chain(inside.iter().map(|refusal| refusal.until)).max();
        Gate { rows, earliest: last.filter(|_| !met).map(|last| last + self.window()), ..gate }
    }
}

const MOST_ROWS: usize = 5;

/// Thousands may be refused for one reason: the reasons, the most frequent first, each with the newest example.
fn by_reason(refused: &[&Refusal]) -> Vec<String> {
    let mut reasons: BTreeMap<&str, Vec<&Refusal>> = BTreeMap::new();
    for refusal in refused {
        reasons.entry(&refusal.why).or_default().push(refusal);
    }
    let mut reasons: Vec<(&str, Vec<&Refusal>)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, of)| std::cmp::Reverse(of.len()));
    let others = reasons.len().saturating_sub(MOST_ROWS);
    let shown = reasons.iter().take(MOST_ROWS).map(|(why, of)| {
        let newest = of.iter().max_by_key(|refusal| refusal.until).map_or("", |refusal| &refusal.name);
        format!("{} refused: {why} ({newest})", of.len())
    });
    shown.chain((others > 0).then(|| format!("and {others} more reasons"))).collect()
}
