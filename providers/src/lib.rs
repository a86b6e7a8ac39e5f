//! The DNS hosts: one file a host. They know DNS and nothing of keys.
//!
//! A provider works on **values at a name**, not on "set this RRset": every data loss found in other tools came from
//! replacing a set, or deleting a name, that also held somebody else's value. Whoever calls decides what is to be
//! written and what was seen when it was decided; the provider refuses when that is no longer so.
//!
//! Adding a host is one new file and one line in [`all`].
//!
//! The calls block: a rotation is a sequence, and what is parallel (keys, zones, servers) is parallel by threads
//! (docs/decisions/0002).

// The unit tests share the contract's table with its own test, which names this crate from outside.
#[cfg(test)]
extern crate self as dkimctl_providers;

#[cfg(feature = "cloudflare")]
pub mod cloudflare;
pub mod dnsupdate;
pub mod export;
#[cfg(feature = "http")]
mod http;
#[cfg(feature = "manual")]
pub mod manual;
pub mod memory;
pub mod pace;
#[cfg(feature = "powerdns")]
pub mod powerdns;
#[cfg(feature = "rfc2136")]
pub mod rfc2136;
#[cfg(feature = "route53")]
pub mod route53;
#[cfg(any(feature = "http", feature = "route53", feature = "dns-update"))]
mod run;
pub mod wire;
#[cfg(feature = "zonefile")]
pub mod zonefile;

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "http")]
pub use http::Secret;

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;

/// Every kind of host there is: one line a provider, in alphabetical order.
pub fn all() -> &'static [&'static Descriptor] {
    static ALL: &[&Descriptor] = &[
        #[cfg(feature = "cloudflare")]
        &cloudflare::DESCRIPTOR,
        #[cfg(feature = "dns-update")]
        &dnsupdate::DESCRIPTOR,
        #[cfg(feature = "manual")]
        &manual::DESCRIPTOR,
        &memory::DESCRIPTOR,
        #[cfg(feature = "powerdns")]
        &powerdns::DESCRIPTOR,
        #[cfg(feature = "rfc2136")]
        &rfc2136::DESCRIPTOR,
        #[cfg(feature = "route53")]
        &route53::DESCRIPTOR,
        #[cfg(feature = "zonefile")]
        &zonefile::DESCRIPTOR,
    ];
    ALL
}

/// One DNS host as configured: where it is reached and with what rights.
pub trait DnsProvider: Send + Sync {
    fn descriptor(&self) -> &'static Descriptor;

    /// What this host, or this account, can do.
    fn caps(&self) -> Caps;

    /// Every zone that this host lets us see.
    fn zones(&self) -> Result<Vec<Zone>, ProviderError>;

    /// What stands at each of `names`, asked of the host itself and never of a resolver; same order, same length.
    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError>;

    /// The names in `zone` at which TXT stands, for a look at what nobody asked for; `None` if this host cannot list them.
    fn list(&self, _zone: &Zone) -> Result<Option<Vec<Fqdn>>, ProviderError> {
        Ok(None)
    }

    /// Performs each operation if, and only if, its name still holds what was seen; same order, same length. Packs
    /// as many into one call as the host takes; a batch refused as a whole is split until the bad one stands alone.
    /// An OK is not a proof: callers observe again.
    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome>;

    /// Whether a change that the host performs later has reached all of its servers.
    fn settled(&self, _zone: &Zone, _change: &ChangeId) -> Result<bool, ProviderError> {
        Ok(true)
    }

    /// The time by the host's own clock (a `Date` header, a TSIG time), as a witness against a wrong clock here.
    fn clock(&self) -> Option<Time> {
        None
    }
}

/// A host that somebody else holds as well: a laboratory that looks into it past the trait, two places that are one.
impl<P: DnsProvider + ?Sized> DnsProvider for Arc<P> {
    fn descriptor(&self) -> &'static Descriptor {
        (**self).descriptor()
    }

    fn caps(&self) -> Caps {
        (**self).caps()
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        (**self).zones()
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        (**self).observe(zone, names)
    }

    fn list(&self, zone: &Zone) -> Result<Option<Vec<Fqdn>>, ProviderError> {
        (**self).list(zone)
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        (**self).apply(zone, ops)
    }

    fn settled(&self, zone: &Zone, change: &ChangeId) -> Result<bool, ProviderError> {
        (**self).settled(zone, change)
    }

    fn clock(&self) -> Option<Time> {
        (**self).clock()
    }
}

