//! A file with TXT records that a zone file takes in with `$INCLUDE`: for servers that have no update protocol, or
//! zones that live in version control.
//!
//! The file is written to a sibling, synced and renamed, so that a server sees the old one or the new one and never
//! a half. The SOA serial is in the zone file around it, which is not ours: the reload command, or whoever commits
//! the file, raises it.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use dkimctl_state::name::Fqdn;

use crate::{
    AtName, Caps, ChangeId, CompareAndSet, Descriptor, DnsProvider, Guarded, Outcome, ProviderError, Visibility, Zone,
};

mod fragment;

use fragment::Fragment;

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "zonefile",
    name: "Zone file fragment ($INCLUDE)",
    credentials: "none; the file's directory must be writable",
    least_rights: "write access to one directory, and the right to run the reload command",
    rights_template: "",
    docs: "https://www.rfc-editor.org/rfc/rfc1035#section-5",
};

/// Which files, and how their server learns of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// One fragment a zone.
    pub zones: Vec<(Fqdn, PathBuf)>,
    /// The TTL, in seconds, of lines that state none: the `$TTL` of the zone file around them.
    pub default_ttl: u32,
    /// A command and its arguments, run without a shell after a write; empty for none.
    pub reload: Vec<String>,
    /// How long the command may take.
    pub reload_timeout: Duration,
}

#[derive(Debug)]
pub struct ZoneFile {
    config: Config,
    /// One writer at a time in this process; others are kept off by a lock on the directory.
    writing: Mutex<()>,
}

impl ZoneFile {
    pub fn new(config: Config) -> Self {
        ZoneFile { config, writing: Mutex::new(()) }
    }
}

impl DnsProvider for ZoneFile {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn caps(&self) -> Caps {
        Caps {
            min_ttl: 0,
            max_text: 20_000,
            max_batch: usize::MAX,
            atomic_batch: true,
            // Other runs are locked out; an editor is not.
            compare_and_set: CompareAndSet::LookAgain,
            rate: None,
        }
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        let zone = |(name, path): &(Fqdn, PathBuf)| Zone {
            id: path.display().to_string(),
            name: name.clone(),
            visibility: Visibility::Public,
        };
        Ok(self.config.zones.iter().map(zone).collect())
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        let path = self.path(zone)?;
        zone.holds(names)?;
        let octets = read(path).map_err(|error| failed("read", path, &error))?;
        let fragment = Fragment::read(&zone.name, &octets, self.config.default_ttl);
        Ok(names.iter().map(|name| fragment.at(name)).collect())
    }

    /// Of the fragment, which need not be the whole zone.
    fn list(&self, zone: &Zone) -> Result<Option<Vec<Fqdn>>, ProviderError> {
        let path = self.path(zone)?;
        let octets = read(path).map_err(|error| failed("read", path, &error))?;
        Ok(Some(Fragment::read(&zone.name, &octets, self.config.default_ttl).names_with_text()))
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        let changed = self.path(zone).and_then(|path| {
            let _one = self.writing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            self.change(zone, path, ops)
        });
        changed.unwrap_or_else(|error| vec![Outcome::Rejected(error); ops.len()])
    }
}

impl ZoneFile {
    fn path(&self, zone: &Zone) -> Result<&Path, ProviderError> {
        let found = self.config.zones.iter().find(|(name, _)| *name == zone.name);
        found.map(|(_, path)| path.as_path()).ok_or_else(|| ProviderError::NoZone(zone.name.clone()))
    }

    fn change(&self, zone: &Zone, path: &Path, ops: &[Guarded]) -> Result<Vec<Outcome>, ProviderError> {
        // A link stays a link: what it points to is replaced.
        let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let lock = File::open(directory).map_err(|error| failed("open the directory of", path, &error))?;
        lock.lock().map_err(|error| failed("lock the directory of", path, &error))?;

        let before = read(path).map_err(|error| failed("read", path, &error))?;
        let start = if before.is_empty() { heading(&zone.name, path) } else { before.clone() };
        let mut fragment = Fragment::read(&zone.name, &start, self.config.default_ttl);
        let mut outcomes: Vec<_> = ops.iter().map(|guarded| perform(&mut fragment, zone, guarded)).collect();
        if !outcomes.iter().any(|outcome| matches!(outcome, Outcome::Applied(_))) {
            return Ok(outcomes);
        }
        let after = fragment.write();
        replace(path, directory, &before, &after).map_err(|error| failed("write", path, &error))?;
        let applied = match self.reload() {
            Ok(()) => Outcome::Applied(Some(ChangeId(digest(&after)))),
            Err(why) => {
                // Otherwise the next run would find all as wanted, and nothing would ever reload it.
                let back = replace(path, directory, &after, &before);
                let file = if back.is_ok() { "the file is as it was before" } else { "the file is written" };
                Outcome::Unknown(format!(
                    "`{}` {why}, so the server may or may not serve the change; {file}: repair the command and run again",
                    self.config.reload.join(" ")
                ))
            }
        };
        for outcome in outcomes.iter_mut().filter(|outcome| matches!(outcome, Outcome::Applied(_))) {
            *outcome = applied.clone();
        }
        Ok(outcomes)
    }

