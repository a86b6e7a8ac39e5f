//! The rig proves itself: a rotation made by hand, once with care and once without.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::load::{Load, send_one};
use crate::rig::{Curious, HELD, Rig, TTL, ZONE, until};
use crate::sink::{Received, count};
use crate::turn;

#[test]
fn done_with_care_every_message_is_valid() {
    let Some(_turn) = turn() else { return };
    let mut rig = signing_with_s1();
    let curious = Curious::about("s2", &rig);
    let load = Load::start(rig.postfix.address);
    send_one(rig.postfix.address, &format!("someone@{HELD}"), "held");

    publish(&rig, "s2");
    until("both servers and the caches have s2", 30, || rig.serials_agree() && rig.serves(rig.resolver.address, "s2"));
    until("60 messages with s1", 30, || rig.received().len() >= 60);
    sign_with(&rig, "s2");
    until("30 messages with s2 in spite of open sessions", 30, || with(&rig.received(), "s2") >= 30);
    load.renew_sessions();
    let now = rig.received().len();
    until("40 more messages", 30, || rig.received().len() >= now + 40);
    let tally = load.stop();
    until("everything has arrived", 30, || rig.received().len() == tally.accepted.len());
    rig.open_held();
    until("the held message has arrived", 30, || rig.received_late().len() == 1);
    drop(curious);

    let received = rig.received();
    assert_eq!(tally.refused, Vec::<String>::new());
    assert!(received.iter().all(|m| m.result == "pass"), "{:?}", count(&received));
    let kept_after = received.iter().rev().take(20).filter(|m| m.id.starts_with("kept")).collect::<Vec<_>>();
    assert!(kept_after.iter().all(|m| m.selector.as_deref() == Some("s2")), "renewed sessions still sign with s1");
    let held = &rig.received_late()[0];
    assert_eq!((held.id.as_str(), held.selector.as_deref(), held.result.as_str()), ("held", Some("s1"), "pass"));
}

#[test]
fn done_carelessly_messages_fail() {
    let Some(_turn) = turn() else { return };
    let rig = signing_with_s1();
    let curious = Curious::about("s2", &rig);
    let load = Load::start(rig.postfix.address);
    until("20 messages with s1", 30, || rig.received().len() >= 20);
    publish(&rig, "s2");
    assert!(
        rig.serves(rig.primary.address, "s2"),
        "the primary has it at once, and a careless program asks nobody else"
    );
    sign_with(&rig, "s2");
    until("20 messages with s2", 30, || with(&rig.received(), "s2") >= 20);
    load.stop();
    drop(curious);

    let received = rig.received();
    let failed = received.iter().filter(|m| m.result == "fail" && m.selector.as_deref() == Some("s2")).count();
    assert!(failed > 0, "{:?}", count(&received));
}

/// Both keys exist; s1 is published and signs.
fn signing_with_s1() -> Rig {
    let rig = Rig::start();
    publish(&rig, "s1");
    until("both servers have s1", 30, || rig.serials_agree() && rig.serves(rig.secondary.address, "s1"));
    sign_with(&rig, "s1");
    rig
}

fn publish(rig: &Rig, selector: &str) {
    let (private, record) = openssl_key(selector);
    let path = rig.signer.write_key(selector, &private);
    let rows = fs::read_to_string(rig.signer.key_table()).unwrap();
    put(&rig.signer.key_table(), &format!("{rows}{selector} {ZONE}:{selector}:{}\n", path.display()));
    rig.update(&record);
}

fn sign_with(rig: &Rig, selector: &str) {
    put(&rig.signer.signing_table(), &format!("*@{ZONE} {selector}\n"));
    let pid = rig.signer.pid().to_string();
    assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
}

/// A table is never seen half written.
fn put(table: &Path, text: &str) {
    let new = table.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, table).unwrap();
}

/// A key made by openssl: its private half, and the line of nsupdate that publishes the other.
fn openssl_key(selector: &str) -> (String, String) {
    let openssl = |arguments: &[&str], input: &str| {
        let mut child =
            Command::new("openssl").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl {arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let private = openssl(&["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "");
    let public = openssl(&["pkey", "-pubout"], &private);
    let public: String = public.lines().filter(|line| !line.starts_with('-')).collect();
    let (head, tail) = public.split_at(200);
    let name = format!("{selector}._domainkey.{ZONE}.");
    (private, format!("update add {name} {TTL} TXT \"v=DKIM1; k=rsa; p={head}\" \"{tail}\""))
}

fn with(received: &[Received], selector: &str) -> usize {
    received.iter().filter(|m| m.selector.as_deref() == Some(selector)).count()
}
