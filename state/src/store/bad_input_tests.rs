//! What a disk, a person or another program may do to the file: each is named, and nothing is half-written.
#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stdout)] // the disk is what is tested

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::sample::{T0, change, domain, to_active};
use super::sqlite::{FILE, Options, SqliteStore};
use super::*;
use crate::time::Span;

fn state_of(dir: &Path, domains: u32) -> PathBuf {
    let mut store = SqliteStore::create(dir, uuid::Uuid::nil(), &Options::read_write()).unwrap();
    let batch: Vec<Change> = (0..domains).map(|n| change(&store, &domain(n), to_active(n, "s1"), Some(T0))).collect();
    store.commit(&batch).unwrap();
    dir.join(FILE)
}

/// What opening says, and reading everything if it opens.
fn complaint(dir: &Path) -> StoreError {
    let read_all = |store: SqliteStore| {
        for domain in store.domains(None, usize::MAX)? {
            store.load(&domain)?;
        }
        store.events(None, 0, usize::MAX).map(drop)
    };
    let readers = [Options::read_only(), Options::read_write()];
    let mut said = readers.iter().map(|options| SqliteStore::open(dir, options).and_then(read_all).unwrap_err());
    let (first, second) = (said.next().unwrap(), said.next().unwrap());
    assert_eq!(first.to_string(), second.to_string());
    first
}

#[test]
fn what_is_not_a_state_is_named() {
    let foreign = |path: &Path| {
        fs::remove_file(path).unwrap();
        rusqlite::Connection::open(path)
            .unwrap()
            .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE cats (name TEXT)")
            .unwrap();
    };
    let newer = |path: &Path| {
        rusqlite::Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 9").unwrap();
    };
    type Case<'a> = (&'a str, &'a dyn Fn(&Path), &'a str);
    let cases: [Case<'_>; 7] = [
        ("zero bytes", &|path| fs::write(path, "").unwrap(), "it is empty (0 bytes)"),
        ("a text", &|path| fs::write(path, "domain = \"a.example\"\n").unwrap(), r#"it begins with "domain = "#),
        ("a few bytes", &|path| fs::write(path, "SQLite").unwrap(), r#"it begins with "SQLite""#),
        ("a header alone", &|path| fs::write(path, "SQLite format 3\0").unwrap(), "it is damaged"),
        ("a foreign database", &foreign, "the database of another program (application_id 0); it was not touched"),
        ("of a newer version", &newer, "it is of format 9, but this dkimctl knows up to 3"),
        (
            "a directory",
            &|path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            "it is not a file",
        ),
    ];
    for (what, harm, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        harm(&state_of(dir.path(), 3));
        let before = fs::read(dir.path().join(FILE)).ok();
        let said = complaint(dir.path());
        assert!(matches!(said, StoreError::NotAState { .. }) && said.to_string().contains(expected), "{what}: {said}");
        assert_eq!(fs::read(dir.path().join(FILE)).ok(), before, "{what}: it was not touched");
    }
}

#[test]
fn a_truncated_file_is_named_wherever_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = state_of(dir.path(), 40);
    let whole = fs::read(&path).unwrap();
    for length in [50, 99, 100, 512, 4096, 8192, 8193, 3 * 8192, whole.len() - 8192, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let said = complaint(dir.path());
        assert!(matches!(said, StoreError::NotAState { .. }), "{length} bytes: {said}");
        assert!(said.to_string().contains("restore a backup"), "{length} bytes: {said}");
    }
}

#[test]
fn a_corrupted_page_is_found_by_verify() {
    let dir = tempfile::tempdir().unwrap();
    let path = state_of(dir.path(), 40);
    let pages = fs::metadata(&path).unwrap().len() / 8192;
    for page in 1..pages {
        let whole = fs::read(&path).unwrap();
        fs::File::options().write(true).open(&path).unwrap().write_all_at(&[0xa5; 512], page * 8192).unwrap();
        let report = SqliteStore::open(dir.path(), &Options::read_only()).and_then(|store| store.verify());
        match report {
            Ok(report) => assert!(!report.is_whole(), "page {page}"),
            Err(said) => assert!(matches!(said, StoreError::NotAState { .. }), "page {page}: {said}"),
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(SqliteStore::open(dir.path(), &Options::read_only()).unwrap().verify().unwrap().is_whole());
}

#[test]
fn a_flipped_bit_inside_a_document_is_found_although_the_page_is_well_formed() {
    let dir = tempfile::tempdir().unwrap();
    let path = state_of(dir.path(), 3);
    let mut bytes = fs::read(&path).unwrap();
    let wanted = br#""since":"2026-"#;
    let at = bytes.windows(wanted.len()).position(|window| window == wanted).unwrap();
    bytes[at + wanted.len() - 2] ^= 1;
    fs::write(&path, bytes).unwrap();
    let found = SqliteStore::open(dir.path(), &Options::read_only()).unwrap().verify().unwrap().findings;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().contains("the seal does not fit"), "{found:?}");
}

#[test]
fn a_document_that_is_tampered_with_is_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let path = state_of(dir.path(), 2);
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("UPDATE domain SET doc = replace(doc, '\"newest\"', '\"oldest\"') WHERE id = 1").unwrap();
    let store = SqliteStore::open(dir.path(), &Options::read_only()).unwrap();
    let said = store.load(&domain(0)).unwrap_err();
    assert!(matches!(said, StoreError::Damaged { .. }), "{said}");
    assert!(said.to_string().contains("unknown field `oldest`"), "{said}");
    assert_eq!(store.load(&domain(1)).unwrap().revision, 1, "one domain's damage is not another's");
}

