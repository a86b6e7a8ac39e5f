//! How an SPF record comes to stand in a zone: adopted first, then changed only while it is what was seen.
//!
//! An SPF record of others is never edited. It becomes ours when an operator saw its text and agreed (`spf adopt`),
//! and stays ours for as long as its text is the adopted one or one that we wrote. What we are about to write is noted
//! before it is written, so that a run that was cut off in between knows its own work again.

use std::collections::BTreeSet;

use dkimctl_providers::{AtName, Guarded, Op, Outcome, ProviderError};
use dkimctl_state::lifecycle::staging::spf::{SpfFacts, SpfPolicy, SpfStep, SpfWait, spf_ladder};
use dkimctl_state::name::{Fqdn, Label};
use dkimctl_state::record::spf::{SpfError, SpfRecord, is_spf};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::{Store, StoreError};
use dkimctl_state::time::Time;
use serde::{Deserialize, Serialize};

use super::desired::{Wanted, desired, ending};
use crate::dns::Dns;

/// What is kept of a domain's SPF record, under `spf/<domain>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub version: u32,
    /// The text that an operator agreed to have edited.
    pub adopted: Option<Adopted>,
    /// The text that we wrote last and saw standing.
    pub written: Option<Written>,
    /// The text that we were about to write.
    pub writing: Option<TxtText>,
    /// The terms that we added, as they print.
    pub ours: Vec<String>,
    /// Since when the record ends as it does.
    pub ending_since: Option<Time>,
    /// Every text that stood before one of ours, oldest first.
    pub previous: Vec<TxtText>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopted {
    pub text: TxtText,
    pub at: Time,
    pub by: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    pub text: TxtText,
    pub at: Time,
}

/// Where a domain's record is and what it is to be.
#[derive(Debug, Clone)]
pub struct Subject<'a> {
    pub domain: Fqdn,
    pub providers: &'a [Label],
    pub wanted: &'a Wanted,
    /// TTL of a new record; where other TXT stand, theirs is kept (RFC 2181 section 5.2).
    pub ttl: u32,
}

/// What `spf apply` would do, to the octet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub domain: Fqdn,
    pub old: Option<TxtText>,
    pub new: TxtText,
    /// Why the ending stays as it is, if it might climb later.
    pub wait: Option<SpfWait>,
    pub changes: Vec<(Label, Guarded)>,
    document: Document,
    raw: Option<String>,
}

/// Why a record is not touched.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    #[error("{0}")]
    Dns(#[from] ProviderError),
    #[error("{0}")]
    Store(#[from] StoreError),
    #[error(
        "{domain} has {} SPF records ({}): every check of it is a permerror, and nobody but you can say which one is \
         meant; delete all but one, then run `dkimctl spf adopt {domain}`", .texts.len(), list(.texts)
    )]
    Several { domain: Fqdn, texts: Vec<TxtText> },
    #[error("{domain} holds no TXT that could be changed: {why}")]
    Unsupported { domain: Fqdn, why: String },
    #[error(
        "{domain} has an SPF record that is not ours: \"{text}\"; a mistake in it would lose mail, so nothing is \
         changed without your consent: `dkimctl spf adopt {domain}`"
    )]
    NotOurs { domain: Fqdn, text: TxtText },
    #[error("{domain} has no SPF record, so there is nothing to adopt; `dkimctl spf apply {domain}` writes one")]
    NothingToAdopt { domain: Fqdn },
    #[error(
        "{domain} shows \"{seen}\", which is not the text that was agreed to; look again with \
         `dkimctl spf adopt {domain}`"
    )]
    NotWhatWasSeen { domain: Fqdn, seen: TxtText },
    #[error("the record of {domain} cannot be read ({error}); mend it by hand, then `dkimctl spf adopt {domain}`")]
    Broken { domain: Fqdn, error: SpfError },
    #[error("the providers of {domain} show different SPF records ({}); make them agree first", list(.texts))]
    Differ { domain: Fqdn, texts: Vec<TxtText> },
    #[error("{domain}: the record changed after it was looked at; nothing was written; run the command again")]
    Changed { domain: Fqdn },
    #[error("{domain}: it is not known whether the change happened ({why}); run the command again, it looks first")]
    Unknown { domain: Fqdn, why: String },
    #[error("the state's document of {domain} cannot be read ({problem}); `dkimctl state verify` tells more")]
    Damaged { domain: Fqdn, problem: String },
    #[error("{0} has no provider; name one in the configuration")]
    NoProvider(Fqdn),
}

/// What stands at a domain, at each of its providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub at: Vec<(Label, AtName)>,
    /// The one SPF text, the same at all of them.
    pub text: Option<TxtText>,
}

