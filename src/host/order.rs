//! What a mail host is told, what it reports, and where its keys are.

use std::path::PathBuf;

use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, Fingerprint, PublicKey};

// What travels as it is: the key that is to sign, and what was seen to sign.
pub use crate::secrets::manifest::SignOrder;
pub use crate::secrets::receipt::{SigningSeen, Verdict};

use crate::secrets::manifest;

/// What a host is to do: the part of a manifest that is addressed to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostOrder {
    pub domains: Vec<DomainOrder>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainOrder {
    pub domain: SigningDomain,
    /// Names this order: an order that was rolled back is not tried again until the digest changes.
    pub digest: String,
    /// Every key that the host is to hold.
    pub keys: Vec<KeyOrder>,
    /// The keys that sign. None: the rows are left as they are.
    pub sign: Vec<SignOrder>,
    pub destroy: Vec<Fingerprint>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOrder {
    pub fingerprint: Fingerprint,
    pub selector: Selector,
    pub algorithm: Algorithm,
    pub public: PublicKey,
}

/// The keys on this host.
pub trait KeyStore {
    /// Ensures that the key is there: opened, compared with the public key that was ordered, written under a path of
    /// its own that no other key ever had.
    fn deliver(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError>;

    /// Where a key lies, or would lie if it were there; `None` if nothing is known of it.
    fn locate(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError>;

    /// Ensures that a key is gone; returns whether it was there.
    fn destroy(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<bool, KeyStoreError>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    pub path: PathBuf,
    /// Whether this call wrote it.
    pub wrote: bool,
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct KeyStoreError(Box<dyn std::error::Error + Send + Sync>);

/// What was done and seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    pub domains: Vec<DomainReport>,
    /// Files that were written or removed: keys and tables.
    pub writes: usize,
    pub reloads: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainReport {
    pub domain: SigningDomain,
    pub digest: String,
    /// Keys that are there and that the signer opens.
    pub held: Vec<Fingerprint>,
    /// Keys that were ordered destroyed and are gone.
    pub destroyed: Vec<Fingerprint>,
    pub signing: Vec<SigningSeen>,
    /// What stopped this domain; the others went on.
    pub problem: Option<String>,
}

impl From<&manifest::DomainOrder> for DomainOrder {
    /// An order of a manifest, in the terms of `apply`.
    fn from(order: &manifest::DomainOrder) -> Self {
        let key = |key: &manifest::KeyOrder| KeyOrder {
            fingerprint: key.fingerprint,
            selector: key.selector.clone(),
            algorithm: key.algorithm,
            public: key.public.clone(),
        };
        DomainOrder {
            domain: order.domain.clone(),
            digest: order.digest(),
            keys: order.keys.iter().map(key).collect(),
            sign: order.sign.clone(),
            destroy: order.destroy.clone(),
        }
    }
}

impl KeyStoreError {
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        KeyStoreError(error.into())
    }
}
