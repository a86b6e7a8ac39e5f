//! The embedded store: one SQLite file, one transaction for a commit.
//!
//! A rollback journal and `synchronous=EXTRA`: at rest there is one file, and what was committed survives a power
//! cut. Whoever writes holds [`super::lock::Lock`]; revisions and the epoch are checked all the same.

mod evidence;
mod open;
pub(in crate::store) mod schema;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

use super::chain::{self, Chain, fact_text, logged};
use super::high_water::{HighWater, Mark};
use super::{Change, Event, Identity, Loaded, Logged, NoteChange, Store, StoreError, Wake, document};
use crate::lifecycle::fact::Fact;
use crate::lifecycle::ledger::{Ledger, Phase};
use crate::name::SigningDomain;
use crate::record::dkim::Fingerprint;
use crate::time::Time;

pub(in crate::store) use open::fault;

/// The file's name in the state's directory.
pub const FILE: &str = "dkimctl.db";

/// How a state is opened.
#[derive(Debug, Clone)]
pub struct Options {
    pub access: Access,
    /// `<state home>/dkimctl/high-water`: where it is kept how far each state had come. `None` keeps nothing, and an
    /// older copy goes unnoticed.
    pub high_water: Option<PathBuf>,
    /// The operator's word that NFS, SMB or FUSE is meant.
    pub allow_network: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Makes no journal and changes nothing. Only a commit that was cut off by a kill is taken back.
    ReadOnly,
    ReadWrite,
}

/// A state in a directory.
#[derive(Debug)]
pub struct SqliteStore {
    pub(in crate::store) db: Connection,
    pub(in crate::store) path: PathBuf,
    pub(in crate::store) dir: PathBuf,
    /// Ours: that of the file when it was opened.
    epoch: u64,
    high_water: Option<HighWater>,
    /// A write or a flush failed. The kernel reports that once and forgets, so the next success would prove nothing.
    broken: Option<String>,
}

impl Options {
    pub fn read_only() -> Self {
        Options { access: Access::ReadOnly, high_water: None, allow_network: false }
    }

    pub fn read_write() -> Self {
        Options { access: Access::ReadWrite, ..Options::read_only() }
    }
}

impl SqliteStore {
    /// Opens `<dir>/dkimctl.db`; an older format is brought to today's after a backup.
    pub fn open(dir: &Path, options: &Options) -> Result<Self, StoreError> {
        open::open(dir, options, schema::STEPS)
    }

    /// Makes a new state in `dir`, which is made too. The caller holds the lock if the directory was there already.
    pub fn create(dir: &Path, lineage: uuid::Uuid, options: &Options) -> Result<Self, StoreError> {
        open::create(dir, lineage, options)
    }

    /// The operator's word that an older copy is to go on from where it stands. Its epoch rises, so that the newer
    /// copy is refused wherever it may come from.
    pub fn accept_older(dir: &Path, options: &Options) -> Result<Identity, StoreError> {
        open::accept_older(dir, options)
    }

    /// Fences every other writer: a process that read the old epoch commits nothing more.
    pub fn take_over(&mut self) -> Result<Identity, StoreError> {
        self.rise_above(Mark::default())
    }

    /// One statement, so that of two who try at once each gets an epoch of its own.
    fn rise_above(&mut self, known: Mark) -> Result<Identity, StoreError> {
        let update = "UPDATE meta SET epoch = max(epoch, ?1) + 1, serial = max(serial, ?2) + 1 RETURNING epoch";
        let known = (known.epoch as i64, known.serial as i64);
        let epoch = self.db.query_row(update, known, |row| row.get::<_, i64>(0)).map_err(|e| fault(&self.path, e))?;
        self.epoch = epoch as u64;
        let identity = self.identity()?;
        if let Some(high_water) = &self.high_water {
            high_water.raise(&identity)?;
        }
        Ok(identity)
    }

