//! A directory compared with the files of a stack: what is missing is written, what differs is named and left alone.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::SIGNER_UID;
use super::diff::unified;
use super::files::{EDITED, StackFile};
use super::signs::Signs;
use crate::files::{Access, Dir, FileError, split};

/// How a directory stands to a stack.
#[derive(Debug, Default)]
pub struct Compared {
    pub missing: Vec<StackFile>,
    /// What is there with another text, and both texts.
    pub differs: Vec<(StackFile, String)>,
    pub same: usize,
}

/// Reads every file that is there.
pub fn compare(dir: &Path, files: Vec<StackFile>) -> Result<Compared, FileError> {
    let mut compared = Compared::default();
    for file in files {
        let path = dir.join(file.path);
        match fs::read(&path) {
            Ok(bytes) if bytes == file.text.as_bytes() || EDITED.contains(&file.path) => compared.same += 1,
            Ok(bytes) => compared.differs.push((file, String::from_utf8_lossy(&bytes).into_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => compared.missing.push(file),
            Err(error) => return Err(FileError::io(&path, "read", error)),
        }
    }
    Ok(compared)
}

impl Compared {
    /// What `init` would change if it could, as patch(1) takes it.
    pub fn diff(&self) -> String {
        let mut out = String::new();
        for file in &self.missing {
            out.push_str(&unified("/dev/null", &format!("b/{}", file.path), "", &file.text));
        }
        for (file, there) in &self.differs {
            out.push_str(&unified(&format!("a/{}", file.path), &format!("b/{}", file.path), there, &file.text));
        }
        out
    }

    /// Writes what is missing; returns the paths. A file that appeared in between is an error, and stays.
    pub fn write(&self, dir: &Path) -> Result<Vec<PathBuf>, FileError> {
        let mut written = Vec::new();
        for file in &self.missing {
            let path = dir.join(file.path);
            let (parent, name) = split(&path)?;
            make(parent, None)?;
            Dir::open(parent)?.create(name, file.text.as_bytes(), Access::mode(file.mode))?;
            written.push(file.path.into());
        }
        Ok(written)
    }
}

/// Makes the directories that containers mount, so that no engine makes them in its own way.
pub fn directories(dir: &Path, signs: Signs) -> Result<(), FileError> {
    for (name, mode) in signs.directories() {
        make(&dir.join(name), Some(mode))?;
    }
    let keys = dir.join(signs.keys());
    if Uid::effective().is_root() {
        let owner = Some(SIGNER_UID);
        std::os::unix::fs::chown(&keys, owner, owner)
            .map_err(|error| FileError::io(&keys, "given to the signer", error))?;
    }
    Ok(())
}

/// Whether the signer could enter the directory of its keys: only root can give it to the signer.
pub fn keys_are_the_signers(dir: &Path, signs: Signs) -> bool {
    fs::metadata(dir.join(signs.keys())).is_ok_and(|seen| seen.uid() == SIGNER_UID)
}

/// Makes a directory and its parents; one that is there keeps its mode.
fn make(path: &Path, mode: Option<u32>) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |error| FileError::io(path, "made", error);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make(parent, None)?;
    }
    fs::create_dir(path).map_err(failed)?;
    // Whatever the umask says: the signer reads its tables as its own user.
    fs::set_permissions(path, fs::Permissions::from_mode(mode.unwrap_or(0o755))).map_err(failed)
}

#[cfg(test)]
#[path = "place_tests.rs"]
mod tests;
