//! Opening and making the file, and everything that it may turn out to be instead.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the store is what reaches the disk

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use super::{Access, FILE, Options, SqliteStore, schema};
use crate::store::high_water::HighWater;
use crate::store::{Identity, Store, StoreError, backup, place};

const RESTORE: &str = "restore a backup (`dkimctl state backup` makes them)";

/// How long a reader waits while a commit is written, and a writer until readers (an export, a backup) have done.
/// There is one writer at most: whoever writes holds the lock.
const READER_PATIENCE: Duration = Duration::from_secs(5);
const WRITER_PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn open(dir: &Path, options: &Options, steps: &[&str]) -> Result<SqliteStore, StoreError> {
    let mut store = connect_to(dir, options)?;
    let identity = store.identity()?;
    if let Some(high_water) = &store.high_water {
        high_water.check(&store.path, &identity)?;
    }
    bring_up(&mut store, options.access, steps)?;
    if let (Some(high_water), Access::ReadWrite) = (&store.high_water, options.access) {
        high_water.raise(&identity)?;
    }
    Ok(store)
}

/// A restored older copy goes on, with a new epoch and a serial above all that were seen.
pub(super) fn accept_older(dir: &Path, options: &Options) -> Result<Identity, StoreError> {
    let options = Options { access: Access::ReadWrite, ..options.clone() };
    let mut store = connect_to(dir, &options)?;
    bring_up(&mut store, options.access, schema::STEPS)?;
    let known = store.high_water.as_ref().map(HighWater::read).unwrap_or_default();
    store.rise_above(known)
}

/// The file as it is, whatever its format and its age.
fn connect_to(dir: &Path, options: &Options) -> Result<SqliteStore, StoreError> {
    let path = dir.join(FILE);
    match fs::metadata(&path) {
        // SQLite would take it for a new one.
        Ok(found) if found.is_file() && found.len() == 0 => {
            return Err(not_a_state(&path, format!("it is empty (0 bytes), so every fact is lost; {RESTORE}")));
        }
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(not_a_state(&path, "it is not a file; move it away")),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::Missing { path: path.display().to_string() });
        }
        Err(e) => return Err(place::io(&path, &e)),
    }
    if !options.allow_network {
        place::local(dir)?;
    }
    place::private(dir)?;
    place::private(&path)?;
    let (dir, path) = resolved(dir)?;
    let db = connect(&path, options.access)?;
    let mut store = SqliteStore { db, path, dir, epoch: 0, high_water: None, broken: None };
    let format = schema::format(&store.db).map_err(|e| fault(&store.path, e))?;
    if format > schema::STEPS.len() as i32 {
        return Err(newer(&store, format));
    }
    let Identity { lineage, epoch, .. } = store.identity()?;
    store.epoch = epoch;
    store.high_water = options.high_water.as_ref().map(|dir| HighWater::new(dir, lineage));
    Ok(store)
}

/// Brings the file to the last format of `steps`.
fn bring_up(store: &mut SqliteStore, access: Access, steps: &[&str]) -> Result<(), StoreError> {
    let format = schema::format(&store.db).map_err(|e| fault(&store.path, e))?;
    let known = steps.len() as i32;
    if format == known {
        return Ok(());
    }
    if access == Access::ReadOnly {
        let problem = format!(
            "it is of the older format {format}; any command that writes (`dkimctl advance`) brings it to {known}, after \
             a backup"
        );
        return Err(not_a_state(&store.path, problem));
    }
    store.backup_as(&store.dir.join(backup::FOLDER), &format!("format-{format}-"))?;
    schema::migrate(&mut store.db, steps).map_err(|e| fault(&store.path, e))
}

fn newer(store: &SqliteStore, format: i32) -> StoreError {
    let problem = format!(
        "it is of format {format}, but this dkimctl knows up to {}, and would lose what is new; use the newer dkimctl, or \
         restore the copy in {} that was made before the upgrade",
        schema::STEPS.len(),
        store.dir.join(backup::FOLDER).display()
    );
    not_a_state(&store.path, problem)
}

pub(super) fn create(dir: &Path, lineage: uuid::Uuid, options: &Options) -> Result<SqliteStore, StoreError> {
    place::make(dir)?;
    if !options.allow_network {
        place::local(dir)?;
    }
    place::private(dir)?;
    let (dir, path) = resolved(dir)?;
    if fs::symlink_metadata(&path).is_ok() {
        return Err(not_a_state(&path, "a state is here already; `dkimctl status` shows it"));
    }
    // Made whole under another name, so that a kill in between leaves nothing that looks like a state.
    let partial = dir.join(format!("{FILE}.new"));
    for leftover in [partial.clone(), journal(&partial)] {
        match fs::remove_file(&leftover) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(place::io(&leftover, &e)),
            _ => {}
        }
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
    drop(file.map_err(|e| place::io(&partial, &e))?);
    fill(&partial, lineage).map_err(|e| fault(&partial, e))?;
    fs::rename(&partial, &path).map_err(|e| place::io(&path, &e))?;
    place::flush(&dir)?;
    open(&dir, options, schema::STEPS)
}

fn fill(path: &Path, lineage: uuid::Uuid) -> rusqlite::Result<()> {
    let mut db = Connection::open_with_flags(path, flags(Access::ReadWrite))?;
    db.pragma_update(None, "page_size", schema::PAGE_SIZE)?;
    db.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    settle(&db, Access::ReadWrite)?;
    one_file(&db)?;
    schema::migrate(&mut db, schema::STEPS)?;
    let head = [0u8; 32];
    let meta = "INSERT INTO meta (id, lineage, serial, epoch, events, head) VALUES (1, ?1, 0, 1, 0, ?2)";
    db.execute(meta, (lineage.to_string(), head))?;
    db.close().map_err(|(_, e)| e)
}

