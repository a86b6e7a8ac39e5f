//! Why not yet, and until when. `status`, `plan`, JSON and the next wake-up read the same value.

use serde::Serialize;

use super::policy::Policy;
use crate::name::{Fqdn, Label, Selector};
use crate::record::txt::TxtText;
use crate::time::{Span, Time};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "wait", rename_all = "snake_case")]
pub enum Wait {
    /// No key signs and none was asked for.
    NeverAsked,
    /// Every selector is taken.
    Slots {
        taken: Vec<SlotTaken>,
        until: Option<Time>,
    },
    /// A value that is not ours stands where ours belongs.
    Foreign {
        name: Fqdn,
        at: String,
        texts: Vec<TxtText>,
    },
    /// The name is an alias of a name elsewhere.
    Alias {
        name: Fqdn,
        target: Fqdn,
    },
    /// Something at the name that is not touched.
    Unsupported {
        name: Fqdn,
        why: String,
    },
    /// It could not be found out.
    Unknown {
        name: Fqdn,
        whom: Vec<String>,
    },
    /// These servers lack the record.
    Propagation {
        selector: Selector,
        lacking: Vec<String>,
    },
    /// Every server has it; a second look comes at `until`.
    SecondSweep {
        selector: Selector,
        until: Time,
    },
    /// Caches may still deny the record.
    Caches {
        selector: Selector,
        until: Time,
    },
    /// The host has not proved to hold the key.
    Delivery {
        selector: Selector,
        host: Label,
    },
    /// The host has not proved to sign with the key.
    Switch {
        selector: Selector,
        host: Label,
    },
    /// The host has not proved to sign with the old key again.
    TurnBack {
        selector: Selector,
        host: Label,
    },
    /// The private half is kept for `rollback`.
    Grace {
        selector: Selector,
        until: Time,
    },
    /// The host has not proved to have destroyed the key.
    Wipe {
        selector: Selector,
        host: Label,
    },
    /// Mail signed with the key may be under way.
    Window {
        selector: Selector,
        until: Time,
    },
    /// Somebody still used the key, so its window began again.
    StillUsed {
        selector: Selector,
        by: String,
        at: Time,
        until: Time,
    },
    /// A second window has passed and somebody still uses the key: an operator decides.
    StillUsedTooLong {
        selector: Selector,
        by: String,
        at: Time,
    },
    /// These servers still have the removed record.
    Removal {
        selector: Selector,
        serving: Vec<String>,
    },
    /// Caches may still have the removed record.
    OldCaches {
        selector: Selector,
        until: Time,
    },
    /// The empty `p=` stays as a gravestone.
    Gravestone {
        selector: Selector,
        until: Time,
    },
    /// The record of a key that signs, or whose mail is under way, is not where it should be.
    RecordLost {
        selector: Selector,
        lacking: Vec<String>,
    },
    /// A rollback has nothing to go back to.
    NoWayBack,
    Held {
        since: Time,
        by: String,
        reason: String,
    },
    /// Our clock stands before the newest fact.
    ClockBehind {
        newest: Time,
        now: Time,
    },
    /// Another clock says something else.
    ClockDisagrees {
        other: Time,
        now: Time,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SlotTaken {
    pub selector: Selector,
    pub by: String,
    /// By a key of ours, which goes when its time has come.
    pub ours: bool,
    pub until: Option<Time>,
}

/// Who can end a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// Only time.
    Time,
    /// Name servers and providers.
    Dns,
    /// A mail host.
    Host,
    /// A person.
    Operator,
}

impl Wait {
    pub fn until(&self) -> Option<Time> {
        match self {
            Wait::SecondSweep { until, .. }
            | Wait::Caches { until, .. }
            | Wait::Grace { until, .. }
            | Wait::Window { until, .. }
            | Wait::StillUsed { until, .. }
            | Wait::OldCaches { until, .. }
            | Wait::Gravestone { until, .. } => Some(*until),
            Wait::Slots { until, .. } => *until,
            _ => None,
        }
    }

    pub fn who(&self) -> Who {
        match self {
            Wait::Slots { until: Some(_), .. } => Who::Time,
            _ if self.until().is_some() => Who::Time,
            Wait::Propagation { .. } | Wait::Removal { .. } | Wait::Unknown { .. } => Who::Dns,
            Wait::Delivery { .. } | Wait::Switch { .. } | Wait::TurnBack { .. } | Wait::Wipe { .. } => Who::Host,
            _ => Who::Operator,
        }
    }

    /// When to look again.
    pub fn wake(&self, policy: &Policy, now: Time) -> Option<Time> {
        match self.who() {
            Who::Time => self.until(),
            Who::Dns | Who::Host => Some(now + policy.poll),
            // Nothing is asked of the world for a domain that nobody started.
            Who::Operator if matches!(self, Wait::NeverAsked | Wait::NoWayBack | Wait::Held { .. }) => None,
            Who::Operator => Some(now + Span::days(1).min(policy.poll + policy.poll + policy.poll)),
        }
    }
}