/// What is known of a kind of host before anything is configured; feeds `dns providers`, help and docs.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// The name in `[provider.NAME] type = "..."`, the file's name, and docs/providers/<code>.md.
    pub code: &'static str,
    pub name: &'static str,
    /// What credentials it takes, in a sentence.
    pub credentials: &'static str,
    /// The narrowest rights that suffice, in a sentence or a snippet.
    pub least_rights: &'static str,
    /// What to paste at the host for just these rights, with ZONE and KEY in it; empty where there is nothing to paste.
    pub rights_template: &'static str,
    pub docs: &'static str,
}

/// What a host can do, in its own units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Seconds.
    pub min_ttl: u32,
    /// Octets of one TXT text, decoded.
    pub max_text: usize,
    /// Operations in one call.
    pub max_batch: usize,
    /// Whether a call that holds several operations happens whole or not at all.
    pub atomic_batch: bool,
    pub compare_and_set: CompareAndSet,
    /// Calls that the host allows, for pacing and for the ETA; `None` when it has no limit.
    pub rate: Option<Rate>,
}

/// How a host keeps a stale writer from doing harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompareAndSet {
    /// The host checks the condition in the same transaction.
    Exact,
    /// We look again right before and right after; a race of less than a second remains.
    LookAgain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub calls: u32,
    pub per: Duration,
}

/// A zone as the host names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// The host's own identifier.
    pub id: String,
    pub name: Fqdn,
    pub visibility: Visibility,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    Public,
    Private,
}

/// What stands at a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtName {
    /// No TXT and no CNAME.
    Absent,
    Txt {
        ttl: u32,
        entries: Vec<Entry>,
    },
    /// The name is an alias; TXT cannot stand beside it (RFC 1034 section 3.6.2).
    Cname {
        target: Fqdn,
        ttl: u32,
    },
    /// The name lies in a zone of its own, which is delegated away; TXT written here would not be served.
    Delegated {
        zone: Fqdn,
        /// The name of one of its servers.
        server: String,
    },
    /// Something that we do not touch: weighted, alias, generated. The reason is a sentence.
    Unsupported(String),
}

/// One TXT value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub text: TxtText,
    /// The form on the host (chunks or record id), for those that delete by it; opaque to callers.
    pub raw: Vec<Vec<u8>>,
    pub id: Option<String>,
}

/// One change to one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Add { name: Fqdn, text: TxtText, ttl: u32 },
    Replace { name: Fqdn, old: TxtText, new: TxtText, ttl: u32 },
    Remove { name: Fqdn, text: TxtText },
}

/// A change, and what stood at the name when it was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    pub op: Op,
    pub seen: AtName,
}

/// What became of one operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Applied(Option<ChangeId>),
    /// The name already is as wanted; nothing was written.
    Already,
    /// The name no longer holds what was seen; nothing was written.
    Conflict(AtName),
    Rejected(ProviderError),
    /// Something before it failed; it was not tried.
    NotTried,
    /// Sent, and no answer came: it may or may not have happened. Look before doing it again.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChangeId(pub String);

/// Why a host could not be asked or would not do it. The text says what was seen and never holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    #[error("{0}")]
    Auth(String),
    #[error("no zone of this provider holds `{0}`")]
    NoZone(Fqdn),
    #[error("the provider asks to wait{}", .after.map(|s| format!(" {} seconds", s.as_secs())).unwrap_or_default())]
    RateLimited { after: Option<Duration> },
    #[error("{0}")]
    Unreachable(String),
    /// Somebody was told what to do, and has not done it yet.
    #[error("{0}")]
    ByHand(String),
    #[error("{code}: {message}")]
    Rejected { code: String, message: String },
}

impl Zone {
    /// A public zone of a host that has no identifiers of its own for zones.
    pub fn named(name: &Fqdn) -> Self {
        Zone { id: name.to_string(), name: name.clone(), visibility: Visibility::Public }
    }

    /// An error if one of `names` lies outside.
    pub fn holds(&self, names: &[Fqdn]) -> Result<(), ProviderError> {
        match names.iter().find(|name| !name.is_in(&self.name)) {
            Some(outside) => Err(ProviderError::NoZone(outside.clone())),
            None => Ok(()),
        }
    }
}

impl Op {
    pub fn name(&self) -> &Fqdn {
        match self {
            Op::Add { name, .. } | Op::Replace { name, .. } | Op::Remove { name, .. } => name,
        }
    }

    /// The same change of another name: where an alias leads.
    pub fn at(mut self, place: Fqdn) -> Op {
        let (Op::Add { name, .. } | Op::Replace { name, .. } | Op::Remove { name, .. }) = &mut self;
        *name = place;
        self
    }

