//! Keys as Compose secrets with `file:`, for those who want them listed in the compose file.
//!
//! Compose mounts each file by itself and ignores `uid`, `gid` and `mode`: what counts is how the file lies on this host,
//! so it gets the signer's owner here. A file mount keeps its inode and a new secret needs a new container, so the
//! containers are made anew when the list changes: when a key is delivered and when it is destroyed, never for a switch.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Fingerprint;

use super::directory::KeyDirectory;
use super::{Delivery, Target, TargetError, is_of};
use crate::container::Mounts;
use crate::files::{Access, Dir, FileError, split};
use crate::host::order::{Delivered, KeyOrder, KeyStore, KeyStoreError};

pub const TARGET: Target =
    Target { name: "compose", needs_container: true, deliver: |delivery| Ok(Box::new(Secrets::deliver(delivery)?)) };

/// What `[target]` says for this type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The compose file that is written: secrets, and who gets them.
    pub file: PathBuf,
    /// The signer's service.
    pub service: String,
    /// Makes its container anew, run in the directory of `file`.
    pub up: Vec<String>,
}

/// Key files on this host, and the compose file that lists them.
struct Secrets<'a> {
    files: KeyDirectory,
    keys: &'a Path,
    mounts: &'a Mounts,
    settings: &'a Settings,
}

impl<'a> Secrets<'a> {
    fn deliver(delivery: &Delivery<'a>) -> Result<Self, TargetError> {
        let host = delivery.settings;
        let contained = host.signer.container().expect("host.toml is refused without [container]");
        let settings = host.target.compose.as_ref().expect("host.toml is refused without these");
        let secrets =
            Secrets { files: KeyDirectory::deliver(delivery)?, keys: &host.keys, mounts: &contained.mounts, settings };
        secrets.list(None)?;
        Ok(secrets)
    }

    /// Writes the list if it changed, and has the container made anew.
    fn list(&self, without: Option<Fingerprint>) -> Result<(), TargetError> {
        let (parent, name) = split(&self.settings.file)?;
        let dir = Dir::open(parent)?;
        let text = self.text(without)?;
        if dir.read(name)?.is_some_and(|there| *there == text.as_bytes()) && !self.files.wrote() {
            return Ok(());
        }
        dir.replace(name, text.as_bytes(), Access::mode(0o644))?;
        dir.sync()?;
        // A list that was not carried out is no list: the next run begins again.
        self.up(parent).inspect_err(|_| drop(dir.remove(name)))
    }

    fn text(&self, without: Option<Fingerprint>) -> Result<String, FileError> {
        let mut uses = String::new();
        let mut files = String::new();
        for path in self.paths()?.iter().filter(|path| without.is_none_or(|key| !is_of(path, key))) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            let domain = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
            let secret = format!("dkim-{domain}-{name}").replace('.', "-");
            let seen = self.mounts.in_container(path);
            let _ = writeln!(uses, "      - source: {secret}\n        target: {}", seen.display());
            let _ = writeln!(files, "  {secret}:\n    file: {}", path.display());
        }
        let service = &self.settings.service;
        Ok(match uses.is_empty() {
            true => format!("# Written by `dkimctl host apply`: no key yet.\nservices:\n  {service}: {{}}\n"),
            false => format!(
                "# Written by `dkimctl host apply`: the keys of the signer. No mode: Compose ignores it, and the files have theirs.\n\
                 services:\n  {service}:\n    secrets:\n{uses}\nsecrets:\n{files}"
            ),
        })
    }

    /// Every key file there is, sorted.
    fn paths(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut paths = Vec::new();
        for domain in Dir::open(self.keys)?.names()? {
            let path = self.keys.join(&domain);
            if path.is_dir() {
                let names = Dir::open(&path)?.names()?;
                paths.extend(names.iter().filter(|name| name.ends_with(".private")).map(|name| path.join(name)));
            }
        }
        paths.sort();
        Ok(paths)
    }

    fn up(&self, dir: &Path) -> Result<(), TargetError> {
        let command = self.settings.up.join(" ");
        let failed = |said: String| TargetError::Up { command: command.clone(), said };
        let [program, arguments @ ..] = &*self.settings.up else { return Err(failed("it is empty".to_owned())) };
        let output = Command::new(program)
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect())),
        }
    }
}

impl KeyStore for Secrets<'_> {
    fn deliver(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError> {
        self.files.deliver(domain, key)
    }

    fn locate(&self, domain: &SigningDomain, key: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError> {
        self.files.locate(domain, key)
    }

    /// First out of the container, which would not start without a file that it is to mount; then off the disk.
    fn destroy(&self, domain: &SigningDomain, key: Fingerprint) -> Result<bool, KeyStoreError> {
        if self.files.locate(domain, key)?.is_none() {
            return Ok(false);
        }
        self.list(Some(key)).map_err(KeyStoreError::new)?;
        self.files.destroy(domain, key)
    }
}
