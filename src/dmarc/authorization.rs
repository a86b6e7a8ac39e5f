//! Leave to send reports about a domain to somebody else's address: `<domain>._report._dmarc.<host>` with `v=DMARC1`
//! (RFC 9990 section 4, RFC 7489 section 7.1). Without it reporters send nothing there.
//!
//! It is written where the host's zone is ours too, and removed when no address needs it any more, but only if we wrote
//! it: the same text of somebody else is not ours.

use std::collections::BTreeMap;

use dkimctl_state::lifecycle::fact::{Fact, PolicyChange, PolicyRecord};
use dkimctl_state::lifecycle::seen::Answer;
use dkimctl_state::name::{Fqdn, Label, SigningDomain};
use dkimctl_state::record::dmarc::DmarcRecord;
use dkimctl_state::record::dmarc::org::authorization_name;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::{Event, NoteChange, Store, Wake};
use dkimctl_state::time::Time;
use serde::{Deserialize, Serialize};

use crate::dns::Dns;
use crate::guarded::{self, Edit, Kind, Place, PublishError, Ttl};
use crate::observe::Sweeper;

/// What is kept, under `reports/<domain>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// The names that we wrote to, or were about to, with the providers that hold them.
    pub ours: BTreeMap<Fqdn, Leave>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Leave {
    pub providers: Vec<Label>,
    /// When it was read back; `None` before.
    pub written: Option<Time>,
}

/// What is to be done, and what it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub name: Fqdn,
    pub change: PolicyChange,
}

/// Where a change is made, and who is asked whether it is needed.
#[derive(Clone, Copy)]
pub struct Hosts<'a> {
    pub dns: &'a Dns,
    pub servers: &'a dyn Sweeper,
}

/// Who acts, when, and how long answers may be cached.
#[derive(Debug, Clone)]
pub struct Acting<'a> {
    pub by: &'a str,
    pub now: Time,
    pub ttl: u32,
}

/// The hosts outside of the domain's organization that a record sends reports to, with the name of each one's leave.
pub fn needed(domain: &Fqdn, record: &DmarcRecord) -> BTreeMap<Fqdn, Fqdn> {
    let hosts = record.aggregate.iter().chain(&record.failure).filter_map(|uri| uri.host());
    let name = |host: Fqdn| Some((authorization_name(domain, &host)?.ok()?, host));
    hosts.filter_map(name).collect()
}

/// The names that we wrote to for a domain.
pub fn kept(store: &dyn Store, domain: &SigningDomain) -> Result<Document, PublishError> {
    Ok(load(store, domain)?.0)
}

/// Brings the leaves to what the record needs. `holders` are the providers of ours that hold a host's zone; none for
/// hosts of others, who have to give leave themselves.
pub fn ensure(
    hosts: Hosts<'_>,
    store: &mut dyn Store,
    domain: &SigningDomain,
    record: Option<&DmarcRecord>,
    holders: &dyn Fn(&Fqdn) -> Vec<Label>,
    acting: &Acting<'_>,
) -> Result<Vec<Changed>, PublishError> {
    let needed = record.map(|record| needed(domain.as_fqdn(), record)).unwrap_or_default();
    let (document, _) = load(store, domain)?;
    let mut changed = Vec::new();
    for (name, host) in &needed {
        let providers = holders(host);
        let finished = document.ours.get(name).is_some_and(|leave| leave.written.is_some());
        if !providers.is_empty() && give(hosts, store, domain, (name, host), providers, finished, acting)? {
            changed.push(Changed { name: name.clone(), change: PolicyChange::Written });
        }
    }
    for (name, leave) in document.ours.iter().filter(|(name, _)| !needed.contains_key(*name)) {
        if take_back(hosts.dns, store, domain, name, leave, acting)? {
            changed.push(Changed { name: name.clone(), change: PolicyChange::Removed });
        }
    }
    Ok(changed)
}

fn text() -> TxtText {
    "v=DMARC1".into()
}

fn place<'a>(domain: &SigningDomain, name: &Fqdn, providers: &'a [Label]) -> Place<'a> {
    Place { kind: Kind::Reports, domain: domain.as_fqdn().clone(), name: name.clone(), providers }
}

