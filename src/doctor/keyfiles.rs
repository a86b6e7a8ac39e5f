//! KEY004 and KEY005: how keys lie on this host, and how Compose hands them in. Keys are told by content.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::builds::is_for_tests;
use super::compose::model::SecretSource;
use super::engine;
use super::files::Files;
use super::finding::{Findings, Place, Severity, Tier};
use super::patient::{OurKey, Ours, Patient};
use crate::keygen::PrivateKey;
use crate::report::doctor::keyfiles as said;

pub fn examine(patient: &Patient, findings: &mut Findings) {
    compose_secrets(patient, findings);
    if let Some(files) = &patient.files {
        on_this_host(files, &patient.ours, findings);
    }
}

/// Compose mounts a file secret as it lies on the host: it has no way to change its owner or mode.
fn compose_secrets(patient: &Patient, findings: &mut Findings) {
    for project in &patient.written().projects {
        for service in &project.services {
            let of_file = |source: &str| matches!(project.secrets.get(source), Some(SecretSource::File(_)));
            let from_files: Vec<_> = service.secrets.iter().filter(|secret| of_file(&secret.source)).collect();
            if !from_files.is_empty() && from_files.iter().all(|secret| secret.access.is_empty()) {
                findings.ok(
                    "KEY004",
                    Tier::Files,
                    &service.name,
                    said::access_of_host(&service.name, from_files.len()),
                );
            }
            for secret in from_files.into_iter().filter(|secret| !secret.access.is_empty()) {
                let set: Vec<String> = secret.access.iter().map(|(key, value, _)| format!("{key}: {value}")).collect();
                let origin = secret.access.first().map_or(secret.origin, |(.., origin)| *origin);
                let said = said::ignored_access(&service.name, &secret.source, &set.join(", "));
                findings.found("KEY004", Tier::Files, &service.name, said).at(project.place(origin));
            }
        }
    }
}

fn on_this_host(files: &Files, ours: &Ours, findings: &mut Findings) {
    let keys: Vec<&Path> = files.paths().filter(|path| has_private_key(files, path)).collect();
    if files.cut {
        findings.unknown("KEY005", Tier::Files, "files", said::too_many(files.paths().count()));
    } else if keys.is_empty() {
        findings.ok("KEY005", Tier::Files, "files", said::no_key(files.paths().count()));
    }
    let tracked = tracked(files);
    for path in keys {
        let about = path.display().to_string();
        let key = our_key(files, path, ours);
        let mode = std::fs::metadata(files.root.join(path)).map(|meta| meta.mode() & 0o7777).unwrap_or(0);
        match &tracked {
            Some(tracked) if tracked.contains(path) => {
                let weight = weight(&about, key);
                findings
                    .found("KEY005", Tier::Files, &about, said::tracked(&about, key))
                    .weighing(weight)
                    .at(Place::file(&about));
            }
            _ if mode & 0o004 != 0 => {
                let weight = weight(&about, key).min(Severity::Error);
                findings
                    .found("KEY005", Tier::Files, &about, said::readable(&about, mode, key))
                    .weighing(weight)
                    .at(Place::file(&about));
            }
            _ => findings.ok("KEY005", Tier::Files, &about, said::well_kept(&about, mode, tracked.is_some())),
        }
    }
}

/// A live key of ours is as bad as it gets; a key among fixtures is most likely one.
fn weight(path: &str, key: Option<&OurKey>) -> Severity {
    match key {
        Some(key) if key.is_live() => Severity::Critical,
        Some(_) => Severity::Error,
        None if is_for_tests(path) => Severity::Info,
        None if path.to_ascii_lowercase().contains("dkim") || path.ends_with(".private") => Severity::Error,
        None => Severity::Warn,
    }
}

/// What git keeps of the directory; `None` where there is no git, or no repository.
fn tracked(files: &Files) -> Option<BTreeSet<PathBuf>> {
    let environment = [("GIT_OPTIONAL_LOCKS", "0"), ("LC_ALL", "C")];
    let args = ["-c", "safe.directory=*", "-c", "core.fsmonitor=false", "ls-files", "-z"];
    let ran = engine::run("git", &args, &environment, Some(&files.root), Duration::from_secs(20)).ok()?;
    let names = ran.is_ok().then(|| ran.stdout())?;
    Some(names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect())
}

/// Whether a file holds a private key as PEM. Programs, documents and certificates with the words in them are none:
/// the block must be whole enough to be decoded.
pub fn has_private_key(files: &Files, path: &Path) -> bool {
    let length = std::fs::metadata(files.root.join(path)).map(|meta| meta.len()).unwrap_or(0);
    // A key of 16384 bits has 13 kB.
    (100..=256 << 10).contains(&length) && files.bytes(path).is_some_and(|bytes| holds_key(&bytes))
}

/// Whether these octets hold a PEM block that is a private key, plain or encrypted.
pub fn holds_key(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut rest: &str = &text;
    while let Some(at) = rest.find("-----BEGIN ") {
        rest = &rest[at + 11..];
        let Some((label, body)) = rest.split_once("-----") else { return false };
        if label.len() <= 32 && label.ends_with("PRIVATE KEY") {
            let end = body.find("-----END").unwrap_or(body.len());
            let digits = body[..end].lines().map(str::trim).filter(|line| !line.contains(':'));
            let digits: String = digits.collect();
            let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
            if digits.len() >= 40 && digits.chars().all(is_base64) && body[..end].contains('\n') {
                return true;
            }
        }
    }
    false
}

fn our_key<'a>(files: &Files, path: &Path, ours: &'a Ours) -> Option<&'a OurKey> {
    let bytes = zeroize::Zeroizing::new(files.bytes(path)?);
    let key = PrivateKey::from_pem(&*bytes).ok()?;
    ours.key(key.public())
}

#[cfg(test)]
#[path = "keyfiles_tests.rs"]
mod tests;
