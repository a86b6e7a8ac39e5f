//! The stack that started all this, as it is printed: each of its failures is found, where it stands, with what to do.

use super::*;

/// A check, how it ends, and the line of the fixture that it names.
const REFUSED: &[(&str, &str, &str, &str)] = &[
    ("RELAY001", "fail", "critical", "docker-compose.yml:19"),
    ("PF002", "fail", "error", "postfix/main.cf:15"),
    ("PF002", "fail", "error", "docker-compose.yml:22"),
    ("PF002", "fail", "error", "docker-compose.yml:23"),
    ("HELO004", "warn", "warn", "docker-compose.yml:16"),
    ("HELO001", "fail", "error", "postfix/main.cf:5"),
    ("KEY004", "warn", "warn", "docker-compose.yml:32"),
    ("KEY002", "fail", "error", "postfix/Dockerfile:10"),
    ("KEY006", "fail", "error", "postfix/opendkim/SigningTable:1"),
    ("PF003", "warn", "warn", "postfix/main.cf:19"),
    ("DKIM006", "warn", "warn", "postfix/opendkim.conf"),
    ("QUEUE001", "warn", "warn", "docker-compose.yml:14"),
    ("PF004", "warn", "warn", "postfix/main.cf"),
];

#[test]
fn the_literal_stack_is_refused_check_by_check() {
    let root = fixture("article");
    let (found, code) = checks(&["--files", root.to_str().unwrap(), "--offline"]);
    assert_eq!(code, 3);
    for (id, result, severity, place) in REFUSED {
        let there = found.iter().any(|check| {
            let at = line(check).replace(&format!("{}/", root.display()), "");
            at == format!("{id} {result} {severity} {place}")
        });
        let all: Vec<String> = found.iter().map(line).collect();
        assert!(there, "{id} {result} at {place} is missing among\n{}", all.join("\n"));
    }
    for check in found.iter().filter(|check| ["warn", "fail"].contains(&text(check, "result"))) {
        assert!(!text(check, "fix").is_empty(), "{} does not say what to do", line(check));
    }
}

#[test]
fn a_pull_request_sees_them_beside_its_lines() {
    let root = fixture("article");
    let output = doctor(&["--files", root.to_str().unwrap(), "--offline", "--format", "github", "--only", "RELAY001"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("::error file=") && text.contains("docker-compose.yml,line=19,"), "{text}");
    assert_eq!((text.lines().count(), output.status.code()), (1, Some(3)));
}

#[test]
fn a_second_run_has_nothing_new_to_say() {
    let state = tempfile::tempdir().unwrap();
    let root = fixture("article");
    let run = || {
        let mut command = assert_cmd::Command::cargo_bin("dkimctl").unwrap();
        command.current_dir(state.path()).env("HOME", state.path()).env("XDG_STATE_HOME", state.path());
        command.env("XDG_CONFIG_HOME", state.path()).env_remove("DKIMCTL_CONFIG");
        command.args(["doctor", "--offline", "--changes", "--only", "PF,RELAY", "--files"]).arg(&root);
        let output = command.output().unwrap();
        (output.stdout.is_empty(), output.status.code())
    };
    assert_eq!(run(), (false, Some(3)));
    assert_eq!(run(), (true, Some(0)));
}
