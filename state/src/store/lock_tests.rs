use super::*;

fn holder(cmd: &str) -> Holder {
    Holder::here(cmd, "2026-11-22T09:30:00Z".parse().unwrap())
}

#[test]
fn the_second_is_told_who_was_first() {
    let dir = tempfile::tempdir().unwrap();
    let first = Lock::take(dir.path(), &holder("dkimctl rotate")).unwrap();
    let busy = Lock::take(dir.path(), &holder("dkimctl advance")).unwrap_err();
    let pid = std::process::id();
    assert_eq!(
        busy.to_string(),
        format!("the state is in use by pid {pid} (dkimctl rotate) since 2026-11-22T09:30:00Z")
    );
    assert!(matches!(busy, StoreError::Locked(_)));

    drop(first);
    let path = dir.path().join("lock");
    assert_eq!(std::fs::read(&path).unwrap(), b"", "nobody is named who has gone");
    Lock::take(dir.path(), &holder("dkimctl advance")).unwrap();
    assert!(path.exists(), "the file stays: a lock on a file that was removed locks nothing");
}

#[test]
fn what_a_dead_holder_left_behind_locks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lock"), r#"{"pid":1,"boot_id":"","host":"","cmd":"x","since":"#).unwrap();
    let lock = Lock::take(dir.path(), &holder("dkimctl advance")).unwrap();
    let text = std::fs::read_to_string(dir.path().join("lock")).unwrap();
    let written: Holder = serde_json::from_str(&text).unwrap();
    assert_eq!(written, holder("dkimctl advance"));
    assert!(!written.boot_id.is_empty() && !written.host.is_empty());
    drop(lock);
}

#[test]
fn a_holder_that_cannot_be_read_is_still_a_holder() {
    let dir = tempfile::tempdir().unwrap();
    let _lock = Lock::take(dir.path(), &holder("dkimctl rotate")).unwrap();
    std::fs::write(dir.path().join("lock"), [0xff, 0xfe]).unwrap();
    let busy = Lock::take(dir.path(), &holder("dkimctl advance")).unwrap_err();
    assert_eq!(busy.to_string(), "the state is in use by another process");
}
