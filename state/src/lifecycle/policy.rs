//! Every duration and threshold of a key's life: default, unit, reason.

use serde::{Deserialize, Serialize};

use super::check::Rule;
use crate::time::Span;

/// The waits of a rotation. Shorter ones than the defaults' floors are for laboratories only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// How long the record of a key stays after the key stopped signing. 30 days: our own queue (5 d), about five
    /// further hops of 5 d each, mail held by hand, and verifiers that look again later.
    pub window: Span,
    /// The longest a message may sit in our own queue. 5 days: Postfix `maximal_queue_lifetime`, RFC 5321 section
    /// 4.5.4.1 ("at least 4-5 days").
    pub queue_lifetime: Span,
    /// Added to queue lifetime and TTL to form the least window. 24 hours: DNSSEC's customary retire safety.
    pub retire_safety: Span,
    /// Added to the caches' time before a new key signs. 1 hour: Knot DNS and BIND use the same publish safety.
    pub publish_safety: Span,
    /// Least time between the two clean sweeps. 60 seconds: an anycast address is many servers, so ask again later.
    pub sweep_gap: Span,
    /// Time between removal being seen everywhere and the name counting as hidden, besides the TTL. 5 minutes.
    pub propagation: Span,
    /// Least negative TTL that is assumed. 300 seconds: resolvers may hold a denial longer than a tiny SOA says.
    pub negative_floor: Span,
    /// Negative TTL when no SOA could be read. 1 hour: RFC 2308 section 5 advises one to three hours.
    pub negative_unknown: Span,
    /// How long the private half of a stopped key is kept, so that `rollback` can use it. 72 hours: a long weekend.
    pub rollback_grace: Span,
    /// How long an empty `p=` stays after a compromise, as a gravestone. 90 days; no official reference.
    pub revoked_retention: Span,
    /// When `status` begins to say that a key is old. 180 days: M3AAWG advises a rotation every six months.
    pub key_age_notice: Span,
    /// When to look again at what only the world can change (servers, signers). 5 minutes; no official reference.
    pub poll: Span,
    /// How far two clocks may differ. 5 minutes: the fudge of TSIG (RFC 8945 section 10).
    pub clock_tolerance: Span,
    /// Shorter waits than the floors are accepted. For laboratories; printed on every run.
    pub lab: bool,
    /// The rule that a test has switched off, to show that a message fails without it. Not configurable.
    #[serde(skip)]
    #[doc(hidden)]
    pub suspended: Option<Rule>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            window: Span::days(30),
            queue_lifetime: Span::days(5),
            retire_safety: Span::hours(24),
            publish_safety: Span::hours(1),
            sweep_gap: Span::seconds(60),
            propagation: Span::minutes(5),
            negative_floor: Span::seconds(300),
            negative_unknown: Span::hours(1),
            rollback_grace: Span::hours(72),
            revoked_retention: Span::days(90),
            key_age_notice: Span::days(180),
            poll: Span::minutes(5),
            clock_tolerance: Span::minutes(5),
            lab: false,
            suspended: None,
        }
    }
}

/// A policy that could lose mail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error(
        "the window is {window}, and queued mail needs {least} (queue lifetime + TTL + safety): the record of a key would \
         be gone before its last message arrives; set `window = \"30d\"`, or `lab = true` in a laboratory"
    )]
    WindowBelowNeed { window: Span, least: Span },
    #[error("the window is {0}, and less than 7d is refused outside a laboratory (`lab = true`)")]
    WindowBelowFloor(Span),
    #[error("`{field}` is {seen}, and less than {least} is refused outside a laboratory (`lab = true`)")]
    BelowFloor { field: &'static str, seen: Span, least: Span },
}

impl Policy {
    /// A window under 7 days is refused, whatever the queue lifetime.
    pub const LEAST_WINDOW: Span = Span::days(7);

    /// Whether mail is safe under this policy when records carry `ttl`.
    pub fn validate(&self, ttl: Span) -> Result<(), PolicyError> {
        if self.lab {
            return Ok(());
        }
        let least = self.queue_lifetime + ttl + self.retire_safety;
        if self.window < least {
            return Err(PolicyError::WindowBelowNeed { window: self.window, least });
        }
        if self.window < Self::LEAST_WINDOW {
            return Err(PolicyError::WindowBelowFloor(self.window));
        }
        for (field, seen, least) in [
            ("sweep_gap", self.sweep_gap, Span::seconds(60)),
            ("negative_floor", self.negative_floor, Span::seconds(300)),
            ("negative_unknown", self.negative_unknown, Span::hours(1)),
            ("publish_safety", self.publish_safety, Span::minutes(5)),
            ("retire_safety", self.retire_safety, Span::hours(1)),
            ("queue_lifetime", self.queue_lifetime, Span::days(1)),
            ("propagation", self.propagation, Span::minutes(5)),
        ] {
            if seen < least {
                return Err(PolicyError::BelowFloor { field, seen, least });
            }
        }
        Ok(())
    }

    /// Whether `rule` is satisfied, or has been switched off by a test.
    pub(crate) fn holds(&self, rule: Rule, satisfied: bool) -> bool {
        satisfied || self.suspended == Some(rule)
    }
}
