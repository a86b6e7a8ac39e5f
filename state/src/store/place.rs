//! Where a state may live: a directory of its own, on a local disk, that nobody else can write to.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the store is what reaches the disk

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::StoreError;

/// Makes the directory, for its owner alone. One that exists already and is empty is made so too.
pub fn make(dir: &Path) -> Result<(), StoreError> {
    let fault = |e| io(dir, &e);
    if dir.is_dir() {
        if fs::read_dir(dir).map_err(fault)?.next().is_none() {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(fault)?;
        }
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault)?;
    // The directory itself is an entry that a power cut could take.
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), flush)
}

/// Refuses what others may write to: they could put keys in our name there.
pub fn private(path: &Path) -> Result<(), StoreError> {
    let mode = fs::metadata(path).map_err(|e| io(path, &e))?.permissions().mode();
    match mode & 0o022 {
        0 => Ok(()),
        _ => Err(StoreError::NotAState {
            path: path.display().to_string(),
            problem: format!(
                "others may write here (mode {:03o}), so nothing in it can be trusted; look who did, then `chmod go-w {}`",
                mode & 0o777,
                path.display()
            ),
        }),
    }
}

/// Refuses network file systems: flock and fsync do not keep their promises there.
#[cfg(target_os = "linux")]
pub fn local(dir: &Path) -> Result<(), StoreError> {
    let stat = nix::sys::statfs::statfs(dir).map_err(|e| io(dir, &e.into()))?;
    match network(stat.filesystem_type().0 as u32) {
        Some(kind) => Err(StoreError::Network { path: dir.display().to_string(), kind }),
        None => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn local(_: &Path) -> Result<(), StoreError> {
    Ok(()) // statfs says it in words there, each system in its own
}

/// The numbers of statfs(2). FUSE may be anything, sshfs among it.
#[cfg(target_os = "linux")]
fn network(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x0000_6969 => "NFS",
        0x0000_517b | 0xff53_4d42 | 0xfe53_4d42 => "SMB",
        0x6573_5546 => "FUSE",
        0x5346_414f => "AFS",
        0x0102_1997 => "9P",
        0x00c3_6400 => "CephFS",
        _ => return None,
    })
}

/// Makes a rename or a new file last: its directory is flushed.
pub(super) fn flush(dir: &Path) -> Result<(), StoreError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(|e| io(dir, &e))
}

/// The one way that an error of the file system becomes ours.
pub(super) fn io(path: &Path, error: &std::io::Error) -> StoreError {
    let path = path.display().to_string();
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full { path },
        _ => StoreError::Io { path, problem: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn network_file_systems_are_known_by_number() {
        use nix::sys::statfs::{FUSE_SUPER_MAGIC, NFS_SUPER_MAGIC, SMB_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC};
        assert_eq!(network(NFS_SUPER_MAGIC.0 as u32), Some("NFS"));
        assert_eq!(network(SMB_SUPER_MAGIC.0 as u32), Some("SMB"));
        assert_eq!(network(FUSE_SUPER_MAGIC.0 as u32), Some("FUSE"));
        assert_eq!(network(TMPFS_MAGIC.0 as u32), None);
        assert_eq!(network(XFS_SUPER_MAGIC.0 as u32), None);
    }

    #[test]
    fn a_new_directory_is_ours_alone_and_one_that_others_write_to_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("a/state");
        make(&dir).unwrap();
        let mode = || fs::metadata(&dir).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(), 0o700);
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
        let refused = private(&dir).unwrap_err().to_string();
        assert!(refused.contains("others may write here (mode 777)") && refused.contains("chmod go-w"), "{refused}");
        make(&dir).unwrap();
        assert_eq!(mode(), 0o700, "an empty one is made ours");
    }
}
