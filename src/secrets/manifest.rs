//! What one host is to hold, to sign with, and to destroy.

use std::collections::HashSet;

use dkimctl_state::name::{Label, Selector, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, Fingerprint, PublicKey};
use dkimctl_state::time::Time;
use serde::{Deserialize, Serialize};

use super::signed::{self, Document, SignedError, VerifyKey};
use crate::vault::{blob_name, sha256_hex};

/// The orders for one host, complete: what is not named is not the host's business (and is not touched).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub schema: u32,
    /// The UUID of the state that gives these orders; never changes.
    pub lineage: String,
    /// The host that they are for.
    pub host: Label,
    /// Grows with every change; an older manifest is a replay.
    pub serial: u64,
    pub written: Time,
    pub domains: Vec<DomainOrder>,
}

/// The orders for one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainOrder {
    pub domain: SigningDomain,
    /// The serial of the manifest in which this order last changed: an answer to an earlier order that asked the same
    /// is no answer to this one.
    pub since: u64,
    /// Every key that the host is to hold, idle ones included.
    pub keys: Vec<KeyOrder>,
    /// The key that signs, at most one an algorithm; none: the host's tables stay as they are.
    pub sign: Vec<SignOrder>,
    /// Keys whose private half is to be destroyed.
    pub destroy: Vec<Fingerprint>,
    /// Keys that sign no more and whose record stays: whoever still uses one is to be reported.
    pub watch: Vec<WatchOrder>,
}

/// A stopped key to look out for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchOrder {
    pub fingerprint: Fingerprint,
    pub selector: Selector,
}

/// A key to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyOrder {
    pub fingerprint: Fingerprint,
    pub selector: Selector,
    pub algorithm: Algorithm,
    pub public: PublicKey,
    /// The name of the sealed key below `blobs/` of the outbox.
    pub blob: String,
    /// SHA-256 of the blob, 64 hexadecimal digits.
    pub blob_sha256: String,
}

/// A key to sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignOrder {
    pub algorithm: Algorithm,
    pub fingerprint: Fingerprint,
}

/// What a host remembers of the last manifest that it accepted, so that an older one is recognised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    pub lineage: String,
    pub serial: u64,
    /// SHA-256 of the manifest's JSON, 64 hexadecimal digits.
    pub digest: String,
}

/// Why a manifest is not acted upon.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest cannot be used: {0}")]
    Signed(#[from] SignedError),
    #[error("the manifest is for the host `{seen}`, and this is `{wanted}`; fetch the outbox of this host")]
    OtherHost { seen: Label, wanted: Label },
    #[error(
        "the manifest comes from another state (lineage {seen}, not {known}): if the state was really made anew, confirm it with `dkimctl host init`"
    )]
    OtherLineage { seen: String, known: String },
    #[error(
        "the manifest has serial {seen}, and {known} was already acted upon: this is an old copy, which could bring back a retired key; fetch the outbox again"
    )]
    Older { seen: u64, known: u64 },
    #[error(
        "two different manifests have serial {serial}: the state was restored from a backup, or there are two of it; run `dkimctl state verify` on the secure host"
    )]
    Fork { serial: u64 },
}

impl Manifest {
    /// Reads a manifest that `pinned` signed for `host`, not older than the one `last` seen.
    pub fn accept(
        file: &[u8],
        pinned: &VerifyKey,
        host: &Label,
        last: Option<&Seen>,
    ) -> Result<(Manifest, Seen), ManifestError> {
        let manifest: Manifest = signed::verify(file, pinned)?;
        if manifest.host != *host {
            return Err(ManifestError::OtherHost { seen: manifest.host, wanted: host.clone() });
        }
        let digest = signed::content_digest::<Manifest>(file)?;
        let seen = Seen { lineage: manifest.lineage.clone(), serial: manifest.serial, digest };
        if let Some(last) = last {
            seen.follows(last)?;
        }
        Ok((manifest, seen))
    }

    /// The order for a key, and its domain's.
    pub fn keys(&self) -> impl Iterator<Item = (&DomainOrder, &KeyOrder)> {
        self.domains.iter().flat_map(|order| order.keys.iter().map(move |key| (order, key)))
    }
}

impl Seen {
    fn follows(&self, last: &Seen) -> Result<(), ManifestError> {
        if self.lineage != last.lineage {
            return Err(ManifestError::OtherLineage { seen: self.lineage.clone(), known: last.lineage.clone() });
        }
        if self.serial < last.serial {
            return Err(ManifestError::Older { seen: self.serial, known: last.serial });
        }
        if self.serial == last.serial && self.digest != last.digest {
            return Err(ManifestError::Fork { serial: self.serial });
        }
        Ok(())
    }
}

impl DomainOrder {
    /// SHA-256 of the order as JSON, 64 hexadecimal digits: a receipt says by it which order it answers. Both sides
    /// serialize the same struct, so there is one form only.
    pub fn digest(&self) -> String {
        sha256_hex(&serde_json::to_vec(self).expect("an order is JSON"))
    }

    /// The key with this fingerprint.
    pub fn key(&self, fingerprint: &Fingerprint) -> Option<&KeyOrder> {
        self.keys.iter().find(|key| key.fingerprint == *fingerprint)
    }
}

impl KeyOrder {
    /// The order for a key that lies in a vault.
    pub fn new(selector: Selector, algorithm: Algorithm, public: PublicKey, blob_sha256: String) -> KeyOrder {
        let fingerprint = public.fingerprint();
        KeyOrder { fingerprint, selector, algorithm, public, blob: blob_name(&fingerprint), blob_sha256 }
    }
}

impl Document for Manifest {
    const KIND: &'static str = "dkimctl-manifest-v1";

    fn check(&self) -> Result<(), String> {
        let mut domains = HashSet::new();
        for order in &self.domains {
            if !domains.insert(&order.domain) {
                return Err(format!("{} has two orders", order.domain));
            }
            order.check().map_err(|what| format!("{}: {what}", order.domain))?;
        }
        Ok(())
    }
}

impl DomainOrder {
    fn check(&self) -> Result<(), String> {
        let (mut selectors, mut fingerprints, mut algorithms) = (HashSet::new(), HashSet::new(), HashSet::new());
        for key in &self.keys {
            let short = key.fingerprint.short();
            if key.public.fingerprint() != key.fingerprint {
                return Err(format!("the public key of {short} has another fingerprint"));
            }
            // The name is a part of a path: only the one that we would give it will do.
            if key.blob != blob_name(&key.fingerprint) {
                return Err(format!("the blob of {short} is not called {short}.age"));
            }
            if !selectors.insert(&key.selector) {
                return Err(format!("the selector {} has two keys", key.selector));
            }
            if !fingerprints.insert(key.fingerprint) {
                return Err(format!("the key {short} stands there twice"));
            }
        }
        for sign in &self.sign {
            let short = sign.fingerprint.short();
            if self.key(&sign.fingerprint).is_none_or(|key| key.algorithm != sign.algorithm) {
                return Err(format!("it is to sign {} with {short}, which is no such key of its keys", sign.algorithm));
            }
            if !algorithms.insert(sign.algorithm) {
                return Err(format!("two keys are to sign {}", sign.algorithm));
            }
        }
        match self.destroy.iter().find(|key| fingerprints.contains(key)) {
            Some(key) => Err(format!("the key {} is to be held and to be destroyed", key.short())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
