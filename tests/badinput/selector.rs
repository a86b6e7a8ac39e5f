//! Something stands at the selector already, or comes to stand there: it belongs to somebody else.

use std::io::Write as _;
use std::process::Stdio;

use crate::place::{Place, ZONE};
use crate::servers::{TestZone, servers_or_skip};

/// A rotation whose only slot is taken.
fn is_refused(record: &str, seen: &[&str]) {
    let Some(place) = Place::with(TestZone::new(ZONE).with(record)) else { return };
    let before = place.zone();
    let output = place.output(&["rotate", ZONE]);
    let text = crate::place::said(&output);
    eprintln!("{text}");
    for word in seen {
        assert!(text.contains(word), "`{word}` is not said: {text}");
    }
    place.whole();
    for verb in ["advance", "status", "plan"] {
        eprintln!("{verb}: {}", crate::place::said(&place.output(&[verb, ZONE])));
    }
    assert_eq!(place.zone(), before);
}

#[test]
fn an_alias_at_the_selector() {
    is_refused("s1._domainkey CNAME s1.elsewhere.example.", &["s1.elsewhere.example"]);
}

#[test]
fn a_foreign_value_at_the_selector() {
    is_refused("s1._domainkey TXT \"v=DKIM1; p=somebodys\"", &["s1._domainkey.example.com"]);
}

#[test]
fn two_values_at_the_selector() {
    is_refused("s1._domainkey TXT \"v=DKIM1; p=one\"\ns1._domainkey TXT \"two\"", &["s1._domainkey.example.com"]);
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
    eprintln!("{}", crate::place::said(&place.output(&["advance", ZONE])));
    eprintln!("{}", crate::place::said(&place.output(&["verify", ZONE])));
    place.whole();
    assert_eq!(place.zone(), before);
}
