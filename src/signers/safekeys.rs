//! Replays `RequireSafeKeys` (opendkim.conf(5)) before a key is used: whether a signer that runs as a given user would
//! open a key file at all, and if not, the command that corrects it.
//!
//! OpenDKIM looks at every component of the resolved path and answers 451 to mail when it does not like one. It looks at
//! each *message*, so a file that was fine at delivery can break mail later.
//!
//! One quirk is not replayed: if OpenDKIM cannot stat a component, or its own user has no passwd entry, it calls the
//! file safe and fails (or not) when it opens it. Here such a path is a problem.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The accounts of a host or of a container's root directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accounts {
    users: Vec<User>,
    groups: Vec<Group>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct User {
    name: String,
    uid: u32,
    gid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Who opens the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub uid: u32,
    /// The primary group and every other one.
    pub gids: Vec<u32>,
}

/// One thing that a signer would refuse, and the command that changes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub path: PathBuf,
    pub seen: String,
    /// What happens to mail.
    pub costs: &'static str,
    pub command: String,
    /// The kernel itself refuses, whatever `RequireSafeKeys` says.
    pub denied: bool,
}

/// What the replay needs to know of files: those of this host, or those inside a container as it tells of them.
pub trait Inodes {
    /// The path without symbolic links.
    fn resolve(&self, path: &Path) -> io::Result<PathBuf>;

    fn inode(&self, path: &Path) -> io::Result<Inode>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// With the bits that say what kind of file it is (inode(7)).
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// The files of this host.
#[derive(Debug, Clone, Copy)]
pub struct ThisHost;

impl Inodes for ThisHost {
    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        fs::metadata(path).map(|meta| Inode { mode: meta.mode(), uid: meta.uid(), gid: meta.gid() })
    }
}

impl Inode {
    fn is_file(&self) -> bool {
        self.mode & 0o170_000 == 0o100_000
    }
}

/// OpenDKIM's answer to every message.
const COSTS: &str = "every mail would be answered with 451";

/// Accounts that are not known.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("{path} cannot be read, so the owner of the keys is not known")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "there is no {kind} `{name}` in {root}, so the signer would not start: correct `UserID` of opendkim.conf, or `user` of \
         host.toml"
    )]
    Nobody { kind: &'static str, name: String, root: PathBuf },
}

impl Accounts {
    /// Reads etc/passwd and etc/group below `root`: `/`, or a container's root directory.
    pub fn read(root: &Path) -> Result<Accounts, AccountError> {
        let read = |below: &str| {
            let path = root.join(below);
            fs::read(&path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|source| AccountError::Read { path, source })
        };
        Ok(Accounts::parse(&read("etc/passwd")?, &read("etc/group")?))
    }

    /// From the text of passwd(5) and group(5); lines that are neither are passed over, as getpwent(3) does.
    pub fn parse(passwd: &str, group: &str) -> Accounts {
        let user = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields[..] else { return None };
            Some(User { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        };
        let group_of = |line: &str| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields[..] else { return None };
            let members = members.split(',').map(str::trim).filter(|m| !m.is_empty()).map(str::to_owned).collect();
            Some(Group { name: name.to_owned(), gid: gid.parse().ok()?, members })
        };
        Accounts {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(group_of).collect(),
        }
    }

    /// Who `UserID user[:group]` is: all groups of the user, the named group instead of the primary one.
    pub fn identity(&self, user: &str, group: Option<&str>, root: &Path) -> Result<Identity, AccountError> {
        let nobody = |kind, name: &str| AccountError::Nobody { kind, name: name.to_owned(), root: root.to_owned() };
        let found = self
            .users
            .iter()
            .find(|known| known.name == user || user.parse() == Ok(known.uid))
            .ok_or_else(|| nobody("user", user))?;
        let primary = match group {
            None => found.gid,
            Some(name) => {
                let known = |known: &&Group| known.name == name || name.parse() == Ok(known.gid);
                self.groups.iter().find(known).ok_or_else(|| nobody("group", name))?.gid
            }
        };
        let of_user = |group: &&Group| group.members.contains(&found.name);
        let others = self.groups.iter().filter(of_user).map(|group| group.gid);
        Ok(Identity {
            name: found.name.clone(),
            uid: found.uid,
            gids: std::iter::once(primary).chain(others).collect(),
        })
    }

    /// Who a running process is, by its numbers (`Uid:`, `Gid:` and `Groups:` of proc_pid_status(5)).
    pub fn running(&self, uid: u32, gids: Vec<u32>) -> Identity {
        let known = self.users.iter().find(|user| user.uid == uid);
        Identity { name: known.map_or_else(|| uid.to_string(), |user| user.name.clone()), uid, gids }
    }

    /// An account other than `identity` and root that is in a group, by membership or as its primary group.
    fn stranger_in(&self, gid: u32, identity: &Identity) -> Option<&str> {
        let uids: BTreeMap<&str, u32> = self.users.iter().map(|user| (user.name.as_str(), user.uid)).collect();
        let members = self.groups.iter().filter(|group| group.gid == gid).flat_map(|group| &group.members);
        let listed = members.map(|name| (name.as_str(), uids.get(name.as_str()).copied()));
        let primary = self.users.iter().filter(|user| user.gid == gid).map(|user| (user.name.as_str(), Some(user.uid)));
        let friend = |uid: Option<u32>| uid == Some(0) || uid == Some(identity.uid);
        listed.chain(primary).find(|(_, uid)| !friend(*uid)).map(|(name, _)| name)
    }

