//! Sealing live keys again: a recipient joined, left, or is to be replaced.
//!
//! Whoever kept a copy of an old blob can still open that copy. Leaving is therefore complete only when the keys that
//! were sealed to the one who left have been rotated away.
//!
//! A blob counts when the state knows its hash, and outboxes take no other. So the order is: the new blobs are written
//! beside the old ones and synced ([`seal_beside`]); the state is told, in one transaction; the blobs are exchanged
//! ([`settle`]). A kill before the transaction leaves the old blobs in force and new ones that the next run writes
//! over; a kill after it leaves exchanges that the next run makes up for, before it does anything else.

use dkimctl_state::record::dkim::Fingerprint;
use rayon::prelude::*;

use crate::sealing::{self, Identities, OpenError};
use crate::vault::{AgeVault, SealedKey, Vault as _, VaultError};

/// Why a key stays sealed as it was.
#[derive(Debug, thiserror::Error)]
pub enum RewrapError {
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the blob of {} holds the key {}, so it was exchanged; it stays as it is: restore the right one from a backup, or rotate", wanted.short(), seen.short())]
    OtherKey { wanted: Fingerprint, seen: Fingerprint },
}

/// Opens each key's blob with `old`, and seals it to the vault's recipients beside the old blob; durable when this
/// returns. The results stand in the order of `keys`.
pub fn seal_beside(
    vault: &AgeVault,
    old: &Identities,
    keys: &[Fingerprint],
) -> Result<Vec<Result<SealedKey, RewrapError>>, VaultError> {
    if vault.recipients().is_empty() {
        return Err(VaultError::NoRecipients);
    }
    let sealed = keys.par_iter().map(|key| seal_one(vault, old, key)).collect();
    vault.directory().sync()?;
    Ok(sealed)
}

/// Puts every blob in place that the state knows by its hash, and removes what it does not know. Returns how many were
/// exchanged. Twice is once.
pub fn settle<'k>(
    vault: &AgeVault,
    keys: impl Iterator<Item = (&'k Fingerprint, &'k str)>,
) -> Result<usize, VaultError> {
    let mut exchanged = 0;
    for (key, sha256) in keys {
        exchanged += usize::from(vault.settle(key, sha256)?);
    }
    vault.directory().sync()?;
    Ok(exchanged)
}

fn seal_one(vault: &AgeVault, old: &Identities, wanted: &Fingerprint) -> Result<SealedKey, RewrapError> {
    let key = sealing::open(&vault.blob(wanted)?, old)?;
    if key.fingerprint() != *wanted {
        return Err(RewrapError::OtherKey { wanted: *wanted, seen: key.fingerprint() });
    }
    Ok(vault.seal_beside(&key)?)
}

#[cfg(test)]
#[path = "rewrap_tests.rs"]
mod tests;
