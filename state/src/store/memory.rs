//! A store in memory, for simulations: the same rules as the file, without JSON, and without hashing unless events
//! are kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use super::chain::{Chain, Row, fact_text, logged};
use super::{Change, Identity, Loaded, Logged, NoteChange, Store, StoreError, Wake, document};
use crate::lifecycle::ledger::{Ledger, Phase};
use crate::name::SigningDomain;
use crate::record::dkim::Fingerprint;
use crate::time::Time;

/// One process's handle on a store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
    epoch: u64,
}

#[derive(Debug, Clone)]
struct Inner {
    identity: Identity,
    domains: BTreeMap<SigningDomain, Loaded>,
    wakes: BTreeSet<(Time, SigningDomain)>,
    keys: HashMap<Fingerprint, SigningDomain>,
    notes: BTreeMap<String, String>,
    note_wakes: BTreeMap<String, Time>,
    log: Option<(Chain, Vec<Logged>)>,
}

impl MemoryStore {
    /// An empty store that forgets its events.
    pub fn new(lineage: uuid::Uuid) -> Self {
        let identity = Identity { lineage, serial: 0, epoch: 1 };
        let inner = Inner {
            identity,
            domains: BTreeMap::new(),
            wakes: BTreeSet::new(),
            keys: HashMap::new(),
            notes: BTreeMap::new(),
            note_wakes: BTreeMap::new(),
            log: None,
        };
        MemoryStore { inner: Arc::new(Mutex::new(inner)), epoch: 1 }
    }

    /// Keeps events too, chained as in the file.
    pub fn with_events(self) -> Self {
        self.inner().log.get_or_insert_default();
        self
    }

    /// The handle of another process on the same store, of the epoch that is now.
    pub fn another(&self) -> MemoryStore {
        let epoch = self.inner().identity.epoch;
        MemoryStore { inner: Arc::clone(&self.inner), epoch }
    }

    /// A copy that goes its own way: what a restored backup is.
    pub fn copy(&self) -> MemoryStore {
        let inner = self.inner().clone();
        MemoryStore { inner: Arc::new(Mutex::new(inner)), epoch: self.epoch }
    }

    /// Fences every other handle: only this one commits from now on.
    pub fn take_over(&mut self) {
        let mut inner = self.inner();
        inner.identity.epoch += 1;
        inner.identity.serial += 1;
        let epoch = inner.identity.epoch;
        drop(inner);
        self.epoch = epoch;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked under the lock is a test that failed already.
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn fenced(&self, inner: &Inner) -> Result<(), StoreError> {
        match inner.identity.epoch {
            found if found == self.epoch => Ok(()),
            found => Err(StoreError::Fenced { ours: self.epoch, found }),
        }
    }
}

impl Store for MemoryStore {
    fn load(&self, domain: &SigningDomain) -> Result<Loaded, StoreError> {
        let never = || Loaded { ledger: Ledger::new(domain.clone()), revision: 0, wake: None };
        Ok(self.inner().domains.get(domain).cloned().unwrap_or_else(never))
    }

    fn due(&self, now: Time, limit: usize) -> Result<Vec<SigningDomain>, StoreError> {
        let inner = self.inner();
        let due = inner.wakes.iter().take_while(|(wake, _)| *wake <= now).take(limit);
        Ok(due.map(|(_, domain)| domain.clone()).collect())
    }

    fn next_wake(&self) -> Result<Option<Time>, StoreError> {
        Ok(self.inner().wakes.first().map(|(wake, _)| *wake))
    }

    fn domains(&self, after: Option<&SigningDomain>, limit: usize) -> Result<Vec<SigningDomain>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let inner = self.inner();
        let range = inner.domains.range::<SigningDomain, _>((after.map_or(Unbounded, Excluded), Unbounded));
        Ok(range.take(limit).map(|(domain, _)| domain.clone()).collect())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut inner = self.inner();
        self.fenced(&inner)?;
        if changes.is_empty() {
            return Ok(());
        }
        inner.check_revisions(changes)?;
        inner.claim_keys(changes)?;
        for change in changes {
            inner.apply(change);
        }
        inner.identity.serial += 1;
        Ok(())
    }

    fn find_key(&self, key: &Fingerprint) -> Result<Option<(SigningDomain, Phase)>, StoreError> {
        let inner = self.inner();
        let Some(domain) = inner.keys.get(key) else {
            return Ok(None);
        };
        let phase = inner.domains.get(domain).and_then(|loaded| loaded.ledger.key(key)).map(|(phase, _)| phase);
        Ok(Some((domain.clone(), phase.unwrap_or(Phase::Gone))))
    }

