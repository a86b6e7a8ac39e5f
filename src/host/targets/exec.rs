//! Keys in memory of the container alone: a tmpfs, written through `docker exec`.
//!
//! No key lies on a disk of this host. The key goes through standard input, is written as the signer's own user under a
//! name that no signer reads, and renamed. A container that is made anew or restarted has none of them and answers 451:
//! it fails closed until `dkimctl secrets deliver --host` or the next `host apply` has put them back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Fingerprint;
use sha2::{Digest as _, Sha256};

use super::{Delivery, Outcomes, Target, TargetError, below, is_of};
use crate::container::{Container, ContainerError};
use crate::host::order::{Delivered, KeyOrder, KeyStore, KeyStoreError};
use crate::secrets::write::{WriteError, file_name, open_key};

pub const TARGET: Target =
    Target { name: "exec", needs_container: true, deliver: |delivery| Ok(Box::new(InContainer::deliver(delivery)?)) };

/// `$1` directory, `$2` domain, `$3` name; the key on standard input.
const PUT: &str = r#"umask 077
mkdir -p "$1/$2" && rm -f "$1/$2/.$3.partial" && cat >"$1/$2/.$3.partial" &&
chmod 0400 "$1/$2/.$3.partial" && mv "$1/$2/.$3.partial" "$1/$2/$3""#;

/// `$1` directory. What its user cannot read is not listed, as it is of no use to a signer.
const LIST: &str = r#"cd "$1" 2>/dev/null || exit 0
find . -name '*.private' -type f -readable -exec sha256sum {} +"#;

/// Keys as a container has them.
struct InContainer<'a> {
    container: &'a Container,
    user: String,
    there: Listing,
    outcomes: Outcomes,
}

/// The keys in a directory of a container, and what each file's content hashes to.
pub struct Listing {
    dir: PathBuf,
    files: BTreeMap<PathBuf, String>,
}

impl Listing {
    /// Lists as the signer's own user: what is listed, the signer can read.
    pub fn read(container: &Container, user: &str, dir: &Path) -> Result<Listing, ContainerError> {
        let list = ["sh", "-c", LIST, "sh", &dir.to_string_lossy()];
        let listing = container.exec("listing keys", Some(user), &list, None)?;
        let listing = String::from_utf8_lossy(&listing).into_owned();
        let line = |line: &str| {
            let (hash, path) = line.split_once("  ./")?;
            Some((dir.join(path), hash.to_owned()))
        };
        Ok(Listing { dir: dir.to_owned(), files: listing.lines().filter_map(line).collect() })
    }

    pub fn hash(&self, path: &Path) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    pub fn locate(&self, domain: &SigningDomain, key: Fingerprint) -> Option<PathBuf> {
        let dir = self.dir.join(domain.as_str());
        self.files.keys().find(|path| path.starts_with(&dir) && is_of(path, key)).cloned()
    }
}

pub fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|octet| format!("{octet:02x}")).collect()
}

impl<'a> InContainer<'a> {
    fn deliver(delivery: &Delivery<'a>) -> Result<Self, TargetError> {
        let (container, user, dir) = (delivery.container(), delivery.user(), &delivery.settings.keys);
        let before = Listing::read(container, &user, dir)?;
        let mut outcomes = Outcomes::default();
        let mut expected = Vec::new();
        for (order, key) in delivery.outbox.manifest.keys() {
            let (domain, name) = (&order.domain, file_name(key));
            let path = below(dir, domain, &name);
            let put = || -> Result<(String, bool), TargetError> {
                let opened = open_key(delivery.outbox, key, delivery.identities)?;
                let hash = sha256(opened.pem());
                match before.hash(&path) {
                    Some(there) if there == hash => return Ok((hash, false)),
                    Some(_) => {
                        return Err(WriteError::OtherContent { path: path.clone(), wanted: key.fingerprint }.into());
                    }
                    None => {}
                }
                let put = ["sh", "-c", PUT, "sh", &dir.to_string_lossy(), domain.as_str(), &name];
                container.exec("writing a key", Some(&user), &put, Some(opened.pem().as_bytes()))?;
                Ok((hash, true))
            };
            match put() {
                Ok((hash, wrote)) => expected.push((domain.clone(), key.fingerprint, path, hash, wrote)),
                // A container that went away ends it for all of them.
                Err(TargetError::Container(error @ ContainerError::NotRunning { .. })) => return Err(error.into()),
                Err(error) => outcomes.set(domain, key.fingerprint, Err(error.to_string())),
            }
        }
        let wrote = expected.iter().any(|(.., wrote)| *wrote);
        let there = if wrote { Listing::read(container, &user, dir)? } else { before };
        for (domain, key, path, hash, wrote) in expected {
            let outcome = match there.hash(&path) {
                Some(seen) if seen == hash => Ok(Delivered { path, wrote }),
                _ => Err(format!("{} reads back differently in {container}: it is not used", path.display())),
            };
            outcomes.set(&domain, key, outcome);
        }
        Ok(InContainer { container, user, there, outcomes })
    }
}

impl KeyStore for InContainer<'_> {
    fn deliver(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError> {
        self.outcomes.of(domain, key)
    }

    fn locate(&self, domain: &SigningDomain, key: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError> {
        Ok(self.there.locate(domain, key))
    }

    fn destroy(&self, domain: &SigningDomain, key: Fingerprint) -> Result<bool, KeyStoreError> {
        let Some(path) = self.there.locate(domain, key) else { return Ok(false) };
        let remove = ["rm", "-f", &*path.to_string_lossy()];
        self.container.exec("removing a key", Some(&self.user), &remove, None).map_err(KeyStoreError::new)?;
        Ok(true)
    }
}
