#![allow(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stdout)] // the file is what is tested
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;
use crate::store::sample::{T0, change, domain, key, to_active};
use crate::time::Span;

const FIXTURE_1: &str = include_str!("../../tests/fixtures/format-1.sql");
const LINEAGE: uuid::Uuid = uuid::Uuid::from_u128(0x6f1c_3bd2_4d0a_4b43_9d9c_0c6f_1d8a_7e11);

fn create(dir: &Path) -> SqliteStore {
    SqliteStore::create(dir, LINEAGE, &Options::read_write()).unwrap()
}

fn add(store: &mut SqliteStore, n: u32) {
    let change = change(store, &domain(n), to_active(n, "s1"), Some(T0));
    store.commit(&[change]).unwrap();
}

#[test]
fn sqlite_is_new_enough() {
    // 3.7.0 to 3.51.2 can corrupt a database when a write-ahead log is reset.
    assert!(rusqlite::version_number() >= 3_051_003, "{}", rusqlite::version());
}

#[test]
fn everything_that_makes_a_commit_last_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let writer = create(dir.path());
    let reader = SqliteStore::open(dir.path(), &Options::read_only()).unwrap();
    for store in [&writer, &reader] {
        let text = |name| store.db.pragma_query_value(None, name, |row| row.get::<_, String>(0)).unwrap();
        let number = |name| store.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(text("journal_mode"), "delete");
        for (name, value) in [
            ("synchronous", 3), // EXTRA
            ("foreign_keys", 1),
            ("trusted_schema", 0),
            ("cell_size_check", 1),
            ("secure_delete", 1),
            ("mmap_size", 0),
            ("page_size", schema::PAGE_SIZE),
            ("application_id", schema::APPLICATION_ID.into()),
            ("user_version", schema::STEPS.len() as i64),
        ] {
            assert_eq!(number(name), value, "{name}");
        }
        assert!(number("busy_timeout") >= 5_000);
    }
    let strict =
        "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%' AND NOT strict";
    assert_eq!(writer.db.query_row(strict, [], |row| row.get::<_, i64>(0)).unwrap(), 0, "every table is STRICT");
}

#[test]
fn nobody_else_reads_or_writes_it() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("state");
    drop(create(&dir));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join(FILE)), 0o600);
    fs::set_permissions(dir.join(FILE), fs::Permissions::from_mode(0o666)).unwrap();
    let refused = SqliteStore::open(&dir, &Options::read_only()).unwrap_err().to_string();
    assert!(refused.contains("others may write here (mode 666)"), "{refused}");
}

#[test]
fn a_state_is_made_once_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    // What a kill in the middle of `create` leaves.
    fs::write(dir.path().join("dkimctl.db.new"), "half").unwrap();
    fs::write(dir.path().join("dkimctl.db.new-journal"), "half").unwrap();
    let missing = SqliteStore::open(dir.path(), &Options::read_write()).unwrap_err();
    assert!(matches!(missing, StoreError::Missing { .. }), "{missing}");
    let mut store = create(dir.path());
    add(&mut store, 1);
    let again = SqliteStore::create(dir.path(), LINEAGE, &Options::read_write()).unwrap_err().to_string();
    assert!(again.contains("a state is here already"), "{again}");
    assert_eq!(store.identity().unwrap(), Identity { lineage: LINEAGE, serial: 1, epoch: 1 });
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, [FILE], "one file at rest");
}

#[test]
fn what_is_due_comes_from_the_index_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path());
    for (select, index) in [
        (DUE, "SEARCH domain USING COVERING INDEX due (wake<?)"),
        ("SELECT min(wake) FROM domain WHERE wake IS NOT NULL", "SEARCH domain USING COVERING INDEX due (wake>?)"),
    ] {
        let mut explain = store.db.prepare(&format!("EXPLAIN QUERY PLAN {select}")).unwrap();
        let params: &[i64] = if select == DUE { &[1, 2] } else { &[] };
        let plan = explain.query_map(rusqlite::params_from_iter(params), |row| row.get::<_, String>(3)).unwrap();
        assert_eq!(plan.collect::<Result<Vec<_>, _>>().unwrap(), [index]);
    }
}

