//! How an SPF record comes to stand in a zone: adopted first, then changed only while it is what was seen.
//!
//! An SPF record of others is never edited. It becomes ours when an operator saw its text and agreed (`spf adopt`),
//! and stays ours for as long as its text is the adopted one or one that we wrote. What we are about to write is noted
//! before it is written, so that a run that was cut off in between knows its own work again.

use std::collections::BTreeSet;

use dkimctl_state::lifecycle::fact::{Fact, PolicyChange, PolicyRecord};
use dkimctl_state::lifecycle::staging::spf::{SpfFacts, SpfPolicy, SpfStep, SpfWait, spf_ladder};
use dkimctl_state::name::{Fqdn, Label, SigningDomain};
use dkimctl_state::record::spf::SpfRecord;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::{Event, NoteChange, Store, Wake};
use dkimctl_state::time::Time;
use serde::{Deserialize, Serialize};

use super::desired::{Wanted, desired, ending};
use crate::dns::Dns;
use crate::guarded::{self, Edit, Kind, Place, Ttl};

pub use crate::guarded::{Look, PublishError};

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
    /// Every text that stood before one of ours, oldest first; a step back takes the last one off.
    pub previous: Vec<TxtText>,
    /// An operator went back: nothing is written until one says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub at: Time,
    pub by: String,
    pub why: String,
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
    /// Whether anything is to be written.
    pub changes: bool,
    /// Whether the ending changes: that is a rung.
    pub climbs: bool,
    look: Look,
    document: Document,
    raw: Option<String>,
}

/// Looks, and refuses what nobody can edit.
pub fn look(dns: &Dns, subject: &Subject<'_>) -> Result<Look, PublishError> {
    guarded::look(dns, &place(subject))
}

fn place<'a>(subject: &Subject<'a>) -> Place<'a> {
    let domain = subject.domain.clone();
    Place { kind: Kind::Spf, domain: domain.clone(), name: domain, providers: subject.providers }
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
    let seen = look(dns, subject)?.agreed()?;
    let text = seen.ok_or_else(|| PublishError::NothingToAdopt { domain: domain.clone() })?;
    if text != *shown {
        return Err(PublishError::NotWhatWasSeen { kind: Kind::Spf, domain: domain.clone(), seen: text });
    }
    let (document, raw) = load(store, domain)?;
    let document = Document {
        adopted: Some(Adopted { text: text.clone(), at: now, by: by.to_owned() }),
        writing: None,
        ending_since: document.ending_since.or(Some(now)),
        held: None,
        ..document
    };
    let why = "an operator agreed".to_owned();
    let event = event(domain, PolicyChange::Adopted, Some(text.clone()), text, why, by, now);
    save(store, domain, raw.as_deref(), &document, Some(event))?;
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
    let stands = document.base(&look)?;
    let published = stands
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
    let new = match &stands {
        Some(text) if published.as_ref() == Some(&record) => text.clone(),
        _ => record.text(),
    };
    if let (Some(Held { at, by, why }), Some(text)) = (&document.held, &stands) {
        let wait = Some(SpfWait::RolledBack { by: by.clone(), at: *at, why: why.clone() });
        let (new, old) = (text.clone(), stands.clone());
        return Ok(Plan { domain: domain.clone(), old, new, wait, changes: false, climbs: false, look, document, raw });
    }
    let changes = look.texts.iter().any(|text| text.as_ref() != Some(&new));
    let strange = look.texts.iter().flatten().find(|text| **text != new && !document.owns(text));
    if let Some(seen) = strange {
        let (name, domain, seen) = (domain.clone(), domain.clone(), seen.clone());
        return Err(PublishError::NotOurs { kind: Kind::Spf, name, domain, seen });
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
    let climbs = rung.is_some() && stands.is_some();
    Ok(Plan { domain: domain.clone(), old: stands, new, wait, changes, climbs, look, document, raw })
}