    /// One transaction: the epoch is ours, `work` succeeds, the serial rises; or nothing happened.
    fn write(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &mut Chain) -> Result<(), Failure>,
    ) -> Result<(), StoreError> {
        if let Some(problem) = &self.broken {
            let problem = format!("a write failed before ({problem}); start again, so that the disk is asked anew");
            return Err(StoreError::Io { path: self.path.display().to_string(), problem });
        }
        let ours = self.epoch;
        let db = &mut self.db;
        let transact = || -> Result<Identity, Failure> {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (mut identity, mut chain) = read_meta(&tx)?;
            if identity.epoch != ours {
                return Err(StoreError::Fenced { ours, found: identity.epoch }.into());
            }
            work(&tx, &mut chain)?;
            identity.serial += 1;
            tx.prepare_cached("UPDATE meta SET serial = ?1, events = ?2, head = ?3")?.execute((
                identity.serial as i64,
                chain.seq as i64,
                chain.head,
            ))?;
            tx.commit()?;
            Ok(identity)
        };
        match transact() {
            Ok(identity) => {
                // The commit holds; a mark that could not be written is only lower than it could be.
                let _ = self.high_water.as_ref().map(|high_water| high_water.raise(&identity));
                Ok(())
            }
            Err(failure) => {
                let error = failure.at(&self.path);
                if let StoreError::Io { problem, .. } = &error {
                    self.broken = Some(problem.clone());
                }
                Err(error)
            }
        }
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, StoreError> {
        work(&self.db).map_err(|failure| failure.at(&self.path))
    }
}

impl Store for SqliteStore {
    fn load(&self, domain: &SigningDomain) -> Result<Loaded, StoreError> {
        self.read(|db| {
            let mut select = db.prepare_cached("SELECT revision, wake, doc FROM domain WHERE name = ?1")?;
            let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get(2)?));
            let Some((revision, wake, doc)) = select.query_row([domain.as_str()], row).optional()? else {
                return Ok(Loaded { ledger: Ledger::new(domain.clone()), revision: 0, wake: None });
            };
            let doc: String = doc;
            let ledger = document::read(&doc).map_err(|problem| damaged(domain.as_str(), problem))?;
            if ledger.domain != *domain {
                return Err(damaged(domain.as_str(), format!("it is that of {}", ledger.domain)));
            }
            Ok(Loaded { ledger, revision: revision as u64, wake: wake.map(Time::from_unix) })
        })
    }

    fn due(&self, now: Time, limit: usize) -> Result<Vec<SigningDomain>, StoreError> {
        self.read(|db| names(db, DUE, params![now.unix(), sql_limit(limit)]))
    }

    fn next_wake(&self) -> Result<Option<Time>, StoreError> {
        self.read(|db| {
            let mut select = db.prepare_cached("SELECT min(wake) FROM domain WHERE wake IS NOT NULL")?;
            Ok(select.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(Time::from_unix))
        })
    }

    fn domains(&self, after: Option<&SigningDomain>, limit: usize) -> Result<Vec<SigningDomain>, StoreError> {
        // No name is empty, so all names come after the empty one.
        let after = after.map_or("", SigningDomain::as_str);
        let select = "SELECT name FROM domain WHERE name > ?1 ORDER BY name LIMIT ?2";
        self.read(|db| names(db, select, params![after, sql_limit(limit)]))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if changes.is_empty() {
            let found = self.identity()?.epoch;
            return if found == self.epoch { Ok(()) } else { Err(StoreError::Fenced { ours: self.epoch, found }) };
        }
        self.write(|tx, chain| changes.iter().try_for_each(|change| apply(tx, chain, change)))
    }

    fn find_key(&self, key: &Fingerprint) -> Result<Option<(SigningDomain, Phase)>, StoreError> {
        self.read(|db| {
            let found = owner(db, key)?;
            let parse = |(_, name, phase): (i64, String, String)| {
                let phase = phase_from(&phase).ok_or_else(|| damaged(&name, format!("a key is `{phase}`")))?;
                Ok((parsed(&name)?, phase))
            };
            found.map(parse).transpose()
        })
    }

    fn events(&self, domain: Option<&SigningDomain>, after: u64, limit: usize) -> Result<Vec<Logged>, StoreError> {
        self.read(|db| {
            let columns = "SELECT event.seq, domain.name, event.at, event.actor, event.fact, event.hash FROM event \
                           JOIN domain ON domain.id = event.domain";
            let (filter, name) = match domain {
                Some(domain) => ("domain.name = ?3 AND", domain.as_str()),
                None => ("?3 = '' AND", ""),
            };
            let sql = format!("{columns} WHERE {filter} event.seq > ?1 ORDER BY event.seq LIMIT ?2");
            let mut select = db.prepare_cached(&sql)?;
            let mut rows = select.query(params![i64::try_from(after).unwrap_or(i64::MAX), sql_limit(limit), name])?;
            let mut events = Vec::new();
            while let Some(row) = rows.next()? {
                events.push(event_in(row)?);
            }
            Ok(events)
        })
    }

    fn identity(&self) -> Result<Identity, StoreError> {
        self.read(|db| Ok(read_meta(db)?.0))
    }

    fn note(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.read(|db| read_note(db, key))
    }

    fn commit_with_note(&mut self, changes: &[Change], note: NoteChange<'_>) -> Result<(), StoreError> {
        self.write(|tx, chain| {
            let NoteChange { key, expected, value, wake } = note;
            if read_note(tx, key)?.as_deref() != expected {
                return Err(StoreError::NoteChanged(key.to_owned()).into());
            }
            let upsert = "INSERT INTO note (key, value) VALUES (?1, ?2) \
                          ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            tx.prepare_cached(upsert)?.execute((key, value))?;
            if let Wake::At(wake) = wake {
                set_wake(tx, key, wake)?;
            }
            changes.iter().try_for_each(|change| apply(tx, chain, change))
        })
    }

    fn notes_due(&self, prefix: &str, now: Time, limit: usize) -> Result<Vec<String>, StoreError> {
        self.read(|db| {
            let mut select = db.prepare_cached(
                "SELECT key FROM note WHERE wake <= ?1 AND substr(key, 1, length(?2)) = ?2 ORDER BY wake, key LIMIT ?3",
            )?;
            let keys = select.query_map(params![now.unix(), prefix, sql_limit(limit)], |row| row.get(0))?;
            Ok(keys.collect::<rusqlite::Result<_>>()?)
        })
    }

    fn wake_note(&mut self, key: &str, wake: Option<Time>) -> Result<(), StoreError> {
        self.write(|tx, _| set_wake(tx, key, wake))
    }
}

