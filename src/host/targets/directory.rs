//! Files in a directory of this host, which a container mounts as a directory. The default.
//!
//! Not as single files: a container keeps the old inode of a file mount until it is made anew.

use std::path::{Path, PathBuf};

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Fingerprint;

use super::{Delivery, Outcomes, Target, TargetError, is_of};
use crate::files::Access;
use crate::host::order::{Delivered, KeyOrder, KeyStore, KeyStoreError};
use crate::secrets::manifest::DomainOrder;
use crate::secrets::write::{self, Outcome, Written};

pub const TARGET: Target = Target {
    name: "directory",
    needs_container: false,
    deliver: |delivery| Ok(Box::new(KeyDirectory::deliver(delivery)?)),
};

/// Keys in `<dir>/<domain>/<selector>-<short>.private`.
pub struct KeyDirectory {
    dir: PathBuf,
    outcomes: Outcomes,
}

impl KeyDirectory {
    /// Writes every key of the outbox that is not there yet.
    pub fn deliver(delivery: &Delivery<'_>) -> Result<Self, TargetError> {
        let settings = delivery.settings;
        let access = Access { owner: delivery.owner(), ..Access::mode(settings.mode) };
        let target = write::Target { dir: settings.keys.clone(), access };
        let mut outcomes = Outcomes::default();
        for Written { domain, fingerprint, path, outcome, .. } in
            write::write(delivery.outbox, delivery.identities, &target, None)?
        {
            let outcome = match outcome {
                Outcome::Written => Ok(Delivered { path, wrote: true }),
                Outcome::Already | Outcome::Repaired => Ok(Delivered { path, wrote: false }),
                Outcome::Refused(why) => Err(why.to_string()),
            };
            outcomes.set(&domain, fingerprint, outcome);
        }
        Ok(KeyDirectory { dir: target.dir, outcomes })
    }

    /// Whether anything was written that was not there.
    pub fn wrote(&self) -> bool {
        self.outcomes.0.values().any(|outcome| outcome.as_ref().is_ok_and(|delivered| delivered.wrote))
    }
}

impl KeyStore for KeyDirectory {
    fn deliver(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError> {
        self.outcomes.of(domain, key)
    }

    fn locate(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError> {
        let names = match std::fs::read_dir(self.dir.join(domain.as_str())) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeyStoreError::new(error)),
        };
        let mut paths = names.filter_map(|entry| Some(entry.ok()?.path()));
        Ok(paths.find(|path: &PathBuf| is_of(Path::new(path), fingerprint)))
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
