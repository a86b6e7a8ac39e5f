//! The tables, and how a file of an older format becomes one of today.

use rusqlite::{Connection, TransactionBehavior};

/// `DKIM` in the header of the file: whose database it is.
pub(in crate::store) const APPLICATION_ID: i32 = 0x444b_494d;

/// Step `n` makes format `n + 1`. A step that was released is never edited; a new format is a new step at the end,
/// and a file of the format before it goes to `tests/fixtures`.
pub(in crate::store) const STEPS: &[&str] = &[FORMAT_1, FORMAT_2, FORMAT_3];

/// One page holds several ledgers of some 2 kB; the default of 4 kB would leave half of every page empty.
pub(super) const PAGE_SIZE: i64 = 8192;

/// - `domain.wake` is indexed, so that nothing due costs nothing. `seal` is a SHA-256 over the row: a document that
///   was changed by hand, or by a disk, does not pass for a fact.
/// - `key` is what the documents say, by fingerprint: a key that ever lived is never forgotten, and two active ones
///   for a (domain, algorithm) cannot be written even by a program that errs.
/// - `event.hash` is over the hash of the row before and this row. `meta` has the last one and the count, so that
///   events missing at the end are noticed as well.
const FORMAT_1: &str = "
CREATE TABLE meta (
    id      INTEGER PRIMARY KEY CHECK (id = 1),
    lineage TEXT    NOT NULL,
    serial  INTEGER NOT NULL CHECK (serial >= 0),
    epoch   INTEGER NOT NULL CHECK (epoch > 0),
    events  INTEGER NOT NULL CHECK (events >= 0),
    head    BLOB    NOT NULL CHECK (length(head) = 32)
) STRICT;

CREATE TABLE domain (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    revision INTEGER NOT NULL CHECK (revision > 0),
    wake     INTEGER,
    seal     BLOB    NOT NULL CHECK (length(seal) = 32),
    doc      TEXT    NOT NULL
) STRICT;
CREATE INDEX due ON domain (wake, name) WHERE wake IS NOT NULL;

CREATE TABLE key (
    fingerprint TEXT    NOT NULL PRIMARY KEY,
    domain      INTEGER NOT NULL REFERENCES domain (id),
    algorithm   TEXT    NOT NULL,
    selector    TEXT    NOT NULL,
    phase       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX key_of ON key (domain);
CREATE UNIQUE INDEX one_active ON key (domain, algorithm) WHERE phase = 'active';

CREATE TABLE event (
    seq    INTEGER PRIMARY KEY,
    domain INTEGER NOT NULL REFERENCES domain (id),
    at     INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    fact   TEXT    NOT NULL,
    hash   BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE INDEX event_of ON event (domain, seq);

CREATE TABLE note (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Evidence from aggregate reports (`store/evidence.rs`).
///
/// - `report.hash` and `report.number` are the first 16 octets of SHA-256: over what the report says, and over
///   (reporter, number, domain, begin, end).
/// - `evidence` is counted together: a row for each thing that differs, whatever the number of messages. `text` holds
///   what repeats. `quality` is trust, and 4 if the report was complete.
const FORMAT_2: &str = "
CREATE TABLE text (
    id   INTEGER PRIMARY KEY,
    text TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE report (
    id        INTEGER PRIMARY KEY,
    domain    INTEGER NOT NULL REFERENCES text (id),
    reporter  INTEGER NOT NULL REFERENCES text (id),
    name      TEXT    NOT NULL,
    begin     INTEGER NOT NULL,
    until     INTEGER NOT NULL,
    published INTEGER NOT NULL REFERENCES text (id),
    quality   INTEGER NOT NULL,
    records   INTEGER NOT NULL,
    messages  INTEGER NOT NULL,
    aligned   INTEGER NOT NULL,
    received  INTEGER NOT NULL,
    hash      BLOB    NOT NULL CHECK (length(hash) = 16),
    number    BLOB    NOT NULL CHECK (length(number) = 16)
) STRICT;
CREATE UNIQUE INDEX report_hash ON report (hash);
CREATE INDEX report_number ON report (number);
CREATE INDEX report_of ON report (domain, until);

CREATE TABLE evidence (
    domain      INTEGER NOT NULL,
    day         INTEGER NOT NULL,
    reporter    INTEGER NOT NULL,
    quality     INTEGER NOT NULL,
    published   INTEGER NOT NULL,
    source      BLOB    NOT NULL CHECK (length(source) IN (4, 16)),
    header_from INTEGER NOT NULL,
    auth        INTEGER NOT NULL,
    outcome     INTEGER NOT NULL,
    count       INTEGER NOT NULL CHECK (count >= 0),
    PRIMARY KEY (domain, day, reporter, quality, published, source, header_from, auth, outcome)
) STRICT, WITHOUT ROWID;
";

/// - `note.wake` is when somebody is to look at what the note is about; indexed, so that nothing due costs nothing.
/// - `refused` has the reports about a domain that could not be read at all: they are no evidence, but their share of
///   all reports is. `hash` keeps one that is read every night from counting every night.
const FORMAT_3: &str = "
ALTER TABLE note ADD COLUMN wake INTEGER;
CREATE INDEX note_due ON note (wake, key) WHERE wake IS NOT NULL;
UPDATE note SET wake = 0 WHERE key GLOB 'dmarc/*';

CREATE TABLE refused (
    hash   BLOB    NOT NULL PRIMARY KEY CHECK (length(hash) = 16),
    domain INTEGER NOT NULL REFERENCES text (id),
    until  INTEGER NOT NULL,
    trust  INTEGER NOT NULL,
    name   TEXT    NOT NULL,
    why    TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX refused_of ON refused (domain, until);
";

/// The format that the file says it is of.
pub(in crate::store) fn format(db: &Connection) -> rusqlite::Result<i32> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes the file from its format to the last one of `steps`, in one transaction.
pub(super) fn migrate(db: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let from = usize::try_from(format(&tx)?).unwrap_or(0);
    for step in steps.iter().skip(from) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", steps.len() as i64)?;
    tx.commit()
}
