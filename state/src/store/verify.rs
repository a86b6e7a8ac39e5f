//! Whether a state is whole: every page, every document, every event, and what they say of each other.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row};

use super::chain::{self, Chain};
use super::document;
use super::sqlite::{Failure, SqliteStore, read_meta, seal};
use super::{StoreError, chain::hex};
use crate::lifecycle::fact::Fact;
use crate::lifecycle::ledger::{Ledger, Phase};
use crate::record::dkim::Algorithm;
use crate::time::Time;

/// What was looked at, and what was found wrong.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub domains: u64,
    pub keys: u64,
    pub events: u64,
    pub findings: Vec<Finding>,
}

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    #[error("the file is damaged: {0}")]
    File(String),
    #[error("{table} could not be read to its end: {problem}")]
    Unreadable { table: &'static str, problem: String },
    #[error("the chain of events breaks at event {seq}: {problem}")]
    Chain { seq: u64, problem: String },
    #[error("the document of {domain}: {problem}")]
    Document { domain: String, problem: String },
    #[error("the key {key} of {domain}: {problem}")]
    Key { key: String, domain: String, problem: String },
}

impl Report {
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

/// More of the same would help nobody: a broken file has a finding in every page.
const ENOUGH: usize = 100;

impl SqliteStore {
    /// Looks at everything. An error means that not even that could be done.
    pub fn verify(&self) -> Result<Report, StoreError> {
        // A commit in between would make the tables look as if they disagreed.
        let tx = self.db.unchecked_transaction().map_err(|e| Failure::from(e).at(&self.path))?;
        let mut report = Report::default();
        report.part("the file", |report| pages(&tx, report));
        report.part("event", |report| events(&tx, report));
        report.part("domain", |report| documents(&tx, report));
        report.part("key", |report| lost_keys(&tx, report));
        report.findings.truncate(ENOUGH);
        Ok(report)
    }
}

impl Report {
    /// A table that cannot be read is a finding, and the next is looked at all the same.
    fn part(&mut self, table: &'static str, look: impl FnOnce(&mut Report) -> Result<(), Failure>) {
        if let Err(failure) = look(self) {
            let problem = match failure {
                Failure::Sql(error) => error.to_string(),
                Failure::Store(error) => error.to_string(),
            };
            self.findings.push(Finding::Unreadable { table, problem });
        }
    }

    fn document(&mut self, domain: &str, problem: impl Into<String>) {
        self.findings.push(Finding::Document { domain: domain.to_owned(), problem: problem.into() });
    }

    fn key(&mut self, key: impl ToString, domain: &str, problem: impl Into<String>) {
        let (key, domain, problem) = (key.to_string(), domain.to_owned(), problem.into());
        self.findings.push(Finding::Key { key, domain, problem });
    }
}

fn pages(db: &Connection, report: &mut Report) -> Result<(), Failure> {
    let mut check = db.prepare(&format!("PRAGMA integrity_check({ENOUGH})"))?;
    let lines = check.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        match line? {
            ok if ok == "ok" => {}
            problem => report.findings.push(Finding::File(problem)),
        }
    }
    let mut check = db.prepare("PRAGMA foreign_key_check")?;
    let mut rows = check.query([])?;
    while let Some(row) = rows.next()? {
        let (table, row): (String, Option<i64>) = (row.get(0)?, row.get(1)?);
        let row = row.map_or("a row".to_owned(), |row| format!("row {row}"));
        report.findings.push(Finding::File(format!("{row} of {table} belongs to no domain")));
    }
    Ok(())
}

fn events(db: &Connection, report: &mut Report) -> Result<(), Failure> {
    let (_, end) = read_meta(db)?;
    let mut walked = Chain::default();
    let mut select = db.prepare(
        "SELECT event.seq, domain.name, event.at, event.actor, event.fact, event.hash FROM event \
         LEFT JOIN domain ON domain.id = event.domain ORDER BY event.seq",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        report.events += 1;
        let seq = row.get::<_, i64>(0)? as u64;
        let mut wrong = |problem: String| report.findings.push(Finding::Chain { seq, problem });
        if seq != walked.seq + 1 {
            wrong(format!("it follows event {}, so what was between them is gone", walked.seq));
            walked.seq = seq - 1;
        }
        let text = |column| row.get_ref(column).and_then(|value| Ok(value.as_str()?));
        let (domain, actor, fact) = (text(1).unwrap_or(""), text(3)?, text(4)?);
        let at = Time::from_unix(row.get(2)?);
        walked.push(chain::Row { domain, at, actor, fact });
        let kept: [u8; 32] = row.get(5)?;
        if walked.head != kept {
            wrong(format!("it was changed, or one before it (it hashes to {}, not {})", hex(&walked.head), hex(&kept)));
            // Go on from what is written: the next break is one of its own.
            walked.head = kept;
        } else if let Err(problem) = serde_json::from_str::<Fact>(fact) {
            wrong(format!("its fact cannot be read: {problem}"));
        }
    }
    if walked != end {
        let problem = format!("the log ends with it, but {} events were written", end.seq);
        report.findings.push(Finding::Chain { seq: walked.seq, problem });
    }
    Ok(())
}

