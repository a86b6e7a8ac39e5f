//! What an operator may ask. A request is a fact: the planner obeys it in its own time, by the same path as ever.

use serde::{Deserialize, Serialize};

use crate::record::dkim::Fingerprint;
use crate::time::Time;

/// Asked, by whom, when, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub intent: Intent,
    pub asked: Time,
    pub by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is wanted. There is no way to ask for a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Intent {
    /// A new key, by the whole path.
    Rotate,
    /// Back to the previous key, or out of a rotation that has not ended.
    Rollback,
    /// The private half is known to others: switch to a new key with the shortened wait, then empty `p=` at once.
    Revoke { key: Fingerprint },
    /// Remove the record after its window although somebody was still seen to use it.
    Retire { key: Fingerprint },
}

/// Nothing is to be done to a domain until it is released.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hold {
    pub since: Time,
    pub by: String,
    pub reason: String,
}
