//! What is remembered of probes: those that were sent, and what each mailbox showed last. Kept as notes in the state.

use std::collections::BTreeMap;

use dkimctl_state::store::{Store, StoreError};
use dkimctl_state::time::Time;
use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Folder};
use super::meaning::{Meaning, Outcome};
use super::probe::Token;

const PROBES: &str = "placement/probes";
const LAST: &str = "placement/last";
const MOST_PROBES: usize = 50;
const MOST_MAILBOXES: usize = 1000;

/// One round of probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    pub token: Token,
    pub at: Time,
    pub from: String,
    /// The seeds that were written to, and that the submission server took.
    pub seeds: Vec<String>,
}

/// What a mailbox showed, as far as it is compared with the next time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    pub at: Time,
    pub outcome: String,
    /// What is compared, by its name: `folder`, `spf`, `dkim`, `selector`, `dmarc`, `ptr`, `helo`, `tls`.
    pub seen: BTreeMap<String, String>,
}

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changed {
    pub what: String,
    pub before: Option<String>,
    pub now: Option<String>,
}

impl Summary {
    pub fn of(evidence: &Evidence, meaning: &Meaning, at: Time) -> Summary {
        let mut seen = BTreeMap::new();
        let mut put = |what: &str, value: Option<String>| {
            if let Some(value) = value {
                seen.insert(what.to_owned(), value);
            }
        };
        let signature = evidence.main_signature();
        put("folder", evidence.folder.as_ref().map(folder));
        put("spf", evidence.spf.as_ref().map(|spf| spf.result.to_string()));
        put("dkim", signature.map(|signature| signature.result.to_string()));
        put("selector", signature.and_then(|signature| signature.selector.clone()));
        put("dmarc", evidence.dmarc.as_ref().map(|dmarc| dmarc.result.to_string()));
        put("ptr", evidence.client.ptr.clone());
        put("helo", evidence.client.helo.clone());
        put("tls", evidence.tls.as_ref().map(|tls| if tls.encrypted { "yes" } else { "no" }.to_owned()));
        let outcome = match meaning.outcome {
            Outcome::Ok => "ok",
            Outcome::Unknown => "unknown",
            Outcome::Failed => "failed",
        };
        Summary { at, outcome: outcome.to_owned(), seen }
    }

    /// What differs from `before`. What is not said this time is not a change.
    pub fn changes_since(&self, before: &Summary) -> Vec<Changed> {
        let differs = |(what, now): (&String, &String)| {
            let was = before.seen.get(what);
            (was != Some(now)).then(|| Changed { what: what.clone(), before: was.cloned(), now: Some(now.clone()) })
        };
        self.seen.iter().filter_map(differs).collect()
    }
}

fn folder(folder: &Folder) -> String {
    match folder {
        Folder::Inbox => "inbox".to_owned(),
        Folder::Junk => "junk".to_owned(),
        Folder::Other(name) => name.clone(),
    }
}

/// The rounds that were sent, oldest first.
pub fn sent(store: &dyn Store) -> Result<Vec<Sent>, StoreError> {
    Ok(read(store, PROBES)?.1)
}

pub fn remember_sent(store: &mut dyn Store, round: Sent) -> Result<(), StoreError> {
    let (before, mut rounds): (_, Vec<Sent>) = read(store, PROBES)?;
    rounds.push(round);
    let surplus = rounds.len().saturating_sub(MOST_PROBES);
    rounds.drain(..surplus);
    write(store, PROBES, before.as_deref(), &rounds)
}

/// What each mailbox showed last.
pub fn last(store: &dyn Store) -> Result<BTreeMap<String, Summary>, StoreError> {
    Ok(read(store, LAST)?.1)
}

pub fn remember_last(store: &mut dyn Store, seen: BTreeMap<String, Summary>) -> Result<(), StoreError> {
    let (before, mut all): (_, BTreeMap<String, Summary>) = read(store, LAST)?;
    all.extend(seen);
    while all.len() > MOST_MAILBOXES {
        let oldest = all.iter().min_by_key(|(_, summary)| summary.at).map(|(name, _)| name.clone());
        oldest.and_then(|name| all.remove(&name));
    }
    write(store, LAST, before.as_deref(), &all)
}

/// A note and what it says; one that cannot be read any more says nothing, and is written anew.
fn read<T: Default + for<'de> Deserialize<'de>>(
    store: &(impl Store + ?Sized),
    key: &str,
) -> Result<(Option<String>, T), StoreError> {
    let note = store.note(key)?;
    let value = note.as_deref().and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default();
    Ok((note, value))
}

fn write(store: &mut dyn Store, key: &str, before: Option<&str>, value: &impl Serialize) -> Result<(), StoreError> {
    let text = serde_json::to_string(value).expect("names, times and words are JSON");
    if before == Some(text.as_str()) { Ok(()) } else { store.set_note(key, before, &text) }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