fn set_wake(tx: &Transaction<'_>, key: &str, wake: Option<Time>) -> Result<(), Failure> {
    tx.prepare_cached("UPDATE note SET wake = ?2 WHERE key = ?1")?.execute((key, wake.map(Time::unix)))?;
    Ok(())
}

/// Answered from the index `due` alone.
const DUE: &str = "SELECT name FROM domain WHERE wake <= ?1 ORDER BY wake, name LIMIT ?2";

/// One domain's change, within the batch's transaction.
fn apply(tx: &Transaction<'_>, chain: &mut Chain, change: &Change) -> Result<(), Failure> {
    let Change { ledger, revision: expected, wake, events } = change;
    let name = ledger.domain.as_str();
    document::sound(ledger).map_err(|problem| damaged(name, problem))?;

    let mut select = tx.prepare_cached("SELECT id, revision FROM domain WHERE name = ?1")?;
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let stored = select.query_row([name], row).optional()?;
    let found = stored.map_or(0, |(_, revision)| revision as u64);
    if found != *expected {
        return Err(StoreError::Stale { domain: ledger.domain.clone(), expected: *expected, found }.into());
    }
    let doc = document::write(ledger);
    let (revision, wake) = (found as i64 + 1, wake.map(Time::unix));
    let seal = seal(name, revision, wake, &doc);
    let id = match stored {
        Some((id, _)) => {
            let update = "UPDATE domain SET revision = ?2, wake = ?3, seal = ?4, doc = ?5 WHERE id = ?1";
            tx.prepare_cached(update)?.execute((id, revision, wake, seal, doc))?;
            id
        }
        None => {
            let insert = "INSERT INTO domain (name, revision, wake, seal, doc) VALUES (?1, ?2, ?3, ?4, ?5)";
            tx.prepare_cached(insert)?.insert((name, revision, wake, seal, doc))?
        }
    };
    write_keys(tx, id, ledger)?;
    for event in events {
        let fact = fact_text(event);
        let (seq, hash) = chain.push(chain::Row { domain: name, at: event.at, actor: &event.actor, fact: &fact });
        let insert = "INSERT INTO event (seq, domain, at, actor, fact, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let row = (seq as i64, id, event.at.unix(), &event.actor, fact, hash);
        tx.prepare_cached(insert)?.execute(row)?;
    }
    Ok(())
}

