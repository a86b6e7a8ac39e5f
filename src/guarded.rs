//! A TXT record of ours among others' at one name: looked at, changed only while it is what was seen, and read back.
//!
//! SPF, DMARC, and the leave to send reports are kept like this. What is ours is told by its text: the one that an
//! operator agreed to, or one that we wrote. Other texts at the name are nobody's business here, and are looked at
//! again after each change to see that they stayed.

use dkimctl_providers::{AtName, Guarded, Op, Outcome, ProviderError};
use dkimctl_state::lifecycle::seen::Answer;
use dkimctl_state::name::{Fqdn, Label, NameError, SigningDomain};
use dkimctl_state::record::dmarc::looks_like_dmarc;
use dkimctl_state::record::spf::{SpfError, is_spf};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::{Change, Event, Store, StoreError};
use dkimctl_state::time::Time;

use crate::dns::Dns;
use crate::observe::Sweeper;

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Spf,
    Dmarc,
    /// `v=DMARC1` at `<domain>._report._dmarc.<host>` (RFC 9990 section 4).
    Reports,
}

/// Where a record stands.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    pub kind: Kind,
    /// The domain that it is about.
    pub domain: Fqdn,
    pub name: Fqdn,
    pub providers: &'a [Label],
}

/// What stands at a place, at each provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub kind: Kind,
    pub name: Fqdn,
    pub at: Vec<(Label, AtName)>,
    /// The one text of the kind at each.
    pub texts: Vec<Option<TxtText>>,
}

/// The TTL of what is written. All TXT records of a name share one (RFC 2181 section 5.2): beside others, theirs stays.
#[derive(Debug, Clone, Copy)]
pub enum Ttl {
    /// This one, unless others stand there.
    Ours(u32),
    /// What stands there, or this one.
    AsItIs(u32),
}

/// Why a record is not touched.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("{0}")]
    Dns(#[from] ProviderError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Name(#[from] NameError),
    #[error("{0} has no provider; name one in the configuration")]
    NoProvider(Fqdn),
    #[error(
        "{name} has {} {kind} records ({}): receivers take none of them, and nobody but you can say which one is meant; \
         delete all but one, then run `dkimctl {} adopt {domain}`", .texts.len(), list(.texts), .kind.verb()
    )]
    Several { kind: Kind, name: Fqdn, domain: Fqdn, texts: Vec<TxtText> },
    #[error("the providers show different {kind} records at {name} ({}); make them agree first", list(.texts))]
    Differ { kind: Kind, name: Fqdn, texts: Vec<TxtText> },
    #[error("{name} holds no TXT that could be changed: {why}")]
    Unsupported { name: Fqdn, why: String },
    #[error(
        "{name} shows \"{seen}\", which is neither the text that was adopted nor one that dkimctl wrote; a mistake in it \
         would lose mail, so nothing is changed without your consent: `dkimctl {} adopt {domain}`", .kind.verb()
    )]
    NotOurs { kind: Kind, name: Fqdn, domain: Fqdn, seen: TxtText },
    #[error(
        "{name} has no {kind} record, and the last one that is ours was \"{wanted}\": somebody removed it; `dkimctl {} \
         adopt {domain}` begins anew", .kind.verb()
    )]
    Gone { kind: Kind, name: Fqdn, domain: Fqdn, wanted: TxtText },
    #[error("{0} changed after it was looked at; nothing was written; run the command again")]
    Changed(Fqdn),
    #[error("{name}: it is not known whether the change happened ({why}); run the command again, it looks first")]
    Unknown { name: Fqdn, why: String },
    #[error(
        "{name} was written, but does not read back as {} with the other texts untouched; look at it",
        .wanted.as_ref().map_or("empty".to_owned(), |text| format!("\"{text}\""))
    )]
    NotReadBack { name: Fqdn, wanted: Option<TxtText> },
    #[error("{domain} has no SPF record, so there is nothing to adopt; `dkimctl spf apply {domain}` writes one")]
    NothingToAdopt { domain: Fqdn },
    #[error(
        "{domain} shows \"{seen}\", which is not the text that was agreed to; look again with `dkimctl {} adopt {domain}`",
        .kind.verb()
    )]
    NotWhatWasSeen { kind: Kind, domain: Fqdn, seen: TxtText },
    #[error("the record of {domain} cannot be read ({error}); mend it by hand, then `dkimctl spf adopt {domain}`")]
    Broken { domain: Fqdn, error: SpfError },
    #[error("{domain}: there is no earlier record to go back to; only what dkimctl wrote over is put back")]
    NothingBefore { domain: Fqdn },
    #[error("the state's document of {domain} cannot be read ({problem}); `dkimctl state verify` tells more")]
    Damaged { domain: Fqdn, problem: String },
}

