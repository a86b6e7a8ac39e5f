use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use dkimctl_state::lifecycle::ledger::Phase;

use super::*;
use crate::doctor::rig::{directory, found, look, verdicts};
use crate::keygen::{KeyKind, generate};

#[test]
fn compose_ignores_access_to_secrets_from_files() {
    let with = |source: &str, access: &str| {
        let compose = format!(
            "services:\n  smtp:\n    image: x\n    secrets:\n      - source: dkim\n{access}secrets:\n  dkim: {{{source}}}\n"
        );
        verdicts(&found(&[("compose.yaml", &compose)], examine), "KEY004")
    };
    assert_eq!(with("file: ./k", "        mode: 0600\n"), ["warn compose.yaml:6"]);
    assert_eq!(with("file: ./k", "        target: x\n        uid: '100'\n"), ["warn compose.yaml:7"]);
    assert_eq!(with("file: ./k", "        target: x\n"), ["ok"]);
    assert!(with("environment: K", "        mode: 0600\n").is_empty(), "those are copied, and honoured");
    assert!(with("external: true", "        mode: 0600\n").is_empty(), "so are swarm's");
}

#[test]
fn keys_are_told_by_content() {
    let key = generate(KeyKind::Ed25519).unwrap();
    let holds = |text: &str| holds_key("notes.txt", text.as_bytes());
    let body: String = key.pem().lines().filter(|line| !line.starts_with('-')).collect();
    assert!(holds(key.pem()));
    assert!(holds(&key.pem().replace('\n', "\r\n")));
    assert!(holds(&format!("text before\n{}", key.pem())));
    assert!(holds(&format!("DKIM_KEY=\"{}\"", key.pem().trim().replace('\n', "\\n"))), "an .env file");
    assert!(holds(&format!("s1 example.com:s1:{body}\n")), "a table with the key in it");
    for none in [
        "",
        "-----BEGIN PRIVATE KEY-----",
        "grep -r '-----BEGIN RSA PRIVATE KEY-----' . && echo '-----END'",
        "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu1SU1LfVLPHCozMxH2Mo\n-----END PUBLIC KEY-----\n",
        "-----BEGIN PRIVATE KEY-----\n...your key here, all of it, as it is, please...\n-----END PRIVATE KEY-----\n",
        "-----BEGIN EC PRIVATE KEY-----\nyour key here and all of it and as it is and please do not forget the end of it\n",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA04up8hoqzS1...\n-----END RSA PRIVATE KEY-----\n",
    ] {
        assert!(!holds(none), "{none}");
    }
}

#[test]
fn a_mode_that_cannot_be_asked_is_not_known() {
    let verdict = |in_git, mode| {
        let mut findings = Findings::default();
        judge("dkim/s1.private", None, in_git, mode, &mut findings);
        verdicts(&findings.iter().cloned().collect::<Vec<_>>(), "KEY005")
    };
    assert_eq!(verdict(Some(false), None), ["unknown"]);
    assert_eq!(verdict(None, None), ["unknown"]);
    assert_eq!(verdict(Some(true), None), ["fail error dkim/s1.private"], "that it is in git is known");
    assert_eq!(verdict(Some(false), Some(0o600)), ["ok"]);
}

fn with_key(name: &str, mode: u32, git: bool, ours: Option<Phase>) -> Vec<String> {
    let key = generate(KeyKind::Ed25519).unwrap();
    let (root, mut patient) = directory(&[(name, key.pem()), ("README", "x")]);
    fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    if git {
        for args in [vec!["init", "-q"], vec!["add", "-f", name]] {
            assert!(Command::new("git").args(args).current_dir(root.path()).status().unwrap().success());
        }
    }
    patient.ours.keys.extend(ours.map(|phase| OurKey {
        domain: "example.com".parse().unwrap(),
        selector: "s1".parse().unwrap(),
        phase,
        algorithm: key.algorithm(),
        public: key.public().clone(),
        record: key.public().record(key.algorithm()),
        due: dkimctl_state::time::Time::from_unix(0),
    }));
    verdicts(&look(&patient, examine), "KEY005")
}

#[test]
fn a_key_is_neither_in_git_nor_everybodys() {
    assert_eq!(with_key("dkim/s1.private", 0o600, false, None), ["ok"]);
    assert_eq!(with_key("dkim/s1.private", 0o640, false, None), ["ok"]);
    assert_eq!(with_key("dkim/s1.private", 0o644, false, None), ["fail error dkim/s1.private"]);
    assert_eq!(with_key("dkim/s1.private", 0o600, true, None), ["fail error dkim/s1.private"]);
    assert_eq!(with_key("notes.txt", 0o600, true, None), ["warn notes.txt"], "a key, and maybe not for DKIM");
    assert_eq!(with_key("tests/fixtures/s1.private", 0o644, true, None), ["warn info tests/fixtures/s1.private"]);
}

#[test]
fn a_key_of_ours_weighs_what_it_can_do() {
    assert_eq!(with_key("tests/x.txt", 0o600, true, Some(Phase::Active)), ["fail critical tests/x.txt"]);
    assert_eq!(with_key("tests/x.txt", 0o600, true, Some(Phase::Gone)), ["fail error tests/x.txt"]);
    assert_eq!(with_key("tests/x.txt", 0o644, false, Some(Phase::Active)), ["fail error tests/x.txt"]);
}

#[test]
fn a_directory_without_keys_is_well() {
    assert_eq!(verdicts(&found(&[("a", "b")], examine), "KEY005"), ["ok"]);
}
