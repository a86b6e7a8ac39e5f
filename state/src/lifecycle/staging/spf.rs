//! What an SPF record ends in, and when that may change.
//!
//! | rung | record | leaves when |
//! |---|---|---|
//! | neutral | `?all` | `neutral_stay` has passed and the record has no error |
//! | soft | `~all` | never by itself: this is the end for domains that send |
//! | hard | `-all` | never; parked domains begin here |
//!
//! `~all` is the end because `-all` lets a receiver refuse mail before it looks at DKIM and DMARC, and such mail never
//! shows up in a report (RFC 9989 section 7.1). Who wants `-all` all the same gets it when reports show that nobody
//! would lose by it: not one message in the window passed by DKIM alone.

use serde::{Deserialize, Serialize};

use crate::record::spf::Qualifier;
use crate::time::{Span, Time};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rung {
    Neutral,
    Soft,
    Hard,
}

/// Where the operator wants it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Goal {
    /// The domain sends: `~all`.
    #[default]
    Soft,
    /// The domain sends, and `-all` is wanted once reports allow it.
    Hard,
    /// The domain never sends: `-all` at once.
    Parked,
}

/// The waits of the ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpfPolicy {
    /// How long `?all` stands. 14 days: two weeks of reports show the senders that were forgotten.
    pub neutral_stay: Span,
    /// How long `p=reject` must have stood before `-all`. 30 days: a month's senders have all been seen.
    pub reject_stay: Span,
}

impl Default for SpfPolicy {
    fn default() -> Self {
        SpfPolicy { neutral_stay: Span::days(14), reject_stay: Span::days(30) }
    }
}

/// What stands at the end of the published record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// There is no record.
    Nothing,
    /// There is neither `all` nor `redirect=`.
    Open,
    /// The target of `redirect=` decides.
    Elsewhere,
    All(Qualifier),
}

/// What is known when the ladder is asked.
#[derive(Debug, Clone, Copy)]
pub struct SpfFacts {
    pub ending: Ending,
    /// Since when it ends like that, as far as is known.
    pub since: Option<Time>,
    pub goal: Goal,
    /// The linter found no error, and DNS answered all that it asked.
    pub sound: bool,
    /// Since when `p=reject` has stood, with all of it in force.
    pub reject_since: Option<Time>,
    /// Messages in the window that passed by DKIM alone while SPF failed; `None` without reports.
    pub dkim_only: Option<u64>,
    /// Messages in the window that passed DMARC at all; `None` without reports.
    pub passing: Option<u64>,
}

/// What to do with the ending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpfStep {
    /// Where it is to be.
    Done,
    /// Later, or after something was mended.
    Wait(SpfWait),
    Move(Rung),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpfWait {
    #[error("`?all` stays until {until}: forgotten senders must have time to show up in reports")]
    Stay { until: Time },
    #[error("the record has errors; `dkimctl spf check` names them")]
    Unsound,
    #[error("it is not known since when the record ends like that; `dkimctl spf adopt` begins to count")]
    SinceUnknown,
    #[error("`-all` waits for p=reject: without it nothing protects the mail that SPF alone would lose")]
    NoReject,
    #[error("`-all` waits until {until}: p=reject must have stood for a while")]
    RejectTooYoung { until: Time },
    #[error("`-all` waits for reports: nobody can say yet what it would lose")]
    NoReports,
    #[error("`-all` would lose mail: {0} messages in the window passed by DKIM alone while SPF failed")]
    WouldLose(u64),
    #[error("the domain is declared parked, but reports show {0} messages of it that pass")]
    NotParked(u64),
    #[error("rolled back by {by} at {at} ({why}); `dkimctl spf apply DOMAIN --resume` goes on")]
    RolledBack { by: String, at: Time, why: String },
    #[error("a key is being switched ({0}); one thing at a time")]
    KeySwitch(String),
    #[error("the ending waits until every name server shows the record that stands: {0}")]
    Servers(String),
    #[error("`redirect=` decides: the ending belongs to the other record")]
    Elsewhere,
}

/// The next step of the ladder; one rung at a time, and never down.
pub fn spf_ladder(facts: &SpfFacts, policy: &SpfPolicy, now: Time) -> SpfStep {
    use SpfStep::{Done, Move, Wait};
    if facts.goal == Goal::Parked {
        return match (facts.ending, facts.passing) {
            (Ending::All(Qualifier::Fail), _) => Done,
            (_, Some(passing)) if passing > 0 => Wait(SpfWait::NotParked(passing)),
            _ => Move(Rung::Hard),
        };
    }
    match facts.ending {
        Ending::Elsewhere => Wait(SpfWait::Elsewhere),
        Ending::Nothing | Ending::Open | Ending::All(Qualifier::Pass) => Move(Rung::Neutral),
        Ending::All(Qualifier::Neutral) => match facts.since {
            None => Wait(SpfWait::SinceUnknown),
            Some(since) if since + policy.neutral_stay > now => {
                Wait(SpfWait::Stay { until: since + policy.neutral_stay })
            }
            Some(_) if !facts.sound => Wait(SpfWait::Unsound),
            Some(_) => Move(Rung::Soft),
        },
        Ending::All(Qualifier::SoftFail) if facts.goal == Goal::Soft => Done,
        Ending::All(Qualifier::SoftFail) => match (facts.reject_since, facts.dkim_only) {
            _ if !facts.sound => Wait(SpfWait::Unsound),
            (None, _) => Wait(SpfWait::NoReject),
            (Some(since), _) if since + policy.reject_stay > now => {
                Wait(SpfWait::RejectTooYoung { until: since + policy.reject_stay })
            }
            (_, None) => Wait(SpfWait::NoReports),
            (_, Some(0)) => Move(Rung::Hard),
            (_, Some(lost)) => Wait(SpfWait::WouldLose(lost)),
        },
        Ending::All(Qualifier::Fail) => Done,
    }
}

impl Rung {
    pub fn qualifier(self) -> Qualifier {
        match self {
            Rung::Neutral => Qualifier::Neutral,
            Rung::Soft => Qualifier::SoftFail,
            Rung::Hard => Qualifier::Fail,
        }
    }
}

#[cfg(test)]
#[path = "spf_tests.rs"]
mod tests;
