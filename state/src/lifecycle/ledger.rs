//! The facts that are kept of one domain: which keys there are, in which phase, and when what was seen to hold.
//!
//! One struct a phase, with exactly the times that the phase has. A line has one place for a key that comes and one
//! for a key that signs, so two active keys for a (domain, algorithm) cannot be written down.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::policy::Policy;
use super::request::{Hold, Request};
use crate::name::{Fqdn, Label, Selector, SigningDomain};
use crate::record::dkim::{Algorithm, Fingerprint, PublicKey, revocation};
use crate::record::txt::TxtText;
use crate::time::{Span, Time};

/// All facts of one signing domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    pub domain: SigningDomain,
    pub lines: BTreeMap<Algorithm, Line>,
    /// What each selector's name ever carried. Lowering a TTL later never shortens a wait.
    pub maxima: BTreeMap<Selector, Maxima>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Hold>,
    /// When the newest fact was recorded: a clock that stands before it is wrong.
    pub newest: Option<Time>,
}

/// The keys of one algorithm.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming: Option<Incoming>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<Active>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outgoing: Vec<Outgoing>,
}

/// One key: what it is, and where its halves are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    pub fingerprint: Fingerprint,
    pub selector: Selector,
    pub algorithm: Algorithm,
    pub public: PublicKey,
    /// When the sealed private half was read back.
    pub sealed: Time,
    /// SHA-256 of the sealed blob, in hexadecimal digits.
    pub blob_sha256: String,
    /// The providers that were seen to hold the record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub record_at: BTreeMap<Label, Time>,
    /// The hosts that proved to hold the private half.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub delivered: BTreeMap<Label, Time>,
    /// The hosts that proved to have destroyed it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub wiped: BTreeMap<Label, Time>,
    /// When our own sealed copy was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shredded: Option<Time>,
}

/// A key on its way to sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Incoming {
    Sealed(Sealed),
    Published(Published),
    Propagated(Propagated),
    Switching(Switching),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    pub key: Key,
}

/// Rumoured: written, not yet everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    pub key: Key,
    /// The first of the clean sweeps since the last miss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_clean: Option<Time>,
    /// Set when signers may already have used the key, in an attempt that was turned back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Time>,
}

/// Every server has it; caches may still deny it until `seen` plus the longest TTL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Propagated {
    pub key: Key,
    /// `t_seen`: every server has had it since then.
    pub seen: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried: Option<Time>,
}

/// From `committed` on, any signer may sign with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switching {
    pub key: Key,
    pub seen: Time,
    pub committed: Time,
    /// The hosts whose probe showed a right signature by this key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signing: BTreeMap<Label, Time>,
    /// Why the switch is being undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// The hosts that proved to sign with the old key again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turned_back: BTreeMap<Label, Time>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub at: Time,
    /// The host whose probe was wrong; `None` when an operator asked to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Label>,
    pub why: String,
}

/// It signs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Active {
    pub key: Key,
    /// Every server has had the record since then.
    pub seen: Time,
    /// When the last host was seen to sign with it.
    pub since: Time,
    pub signing: BTreeMap<Label, Time>,
}

/// A key that signs no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outgoing {
    Retiring(Retiring),
    Withdrawn(Withdrawn),
    Gone(Gone),
    Revoked(Revoked),
}

/// Its mail may still be under way, so its record stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retiring {
    pub key: Key,
    /// Every server has had the record since then; `None` if it never came so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Time>,
    /// When every host was seen to sign with the successor.
    pub stopped: Time,
    /// The last time that somebody was seen to use it after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_use: Option<Use>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Use {
    pub at: Time,
    pub by: String,
}

/// Unretentive: removed, but caches may still hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawn {
    pub key: Key,
    pub since: Time,
    /// `t_gone`: no server has it since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Time>,
}

/// Hidden everywhere; the selector may be used again, the key never.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gone {
    pub key: Key,
    pub hidden: Time,
}

/// Compromised: `p=` is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoked {
    pub key: Key,
    pub since: Time,
    /// The providers that were seen to hold the empty `p=`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub emptied: BTreeMap<Label, Time>,
}

/// The longest times that a name's answers could ever be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maxima {
    /// Seconds; the TXT record's TTL.
    pub ttl: u32,
    /// Seconds; the negative TTL. `None` while no SOA was read.
    pub negative: Option<u32>,
    /// Seconds; the TTL of a CNAME at the name.
    pub cname: u32,
}

