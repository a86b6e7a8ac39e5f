//! The stack with rspamd: signed, rotated under flow, closed when there is nothing to sign with, and right again after a
//! worker of it or the whole container died.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::Command;

use dkimctl::host::evidence::{self, Sources};
use serde_json::Value;

use crate::engine::{docker, docker_ok};
use crate::flow::{APP, first_key_signs, rotates_under_flow};
use crate::lab::{DOMAIN, HOSTNAME, Lab, crash, nothing_bad, until};
use crate::load::send_one;
use crate::turn;

/// The signer's user in every build.
const SIGNER: u32 = 10101;

#[test]
fn rspamd_in_a_container_signs_and_is_rotated_without_a_bad_message() {
    let Some(_turn) = turn() else { return };
    let mut lab = Lab::of_signer("rspamd");
    lab.up();

    first_key_signs(&lab);

    rotates_under_flow(&lab);

    // What keeps the old record: the last use of each key, as rspamd's log has it.
    let log = Sources { queue: None, log: Some(lab.file("log/mail.log")) };
    let seen = evidence::gather(&log, chrono::Utc::now());
    let last: Vec<String> =
        seen.last_signature.keys().map(|(domain, selector)| format!("{selector} {domain}")).collect();
    assert_eq!(last, [format!("s1 {DOMAIN}"), format!("s2 {DOMAIN}")], "{:?}", seen.unknown);

    // A worker that is born later begins with the tables of the day on which rspamd was started. The next run sees it.
    docker_ok(&["exec", HOSTNAME, "sh", "-c", KILL_THE_WORKER]);
    until("the worker that came after it answers", 30, || signed_by(&lab, "worker").is_some());
    lab.apply();
    assert_eq!(signed_by(&lab, "mended").as_deref(), Some("s2"));

    crash(HOSTNAME);
    until("the container is back, and signs", 60, || docker(&["exec", HOSTNAME, "check-signing"]).status.success());
    assert_eq!(signed_by(&lab, "after-the-crash").as_deref(), Some("s2"));
    nothing_bad(&[], &lab.received());
}

/// Every worker is a child of the main process, which runs as root, and none of them is.
const KILL_THE_WORKER: &str = r#"
for dir in /proc/[0-9]*; do
  read -r name <"$dir/comm" && [ "$name" = rspamd ] && grep -q '^Uid:[[:space:]]*10101' "$dir/status" && kill -9 "${dir#/proc/}"
done 2>/dev/null
true"#;

/// Sends a message, and waits for it: the selector of its signature. `None` if it was not accepted.
fn signed_by(lab: &Lab, ident: &str) -> Option<String> {
    let ident = format!("{ident}-{}", lab.received().len());
    send_one(&APP, &ident, "someone@sink.example").ok()?;
    let find = || lab.received().into_iter().find(|message| message.id == ident);
    until("the message has arrived", 30, || find().is_some());
    let message = find()?;
    assert_eq!(message.result, "pass", "{}", message.why);
    message.selector
}

#[test]
fn without_a_usable_key_rspamd_refuses_and_the_doctor_says_why() {
    let Some(_turn) = turn() else { return };
    let mut lab = Lab::of_signer("rspamd");
    lab.up();
    lab.secure(&["rotate", DOMAIN]);
    lab.run_until("s1", "active");
    let key = key_file(&lab);
    let seen = fs::metadata(&key).unwrap();
    assert_eq!((seen.uid(), seen.gid(), seen.mode() & 0o7777), (SIGNER, SIGNER, 0o400));
    assert_eq!(doctor(&lab), ["DKIM005 ok", "KEY003 ok", "KEY006 ok"]);

    // A key that only root may read. rspamd keeps what it has read, so it begins anew, as it would after a crash.
    chown(&key, Some(0), Some(0)).unwrap();
    docker_ok(&["restart", "-t", "5", HOSTNAME]);
    until("the mail host greets", 60, || {
        docker(&["exec", HOSTNAME, "test", "-S", "/run/milter/rspamd.sock"]).status.success()
    });
    until("it refuses mail", 60, || {
        let said = send_one(&APP, "no-key", "someone@sink.example").err();
        said.is_some_and(|said| said.contains("there is no signature for this message"))
    });
    assert!(!docker(&["exec", HOSTNAME, "check-signing"]).status.success(), "the healthcheck sees it");
    assert_eq!(doctor(&lab), ["DKIM005 fail", "KEY003 fail", "KEY006 ok"]);

    // Others may read it: rspamd signs and says nothing, so somebody else has to.
    chown(&key, Some(SIGNER), Some(SIGNER)).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    until("it signs again", 30, || docker(&["exec", HOSTNAME, "check-signing"]).status.success());
    assert_eq!(doctor(&lab), ["DKIM005 ok", "KEY003 warn", "KEY006 ok"]);

    // Tables that are replaced by renaming, as editors do: a mounted directory shows it.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o400)).unwrap();
    let table = lab.file("rspamd/tables/SigningTable");
    let rows = fs::read_to_string(&table).unwrap();
    let put = |text: &str| {
        let new = table.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &table).unwrap();
    };
    put("# nobody\n");
    until("nothing is signed for", 30, || send_one(&APP, "no-row", "someone@sink.example").is_err());
    let key_table = lab.file("rspamd/tables/KeyTable");
    let keys = fs::read_to_string(&key_table).unwrap();
    fs::write(&key_table, format!("{keys}longer {DOMAIN}.au:s1:/etc/rspamd/keys/longer.private\n")).unwrap();
    assert!(doctor(&lab).contains(&"KEY006 fail".to_owned()), "a key that is not there: {:?}", doctor(&lab));
    fs::write(&key_table, keys.clone() + &keys.replace(&format!(" {DOMAIN}:"), &format!("2 {DOMAIN}.au:"))).unwrap();
    let name = keys.lines().find(|line| !line.starts_with('#')).unwrap().split(' ').next().unwrap();
    put(&format!("{rows}*@{DOMAIN}.au {name}2\n"));
    assert!(doctor(&lab).contains(&"KEY006 fail".to_owned()), "two domains that begin alike: {:?}", doctor(&lab));
    fs::write(&key_table, keys).unwrap();
    put(&rows);
    until("it signs again", 30, || docker(&["exec", HOSTNAME, "check-signing"]).status.success());
    nothing_bad(&[], &lab.received());
}

fn key_file(lab: &Lab) -> PathBuf {
    fs::read_dir(lab.file("rspamd/keys").join(DOMAIN)).unwrap().next().unwrap().unwrap().path()
}

/// `ID result` of what concerns the signer.
fn doctor(lab: &Lab) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dkimctl"));
    command.args(["doctor", "--container", HOSTNAME, "--only", "KEY003,KEY006,DKIM005", "--json"]);
    let output = command.current_dir(lab.file("secure")).env("HOME", lab.dir.path()).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let checks = document["checks"].as_array().unwrap().iter();
    let mut seen: Vec<String> = checks
        .map(|check| format!("{} {}", check["id"].as_str().unwrap(), check["result"].as_str().unwrap()))
        .collect();
    seen.sort();
    seen
}
