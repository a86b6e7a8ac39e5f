//! SYS001: whether the clock that signs is right, by clocks that others let us see: the greeting of a peer, the cookies of
//! name servers. Where nobody is seen, what the kernel says of itself is better than nothing.
//!
//! A signature's `t=` and `x=` (RFC 6376 section 3.5), TLS and every wait of a rotation depend on it.

use std::time::Duration;

use dkimctl_state::time::{Span, Time};

use super::engine;
use super::finding::{Findings, Tier};
use super::net::{Facts as WayOut, Port25};
use crate::report::doctor::policy as say;

pub mod cookie;

/// Another clock, read when ours said `ours`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Whose clock: `mx.example.net 192.0.2.1`, `the container`.
    pub whose: String,
    pub theirs: Time,
    pub ours: Time,
}

/// The clocks in the greetings of the peers.
pub fn of_peers(out: &WayOut) -> Vec<Witness> {
    let witness = |tried: &super::net::Tried| match &tried.outcome {
        Port25::Open(dialogue) => {
            Some(Witness { whose: tried.peer.clone(), theirs: dialogue.time()?, ours: dialogue.at? })
        }
        _ => None,
    };
    out.ports.iter().filter_map(witness).collect()
}

/// Several witnesses that contradict each other prove nothing; one is enough when nobody contradicts. Without any,
/// `kept_by_ntp` counts, in a lower tier.
pub fn judge(witnesses: &[Witness], kept_by_ntp: bool, tolerance: Span, findings: &mut Findings) {
    let (right, wrong): (Vec<_>, Vec<_>) = witnesses.iter().partition(|witness| witness.distance() <= tolerance);
    match (right.first(), wrong.first()) {
        (None, None) if kept_by_ntp => findings.ok("SYS001", Tier::Effective, "clock", say::clock_kept_by_ntp()),
        (None, None) => {
            findings.unknown("SYS001", Tier::Observed, "clock", say::no_clock());
        }
        (Some(witness), None) => findings.ok("SYS001", Tier::Observed, "clock", say::clock_agrees(witness)),
        (None, Some(witness)) => {
            findings.found("SYS001", Tier::Observed, "clock", say::clock_differs(witness));
        }
        (Some(right), Some(wrong)) => {
            findings.unknown("SYS001", Tier::Observed, "clock", say::clocks_quarrel(right, wrong));
        }
    }
}

/// Whether the kernel of this machine takes its clock for one that NTP keeps. That it does not is no evidence of
/// anything: a hypervisor may keep it right all the same.
pub fn kept_by_ntp() -> bool {
    let asked = ["show", "--property=NTPSynchronized", "--value"];
    let ran = engine::run("timedatectl", &asked, &[], None, Duration::from_secs(5));
    ran.is_ok_and(|ran| ran.is_ok() && ran.stdout().trim() == "yes")
}

impl Witness {
    /// How far the clocks are apart.
    pub fn distance(&self) -> Span {
        self.ours.since(self.theirs).max(self.theirs.since(self.ours))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Outcome;

    fn judged(seconds: &[i64], kept_by_ntp: bool) -> (Outcome, Tier) {
        let ours = Time::from_unix(1_800_000_000);
        let witness = |s: &i64| Witness { whose: "mx".into(), theirs: Time::from_unix(ours.unix() + s), ours };
        let mut findings = Findings::default();
        judge(&seconds.iter().map(witness).collect::<Vec<_>>(), kept_by_ntp, Span::minutes(5), &mut findings);
        let finding = findings.iter().next().unwrap();
        (finding.result, finding.tier)
    }

    fn result(seconds: &[i64]) -> Outcome {
        judged(seconds, false).0
    }

    #[test]
    fn a_clock_is_wrong_when_nobody_says_that_it_is_right() {
        assert_eq!(result(&[]), Outcome::Unknown);
        assert_eq!(result(&[3]), Outcome::Ok);
        assert_eq!(result(&[-300]), Outcome::Ok);
        assert_eq!(result(&[-301]), Outcome::Fail);
        assert_eq!(result(&[900, 905]), Outcome::Fail);
        assert_eq!(result(&[900, 2]), Outcome::Unknown);
    }

    #[test]
    fn what_the_kernel_says_counts_where_nobody_else_is_seen() {
        assert_eq!(judged(&[], true), (Outcome::Ok, Tier::Effective));
        assert_eq!(judged(&[900], true), (Outcome::Fail, Tier::Observed), "NTP may have kept it to a wrong clock");
    }
}
