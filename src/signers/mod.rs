//! What signs mail: one file a signer, behind one trait.
//!
//! Every signer knows a set of keys (loaded, idle or not) and says which of them sign for which domain. Rotation needs
//! no more than that: load before use, point, reload, look at a signature that was really made. Adding a signer is one
//! file that implements [`Signer`] and one line where the configuration chooses it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};

use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;
use serde::{Deserialize, Serialize};

pub mod contained;
#[cfg(test)]
pub mod fake;
pub mod milter;
pub mod opendkim;
pub mod probe;
pub mod replace;
pub mod rspamd;
pub mod safekeys;

/// What a mail host's signer can do. Every writing call is an *ensure*: twice is once, and says whether it wrote.
pub trait Signer {
    /// What kind of signer this is, for people.
    fn name(&self) -> &'static str;

    /// The user and group whose key files it opens, in numbers; `None` where nobody can tell.
    fn key_owner(&self) -> Option<(u32, u32)> {
        None
    }

    /// What the signer's tables say now.
    fn rows(&self) -> Result<Rows, SignerError>;

    /// Makes keys known without letting them sign. Nothing is taken away.
    fn load(&self, keys: &[LoadedKey]) -> Result<bool, SignerError>;

    /// Lets exactly these keys sign for these domains, in one write; other domains stay as they are. No keys at all
    /// means that the domain has no row of its own. Keys that are not loaded are refused.
    fn sign_with(&self, domains: &[(SigningDomain, Vec<KeyName>)]) -> Result<bool, SignerError>;

    /// Forgets keys. Keys that still sign are refused.
    fn unload(&self, keys: &[KeyName]) -> Result<bool, SignerError>;

    /// Tells the running signer that its tables changed. Success says that it was told, not that it obeyed:
    /// only a probe knows that.
    fn reload(&self) -> Result<(), SignerError>;

    /// Signs a message that is sent nowhere, over a connection of its own.
    fn probe(&self, domain: &SigningDomain) -> probe::Probed;

    /// Whether the signer would use a key file at this path, and if not, what to change.
    fn accepts(&self, path: &Path) -> Result<(), Vec<safekeys::Problem>>;
}

/// A signer as a host configures it: one line a kind, here and in the two functions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    OpenDkim(opendkim::Settings),
    Rspamd(rspamd::Settings),
}

/// The kinds of signers, as configuration names them.
pub const KINDS: [&str; 2] = ["opendkim", "rspamd"];

impl Settings {
    /// The container that the signer is told through, if it is one.
    pub fn container(&self) -> Option<&contained::Contained> {
        match self {
            Settings::OpenDkim(settings) => settings.container.as_ref(),
            Settings::Rspamd(settings) => settings.container.as_ref(),
        }
    }

    pub fn open(&self) -> Result<Box<dyn Signer>, SignerError> {
        match self.clone() {
            Settings::OpenDkim(settings) => Ok(Box::new(opendkim::OpenDkim::open(settings).map_err(SignerError::new)?)),
            Settings::Rspamd(settings) => Ok(Box::new(rspamd::Rspamd::open(settings).map_err(SignerError::new)?)),
        }
    }
}

/// The current mapping of a signer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rows {
    /// Every key that is known, signing or not.
    pub loaded: BTreeMap<KeyName, Loaded>,
    /// For each domain with rows of its own: the keys that sign for it.
    pub signing: BTreeMap<SigningDomain, Vec<KeyName>>,
}

/// Where a loaded key is; a part that the signer writes in a way of its own is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    pub domain: Option<SigningDomain>,
    pub selector: Option<Selector>,
    pub path: Option<PathBuf>,
}

/// A key that is to be made known to a signer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoadedKey {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub fingerprint: Fingerprint,
    pub path: PathBuf,
}

/// A signer's own name for a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KeyName(String);

/// What went wrong in a signer, in that signer's words.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SignerError(Box<dyn std::error::Error + Send + Sync>);

impl Rows {
    /// What the signer calls each key, by what the key is.
    pub fn names(&self) -> HashMap<(&SigningDomain, &Selector, &Path), &KeyName> {
        let mut names = HashMap::new();
        for (name, loaded) in &self.loaded {
            if let (Some(domain), Some(selector), Some(path)) = (&loaded.domain, &loaded.selector, &loaded.path) {
                names.entry((domain, selector, path.as_path())).or_insert(name);
            }
        }
        names
    }

    /// The keys that sign for a domain.
    pub fn signing(&self, domain: &SigningDomain) -> &[KeyName] {
        self.signing.get(domain).map(Vec::as_slice).unwrap_or_default()
    }
}

impl KeyName {
    pub fn new(name: impl Into<String>) -> Self {
        KeyName(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl SignerError {
    pub fn new(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        SignerError(error.into())
    }
}
