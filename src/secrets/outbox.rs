//! The directory that travels from the secure host to one mail host:
//!
//! ```text
//! <outbox>/manifest.signed        what to hold, sign with and destroy
//! <outbox>/blobs/<short>.age      the sealed keys that the manifest names, and no others
//! ```
//!
//! The blobs are written before the manifest that names them, and removed after the one that does not. It may be
//! fetched in the middle of a change, so the reader checks every blob against the manifest, each by itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dkimctl_state::name::Label;
use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::time::Time;

use super::manifest::{DomainOrder, KeyOrder, Manifest, ManifestError, Seen};
use super::signed::{self, Document as _, SigningKey, VerifyKey};
use crate::files::{Access, Dir, FileError};
use crate::vault::{Vault, VaultError, sha256_hex};

/// The manifest's file name.
pub const MANIFEST: &str = "manifest.signed";

const BLOBS: &str = "blobs";
/// Readable by whoever carries it: the blobs are sealed, and the manifest is signed, not secret.
const FILE: Access = Access::mode(0o644);
const DIRECTORY: Access = Access::mode(0o755);

/// What an outbox is to say.
#[derive(Debug, Clone)]
pub struct Orders {
    pub lineage: String,
    pub host: Label,
    pub domains: Vec<DomainOrder>,
    /// The highest serial that the state remembers for this host; 0 if there was none.
    pub last_serial: u64,
}

/// What writing an outbox changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The serial of the manifest that lies there now. To be remembered by the state.
    pub serial: u64,
    /// Whether the manifest is a new one.
    pub manifest: bool,
    pub blobs_added: usize,
    pub blobs_removed: usize,
}

/// An outbox as its reader has it.
pub struct Outbox {
    dir: Dir,
    pub manifest: Manifest,
    /// To be remembered, for the next [`Outbox::open`].
    pub seen: Option<Seen>,
}

/// Why an outbox cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the orders for {host} contradict each other, so they are not written: {what}")]
    Orders { host: Label, what: String },
    #[error("the vault's blob of {} is not the one in the state: it was sealed again or changed; run `dkimctl secrets rewrap`, or restore the blob from a backup", .0.short())]
    OtherBlob(Fingerprint),
    #[error(
        "there is no manifest in {0}; fetch the outbox of this host, or write it with `dkimctl advance` on the secure host"
    )]
    NoManifest(PathBuf),
    #[error("the manifest names the key {}, whose blob is missing or not complete in {path}: the outbox may still be on its way, so run the same command again when it has arrived", key.short(), path = path.display())]
    Incomplete { key: Fingerprint, path: PathBuf },
}

/// Writes the orders for one host. What is there already is left alone: if nothing changed, nothing is written and the
/// serial stays.
pub fn write(
    path: &Path,
    orders: &Orders,
    vault: &dyn Vault,
    key: &SigningKey,
    now: Time,
) -> Result<Change, OutboxError> {
    let dir = Dir::open_own(path, DIRECTORY)?;
    dir.sweep()?;
    let blobs = dir.child(BLOBS, DIRECTORY)?;
    blobs.sweep()?;

    // What another state signed here, or what cannot be read, is simply not the manifest that we want.
    let there = dir.read(MANIFEST)?;
    let there: Option<Manifest> = there.and_then(|file| signed::verify(&file, &key.verify_key()).ok());
    let next = there.as_ref().map_or(0, |manifest| manifest.serial).max(orders.last_serial) + 1;
    let unchanged = there.filter(|there| {
        // Lower than what the state remembers: an old copy was put back. Its readers would refuse it.
        there.serial >= orders.last_serial
            && (&there.lineage, &there.host, &there.domains) == (&orders.lineage, &orders.host, &orders.domains)
    });
    let manifest = unchanged.clone().unwrap_or_else(|| Manifest {
        schema: Manifest::SCHEMA,
        lineage: orders.lineage.clone(),
        host: orders.host.clone(),
        serial: next,
        written: now,
        domains: orders.domains.clone(),
    });
    manifest.check().map_err(|what| OutboxError::Orders { host: orders.host.clone(), what })?;

    let wanted: BTreeMap<&str, &KeyOrder> = manifest.keys().map(|(_, key)| (&*key.blob, key)).collect();
    let mut blobs_added = 0;
    for (name, order) in &wanted {
        if blobs.read(name)?.is_some_and(|seen| sha256_hex(&seen) == order.blob_sha256) {
            continue;
        }
        let blob = vault.blob(&order.fingerprint)?;
        if sha256_hex(&blob) != order.blob_sha256 {
            return Err(OutboxError::OtherBlob(order.fingerprint));
        }
        blobs.replace(name, &blob, FILE)?;
        blobs_added += 1;
    }
    if blobs_added > 0 {
        blobs.sync()?;
    }
    if unchanged.is_none() {
        dir.replace(MANIFEST, &signed::sign(&manifest, key), FILE)?;
        dir.sync()?;
    }
    let mut blobs_removed = 0;
    for name in blobs.names()? {
        if name.ends_with(".age") && !wanted.contains_key(&*name) {
            blobs_removed += usize::from(blobs.remove(&name)?);
        }
    }
    if blobs_removed > 0 {
        blobs.sync()?;
    }
    Ok(Change { serial: manifest.serial, manifest: unchanged.is_none(), blobs_added, blobs_removed })
}

impl Outbox {
    /// Opens an outbox that `pinned` signed for `host`, not older than the one `last` seen.
    pub fn open(path: &Path, pinned: &VerifyKey, host: &Label, last: Option<&Seen>) -> Result<Outbox, OutboxError> {
        let (dir, file) = Self::read(path)?;
        let (manifest, seen) = Manifest::accept(&file, pinned, host, last)?;
        Ok(Outbox { dir, manifest, seen: Some(seen) })
    }

    /// The same for a job that runs once and remembers nothing: any host's manifest, if `pinned` signed it.
    pub fn open_signed(path: &Path, pinned: &VerifyKey) -> Result<Outbox, OutboxError> {
        let (dir, file) = Self::read(path)?;
        let manifest = signed::verify(&file, pinned).map_err(ManifestError::Signed)?;
        Ok(Outbox { dir, manifest, seen: None })
    }

    /// The same without asking who signed it: for a look at it, or with a comparison of every key with DNS.
    pub fn open_unverified(path: &Path) -> Result<Outbox, OutboxError> {
        let (dir, file) = Self::read(path)?;
        let manifest = signed::read_unverified(&file).map_err(ManifestError::Signed)?;
        Ok(Outbox { dir, manifest, seen: None })
    }

    fn read(path: &Path) -> Result<(Dir, Vec<u8>), OutboxError> {
        let dir = Dir::open(path)?;
        let file = dir.read(MANIFEST)?.ok_or_else(|| OutboxError::NoManifest(path.to_owned()))?;
        Ok((dir, file.to_vec()))
    }

    /// The sealed key of an order, as the manifest knows it.
    pub fn blob(&self, order: &KeyOrder) -> Result<Vec<u8>, OutboxError> {
        let path = self.dir.path().join(BLOBS);
        let incomplete = || OutboxError::Incomplete { key: order.fingerprint, path: path.clone() };
        let blobs = Dir::open(&path).map_err(|e| match e {
            FileError::Missing { .. } => incomplete(),
            e => e.into(),
        })?;
        let blob = blobs.read(&order.blob)?.ok_or_else(incomplete)?;
        if sha256_hex(&blob) == order.blob_sha256 { Ok(blob.to_vec()) } else { Err(incomplete()) }
    }
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
