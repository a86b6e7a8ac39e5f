//! What to do for a domain now, in a safe order; why not more; and when to look again.

use super::check::Rule;
use super::fact::Fact;
use super::ledger::{Incoming, Ledger, Line, Phase};
use super::request::Intent;
use super::rotation::{Now, due};
use super::seen::Witness;
use super::settings::Settings;
use super::step::Step;
use super::wait::Wait;
use crate::name::{Fqdn, SigningDomain};
use crate::time::Time;

/// Everything decided for one domain.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "an unread plan is not acted upon"]
pub struct Plan {
    pub domain: SigningDomain,
    /// In the order in which they are safe.
    pub steps: Vec<Step>,
    pub waits: Vec<Wait>,
    /// When to plan again; `None` when only a request can change anything.
    pub wake: Option<Time>,
}

/// Decides. A pure function of (config, facts, observations, now).
pub fn plan(now: Now<'_>) -> Plan {
    let Now { settings, ledger, at, .. } = now;
    let mut plan = Plan { domain: ledger.domain.clone(), steps: Vec::new(), waits: Vec::new(), wake: None };
    if let Some(newest) = ledger.newest.filter(|newest| at + settings.policy.clock_tolerance < *newest) {
        plan.waits.push(Wait::ClockBehind { newest, now: at });
        plan.wake = Some(at + settings.policy.poll);
        return plan;
    }
    // Every wait is counted from the date of a fact, so nothing is dated by a clock that another one contradicts.
    if let Witness::Disagrees(other) = now.seen.clock
        && !settings.policy.holds(Rule::TwoClocks, false)
    {
        plan.waits.push(Wait::ClockDisagrees { other, now: at });
        plan.wake = Some(at + settings.policy.poll);
        return plan;
    }
    let unstarted = Line::default();
    for algorithm in settings.slots.keys() {
        let due = due(now, *algorithm, ledger.lines.get(algorithm).unwrap_or(&unstarted));
        plan.steps.extend(due.steps);
        plan.waits.extend(due.waits);
    }
    if let Some(hold) = &ledger.hold {
        // A hold stops everything but the way back to safety.
        plan.steps.retain(|step| matches!(step, Step::TurnBack { .. } | Step::Record(Fact::Parked { .. })));
        let (since, by, reason) = (hold.since, hold.by.clone(), hold.reason.clone());
        plan.waits.push(Wait::Held { since, by, reason });
    }
    plan.steps.sort_by_key(Step::wave);
    plan.wake = plan.waits.iter().filter_map(|wait| wait.wake(&settings.policy, at)).min();
    if !plan.steps.is_empty() {
        // Whatever is left undone by a failure is tried again soon.
        plan.wake = plan.wake.max(Some(at)).min(Some(at + settings.policy.poll));
    }
    plan
}

/// The names that have to be looked at before this domain can be planned.
pub fn names_to_see(settings: &Settings, ledger: &Ledger, at: Time) -> Vec<Fqdn> {
    let domain = &ledger.domain;
    let live = ledger.keys().filter(|(phase, _)| *phase != Phase::Gone).map(|(_, key)| key.record_name(domain));
    let mut names: Vec<Fqdn> = live.collect();
    for algorithm in settings.slots.keys() {
        let line = ledger.lines.get(algorithm);
        let emergency = match line.and_then(|line| line.request.as_ref()).map(|r| &r.intent) {
            Some(Intent::Rotate) => false,
            Some(Intent::Revoke { .. }) => true,
            _ => continue,
        };
        if line.is_some_and(|line| line.incoming.is_none()) {
            let candidates = settings.candidates(*algorithm, emergency, at);
            names.extend(candidates.iter().filter(|s| s.fits(domain)).map(|s| s.record_name(domain)));
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Which key each host of the domain is to sign with now, by algorithm; what the manifest is made of.
pub fn signing_keys(ledger: &Ledger) -> impl Iterator<Item = &super::ledger::Key> {
    ledger.lines.values().filter_map(|line| match &line.incoming {
        Some(Incoming::Switching(switching)) if switching.refused.is_none() => Some(&switching.key),
        _ => line.active.as_ref().map(|active| &active.key),
    })
}
