use serde_json::{Value, json};

use super::*;
use crate::doctor::rig::{container, found, look, verdicts};
use dkimctl_state::time::Time;

const BUILT: (&str, &str) = ("smtp/Dockerfile", "FROM debian\nRUN apt-get install -y postfix\n");

fn written(lines: &str) -> Vec<String> {
    let compose = format!("services:\n  smtp:\n    build: smtp\n{lines}");
    verdicts(&found(&[("compose.yaml", &compose), BUILT], examine), "QUEUE001")
}

#[test]
fn a_queue_lies_on_something_that_lasts() {
    assert_eq!(written("    volumes: ['q:/var/spool/postfix']\n"), ["ok"]);
    assert_eq!(written("    volumes: ['./spool:/var/spool']\n"), ["ok"]);
    assert_eq!(written("    volumes: ['/var/spool/postfix']\n"), ["warn compose.yaml:4"]);
    assert_eq!(written("    tmpfs: /var/spool\n"), ["warn compose.yaml:4"]);
    assert_eq!(
        written("    volumes: ['q:/var/lib/postfix']\n"),
        ["warn compose.yaml:3"],
        "master.lock is not the queue"
    );
    assert_eq!(written("    extends: {service: base}\n"), ["unknown compose.yaml:3"]);
}

#[test]
fn images_of_others_are_not_judged_by_what_is_absent() {
    let with = |image: &str, lines: &str| {
        let compose = format!("services:\n  smtp:\n    image: {image}\n{lines}");
        verdicts(&found(&[("compose.yaml", &compose)], examine), "QUEUE001")
    };
    assert_eq!(with("boky/postfix", ""), ["unknown compose.yaml:3"]);
    assert_eq!(with("boky/postfix", "    volumes: ['q:/var/spool/postfix']\n"), ["ok"]);
    assert_eq!(with("docker.io/mailserver/docker-mailserver:14", "    volumes: ['./s:/var/mail-state']\n"), ["ok"]);
    assert!(with("nginx", "").is_empty());
}

fn in_force(mounts: Value, queue: &str, id: &str) -> Vec<String> {
    let mut patient = container(
        json!({"Mounts": mounts}),
        &[("postconf -x", "queue_directory = /var/spool/postfix\n"), ("postconf -n", ""), ("postqueue -j", queue)],
    );
    patient.now = Time::from_unix(1_800_000_000);
    verdicts(&look(&patient, examine), id)
}

#[test]
fn the_engine_says_where_it_lies() {
    let at = |kind: &str, name: &str| json!([{"Type": kind, "Name": name, "Source": name, "Destination": "/var/spool/postfix"}]);
    assert_eq!(in_force(at("volume", "mail_queue"), "", "QUEUE001"), ["ok"]);
    assert_eq!(in_force(at("bind", "/srv/queue"), "", "QUEUE001"), ["ok"]);
    assert_eq!(in_force(at("volume", &"ab".repeat(32)), "", "QUEUE001"), ["fail error"]);
    assert_eq!(in_force(at("tmpfs", ""), "", "QUEUE001"), ["fail error"]);
    assert_eq!(in_force(json!([]), "", "QUEUE001"), ["fail error"]);
}

fn deferred(age: i64, reason: &str) -> String {
    let message = json!({
        "queue_name": "deferred", "queue_id": "A1", "arrival_time": 1_800_000_000 - age, "message_size": 1,
        "sender": "a@example.com", "recipients": [{"address": "b@example.net", "delay_reason": reason}]
    });
    format!("{message}\n")
}

#[test]
fn old_and_many_are_worth_a_word() {
    assert_eq!(in_force(json!([]), "", "QUEUE002"), ["ok"]);
    assert_eq!(in_force(json!([]), &deferred(60, "x"), "QUEUE002"), ["ok"]);
    assert_eq!(in_force(json!([]), &deferred(5 * 3600, "x"), "QUEUE002"), ["warn"]);
    assert_eq!(in_force(json!([]), &deferred(60, "x").repeat(MANY), "QUEUE002"), ["warn"]);
}

#[test]
fn reasons_lead_to_checks() {
    for (reason, id) in [
        (
            "host mx.example[192.0.2.1] said: 450 4.7.25 Client host rejected: cannot find your hostname (in reply to RCPT TO command)",
            "NET003",
        ),
        (
            "host gmail-smtp-in.l.google.com[2a00::1] said: 550-5.7.25 The IP address sending this message does not have a PTR record",
            "NET002",
        ),
        ("connect to mx.example[192.0.2.1]:25: Connection timed out", "NET001"),
        ("connect to mx.example[2001:db8::1]:25: Network is unreachable", "IP6003"),
        (
            "Host or domain name not found. Name service error for name=example.net type=MX: Host not found, try again",
            "PF001",
        ),
        (
            "host mx.example[192.0.2.1] said: 504 5.5.2 <25aea30808b2>: Helo command rejected: need fully-qualified hostname",
            "HELO001",
        ),
    ] {
        assert_eq!(check_of(&shape(reason)), Some(id), "{reason} -> {}", shape(reason));
    }
    assert_eq!(check_of("mailbox full"), None);
    let same = [
        shape("connect to a.example[192.0.2.1]:25: Connection timed out"),
        shape("connect to b.example[192.0.2.9]:25: Connection timed out"),
    ];
    assert_eq!(same[0], same[1]);
}
