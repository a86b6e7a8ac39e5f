//! s1 -> s2 under load, as an operator does it: asked for once on the secure host, carried out by the mail host, and
//! then the retirement of s1. And the same by a careless policy, which fails.

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::policy::Policy;
use dkimctl_state::time::Span;

use crate::load::{Load, send_one};
use crate::parties::{Ci, MailHost, SecureHost, Shared};
use crate::rig::{Curious, HELD, Rig, until};
use crate::sink::{Received, count};
use crate::turn;

/// Messages by each selector of the careful rotation.
const ENOUGH: usize = 500;

#[test]
fn a_rotation_under_load_loses_no_message() {
    let Some(_turn) = turn() else { return };
    let mut rig = Rig::start();
    let everybody = [rig.primary.address, rig.secondary.address];
    let mut parties = Parties::with_s1(&rig, scaled(), &everybody);

    let curious = Curious::about("s2", &rig);
    let load = Load::start(rig.postfix.address);
    send_one(rig.postfix.address, &format!("someone@{HELD}"), "held");
    until("mail under way", 30, || rig.received().len() >= 100);

    parties.secure.rotate();
    parties.run_until(&rig, "s2 is active", |parties| parties.secure.phase("s2") == Some(Phase::Active));
    assert_eq!(parties.secure.phase("s1"), Some(Phase::Retiring));
    until("s1 still signs in sessions from before the switch", 30, || {
        let received = rig.received();
        let last = received.iter().rev().take(40);
        let selectors: std::collections::BTreeSet<_> = last.filter_map(|m| m.selector.clone()).collect();
        selectors.len() == 2 && with(&received, "s1") >= ENOUGH
    });
    load.renew_sessions();
    rig.open_held();
    until("the held message has arrived", 30, || rig.received_late().len() == 1);

    // CI writes the same keys, with its own identity.
    let secrets = parties.ci.write_secrets(&parties.shared, &parties.secure.manifest_key());
    assert_eq!(secrets.len(), 2, "s1, which may be called back, and s2: {secrets:?}");

    parties.run_until(&rig, "s1 is gone", |parties| parties.secure.phase("s1") == Some(Phase::Gone));
    assert!(!rig.serves(rig.primary.address, "s1") && !rig.serves(rig.secondary.address, "s1"));
    assert_eq!(parties.secure.sealed(), 1, "the sealed key of s1 is destroyed");
    let keys = fs::read_dir(rig.signer.keys().join(crate::rig::ZONE)).unwrap();
    let keys: Vec<_> = keys.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
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
    let arrived: std::collections::BTreeSet<String> = received.iter().map(|m| m.id.clone()).collect();
    assert_eq!(arrived, tally.accepted);
    let held = &rig.received_late()[0];
    assert_eq!((held.selector.as_deref(), held.result.as_str()), (Some("s1"), "pass"), "{}", held.why);
}

#[test]
fn without_the_wait_for_every_server_and_cache_messages_fail() {
    let Some(_turn) = turn() else { return };
    let rig = Rig::start();
    // What a program believes that asks nobody but the server it wrote to, and waits for nothing beyond that.
    let mut parties = Parties::with_s1(&rig, careless(), &[rig.primary.address]);

    let curious = Curious::about("s2", &rig);
    let load = Load::start(rig.postfix.address);
    until("mail under way", 30, || rig.received().len() >= 40);
    parties.secure.rotate();
    parties.run_until(&rig, "s2 is active", |parties| parties.secure.phase("s2") == Some(Phase::Active));
    until("mail by s2", 30, || with(&rig.received(), "s2") >= 20);
    load.stop();
    drop(curious);

    let received = rig.received();
    let failed: Vec<&Received> = received.iter().filter(|m| m.result == "fail").collect();
    assert!(!failed.is_empty(), "{:?}", count(&received));
    assert!(failed.iter().all(|m| m.selector.as_deref() == Some("s2")), "{:?}", count(&received));
}

/// Waits of a real policy, some hundred times faster; none of them is zero.
fn scaled() -> Policy {
    Policy {
        window: Span::seconds(25),
        queue_lifetime: Span::seconds(20),
        retire_safety: Span::seconds(1),
        publish_safety: Span::seconds(2),
        sweep_gap: Span::seconds(2),
        propagation: Span::seconds(1),
        negative_floor: Span::seconds(5),
        negative_unknown: Span::seconds(10),
        rollback_grace: Span::seconds(20),
        poll: Span::seconds(1),
        lab: true,
        ..Policy::default()
    }
}

fn careless() -> Policy {
    Policy {
        publish_safety: Span::ZERO,
        sweep_gap: Span::ZERO,
        negative_floor: Span::ZERO,
        negative_unknown: Span::ZERO,
        ..scaled()
    }
}

/// The three parties.
struct Parties {
    secure: SecureHost,
    mail: MailHost,
    ci: Ci,
    shared: Shared,
}

impl Parties {
    /// s1 was made, published, delivered and switched to.
    fn with_s1(rig: &Rig, policy: Policy, nameservers: &[SocketAddr]) -> Parties {
        let shared = Shared { outbox: rig.directory().join("outbox"), receipts: rig.directory().join("receipts") };
        fs::create_dir(&shared.receipts).unwrap();
        let mail = MailHost::new(rig, nameservers, shared.clone());
        let ci = Ci::new(rig);
        let recipients = vec![mail.recipient.clone(), ci.recipient.clone()];
        let secure = SecureHost::new(rig, policy, nameservers, recipients, mail.receipt_key(), shared.clone());
        let mut parties = Parties { secure, mail, ci, shared };
        parties.secure.rotate();
        parties.run_until(rig, "s1 is active", |parties| parties.secure.phase("s1") == Some(Phase::Active));
        until("the secondary and the caches have s1", 30, || {
            rig.serials_agree() && rig.serves(rig.resolver.address, "s1")
        });
        parties
    }

    /// What cron does on both hosts, faster.
    fn run_until(&mut self, rig: &Rig, what: &str, condition: impl Fn(&Parties) -> bool) {
        let mut waits = Default::default();
        for _ in 0..180 {
            self.mail.apply(rig, &self.secure.manifest_key());
            let run = self.secure.advance();
            assert!(run.failures.is_empty(), "{:?}", run.failures);
            if condition(self) {
                return;
            }
            waits = run.waits;
            thread::sleep(Duration::from_millis(500));
        }
        panic!("not reached: {what}; {waits:?}");
    }
}

fn with(received: &[Received], selector: &str) -> usize {
    received.iter().filter(|m| m.selector.as_deref() == Some(selector)).count()
}
