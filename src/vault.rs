//! Where private keys rest: sealed blobs in a directory, one a key, that this host itself need not be able to open.

use std::path::{Path, PathBuf};

use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, Fingerprint, PublicKey};
use rayon::prelude::*;
use sha2::{Digest as _, Sha256};

use crate::files::{Access, Dir, FileError};
use crate::keygen::{self, KeyError, KeyKind, PrivateKey};
use crate::sealing::{self, Recipient};

/// Sealed blobs and their directory are nobody else's business, sealed or not.
const FILE: Access = Access::mode(0o600);
const DIRECTORY: Access = Access::mode(0o700);

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub kind: KeyKind,
}

/// A key that exists, as far as the state may know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    pub public: PublicKey,
    pub algorithm: Algorithm,
    /// To how many recipients it is sealed; any one of them opens it.
    pub recipients: usize,
    /// SHA-256 of the blob, 64 hexadecimal digits.
    pub blob_sha256: String,
}

/// How a blob stands, compared with the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    Whole,
    /// There, with another content.
    Other,
    Missing,
}

/// Makes keys and keeps them sealed.
pub trait Vault {
    /// Makes and seals keys; the results stand in the order of `wanted`. A key that is returned is durable, was read
    /// back, and can be published; one that is not may have left a blob that nobody knows, and is made anew.
    fn create(&self, wanted: &[NewKey]) -> Vec<Result<SealedKey, VaultError>> {
        self.create_watched(wanted, &|_| ())
    }

    /// The same, and calls `done` with the number of keys of this call that are finished, from several threads.
    fn create_watched(&self, wanted: &[NewKey], done: &(dyn Fn(usize) + Sync)) -> Vec<Result<SealedKey, VaultError>>;

    /// Seals a key that was made elsewhere. Twice is once, but the blob of the second time is the one that counts.
    fn adopt(&self, key: &PrivateKey) -> Result<SealedKey, VaultError>;

    /// Destroys a sealed key, for good. Twice is once.
    fn shred(&self, key: &Fingerprint) -> Result<(), VaultError>;

    /// The sealed key as it lies there.
    fn blob(&self, key: &Fingerprint) -> Result<Vec<u8>, VaultError>;
}

/// Why a key could not be made, kept or found.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(
        "no recipient is configured, and a key sealed to nobody is lost; set recipients = [\"age1...\"] and run the same command again"
    )]
    NoRecipients,
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "the sealed keys may not survive a power cut, so none of them is used: {0}; run the same command again, which makes new ones"
    )]
    NotDurable(String),
    #[error("the sealed key {} is not in {path}, so it cannot be delivered; restore it from a backup, or rotate to a new key", key.short(), path = path.display())]
    Missing { key: Fingerprint, path: PathBuf },
    #[error(
        "{what} of {domain} cannot be written down as a record name (more than 253 octets, RFC 1035 section 2.3.4); choose a shorter selector"
    )]
    NameTooLong { domain: SigningDomain, what: Selector },
}

/// Blobs in `<dir>/blobs/<short fingerprint>.age`, sealed with age.
pub struct AgeVault {
    blobs: Dir,
    recipients: Vec<Recipient>,
}

impl AgeVault {
    /// Opens the vault below `dir`, makes its directory if need be, and removes what crashed runs left behind.
    pub fn open(dir: &Path, recipients: Vec<Recipient>) -> Result<AgeVault, VaultError> {
        let blobs = Dir::open_own(&dir.join("blobs"), DIRECTORY)?;
        blobs.sweep()?;
        Ok(AgeVault { blobs, recipients })
    }

    /// The directory of the blobs.
    pub fn path(&self) -> &Path {
        self.blobs.path()
    }

    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// The keys that lie here. A blob that no state knows is an orphan of a crash before its key was recorded.
    pub fn names(&self) -> Result<Vec<String>, VaultError> {
        let names = self.blobs.names()?;
        Ok(names.into_iter().filter(|name| name.ends_with(".age") && !name.starts_with('.')).collect())
    }

    fn make(&self, new: &NewKey) -> Result<SealedKey, VaultError> {
        if !new.selector.fits(&new.domain) {
            return Err(VaultError::NameTooLong { domain: new.domain.clone(), what: new.selector.clone() });
        }
        let key = keygen::generate(new.kind)?;
        self.keep(&key, Dir::create)
    }

    /// Seals in memory, writes, reads back. The directory is synced by the caller, once for many keys.
    fn keep(
        &self,
        key: &PrivateKey,
        write: impl Fn(&Dir, &str, &[u8], Access) -> Result<(), FileError>,
    ) -> Result<SealedKey, VaultError> {
        self.keep_as(&blob_name(&key.fingerprint()), key, write)
    }