impl Kind {
    /// Whether a text is of this kind, well or badly written.
    pub fn is(self, text: &TxtText) -> bool {
        match self {
            Kind::Spf => is_spf(text),
            Kind::Dmarc => looks_like_dmarc(text),
            // A longer text may say the same and is somebody else's.
            Kind::Reports => text.as_bytes() == b"v=DMARC1",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Kind::Spf => "spf",
            Kind::Dmarc | Kind::Reports => "dmarc",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Kind::Spf => "SPF",
            Kind::Dmarc | Kind::Reports => "DMARC",
        })
    }
}

impl Look {
    /// The text that all providers agree on.
    pub fn agreed(&self) -> Result<Option<TxtText>, PublishError> {
        let first = self.texts.first().cloned().flatten();
        if self.texts.iter().any(|text| *text != first) {
            let texts = self.texts.iter().flatten().cloned().collect();
            return Err(PublishError::Differ { kind: self.kind, name: self.name.clone(), texts });
        }
        Ok(first)
    }

    /// The TTL that stands there; `None` where nothing does.
    pub fn ttl(&self) -> Option<u32> {
        let ttl = |at: &AtName| if let AtName::Txt { ttl, .. } = at { Some(*ttl) } else { None };
        self.at.iter().filter_map(|(_, at)| ttl(at)).max()
    }

    fn others(&self) -> Vec<Vec<TxtText>> {
        let texts = |at: &AtName| {
            let mut texts: Vec<TxtText> = at.texts().filter(|text| !self.kind.is(text)).cloned().collect();
            texts.sort();
            texts
        };
        self.at.iter().map(|(_, at)| texts(at)).collect()
    }
}

/// Looks, and refuses what nobody can edit: two records, an alias.
pub fn look(dns: &Dns, place: &Place<'_>) -> Result<Look, PublishError> {
    let Place { kind, domain, name, providers } = place;
    let mut look = Look { kind: *kind, name: name.clone(), at: Vec::new(), texts: Vec::new() };
    for label in *providers {
        let seen = dns.observe(label, std::slice::from_ref(name)).remove(name);
        let seen = seen.unwrap_or_else(|| Err(ProviderError::NoZone(name.clone())))?;
        let unsupported = |why: String| PublishError::Unsupported { name: name.clone(), why };
        match &seen {
            AtName::Cname { target, .. } => {
                return Err(unsupported(format!("it is an alias of {target}; the record has to be changed there")));
            }
            AtName::Delegated { zone, server } => {
                return Err(unsupported(crate::report::words::delegated(zone, server)));
            }
            AtName::Unsupported(why) => return Err(unsupported(why.clone())),
            AtName::Absent | AtName::Txt { .. } => {}
        }
        let texts: Vec<TxtText> = seen.texts().filter(|text| kind.is(text)).cloned().collect();
        if texts.len() > 1 {
            return Err(PublishError::Several { kind: *kind, name: name.clone(), domain: domain.clone(), texts });
        }
        look.texts.push(texts.into_iter().next());
        look.at.push((label.clone(), seen));
    }
    if look.at.is_empty() {
        return Err(PublishError::NoProvider(domain.clone()));
    }
    Ok(look)
}

/// What is to stand at a place, and what it may replace.
pub struct Edit<'e> {
    /// Whether this text is ours to replace; `None`: whether nothing may stand there.
    pub replaces: &'e dyn Fn(Option<&TxtText>) -> bool,
    /// What we believe to stand there, for the sentence if it does not.
    pub believed: Option<&'e TxtText>,
    /// `None` removes it.
    pub to: Option<&'e TxtText>,
    pub ttl: Ttl,
}