/// A file system of its own, unmounted at the end.
struct Mount(tempfile::TempDir);

impl Mount {
    /// `None`, with a line that says so, for who is not root.
    fn tmpfs(size: &str) -> Option<Mount> {
        let dir = tempfile::tempdir().unwrap();
        let made = mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"], dir.path());
        if made {
            return Some(Mount(dir));
        }
        let skip = "SKIPPED: a tmpfs cannot be mounted here (not root)";
        assert!(std::env::var_os("DKIMCTL_NO_SKIP").is_none(), "{skip}");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{skip}\n").as_bytes());
        None
    }

    fn read_only(&self) {
        assert!(mount(&["-o", "remount,ro"], self.0.path()));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

fn mount(args: &[&str], at: &Path) -> bool {
    Command::new("mount").args(args).arg(at).stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success())
}

#[test]
fn a_full_disk_changes_nothing() {
    let Some(disk) = Mount::tmpfs("256k") else { return };
    let dir = disk.0.path().join("state");
    let marks = disk.0.path().join("high-water");
    let options = Options { high_water: Some(marks), ..Options::read_write() };
    let mut store = SqliteStore::create(&dir, uuid::Uuid::nil(), &options).unwrap();
    let mut kept = 0;
    let full = loop {
        let change = change(&store, &domain(kept), to_active(kept, "s1"), Some(T0));
        match store.commit(&[change]) {
            Ok(()) => kept += 1,
            Err(e) => break e,
        }
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full}");
    assert!(kept > 0, "there was room for one");
    for again in [SqliteStore::open(&dir, &options).unwrap(), store] {
        assert_eq!(again.identity().unwrap().serial, u64::from(kept));
        assert_eq!(again.domains(None, usize::MAX).unwrap(), (0..kept).map(domain).collect::<Vec<_>>());
        let report = again.verify().unwrap();
        assert!(report.is_whole(), "{:?}", report.findings);
    }
    // A tmpfs gives some pages back late: what is left is taken, so that nothing more fits.
    let _ = fs::write(disk.0.path().join("ballast"), vec![0; 1 << 20]);
    let copy = SqliteStore::open(&dir, &options).unwrap().backup(&dir.join("backup")).unwrap_err();
    assert!(matches!(copy, StoreError::Full { .. }), "{copy}");
    assert_eq!(fs::read_dir(dir.join("backup")).unwrap().count(), 0, "no half of a copy is left");
    let fresh = disk.0.path().join("other");
    let said = SqliteStore::create(&fresh, uuid::Uuid::nil(), &Options::read_write()).unwrap_err();
    assert!(matches!(said, StoreError::Full { .. }), "{said}");
    assert!(!fresh.join(FILE).exists(), "no half of a state is left");
}

#[test]
fn room_again_is_enough_to_go_on() {
    let Some(disk) = Mount::tmpfs("512k") else { return };
    let ballast = disk.0.path().join("ballast");
    let mut store =
        SqliteStore::create(&disk.0.path().join("state"), uuid::Uuid::nil(), &Options::read_write()).unwrap();
    let add = |store: &mut SqliteStore, n| {
        let change = change(store, &domain(n), to_active(n, "s1"), None);
        store.commit(&[change])
    };
    add(&mut store, 1).unwrap();
    let _ = fs::write(&ballast, vec![0; 1 << 20]);
    assert!(matches!(add(&mut store, 2), Err(StoreError::Full { .. })));
    fs::remove_file(ballast).unwrap();
    add(&mut store, 2).unwrap();
    assert!(store.verify().unwrap().is_whole());
}

#[test]
fn a_read_only_disk_is_read_and_not_written() {
    let Some(disk) = Mount::tmpfs("2m") else { return };
    let dir = disk.0.path();
    state_of(dir, 3);
    disk.read_only();
    let store = SqliteStore::open(dir, &Options::read_only()).unwrap();
    assert_eq!(store.due(T0 + Span::hours(1), 10).unwrap().len(), 3);
    assert!(store.verify().unwrap().is_whole());
    let mut writer = match SqliteStore::open(dir, &Options::read_write()) {
        Ok(writer) => writer,
        Err(said) => return assert!(matches!(said, StoreError::Io { .. }), "{said}"),
    };
    let late = change(&writer, &domain(9), to_active(9, "s1"), None);
    let said = writer.commit(&[late]).unwrap_err();
    assert!(matches!(said, StoreError::Io { .. }) && said.to_string().contains("nothing was changed"), "{said}");
}
