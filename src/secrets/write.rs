//! From sealed keys to the files that a signer reads: `<dir>/<domain>/<selector>-<short>.private`.
//!
//! A signer opens its key file for every message, so a path never changes its key: each key has a path of its own,
//! which is written once. What is written was derived from what was decrypted and compared with the signed manifest:
//! age does not say who sealed a blob.

use std::path::{Path, PathBuf};

use dkimctl_state::lifecycle::seen::{Answer, ServerAnswer, Sweep};
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::{Fingerprint, key_in};
use rayon::prelude::*;

use super::manifest::{DomainOrder, KeyOrder};
use super::outbox::{Outbox, OutboxError};
use crate::files::{Access, Dir, FileError, check_parents, set_access, split};
use crate::keygen::PrivateKey;
use crate::sealing::{self, Identities, OpenError};

/// Where keys are written, and whose they are.
#[derive(Debug, Clone)]
pub struct Target {
    /// Made if it is missing; its parents must exist.
    pub dir: PathBuf,
    /// Mode and owner of each file. OpenDKIM (RequireSafeKeys) takes 0400 and 0600 of its own user.
    pub access: Access,
}

/// Asks whether DNS serves a key; the sentence says what it serves instead.
pub type InDns<'a> = &'a (dyn Fn(&SigningDomain, &KeyOrder) -> Result<(), String> + Sync);

/// What became of one key.
#[derive(Debug)]
pub struct Written {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub fingerprint: Fingerprint,
    pub path: PathBuf,
    pub outcome: Outcome,
}

#[derive(Debug)]
pub enum Outcome {
    /// New.
    Written,
    /// It was there, with the right key, mode and owner.
    Already,
    /// It was there with the right key; its mode or owner was wrong, and is right now.
    Repaired,
    /// Nothing was written, and what was there is as it was.
    Refused(WriteError),
}

/// What became of one key that was to be destroyed.
#[derive(Debug)]
pub struct Destroyed {
    pub fingerprint: Fingerprint,
    /// The files that held it; none if it was not there.
    pub paths: Vec<PathBuf>,
    /// Whether it is certainly gone from here.
    pub outcome: Result<(), WriteError>,
}

/// Why a key is not written, or not destroyed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the blob of {} holds the key {}, which is not the one in the manifest, so it was not written: somebody exchanged it, or the outbox was mixed up; fetch it again, and rotate if it stays so", wanted.short(), seen.short())]
    OtherKey { wanted: Fingerprint, seen: Fingerprint },
    #[error("{path} is there with another content than the key {}, and nothing here overwrites a key; move it away and run the same command again", wanted.short(), path = path.display())]
    OtherContent { path: PathBuf, wanted: Fingerprint },
    #[error(
        "DNS does not show this key ({0}), so nothing says that it is ours; run `dkimctl verify` on the secure host"
    )]
    Dns(String),
    #[error("the domain's directory cannot be used: {0}")]
    Directory(String),
    #[error("the key {} is to be held by the same order, so it is not destroyed; write the outbox anew on the secure host", .0.short())]
    StillNeeded(Fingerprint),
}

/// Writes every key of the manifest that is not there yet; the results stand in the manifest's order. One refused key
/// hinders no other. An error for all comes from the target directory itself.
pub fn write(
    outbox: &Outbox,
    identities: &Identities,
    target: &Target,
    in_dns: Option<InDns<'_>>,
) -> Result<Vec<Written>, WriteError> {
    let dir = open_target(target)?;
    let each = |order: &DomainOrder| write_domain(outbox, order, identities, target, &dir, in_dns);
    Ok(outbox.manifest.domains.par_iter().flat_map_iter(each).collect())
}

/// Compares a key with what every authoritative server showed at its name: one record, with this key in it.
pub fn in_dns(key: &KeyOrder, sweep: Option<&Sweep>) -> Result<(), String> {
    let answers = sweep.map(|sweep| sweep.answers.as_slice()).unwrap_or_default();
    if answers.is_empty() {
        return Err("no name server could be asked".to_owned());
    }
    for ServerAnswer { server, answer } in answers {
        let seen = match answer {
            Answer::Txt { texts, .. } => match texts.as_slice() {
                [text] if key_in(text).is_some_and(|seen| seen == key.public) => continue,
                [text] if key_in(text).is_some() => "has another key".to_owned(),
                [_] => "has a record without a key".to_owned(),
                several => format!("has {} records, and verifiers take none of them", several.len()),
            },
            Answer::Absent => "has no record".to_owned(),
            Answer::Unknown(why) => format!("could not be asked: {why}"),
        };
        return Err(format!("{server} {seen}"));
    }
    Ok(())
}

/// Opens the blob of a key, which has to hold the key that the manifest names.
pub fn open_key(outbox: &Outbox, key: &KeyOrder, identities: &Identities) -> Result<PrivateKey, WriteError> {
    let opened = sealing::open(&outbox.blob(key)?, identities)?;
    match is_meant(&opened, key) {
        true => Ok(opened),
        false => Err(WriteError::OtherKey { wanted: key.fingerprint, seen: opened.fingerprint() }),
    }
}

/// The path of a key's file below the target directory.
pub fn key_path(dir: &Path, domain: &SigningDomain, key: &KeyOrder) -> PathBuf {
    dir.join(domain.as_str()).join(file_name(key))
}