fn give(
    hosts: Hosts<'_>,
    store: &mut dyn Store,
    domain: &SigningDomain,
    (name, host): (&Fqdn, &Fqdn),
    providers: Vec<Label>,
    finished: bool,
    acting: &Acting<'_>,
) -> Result<bool, PublishError> {
    let dns = hosts.dns;
    let look = guarded::look(dns, &place(domain, name, &providers))?;
    let (mut document, raw) = load(store, domain)?;
    let given = look.at.iter().all(|(_, at)| at.texts().any(gives));
    let begun = document.ours.contains_key(name);
    if finished && given || !begun && (given || given_to_all(hosts.servers, name, acting.now)) {
        return Ok(false);
    }
    document.ours.insert(name.clone(), Leave { providers: providers.clone(), written: None });
    let raw = save(store, domain, raw.as_deref(), &document, None)?;
    let text = text();
    let edit = Edit { replaces: &|text| text.is_none(), believed: None, to: Some(&text), ttl: Ttl::AsItIs(acting.ttl) };
    guarded::write(dns, &place(domain, name, &providers), &look, &edit)?;
    document.ours.insert(name.clone(), Leave { providers, written: Some(acting.now) });
    let why = format!("reports about {domain} go to {host}");
    let event = event(name, PolicyChange::Written, None, Some(text), why, acting);
    save(store, domain, Some(&raw), &document, Some(event))?;
    Ok(true)
}

fn gives(text: &TxtText) -> bool {
    text.as_bytes().starts_with(b"v=DMARC1")
}

/// Whether a leave for everybody stands there, `*._report._dmarc.<host>` (RFC 9990 section 4). Providers are asked for
/// what stands at a name itself; what a wildcard makes of a name, only name servers say, as they say it to reporters.
/// Where one does not say, a leave of our own beside it does no harm.
fn given_to_all(servers: &dyn Sweeper, name: &Fqdn, now: Time) -> bool {
    let sweeps = servers.sweep(std::slice::from_ref(name), now);
    let mut answers = sweeps.iter().flat_map(|sweep| &sweep.answers).peekable();
    let shows = |answer: &Answer| matches!(answer, Answer::Txt { texts, .. } if texts.iter().any(gives));
    answers.peek().is_some() && answers.all(|answer| shows(&answer.answer))
}

fn take_back(
    dns: &Dns,
    store: &mut dyn Store,
    domain: &SigningDomain,
    name: &Fqdn,
    leave: &Leave,
    acting: &Acting<'_>,
) -> Result<bool, PublishError> {
    let place = place(domain, name, &leave.providers);
    let look = guarded::look(dns, &place)?;
    let text = text();
    // What somebody wrote over ours is theirs, and so is whatever else begins like it.
    let stands = look.texts.iter().any(|seen| seen.as_ref() == Some(&text));
    if stands {
        let edit = Edit {
            replaces: &|seen| seen.is_none_or(|seen| *seen == text),
            believed: Some(&text),
            to: None,
            ttl: Ttl::AsItIs(acting.ttl),
        };
        guarded::write(dns, &place, &look, &edit)?;
    }
    let (mut document, raw) = load(store, domain)?;
    document.ours.remove(name);
    let why = "no reports go there any more".to_owned();
    let event = stands.then(|| event(name, PolicyChange::Removed, Some(text), None, why, acting));
    save(store, domain, raw.as_deref(), &document, event)?;
    Ok(stands)
}

fn event(
    name: &Fqdn,
    change: PolicyChange,
    from: Option<TxtText>,
    to: Option<TxtText>,
    why: String,
    acting: &Acting<'_>,
) -> Event {
    let (record, name) = (PolicyRecord::Reports, name.clone());
    Event { at: acting.now, actor: acting.by.to_owned(), fact: Fact::Policy { record, name, change, from, to, why } }
}

fn load(store: &dyn Store, domain: &SigningDomain) -> Result<(Document, Option<String>), PublishError> {
    let Some(raw) = store.note(&key(domain))? else { return Ok((Document::default(), None)) };
    let damaged = |error: serde_json::Error| PublishError::Damaged {
        domain: domain.as_fqdn().clone(),
        problem: error.to_string(),
    };
    Ok((serde_json::from_str(&raw).map_err(damaged)?, Some(raw)))
}

fn save(
    store: &mut dyn Store,
    domain: &SigningDomain,
    expected: Option<&str>,
    document: &Document,
    event: Option<Event>,
) -> Result<String, PublishError> {
    let value = serde_json::to_string(document).expect("names and times are JSON");
    let logged = event.map(|event| guarded::logged(store, domain, event)).transpose()?;
    let key = key(domain);
    store.commit_with_note(logged.as_slice(), NoteChange { key: &key, expected, value: &value, wake: Wake::AsItIs })?;
    Ok(value)
}

fn key(domain: &SigningDomain) -> String {
    format!("reports/{domain}")
}

#[cfg(test)]
#[path = "authorization_tests.rs"]
mod tests;