/// Looks, and refuses what nobody can edit: two records, an alias, providers that differ.
pub fn look(dns: &Dns, subject: &Subject<'_>) -> Result<Look, PublishError> {
    let domain = &subject.domain;
    let mut at = Vec::new();
    let mut texts: BTreeSet<Option<TxtText>> = BTreeSet::new();
    for label in subject.providers {
        let seen = dns.observe(label, std::slice::from_ref(domain)).remove(domain);
        let seen = seen.unwrap_or_else(|| Err(ProviderError::NoZone(domain.clone())))?;
        let unsupported = |why: String| PublishError::Unsupported { domain: domain.clone(), why };
        match &seen {
            AtName::Cname { target, .. } => return Err(unsupported(format!("it is an alias of {target}"))),
            AtName::Unsupported(why) => return Err(unsupported(why.clone())),
            AtName::Absent | AtName::Txt { .. } => {}
        }
        let spf: Vec<TxtText> = seen.texts().filter(|text| is_spf(text)).cloned().collect();
        if spf.len() > 1 {
            return Err(PublishError::Several { domain: domain.clone(), texts: spf });
        }
        texts.insert(spf.into_iter().next());
        at.push((label.clone(), seen));
    }
    if texts.len() > 1 {
        return Err(PublishError::Differ { domain: domain.clone(), texts: texts.into_iter().flatten().collect() });
    }
    let text = texts.pop_first().ok_or_else(|| PublishError::NoProvider(domain.clone()))?;
    Ok(Look { at, text })
}

/// Records an operator's consent to the text that was shown.
pub fn adopt(
    dns: &Dns,
    store: &mut dyn Store,
    subject: &Subject<'_>,
    shown: &TxtText,
    by: &str,
    now: Time,
) -> Result<Document, PublishError> {
    let domain = &subject.domain;
    let text = look(dns, subject)?.text.ok_or_else(|| PublishError::NothingToAdopt { domain: domain.clone() })?;
    if text != *shown {
        return Err(PublishError::NotWhatWasSeen { domain: domain.clone(), seen: text });
    }
    let (document, raw) = load(store, domain)?;
    let document = Document {
        adopted: Some(Adopted { text, at: now, by: by.to_owned() }),
        writing: None,
        ending_since: document.ending_since.or(Some(now)),
        ..document
    };
    save(store, domain, raw.as_deref(), &document)?;
    Ok(document)
}

/// What is to be changed. `facts` are what is known besides the record: the ending and its age are filled in here.
pub fn plan(
    dns: &Dns,
    store: &dyn Store,
    subject: &Subject<'_>,
    facts: SpfFacts,
    policy: &SpfPolicy,
    now: Time,
) -> Result<Plan, PublishError> {
    let domain = &subject.domain;
    let look = look(dns, subject)?;
    let (document, raw) = load(store, domain)?;
    let published = look
        .text
        .as_ref()
        .map(SpfRecord::parse)
        .transpose()
        .map_err(|error| PublishError::Broken { domain: domain.clone(), error })?;
    let facts = SpfFacts {
        ending: ending(published.as_ref()),
        since: document.ending_since,
        goal: subject.wanted.goal,
        ..facts
    };
    let (rung, wait) = match spf_ladder(&facts, policy, now) {
        SpfStep::Done => (None, None),
        SpfStep::Wait(wait) => (None, Some(wait)),
        SpfStep::Move(rung) => (Some(rung), None),
    };
    let record = desired(subject.wanted, published.as_ref(), &document.ours, rung);
    // Spaces and case are no reason to write.
    let new = match &look.text {
        Some(text) if published.as_ref() == Some(&record) => text.clone(),
        _ => record.text(),
    };
    let mut changes = Vec::new();
    for (label, seen) in look.at {
        let ttl = if let AtName::Txt { ttl, .. } = &seen { *ttl } else { subject.ttl };
        let name = domain.clone();
        let op = match &look.text {
            Some(old) if *old == new => continue,
            Some(old) if !document.owns(old) => {
                return Err(PublishError::NotOurs { domain: name, text: old.clone() });
            }
            Some(old) => Op::Replace { name, old: old.clone(), new: new.clone(), ttl },
            None => Op::Add { name, text: new.clone(), ttl },
        };
        changes.push((label, Guarded { op, seen }));
    }
    let mut document = document;
    let before: Vec<String> = published.iter().flat_map(|record| &record.terms).map(ToString::to_string).collect();
    let after: Vec<String> = subject.wanted.terms().iter().map(ToString::to_string).collect();
    document.ours.retain(|term| after.contains(term));
    document.ours.extend(after.into_iter().filter(|term| !before.contains(term)));
    document.ours.sort();
    document.ours.dedup();
    if rung.is_some() || document.ending_since.is_none() {
        document.ending_since = Some(now);
    }
    Ok(Plan { domain: domain.clone(), old: look.text, new, wait, changes, document, raw })
}

