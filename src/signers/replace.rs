//! Replaces a table file whole: a signer that reads at any instant sees the old text or the new one, never half.
//!
//! The temporary file lies in the same directory (a rename across file systems is a copy), gets the old file's owner
//! and mode *before* the rename, and both the file and the directory are on disk when this returns. Extended
//! attributes and ACLs are not carried over. A table that is bind-mounted as a single file cannot be renamed over
//! (`EBUSY`): mount its directory instead.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// What stands in the way of reading or replacing a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{path} cannot be read, so its rows are not known: run `ls -lL {path}`")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} could not be replaced ({doing}), so the old rows stand: run `ls -ld {path} {}`",
        parent(path).display()
    )]
    Write { path: PathBuf, doing: &'static str, source: io::Error },
    #[error("{path} was changed by someone else while it was being edited; the old rows stand: run the command again")]
    Changed { path: PathBuf },
    #[error("{path} is larger than {limit} octets, which no table of keys is: look at it with `head {path}`")]
    TooLarge { path: PathBuf, limit: u64 },
}

/// A table of a million rows fits; a log that was named by mistake does not.
const LARGEST: u64 = 256 * 1024 * 1024;

/// How the names of unfinished tables begin.
pub(crate) const PARTIAL: &str = ".dkimctl-";

/// Reads a whole table.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(FileError::TooLarge { path: path.to_owned(), limit: LARGEST });
    }
    Ok(bytes)
}

/// Puts `new` where `old` stands. Returns whether anything was written: equal text is left alone.
pub fn replace(path: &Path, old: &[u8], new: &[u8]) -> Result<bool, FileError> {
    if old == new {
        sweep(path);
        return Ok(false);
    }
    put(path, old, new).map(|()| true)
}

/// Puts a new file with the same text in the old one's place: whoever watches the file takes it for changed.
pub fn renew(path: &Path) -> Result<(), FileError> {
    let text = read(path)?;
    put(path, &text, &text)
}

fn put(path: &Path, old: &[u8], new: &[u8]) -> Result<(), FileError> {
    let failed = |doing| move |source| FileError::Write { path: path.to_owned(), doing, source };
    // A symbolic link keeps pointing: its target is what is replaced.
    let target = fs::canonicalize(path).map_err(failed("resolving its name"))?;
    let directory = parent(&target);
    let before = fs::metadata(&target).map_err(failed("reading its owner"))?;

    sweep(&target);
    let mut temporary =
        tempfile::Builder::new().prefix(PARTIAL).tempfile_in(directory).map_err(failed("creating a file beside it"))?;
    // Whoever sweeps sees by it that this one is still being written.
    temporary.as_file().lock().map_err(failed("locking the new file"))?;
    temporary.write_all(new).map_err(failed("writing beside it"))?;
    let created = temporary.as_file().metadata().map_err(failed("reading the new file's owner"))?;
    if (created.uid(), created.gid()) != (before.uid(), before.gid()) {
        fchown(temporary.as_file(), Some(before.uid()), Some(before.gid())).map_err(failed("keeping its owner"))?;
    }
    // After the owner: a change of owner may clear bits.
    let mode = fs::Permissions::from_mode(before.mode() & 0o7777);
    temporary.as_file().set_permissions(mode).map_err(failed("keeping its mode"))?;
    temporary.as_file().sync_all().map_err(failed("flushing it to disk"))?;

    if read(&target)? != old {
        return Err(FileError::Changed { path: path.to_owned() });
    }
    temporary.persist(&target).map_err(|error| failed("renaming over it")(error.error))?;
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(failed("flushing its directory"))
}

/// Removes what processes that were killed left beside a file. What cannot be removed is in nobody's way.
pub(crate) fn sweep(path: &Path) {
    let Ok(entries) = fs::read_dir(parent(path)) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(PARTIAL.as_bytes()))
    {
        if File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_owner_and_links_survive_a_replacement() {
        let dir = tempfile::tempdir().unwrap();
        let (table, link) = (dir.path().join("KeyTable"), dir.path().join("link"));
        fs::write(&table, "old\n").unwrap();
        fs::set_permissions(&table, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("KeyTable", &link).unwrap();

        assert!(replace(&link, b"old\n", b"new\n").unwrap());
        assert_eq!(fs::read(&table).unwrap(), b"new\n");
        assert_eq!(fs::metadata(&table).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn an_edit_in_between_is_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("KeyTable");
        fs::write(&table, "somebody's\n").unwrap();
        assert!(matches!(replace(&table, b"old\n", b"new\n"), Err(FileError::Changed { .. })));
        assert_eq!(fs::read(&table).unwrap(), b"somebody's\n");
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (table, orphan, busy) =
            (dir.path().join("KeyTable"), dir.path().join(".dkimctl-aaa"), dir.path().join(".dkimctl-bbb"));
        for file in [&table, &orphan, &busy] {
            fs::write(file, "old\n").unwrap();
        }
        let held = File::open(&busy).unwrap();
        held.lock().unwrap();
        assert!(replace(&table, b"old\n", b"new\n").unwrap());
        assert!(!orphan.exists() && busy.exists());
        drop(held);
        assert!(!replace(&table, b"new\n", b"new\n").unwrap());
        assert!(!busy.exists());
    }

    #[test]
    fn equal_text_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let table = dir.path().join("KeyTable");
        fs::write(&table, "same\n").unwrap();
        let inode = fs::metadata(&table).unwrap().ino();
        assert!(!replace(&table, b"same\n", b"same\n").unwrap());
        assert_eq!(fs::metadata(&table).unwrap().ino(), inode);
        renew(&table).unwrap();
        assert_ne!(fs::metadata(&table).unwrap().ino(), inode, "another file");
        assert_eq!(fs::read(&table).unwrap(), b"same\n");
    }
}
