//! Sealing the vault again: a recipient joined, left, or is to be replaced.
//!
//! Whoever kept a copy of an old blob can still open that copy. Leaving is therefore complete only when the keys that
//! were sealed to the one who left have been rotated away.

use dkimctl_state::record::dkim::Fingerprint;
use rayon::prelude::*;

use crate::files::FileError;
use crate::sealing::{self, Identities, OpenError};
use crate::vault::{AgeVault, SealedKey, VaultError, blob_name};

/// What became of one blob.
#[derive(Debug)]
pub struct Rewrapped {
    /// The blob's file name.
    pub blob: String,
    /// The key as it is sealed now: the state takes over its `blob_sha256`, and the outboxes are written anew.
    pub outcome: Result<SealedKey, RewrapError>,
}

/// Why a blob stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{blob} holds the key {}, so it was renamed or exchanged; it stays as it is: look at where it came from", seen.short())]
    OtherKey { blob: String, seen: Fingerprint },
}

/// Opens every blob of the vault with `old`, and seals it to the vault's recipients, in place of the old blob. A blob
/// that fails stays as it was. Interrupted and run again, it does the same once more: harmless.
pub fn rewrap(vault: &AgeVault, old: &Identities) -> Result<Vec<Rewrapped>, VaultError> {
    if vault.recipients().is_empty() {
        return Err(VaultError::NoRecipients);
    }
    let each = |blob: String| Rewrapped { outcome: rewrap_one(vault, old, &blob), blob };
    Ok(vault.names()?.into_par_iter().map(each).collect())
}

fn rewrap_one(vault: &AgeVault, old: &Identities, blob: &str) -> Result<SealedKey, RewrapError> {
    let missing = || FileError::Missing { path: vault.path().join(blob) };
    let bytes =
        vault.directory().read(blob).map_err(VaultError::from)?.ok_or_else(missing).map_err(VaultError::from)?;
    let key = sealing::open(&bytes, old)?;
    if blob_name(&key.fingerprint()) != blob {
        return Err(RewrapError::OtherKey { blob: blob.to_owned(), seen: key.fingerprint() });
    }
    Ok(vault.reseal(&key)?)
}