    fn group_name(&self, gid: u32) -> String {
        let known = self.groups.iter().find(|group| group.gid == gid);
        known.map_or_else(|| gid.to_string(), |group| group.name.clone())
    }
}

/// Whether a signer that runs as `identity` opens the key at `path`; every objection, the file's own first.
pub fn accepts(path: &Path, identity: &Identity, accounts: &Accounts) -> Result<(), Vec<Problem>> {
    accepts_among(&ThisHost, path, identity, accounts)
}

/// The same, for files that lie anywhere.
pub fn accepts_among(
    inodes: &dyn Inodes,
    path: &Path,
    identity: &Identity,
    accounts: &Accounts,
) -> Result<(), Vec<Problem>> {
    // Symbolic links are resolved before anything is looked at.
    let unreadable = |path: &Path, error: io::Error| {
        vec![Problem {
            path: path.to_owned(),
            seen: format!("cannot be looked at ({error})"),
            costs: COSTS,
            command: format!("namei -l {}", quoted(path)),
            denied: true,
        }]
    };
    let real = inodes.resolve(path).map_err(|error| unreadable(path, error))?;
    let file = inodes.inode(&real).map_err(|error| unreadable(&real, error))?;
    let check = Check { identity, accounts };
    let mut problems = check.file(&real, &file);
    for parent in real.ancestors().skip(1) {
        let meta = inodes.inode(parent).map_err(|error| unreadable(parent, error))?;
        problems.extend(check.parent(parent, &meta));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

struct Check<'a> {
    identity: &'a Identity,
    accounts: &'a Accounts,
}

impl Check<'_> {
    fn file(&self, path: &Path, meta: &Inode) -> Vec<Problem> {
        let (mode, owner) = (meta.mode, meta.uid);
        let user = &self.identity.name;
        let path_text = quoted(path);
        let mut problems = Vec::new();
        let mut problem = |seen: String, command: String| {
            problems.push(Problem { path: path.to_owned(), seen, costs: COSTS, command, denied: false });
        };
        if !meta.is_file() {
            problem("is not a regular file".into(), format!("ls -ld {path_text}"));
            problems.iter_mut().for_each(|problem| problem.denied = true);
            return problems;
        }
        if mode & 0o006 != 0 {
            let seen = format!("can be read or written by everybody (mode {:04o})", mode & 0o7777);
            problem(seen, format!("chmod o-rwx {path_text}"));
        }
        if owner != 0 && owner != self.identity.uid {
            problem(format!("belongs to uid {owner}, not to {user}"), format!("chown {user} {path_text}"));
        }
        if mode & 0o060 != 0
            && let Some(stranger) = self.accounts.stranger_in(meta.gid, self.identity)
        {
            let group = self.accounts.group_name(meta.gid);
            let seen = format!("can be read by group {group}, which {stranger} is in too");
            problem(seen, format!("chmod g-rwx {path_text}"));
        }
        if !self.may(meta, 0o4) {
            let command = format!("chown {user} {path_text} && chmod 0600 {path_text}");
            problem(format!("cannot be read by {user} (mode {:04o}, uid {owner})", mode & 0o7777), command);
            problems.iter_mut().last().into_iter().for_each(|problem| problem.denied = true);
        }
        problems
    }

    fn parent(&self, path: &Path, meta: &Inode) -> Vec<Problem> {
        let (mode, owner) = (meta.mode, meta.uid);
        let user = &self.identity.name;
        let path_text = quoted(path);
        let mut problems = Vec::new();
        let mut problem = |seen: String, command: String| {
            problems.push(Problem { path: path.to_owned(), seen, costs: COSTS, command, denied: false });
        };
        if mode & 0o002 != 0 {
            // The sticky bit does not help: nothing below /tmp is safe.
            problem("is a directory that everybody can write to".into(), format!("chmod o-w {path_text}"));
        }
        if mode & 0o020 != 0
            && let Some(stranger) = self.accounts.stranger_in(meta.gid, self.identity)
        {
            let group = self.accounts.group_name(meta.gid);
            let seen = format!("is a directory that group {group} can write to, which {stranger} is in too");
            problem(seen, format!("chmod g-w {path_text}"));
        }
        if mode & 0o200 != 0 && owner != 0 && owner != self.identity.uid {
            let seen = format!("is a directory that uid {owner} can write to, which is not {user}");
            problem(seen, format!("chown {user} {path_text}"));
        }
        if !self.may(meta, 0o1) {
            let seen = format!("is a directory that {user} cannot enter (mode {:04o}, uid {owner})", mode & 0o7777);
            problem(seen, format!("chown {user} {path_text} && chmod u+x {path_text}"));
            problems.iter_mut().last().into_iter().for_each(|problem| problem.denied = true);
        }
        problems
    }

    /// The permission bits that the kernel looks at: of the owner, or else of the group, or else of others.
    fn may(&self, meta: &Inode, bit: u32) -> bool {
        let shift = match () {
            () if self.identity.uid == 0 => return true,
            () if meta.uid == self.identity.uid => 6,
            () if self.identity.gids.contains(&meta.gid) => 3,
            () => 0,
        };
        meta.mode & (bit << shift) != 0
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, so {}: run `{}`", self.path.display(), self.seen, self.costs, self.command)
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
#[path = "safekeys_tests.rs"]
mod tests;
