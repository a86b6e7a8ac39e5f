//! What a host holds, compared with what it was told to hold.

use std::path::{Path, PathBuf};

use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;

use super::manifest::{DomainOrder, Manifest};
use super::write::key_path;
use crate::files::{Dir, FileError, split};
use crate::keygen::PrivateKey;

/// One key, or one file that no order names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub domain: SigningDomain,
    /// The order's selector; `None` for a file that no order names.
    pub selector: Option<Selector>,
    pub path: PathBuf,
    pub signs: bool,
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there, and it is the key that is meant.
    Held(Fingerprint),
    /// It is not there; `dkimctl secrets write` writes it.
    Missing(Fingerprint),
    /// A file is there, and it does not hold the key that is meant.
    Wrong(Fingerprint),
    /// It could not be looked at, and why.
    Unknown(Fingerprint, String),
    /// A key is there that no order names: another tool's, or of an order that was withdrawn. It is never touched.
    Unnamed,
}

/// Every key of the manifest in its order, and after each domain the files in its directory that no order names.
pub fn list(manifest: &Manifest, dir: &Path) -> Vec<Listed> {
    manifest.domains.iter().flat_map(|order| list_domain(order, dir)).collect()
}

/// The keys of an order that lie below `dir`, opened and compared: what a receipt may call held.
pub fn held(order: &DomainOrder, dir: &Path) -> Vec<Fingerprint> {
    let held = |listed: Listed| match listed.state {
        State::Held(fingerprint) => Some(fingerprint),
        _ => None,
    };
    list_domain(order, dir).into_iter().filter_map(held).collect()
}

fn list_domain(order: &DomainOrder, dir: &Path) -> Vec<Listed> {
    let mut listed: Vec<_> = order
        .keys
        .iter()
        .map(|key| {
            let path = key_path(dir, &order.domain, key);
            let state = match look(&path) {
                Ok(None) => State::Missing(key.fingerprint),
                Ok(Some(seen)) if seen == key.fingerprint => State::Held(key.fingerprint),
                Ok(Some(_)) | Err(Unread::NoKey) => State::Wrong(key.fingerprint),
                Err(Unread::File(e)) => State::Unknown(key.fingerprint, e.to_string()),
            };
            let signs = order.sign.iter().any(|sign| sign.fingerprint == key.fingerprint);
            Listed { domain: order.domain.clone(), selector: Some(key.selector.clone()), path, signs, state }
        })
        .collect();
    let there = Dir::open(&dir.join(order.domain.as_str())).and_then(|dir| dir.names()).unwrap_or_default();
    for name in there.into_iter().filter(|name| name.ends_with(".private")) {
        let path = dir.join(order.domain.as_str()).join(name);
        if listed.iter().all(|listed| listed.path != path) {
            let domain = order.domain.clone();
            listed.push(Listed { domain, selector: None, path, signs: false, state: State::Unnamed });
        }
    }
    listed
}

enum Unread {
    File(FileError),
    NoKey,
}

fn look(path: &Path) -> Result<Option<Fingerprint>, Unread> {
    let read = || {
        let (parent, name) = split(path)?;
        match Dir::open(parent) {
            Ok(dir) => dir.read(name),
            Err(FileError::Missing { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    };
    let Some(bytes) = read().map_err(Unread::File)? else { return Ok(None) };
    PrivateKey::from_pem(&*bytes).map(|key| Some(key.fingerprint())).map_err(|_| Unread::NoKey)
}