#[test]
fn who_only_reads_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    add(&mut store, 1);
    drop(store);
    let trace = || {
        [dir.path().to_owned(), dir.path().join(FILE)].map(|path| {
            let found = fs::metadata(path).unwrap();
            (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec(), found.len())
        })
    };
    let before = trace();
    let reader = SqliteStore::open(dir.path(), &Options::read_only()).unwrap();
    assert_eq!(reader.due(T0, 10).unwrap(), [domain(1)]);
    reader.load(&domain(1)).unwrap();
    reader.export(&mut Vec::new()).unwrap();
    assert!(reader.verify().unwrap().is_whole());
    drop(reader);
    // Nothing due, with the right to write: nothing is written either.
    let idle = SqliteStore::open(dir.path(), &Options::read_write()).unwrap();
    assert_eq!(idle.due(T0 + Span::ZERO, 0).unwrap(), []);
    drop(idle);
    assert_eq!(trace(), before);

    let mut reader = SqliteStore::open(dir.path(), &Options::read_only()).unwrap();
    let refused = reader.set_note("a", None, "b").unwrap_err();
    assert!(refused.to_string().contains("it cannot be written to, so nothing was changed"), "{refused}");
}

#[test]
fn a_reader_takes_back_what_a_killed_writer_left_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    for n in 0..50 {
        add(&mut store, n);
    }
    let crashed = tempfile::tempdir().unwrap();
    // A small cache spills dirty pages to the file before the commit; the copy is what a kill leaves on the disk.
    store.db.pragma_update(None, "cache_size", 1).unwrap();
    let tx = store.db.unchecked_transaction().unwrap();
    tx.execute("UPDATE domain SET wake = 1, doc = doc || doc || doc", []).unwrap();
    for name in ["dkimctl.db", "dkimctl.db-journal"] {
        fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    let reader = SqliteStore::open(crashed.path(), &Options::read_only()).unwrap();
    assert_eq!(reader.next_wake().unwrap(), Some(T0));
    assert!(reader.verify().unwrap().is_whole());
    assert!(!crashed.path().join("dkimctl.db-journal").exists());
}

#[test]
fn an_older_copy_is_noticed_and_accepted_only_by_word() {
    let home = tempfile::tempdir().unwrap();
    let (dir, old) = (home.path().join("state"), home.path().join("old"));
    let options = Options { high_water: Some(home.path().join("dkimctl/high-water")), ..Options::read_write() };
    let mut store = SqliteStore::create(&dir, LINEAGE, &options).unwrap();
    add(&mut store, 1);
    let copy = store.backup(&old).unwrap().path;
    add(&mut store, 2);
    add(&mut store, 3);
    drop(store);
    let newer = fs::read(dir.join(FILE)).unwrap();

    fs::copy(copy, dir.join(FILE)).unwrap();
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let refused = SqliteStore::open(&dir, &Options { access, ..options.clone() }).unwrap_err();
        assert!(matches!(refused, StoreError::Older { found: 1, known: 3, .. }), "{refused}");
    }
    let accepted = SqliteStore::accept_older(&dir, &options).unwrap();
    assert_eq!(accepted, Identity { lineage: LINEAGE, serial: 4, epoch: 2 });
    let mut store = SqliteStore::open(&dir, &options).unwrap();
    assert_eq!(store.load(&domain(2)).unwrap().revision, 0);
    add(&mut store, 2);
    drop(store);

    // The copy that was given up is refused from now on, however far it went.
    fs::write(dir.join(FILE), newer).unwrap();
    let refused = SqliteStore::open(&dir, &options).unwrap_err();
    assert!(matches!(refused, StoreError::Fenced { ours: 1, found: 2 }), "{refused}");
}