/// Does what was planned, if all is still as it was, and reads it back. An empty plan writes nothing.
pub fn apply(
    dns: &Dns,
    store: &mut dyn Store,
    subject: &Subject<'_>,
    plan: Plan,
    now: Time,
) -> Result<bool, PublishError> {
    let domain = &plan.domain;
    let (before, _) = load(store, domain)?;
    if plan.changes.is_empty() {
        // What stands is what we meant to write: a run that was cut off is finished now.
        if before.writing.as_ref() == Some(&plan.new) {
            finish(store, subject, plan, now)?;
        }
        return Ok(false);
    }
    // What a run that is cut off here has written is known as ours by the next one.
    let mut ours: BTreeSet<String> = before.ours.iter().cloned().collect();
    ours.extend(plan.document.ours.iter().cloned());
    let noted = Document {
        writing: Some(plan.new.clone()),
        ours: ours.into_iter().collect(),
        ending_since: plan.document.ending_since,
        ..before
    };
    let raw = save(store, domain, plan.raw.as_deref(), &noted)?;
    for (label, guarded) in &plan.changes {
        match dns.apply(label, vec![guarded.clone()]).remove(domain) {
            Some(Outcome::Applied(_) | Outcome::Already) => {}
            Some(Outcome::Conflict(_)) => return Err(PublishError::Changed { domain: domain.clone() }),
            Some(Outcome::Rejected(error)) => return Err(error.into()),
            Some(Outcome::Unknown(why)) => return Err(PublishError::Unknown { domain: domain.clone(), why }),
            Some(Outcome::NotTried) | None => {
                let why = "it was not tried".to_owned();
                return Err(PublishError::Unknown { domain: domain.clone(), why });
            }
        }
    }
    // A provider's OK is no proof.
    if look(dns, subject)?.text.as_ref() != Some(&plan.new) {
        let why = "the provider said yes, and the record is not there".to_owned();
        return Err(PublishError::Unknown { domain: domain.clone(), why });
    }
    finish(store, subject, Plan { raw: Some(raw), ..plan }, now)?;
    Ok(true)
}

fn finish(store: &mut dyn Store, subject: &Subject<'_>, plan: Plan, now: Time) -> Result<(), PublishError> {
    let mut document = plan.document;
    document.writing = None;
    document.written = Some(Written { text: plan.new, at: now });
    document.previous.extend(plan.old.filter(|old| document.written.as_ref().is_none_or(|w| w.text != *old)));
    save(store, &subject.domain, plan.raw.as_deref(), &document)?;
    Ok(())
}

impl Default for Document {
    fn default() -> Self {
        Document {
            version: 1,
            adopted: None,
            written: None,
            writing: None,
            ours: Vec::new(),
            ending_since: None,
            previous: Vec::new(),
        }
    }
}

impl Document {
    /// Whether a text is one that an operator gave us or that we wrote ourselves.
    pub fn owns(&self, text: &TxtText) -> bool {
        self.adopted.as_ref().is_some_and(|adopted| adopted.text == *text)
            || self.written.as_ref().is_some_and(|written| written.text == *text)
            || self.writing.as_ref() == Some(text)
    }
}

/// The document of a domain and its text, for the write that follows.
pub fn load(store: &dyn Store, domain: &Fqdn) -> Result<(Document, Option<String>), PublishError> {
    let Some(raw) = store.note(&key(domain))? else { return Ok((Document::default(), None)) };
    let damaged = |problem: String| PublishError::Damaged { domain: domain.clone(), problem };
    let document: Document = serde_json::from_str(&raw).map_err(|error| damaged(error.to_string()))?;
    if document.version != 1 {
        return Err(damaged(format!("version {}, and this program knows 1", document.version)));
    }
    Ok((document, Some(raw)))
}

fn save(
    store: &mut dyn Store,
    domain: &Fqdn,
    expected: Option<&str>,
    document: &Document,
) -> Result<String, PublishError> {
    let damaged =
        |error: serde_json::Error| PublishError::Damaged { domain: domain.clone(), problem: error.to_string() };
    let text = serde_json::to_string(document).map_err(damaged)?;
    store.set_note(&key(domain), expected, &text)?;
    Ok(text)
}

fn key(domain: &Fqdn) -> String {
    format!("spf/{domain}")
}

fn list(texts: &[TxtText]) -> String {
    texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
