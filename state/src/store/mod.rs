//! How the facts are kept: the trait, the embedded SQLite file behind it, and a store in memory for simulations.
//!
//! A commit is all or nothing and says what it expects: each ledger names the revision it was loaded at, and the
//! whole names the writer's epoch, so that a process that was paused for a day cannot write over its successor.

pub mod backup;
pub mod chain;
pub mod document;
pub mod evidence;
pub mod export;
pub mod high_water;
pub mod lock;
pub mod memory;
pub mod place;
pub mod sqlite;
pub mod verify;

#[cfg(test)]
#[path = "bad_input_tests.rs"]
mod bad_input_tests;
#[cfg(test)]
#[path = "contract_tests.rs"]
mod contract_tests;
#[cfg(test)]
pub(crate) mod sample;

use serde::{Deserialize, Serialize};

use crate::lifecycle::fact::Fact;
use crate::lifecycle::ledger::{Ledger, Phase};
use crate::name::SigningDomain;
use crate::record::dkim::Fingerprint;
use crate::time::Time;

/// The version of SQLite that is built in.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// A ledger as it was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    pub ledger: Ledger,
    /// Grows by one with every commit of this domain; 0 for a domain that was never stored.
    pub revision: u64,
    /// When this domain is to be planned again.
    pub wake: Option<Time>,
}

/// What one commit does to one domain.
#[derive(Debug, Clone)]
pub struct Change {
    /// The ledger after `events`.
    pub ledger: Ledger,
    /// The revision that it was loaded at.
    pub revision: u64,
    pub wake: Option<Time>,
    /// The facts that led there, oldest first; they go to the event log.
    pub events: Vec<Event>,
}

/// One line of the event log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Time,
    /// Who did it: a user name, or `cron`.
    pub actor: String,
    #[serde(flatten)]
    pub fact: Fact,
}

/// An event as it is kept: chained to the one before by SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    pub seq: u64,
    pub domain: SigningDomain,
    #[serde(flatten)]
    pub event: Event,
    /// SHA-256 over the previous hash and this event, in hexadecimal digits.
    pub hash: String,
}

/// Where the facts are kept.
pub trait Store {
    /// The ledger of a domain, empty if it was never stored.
    fn load(&self, domain: &SigningDomain) -> Result<Loaded, StoreError>;

    /// Domains whose wake-up time has come, the longest overdue first.
    fn due(&self, now: Time, limit: usize) -> Result<Vec<SigningDomain>, StoreError>;

    /// When the next domain is due; `None` when only a request can change anything.
    fn next_wake(&self) -> Result<Option<Time>, StoreError>;

    /// Every stored domain in order, after `after`.
    fn domains(&self, after: Option<&SigningDomain>, limit: usize) -> Result<Vec<SigningDomain>, StoreError>;

    /// Writes all changes or none. Fails if a domain is no longer at its revision, a key was ever used elsewhere, or
    /// the epoch is not ours any more.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;

    /// The domain and phase of a key, whatever became of it.
    fn find_key(&self, key: &Fingerprint) -> Result<Option<(SigningDomain, Phase)>, StoreError>;

    /// The events of a domain, or of all, oldest first, after sequence number `after`.
    fn events(&self, domain: Option<&SigningDomain>, after: u64, limit: usize) -> Result<Vec<Logged>, StoreError>;

    /// The identity of this state, and how many commits it has seen: an older copy has a lower serial.
    fn identity(&self) -> Result<Identity, StoreError>;

    /// A small document kept beside the ledgers (a host's last receipt, the serial of its manifest).
    fn note(&self, key: &str) -> Result<Option<String>, StoreError>;

    /// Writes such a document. `expected` is the old value that it replaces.
    fn set_note(&mut self, key: &str, expected: Option<&str>, value: &str) -> Result<(), StoreError> {
        let note = NoteChange { key, expected, value, wake: Wake::AsItIs };
        self.commit_with_note(&[], note)
    }

    /// [`Store::commit`] and [`Store::set_note`] in one: both, or neither.
    fn commit_with_note(&mut self, changes: &[Change], note: NoteChange<'_>) -> Result<(), StoreError>;

    /// The keys that begin with `prefix` of documents whose time has come, the longest overdue first.
    fn notes_due(&self, prefix: &str, now: Time, limit: usize) -> Result<Vec<String>, StoreError>;

    /// When a document is to be looked at again; nothing where there is none.
    fn wake_note(&mut self, key: &str, wake: Option<Time>) -> Result<(), StoreError>;
}

/// How a document is to change.
#[derive(Debug, Clone, Copy)]
pub struct NoteChange<'n> {
    pub key: &'n str,
    /// The value that it replaces.
    pub expected: Option<&'n str>,
    pub value: &'n str,
    pub wake: Wake,
}

/// When a document is to be looked at again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    AsItIs,
    At(Option<Time>),
}

/// Which state this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Made once, never changed.
    pub lineage: uuid::Uuid,
    /// Grows by one with every commit.
    pub serial: u64,
    /// Grows whenever a writer takes over; a commit by an older epoch is refused.
    pub epoch: u64,
}

/// Why the state could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the state is in use by {0}")]
    Locked(String),
    #[error(
        "{domain} was changed by another process since it was read (revision {found}, expected {expected}); run the command again"
    )]
    Stale { domain: SigningDomain, expected: u64, found: u64 },
    #[error(
        "another process has taken over the state (epoch {found}, ours was {ours}), so nothing was written; `dkimctl status` shows where it stands"
    )]
    Fenced { ours: u64, found: u64 },
    #[error("the key {key} already belongs to {domain}; a key lives once")]
    KeyReused { key: Fingerprint, domain: SigningDomain },
    #[error(
        "{path}: there is no state here; `dkimctl init` makes one, or set `state` in dkimctl.toml to the directory where it is"
    )]
    Missing { path: String },
    #[error("{path}: {problem}")]
    NotAState { path: String, problem: String },
    #[error(
        "{path} lies on {kind}: locks and flushes cannot be trusted there, and a state may be lost. Keep it on a local \
         disk; `--allow-network-state` overrules this at your own risk"
    )]
    Network { path: String, kind: &'static str },
    #[error(
        "{path}: this is an older copy of the state (serial {found}, but serial {known} was seen on this machine); what \
         happened in between would be done again. Bring the newer copy back, or accept this one with `dkimctl state \
         accept-older`"
    )]
    Older { path: String, found: u64, known: u64 },
    #[error("{path}: the disk is full, so nothing was changed; make room and run the command again")]
    Full { path: String },
    #[error("{path}: {problem}")]
    Io { path: String, problem: String },
    #[error(
        "the document of {domain} is not one that can be kept or read: {problem}; `dkimctl state verify` looks at all of them"
    )]
    Damaged { domain: String, problem: String },
    #[error("the note `{0}` was changed by another process since it was read; run the command again")]
    NoteChanged(String),
}