fn documents(db: &Connection, report: &mut Report) -> Result<(), Failure> {
    let mut keys = db.prepare("SELECT fingerprint, algorithm, selector, phase FROM key WHERE domain = ?1")?;
    let mut select = db.prepare("SELECT id, name, revision, wake, seal, doc FROM domain ORDER BY name")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        report.domains += 1;
        let (id, name, revision, wake): (i64, String, i64, Option<i64>) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        let kept: [u8; 32] = row.get(4)?;
        let doc = row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?;
        if seal(&name, revision, wake, doc) != kept {
            report.document(&name, "its row was changed by something else than dkimctl (the seal does not fit)");
        }
        match document::read(doc) {
            Err(problem) => report.document(&name, format!("it cannot be read: {problem}")),
            Ok(ledger) => {
                rules(&name, &ledger, report);
                let columns = |row: &Row<'_>| {
                    let said = (row.get(1)?, row.get(2)?, row.get(3)?);
                    Ok((row.get::<_, String>(0)?, said))
                };
                let table = keys.query_map([id], columns)?.collect::<rusqlite::Result<BTreeMap<_, _>>>()?;
                agree(&name, &ledger, table, report);
            }
        }
    }
    Ok(())
}

/// What holds of every ledger, whoever wrote it.
fn rules(name: &str, ledger: &Ledger, report: &mut Report) {
    if ledger.domain.as_str() != name {
        report.document(name, format!("it is that of {}", ledger.domain));
    }
    if let Err(problem) = document::sound(ledger) {
        report.document(name, problem);
    }
    let mut active: BTreeMap<Algorithm, u32> = BTreeMap::new();
    let mut slots = BTreeMap::new();
    for (phase, key) in ledger.keys() {
        if key.public.fingerprint() != key.fingerprint {
            report.key(key.fingerprint, name, "its public half is that of another key");
        }
        if phase == Phase::Active {
            *active.entry(key.algorithm).or_default() += 1;
        }
        if phase != Phase::Gone && slots.insert(&key.selector, key.fingerprint).is_some() {
            report.key(key.fingerprint, name, format!("the selector {} belongs to another key too", key.selector));
        }
    }
    for (algorithm, _) in active.iter().filter(|(_, count)| **count > 1) {
        report.document(name, format!("more than one {algorithm} key is active"));
    }
}

type Said = (String, String, String);

/// The key table says what the document says; a key that is in the table alone has gone.
fn agree(name: &str, ledger: &Ledger, mut table: BTreeMap<String, Said>, report: &mut Report) {
    for (phase, key) in ledger.keys() {
        report.keys += 1;
        let fingerprint = key.fingerprint.to_string();
        let document = (key.algorithm.to_string(), key.selector.to_string(), phase.to_string());
        match table.remove(&fingerprint) {
            None => report.key(fingerprint, name, "it is not in the key table, so it could be used again"),
            Some(said) if said != document => {
                report.key(fingerprint, name, format!("the key table says {said:?}, the document {document:?}"));
            }
            Some(_) => {}
        }
    }
    for (fingerprint, (_, _, phase)) in table {
        if phase != Phase::Gone.as_str() {
            report.key(fingerprint, name, format!("the key table says it is {phase}, the document does not have it"));
        }
    }
}

/// Keys of documents that are not there.
fn lost_keys(db: &Connection, report: &mut Report) -> Result<(), Failure> {
    let mut select =
        db.prepare("SELECT fingerprint FROM key WHERE NOT EXISTS (SELECT 1 FROM domain WHERE domain.id = key.domain)")?;
    for key in select.query_map([], |row| row.get::<_, String>(0))? {
        report.key(key?, "no domain", "the key table has it, but its domain is gone");
    }
    Ok(())
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