    fn events(&self, domain: Option<&SigningDomain>, after: u64, limit: usize) -> Result<Vec<Logged>, StoreError> {
        let inner = self.inner();
        let log = inner.log.iter().flat_map(|(_, log)| log);
        let wanted = log.filter(|l| l.seq > after && domain.is_none_or(|domain| l.domain == *domain));
        Ok(wanted.take(limit).cloned().collect())
    }

    fn identity(&self) -> Result<Identity, StoreError> {
        Ok(self.inner().identity.clone())
    }

    fn note(&self, key: &str) -> Result<Option<String>, StoreError> {
        Ok(self.inner().notes.get(key).cloned())
    }

    fn commit_with_note(&mut self, changes: &[Change], note: NoteChange<'_>) -> Result<(), StoreError> {
        let NoteChange { key, expected, value, wake } = note;
        let mut inner = self.inner();
        self.fenced(&inner)?;
        if inner.notes.get(key).map(String::as_str) != expected {
            return Err(StoreError::NoteChanged(key.to_owned()));
        }
        inner.check_revisions(changes)?;
        inner.claim_keys(changes)?;
        changes.iter().for_each(|change| inner.apply(change));
        inner.notes.insert(key.to_owned(), value.to_owned());
        if let Wake::At(wake) = wake {
            inner.set_wake(key, wake);
        }
        inner.identity.serial += 1;
        Ok(())
    }

    fn notes_due(&self, prefix: &str, now: Time, limit: usize) -> Result<Vec<String>, StoreError> {
        let inner = self.inner();
        let due = inner.note_wakes.iter().filter(|(key, wake)| **wake <= now && key.starts_with(prefix));
        let mut due: Vec<(Time, String)> = due.map(|(key, wake)| (*wake, key.clone())).collect();
        due.sort();
        Ok(due.into_iter().take(limit).map(|(_, key)| key).collect())
    }

    fn wake_note(&mut self, key: &str, wake: Option<Time>) -> Result<(), StoreError> {
        let mut inner = self.inner();
        self.fenced(&inner)?;
        inner.set_wake(key, wake);
        inner.identity.serial += 1;
        Ok(())
    }
}

impl Inner {
    fn set_wake(&mut self, key: &str, wake: Option<Time>) {
        match wake.filter(|_| self.notes.contains_key(key)) {
            Some(wake) => self.note_wakes.insert(key.to_owned(), wake),
            None => self.note_wakes.remove(key),
        };
    }

    /// A domain may stand in a batch more than once; each time it expects what the time before left.
    fn check_revisions(&self, changes: &[Change]) -> Result<(), StoreError> {
        let mut seen: BTreeMap<&SigningDomain, u64> = BTreeMap::new();
        for Change { ledger, revision, .. } in changes {
            let domain = &ledger.domain;
            document::sound(ledger).map_err(|problem| StoreError::Damaged { domain: domain.to_string(), problem })?;
            let stored = self.domains.get(domain).map_or(0, |loaded| loaded.revision);
            let found = seen.entry(domain).or_insert(stored);
            if found != revision {
                return Err(StoreError::Stale { domain: domain.clone(), expected: *revision, found: *found });
            }
            *found += 1;
        }
        Ok(())
    }

    /// All keys of the batch, or none.
    fn claim_keys(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut claimed = Vec::new();
        for ledger in changes.iter().map(|change| &change.ledger) {
            for (_, key) in ledger.keys() {
                match self.keys.get(&key.fingerprint) {
                    Some(owner) if *owner == ledger.domain => {}
                    Some(owner) => {
                        let reused = StoreError::KeyReused { key: key.fingerprint, domain: owner.clone() };
                        for key in claimed {
                            self.keys.remove(&key);
                        }
                        return Err(reused);
                    }
                    None => {
                        self.keys.insert(key.fingerprint, ledger.domain.clone());
                        claimed.push(key.fingerprint);
                    }
                }
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: &Change) {
        let Change { ledger, revision, wake, events } = change;
        let domain = &ledger.domain;
        if let Some((chain, log)) = &mut self.log {
            for event in events {
                let fact = fact_text(event);
                let row = Row { domain: domain.as_str(), at: event.at, actor: &event.actor, fact: &fact };
                let (seq, hash) = chain.push(row);
                log.push(logged(seq, domain.clone(), event.clone(), &hash));
            }
        }
        let loaded = Loaded { ledger: ledger.clone(), revision: revision + 1, wake: *wake };
        let before = self.domains.insert(domain.clone(), loaded).and_then(|loaded| loaded.wake);
        if before != *wake {
            if let Some(before) = before {
                self.wakes.remove(&(before, domain.clone()));
            }
            if let Some(wake) = wake {
                self.wakes.insert((*wake, domain.clone()));
            }
        }
    }
}