    /// What `seen` becomes by this operation; `None` if it cannot be performed on that. All TXT records of a name
    /// share one TTL (RFC 2181 section 5.2), so a foreign value at the name takes the new one as well: who plans a
    /// change of a shared name plans it with the TTL that stands there.
    pub fn after(&self, seen: &AtName) -> Option<AtName> {
        let (ttl, entries): (u32, &[Entry]) = match seen {
            AtName::Absent => (0, &[]),
            AtName::Txt { ttl, entries } => (*ttl, entries),
            AtName::Cname { .. } | AtName::Delegated { .. } | AtName::Unsupported(_) => return None,
        };
        let holds = |text: &TxtText| entries.iter().any(|entry| entry.text == *text);
        let without = |gone: &[&TxtText]| entries.iter().filter(|e| !gone.contains(&&e.text)).cloned().collect();
        let with = |mut rest: Vec<Entry>, text: &TxtText, ttl| {
            rest.push(Entry::new(text.clone()));
            Some(AtName::Txt { ttl, entries: rest })
        };
        match self {
            Op::Add { text, ttl, .. } => with(without(&[text]), text, *ttl),
            Op::Replace { old, new, ttl, .. } if holds(old) || holds(new) => with(without(&[old, new]), new, *ttl),
            Op::Replace { .. } => None,
            Op::Remove { text, .. } => {
                let entries: Vec<Entry> = without(&[text]);
                Some(if entries.is_empty() { AtName::Absent } else { AtName::Txt { ttl, entries } })
            }
        }
    }

    /// Whether `now` shows what this operation was to bring about, whatever else stands there.
    pub fn holds_in(&self, now: &AtName) -> bool {
        let count = |text: &TxtText| now.texts().filter(|seen| *seen == text).count();
        let with_ttl = |wanted: u32| matches!(now, AtName::Txt { ttl, .. } if *ttl == wanted);
        match self {
            Op::Add { text, ttl, .. } => count(text) == 1 && with_ttl(*ttl),
            Op::Replace { old, new, ttl, .. } => count(new) == 1 && (old == new || count(old) == 0) && with_ttl(*ttl),
            Op::Remove { text, .. } => count(text) == 0 && !matches!(now, AtName::Cname { .. }),
        }
    }
}

impl Guarded {
    /// What to answer when the name shows `now` instead of what was seen: [`Outcome::Already`] if that is just what
    /// the operation would have made of it, for then somebody (we, in a run that was cut off) has done it before.
    pub fn mismatch(&self, now: AtName) -> Outcome {
        match self.op.after(&self.seen) {
            Some(after) if after.same_as(&now) => Outcome::Already,
            _ => Outcome::Conflict(now),
        }
    }
}

impl Entry {
    /// A value as we would write it ourselves: chunks of 255 octets.
    pub fn new(text: TxtText) -> Self {
        let raw = text.chunks().into_iter().map(<[u8]>::to_vec).collect();
        Entry { text, raw, id: None }
    }

    /// A value as a server shows it.
    pub fn from_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let raw: Vec<Vec<u8>> = chunks.into_iter().map(<[u8]>::to_vec).collect();
        Entry { text: TxtText::join(raw.iter().map(Vec::as_slice)), raw, id: None }
    }
}

impl AtName {
    /// The texts at the name; none unless it is TXT.
    pub fn texts(&self) -> impl Iterator<Item = &TxtText> {
        let entries = match self {
            AtName::Txt { entries, .. } => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|entry| &entry.text)
    }

    /// Whether both show the same texts under the same TTL; how they are chunked does not matter.
    pub fn same_as(&self, other: &AtName) -> bool {
        fn sorted(at: &AtName) -> Vec<&TxtText> {
            let mut texts: Vec<_> = at.texts().collect();
            texts.sort();
            texts
        }
        match (self, other) {
            (AtName::Txt { ttl: a, .. }, AtName::Txt { ttl: b, .. }) => a == b && sorted(self) == sorted(other),
            (AtName::Txt { .. }, _) | (_, AtName::Txt { .. }) => false,
            _ => self == other,
        }
    }
}

/// The zone that holds `name`: the longest suffix on a label boundary, public before private.
pub fn zone_for<'z>(zones: &'z [Zone], name: &Fqdn) -> Option<&'z Zone> {
    zones
        .iter()
        .filter(|zone| name.is_in(&zone.name))
        .max_by_key(|zone| (zone.name.as_str().len(), zone.visibility == Visibility::Public))
}
