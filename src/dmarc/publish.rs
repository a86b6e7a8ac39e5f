//! How a DMARC record comes to stand at `_dmarc.<domain>`: adopted first, then changed only while it is what was seen,
//! and read back. Other texts at the name are nobody's business here.

use dkimctl_providers::{AtName, Guarded, Op, Outcome, ProviderError};
use dkimctl_state::lifecycle::staging::course::{Change, Course};
use dkimctl_state::name::{Fqdn, Label, NameError, SigningDomain};
use dkimctl_state::record::dmarc::{looks_like_dmarc, record_name};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::{Store, StoreError};
use dkimctl_state::time::Time;

use crate::dns::Dns;

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
    NoProvider(SigningDomain),
    #[error(
        "{name} has {} DMARC records ({}): receivers discard all of them, and nobody but you can say which one is meant; \
         delete all but one, then `dkimctl dmarc adopt`", .texts.len(), list(.texts)
    )]
    Several { name: Fqdn, texts: Vec<TxtText> },
    #[error("the providers show different DMARC records at {name} ({}); make them agree first", list(.texts))]
    Differ { name: Fqdn, texts: Vec<TxtText> },
    #[error("{name} holds no TXT that could be changed: {why}")]
    Unsupported { name: Fqdn, why: String },
    #[error(
        "{name} shows \"{seen}\", and not \"{wanted}\", which is the last text that is ours: somebody changed it, so \
         nothing is written; `dkimctl dmarc adopt {domain}` takes over what stands there now"
    )]
    NotOurs { name: Fqdn, domain: SigningDomain, seen: TxtText, wanted: TxtText },
    #[error(
        "{name} is empty, and the last text that is ours was \"{wanted}\": somebody removed it; `dkimctl dmarc adopt \
         {domain}` begins anew"
    )]
    Gone { name: Fqdn, domain: SigningDomain, wanted: TxtText },
    #[error("{0} changed after it was looked at; nothing was written; run the command again")]
    Changed(Fqdn),
    #[error("{name}: it is not known whether the change happened ({why}); run the command again, it looks first")]
    Unknown { name: Fqdn, why: String },
    #[error("{name} was written, but does not read back as \"{wanted}\" with the other texts untouched; look at it")]
    NotReadBack { name: Fqdn, wanted: TxtText },
    #[error("the DMARC document of {domain} cannot be read: {problem}")]
    Damaged { domain: SigningDomain, problem: String },
}

/// What stands at the name, at each provider.
#[derive(Debug, Clone)]
pub struct Look {
    pub name: Fqdn,
    pub at: Vec<(Label, AtName)>,
    /// The one DMARC text at each.
    pub texts: Vec<Option<TxtText>>,
}

impl Look {
    /// The text that all providers agree on.
    pub fn agreed(&self) -> Result<Option<TxtText>, PublishError> {
        let first = self.texts.first().cloned().flatten();
        if self.texts.iter().any(|text| *text != first) {
            let texts = self.texts.iter().flatten().cloned().collect();
            return Err(PublishError::Differ { name: self.name.clone(), texts });
        }
        Ok(first)
    }

    /// The TTL that stands there; `None` where nothing does.
    pub fn ttl(&self) -> Option<u32> {
        let ttl = |at: &AtName| if let AtName::Txt { ttl, .. } = at { Some(*ttl) } else { None };
        self.at.iter().filter_map(|(_, at)| ttl(at)).max()
    }
}

/// Looks, and refuses what nobody can edit.
pub fn look(dns: &Dns, providers: &[Label], domain: &SigningDomain) -> Result<Look, PublishError> {
    let name = record_name(domain.as_fqdn())?;
    let mut look = Look { name: name.clone(), at: Vec::new(), texts: Vec::new() };
    for label in providers {
        let seen = dns.observe(label, std::slice::from_ref(&name)).remove(&name);
        let seen = seen.unwrap_or_else(|| Err(ProviderError::NoZone(name.clone())))?;
        match &seen {
            AtName::Cname { target, .. } => {
                let why = format!("it is an alias of {target}; the record has to be changed there");
                return Err(PublishError::Unsupported { name, why });
            }
            AtName::Unsupported(why) => return Err(PublishError::Unsupported { name, why: why.clone() }),
            AtName::Absent | AtName::Txt { .. } => {}
        }
        let texts: Vec<TxtText> = seen.texts().filter(|text| looks_like_dmarc(text)).cloned().collect();
        if texts.len() > 1 {
            return Err(PublishError::Several { name, texts });
        }
        look.texts.push(texts.into_iter().next());
        look.at.push((label.clone(), seen));
    }
    if look.at.is_empty() {
        return Err(PublishError::NoProvider(domain.clone()));
    }
    Ok(look)
}