/// Does what was planned, if all is still as it was, and reads it back. An empty plan writes nothing.
pub fn apply(
    dns: &Dns,
    store: &mut dyn Store,
    subject: &Subject<'_>,
    plan: Plan,
    by: &str,
    now: Time,
) -> Result<bool, PublishError> {
    let domain = &plan.domain;
    let (before, _) = load(store, domain)?;
    if !plan.changes {
        // What stands is what we meant to write: a run that was cut off is finished now.
        if before.writing.as_ref() == Some(&plan.new) {
            finish(store, plan, PolicyChange::Written, "the configuration asks for it", by, now)?;
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
    let raw = save(store, domain, plan.raw.as_deref(), &noted, None)?;
    let edit = Edit {
        replaces: &|text| text.map_or(plan.old.is_none(), |text| plan.document.owns(text) || noted.owns(text)),
        believed: plan.old.as_ref(),
        to: Some(&plan.new),
        ttl: Ttl::AsItIs(subject.ttl),
    };
    guarded::write(dns, &place(subject), &plan.look, &edit)?;
    let plan = Plan { raw: Some(raw), ..plan };
    finish(store, plan, PolicyChange::Written, "the configuration asks for it", by, now)?;
    Ok(true)
}

/// One step back, at once: to the octet the text that stood before ours. Nothing is written after it until an operator
/// says so, for the configuration still asks for what was taken back.
pub fn rollback(
    dns: &Dns,
    store: &mut dyn Store,
    subject: &Subject<'_>,
    why: &str,
    by: &str,
    now: Time,
) -> Result<TxtText, PublishError> {
    let domain = &subject.domain;
    let look = look(dns, subject)?;
    let (document, raw) = load(store, domain)?;
    let stands = document.base(&look)?;
    let half_written = look.texts.iter().any(|text| *text != stands);
    // What reached some providers only is taken back there, and that is the step.
    let target = if half_written { stands.clone() } else { document.previous.last().cloned() };
    let target = target.ok_or_else(|| PublishError::NothingBefore { domain: domain.clone() })?;
    let noted = Document { writing: Some(target.clone()), ..document.clone() };
    let raw = save(store, domain, raw.as_deref(), &noted, None)?;
    let edit = Edit {
        replaces: &|text| text.is_some_and(|text| document.owns(text)),
        believed: stands.as_ref(),
        to: Some(&target),
        ttl: Ttl::AsItIs(subject.ttl),
    };
    guarded::write(dns, &place(subject), &look, &edit)?;
    let mut document = document;
    if !half_written {
        document.previous.pop();
    }
    document.held = Some(Held { at: now, by: by.to_owned(), why: why.to_owned() });
    document.ending_since = Some(now);
    (document.writing, document.written) = (None, Some(Written { text: target.clone(), at: now }));
    let event = event(domain, PolicyChange::RolledBack, stands, target.clone(), why.to_owned(), by, now);
    save(store, domain, Some(&raw), &document, Some(event))?;
    Ok(target)
}

/// After a step back: the configuration counts again.
pub fn resume(store: &mut dyn Store, domain: &Fqdn) -> Result<(), PublishError> {
    let (document, raw) = load(store, domain)?;
    if document.held.is_some() {
        save(store, domain, raw.as_deref(), &Document { held: None, ..document }, None)?;
    }
    Ok(())
}

fn finish(
    store: &mut dyn Store,
    plan: Plan,
    change: PolicyChange,
    why: &str,
    by: &str,
    now: Time,
) -> Result<(), PublishError> {
    let Plan { domain, old, new, mut document, raw, .. } = plan;
    document.writing = None;
    document.written = Some(Written { text: new.clone(), at: now });
    document.previous.extend(old.clone().filter(|old| *old != new));
    let event = event(&domain, change, old, new, why.to_owned(), by, now);
    save(store, &domain, raw.as_deref(), &document, Some(event))?;
    Ok(())
}

fn event(
    domain: &Fqdn,
    change: PolicyChange,
    from: Option<TxtText>,
    to: TxtText,
    why: String,
    by: &str,
    at: Time,
) -> Event {
    let (record, name, to) = (PolicyRecord::Spf, domain.clone(), Some(to));
    Event { at, actor: by.to_owned(), fact: Fact::Policy { record, name, change, from, to, why } }
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
            held: None,
        }
    }
}

impl Document {
    /// What stands, for all providers together. A run that was cut off may have left what we were writing at some of
    /// them; then it is what stands at the others.
    fn base(&self, look: &Look) -> Result<Option<TxtText>, PublishError> {
        let old: BTreeSet<&Option<TxtText>> = look.texts.iter().filter(|text| **text != self.writing).collect();
        match (old.len(), &self.writing) {
            (1, Some(_)) => Ok(old.into_iter().next().cloned().flatten()),
            _ => look.agreed(),
        }
    }

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
    event: Option<Event>,
) -> Result<String, PublishError> {
    let damaged = |problem: String| PublishError::Damaged { domain: domain.clone(), problem };
    let value = serde_json::to_string(document).map_err(|error| damaged(error.to_string()))?;
    let signing: SigningDomain = domain.as_str().parse()?;
    let logged = event.map(|event| guarded::logged(store, &signing, event)).transpose()?;
    let key = key(domain);
    let note = NoteChange { key: &key, expected, value: &value, wake: Wake::AsItIs };
    store.commit_with_note(logged.as_slice(), note)?;
    Ok(value)
}

fn key(domain: &Fqdn) -> String {
    format!("spf/{domain}")
}

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
