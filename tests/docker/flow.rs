//! What every stack has to show, whoever signs in it.

use crate::engine::docker_ok;
use crate::lab::{DOMAIN, HOSTNAME, Lab, nothing_bad, until, with};
use crate::load::{Load, send_one};

/// The application's container.
pub const APP: [&str; 4] = ["docker", "exec", "-i", "dkimctl-lab_app_1"];

/// A stack that has just begun: without a key mail is refused for now, and nothing leaves unsigned; then s1 signs.
pub fn first_key_signs(lab: &Lab) {
    let refused = send_one(&APP, "too-early", "someone@sink.example").unwrap_err();
    assert!(refused.contains("(451, ") || refused.contains("(454, "), "{refused}");
    lab.secure(&["rotate", DOMAIN]);
    lab.run_until("s1", "active");
    docker_ok(&["exec", HOSTNAME, "check-signing"]);
    send_one(&APP, "first", "someone@sink.example").unwrap();
    until("the first message has arrived", 30, || !lab.received().is_empty());
    let first = &lab.received()[0];
    assert_eq!((first.id.as_str(), first.selector.as_deref(), first.result.as_str()), ("first", Some("s1"), "pass"));
}

/// From s1 to s2 while mail is under way: nothing bad, nothing lost, nothing refused even once.
pub fn rotates_under_flow(lab: &Lab) {
    let load = Load::start(&APP);
    until("mail under way", 60, || with(&lab.received(), "s1") >= 60);
    lab.secure(&["rotate", DOMAIN]);
    lab.run_until("s2", "active");
    let switched = lab.received().len();
    until("mail by s2, also over sessions from before the switch", 60, || {
        let received = lab.received();
        with(&received, "s2") >= 150
            && received[switched..].iter().rev().take(60).all(|m| m.selector.as_deref() == Some("s2"))
    });
    let tally = load.stop();
    until("everything has arrived", 60, || lab.received().len() > tally.accepted.len());
    let received = lab.received();
    println!("{} messages, {} by s1 and {} by s2", received.len(), with(&received, "s1"), with(&received, "s2"));
    nothing_bad(&tally.accepted, &received);
    assert_eq!(tally.tries, 0, "a message was not accepted at once");
}