#[test]
fn a_mark_that_cannot_be_read_refuses_nobody() {
    let home = tempfile::tempdir().unwrap();
    let marks = home.path().join("high-water");
    let options = Options { high_water: Some(marks.clone()), ..Options::read_write() };
    let mut store = SqliteStore::create(&home.path().join("state"), LINEAGE, &options).unwrap();
    let mark = HighWater::new(&marks, LINEAGE);
    for garbage in ["", "{", "\0\0\0\0"] {
        fs::write(marks.join(LINEAGE.to_string()), garbage).unwrap();
        drop(SqliteStore::open(&home.path().join("state"), &options).unwrap());
    }
    add(&mut store, 1);
    assert_eq!(mark.read(), Mark { epoch: 1, serial: 1 });
    // Marks that cannot be written do not take a commit back that holds.
    fs::remove_dir_all(&marks).unwrap();
    fs::write(&marks, "in the way").unwrap();
    add(&mut store, 2);
    assert_eq!(store.identity().unwrap().serial, 2);
}

/// The state in the file of format 1, which is never written anew.
fn of_format_1(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    let path = dir.join(FILE);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(FIXTURE_1).unwrap();
    drop(db);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn a_file_of_format_1_is_read_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    of_format_1(dir.path());
    let store = SqliteStore::open(dir.path(), &Options::read_write()).unwrap();
    assert_eq!(store.identity().unwrap(), Identity { lineage: LINEAGE, serial: 3, epoch: 1 });
    assert_eq!(store.domains(None, 10).unwrap(), [domain(1), domain(2)]);
    assert_eq!(store.load(&domain(1)).unwrap().revision, 1);
    assert_eq!(store.find_key(&key(2, "s1").fingerprint).unwrap(), Some((domain(2), Phase::Active)));
    assert_eq!(store.note("mx1").unwrap().as_deref(), Some("a receipt"));
    let report = store.verify().unwrap();
    assert_eq!((report.findings, report.events), (vec![], 18));
}

#[test]
fn the_next_format_is_reached_after_a_backup_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    of_format_1(dir.path());
    let next = |step| [schema::STEPS, &[step]].concat();

    let refused = open::open(dir.path(), &Options::read_only(), &next("SELECT 1")).unwrap_err().to_string();
    assert!(refused.contains("it is of the older format 1"), "{refused}");
    let half = "ALTER TABLE note ADD COLUMN at INTEGER; INSERT INTO nowhere VALUES (1);";
    open::open(dir.path(), &Options::read_write(), &next(half)).unwrap_err();
    let file = Connection::open(dir.path().join(FILE)).unwrap();
    assert_eq!(schema::format(&file).unwrap(), 1, "a step that fails leaves the file as it was");
    drop(file);

    let step = "ALTER TABLE note ADD COLUMN at INTEGER;";
    let store = open::open(dir.path(), &Options::read_write(), &next(step)).unwrap();
    let known = schema::STEPS.len() as i32;
    assert_eq!(schema::format(&store.db).unwrap(), known + 1);
    assert_eq!(store.note("mx1").unwrap().as_deref(), Some("a receipt"));
    drop(store);

    let newer = SqliteStore::open(dir.path(), &Options::read_write()).unwrap_err().to_string();
    assert!(newer.contains(&format!("it is of format {}, but this dkimctl knows up to {known}", known + 1)), "{newer}");

    // The way back: the copy that was made before.
    fs::copy(dir.path().join("backup/dkimctl-format-1-6f1c3bd2-0000000003.db"), dir.path().join(FILE)).unwrap();
    let store = SqliteStore::open(dir.path(), &Options::read_write()).unwrap();
    assert!(store.verify().unwrap().is_whole());
}

