//! Projects that are as they should be, or that say too little to be judged: nothing may be held against them.

use super::*;

fn projects() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(fixture("sound"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.is_dir())
        .collect();
    all.sort();
    assert!(all.len() >= 15, "only {} projects", all.len());
    all
}

#[test]
fn no_sound_project_is_accused_of_an_error() {
    for project in projects() {
        let (found, code) = checks(&["--files", project.to_str().unwrap(), "--offline"]);
        let errors: Vec<String> = found.iter().filter(|check| check["result"] == "fail").map(line).collect();
        assert!(errors.is_empty(), "{}:\n{}", project.display(), errors.join("\n"));
        assert!(code == 0 || code == 4, "{}: exit {code}", project.display());
    }
}

#[test]
fn the_well_built_one_is_well() {
    let (found, code) = checks(&["--files", fixture("sound/own").to_str().unwrap(), "--offline"]);
    let bad: Vec<String> =
        found.iter().filter(|check| !["ok", "skip"].contains(&text(check, "result"))).map(line).collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
    assert_eq!(code, 0);
    for id in ["HELO001", "RELAY001", "RELAY002", "QUEUE001", "PF002", "PF003", "PF004", "KEY002", "DEV001"] {
        assert!(found.iter().any(|check| text(check, "id") == id && check["result"] == "ok"), "{id} was not looked at");
    }
}

/// What `stack init` writes is beyond reproach before it has run.
#[test]
fn a_fresh_stack_is_well() {
    for (signer, relay) in [("opendkim", "none"), ("opendkim", "ses"), ("rspamd", "none"), ("rspamd", "mailgun")] {
        let directory = tempfile::tempdir().unwrap();
        let mut init = assert_cmd::Command::cargo_bin("dkimctl").unwrap();
        init.current_dir(&directory)
            .env("HOME", directory.path())
            .env("XDG_STATE_HOME", directory.path().join("state"));
        init.args(["stack", "init", "mail", "--domain", "example.com", "--signer", signer, "--relay", relay]);
        init.assert().success();
        let (found, code) = checks(&["--files", directory.path().join("mail").to_str().unwrap(), "--offline"]);
        let bad: Vec<String> =
            found.iter().filter(|check| !["ok", "skip"].contains(&text(check, "result"))).map(line).collect();
        assert!(bad.is_empty(), "{signer}, {relay}:\n{}", bad.join("\n"));
        assert_eq!(code, 0, "{signer}, {relay}");
    }
}

#[test]
fn what_cannot_be_read_is_unknown_and_says_where() {
    let (found, code) = checks(&["--files", fixture("sound/jinja").to_str().unwrap(), "--offline"]);
    let unknown = found.iter().find(|check| check["result"] == "unknown").expect("a template is no YAML");
    assert!(unknown["line"].is_u64(), "{unknown}");
    assert_eq!(code, 4);
}