/// Brings the key table to what the ledger says. A key that left the ledger keeps its row: it lived once.
fn write_keys(tx: &Transaction<'_>, id: i64, ledger: &Ledger) -> Result<(), Failure> {
    let mut keys: Vec<_> = ledger.keys().collect();
    // The old active key steps down before the new one takes its place, or the index `one_active` would object.
    keys.sort_by_key(|(phase, _)| *phase == Phase::Active);
    for (phase, key) in keys {
        match owner(tx, &key.fingerprint)? {
            Some((owner, _, stored)) if owner == id => {
                if stored != phase.as_str() {
                    let update = "UPDATE key SET phase = ?2 WHERE fingerprint = ?1";
                    tx.prepare_cached(update)?.execute((key.fingerprint.to_string(), phase.as_str()))?;
                }
            }
            Some((_, name, _)) => {
                return Err(StoreError::KeyReused { key: key.fingerprint, domain: parsed(&name)? }.into());
            }
            None => {
                let insert =
                    "INSERT INTO key (fingerprint, domain, algorithm, selector, phase) VALUES (?1, ?2, ?3, ?4, ?5)";
                let (algorithm, selector) = (key.algorithm.as_str(), key.selector.as_str());
                let row = (key.fingerprint.to_string(), id, algorithm, selector, phase.as_str());
                tx.prepare_cached(insert)?.execute(row)?;
            }
        }
    }
    Ok(())
}

/// What a domain's row is sealed with. It guards against slips and disks; it is no signature.
pub(in crate::store) fn seal(name: &str, revision: i64, wake: Option<i64>, doc: &str) -> [u8; 32] {
    let wake = wake.map_or("-".to_owned(), |wake| wake.to_string());
    Sha256::digest(format!("{name}\n{revision}\n{wake}\n{doc}")).into()
}

pub(in crate::store) fn read_meta(db: &Connection) -> Result<(Identity, Chain), Failure> {
    let mut select = db.prepare_cached("SELECT lineage, serial, epoch, events, head FROM meta")?;
    let row = |row: &Row<'_>| {
        let lineage: String = row.get(0)?;
        let number = |column| row.get::<_, i64>(column).map(|number| number as u64);
        Ok((lineage, number(1)?, number(2)?, Chain { seq: number(3)?, head: row.get(4)? }))
    };
    let (lineage, serial, epoch, chain) = select.query_row([], row)?;
    let lineage = lineage.parse().map_err(|e| damaged("meta", format!("the lineage `{lineage}` is no UUID: {e}")))?;
    Ok((Identity { lineage, serial, epoch }, chain))
}

fn read_note(db: &Connection, key: &str) -> Result<Option<String>, Failure> {
    let mut select = db.prepare_cached("SELECT value FROM note WHERE key = ?1")?;
    Ok(select.query_row([key], |row| row.get(0)).optional()?)
}

fn owner(db: &Connection, key: &Fingerprint) -> Result<Option<(i64, String, String)>, Failure> {
    let select = "SELECT domain.id, domain.name, key.phase FROM key JOIN domain ON domain.id = key.domain \
                  WHERE key.fingerprint = ?1";
    let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    Ok(db.prepare_cached(select)?.query_row([key.to_string()], row).optional()?)
}

fn names(db: &Connection, select: &str, params: impl rusqlite::Params) -> Result<Vec<SigningDomain>, Failure> {
    let mut select = db.prepare_cached(select)?;
    let mut rows = select.query(params)?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        names.push(parsed(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(names)
}

fn event_in(row: &Row<'_>) -> Result<Logged, Failure> {
    let (name, fact): (String, String) = (row.get(1)?, row.get(4)?);
    let seq = row.get::<_, i64>(0)? as u64;
    let fact: Fact = serde_json::from_str(&fact).map_err(|e| damaged(&name, format!("event {seq}: {e}")))?;
    let event = Event { at: Time::from_unix(row.get(2)?), actor: row.get(3)?, fact };
    Ok(logged(seq, parsed(&name)?, event, &row.get::<_, [u8; 32]>(5)?))
}

fn parsed(name: &str) -> Result<SigningDomain, Failure> {
    SigningDomain::from_str(name).map_err(|e| damaged(name, e.to_string()))
}

fn phase_from(text: &str) -> Option<Phase> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

fn damaged(domain: &str, problem: String) -> Failure {
    Failure::Store(StoreError::Damaged { domain: domain.to_owned(), problem })
}

fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// What goes wrong inside, before the path is added.
#[derive(Debug)]
pub(in crate::store) enum Failure {
    Sql(rusqlite::Error),
    Store(StoreError),
}

impl Failure {
    pub(in crate::store) fn at(self, path: &Path) -> StoreError {
        match self {
            Failure::Sql(error) => fault(path, error),
            Failure::Store(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Store(error)
    }
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
