//! Keys by other ways than a mounted directory: in the container's memory, and as Compose secrets.

use std::fs;
use std::process::Command;

use crate::engine::{docker, docker_ok};
use crate::lab::{DOMAIN, HOSTNAME, Lab, edit, nothing_bad, until};
use crate::load::send_one;
use crate::turn;

const APP: [&str; 4] = ["docker", "exec", "-i", "dkimctl-lab_app_1"];

const KEYS_MOUNT: &str = "      - type: bind\n        source: ./opendkim/keys\n        target: /etc/opendkim/keys\n        \
                          read_only: true\n";

#[test]
fn keys_in_memory_alone_are_put_back_after_a_restart() {
    let Some(_turn) = turn() else { return };
    let mut lab = Lab::new();
    edit(&lab.file("compose.yaml"), |text| {
        assert!(text.contains(KEYS_MOUNT), "{text}");
        let text = text.replace(KEYS_MOUNT, "");
        let tmpfs =
            "    tmpfs:\n      - /etc/opendkim/keys:uid=10101,gid=10101,mode=0700\n    healthcheck:\n      test:";
        text.replace("    healthcheck:\n      test:", tmpfs)
    });
    edit(&lab.file("host/host.toml"), |text| {
        let text = text.replace("keys = \"../opendkim/keys\"", "keys = \"/etc/opendkim/keys\"");
        text.replace("\"/etc/opendkim/keys\" = \"../opendkim/keys\"\n", "")
            .replace("# [target]\n# type = \"exec\"", "[target]\ntype = \"exec\"")
    });
    lab.up();
    lab.secure(&["rotate", DOMAIN]);
    lab.run_until("s1", "active");
    send_one(&APP, "before", "someone@sink.example").unwrap();

    // No key is on a disk of this host, and the one in memory is the signer's alone.
    assert_eq!(fs::read_dir(lab.file("opendkim/keys")).unwrap().count(), 0);
    let keys = docker_ok(&["exec", HOSTNAME, "sh", "-c", "stat -c '%u:%g %a' /etc/opendkim/keys/*/*"]);
    assert_eq!(keys, "10101:10101 400");

    // A restart loses them, and what cannot be signed is not accepted.
    docker_ok(&["restart", "-t", "5", HOSTNAME]);
    until("the signer is up", 30, || {
        docker(&["exec", HOSTNAME, "test", "-S", "/run/milter/opendkim.sock"]).status.success()
    });
    let refused = send_one(&APP, "without-keys", "someone@sink.example").unwrap_err();
    assert!(refused.contains("(451, ") || refused.contains("(454, ") || refused.contains("refused"), "{refused}");
    let put = lab.dkimctl(&["secrets", "deliver", "--host", "stack/host/host.toml"]);
    assert!(put.starts_with("wrote docker.example s1"), "{put}");
    assert_eq!(lab.dkimctl(&["secrets", "deliver", "--host", "stack/host/host.toml"]), "", "twice is once");
    until("mail is accepted", 30, || send_one(&APP, "after", "someone@sink.example").is_ok());
    until("it has arrived", 30, || lab.received().iter().any(|message| message.id == "after"));
    nothing_bad(&["before".to_owned()], &lab.received());
}

#[test]
fn keys_as_compose_secrets_come_with_a_new_container_and_a_switch_does_not() {
    let Some(_turn) = turn() else { return };
    let mut lab = Lab::new();
    edit(&lab.file("compose.yaml"), |text| text.replace(KEYS_MOUNT, ""));
    edit(&lab.file("host/host.toml"), |text| {
        let target = "[target]\ntype = \"compose\"\nfile = \"../compose.keys.yaml\"\nservice = \"mail\"\nup = [\"docker-compose\", \
                      \"-p\", \"dkimctl-lab\", \"-f\", \"compose.yaml\", \"-f\", \"compose.lab.yaml\", \"-f\", \
                      \"compose.keys.yaml\", \"up\", \"-d\", \"--no-build\", \"mail\"]";
        text.replace("# [target]\n# type = \"exec\"", target)
    });
    lab.up();
    lab.secure(&["rotate", DOMAIN]);
    lab.run_until("s1", "active");
    let id = || docker_ok(&["inspect", "--format", "{{.Id}}", HOSTNAME]);
    let with_s1 = id();
    lab.secure(&["rotate", DOMAIN]);
    until("s2 is delivered", 60, || {
        lab.apply();
        lab.secure(&["receipt", "import"]);
        lab.secure(&["advance", DOMAIN]);
        fs::read_to_string(lab.file("compose.keys.yaml")).unwrap().matches("target:").count() == 2
    });
    lab.apply();
    let with_both = id();
    assert_ne!(with_s1, with_both, "a new secret needs a new container");
    lab.run_until("s2", "active");
    assert_eq!(id(), with_both, "a switch is an edit of the tables");
    until("mail is accepted", 30, || send_one(&APP, "by-s2", "someone@sink.example").is_ok());
    until("it has arrived", 30, || !lab.received().is_empty());
    assert_eq!(lab.received()[0].selector.as_deref(), Some("s2"));
    nothing_bad(&[], &lab.received());
    let valid = Command::new("docker-compose")
        .args(["-f", "compose.yaml", "-f", "compose.keys.yaml", "config", "-q"])
        .current_dir(lab.stack())
        .status();
    assert!(valid.unwrap().success());
}