    fn keep_as(
        &self,
        name: &str,
        key: &PrivateKey,
        write: impl Fn(&Dir, &str, &[u8], Access) -> Result<(), FileError>,
    ) -> Result<SealedKey, VaultError> {
        let blob = sealing::seal(key, &self.recipients).ok_or(VaultError::NoRecipients)?;
        write(&self.blobs, name, &blob, FILE)?;
        if self.blobs.read(name)?.is_none_or(|seen| *seen != blob) {
            return Err(FileError::ReadBack { path: self.blobs.path().join(name) }.into());
        }
        Ok(SealedKey {
            public: key.public().clone(),
            algorithm: key.algorithm(),
            recipients: self.recipients.len(),
            blob_sha256: sha256_hex(&blob),
        })
    }

    /// The recipients as one word that changes when one of them does.
    pub fn sealed_to(&self) -> String {
        let mut recipients: Vec<String> = self.recipients.iter().map(ToString::to_string).collect();
        recipients.sort();
        sha256_hex(recipients.join("\n").as_bytes())
    }

    /// Whether the blob of a key is there, and the one that the state knows.
    pub fn holds(&self, key: &Fingerprint, sha256: &str) -> Result<Held, VaultError> {
        Ok(match self.blobs.read(&blob_name(key))? {
            None => Held::Missing,
            Some(blob) if sha256_hex(&blob) == sha256 => Held::Whole,
            Some(_) => Held::Other,
        })
    }

    /// Seals `key` again to this vault's recipients, beside the blob that is there. [`AgeVault::settle`] exchanges
    /// them. The directory is synced by the caller, once for many keys.
    pub(crate) fn seal_beside(&self, key: &PrivateKey) -> Result<SealedKey, VaultError> {
        self.keep_as(&next_name(&key.fingerprint()), key, Dir::replace)
    }

    /// Ends what a second sealing began: if the blob beside is the one that the state knows, it takes the old one's
    /// place; if not, it never came to count, and goes. Returns whether blobs were exchanged.
    pub(crate) fn settle(&self, key: &Fingerprint, sha256: &str) -> Result<bool, VaultError> {
        let next = next_name(key);
        let Some(blob) = self.blobs.read(&next)? else { return Ok(false) };
        let counts = sha256_hex(&blob) == sha256;
        if counts {
            self.blobs.rename(&next, &blob_name(key))?;
        } else {
            self.blobs.remove(&next)?;
        }
        Ok(counts)
    }

    pub(crate) fn directory(&self) -> &Dir {
        &self.blobs
    }

    /// Seals `key` again to this vault's recipients, in place of the blob that is there.
    pub(crate) fn reseal(&self, key: &PrivateKey) -> Result<SealedKey, VaultError> {
        let sealed = self.keep(key, Dir::replace)?;
        self.blobs.sync()?;
        Ok(sealed)
    }
}

impl Vault for AgeVault {
    fn create_watched(&self, wanted: &[NewKey], done: &(dyn Fn(usize) + Sync)) -> Vec<Result<SealedKey, VaultError>> {
        if self.recipients.is_empty() {
            return wanted.iter().map(|_| Err(VaultError::NoRecipients)).collect();
        }
        let finished = std::sync::atomic::AtomicUsize::new(0);
        let make = |new| {
            let made = self.make(new);
            done(finished.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1);
            made
        };
        let made: Vec<_> = wanted.par_iter().map(make).collect();
        // Without its name on the disk no key is durable; and an fsync that failed is not asked again, as it would lie.
        match self.blobs.sync() {
            Ok(()) => made,
            Err(e) => {
                let why = e.to_string();
                made.into_iter().map(|made| made.and_then(|_| Err(VaultError::NotDurable(why.clone())))).collect()
            }
        }
    }

    fn adopt(&self, key: &PrivateKey) -> Result<SealedKey, VaultError> {
        // A second sealing of one key differs, so there is nothing to compare: the new one takes the old one's place.
        self.reseal(key)
    }

    fn shred(&self, key: &Fingerprint) -> Result<(), VaultError> {
        self.blobs.shred(&blob_name(key))?;
        self.blobs.shred(&next_name(key))?;
        Ok(())
    }

    fn blob(&self, key: &Fingerprint) -> Result<Vec<u8>, VaultError> {
        let name = blob_name(key);
        let missing = || VaultError::Missing { key: *key, path: self.blobs.path().to_owned() };
        Ok(self.blobs.read(&name)?.ok_or_else(missing)?.to_vec())
    }
}

/// The file name of a sealed key.
pub fn blob_name(key: &Fingerprint) -> String {
    format!("{}.age", key.short())
}

/// The file name of a key that is being sealed again.
fn next_name(key: &Fingerprint) -> String {
    format!("{}.next", blob_name(key))
}

/// SHA-256 as 64 hexadecimal digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "vault_tests.rs"]
mod tests;