/// The phases, for people and for indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Sealed,
    Published,
    Propagated,
    Switching,
    Active,
    Retiring,
    Withdrawn,
    Gone,
    Revoked,
}

impl Ledger {
    pub fn new(domain: SigningDomain) -> Self {
        Ledger { domain, lines: BTreeMap::new(), maxima: BTreeMap::new(), hold: None, newest: None }
    }

    /// Every key with its phase, the one that comes first.
    pub fn keys(&self) -> impl Iterator<Item = (Phase, &Key)> {
        self.lines.values().flat_map(Line::keys)
    }

    pub fn key(&self, fingerprint: &Fingerprint) -> Option<(Phase, &Key)> {
        self.keys().find(|(_, key)| key.fingerprint == *fingerprint)
    }

    /// Whether both hold the same facts. A fact that changes nothing but the time of the newest one is not worth
    /// writing down.
    pub fn says_the_same(&self, other: &Ledger) -> bool {
        (&self.lines, &self.maxima, &self.hold) == (&other.lines, &other.maxima, &other.hold)
    }

    pub fn maxima(&self, selector: &Selector) -> Maxima {
        self.maxima.get(selector).copied().unwrap_or_default()
    }
}

impl Line {
    pub fn keys(&self) -> impl Iterator<Item = (Phase, &Key)> {
        let incoming = self.incoming.iter().map(|i| (i.phase(), i.key()));
        let active = self.active.iter().map(|a| (Phase::Active, &a.key));
        incoming.chain(active).chain(self.outgoing.iter().map(|o| (o.phase(), o.key())))
    }
}

impl Key {
    pub fn record_name(&self, domain: &SigningDomain) -> Fqdn {
        self.selector.record_name(domain)
    }

    pub fn record(&self) -> TxtText {
        self.public.record(self.algorithm)
    }

    pub fn revocation(&self) -> TxtText {
        revocation(self.algorithm)
    }
}

impl Incoming {
    pub fn key(&self) -> &Key {
        match self {
            Incoming::Sealed(s) => &s.key,
            Incoming::Published(p) => &p.key,
            Incoming::Propagated(p) => &p.key,
            Incoming::Switching(s) => &s.key,
        }
    }

    pub fn phase(&self) -> Phase {
        match self {
            Incoming::Sealed(_) => Phase::Sealed,
            Incoming::Published(_) => Phase::Published,
            Incoming::Propagated(_) => Phase::Propagated,
            Incoming::Switching(_) => Phase::Switching,
        }
    }
}

impl Outgoing {
    pub fn retiring(&self) -> Option<&Retiring> {
        match self {
            Outgoing::Retiring(retiring) => Some(retiring),
            _ => None,
        }
    }

    pub fn key(&self) -> &Key {
        match self {
            Outgoing::Retiring(r) => &r.key,
            Outgoing::Withdrawn(w) => &w.key,
            Outgoing::Gone(g) => &g.key,
            Outgoing::Revoked(r) => &r.key,
        }
    }

    pub fn phase(&self) -> Phase {
        match self {
            Outgoing::Retiring(_) => Phase::Retiring,
            Outgoing::Withdrawn(_) => Phase::Withdrawn,
            Outgoing::Gone(_) => Phase::Gone,
            Outgoing::Revoked(_) => Phase::Revoked,
        }
    }
}

impl Maxima {
    /// How long a cache may hold an answer about this name, of whatever kind.
    pub fn longest(&self, policy: &Policy) -> Span {
        let negative = match self.negative {
            Some(seconds) => Span::seconds(seconds.into()).max(policy.negative_floor),
            None => policy.negative_unknown,
        };
        self.positive().max(negative)
    }

    /// How long a cache may hold the record itself.
    pub fn positive(&self) -> Span {
        // A CNAME and the TXT behind it expire apart, and a resolver may join an old one with a new one.
        Span::seconds(self.ttl.max(self.cname).into())
    }
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Sealed => "sealed",
            Phase::Published => "published",
            Phase::Propagated => "propagated",
            Phase::Switching => "switching",
            Phase::Active => "active",
            Phase::Retiring => "retiring",
            Phase::Withdrawn => "withdrawn",
            Phase::Gone => "gone",
            Phase::Revoked => "revoked",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
