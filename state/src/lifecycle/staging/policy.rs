//! Every threshold of the ladder: default, unit, reason.

use serde::{Deserialize, Serialize};

use crate::time::Span;

/// How much a domain has to lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Machines write: receipts, alerts, newsletters. 14 days of clean reports a rung, up to `reject`.
    #[default]
    Transactional,
    /// People write, to lists and through forwarders. 30 days a rung, and `quarantine` is the top unless
    /// `accept_list_breakage` is set: RFC 9989 section 7.4 advises such domains against `reject`.
    Users,
}

/// What becomes of `sp=`, the policy for subdomains that exist, while `p=` climbs. Whatever is chosen, a climb never
/// asks for less than the record that stands, unless that lesser policy is named here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subdomains {
    /// An `sp=` that stands in the adopted record stays as it is: somebody meant it. Without one, subdomains follow.
    #[default]
    Keep,
    /// No `sp=`, so that `p=` is for subdomains too; a stricter one stays until `p=` has come up to it.
    Follow,
    /// `sp=none`: subdomains stay behind.
    None,
    /// `sp=quarantine`
    Quarantine,
    /// `sp=reject`: no subdomain sends.
    Reject,
}

/// What it takes to leave a rung whose record asks for nothing (or for quarantine).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Days in the window; `None` follows the profile: 14 or 30 (RFC 9989 section 7.4: "at least a month").
    pub days: Option<u32>,
    /// Share of the window's days with a complete report. 85 %: reporters skip a day now and then.
    pub coverage: Permille,
    /// Longest run of days without one. 3: a weekend and a Monday.
    pub gap_days: u32,
    /// Age of the newest report. 72 hours: reports come a day late, and up to two.
    pub freshness: Span,
    /// Different reporters.
    pub reporters: u32,
    /// With one reporter less, twice the days do.
    pub fewer_reporters_double: bool,
    /// Messages that are ours or may be.
    pub volume: u64,
    /// Aligned share of those.
    pub pass: Permille,
    /// The same of the worst declared sender.
    pub worst_sender: Permille,
    /// Share of what passes that passes by DKIM.
    pub dkim_share: Permille,
    /// Whether too small a share blocks, or is only said. RFC 9989 section 7.4: `reject` must not rest on SPF alone.
    pub dkim_share_blocks: bool,
    /// Share of forwarded mail that fails.
    pub forwarded: Permille,
    /// Days without a new source of passing mail.
    pub settled_days: u32,
    /// Whether every selector that passes must be one that we manage or that a declared sender has.
    pub known_selectors: bool,
}

/// A share in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Permille(pub u32);

/// When an unknown source that authenticates as somebody else has to be looked at: any of the three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Floor {
    /// 10 messages.
    pub messages: u64,
    /// On 2 days.
    pub days: u32,
    /// By 2 reporters.
    pub reporters: u32,
    /// A source that nothing vouches for, as steady as a printer, on so many days: 7.
    pub steady_days: u32,
}

/// When mail of a declared sender suffers so that the policy goes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Alarm {
    /// Its failing share: 1 %.
    pub share: Permille,
    /// And at least so many messages: 20.
    pub messages: u64,
    /// Or so many that were quarantined or rejected: 20.
    pub harmed: u64,
    /// Seen by so many reporters: 2, or
    pub reporters: u32,
    /// on so many days: 2.
    pub days: u32,
    /// How far back: 7 days.
    pub window: Span,
    /// Go back without being asked. Off: it is only said.
    pub automatic: bool,
}

/// Everything about the ladder of one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StagingPolicy {
    pub profile: Profile,
    /// For the way to `quarantine`.
    pub to_quarantine: Thresholds,
    /// For the way to `reject`. What is not given keeps the default of this way, not of the other.
    #[serde(deserialize_with = "thresholds_to_reject")]
    pub to_reject: Thresholds,
    /// How long a rung with `t=y; pct=0` stands: 7 days. Its policy has no effect yet; lists begin to rewrite From.
    pub rehearsal: Span,
    pub floor: Floor,
    pub alarm: Alarm,
    /// Share of reports that could not be read, or not whole: 5 %.
    pub damaged: Permille,
    /// Before reports count after a change: the TTL, and at least 24 hours (RFC 9990 warns of mixed reports).
    pub settle: Span,
    /// A domain with little mail: twice the days in place of the volume.
    pub low_volume: bool,
    /// Percentages that a rehearsal goes through, as in `[5, 25, 50]`. None: they were never applied accurately, and
    /// receivers that know RFC 9989 ignore them; some guides still ask for them.
    pub legacy_pct: Vec<u8>,
    /// What becomes of `sp=`.
    pub subdomains: Subdomains,
    /// Mail that lists break is accepted to be lost.
    pub accept_list_breakage: bool,
    /// The age up to which the proof that mail is signed (a probe) counts: 7 days.
    pub dkim_proof: Span,
}

