//! What the stack is built around: what engines do with files, owners and signals. If one of these changes, a sentence in
//! docs/stack.md is wrong.

use std::fs;
use std::process::Command;

use crate::engine::{BASE, docker, docker_ok};
use crate::lab::crash;
use crate::lab::{text, until};
use crate::turn;

/// A container that is removed with this.
struct Running(&'static str);

impl Running {
    fn start(name: &'static str, options: &[&str], command: &[&str]) -> Running {
        let _ = docker(&["rm", "-f", name]);
        docker_ok(&[&["run", "-d", "--name", name, "--network", "none"], options, &[BASE], command].concat());
        Running(name)
    }

    fn exec(&self, command: &[&str]) -> String {
        docker_ok(&[&["exec", self.0], command].concat())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = docker(&["rm", "-f", self.0]);
    }
}

#[test]
fn a_file_mount_keeps_the_old_key_and_a_directory_mount_shows_the_new_one() {
    let Some(_turn) = turn() else { return };
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    let key = dir.path().join("key");
    fs::write(&key, "old").unwrap();
    let (file, directory) = (format!("{}:/file", text(&key)), format!("{}:/directory", text(dir.path())));
    let container = Running::start("dkimctl-trap-inode", &["-v", &file, "-v", &directory], &["sleep", "600"]);
    fs::write(dir.path().join("new"), "new").unwrap();
    fs::rename(dir.path().join("new"), &key).unwrap();
    assert_eq!(container.exec(&["cat", "/file"]), "old");
    assert_eq!(container.exec(&["cat", "/directory/key"]), "new");
    // Nor is a deleted key gone.
    fs::remove_file(&key).unwrap();
    assert_eq!(container.exec(&["cat", "/file"]), "old");
}

#[test]
fn compose_ignores_owner_and_mode_of_a_file_secret() {
    let Some(_turn) = turn() else { return };
    let dir = tempfile::tempdir_in("/var/lib").unwrap();
    fs::write(dir.path().join("key"), "secret").unwrap();
    std::os::unix::fs::chown(dir.path().join("key"), Some(1234), Some(1234)).unwrap();
    let text = format!(
        "version: \"3.8\"\nservices:\n  trap:\n    image: {BASE}\n    container_name: dkimctl-trap-mode\n    network_mode: none\n    \
         command: [sleep, \"600\"]\n    secrets:\n      - source: key\n        uid: \"10101\"\n        gid: \"10101\"\n        mode: 0400\n\
         secrets:\n  key:\n    file: ./key\n"
    );
    fs::write(dir.path().join("compose.yaml"), text).unwrap();
    let _container = Running("dkimctl-trap-mode");
    let compose = |arguments: &[&str]| {
        let output = Command::new("docker-compose")
            .arg("-p")
            .arg("dkimctl-trap")
            .args(arguments)
            .current_dir(dir.path())
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    compose(&["up", "-d"]);
    assert_eq!(
        docker_ok(&["exec", "dkimctl-trap-mode", "stat", "-c", "%u:%g %a", "/run/secrets/key"]),
        "1234:1234 644"
    );
    compose(&["down", "-t", "1"]);
}

#[test]
fn a_signal_by_docker_kill_turns_the_restart_policy_off_and_one_by_exec_does_not() {
    let Some(_turn) = turn() else { return };
    let waits = ["sh", "-c", "trap 'echo told' USR1; while :; do sleep 0.1; done"];
    let running = |name: &str| docker_ok(&["inspect", "--format", "{{.State.Running}}", name]) == "true";

    let told = Running::start("dkimctl-trap-exec", &["--restart", "always"], &waits);
    told.exec(&["sh", "-c", "kill -USR1 1"]);
    until("it was told", 10, || docker_ok(&["logs", told.0]).contains("told"));
    crash(told.0);
    until("it comes back", 30, || running(told.0));

    let killed = Running::start("dkimctl-trap-kill", &["--restart", "always"], &waits);
    docker_ok(&["kill", "-s", "USR1", killed.0]);
    until("it was told", 10, || docker_ok(&["logs", killed.0]).contains("told"));
    crash(killed.0);
    // The engine waits 100 ms before the first restart; ten times that is patience enough.
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert!(!running(killed.0), "`docker kill` does not turn the restart policy off any more");
}
