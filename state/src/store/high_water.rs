//! How far a state was seen to have come, kept apart from it: so an older copy that was restored is noticed.
//!
//! One small file for each lineage, replaced by a rename after every commit. It is not flushed: after a power cut it
//! may be lower than the truth or empty, which only means that one restore might pass unnoticed, and never that a
//! good state is refused.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the store is what reaches the disk

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Identity, StoreError, place};

/// The highest mark of one lineage on this machine.
#[derive(Debug)]
pub struct HighWater {
    path: PathBuf,
}

/// Ordered as written: an epoch that was given up never comes back, however many commits it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Mark {
    pub epoch: u64,
    pub serial: u64,
}

impl HighWater {
    /// In the directory `<state home>/dkimctl/high-water`.
    pub fn new(dir: &Path, lineage: uuid::Uuid) -> Self {
        HighWater { path: dir.join(lineage.to_string()) }
    }

    /// The mark, zero if there is none.
    pub fn read(&self) -> Mark {
        // What cannot be read says nothing: the next commit writes it anew.
        fs::read(&self.path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Refuses a state that is behind its mark.
    pub fn check(&self, state: &Path, identity: &Identity) -> Result<(), StoreError> {
        let known = self.read();
        if identity.epoch < known.epoch {
            return Err(StoreError::Fenced { ours: identity.epoch, found: known.epoch });
        }
        if identity.serial < known.serial && identity.epoch == known.epoch {
            let path = state.display().to_string();
            return Err(StoreError::Older { path, found: identity.serial, known: known.serial });
        }
        Ok(())
    }

    /// Writes the mark if it is higher.
    pub fn raise(&self, identity: &Identity) -> Result<(), StoreError> {
        let mark = Mark { epoch: identity.epoch, serial: identity.serial };
        if mark <= self.read() {
            return Ok(());
        }
        let write = || {
            let dir = self.path.parent().unwrap_or(Path::new("."));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            let partial = self.path.with_extension("new");
            fs::write(&partial, serde_json::to_vec(&mark).expect("numbers are JSON"))?;
            fs::rename(&partial, &self.path)
        };
        write().map_err(|e: std::io::Error| place::io(&self.path, &e))
    }
}