/// A connection with everything set that makes a commit last, to a database that is ours and whole in size.
fn connect(path: &Path, access: Access) -> Result<Connection, StoreError> {
    let (db, owner, bytes) = match ask(path, access) {
        // The last writer was killed in the middle of a commit. SQLite takes the half of it back, which is a write.
        Err(e) if access == Access::ReadOnly && needs_rollback(&e, path) => {
            ask(path, Access::ReadWrite).and_then(|_| ask(path, access))
        }
        asked => asked,
    }
    .map_err(|e| match e.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => not_a_database(path),
        _ => fault(path, e),
    })?;
    if owner != schema::APPLICATION_ID {
        let problem = format!("it is the database of another program (application_id {owner}); it was not touched");
        return Err(not_a_state(path, problem));
    }
    // SQLite takes the rest of a last page that was cut off for zeros.
    let found = fs::metadata(path).map_err(|e| place::io(path, &e))?.len();
    if found < bytes {
        let problem = format!("it was cut off ({found} of {bytes} bytes), so facts are lost; {RESTORE}");
        return Err(not_a_state(path, problem));
    }
    if access == Access::ReadWrite {
        one_file(&db).map_err(|e| fault(path, e))?;
    }
    Ok(db)
}

/// Opens it and reads its header: whose it is, and how many bytes it must have.
fn ask(path: &Path, access: Access) -> rusqlite::Result<(Connection, i32, u64)> {
    let db = Connection::open_with_flags(path, flags(access))?;
    settle(&db, access)?;
    let number = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (owner, bytes) = (number("application_id")?, number("page_count")? * number("page_size")?);
    Ok((db, owner as i32, bytes as u64))
}

fn flags(access: Access) -> OpenFlags {
    let access = match access {
        Access::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    access | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW
}

/// A rollback journal: one file at rest, that a copy is a copy of; no shared memory, no WAL-reset bug. It is written
/// into the file if it was otherwise, so only into one of ours.
fn one_file(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))
}

fn settle(db: &Connection, access: Access) -> rusqlite::Result<()> {
    db.busy_timeout(if access == Access::ReadOnly { READER_PATIENCE } else { WRITER_PATIENCE })?;
    // EXTRA also flushes the directory after the journal is gone: a commit that was reported stays.
    db.pragma_update(None, "synchronous", "EXTRA")?;
    db.pragma_update(None, "foreign_keys", true)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.pragma_update(None, "cache_size", -16 * 1024) // KiB
}

/// What somebody put there by mistake, by its first words. The file is opened here only when it is no database: to
/// close a database's file behind SQLite's back drops all locks that this process has on it (fcntl(2)).
fn not_a_database(path: &Path) -> StoreError {
    let mut start = Vec::new();
    if let Err(e) = fs::File::open(path).and_then(|file| file.take(16).read_to_end(&mut start)) {
        return place::io(path, &e);
    }
    if start == b"SQLite format 3\0" {
        return not_a_state(path, format!("it is damaged from its first page on, so facts are lost; {RESTORE}"));
    }
    let seen = String::from_utf8_lossy(&start).escape_debug().to_string();
    not_a_state(path, format!("it is not a database (it begins with \"{seen}\"); move it away, or {RESTORE}"))
}

/// The directory without symbolic links: SQLite is told to follow none.
fn resolved(dir: &Path) -> Result<(PathBuf, PathBuf), StoreError> {
    let dir = fs::canonicalize(dir).map_err(|e| place::io(dir, &e))?;
    let path = dir.join(FILE);
    Ok((dir, path))
}

fn journal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    name.into()
}

fn needs_rollback(error: &rusqlite::Error, path: &Path) -> bool {
    let code = error.sqlite_error().map(|e| e.extended_code);
    let hot = [ffi::SQLITE_READONLY_ROLLBACK, ffi::SQLITE_READONLY_RECOVERY, ffi::SQLITE_CANTOPEN];
    code.is_some_and(|code| hot.contains(&code)) && journal(path).exists()
}

/// The one way that an error of SQLite becomes ours.
pub(in crate::store) fn fault(path: &Path, error: rusqlite::Error) -> StoreError {
    let problem = error.to_string();
    let io = |problem: String| StoreError::Io { path: path.display().to_string(), problem };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full { path: path.display().to_string() },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Locked("another process that reads or writes it; try again when it has ended".to_owned())
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            not_a_state(path, format!("it is damaged ({problem}); `dkimctl state verify` says where; {RESTORE}"))
        }
        Some(ErrorCode::ConstraintViolation) => not_a_state(
            path,
            format!("it would contradict itself ({problem}), so nothing was changed; `dkimctl state verify` says more"),
        ),
        Some(ErrorCode::ReadOnly) => {
            io("it cannot be written to, so nothing was changed; look at its mode, its directory and its mount".into())
        }
        Some(ErrorCode::CannotOpen) => {
            io(format!("it cannot be opened ({problem}), so nothing was changed; look at the mode of its directory"))
        }
        _ => io(format!("{problem}; nothing was changed")),
    }
}

fn not_a_state(path: &Path, problem: impl Into<String>) -> StoreError {
    StoreError::NotAState { path: path.display().to_string(), problem: problem.into() }
}
