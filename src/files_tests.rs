use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use super::*;

const SECRET: Access = Access::mode(0o400);

fn dir() -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    let dir = Dir::open_own(&temp.path().join("d"), Access::mode(0o700)).unwrap();
    (temp, dir)
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn a_file_is_created_once_and_never_overwritten() {
    let (_temp, dir) = dir();
    dir.create("a", b"one", SECRET).unwrap();
    assert_eq!(mode(&dir.path().join("a")), 0o400);
    assert_eq!(mode(dir.path()), 0o700);
    assert!(matches!(dir.create("a", b"two", SECRET), Err(FileError::Exists { .. })));
    assert_eq!(dir.read("a").unwrap().unwrap().as_slice(), b"one");
    assert_eq!(dir.names().unwrap(), ["a"], "no partial file stays behind");
    dir.replace("a", b"three", SECRET).unwrap();
    assert_eq!(dir.read("a").unwrap().unwrap().as_slice(), b"three");
    assert!(dir.shred("a").unwrap());
    assert!(!dir.shred("a").unwrap());
    assert!(dir.read("a").unwrap().is_none());
}

#[test]
fn group_bits_survive_a_strict_umask() {
    let (_temp, dir) = dir();
    dir.create("a", b"x", Access::mode(0o440)).unwrap();
    assert_eq!(mode(&dir.path().join("a")), 0o440);
}

#[test]
fn orphans_are_removed_and_files_in_work_are_not() {
    let (_temp, dir) = dir();
    std::fs::write(dir.path().join(".a.partial"), b"half").unwrap();
    std::fs::write(dir.path().join(".b.partial"), b"half").unwrap();
    let in_work = File::open(dir.path().join(".b.partial")).unwrap();
    in_work.lock().unwrap();
    assert_eq!(dir.sweep().unwrap(), 1);
    assert_eq!(dir.names().unwrap(), [".b.partial"]);
    assert!(matches!(dir.create("b", b"whole", SECRET), Err(FileError::Busy { .. })));
    // Not by closing: a test that forks at this moment would hold a copy of the descriptor.
    in_work.unlock().unwrap();
    dir.create("b", b"whole", SECRET).unwrap();
    assert_eq!(dir.names().unwrap(), ["b"]);
}

#[test]
fn a_finished_file_survives_the_removal_of_its_first_name() {
    let (_temp, dir) = dir();
    dir.create("a", b"whole", SECRET).unwrap();
    std::fs::hard_link(dir.path().join("a"), dir.path().join(".a.partial")).unwrap();
    assert_eq!(dir.sweep().unwrap(), 1);
    assert_eq!(dir.names().unwrap(), ["a"]);
    assert_eq!(dir.read("a").unwrap().unwrap().as_slice(), b"whole");
}

#[test]
fn a_directory_that_a_crash_left_unfinished_is_finished() {
    let (_temp, dir) = dir();
    std::fs::create_dir(dir.path().join(".sub.partial")).unwrap();
    std::fs::set_permissions(dir.path().join(".sub.partial"), PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(dir.sweep().unwrap(), 0);
    dir.child("sub", Access::mode(0o750)).unwrap();
    assert_eq!(mode(&dir.path().join("sub")), 0o750);
    dir.child("sub", Access::mode(0o700)).unwrap();
    assert_eq!(mode(&dir.path().join("sub")), 0o750, "what is there is somebody's choice");
    assert_eq!(dir.names().unwrap(), ["sub"]);
}

#[test]
fn links_and_fifos_are_refused() {
    let (temp, dir) = dir();
    std::fs::write(temp.path().join("victim"), b"theirs").unwrap();
    symlink(temp.path().join("victim"), dir.path().join("link")).unwrap();
    assert!(matches!(dir.read("link"), Err(FileError::Symlink { .. })));
    assert!(matches!(dir.create("link", b"x", SECRET), Err(FileError::Exists { .. })));
    assert!(matches!(dir.shred("link"), Err(FileError::Symlink { .. })));
    symlink(temp.path(), dir.path().join("linked-dir")).unwrap();
    assert!(matches!(dir.child("linked-dir", Access::mode(0o700)), Err(FileError::Symlink { .. })));
    nix::unistd::mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).unwrap();
    assert!(matches!(dir.read("fifo"), Err(FileError::NotAFile { .. })));
    assert_eq!(std::fs::read(temp.path().join("victim")).unwrap(), b"theirs");
}

#[test]
fn directories_that_others_can_write_are_refused() {
    let (temp, dir) = dir();
    let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    check_parents(dir.path(), None).unwrap();
    for bad in [0o777, 0o720, 0o1777] {
        chmod(dir.path(), bad);
        assert!(matches!(check_parents(dir.path(), None), Err(FileError::WritableByOthers { .. })), "{bad:o}");
        assert!(Dir::open_own(dir.path(), Access::mode(0o700)).is_err());
    }
    chmod(dir.path(), 0o700);
    chmod(temp.path(), 0o777);
    assert!(matches!(check_parents(dir.path(), None), Err(FileError::WritableByOthers { .. })));
    chmod(temp.path(), 0o700);
    if Uid::effective().is_root() {
        std::os::unix::fs::chown(temp.path(), Some(4711), None).unwrap();
        assert!(matches!(check_parents(dir.path(), None), Err(FileError::ForeignOwner { uid: 4711, .. })));
        check_parents(dir.path(), Some(Owner { uid: 4711, gid: 4711 })).unwrap();
        symlink(dir.path(), temp.path().join("theirs")).unwrap();
        std::os::unix::fs::lchown(temp.path().join("theirs"), Some(4712), None).unwrap();
        std::os::unix::fs::chown(temp.path(), Some(0), None).unwrap();
        assert!(matches!(check_parents(&temp.path().join("theirs"), None), Err(FileError::Symlink { .. })));
    }
}

#[test]
fn a_full_or_read_only_disk_is_named_and_nothing_stays() {
    let (_temp, dir) = dir();
    let mounted = dir.path().join("mnt");
    std::fs::create_dir(&mounted).unwrap();
    let tmpfs = ["-t", "tmpfs", "-o", "size=16k,mode=0700", "tmpfs"];
    if !Command::new("mount").args(tmpfs).arg(&mounted).output().is_ok_and(|done| done.status.success()) {
        return; // needs the right to mount
    }
    let small = Dir::open(&mounted).unwrap();
    let full = small.create("a", &[7; 100_000], SECRET);
    let left = small.names().unwrap();
    small.create("b", b"fits", SECRET).unwrap();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&mounted).status().unwrap();
    let read_only = small.create("c", b"x", SECRET);
    drop(small);
    assert!(Command::new("umount").arg(&mounted).status().unwrap().success());
    assert!(matches!(full, Err(FileError::DiskFull { .. })), "{full:?}");
    assert_eq!(left, [""; 0]);
    assert!(remounted.success());
    assert!(matches!(read_only, Err(FileError::ReadOnly { .. })), "{read_only:?}");
}

#[test]
fn owners_are_numbers() {
    assert_eq!("101:104".parse(), Ok(Owner { uid: 101, gid: 104 }));
    for bad in ["opendkim", "101", "101:", ":", "-1:0"] {
        assert!(bad.parse::<Owner>().is_err());
    }
}
