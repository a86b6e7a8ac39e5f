//! The keys on a mail host: opened with the host's own identity, compared with the manifest, written once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Fingerprint;

use super::order::{Delivered, KeyOrder, KeyStore, KeyStoreError};
use crate::sealing::Identities;
use crate::secrets::manifest::{self, DomainOrder};
use crate::secrets::outbox::Outbox;
use crate::secrets::write::{self, Outcome, Target, WriteError, Written};

/// Keys in `<dir>/<domain>/<selector>-<short>.private`.
pub struct KeyDirectory {
    dir: PathBuf,
    delivered: BTreeMap<(SigningDomain, Fingerprint), Result<Delivered, String>>,
}

impl KeyDirectory {
    /// Writes every key of the outbox that is not there yet.
    pub fn deliver_all(outbox: &Outbox, identities: &Identities, target: &Target) -> Result<Self, WriteError> {
        let each = |written: Written| {
            let result = match written.outcome {
                Outcome::Written => Ok(Delivered { path: written.path, wrote: true }),
                Outcome::Already | Outcome::Repaired => Ok(Delivered { path: written.path, wrote: false }),
                Outcome::Refused(why) => Err(why.to_string()),
            };
            ((written.domain, written.fingerprint), result)
        };
        let delivered = write::write(outbox, identities, target, None)?.into_iter().map(each).collect();
        Ok(KeyDirectory { dir: target.dir.clone(), delivered })
    }
}

impl KeyStore for KeyDirectory {
    fn deliver(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError> {
        match self.delivered.get(&(domain.clone(), key.fingerprint)) {
            Some(Ok(delivered)) => Ok(delivered.clone()),
            Some(Err(why)) => Err(KeyStoreError::new(why.clone())),
            None => Err(KeyStoreError::new(format!("the outbox holds no key {}", key.fingerprint.short()))),
        }
    }

    fn locate(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError> {
        let suffix = format!("-{}.private", fingerprint.short());
        let names = match std::fs::read_dir(self.dir.join(domain.as_str())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeyStoreError::new(error)),
        };
        let paths = names.filter_map(|entry| Some(entry.ok()?.path()));
        let named = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&suffix));
        Ok(paths.into_iter().find(|path| named(path)))
    }

    fn destroy(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<bool, KeyStoreError> {
        let order = DomainOrder {
            domain: domain.clone(),
            since: 0,
            keys: Vec::new(),
            sign: Vec::new(),
            destroy: vec![fingerprint],
            watch: Vec::new(),
        };
        let destroyed = write::destroy(&self.dir, &order).pop();
        let Some(destroyed) = destroyed else { return Ok(false) };
        destroyed.outcome.map_err(KeyStoreError::new)?;
        Ok(!destroyed.paths.is_empty())
    }
}

/// An order of a manifest, in the terms of `apply`.
pub fn order_of(order: &manifest::DomainOrder) -> super::order::DomainOrder {
    super::order::DomainOrder {
        domain: order.domain.clone(),
        digest: order.digest(),
        keys: order
            .keys
            .iter()
            .map(|key| KeyOrder {
                fingerprint: key.fingerprint,
                selector: key.selector.clone(),
                algorithm: key.algorithm,
                public: key.public.clone(),
            })
            .collect(),
        sign: order
            .sign
            .iter()
            .map(|sign| super::order::SignOrder { algorithm: sign.algorithm, fingerprint: sign.fingerprint })
            .collect(),
        destroy: order.destroy.clone(),
    }
}