/// Makes `change`, at every provider, and reads it back. The course is kept before and after.
pub fn write(
    dns: &Dns,
    store: &mut dyn Store,
    providers: &[Label],
    course: &mut Course,
    change: Change,
    now: Time,
) -> Result<(), PublishError> {
    let domain = course.domain.clone();
    let before = look(dns, providers, &domain)?;
    for text in &before.texts {
        match text {
            Some(text) if *text == change.to || Some(text) == change.from.as_ref() => {}
            None if change.from.is_none() => {}
            Some(text) => {
                let wanted = change.from.clone().unwrap_or_else(|| change.to.clone());
                return Err(PublishError::NotOurs { name: before.name, domain, seen: text.clone(), wanted });
            }
            None => {
                let wanted = change.from.clone().unwrap_or_else(|| change.to.clone());
                return Err(PublishError::Gone { name: before.name, domain, wanted });
            }
        }
    }
    if course.pending.as_ref() != Some(&change) {
        keep(store, course, |course| course.pending = Some(change.clone()))?;
    }
    for ((label, seen), text) in before.at.iter().zip(&before.texts) {
        let name = before.name.clone();
        // All TXT records of a name share one TTL (RFC 2181 section 5.2): beside others, theirs stays.
        let others = seen.texts().any(|text| !looks_like_dmarc(text));
        let ttl = if let (AtName::Txt { ttl, .. }, true) = (seen, others) { *ttl } else { change.ttl };
        let op = match text {
            Some(text) if *text == change.to => continue,
            Some(old) => Op::Replace { name: name.clone(), old: old.clone(), new: change.to.clone(), ttl },
            None => Op::Add { name: name.clone(), text: change.to.clone(), ttl },
        };
        let outcome = dns.apply(label, vec![Guarded { op, seen: seen.clone() }]).remove(&name);
        match outcome.unwrap_or(Outcome::NotTried) {
            Outcome::Applied(_) | Outcome::Already => {}
            Outcome::Conflict(_) => return Err(PublishError::Changed(name)),
            Outcome::Rejected(error) => return Err(error.into()),
            Outcome::NotTried => return Err(PublishError::Unknown { name, why: "it was not tried".to_owned() }),
            Outcome::Unknown(why) => return Err(PublishError::Unknown { name, why }),
        }
    }
    let after = look(dns, providers, &domain)?;
    let others = |look: &Look| -> Vec<Vec<TxtText>> {
        let texts = |at: &AtName| {
            let mut texts: Vec<TxtText> = at.texts().filter(|text| !looks_like_dmarc(text)).cloned().collect();
            texts.sort();
            texts
        };
        look.at.iter().map(|(_, at)| texts(at)).collect()
    };
    if after.texts.iter().any(|text| text.as_ref() != Some(&change.to)) || others(&before) != others(&after) {
        return Err(PublishError::NotReadBack { name: after.name, wanted: change.to });
    }
    keep(store, course, |course| course.settle(change, now))
}

/// A change that was begun and not seen to end: what stands there says which.
pub fn resume(
    dns: &Dns,
    store: &mut dyn Store,
    providers: &[Label],
    course: &mut Course,
    now: Time,
) -> Result<(), PublishError> {
    let Some(change) = course.pending.clone() else { return Ok(()) };
    let look = look(dns, providers, &course.domain)?;
    if look.texts.iter().all(|text| *text == change.from) {
        // It never happened; whoever decides decides again.
        return keep(store, course, |course| course.pending = None);
    }
    write(dns, store, providers, course, change, now)
}

/// What happened to a domain's record; empty if nothing did.
pub fn course(store: &dyn Store, domain: &SigningDomain) -> Result<Course, PublishError> {
    match store.note(&key(domain))? {
        None => Ok(Course::new(domain.clone())),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| PublishError::Damaged { domain: domain.clone(), problem: error.to_string() }),
    }
}

/// Changes the course, in the state first: if somebody else changed it meanwhile, nothing is.
pub fn keep(store: &mut dyn Store, course: &mut Course, change: impl FnOnce(&mut Course)) -> Result<(), PublishError> {
    let expected = store.note(&key(&course.domain))?;
    let known = expected.as_ref().and_then(|text| serde_json::from_str::<Course>(text).ok());
    if known.as_ref().is_some_and(|known| known != course) {
        return Err(StoreError::NoteChanged(key(&course.domain)).into());
    }
    let mut next = course.clone();
    change(&mut next);
    let text = serde_json::to_string(&next).expect("a course is JSON");
    store.set_note(&key(&course.domain), expected.as_deref(), &text)?;
    *course = next;
    Ok(())
}

fn key(domain: &SigningDomain) -> String {
    format!("dmarc/{domain}")
}

fn list(texts: &[TxtText]) -> String {
    texts.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(", ")
}
