//! How keys come to a signer: one file a target, one line in [`TARGETS`].
//!
//! What `host apply` needs of any of them is a [`KeyStore`]: deliver, locate, destroy. A target opens the sealed keys,
//! compares them with the manifest, and puts each where the signer opens it, under a name that no other key ever had.

mod compose;
mod directory;
mod exec;
mod swarm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Fingerprint;

use super::order::{Delivered, KeyOrder, KeyStore, KeyStoreError};
use super::settings::HostSettings;
use crate::container::{Container, ContainerError};
use crate::files::{FileError, Owner};
use crate::sealing::Identities;
use crate::secrets::outbox::Outbox;
use crate::secrets::write::WriteError;

/// The targets there are.
pub const TARGETS: [&Target; 4] = [&directory::TARGET, &compose::TARGET, &exec::TARGET, &swarm::TARGET];

/// One way for keys.
pub struct Target {
    /// `[target] type`.
    pub name: &'static str,
    /// Whether it works through a container, or only through files of this host.
    pub needs_container: bool,
    /// Puts every key of the outbox where it is to be, and says of each what became of it.
    deliver: for<'a> fn(&Delivery<'a>) -> Result<Box<dyn KeyStore + 'a>, TargetError>,
}

/// What is delivered, and for whom.
#[derive(Clone, Copy)]
pub struct Delivery<'a> {
    pub settings: &'a HostSettings,
    pub outbox: &'a Outbox,
    pub identities: &'a Identities,
    /// The signer's own user, if `host.toml` names no owner.
    pub key_owner: Option<Owner>,
}

/// `[target]` of host.toml.
#[derive(Clone)]
pub struct Settings {
    pub target: &'static Target,
    pub compose: Option<compose::Settings>,
}

pub use compose::Settings as ComposeSettings;

/// Why no key was delivered at all.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("what `{command}` printed is not understood, so nothing was changed: {why}")]
    Strange { command: &'static str, why: String },
    #[error(
        "the containers could not be made anew with the new keys ({said}); the old ones go on as they are: run `{command}` by hand"
    )]
    Up { command: String, said: String },
}

/// Puts every key of an outbox where the signer opens it.
pub fn deliver<'a>(delivery: &Delivery<'a>) -> Result<Box<dyn KeyStore + 'a>, TargetError> {
    (delivery.settings.target.target.deliver)(delivery)
}

impl<'a> Delivery<'a> {
    fn owner(&self) -> Option<Owner> {
        self.settings.owner.or(self.key_owner)
    }

    /// The container of a target that needs one; `host.toml` was refused without it.
    fn container(&self) -> &'a Container {
        let contained = self.settings.signer.container();
        &contained.expect("a target that needs a container is refused without one").container
    }

    /// `uid:gid` for `docker exec -u`.
    fn user(&self) -> String {
        let owner = self.owner().unwrap_or(Owner { uid: 0, gid: 0 });
        format!("{}:{}", owner.uid, owner.gid)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings { target: &directory::TARGET, compose: None }
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("target", &self.target.name).finish_non_exhaustive()
    }
}

/// What became of each key.
#[derive(Default)]
struct Outcomes(BTreeMap<(SigningDomain, Fingerprint), Result<Delivered, String>>);

impl Outcomes {
    fn set(&mut self, domain: &SigningDomain, key: Fingerprint, outcome: Result<Delivered, String>) {
        self.0.insert((domain.clone(), key), outcome);
    }

    fn of(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError> {
        match self.0.get(&(domain.clone(), key.fingerprint)) {
            Some(Ok(delivered)) => Ok(delivered.clone()),
            Some(Err(why)) => Err(KeyStoreError::new(why.clone())),
            None => Err(KeyStoreError::new(format!("the outbox holds no key {}", key.fingerprint.short()))),
        }
    }
}

/// Whether a file is named as a key's own: `<selector>-<short>.private`.
fn is_of(path: &Path, key: Fingerprint) -> bool {
    let suffix = format!("-{}.private", key.short());
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&suffix))
}

/// The path of a key below the directory of keys.
fn below(dir: &Path, domain: &SigningDomain, name: &str) -> PathBuf {
    dir.join(domain.as_str()).join(name)
}
