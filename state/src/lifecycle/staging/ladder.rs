//! The rungs: which record stands on which, and what text a step to another one writes.

use serde::{Deserialize, Serialize};

use super::policy::{Profile, StagingPolicy, Subdomains, Thresholds};
use crate::record::dmarc::{DmarcRecord, Policy};

/// Where a domain stands, the lowest first.
///
/// | rung | record | leaves when |
/// |---|---|---|
/// | none | `p=none` | the gates to quarantine are open |
/// | quarantine-test | `p=quarantine; t=y; pct=0` | `rehearsal` is over, and the gates are still open |
/// | quarantine | `p=quarantine` | the gates to reject are open |
/// | reject-test | `p=reject; t=y; pct=0` | `rehearsal` is over, and the gates are still open |
/// | reject | `p=reject; np=reject` | - |
/// | parked | `p=reject; sp=reject; np=reject` | the domain begins to send |
///
/// `t=y` is for receivers that know RFC 9989, `pct=0` for those that know RFC 7489 alone; each ignores the other's.
/// `sp=` and `np=` are lowered by both as well: a rehearsal asks for one level more there, and has the same effect.
/// There are no 5, 10, 25 percent in between: such values were never applied accurately (RFC 9989 appendix A.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    None,
    QuarantineTest,
    Quarantine,
    RejectTest,
    Reject,
    Parked,
}

impl Rung {
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::None => "none",
            Rung::QuarantineTest => "quarantine-test",
            Rung::Quarantine => "quarantine",
            Rung::RejectTest => "reject-test",
            Rung::Reject => "reject",
            Rung::Parked => "parked",
        }
    }

    /// Where a record stands. A rehearsal is one for either generation of receivers.
    pub fn of(record: &DmarcRecord) -> Rung {
        let rehearsal = record.testing == Some(true) || record.percent.is_some_and(|percent| percent < 100);
        match (record.policy.unwrap_or(Policy::None), rehearsal) {
            (Policy::None, _) => Rung::None,
            (Policy::Quarantine, true) => Rung::QuarantineTest,
            (Policy::Quarantine, false) => Rung::Quarantine,
            (Policy::Reject, true) => Rung::RejectTest,
            (Policy::Reject, false) => Rung::Reject,
        }
    }

    /// The next rung; `None` at the top of the profile.
    pub fn next(self, policy: &StagingPolicy) -> Option<Rung> {
        match self {
            Rung::None => Some(Rung::QuarantineTest),
            Rung::QuarantineTest => Some(Rung::Quarantine),
            Rung::Quarantine if policy.profile == Profile::Users && !policy.accept_list_breakage => None,
            Rung::Quarantine => Some(Rung::RejectTest),
            Rung::RejectTest => Some(Rung::Reject),
            Rung::Reject | Rung::Parked => None,
        }
    }

    /// What has to hold before the next rung.
    pub fn thresholds(self, policy: &StagingPolicy) -> &Thresholds {
        match self {
            Rung::None | Rung::QuarantineTest => &policy.to_quarantine,
            _ => &policy.to_reject,
        }
    }

    pub fn is_rehearsal(self) -> bool {
        matches!(self, Rung::QuarantineTest | Rung::RejectTest)
    }

    /// Whether receivers of either generation do something to failing mail.
    pub fn enforces(self) -> bool {
        self >= Rung::Quarantine
    }

    /// The record of this rung, made of one that is no rehearsal: addresses, alignment and unknown tags stay.
    pub fn record(self, base: &DmarcRecord, subdomains: Subdomains) -> DmarcRecord {
        let policy = match self {
            Rung::None => Policy::None,
            Rung::QuarantineTest | Rung::Quarantine => Policy::Quarantine,
            _ => Policy::Reject,
        };
        let mut record = DmarcRecord { policy: Some(policy), testing: None, percent: None, ..base.clone() };
        let in_force = if self.is_rehearsal() { policy.lowered() } else { policy };
        match subdomains {
            Subdomains::Keep => {}
            Subdomains::Follow => record.subdomains = base.subdomains.filter(|stricter| *stricter > in_force),
            Subdomains::None => record.subdomains = Some(Policy::None),
            Subdomains::Quarantine => record.subdomains = Some(Policy::Quarantine),
            Subdomains::Reject => record.subdomains = Some(Policy::Reject),
        }
        match self {
            Rung::Reject if subdomains == Subdomains::Keep && base.nonexistent.is_some() => {}
            // RFC 9989 section 4.7: np= is for names that do not exist, of which no mail is honest.
            Rung::Reject => record.nonexistent = Some(Policy::Reject),
            Rung::Parked => (record.subdomains, record.nonexistent) = (Some(Policy::Reject), Some(Policy::Reject)),
            _ => {}
        }
        if self.is_rehearsal() {
            (record.testing, record.percent) = (Some(true), Some(0));
            record.subdomains = record.subdomains.map(Policy::raised);
            record.nonexistent = record.nonexistent.map(Policy::raised);
        }
        record
    }
}

/// The rung and the record that follow on `record`; `None` at the top of the profile. `base` is the last record that
/// stood and was no rehearsal, or `record` itself: what a rehearsal asks for beyond it is not meant to last.
///
/// Where the old percentages are wanted (`legacy_pct`), a rehearsal goes through them before its policy is in force;
/// `t=y` stays, so receivers that know RFC 9989 rehearse on.
pub fn next(record: &DmarcRecord, base: &DmarcRecord, policy: &StagingPolicy) -> Option<(Rung, DmarcRecord)> {
    let rung = Rung::of(record);
    let beyond = rung.next(policy)?;
    let percent = policy.legacy_pct.iter().copied().filter(|percent| (1..100).contains(percent));
    let stands = record.percent.unwrap_or(0);
    let beyond_it = beyond.record(base, policy.subdomains);
    match percent.filter(|percent| *percent > stands).min().filter(|_| rung.is_rehearsal()) {
        Some(percent) => {
            // A part of the mail gets what the tags say: no more than is meant for all of it later.
            let (subdomains, nonexistent) = (beyond_it.subdomains, base.nonexistent);
            Some((rung, DmarcRecord { percent: Some(percent), subdomains, nonexistent, ..record.clone() }))
        }
        None => Some((beyond, beyond_it)),
    }
}

/// For whom `next` asks for less than what stands, from what to what: names below the domain that exist, and names
/// that do not. Nothing is stricter than `reject`, so a rehearsal of it has the effect of `quarantine`.
pub fn weaker(stands: &DmarcRecord, next: &DmarcRecord) -> Vec<(&'static str, Policy, Policy)> {
    let in_force = |record: &DmarcRecord| {
        let subdomains = record.subdomains.or(record.policy).unwrap_or(Policy::None);
        let both = [subdomains, record.nonexistent.unwrap_or(subdomains)];
        if Rung::of(record).is_rehearsal() { both.map(Policy::lowered) } else { both }
    };
    let whom = ["subdomains", "names that do not exist"];
    let changes = whom.into_iter().zip(in_force(stands)).zip(in_force(next));
    changes.map(|((whom, before), after)| (whom, before, after)).filter(|(_, before, after)| after < before).collect()
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
