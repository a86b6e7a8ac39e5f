use super::*;
use crate::store::Store;
use crate::store::sample::{T0, change, domain, key, to_active};
use crate::store::sqlite::Options;

/// Two domains, 18 events, and what `sql` does to them behind the store's back.
fn tampered(sql: &str) -> Report {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::create(dir.path(), uuid::Uuid::nil(), &Options::read_write()).unwrap();
    for n in [1, 2] {
        let change = change(&store, &domain(n), to_active(n, "s1"), Some(T0));
        store.commit(&[change]).unwrap();
    }
    store.db.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    store.db.execute_batch(sql).unwrap();
    store.verify().unwrap()
}

fn said(sql: &str) -> Vec<String> {
    tampered(sql).findings.iter().map(Finding::to_string).collect()
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    assert_eq!(tampered(""), Report { domains: 2, keys: 2, events: 18, findings: vec![] });
}

#[test]
fn every_change_behind_our_back_is_found_and_named() {
    let first = key(1, "s1").fingerprint;
    for (what, sql, expected) in [
        (
            "a fact",
            "UPDATE event SET fact = '{\"fact\":\"released\"}' WHERE seq = 7",
            "chain of events breaks at event 7: it was changed",
        ),
        ("who did it", "UPDATE event SET actor = 'nobody' WHERE seq = 18", "breaks at event 18: it was changed"),
        ("when", "UPDATE event SET at = at + 1 WHERE seq = 1", "breaks at event 1: it was changed"),
        ("whose", "UPDATE event SET domain = 2 WHERE seq = 3", "breaks at event 3: it was changed"),
        ("an event gone", "DELETE FROM event WHERE seq = 5", "breaks at event 6: it follows event 4"),
        (
            "the last gone",
            "DELETE FROM event WHERE seq > 16",
            "breaks at event 16: the log ends with it, but 18 events",
        ),
        ("all gone", "DELETE FROM event", "breaks at event 0: the log ends with it, but 18 events"),
        (
            "a document",
            "UPDATE domain SET doc = replace(doc, '2026', '2025') WHERE id = 1",
            "document of d000001.example: its row was changed",
        ),
        ("a wake-up", "UPDATE domain SET wake = NULL WHERE id = 2", "document of d000002.example: its row was changed"),
        (
            "a revision",
            "UPDATE domain SET revision = 9 WHERE id = 2",
            "document of d000002.example: its row was changed",
        ),
        ("no JSON", "UPDATE domain SET doc = '{' WHERE id = 1", "document of d000001.example: it cannot be read: EOF"),
        (
            "a newer one",
            "UPDATE domain SET doc = '{\"v\":2}' WHERE id = 1",
            "it is of version 2, but this dkimctl knows up to 1",
        ),
        (
            "another's",
            "UPDATE domain SET doc = (SELECT doc FROM domain WHERE id = 2) WHERE id = 1",
            "it is that of d000002.example",
        ),
        ("a key gone", "DELETE FROM key WHERE domain = 1", "it is not in the key table, so it could be used again"),
        (
            "a key added",
            "INSERT INTO key VALUES ('ab', 1, 'rsa', 's9', 'sealed')",
            "the key ab of d000001.example: the key table says it is sealed",
        ),
        ("a phase", "UPDATE key SET phase = 'gone' WHERE domain = 1", r#"the key table says ("rsa", "s1", "gone")"#),
        (
            "a domain gone",
            "DELETE FROM domain WHERE id = 1",
            "of no domain: the key table has it, but its domain is gone",
        ),
    ] {
        let said = said(sql);
        assert!(said.iter().any(|finding| finding.contains(expected)), "{what}: {said:#?}");
    }
    let gone = said("DELETE FROM key WHERE domain = 1");
    assert!(gone[0].contains(&first.to_string()), "{gone:?}");
}

#[test]
fn one_changed_event_is_one_finding() {
    assert_eq!(said("UPDATE event SET actor = 'nobody' WHERE seq = 4").len(), 1, "what comes after it is not blamed");
}

#[test]
fn a_key_that_is_not_its_fingerprint_is_found() {
    let other = key(9, "s1").public;
    let sql = format!("UPDATE domain SET doc = replace(doc, '{}', '{other}')", key(1, "s1").public);
    assert!(said(&sql).iter().any(|f| f.contains("its public half is that of another key")), "{:?}", said(&sql));
}

#[test]
fn two_keys_at_one_selector_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::create(dir.path(), uuid::Uuid::nil(), &Options::read_write()).unwrap();
    let mut twice = change(&store, &domain(1), to_active(1, "s1"), None);
    let line = twice.ledger.lines.values_mut().next().unwrap();
    line.incoming =
        Some(crate::lifecycle::ledger::Incoming::Sealed(crate::lifecycle::ledger::Sealed { key: key(2, "s1") }));
    store.commit(&[twice]).unwrap();
    let found = store.verify().unwrap().findings;
    assert!(found.iter().any(|f| f.to_string().contains("the selector s1 belongs to another key too")), "{found:?}");
}