/// Destroys the keys that the order names in `destroy`: overwritten, unlinked, durable. A file is only touched if the
/// key in it is the one meant. Twice is once.
pub fn destroy(dir: &Path, order: &DomainOrder) -> Vec<Destroyed> {
    let each = |fingerprint: &Fingerprint| {
        let mut paths = Vec::new();
        let outcome = destroy_key(dir, order, fingerprint, &mut paths);
        Destroyed { fingerprint: *fingerprint, paths, outcome }
    };
    order.destroy.iter().map(each).collect()
}

fn write_domain(
    outbox: &Outbox,
    order: &DomainOrder,
    identities: &Identities,
    target: &Target,
    dir: &Dir,
    in_dns: Option<InDns<'_>>,
) -> Vec<Written> {
    let result = |key: &KeyOrder, outcome| Written {
        domain: order.domain.clone(),
        selector: key.selector.clone(),
        fingerprint: key.fingerprint,
        path: key_path(&target.dir, &order.domain, key),
        outcome,
    };
    if order.keys.is_empty() {
        return Vec::new();
    }
    let write_all = || -> Result<Vec<Written>, FileError> {
        let dir = dir.child(order.domain.as_str(), directory_access(target))?;
        // A run that crashed may have left half a key under a name that no signer reads.
        dir.sweep()?;
        let write_key =
            |key| write_key(outbox, order, key, identities, target, &dir, in_dns).unwrap_or_else(Outcome::Refused);
        let written: Vec<_> = order.keys.iter().map(|key| result(key, write_key(key))).collect();
        // The names too must survive a power cut before anybody is told.
        dir.sync()?;
        Ok(written)
    };
    write_all().unwrap_or_else(|e| {
        let why = e.to_string();
        let mut first = Some(WriteError::File(e));
        let mut error = || first.take().unwrap_or_else(|| WriteError::Directory(why.clone()));
        order.keys.iter().map(|key| result(key, Outcome::Refused(error()))).collect()
    })
}

fn write_key(
    outbox: &Outbox,
    order: &DomainOrder,
    key: &KeyOrder,
    identities: &Identities,
    target: &Target,
    dir: &Dir,
    in_dns: Option<InDns<'_>>,
) -> Result<Outcome, WriteError> {
    // Also before a key that is there already is called right.
    if let Some(in_dns) = in_dns {
        in_dns(&order.domain, key).map_err(WriteError::Dns)?;
    }
    let name = file_name(key);
    let path = dir.path().join(&name);
    if let Some(file) = dir.open_file(&name)? {
        let again = file.try_clone().map_err(|e| FileError::io(&path, "read", e))?;
        let there = PrivateKey::from_pem(&*crate::files::read_all(again, &path)?);
        if there.is_ok_and(|there| is_meant(&there, key)) {
            let repaired = set_access(&file, &path, target.access)?;
            return Ok(if repaired { Outcome::Repaired } else { Outcome::Already });
        }
        return Err(WriteError::OtherContent { path, wanted: key.fingerprint });
    }
    let opened = open_key(outbox, key, identities)?;
    dir.create(&name, opened.pem().as_bytes(), target.access)?;
    Ok(Outcome::Written)
}

fn destroy_key(
    dir: &Path,
    order: &DomainOrder,
    fingerprint: &Fingerprint,
    paths: &mut Vec<PathBuf>,
) -> Result<(), WriteError> {
    if order.key(fingerprint).is_some() {
        return Err(WriteError::StillNeeded(*fingerprint));
    }
    let dir = match Dir::open(&dir.join(order.domain.as_str())) {
        Ok(dir) => dir,
        Err(FileError::Missing { .. }) => return Ok(()),
        Err(e) => return Err(e.into()),
    };
    dir.sweep()?;
    let suffix = format!("-{}.private", fingerprint.short());
    for name in dir.names()?.into_iter().filter(|name| name.ends_with(&suffix)) {
        let path = dir.path().join(&name);
        let Some(bytes) = dir.read(&name)? else { continue };
        // All zeros: a crash between overwriting and unlinking.
        let half_done = bytes.iter().all(|&byte| byte == 0);
        if !half_done && !PrivateKey::from_pem(&*bytes).is_ok_and(|key| key.fingerprint() == *fingerprint) {
            return Err(WriteError::OtherContent { path, wanted: *fingerprint });
        }
        dir.shred(&name)?;
        paths.push(path);
    }
    Ok(())
}

fn open_target(target: &Target) -> Result<Dir, FileError> {
    let exists = target.dir.symlink_metadata().is_ok();
    let checked = if exists { &target.dir } else { split(&target.dir)?.0 };
    check_parents(checked, target.access.owner)?;
    Dir::open_own(&target.dir, directory_access(target))
}

/// Directories are as closed as the files: their group may enter only if it may read the keys.
fn directory_access(target: &Target) -> Access {
    let mode = if target.access.mode & 0o040 != 0 { 0o750 } else { 0o700 };
    Access { mode, owner: target.access.owner }
}

/// A name that no other key ever has.
pub fn file_name(key: &KeyOrder) -> String {
    format!("{}-{}.private", key.selector, key.fingerprint.short())
}

fn is_meant(seen: &PrivateKey, wanted: &KeyOrder) -> bool {
    seen.public() == &wanted.public && seen.algorithm() == wanted.algorithm
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
