//! The signer: its configuration and tables, who it runs as, whether it would open its keys, and what it does with a
//! message that is sent nowhere.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::time::Time;

use super::inside::Inside;
use super::rspamd;
use crate::signers::milter::{self, Answer, Client, Socket};
use crate::signers::opendkim::conf::Conf;
use crate::signers::opendkim::tables::{KeyTable, Lookup, SigningTable};
use crate::signers::probe::{self, Probed};
use crate::signers::replace::FileError;
use crate::signers::safekeys::{Accounts, Identity, Inode, Inodes, Problem, ThisHost, accepts_among};

/// What signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    OpenDkim,
    Rspamd,
}

/// Where a signer's configuration is, or what it comes to.
#[derive(Debug, Clone)]
pub enum Named {
    /// The path of opendkim.conf.
    OpenDkim(PathBuf),
    /// The rspamd that is installed there.
    Rspamd,
    /// One whose configuration is known.
    KnownRspamd(rspamd::Conf),
}

/// What was seen of a signer.
#[derive(Debug, Clone)]
pub struct Facts {
    pub kind: Kind,
    pub identity: Identity,
    /// Whether it was seen to run as that user, or is only configured to.
    pub running: bool,
    /// `RequireSafeKeys`; rspamd has no such thing, and takes any key that it can read.
    pub safe_keys: bool,
    /// `SignatureAlgorithm rsa-sha1`, which verifiers must not accept.
    pub sha1: bool,
    pub keys: Vec<KeyFile>,
    /// For each domain with a row of its own: the selectors that sign.
    pub signing: Vec<(SigningDomain, Vec<Selector>)>,
    pub socket: Result<Socket, String>,
}

/// A key file that a table names.
#[derive(Debug, Clone)]
pub struct KeyFile {
    /// `s1._domainkey.example.com`.
    pub record: String,
    pub path: PathBuf,
    pub verdict: Result<(), Vec<Problem>>,
}

/// What either signer's configuration says.
struct Configured {
    kind: Kind,
    user: String,
    group: Option<String>,
    key_table: PathBuf,
    signing_table: PathBuf,
    lookup: Lookup,
    safe_keys: bool,
    sha1: bool,
    socket: Result<Socket, String>,
}

