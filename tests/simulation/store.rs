//! The state of one domain in memory: commits by revision, older copies, and a commit that a power cut takes back.

use std::rc::Rc;

use dkimctl_state::lifecycle::ledger::{Ledger, Phase};
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::store::{Change, Identity, Loaded, Logged, NoteChange, Store, StoreError};
use dkimctl_state::time::Time;

use crate::sim::Sim;
use crate::tally::{Edge, Group};

/// What is on the disk.
#[derive(Clone)]
pub struct Kept {
    loaded: Loaded,
    pub serial: u64,
    /// The highest serial that was ever seen, kept elsewhere.
    pub known: u64,
    before: Option<Loaded>,
}

impl Kept {
    pub fn new(domain: SigningDomain) -> Self {
        let loaded = Loaded { ledger: Ledger::new(domain), revision: 0, wake: None };
        Kept { loaded, serial: 0, known: 0, before: None }
    }

    pub fn ledger(&self) -> &Ledger {
        &self.loaded.ledger
    }

    pub fn wake(&self) -> Option<Time> {
        self.loaded.wake
    }

    /// What a store without fsync does on a power cut.
    pub fn lose_last(&mut self) {
        if let Some(before) = self.before.take() {
            self.loaded = before;
        }
    }

    /// An older copy is put back. Where an operator insists on it, it counts as the newest from now on.
    pub fn put_back(&mut self, copy: &Kept, insists: bool) {
        self.loaded = copy.loaded.clone();
        self.serial = copy.serial;
        self.before = None;
        if insists {
            self.known += 1;
            self.serial = self.known;
            self.loaded.revision += 1_000_000;
        }
    }

    /// Whether this is an older copy than was seen before.
    pub fn is_older(&self) -> bool {
        self.serial < self.known
    }
}

/// One process's hold of the state.
pub struct Handle(pub Rc<Sim>);

impl Store for Handle {
    fn load(&self, _domain: &SigningDomain) -> Result<Loaded, StoreError> {
        let kept = self.0.kept.borrow();
        match kept.is_older() {
            true => Err(StoreError::Older { path: "state".into(), found: kept.serial, known: kept.known }),
            false => Ok(kept.loaded.clone()),
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let sim = &self.0;
        sim.edge(Edge::CommitBefore);
        for Change { ledger, revision, wake, .. } in changes {
            let mut kept = sim.kept.borrow_mut();
            if kept.loaded.revision != *revision {
                sim.tally.borrow_mut().hit(Group::Misfortune, "a stale process was refused its commit");
                let (expected, found) = (*revision, kept.loaded.revision);
                return Err(StoreError::Stale { domain: ledger.domain.clone(), expected, found });
            }
            let after = Loaded { ledger: ledger.clone(), revision: revision + 1, wake: *wake };
            kept.before = Some(std::mem::replace(&mut kept.loaded, after));
            kept.serial += 1;
            kept.known = kept.known.max(kept.serial);
            let mut tally = sim.tally.borrow_mut();
            ledger.keys().for_each(|(phase, _)| tally.hit(Group::Phase, phase.as_str()));
        }
        for event in changes.iter().flat_map(|change| &change.events) {
            sim.say(|| format!("  {:?}", event.fact));
        }
        sim.edge(Edge::CommitAfter);
        Ok(())
    }

    fn due(&self, _now: Time, _limit: usize) -> Result<Vec<SigningDomain>, StoreError> {
        Ok(Vec::new())
    }

    fn next_wake(&self) -> Result<Option<Time>, StoreError> {
        Ok(self.0.kept.borrow().wake())
    }

    fn domains(&self, _after: Option<&SigningDomain>, _limit: usize) -> Result<Vec<SigningDomain>, StoreError> {
        Ok(Vec::new())
    }

    fn find_key(&self, _key: &Fingerprint) -> Result<Option<(SigningDomain, Phase)>, StoreError> {
        Ok(None)
    }

    fn events(&self, _: Option<&SigningDomain>, _after: u64, _limit: usize) -> Result<Vec<Logged>, StoreError> {
        Ok(Vec::new())
    }

    fn identity(&self) -> Result<Identity, StoreError> {
        Ok(Identity { lineage: Default::default(), serial: self.0.kept.borrow().serial, epoch: 0 })
    }

    fn note(&self, _key: &str) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    fn commit_with_note(&mut self, changes: &[Change], _note: NoteChange<'_>) -> Result<(), StoreError> {
        self.commit(changes)
    }

    fn notes_due(&self, _prefix: &str, _now: Time, _limit: usize) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }

    fn wake_note(&mut self, _key: &str, _wake: Option<Time>) -> Result<(), StoreError> {
        Ok(())
    }
}
