//! s1 -> s2 under load, as an operator does it: asked for once on the secure host, carried out by the mail host, and
//! then the retirement of s1. And the same by a careless policy, which fails.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::load::{Load, send_one};
use crate::parties::{Parties, Party, Policy};
use crate::rig::{Curious, HELD, Rig, ZONE, until};
use crate::sink::{Received, count};
use crate::turn;

/// Messages by each selector of the careful rotation.
const ENOUGH: usize = 500;

#[test]
fn a_rotation_under_load_loses_no_message() {
    let Some(_turn) = turn() else { return };
    let mut rig = Rig::start();
    let everybody = [rig.primary.address, rig.secondary.address];
    let parties = with_s1(&rig, SCALED, &everybody);
    parties_share_nothing_else(&rig, &parties);

    let curious = Curious::about("s2", &rig);
    let load = Load::start(rig.postfix.address);
    send_one(rig.postfix.address, &format!("someone@{HELD}"), "held");
    until("mail under way", 30, || rig.received().len() >= 100);

    parties.secure.run(&["rotate", ZONE]);
    parties.run_until("s2", "active");
    assert_eq!(parties.phase("s1").as_deref(), Some("retiring"));
    until("s1 still signs in sessions from before the switch", 30, || {
        let received = rig.received();
        let last = received.iter().rev().take(40);
        let selectors: BTreeSet<_> = last.filter_map(|m| m.selector.clone()).collect();
        selectors.len() == 2 && with(&received, "s1") >= ENOUGH
    });
    load.renew_sessions();
    rig.open_held();
    until("the held message has arrived", 30, || rig.received_late().len() == 1);
    ci_writes_the_keys(&rig, &parties);

    parties.run_until("s1", "gone");
    assert!(!rig.serves(rig.primary.address, "s1") && !rig.serves(rig.secondary.address, "s1"));
    assert_eq!(names(&parties.secure.home.join("state/blobs")).len(), 1, "the sealed key of s1 is destroyed");
    let keys = names(&rig.signer.keys().join(ZONE));
    assert!(keys.len() == 1 && keys[0].starts_with("s2-"), "{keys:?}");
    let gone_at = rig.received().len();
    until("mail after the removal of s1", 60, || {
        rig.received().len() >= gone_at + 40 && with(&rig.received(), "s2") >= ENOUGH
    });

    let tally = load.stop();
    drop(curious);
    until("everything has arrived", 60, || rig.received().len() == tally.accepted.len());
    let received = rig.received();
    assert_eq!(tally.refused, Vec::<String>::new(), "refused at the door");
    let bad: Vec<&Received> = received.iter().filter(|m| m.result != "pass").collect();
    assert!(bad.is_empty(), "{:?}, for example {:?}", count(&received), bad[0]);
    let arrived: BTreeSet<String> = received.iter().map(|m| m.id.clone()).collect();
    assert_eq!(arrived, tally.accepted);
    let held = &rig.received_late()[0];
    assert_eq!((held.selector.as_deref(), held.result.as_str()), (Some("s1"), "pass"), "{}", held.why);
}

/// The secure host's secrets, the mail host's and those of CI are nobody else's; the outbox and the receipts are read
/// by all, and written by one.
fn parties_share_nothing_else(rig: &Rig, parties: &Parties) {
    let Parties { secure, mail, ci, outbox, receipts } = parties;
    let keys = rig.signer.keys();
    let secrets: [(&Party, &Path); 6] = [
        (secure, &secure.home.join("state")),
        (secure, &secure.home.join("tsig")),
        (mail, &mail.home.join("identity")),
        (mail, &mail.home.join("state")),
        (mail, &keys),
        (ci, &ci.home.join("identity")),
    ];
    for (owner, path) in secrets {
        for party in [secure, mail, ci] {
            assert_eq!(party.can_read(path), party.home == owner.home, "{} reads {}", party.user.name, path.display());
        }
    }
    for (owner, path) in [(secure, outbox), (mail, receipts)] {
        for party in [secure, mail, ci] {
            assert!(party.can_read(path), "{} cannot read {}", party.user.name, path.display());
            assert_eq!(party.can_write(path), party.home == owner.home, "{} in {}", party.user.name, path.display());
        }
    }
}

/// CI writes the same keys with an identity of its own: it has no state and no DNS key, and compares with DNS.
fn ci_writes_the_keys(rig: &Rig, parties: &Parties) {
    let Parties { ci, outbox, .. } = parties;
    let manifest_key = fs::read_to_string(ci.home.join("manifest-key")).unwrap();
    let servers = [&rig.primary, &rig.secondary].map(|server| server.address.to_string());
    let mut write = vec!["secrets", "write", "--manifest", outbox.to_str().unwrap(), "--identity", "identity"];
    write.extend(["--to", "out", "--verify-key", &manifest_key]);
    write.extend(["--check-dns", "--nameserver", &servers[0], "--nameserver", &servers[1]]);
    ci.run(&write);
    let mut written = names(&ci.home.join("out").join(ZONE));
    written.sort();
    let selectors: Vec<&str> = written.iter().map(|name| name.split('-').next().unwrap()).collect();
    assert_eq!(selectors, ["s1", "s2"], "s1 may be called back");
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn without_the_wait_for_every_server_and_cache_messages_fail() {
    let Some(_turn) = turn() else { return };
    let rig = Rig::start();
    let parties = with_s1(&rig, CARELESS, &[rig.primary.address]);

    let curious = Curious::about("s2", &rig);
    let load = Load::start(rig.postfix.address);
    until("mail under way", 30, || rig.received().len() >= 40);
    parties.secure.run(&["rotate", ZONE]);
    parties.run_until("s2", "active");
    until("mail by s2", 30, || with(&rig.received(), "s2") >= 20);
    load.stop();
    drop(curious);

    let received = rig.received();
    let failed: Vec<&Received> = received.iter().filter(|m| m.result == "fail").collect();
    assert!(!failed.is_empty(), "{:?}", count(&received));
    assert!(failed.iter().all(|m| m.selector.as_deref() == Some("s2")), "{:?}", count(&received));
}

/// Waits of a real policy, some hundred times faster; none of them is zero.
const SCALED: Policy = &[
    ("window", "25s"),
    ("queue_lifetime", "20s"),
    ("retire_safety", "1s"),
    ("publish_safety", "2s"),
    ("sweep_gap", "2s"),
    ("propagation", "1s"),
    ("negative_floor", "5s"),
    ("negative_unknown", "10s"),
    ("rollback_grace", "20s"),
    ("poll", "1s"),
];

/// What a program does that asks nobody but the server it wrote to, and waits for nothing that it does not see.
const CARELESS: Policy = &[
    ("window", "25s"),
    ("queue_lifetime", "20s"),
    ("retire_safety", "1s"),
    ("publish_safety", "0s"),
    ("sweep_gap", "0s"),
    ("propagation", "0s"),
    ("negative_floor", "0s"),
    ("negative_unknown", "0s"),
    ("rollback_grace", "20s"),
    ("poll", "1s"),
];

/// s1 was made, published, delivered and switched to.
fn with_s1(rig: &Rig, policy: Policy, nameservers: &[SocketAddr]) -> Parties {
    let parties = Parties::meet(rig, policy, nameservers);
    parties.secure.run(&["rotate", ZONE]);
    parties.run_until("s1", "active");
    until("the secondary and the caches have s1", 30, || rig.serials_agree() && rig.serves(rig.resolver.address, "s1"));
    parties
}

fn with(received: &[Received], selector: &str) -> usize {
    received.iter().filter(|m| m.selector.as_deref() == Some(selector)).count()
}