impl Thresholds {
    fn quarantine() -> Self {
        Thresholds {
            days: None,
            coverage: Permille(850),
            gap_days: 3,
            freshness: Span::hours(72),
            reporters: 2,
            fewer_reporters_double: false,
            volume: 100,
            pass: Permille(980),
            worst_sender: Permille(950),
            dkim_share: Permille(900),
            dkim_share_blocks: false,
            forwarded: Permille(20),
            settled_days: 0,
            known_selectors: false,
        }
    }

    fn reject() -> Self {
        Thresholds {
            reporters: 3,
            fewer_reporters_double: true,
            volume: 500,
            pass: Permille(995),
            worst_sender: Permille(990),
            dkim_share: Permille(980),
            dkim_share_blocks: true,
            forwarded: Permille(10),
            settled_days: 14,
            known_selectors: true,
            ..Thresholds::quarantine()
        }
    }
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds::quarantine()
    }
}

impl Default for Floor {
    fn default() -> Self {
        Floor { messages: 10, days: 2, reporters: 2, steady_days: 7 }
    }
}

impl Default for Alarm {
    fn default() -> Self {
        Alarm {
            share: Permille(10),
            messages: 20,
            harmed: 20,
            reporters: 2,
            days: 2,
            window: Span::days(7),
            automatic: false,
        }
    }
}

impl Default for StagingPolicy {
    fn default() -> Self {
        StagingPolicy {
            profile: Profile::default(),
            to_quarantine: Thresholds::quarantine(),
            to_reject: Thresholds::reject(),
            rehearsal: Span::days(7),
            floor: Floor::default(),
            alarm: Alarm::default(),
            damaged: Permille(50),
            settle: Span::hours(24),
            low_volume: false,
            legacy_pct: Vec::new(),
            subdomains: Subdomains::default(),
            accept_list_breakage: false,
            dkim_proof: Span::days(7),
        }
    }
}

impl StagingPolicy {
    /// Days that the window of these thresholds has.
    pub fn days(&self, thresholds: &Thresholds) -> u32 {
        let days = thresholds.days.unwrap_or(match self.profile {
            Profile::Transactional => 14,
            Profile::Users => 30,
        });
        if self.low_volume { days * 2 } else { days }
    }
}

impl Permille {
    /// `part` of `whole`; everything of nothing.
    pub fn of(part: u64, whole: u64) -> Permille {
        match whole {
            0 => Permille(1000),
            // Rounded down: 99.46 % is not 99.5 %.
            _ => Permille((u128::from(part) * 1000 / u128::from(whole)) as u32),
        }
    }

    /// Rounded up, for shares that must stay small.
    pub fn of_at_least(part: u64, whole: u64) -> Permille {
        match whole {
            0 => Permille(0),
            _ => Permille((u128::from(part) * 1000).div_ceil(u128::from(whole)) as u32),
        }
    }
}

impl std::fmt::Display for Permille {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{} %", self.0 / 10),
            tenth => write!(f, "{}.{tenth} %", self.0 / 10),
        }
    }
}

fn thresholds_to_reject<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Thresholds, D::Error> {
    use serde::de::Error;
    let given = serde_json::Map::deserialize(deserializer)?;
    let mut all = serde_json::to_value(Thresholds::reject()).map_err(D::Error::custom)?;
    if let Some(all) = all.as_object_mut() {
        all.extend(given);
    }
    serde_json::from_value(all).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_keeps_the_default_of_its_own_way() {
        let policy: StagingPolicy = serde_json::from_str(r#"{"to_reject": {"reporters": 5}}"#).unwrap();
        assert_eq!(policy.to_reject, Thresholds { reporters: 5, ..Thresholds::reject() });
        assert!(serde_json::from_str::<StagingPolicy>(r#"{"to_reject": {"reporter": 5}}"#).is_err());
    }
}
