//! A domain at BIND and at PowerDNS: both change, or what one of them took is finished, or taken back.

use super::place::Place;
use super::{FIRST, REHEARSAL, foreign};

#[test]
fn spf_at_two_providers() {
    let first = "v=spf1 mx ~all";
    let records = format!("{}@ TXT \"{first}\"\n@ MX 10 mail\nmail A 192.0.2.9", super::FOREIGN);
    let Some(place) = Place::at_two_providers(&records, "") else { return };
    let others = foreign(&place, "example.com", "v=spf1");
    assert_eq!(others.len(), 2);
    let spf = || place.text_at_both("example.com", "v=spf1", &others);
    let resolver = place.resolver();
    let apply = ["spf", "apply", "example.com", "--resolver", &resolver];
    let written = "v=spf1 mx ip4:192.0.2.1 ~all";
    place.run(&["spf", "adopt", "example.com", "--yes", "--text", first]);

    // PowerDNS has taken it when somebody else turns out to be faster at BIND.
    let theirs = "v=spf1 mx a:mail.example.com ~all";
    place.configure(place.overtaken("example.com", first, theirs));
    let said = place.ends(&apply, 1);
    assert!(said.contains("changed after it was looked at"), "{said}");
    assert_eq!(spf(), [theirs, written]);
    place.configure(place.dns.address);
    let said = place.ends(&apply, 1);
    assert!(said.contains(theirs), "{said}");
    assert_eq!(spf(), [theirs, written], "nobody goes on over somebody else's text");

    // They thought better of it: the next run finishes what was begun.
    place.edit("example.com", Some(theirs), first);
    let said = place.run(&apply);
    assert!(said.contains("written and read back"), "{said}");
    assert_eq!(spf(), [written; 2]);
    assert_eq!(place.run(&apply), "", "twice is once");

    place.run(&["spf", "rollback", "example.com", "--reason", "two of them"]);
    assert_eq!(spf(), [first; 2], "to the octet, at both");
    assert!(place.run(&["state", "verify"]).contains("ok "));
}

#[test]
fn dmarc_at_two_providers() {
    let records = format!(
        "@ TXT \"v=spf1 ip4:192.0.2.1 ~all\"\n_dmarc TXT \"{FIRST}\"\n_dmarc TXT \"not yours\"\n_dmarc TXT \"in two\" \" \
         strings\""
    );
    let Some(place) = Place::at_two_providers(&records, "in A 192.0.2.7") else { return };
    let others = foreign(&place, "_dmarc.example.com", "v=DMARC1");
    let dmarc = || place.text_at_both("_dmarc.example.com", "v=DMARC1", &others);
    let leave = || place.text_at_both("example.com._report._dmarc.in.reports.test", "v=DMARC1", &[]);
    let resolver = place.resolver();
    let advance = ["dmarc", "advance", "example.com", "--resolver", &resolver];
    let status = || place.run(&["dmarc", "status", "example.com", "--resolver", &resolver]);
    place.run(&["dmarc", "adopt", "example.com", "--yes", "--text", FIRST]);
    assert_eq!((dmarc(), leave()), ([FIRST; 2].map(str::to_owned), ["v=DMARC1"; 2].map(str::to_owned)));
    place.run(&["dmarc", "ack", "example.com", "192.0.2.0/28", "--sender", "our server", "--selector", "s1"]);
    place.days_pass(21);
    assert_eq!(place.reports(1..=19, "none", 100, "s1"), 57);

    // One of the two does not show the record that stands: nothing is built upon it.
    let by_hand = "v=DMARC1; p=none; fo=1; rua=mailto:d@in.reports.test";
    place.edit("_dmarc.example.com", Some(FIRST), by_hand);
    let said = place.ends(&advance, 1);
    assert!(said.contains(by_hand), "{said}");
    assert_eq!(dmarc(), [by_hand, FIRST]);
    place.edit("_dmarc.example.com", Some(by_hand), FIRST);

    // Only PowerDNS took the rung. A step back takes it back there, and touches nothing at BIND.
    place.configure(place.overtaken("_dmarc.example.com", FIRST, by_hand));
    let said = place.ends(&advance, 1);
    assert!(said.contains("changed after it was looked at"), "{said}\n{}", status());
    assert_eq!(dmarc(), [by_hand, REHEARSAL]);
    place.configure(place.dns.address);
    place.edit("_dmarc.example.com", Some(by_hand), FIRST);
    let serial = place.serial("example.com");
    place.run(&["dmarc", "rollback", "example.com", "--reason", "only half of it"]);
    assert_eq!(dmarc(), [FIRST; 2]);
    assert_eq!(place.serial("example.com"), serial);
    assert_eq!(place.run(&advance), "", "the window begins again");

    // Three weeks later both climb; and the same again, cut off in the middle and finished by the next run.
    place.days_pass(21);
    place.configure(place.overtaken("_dmarc.example.com", FIRST, by_hand));
    place.ends(&advance, 1);
    place.configure(place.dns.address);
    place.edit("_dmarc.example.com", Some(by_hand), FIRST);
    place.run(&advance);
    assert_eq!(dmarc(), [REHEARSAL; 2], "{}", status());
    place.run(&["dmarc", "rollback", "example.com", "--reason", "back"]);
    assert_eq!(dmarc(), [FIRST; 2]);
    assert!(place.run(&["state", "verify"]).contains("ok "));
}
