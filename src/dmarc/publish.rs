//! How a DMARC record comes to stand at `_dmarc.<domain>`, and what is written down of it: adopted first, then changed
//! as [`crate::guarded`] does. The course is kept before and after each change.

use dkimctl_state::lifecycle::fact::{Fact, PolicyChange, PolicyRecord};
use dkimctl_state::lifecycle::staging::course::{Change, ChangeKind, Course};
use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::record::dmarc::record_name;
use dkimctl_state::store::{self, Event, NoteChange, Store, StoreError, Wake};
use dkimctl_state::time::Time;

use crate::dns::Dns;
use crate::guarded::{self, Edit, Kind, Place, Ttl};

pub use crate::guarded::{Look, PublishError};

/// Looks, and refuses what nobody can edit.
pub fn look(dns: &Dns, providers: &[Label], domain: &SigningDomain) -> Result<Look, PublishError> {
    guarded::look(dns, &place(providers, domain)?)
}

fn place<'a>(providers: &'a [Label], domain: &SigningDomain) -> Result<Place<'a>, PublishError> {
    let name = record_name(domain.as_fqdn())?;
    Ok(Place { kind: Kind::Dmarc, domain: domain.as_fqdn().clone(), name, providers })
}

/// Makes `change`, at every provider, and reads it back.
pub fn write(
    dns: &Dns,
    store: &mut dyn Store,
    providers: &[Label],
    course: &mut Course,
    change: Change,
    now: Time,
) -> Result<(), PublishError> {
    let place = place(providers, &course.domain)?;
    let before = guarded::look(dns, &place)?;
    let edit = Edit {
        replaces: &|text| text == change.from.as_ref(),
        believed: change.from.as_ref(),
        to: Some(&change.to),
        ttl: Ttl::Ours(change.ttl),
    };
    if before.texts.iter().all(|text| text.as_ref() == Some(&change.to) || *text == change.from)
        && course.pending.as_ref() != Some(&change)
    {
        keep(store, course, now, |course| course.pending = Some(change.clone()))?;
    }
    guarded::write(dns, &place, &before, &edit)?;
    settle(store, course, change, now)
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
        return keep(store, course, now, |course| course.pending = None);
    }
    write(dns, store, providers, course, change, now)
}

/// What happened to a domain's record; empty if nothing did.
pub fn course(store: &dyn Store, domain: &SigningDomain) -> Result<Course, PublishError> {
    match store.note(&key(domain))? {
        None => Ok(Course::new(domain.clone())),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| PublishError::Damaged { domain: domain.as_fqdn().clone(), problem: error.to_string() }),
    }
}

/// Changes the course, in the state first: if somebody else changed it meanwhile, nothing is. Whatever changed, the
/// domain is looked at again.
pub fn keep(
    store: &mut dyn Store,
    course: &mut Course,
    now: Time,
    change: impl FnOnce(&mut Course),
) -> Result<(), PublishError> {
    commit(store, course, now, &[], change)
}

/// Writes down that a change was read back, in the course and in the log.
pub fn settle(store: &mut dyn Store, course: &mut Course, change: Change, now: Time) -> Result<(), PublishError> {
    let fact = Fact::Policy {
        record: PolicyRecord::Dmarc,
        name: record_name(course.domain.as_fqdn())?,
        change: match change.kind {
            ChangeKind::Adopt if change.from.as_ref() == Some(&change.to) => PolicyChange::Adopted,
            ChangeKind::Adopt | ChangeKind::Climb => PolicyChange::Written,
            ChangeKind::Rollback | ChangeKind::Undo => PolicyChange::RolledBack,
        },
        from: change.from.clone(),
        to: Some(change.to.clone()),
        why: change.why.clone(),
    };
    let event = Event { at: now, actor: change.by.clone(), fact };
    let logged = guarded::logged(store, &course.domain, event)?;
    commit(store, course, now, &[logged], |course| course.settle(change, now))
}

fn commit(
    store: &mut dyn Store,
    course: &mut Course,
    now: Time,
    logged: &[store::Change],
    change: impl FnOnce(&mut Course),
) -> Result<(), PublishError> {
    let key = key(&course.domain);
    let expected = store.note(&key)?;
    let known = expected.as_ref().and_then(|text| serde_json::from_str::<Course>(text).ok());
    if known.as_ref().is_some_and(|known| known != course) {
        return Err(StoreError::NoteChanged(key).into());
    }
    let mut next = course.clone();
    change(&mut next);
    let value = serde_json::to_string(&next).expect("a course is JSON");
    let note = NoteChange { key: &key, expected: expected.as_deref(), value: &value, wake: Wake::At(Some(now)) };
    store.commit_with_note(logged, note)?;
    *course = next;
    Ok(())
}

/// The domains whose time has come.
pub fn due(store: &dyn Store, now: Time, limit: usize) -> Result<Vec<SigningDomain>, StoreError> {
    let keys = store.notes_due(KEY, now, limit)?;
    Ok(keys.iter().filter_map(|key| key.strip_prefix(KEY)?.parse().ok()).collect())
}

/// When a domain is to be looked at again.
pub fn wake(store: &mut dyn Store, domain: &SigningDomain, at: Option<Time>) -> Result<(), StoreError> {
    store.wake_note(&key(domain), at)
}

const KEY: &str = "dmarc/";

fn key(domain: &SigningDomain) -> String {
    format!("{KEY}{domain}")
}