#[test]
fn an_export_shows_facts_and_nothing_that_a_no_op_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    add(&mut store, 2);
    add(&mut store, 1);
    let export = |store: &SqliteStore| {
        let mut lines = Vec::new();
        store.export(&mut lines).unwrap();
        String::from_utf8(lines).unwrap()
    };
    let first = export(&store);
    let lines: Vec<_> = first.lines().collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0], format!(r#"{{"v":1,"lineage":"{LINEAGE}"}}"#));
    assert!(lines[1].starts_with(r#"{"v":1,"domain":"d000001.example","#), "{}", lines[1]);
    assert_eq!(document::read(lines[2]).unwrap(), store.load(&domain(2)).unwrap().ledger);

    let later = change(&store, &domain(1), Vec::new(), Some(T0 + Span::hours(1)));
    store.commit(&[later]).unwrap();
    store.set_note("mx1", None, "a receipt").unwrap();
    assert_eq!(export(&store), first, "another look at the world is no other state");
    add_second(&mut store);
    assert_ne!(export(&store), first);

    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(store.export(&mut Full), Err(crate::store::export::ExportError::Write(_))));
}

fn add_second(store: &mut SqliteStore) {
    let rotated = change(store, &domain(1), to_active(7, "s2"), Some(T0));
    store.commit(&[rotated]).unwrap();
}

#[test]
fn a_backup_is_a_state() {
    let home = tempfile::tempdir().unwrap();
    let mut store = create(&home.path().join("state"));
    add(&mut store, 1);
    let to = home.path().join("backups");
    let reader = SqliteStore::open(&home.path().join("state"), &Options::read_only()).unwrap();
    let made = reader.backup(&to).unwrap();
    assert_eq!(made.path.file_name().unwrap(), "dkimctl-6f1c3bd2-0000000001.db");
    assert_eq!(made.serial, 1);
    assert_eq!(fs::metadata(&made.path).unwrap().permissions().mode() & 0o777, 0o600);
    let sidecar = fs::read_to_string(to.join("dkimctl-6f1c3bd2-0000000001.db.sha256")).unwrap();
    assert_eq!(sidecar, format!("{}  dkimctl-6f1c3bd2-0000000001.db\n", made.sha256));
    let hash = Sha256::digest(fs::read(&made.path).unwrap());
    assert_eq!(made.sha256, chain::hex(&hash));
    assert_eq!(reader.backup(&to).unwrap(), made, "twice is once");
    assert_eq!(fs::read_dir(&to).unwrap().count(), 2, "nothing half-made is left");

    let restored = home.path().join("restored");
    fs::create_dir(&restored).unwrap();
    fs::copy(&made.path, restored.join(FILE)).unwrap();
    let restored = SqliteStore::open(&restored, &Options::read_write()).unwrap();
    assert_eq!(restored.load(&domain(1)).unwrap(), store.load(&domain(1)).unwrap());
    assert_eq!(restored.identity().unwrap(), store.identity().unwrap());
    assert!(restored.verify().unwrap().is_whole());
}

#[test]
fn a_second_active_key_cannot_be_written_even_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    add(&mut store, 1);
    let twin = "INSERT INTO key SELECT 'twin', domain, algorithm, 's2', 'active' FROM key";
    let refused = fault(&store.path, store.db.execute(twin, []).unwrap_err()).to_string();
    assert!(refused.contains("it would contradict itself"), "{refused}");
}

/// Prints the fixture: `cargo test -p dkimctl-state print_a_state -- --ignored --nocapture`, then `sqlite3 FILE .dump`.
#[test]
#[ignore = "no check: prints the fixture that a new format of the state needs"]
fn print_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(dir.path());
    add(&mut store, 1);
    add(&mut store, 2);
    store.set_note("mx1", None, "a receipt").unwrap();
    println!("{}", dir.keep().join(FILE).display());
}

#[test]
fn a_course_of_format_2_is_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    of_format_1(dir.path());
    let file = Connection::open(dir.path().join(FILE)).unwrap();
    file.execute_batch(schema::STEPS[1]).unwrap();
    file.execute("INSERT INTO note VALUES ('dmarc/d000001.example', 'a course')", []).unwrap();
    file.pragma_update(None, "user_version", 2).unwrap();
    drop(file);
    let store = SqliteStore::open(dir.path(), &Options::read_write()).unwrap();
    assert_eq!(store.notes_due("dmarc/", T0, 10).unwrap(), ["dmarc/d000001.example"]);
    assert_eq!(store.note("mx1").unwrap().as_deref(), Some("a receipt"));
}
