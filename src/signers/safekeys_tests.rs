use std::os::unix::fs::PermissionsExt;

use super::*;

const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nopendkim:x:104:109::/run/opendkim:/bin/false\npostfix:x:105:110::/:/bin/false\n\
                      not a line\ntwin:x:106:111::/:/bin/false\n";
const GROUP: &str = "root:x:0:\nopendkim:x:109:\npostfix:x:110:\nmail:x:8:opendkim, postfix\ntwins:x:111:opendkim\nkeys:x:112:opendkim,root\n";

#[test]
fn an_identity_has_all_its_groups() {
    let accounts = Accounts::parse(PASSWD, GROUP);
    let root = Path::new("/");
    let identity = accounts.identity("opendkim", None, root).unwrap();
    assert_eq!(identity, Identity { name: "opendkim".into(), uid: 104, gids: vec![109, 8, 111, 112] });
    assert_eq!(accounts.identity("104", Some("mail"), root).unwrap().gids[0], 8);
    let error = accounts.identity("nobody-here", None, root).unwrap_err().to_string();
    assert!(error.contains("no user `nobody-here`"), "{error}");
    assert!(accounts.identity("opendkim", Some("no-group"), root).is_err());
}

#[test]
fn strangers_are_found_by_membership_and_by_primary_group() {
    let accounts = Accounts::parse(PASSWD, GROUP);
    let identity = accounts.identity("opendkim", None, Path::new("/")).unwrap();
    assert_eq!(accounts.stranger_in(109, &identity), None);
    assert_eq!(accounts.stranger_in(112, &identity), None, "root is no stranger");
    assert_eq!(accounts.stranger_in(8, &identity), Some("postfix"));
    assert_eq!(accounts.stranger_in(111, &identity), Some("twin"));
}

#[test]
fn every_problem_has_its_command() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("a key's.pem");
    fs::write(&key, "x").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let accounts = Accounts::parse(PASSWD, GROUP);
    let identity = Identity { name: "opendkim".into(), uid: 424242, gids: vec![424242] };
    let problems = accepts(&key, &identity, &accounts).unwrap_err();
    let text: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(text[0].contains("(mode 0644)") && text[0].contains(r"chmod o-rwx '"), "{text:?}");
    assert!(text[0].contains(r"a key'\''s.pem'"), "{text:?}");
    assert!(text.iter().any(|line| line.starts_with("/tmp is a directory that everybody can write to")), "{text:?}");
    let missing = accepts(Path::new("/nonexistent/key"), &identity, &accounts).unwrap_err();
    assert_eq!(missing[0].command, "namei -l /nonexistent/key");
}