/// Reads a signer's configuration and everything that it leads to.
pub fn look(inside: &Inside, named: &Named) -> Result<Facts, String> {
    let configured = match named {
        Named::OpenDkim(conf) => of_opendkim(inside, conf)?,
        Named::Rspamd => of_rspamd(rspamd::Conf::ask(inside)?)?,
        Named::KnownRspamd(conf) => of_rspamd(conf.clone())?,
    };
    let text = |path: &Path| read(inside, path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let whole = |path: &str| text(Path::new(path)).map_err(|error| chain(&error));
    let accounts = Accounts::parse(&whole("/etc/passwd")?, &whole("/etc/group")?);
    let seen = if inside.exec.is_empty() { None } else { process(inside, configured.kind) };
    let running = seen.is_some();
    let identity = match seen {
        Some((uid, gids)) => accounts.running(uid, gids),
        None => accounts
            .identity(&configured.user, configured.group.as_deref(), Path::new("/"))
            .map_err(|error| error.to_string())?,
    };
    let bytes = read(inside, &configured.key_table).map_err(|error| chain(&error))?;
    let key_table = KeyTable::parse(&bytes).map_err(|error| error.to_string())?;
    let paths: Vec<(String, PathBuf)> = key_table
        .rows()
        .filter_map(|row| Some((format!("{}._domainkey.{}", row.selector, row.domain), row.path?.to_owned())))
        .collect();
    let told;
    let inodes: &dyn Inodes = if inside.exec.is_empty() {
        &ThisHost
    } else {
        told = Told::ask(inside, paths.iter().map(|(_, path)| path.as_path()))?;
        &told
    };
    let keys = paths.into_iter().map(|(record, path)| {
        let verdict = accepts_among(inodes, &path, &identity, &accounts);
        KeyFile { record, path, verdict }
    });
    let keys = keys.collect();
    let bytes = read(inside, &configured.signing_table).map_err(|error| chain(&error))?;
    let signing_table = SigningTable::parse(&bytes, configured.lookup).map_err(|error| error.to_string())?;
    let selector = |name: &crate::signers::KeyName| key_table.get(name.as_str())?.selector.parse().ok();
    let rows = signing_table.signing(&key_table).into_iter();
    Ok(Facts {
        kind: configured.kind,
        identity,
        running,
        safe_keys: configured.safe_keys,
        sha1: configured.sha1,
        keys,
        signing: rows.map(|(domain, names)| (domain, names.iter().filter_map(selector).collect())).collect(),
        socket: configured.socket,
    })
}

fn of_opendkim(inside: &Inside, conf: &Path) -> Result<Configured, String> {
    let conf = Conf::read_by(conf, &|path: &Path| read(inside, path)).map_err(|error| chain(&error))?;
    let keys = conf.key_table().map_err(|error| chain(&error))?;
    let signing = conf.signing_table().map_err(|error| chain(&error))?;
    Ok(Configured {
        kind: Kind::OpenDkim,
        user: conf.user().unwrap_or("root").to_owned(),
        group: conf.group().map(str::to_owned),
        key_table: keys.path,
        signing_table: signing.path,
        lookup: signing.lookup,
        safe_keys: conf.flag("RequireSafeKeys", true),
        sha1: conf.get("SignatureAlgorithm").is_some_and(|text| text.eq_ignore_ascii_case("rsa-sha1")),
        socket: conf.socket().map_err(|error| chain(&error)),
    })
}

fn of_rspamd(conf: rspamd::Conf) -> Result<Configured, String> {
    let (key_table, signing_table) = conf
        .tables
        .ok_or("rspamd signs without key_table and signing_table, and its other ways are not looked into")?;
    Ok(Configured {
        kind: Kind::Rspamd,
        user: conf.user,
        group: None,
        key_table,
        signing_table,
        lookup: Lookup::Pattern,
        safe_keys: false,
        sha1: false,
        socket: conf.socket,
    })
}

fn read(inside: &Inside, path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |error: super::inside::InsideError| FileError::Read {
        path: path.to_owned(),
        source: io::Error::other(error.to_string()),
    };
    inside.read(path).map_err(failed)
}

/// Hands the signer a message of a domain, over its own socket.
pub fn probe(inside: &Inside, socket: &Socket, client: &Client, domain: &SigningDomain, now: Time) -> Probed {
    let message = probe::message(domain, now);
    let submit = |socket: &Socket| milter::submit(socket, client, &message);
    let no_answer = |why: String| Answer::NoAnswer { why };
    let answer = match (socket, &inside.root) {
        (Socket::Local(path), Some(root)) => {
            let below = path.strip_prefix("/").unwrap_or(path);
            submit(&Socket::Local(root.join(below)))
        }
        (Socket::Local(_), None) if !inside.exec.is_empty() => {
            no_answer("its socket is a file inside the container, which only root on this host can reach".into())
        }
        (Socket::Local(_), None) => submit(socket),
        (Socket::Inet { .. }, _) => {
            inside.in_network(|| submit(socket)).unwrap_or_else(|error| no_answer(error.to_string()))
        }
    };
    Probed { message, answer }
}

/// Every process of a name that runs inside, by its numbers; proc_pid_status(5) has the effective ones second. With the host's
/// processes in sight, those of other mount namespaces are others'; which those are may be hidden from us.
const PROCESSES: &str = r#"
here=$(readlink /proc/self/ns/mnt)
for dir in /proc/[0-9]*; do
  [ "$(cat "$dir/comm" 2>/dev/null)" = "$1" ] || continue
  there=$(readlink "$dir/ns/mnt" 2>/dev/null)
  [ -z "$there" ] || [ "$there" = "$here" ] || continue
  grep -E '^(Uid|Gid|Groups):' "$dir/status"
done
true"#;

fn process(inside: &Inside, kind: Kind) -> Option<(u32, Vec<u32>)> {
    let name = match kind {
        Kind::OpenDkim => "opendkim",
        Kind::Rspamd => "rspamd",
    };
    let ran = inside.run(&["sh", "-c", PROCESSES, "dkimctl", name]).ok().filter(super::engine::Ran::is_ok)?;
    read_processes(&ran.stdout())
}

/// Whether such a signer runs inside.
pub fn runs(inside: &Inside, kind: Kind) -> bool {
    process(inside, kind).is_some()
}

/// The one that is not root, if there are several: a parent watches those that work.
fn read_processes(text: &str) -> Option<(u32, Vec<u32>)> {
    let numbers = |line: &str| -> Vec<u32> { line.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect() };
    let mut found: Vec<(u32, Vec<u32>)> = Vec::new();
    for line in text.lines() {
        match line.split(':').next() {
            Some("Uid") => found.push((*numbers(line).get(1)?, Vec::new())),
            Some("Gid") => found.last_mut()?.1.extend(numbers(line).get(1)),
            Some("Groups") => found.last_mut()?.1.extend(numbers(line)),
            _ => {}
        }
    }
    found.into_iter().max_by_key(|(uid, _)| *uid != 0)
}

/// What paths inside are like, as stat(1) told.
#[derive(Debug, Default)]
struct Told {
    resolved: HashMap<PathBuf, PathBuf>,
    inodes: HashMap<PathBuf, Inode>,
}

/// One line for what a path resolves to, and one for each component of that.
const STAT: &str = r#"
for path do
  real=$(readlink -f -- "$path") && [ -e "$real" ] || continue
  printf 'R\t%s\t%s\n' "$path" "$real"
  at=$real
  while :; do
    stat -c 'S	%f	%u	%g	%n' -- "$at"
    [ "$at" = / ] && break
    at=$(dirname -- "$at")
  done
done
true"#;

impl Told {
    fn ask<'p>(inside: &Inside, paths: impl Iterator<Item = &'p Path>) -> Result<Told, String> {
        let paths: Vec<String> = paths.map(|path| path.display().to_string()).collect();
        let mut told = Told::default();
        for some in paths.chunks(200) {
            let command: Vec<&str> =
                ["sh", "-c", STAT, "dkimctl"].into_iter().chain(some.iter().map(String::as_str)).collect();
            let ran = inside.run(&command).map_err(|error| error.to_string())?;
            if !ran.is_ok() {
                return Err(format!("what its keys belong to could not be asked: {}", ran.complaint()));
            }
            told.read(&ran.stdout());
        }
        Ok(told)
    }

    fn read(&mut self, text: &str) {
        for line in text.lines() {
            match line.split('\t').collect::<Vec<_>>()[..] {
                ["R", path, real] => drop(self.resolved.insert(path.into(), real.into())),
                ["S", mode, uid, gid, path] => {
                    let inode = || {
                        let mode = u32::from_str_radix(mode, 16).ok()?;
                        Some(Inode { mode, uid: uid.parse().ok()?, gid: gid.parse().ok()? })
                    };
                    self.inodes.extend(inode().map(|inode| (path.into(), inode)));
                }
                _ => {}
            }
        }
    }
}

impl Inodes for Told {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.resolved.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.inodes.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_is_told_from_the_parent_that_watches_it() {
        let both = "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t0\nUid:\t104\t104\t104\t104\nGid:\t108\t108\t108\t108\nGroups:\t108 111\n";
        assert_eq!(read_processes(both), Some((104, vec![108, 108, 111])));
        assert_eq!(read_processes(""), None);
    }

    #[test]
    fn what_stat_tells_is_read() {
        let mut told = Told::default();
        told.read("R\t/k/link\t/k/s1\nS\t8180\t104\t108\t/k/s1\nS\t41c0\t0\t0\t/k\nS\tnonsense\t0\t0\t/x\n");
        assert_eq!(told.resolve(Path::new("/k/link")).unwrap(), Path::new("/k/s1"));
        assert_eq!(told.inode(Path::new("/k/s1")).unwrap(), Inode { mode: 0o100_600, uid: 104, gid: 108 });
        assert!(told.inode(Path::new("/x")).is_err());
    }
}
