//! Files that must be whole, durable and nobody else's: sealed keys, private keys, signed documents.
//!
//! Everything is done below a directory that is held open, so nobody can move it away between a check and its use.
//! A file appears under its name complete or not at all: it is written as `.<name>.partial` beside it, with its final
//! mode and owner, synced, and given its name without replacing another. A crash leaves at most that partial file,
//! and the next run removes it: a lock, which the kernel drops with the process, tells an orphan from one in work.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, unlinkat};
use zeroize::Zeroizing;

/// The largest file that is ever read here, in octets: a manifest of 100,000 keys, or any key, is smaller.
const LIMIT: u64 = 256 << 20;

const PARTIAL: &str = ".partial";

/// A directory, held open.
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// How a file is to look: its permission bits, and its owner where it is not the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Permission bits, such as `0o400`.
    pub mode: u32,
    pub owner: Option<Owner>,
}

/// The numeric owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Why a file or a directory could not be used. Names paths, never contents.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{path} cannot be written: the disk is full; nothing half-written was left there, so make room and run the same command again", path = path.display())]
    DiskFull { path: PathBuf },
    #[error("{path} cannot be written: its file system is read-only; mount it for writing, or name another directory", path = path.display())]
    ReadOnly { path: PathBuf },
    #[error("{path} cannot be {doing}: permission denied; run as its owner, or change who owns it (ls -ld {path})", path = path.display())]
    Denied { path: PathBuf, doing: &'static str },
    #[error("{path} already exists, and nothing here overwrites a file; look at it, then move it away", path = path.display())]
    Exists { path: PathBuf },
    #[error("{path} is being written by another process; wait for it and run the same command again", path = path.display())]
    Busy { path: PathBuf },
    #[error("{path} is a symbolic link, and a link could point a secret anywhere; give the real path", path = path.display())]
    Symlink { path: PathBuf },
    #[error("{path} can be written by others (mode {mode:04o}), who could swap what lies in it; chmod go-w {path}", path = path.display())]
    WritableByOthers { path: PathBuf, mode: u32 },
    #[error("{path} belongs to uid {uid}, neither to root nor to the user that runs this or is to own the file; chown it, or name a directory of your own", path = path.display())]
    ForeignOwner { path: PathBuf, uid: u32 },
    #[error("{path} is open to others (mode {mode:04o}), so the secret in it may be none any more; chmod go= {path}, and replace it if anybody else uses this machine", path = path.display())]
    OpenToOthers { path: PathBuf, mode: u32 },
    #[error("{path} is no regular file; move it away", path = path.display())]
    NotAFile { path: PathBuf },
    #[error("{path} read back differently from what was written; the disk or its file system is not to be trusted: check it (dmesg) before trying again", path = path.display())]
    ReadBack { path: PathBuf },
    #[error("{path} does not exist; check the path", path = path.display())]
    Missing { path: PathBuf },
    #[error("{path} cannot be {doing}: {why}", path = path.display())]
    Other { path: PathBuf, doing: &'static str, why: io::Error },
}

impl Access {
    pub const fn mode(mode: u32) -> Access {
        Access { mode, owner: None }
    }
}

impl Dir {
    /// Opens a directory as it is.
    pub fn open(path: &Path) -> Result<Dir, FileError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(AT_FDCWD, path, flags, Mode::empty()).map_err(|e| FileError::new(path, "opened", e))?;
        Ok(Dir { fd, path: path.to_owned() })
    }

    /// Opens a directory of our own, making it (not its parents) if it is missing, and makes sure that nobody but
    /// `access.owner` or the caller, and root, can change what lies in it.
    pub fn open_own(path: &Path, access: Access) -> Result<Dir, FileError> {
        let (parent, name) = split(path)?;
        Dir::open(parent)?.child(name, access)
    }

    /// Like [`Dir::open_own`] one level down, and never through a symbolic link.
    pub fn child(&self, name: &str, access: Access) -> Result<Dir, FileError> {
        let fd = match self.open_child(name) {
            Err(FileError::Missing { .. }) => {
                self.make_child(name, access)?;
                self.open_child(name)?
            }
            opened => opened?,
        };
        let (file, path) = (File::from(fd), self.path.join(name));
        let seen = file.metadata().map_err(|e| FileError::io(&path, "read", e))?;
        check_own(&path, seen.mode(), seen.uid(), access.owner, false)?;
        Ok(Dir { fd: file.into(), path })
    }

    /// A directory too gets its name only when mode and owner are right: after a crash in between, the next run would
    /// take it for somebody's choice, and a signer could not enter it.
    fn make_child(&self, name: &str, access: Access) -> Result<(), FileError> {
        let (path, partial) = (self.path.join(name), format!(".{name}{PARTIAL}"));
        match mkdirat(&self.fd, &*partial, Mode::from_bits_truncate(access.mode & 0o700)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(e) => return Err(FileError::new(&path, "made", e)),
        }
        set_access(&File::from(self.open_child(&partial)?), &path, access)?;
        // A plain rename replaces nothing but an empty directory.
        match nix::fcntl::renameat(&self.fd, &*partial, &self.fd, name) {
            // Another process was as fast.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EEXIST | Errno::ENOTEMPTY) => {
                let _ = unlinkat(&self.fd, &*partial, UnlinkatFlags::RemoveDir);
            }
            Err(e) => return Err(FileError::new(&path, "made", e)),
        }
        self.sync()
    }

    fn open_child(&self, name: &str) -> Result<OwnedFd, FileError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        openat(&self.fd, name, flags, Mode::empty()).map_err(|e| match e {
            Errno::ELOOP | Errno::ENOTDIR if self.is_symlink(name) => FileError::Symlink { path: self.path.join(name) },
            e => FileError::new(&self.path.join(name), "opened", e),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a new file that nobody has seen half-written. Fails if the name is taken.
    pub fn create(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), FileError> {
        self.put(name, bytes, access, Self::take_name)
    }

    /// Writes a file in place of the one under this name, if any: readers see the old one or the new one.
    pub fn replace(&self, name: &str, bytes: &[u8], access: Access) -> Result<(), FileError> {
        self.put(name, bytes, access, |dir, partial, name| nix::fcntl::renameat(&dir.fd, partial, &dir.fd, name))
    }

    fn put(
        &self,
        name: &str,
        bytes: &[u8],
        access: Access,
        give_name: impl Fn(&Dir, &str, &str) -> nix::Result<()>,
    ) -> Result<(), FileError> {
        let path = self.path.join(name);
        let partial = format!(".{name}{PARTIAL}");
        let mut file = self.begin(&partial, access.mode)?;
        let written = file
            .write_all(bytes)
            .map_err(|e| FileError::io(&path, "written", e))
            .and_then(|()| set_access(&file, &path, access).map(drop))
            // An error of fsync is final: the kernel may have dropped the very pages, and a second call would succeed.
            .and_then(|()| file.sync_all().map_err(|e| FileError::io(&path, "synced", e)))
            .and_then(|()| give_name(self, &partial, name).map_err(|e| FileError::new(&path, "given its name", e)));
        if written.is_err() {
            // It may hold a secret: wiped as far as it got, then unlinked.
            let _ = self.shred_open(&file, &partial);
        }
        written
    }

    /// Makes `.<name>.partial`, locked for as long as the file is open. An orphan of a crash in its place is removed.
    fn begin(&self, partial: &str, mode: u32) -> Result<File, FileError> {
        let path = self.path.join(partial);
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        for _ in 0..3 {
            // Only the owner's bits: the group may read once the file has its own group, not before.
            match openat(&self.fd, partial, flags, Mode::from_bits_truncate(mode & 0o700)) {
                Ok(fd) => {
                    let file = File::from(fd);
                    file.try_lock().map_err(|_| FileError::Busy { path: path.clone() })?;
                    return Ok(file);
                }
                Err(Errno::EEXIST) => self.remove_orphan(partial)?,
                Err(e) => return Err(FileError::new(&path, "written", e)),
            }
        }
        Err(FileError::Busy { path })
    }

    /// Removes what crashed runs left behind. Files that another process is writing stay.
    pub fn sweep(&self) -> Result<usize, FileError> {
        let mut removed = 0;
        for name in self.names()? {
            if name.starts_with('.') && name.ends_with(PARTIAL) {
                match self.remove_orphan(&name) {
                    Ok(()) => removed += 1,
                    // In work; or a directory in the making.
                    Err(FileError::Busy { .. } | FileError::NotAFile { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(removed)
    }

    fn remove_orphan(&self, partial: &str) -> Result<(), FileError> {
        let Some(file) = self.open_file(partial)? else { return Ok(()) };
        file.try_lock().map_err(|_| FileError::Busy { path: self.path.join(partial) })?;
        self.shred_open(&file, partial)
    }

    /// Gives a file its final name without replacing another one.
    fn take_name(&self, partial: &str, name: &str) -> nix::Result<()> {
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        {
            use nix::fcntl::{RenameFlags, renameat2};
            match renameat2(&self.fd, partial, &self.fd, name, RenameFlags::RENAME_NOREPLACE) {
                // Not every file system knows the flag; all that have hard links can do the same in two steps.
                Err(Errno::EINVAL | Errno::ENOSYS) => {}
                done => return done,
            }
        }
        linkat(&self.fd, partial, &self.fd, name, AtFlags::empty())?;
        // If this fails, or never happens, the next run removes the second name.
        let _ = unlinkat(&self.fd, partial, UnlinkatFlags::NoRemoveDir);
        Ok(())
    }

    /// Makes the names of this directory durable.
    pub fn sync(&self) -> Result<(), FileError> {
        let again = self.fd.try_clone().map_err(|e| FileError::io(&self.path, "synced", e))?;
        File::from(again).sync_all().map_err(|e| FileError::io(&self.path, "synced", e))
    }

    /// Reads a whole file, wiped when dropped; `None` if there is none.
    pub fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        read_all(file, &self.path.join(name)).map(Some)
    }

    /// Opens a regular file of this directory for reading, never through a link; `None` if there is none.
    pub fn open_file(&self, name: &str) -> Result<Option<File>, FileError> {
        let path = self.path.join(name);
        // O_NONBLOCK: a planted FIFO must not hang us before it is refused.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::ENOENT) => return Ok(None),
            Err(Errno::ELOOP) => return Err(FileError::Symlink { path }),
            Err(e) => return Err(FileError::new(&path, "opened", e)),
        };
        match file.metadata() {
            Ok(seen) if seen.is_file() => Ok(Some(file)),
            Ok(_) => Err(FileError::NotAFile { path }),
            Err(e) => Err(FileError::io(&path, "read", e)),
        }
    }

    /// The names in this directory, sorted. Names that are not UTF-8 are none of ours and left out.
    pub fn names(&self) -> Result<Vec<String>, FileError> {
        let failed = |e| FileError::io(&self.path, "listed", e);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            names.extend(entry.map_err(failed)?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    /// Gives a file of this directory another name, in place of the one that has it. [`Dir::sync`] makes it durable.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        nix::fcntl::renameat(&self.fd, from, &self.fd, to)
            .map_err(|e| FileError::new(&self.path.join(to), "exchanged", e))
    }

    /// Unlinks a file; `false` if there was none. [`Dir::sync`] makes it durable.
    pub fn remove(&self, name: &str) -> Result<bool, FileError> {
        match unlinkat(&self.fd, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(e) => Err(FileError::new(&self.path.join(name), "removed", e)),
        }
    }

    /// Overwrites a file with zeros, unlinks it and makes that durable; `false` if there was none. Overwriting in
    /// place reaches the old blocks on plain file systems only; copy-on-write, snapshots and flash may keep them.
    pub fn shred(&self, name: &str) -> Result<bool, FileError> {
        let Some(file) = self.open_file(name)? else { return Ok(false) };
        self.shred_open(&file, name)?;
        self.sync()?;
        Ok(true)
    }

    fn shred_open(&self, file: &File, name: &str) -> Result<(), FileError> {
        // With a second name it is a finished file, whose first name a crash left behind: the content stays.
        let seen = file.metadata().map_err(|e| FileError::io(&self.path.join(name), "read", e))?;
        if seen.nlink() > 1 {
            return self.remove(name).map(drop);
        }
        // A secret is 0400; its owner may write it only after asking for that.
        let flags = OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let writable = openat(&self.fd, name, flags, Mode::empty()).or_else(|_| {
            fchmod(file, Mode::S_IRUSR | Mode::S_IWUSR)?;
            openat(&self.fd, name, flags, Mode::empty())
        });
        if let Ok(fd) = writable {
            let mut file = File::from(fd);
            // As good as it goes: whether or not the blocks could be wiped, the name must go.
            let _ = file.write_all(&vec![0; seen.len().min(LIMIT) as usize]).and_then(|()| file.sync_all());
        }
        self.remove(name).map(drop)
    }

    fn is_symlink(&self, name: &str) -> bool {
        fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)
            .is_ok_and(|seen| seen.st_mode & nix::libc::S_IFMT == nix::libc::S_IFLNK)
    }
}

/// Reads a file to its end into memory that is wiped; one allocation, so that no copy is left behind by growing.
pub fn read_all(file: File, path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let failed = |e| FileError::io(path, "read", e);
    let length = file.metadata().map_err(failed)?.len().min(LIMIT);
    let mut bytes = Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Reads a file with a secret in it. One that others can read or change is refused; a pipe or a file descriptor
/// (`/dev/fd/3`) is taken as it is.
pub fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(|e| FileError::io(path, "read", e))?;
    let seen = file.metadata().map_err(|e| FileError::io(path, "read", e))?;
    // Readable for its group is a choice (root:dkim 0640); readable for all, or writable for others, is a mistake.
    if seen.is_file() && seen.mode() & 0o027 != 0 {
        return Err(FileError::OpenToOthers { path: path.to_owned(), mode: seen.mode() & 0o7777 });
    }
    read_all(file, path)
}

/// Sets owner and mode through the open file, in the order in which nobody else can read it at any instant. Returns
/// whether anything had to be changed.
pub fn set_access(file: &File, path: &Path, access: Access) -> Result<bool, FileError> {
    let seen = file.metadata().map_err(|e| FileError::io(path, "read", e))?;
    let mut changed = false;
    if let Some(Owner { uid, gid }) = access.owner
        && (seen.uid(), seen.gid()) != (uid, gid)
    {
        fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|e| FileError::new(path, "given to its owner", e))?;
        changed = true;
    }
    if seen.mode() & 0o7777 != access.mode {
        fchmod(file, Mode::from_bits_truncate(access.mode)).map_err(|e| FileError::new(path, "given its mode", e))?;
        changed = true;
    }
    Ok(changed)
}

/// Walks from `/` down to `path` and refuses every directory that somebody else could swap or write. A symbolic link
/// on the way is followed if root or the caller made it.
pub fn check_parents(path: &Path, owner: Option<Owner>) -> Result<(), FileError> {
    let absolute = std::path::absolute(path).map_err(|e| FileError::io(path, "resolved", e))?;
    check_chain(&absolute, owner)?;
    // What the links lead to has parents of its own.
    let real = absolute.canonicalize().map_err(|e| FileError::io(path, "resolved", e))?;
    if real != absolute { check_chain(&real, owner) } else { Ok(()) }
}

fn check_chain(path: &Path, owner: Option<Owner>) -> Result<(), FileError> {
    for part in path.ancestors() {
        let seen = part.symlink_metadata().map_err(|e| FileError::io(part, "read", e))?;
        if seen.is_symlink() {
            if ![0, Uid::effective().as_raw()].contains(&seen.uid()) {
                return Err(FileError::Symlink { path: part.to_owned() });
            }
            continue;
        }
        // In a sticky directory (/tmp) others can add names, but neither rename nor remove ours.
        check_own(part, seen.mode(), seen.uid(), owner, part != path)?;
    }
    Ok(())
}

fn check_own(path: &Path, mode: u32, uid: u32, owner: Option<Owner>, sticky_will_do: bool) -> Result<(), FileError> {
    if mode & 0o022 != 0 && !(sticky_will_do && mode & 0o1000 != 0) {
        return Err(FileError::WritableByOthers { path: path.to_owned(), mode: mode & 0o7777 });
    }
    let ours = uid == 0 || uid == Uid::effective().as_raw() || owner.is_some_and(|owner| owner.uid == uid);
    if ours { Ok(()) } else { Err(FileError::ForeignOwner { path: path.to_owned(), uid }) }
}

/// The parent of a path and its last name, which has to be UTF-8.
pub fn split(path: &Path) -> Result<(&Path, &str), FileError> {
    let name = path.file_name().and_then(|name| name.to_str());
    match (path.parent(), name) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => Ok((Path::new("."), name)),
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(FileError::io(path, "used", io::Error::other("it does not end in a name"))),
    }
}

impl FileError {
    fn new(path: &Path, doing: &'static str, why: Errno) -> FileError {
        FileError::io(path, doing, why.into())
    }

    pub(crate) fn io(path: &Path, doing: &'static str, why: io::Error) -> FileError {
        let path = path.to_owned();
        match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FileError::DiskFull { path },
            io::ErrorKind::ReadOnlyFilesystem => FileError::ReadOnly { path },
            io::ErrorKind::PermissionDenied => FileError::Denied { path, doing },
            io::ErrorKind::AlreadyExists => FileError::Exists { path },
            io::ErrorKind::NotFound => FileError::Missing { path },
            _ => FileError::Other { path, doing, why },
        }
    }
}

impl std::str::FromStr for Owner {
    type Err = String;

    /// `uid:gid`, both numeric: names inside a container are not those of the host.
    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
        numbers.map(|(uid, gid)| Owner { uid, gid }).ok_or_else(|| {
            format!(
                "`{text}` is no owner; write uid:gid in numbers, as the signer's container knows them (id opendkim)"
            )
        })
    }
}

#[cfg(test)]
#[path = "files_tests.rs"]
mod tests;
