//! What a mail host must not forget between two steps: the rows that stood before a switch, and the orders that
//! turned out wrong. Without the first, a kill between the switch and its proof would leave nothing to go back to;
//! without the second, every run of cron would switch to a signature that is known to be bad, and back.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use dkimctl_state::name::SigningDomain;
use serde::{Deserialize, Serialize};

use crate::signers::KeyName;

/// A small JSON file, replaced whole.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    notes: Notes,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Notes {
    schema: u32,
    /// The rows to go back to, for each domain whose switch is not proven yet.
    before: BTreeMap<SigningDomain, Vec<KeyName>>,
    /// The orders that were rolled back.
    refused: BTreeMap<SigningDomain, Refused>,
}

/// An order that was carried out, was wrong, and was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The digest of the order.
    pub order: String,
    /// What the probe showed.
    pub seen: String,
}

#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    #[error("{path} cannot be read, so it is not known which switches are unproven: correct its owner or mode")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not a journal of this version, so it is not known which switches are unproven: move it away after \
         checking with `dkimctl status` which selector signs"
    )]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("{path} is of schema {seen}, and this version knows {known}: use the newer dkimctl")]
    Schema { path: PathBuf, seen: u32, known: u32 },
    #[error("{path} cannot be written, and nothing is switched without a way back: make its directory writable")]
    Write { path: PathBuf, source: io::Error },
}

const SCHEMA: u32 = 1;

impl Journal {
    /// Reads the journal; a file that is not there is an empty one.
    pub fn open(path: &Path) -> Result<Journal, JournalError> {
        let path = path.to_owned();
        let notes = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| JournalError::Parse { path: path.clone(), source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Notes { schema: SCHEMA, ..Notes::default() },
            Err(source) => return Err(JournalError::Read { path, source }),
        };
        if notes.schema != SCHEMA {
            return Err(JournalError::Schema { path, seen: notes.schema, known: SCHEMA });
        }
        Ok(Journal { path, notes })
    }

    /// The rows that stood before an unproven switch.
    pub fn before(&self, domain: &SigningDomain) -> Option<&[KeyName]> {
        self.notes.before.get(domain).map(Vec::as_slice)
    }

    /// Whether any switch is unproven.
    pub fn has_unproven(&self) -> bool {
        !self.notes.before.is_empty()
    }

    pub fn refused(&self, domain: &SigningDomain) -> Option<&Refused> {
        self.notes.refused.get(domain)
    }

    /// Remembers the rows that are about to be replaced. A domain whose last switch is unproven keeps its older rows.
    pub fn remember(
        &mut self,
        rows: impl IntoIterator<Item = (SigningDomain, Vec<KeyName>)>,
    ) -> Result<(), JournalError> {
        self.edit(|notes| {
            for (domain, before) in rows {
                notes.refused.remove(&domain);
                notes.before.entry(domain).or_insert(before);
            }
        })
    }

    /// Remembers that orders are wrong.
    pub fn refuse(&mut self, orders: impl IntoIterator<Item = (SigningDomain, Refused)>) -> Result<(), JournalError> {
        self.edit(|notes| notes.refused.extend(orders))
    }

    /// The way back is not needed any more: the switch is proven, or was taken back.
    pub fn settle<'a>(&mut self, domains: impl IntoIterator<Item = &'a SigningDomain>) -> Result<(), JournalError> {
        self.edit(|notes| domains.into_iter().for_each(|domain| drop(notes.before.remove(domain))))
    }

    fn edit(&mut self, change: impl FnOnce(&mut Notes)) -> Result<(), JournalError> {
        let mut notes = self.notes.clone();
        change(&mut notes);
        if notes != self.notes {
            write(&self.path, &notes).map_err(|source| JournalError::Write { path: self.path.clone(), source })?;
            self.notes = notes;
        }
        Ok(())
    }
}

fn write(path: &Path, notes: &Notes) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::Builder::new().prefix(".dkimctl-").tempfile_in(directory)?;
    serde_json::to_writer_pretty(&mut temporary, notes)?;
    temporary.write_all(b"\n")?;
    temporary.as_file().sync_all()?;
    temporary.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_and_the_oldest_way_back_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.json");
        let domain: SigningDomain = "example.com".parse().unwrap();
        let rows = |name: &str| vec![(domain.clone(), vec![KeyName::new(name)])];

        let mut journal = Journal::open(&path).unwrap();
        assert!(!journal.has_unproven());
        journal.remember(rows("old")).unwrap();
        journal.remember(rows("new, unproven")).unwrap();
        let refused = Refused { order: "digest".into(), seen: "unsigned".into() };
        journal.refuse([(domain.clone(), refused.clone())]).unwrap();

        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.before(&domain), Some(&[KeyName::new("old")][..]));
        assert_eq!(journal.refused(&domain), Some(&refused));
        journal.settle([&domain]).unwrap();
        assert!(!Journal::open(&path).unwrap().has_unproven());
    }

    #[test]
    fn a_strange_journal_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.json");
        fs::write(&path, "{}").unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Parse { .. })));
        fs::write(&path, r#"{"schema": 2, "before": {}, "refused": {}}"#).unwrap();
        assert!(matches!(Journal::open(&path), Err(JournalError::Schema { seen: 2, .. })));
    }
}
