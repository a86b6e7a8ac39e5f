//! Something stands at the selector already, or comes to stand there: it belongs to somebody else.

use std::io::Write as _;
use std::process::Stdio;

use crate::place::{Place, ZONE};
use crate::servers::{TestZone, servers_or_skip};

/// A rotation whose only slot is taken.
fn is_refused(record: &str, seen: &[&str]) {
    let Some(place) = Place::with(TestZone::new(ZONE).with(record)) else { return };
    place.fails(&["rotate", ZONE], 1, seen);
    place.fails(&["advance", ZONE], 1, seen);
    let status = place.run(&["status"]);
    assert!(status.contains("one was asked for and could not be made"), "{status}");
    // Cron does not say it every five minutes.
    place.run(&["advance"]);
    place.whole();
    let blobs = crate::place::tree(&place.path("state/blobs"));
    assert!(blobs.is_empty(), "a key was made for a name that is taken");
}

#[test]
fn an_alias_at_the_selector() {
    is_refused("s1._domainkey CNAME s1.elsewhere.example.", &["an alias of s1.elsewhere.example"]);
}

#[test]
fn a_foreign_value_at_the_selector() {
    is_refused("s1._domainkey TXT \"v=DKIM1; p=somebodys\"", &["s1: \"v=DKIM1; p=somebodys\" at lab", "not ours"]);
}

#[test]
fn two_values_at_the_selector() {
    is_refused(
        "s1._domainkey TXT \"v=DKIM1; p=one\"\ns1._domainkey TXT \"two\"",
        &["\"v=DKIM1; p=one\"", "\"two\"", "at lab, which is not ours"],
    );
}

#[test]
fn a_second_value_comes_to_stand_beside_ours() {
    let Some(place) = Place::new() else { return };
    if !servers_or_skip(&["nsupdate"]) {
        return;
    }
    place.run(&["rotate", ZONE]);
    let (ip, port) = (place.dns.address.ip(), place.dns.address.port());
    let script = format!(
        "server {ip} {port}\nzone {ZONE}.\nkey {}:{} {}\nupdate add s1._domainkey.{ZONE}. 1 TXT \"somebody's\"\nsend\n",
        place.key.algorithm, place.key.name, place.key.secret
    );
    let mut nsupdate = place.command("nsupdate").stdin(Stdio::piped()).spawn().unwrap();
    nsupdate.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(nsupdate.wait().unwrap().success());
    let before = place.zone();
    assert_eq!(before.1.len(), 2);
    place.fails(&["advance", ZONE], 1, &["somebody's"]);
    let verified = place.output(&["verify", ZONE]);
    assert_eq!(verified.status.code(), Some(3), "{}", crate::place::said(&verified));
    place.whole();
    assert_eq!(place.zone(), before);
}
