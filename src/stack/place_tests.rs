use super::*;

fn file(path: &'static str, text: &str) -> StackFile {
    StackFile { path, mode: 0o640, text: text.to_owned() }
}

#[test]
fn what_is_missing_is_written_once_and_nothing_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let files = || vec![file("compose.yaml", "new\n"), file("mail/main.cf", "text\n")];
    fs::write(dir.path().join("compose.yaml"), "mine\n").unwrap();

    let compared = compare(dir.path(), files()).unwrap();
    assert_eq!((compared.missing.len(), compared.differs.len(), compared.same), (1, 1, 0));
    let diff = compared.diff();
    assert!(diff.contains("--- a/compose.yaml\n+++ b/compose.yaml\n@@ -1 +1 @@\n-mine\n+new\n"), "{diff}");
    assert!(diff.contains("--- /dev/null\n+++ b/mail/main.cf\n@@ -0,0 +1 @@\n+text\n"), "{diff}");

    compared.write(dir.path()).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("compose.yaml")).unwrap(), "mine\n");
    let main_cf = dir.path().join("mail/main.cf");
    assert_eq!(fs::metadata(&main_cf).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(compare(dir.path(), files()).unwrap().missing.is_empty());
    assert!(matches!(compared.write(dir.path()), Err(FileError::Exists { .. })));
}

#[test]
fn tables_are_the_mail_hosts_own() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("opendkim/tables")).unwrap();
    fs::write(dir.path().join("opendkim/tables/KeyTable"), "rows\n").unwrap();
    let compared = compare(dir.path(), vec![file("opendkim/tables/KeyTable", "# none\n")]).unwrap();
    assert_eq!((compared.missing.len(), compared.differs.len(), compared.same), (0, 0, 1));
}