    /// Runs the reload command; an error says what it did, to stand after its name.
    fn reload(&self) -> Result<(), String> {
        let Some((program, arguments)) = self.config.reload.split_first() else { return Ok(()) };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("did not start ({error})"))?;
        let deadline = Instant::now() + self.config.reload_timeout;
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(10)),
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("was not done after {} s", self.config.reload_timeout.as_secs()));
                }
                Err(error) => return Err(format!("was lost ({error})")),
            }
        };
        if status.success() {
            return Ok(());
        }
        let mut said = String::new();
        if let Some(stderr) = child.stderr.take() {
            let _ = stderr.take(500).read_to_string(&mut said);
        }
        Err(format!("ended with {status}: {}", said.trim()))
    }
}

fn perform(fragment: &mut Fragment, zone: &Zone, guarded: &Guarded) -> Outcome {
    let Guarded { op, seen } = guarded;
    if !op.name().is_in(&zone.name) {
        return Outcome::Rejected(ProviderError::NoZone(op.name().clone()));
    }
    let stands = fragment.at(op.name());
    if !stands.same_as(seen) {
        return guarded.mismatch(stands);
    }
    match op.after(&stands) {
        None => Outcome::Conflict(stands),
        Some(after) if after.same_as(&stands) => Outcome::Already,
        Some(_) => match fragment.perform(op) {
            Ok(()) => Outcome::Applied(None),
            Err(message) => Outcome::Rejected(ProviderError::Rejected { code: "zone file".into(), message }),
        },
    }
}

/// What a new fragment begins with.
fn heading(zone: &Fqdn, path: &Path) -> Vec<u8> {
    format!(
        "; DKIM, SPF and DMARC records of {zone}, kept by dkimctl.\n\
         ; The zone file takes them in with:  $INCLUDE {}\n\
         ; dkimctl adds, replaces and removes only values that it knows as its own. All other lines, and comments on\n\
         ; lines of their own, stay as they are: add what you like. After a change the zone's SOA serial must rise.\n\n",
        path.display()
    )
    .into_bytes()
}

/// The file's octets; none for a file that is not there yet.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Puts `after` where `before` was, whole or not at all, with the same mode and owner.
fn replace(path: &Path, directory: &Path, before: &[u8], after: &[u8]) -> io::Result<()> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = directory.join(format!(".{file_name}.dkimctl-partial"));
    // Under the lock nobody else is writing it: it is what a run that was cut off left behind.
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(&partial)?;
    let written = (|| {
        file.write_all(after)?;
        match fs::metadata(path) {
            Ok(old) => {
                file.set_permissions(fs::Permissions::from_mode(old.mode() & 0o7777))?;
                let new = file.metadata()?;
                if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
                    std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
                }
            }
            // A name server runs as somebody else, and nothing in here is secret.
            Err(_) => file.set_permissions(fs::Permissions::from_mode(0o644))?,
        }
        file.sync_all()?;
        if read(path)? != before {
            return Err(io::Error::other("somebody else has just changed it; run the same command again"));
        }
        fs::rename(&partial, path)?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        let _ = fs::remove_file(&partial);
    }
    written
}

fn digest(octets: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    octets.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn failed(what: &str, path: &Path, error: &io::Error) -> ProviderError {
    ProviderError::Unreachable(format!(
        "cannot {what} the zone file fragment {}: {error}; nothing was changed: see that it and its directory are there \
         and writable for this user",
        path.display()
    ))
}

#[cfg(test)]
#[path = "zonefile_tests.rs"]
mod tests;
