//! The stack as it is printed: from `stack init` to a rotation under flow, a restart with mail in the queue, and a crash.

use std::fs;
use std::process::Command;

use crate::engine::{docker, docker_ok};
use crate::flow::{APP, first_key_signs, rotates_under_flow};
use crate::lab::{DOMAIN, HOSTNAME, Lab, crash, nothing_bad, text, until};
use crate::load::send_one;
use crate::turn;

#[test]
fn from_nothing_to_a_rotation_without_a_bad_message() {
    let Some(_turn) = turn() else { return };
    let mut lab = Lab::new();
    lab.up();

    first_key_signs(&lab);
    key_is_in_no_layer(&lab);

    // A message waits for its receiver while the stack goes down and comes back.
    send_one(&APP, "held", "someone@held.example").unwrap();
    until("it is deferred", 30, || docker_ok(&["exec", HOSTNAME, "postqueue", "-j"]).contains("\"deferred\""));
    lab.compose(&["down"]);
    assert!(!docker(&["inspect", HOSTNAME]).status.success());
    lab.up();
    until("the queue is there again", 10, || {
        docker_ok(&["exec", HOSTNAME, "postqueue", "-j"]).contains("held.example")
    });

    rotates_under_flow(&lab);

    // Signed by s1 before all that, and s1's record is still there.
    lab.open_held();
    docker_ok(&["exec", HOSTNAME, "postqueue", "-f"]);
    until("the held message has arrived", 60, || !lab.received_late().is_empty());
    let held = &lab.received_late()[0];
    assert_eq!((held.selector.as_deref(), held.result.as_str()), (Some("s1"), "pass"), "{}", held.why);

    // The reloads went through `docker exec`, so the engine still brings the container back.
    crash(HOSTNAME);
    until("the container is back, and signs", 60, || docker(&["exec", HOSTNAME, "check-signing"]).status.success());
    send_one(&APP, "after-the-crash", "someone@sink.example").unwrap();
    until("mail after the crash", 30, || lab.received().iter().any(|m| m.id == "after-the-crash"));
    nothing_bad(&[], &lab.received());
}

/// `docker save` is what anybody gets who can pull the image.
fn key_is_in_no_layer(lab: &Lab) {
    let keys = lab.file("opendkim/keys").join(DOMAIN);
    let key = fs::read_dir(keys).unwrap().next().unwrap().unwrap().path();
    let pem = fs::read_to_string(key).unwrap();
    let lines: Vec<&str> = pem.lines().filter(|line| line.len() == 64).skip(10).take(3).collect();
    assert_eq!(lines.len(), 3, "what is looked for is a key");
    let image = format!("{DOMAIN}/mail");
    let tar = lab.dir.path().join("image.tar");
    docker_ok(&["save", "-o", text(&tar), &image]);
    // grep(1), because half a gigabyte is looked through several times.
    let finds =
        |needle: &str| Command::new("grep").args(["-qaF", "-e", needle]).arg(&tar).status().unwrap().code() == Some(0);
    assert!(finds("/etc/opendkim/tables/KeyTable"), "layers are not read as they are");
    for line in &lines {
        assert!(!finds(line), "the key is in the image");
    }
    let password = fs::read_to_string(lab.file("secrets/submission")).unwrap();
    assert!(!finds(password.trim().split_once(':').unwrap().1), "a password is in the image");
    fs::remove_file(tar).unwrap();
}

#[test]
fn an_existing_directory_is_compared_and_not_written_over() {
    let Some(_turn) = turn() else { return };
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    let stack = dir.path().join("stack");
    let init = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dkimctl"));
        command.args(["stack", "init", text(&stack), "--domain", DOMAIN]).args(more).env("HOME", dir.path());
        command.output().unwrap()
    };
    assert_eq!(init(&[]).status.code(), Some(0));
    assert_eq!(init(&["--diff"]).status.code(), Some(0));
    let compose = stack.join("compose.yaml");
    let mine = fs::read_to_string(&compose).unwrap().replace("unless-stopped", "always");
    fs::write(&compose, &mine).unwrap();
    fs::remove_file(stack.join("dns.txt")).unwrap();

    let refused = init(&[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("compose.yaml"), "{refused:?}");
    assert!(!stack.join("dns.txt").exists(), "nothing at all is written then");
    let diff = init(&["--diff"]);
    assert_eq!(diff.status.code(), Some(5));
    let diff = String::from_utf8(diff.stdout).unwrap();
    assert!(diff.contains("-    restart: always\n+    restart: unless-stopped\n"), "{diff}");
    assert!(diff.contains("--- /dev/null\n+++ b/dns.txt\n"), "{diff}");
    assert_eq!(fs::read_to_string(&compose).unwrap(), mine);
}

/// Valid for the old and the new Compose, alone and with the development file; which is the only one that catches mail.
#[test]
fn the_compose_files_are_valid() {
    let Some(_turn) = turn() else { return };
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    for relay in ["none", "ses", "mailgun", "postmark"] {
        let stack = dir.path().join(relay);
        let mut command = Command::new(env!("CARGO_BIN_EXE_dkimctl"));
        let init = command.args(["stack", "init", text(&stack), "--domain", DOMAIN, "--relay", relay]);
        assert!(init.env("HOME", dir.path()).output().unwrap().status.success());
        let files = [vec!["-f", "compose.yaml"], vec!["-f", "compose.yaml", "-f", "development/compose.mailpit.yaml"]];
        let compose_v2 = docker(&["compose", "version"]).status.success();
        let programs = [vec!["docker-compose"], vec!["docker", "compose"]];
        for program in programs.iter().take(1 + usize::from(compose_v2)) {
            for files in &files {
                let mut command = Command::new(program[0]);
                let config =
                    command.args(&program[1..]).args(files).arg("config").current_dir(&stack).output().unwrap();
                let said = String::from_utf8_lossy(&[config.stdout, config.stderr].concat()).into_owned();
                assert!(config.status.success() && !said.contains("WARN"), "{program:?} {files:?}:\n{said}");
                assert_eq!(said.contains("mailpit"), files.len() > 2, "{said}");
            }
        }
    }
}
