//! Copies of the whole state: one file, complete, with its SHA-256 beside it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the store is what reaches the disk

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::sqlite::{SqliteStore, fault};
use super::{Identity, Store, StoreError, chain, place};

/// Where the copies before an upgrade go, in the state's directory.
pub const FOLDER: &str = "backup";

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// `dkimctl-<lineage>-<serial>.db`; `<path>.sha256` is what `sha256sum -c` reads.
    pub path: PathBuf,
    pub sha256: String,
    pub serial: u64,
}

impl SqliteStore {
    /// Copies the state into the directory `to`, which is made if need be. Twice at one serial is once.
    pub fn backup(&self, to: &Path) -> Result<Backup, StoreError> {
        self.backup_as(to, "")
    }

    pub(super) fn backup_as(&self, to: &Path, kind: &str) -> Result<Backup, StoreError> {
        place::make(to)?;
        let to = fs::canonicalize(to).map_err(|e| place::io(to, &e))?;
        let Identity { lineage, serial, .. } = self.identity()?;
        // The lineage, so that two states may share a directory; ten digits, so that a listing by name is one by age.
        let name = format!("dkimctl-{kind}{}-{serial:010}.db", &lineage.to_string()[..8]);
        let (path, partial) = (to.join(&name), to.join(format!("{name}.new")));

        // VACUUM INTO takes an empty file, and this one nobody else may read.
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        drop(options.open(&partial).map_err(|e| place::io(&partial, &e))?);
        let target = partial.to_str().ok_or_else(|| StoreError::Io {
            path: partial.display().to_string(),
            problem: "the path is not UTF-8, which SQLite asks for; choose another directory".to_owned(),
        })?;
        let copied = self.db.execute("VACUUM INTO ?1", [target]);
        if let Err(e) = copied {
            // The copy failed, and its remains are of no use to anybody.
            let _ = fs::remove_file(&partial);
            return Err(fault(&partial, e));
        }
        let sha256 = digest(&partial).map_err(|e| place::io(&partial, &e))?;
        flush(&partial)?;
        fs::rename(&partial, &path).map_err(|e| place::io(&path, &e))?;
        let sidecar = to.join(format!("{name}.sha256"));
        fs::write(&sidecar, format!("{sha256}  {name}\n")).map_err(|e| place::io(&sidecar, &e))?;
        flush(&sidecar)?;
        place::flush(&to)?;
        Ok(Backup { path, sha256, serial })
    }
}

/// SHA-256 of a file, in hexadecimal digits.
fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(chain::hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn flush(path: &Path) -> Result<(), StoreError> {
    fs::File::open(path).and_then(|file| file.sync_all()).map_err(|e| place::io(path, &e))
}