/// Makes the change at every provider, if all is as it was in `before`, and reads it back.
pub fn write(dns: &Dns, place: &Place<'_>, before: &Look, edit: &Edit<'_>) -> Result<(), PublishError> {
    let (kind, name, domain) = (place.kind, &place.name, &place.domain);
    for text in &before.texts {
        let done = text.as_ref() == edit.to;
        match text {
            _ if done || (edit.replaces)(text.as_ref()) => {}
            Some(seen) => {
                let (name, domain, seen) = (name.clone(), domain.clone(), seen.clone());
                return Err(PublishError::NotOurs { kind, name, domain, seen });
            }
            None => {
                let wanted = edit.believed.or(edit.to).cloned().unwrap_or_else(|| TxtText::new(Vec::new()));
                return Err(PublishError::Gone { kind, name: name.clone(), domain: domain.clone(), wanted });
            }
        }
    }
    for ((label, seen), text) in before.at.iter().zip(&before.texts) {
        let name = name.clone();
        let others = seen.texts().any(|text| !kind.is(text));
        let ttl = match (seen, edit.ttl) {
            (AtName::Txt { ttl, .. }, Ttl::AsItIs(_)) => *ttl,
            (AtName::Txt { ttl, .. }, Ttl::Ours(_)) if others => *ttl,
            (_, Ttl::Ours(ttl) | Ttl::AsItIs(ttl)) => ttl,
        };
        let op = match (text, edit.to) {
            (text, to) if text.as_ref() == to => continue,
            (Some(old), Some(new)) => Op::Replace { name, old: old.clone(), new: new.clone(), ttl },
            (None, Some(new)) => Op::Add { name, text: new.clone(), ttl },
            (Some(old), None) => Op::Remove { name, text: old.clone() },
            (None, None) => continue,
        };
        let name = place.name.clone();
        let outcome = dns.apply(label, vec![Guarded { op, seen: seen.clone() }]).pop();
        match outcome.unwrap_or(Outcome::NotTried) {
            Outcome::Applied(_) | Outcome::Already => {}
            Outcome::Conflict(_) => return Err(PublishError::Changed(name)),
            Outcome::Rejected(error) => return Err(error.into()),
            Outcome::NotTried => return Err(PublishError::Unknown { name, why: "it was not tried".to_owned() }),
            Outcome::Unknown(why) => return Err(PublishError::Unknown { name, why }),
        }
    }
    // A provider's OK is no proof.
    let after = look(dns, place)?;
    if after.texts.iter().any(|text| text.as_ref() != edit.to) || before.others() != after.others() {
        return Err(PublishError::NotReadBack { name: name.clone(), wanted: edit.to.cloned() });
    }
    Ok(())
}

/// What the authoritative servers show of a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// Servers that answered and do not show it.
    pub behind: Vec<String>,
    /// Servers that did not say.
    pub unknown: Vec<String>,
}

/// Asks every address of every authoritative server.
pub fn served(servers: &dyn Sweeper, kind: Kind, name: &Fqdn, wanted: &TxtText, at: Time) -> Served {
    let mut served = Served::default();
    let answers = servers.sweep(std::slice::from_ref(name), at).into_iter().flat_map(|sweep| sweep.answers);
    let mut any = false;
    for answer in answers {
        any = true;
        match answer.answer {
            Answer::Txt { texts, .. } if texts.iter().filter(|text| kind.is(text)).eq([wanted]) => {}
            Answer::Txt { .. } | Answer::Absent => served.behind.push(answer.server),
            Answer::Unknown(why) => served.unknown.push(format!("{} ({why})", answer.server)),
        }
    }
    if !any {
        served.unknown.push("no name server could be asked".to_owned());
    }
    served
}

impl Served {
    pub fn everywhere(&self) -> bool {
        self.behind.is_empty() && self.unknown.is_empty()
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.behind.as_slice(), self.unknown.as_slice()) {
            ([], []) => f.write_str("every name server shows it"),
            ([], unknown) => write!(f, "not known from {}", unknown.join(", ")),
            (behind, _) => write!(f, "not yet at {}", behind.join(", ")),
        }
    }
}

/// A fact for the log, as a change that is committed with what it is about.
pub fn logged(store: &dyn Store, domain: &SigningDomain, event: Event) -> Result<Change, StoreError> {
    let loaded = store.load(domain)?;
    let mut ledger = loaded.ledger;
    ledger.record(&event.fact, event.at).map_err(|impossible| {
        let (domain, problem) = (domain.to_string(), impossible.to_string());
        StoreError::Damaged { domain, problem }
    })?;
    Ok(Change { ledger, revision: loaded.revision, wake: loaded.wake, events: vec![event] })
}

fn list(texts: &[TxtText]) -> String {
    texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}
