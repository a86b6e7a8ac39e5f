//! Ways in which a name server and we may not agree: each is a sentence of its own.

use crate::place::{Place, ZONE};
use crate::servers::{TestZone, free_port, servers_or_skip};

/// Asks for a rotation that must fail, sees that nothing is lost, and that it goes on when the mistake is mended.
fn fails_and_then_goes_on(place: &Place, seen: &[&str]) {
    place.fails(&["rotate", ZONE], 1, seen);
    place.whole();
    place.configure(&place.config());
    place.write_private("tsig", &place.key.secret);
    let went_on = place.run(&["advance", ZONE]);
    assert!(went_on.contains("s1"), "{went_on}");
    assert_eq!(place.zone().1.len(), 1, "the record was not published in the end");
}

#[test]
fn a_key_name_that_the_server_does_not_know() {
    let Some(place) = Place::new() else { return };
    place.reconfigure("key_name = \"dkimctl\"", "key_name = \"stranger\"");
    fails_and_then_goes_on(&place, &["does not know a TSIG key `stranger`", "BADKEY"]);
}

#[test]
fn another_secret() {
    let Some(place) = Place::new() else { return };
    place.write_private("tsig", "YW5vdGhlciBzZWNyZXQgdGhhdCBpcyBub3QgdGhlIG9uZQ==");
    fails_and_then_goes_on(&place, &["with another secret", "BADSIG"]);
}

#[test]
fn another_algorithm() {
    let Some(place) = Place::new() else { return };
    place.reconfigure("hmac-sha256", "hmac-sha512");
    fails_and_then_goes_on(&place, &["of hmac-sha512", "BADKEY"]);
}

#[test]
fn clocks_that_differ() {
    let Some(place) = Place::new() else { return };
    if !servers_or_skip(&["faketime"]) {
        return;
    }
    let mut command = place.command("faketime");
    command.args(["-f", "-2h", env!("CARGO_BIN_EXE_dkimctl"), "rotate", ZONE]);
    place.fails_as(&mut command, 1, &["the clocks differ", "BADTIME"]);
    place.whole();
    place.run(&["advance", ZONE]);
    assert_eq!(place.zone().1.len(), 1);
}

#[test]
fn an_update_policy_that_does_not_let_us() {
    let zone = TestZone::new(ZONE).policy("grant dkimctl name elsewhere.example.com. TXT;");
    let Some(place) = Place::with(zone) else { return };
    place.fails(&["rotate", ZONE], 1, &["does not let the key `dkimctl` change", "REFUSED", "update-policy"]);
    place.whole();
}

#[test]
fn a_zone_that_the_server_does_not_have() {
    let Some(place) = Place::new() else { return };
    let config = place.config().replacen("name = \"example.com\"", "name = \"example.net\"", 1);
    place.configure(&config.replace("zones = [\"example.com\"]", "zones = [\"example.net\"]"));
    place.fails(&["rotate", "example.net"], 1, &["example.net", "127.0.0.1"]);
    place.whole();
}

#[test]
fn a_zone_that_is_not_configured() {
    let Some(place) = Place::new() else { return };
    place.reconfigure("zones = [\"example.com\"]", "zones = [\"example.net\"]");
    fails_and_then_goes_on(&place, &["example.com"]);
}

#[test]
fn a_port_where_nobody_listens() {
    let Some(place) = Place::new() else { return };
    let server = format!("server = \"{}\"", place.dns.address);
    place.reconfigure(&server, &format!("server = \"127.0.0.1:{}\"", free_port()));
    fails_and_then_goes_on(&place, &["cannot be reached", "nothing was changed"]);
}

#[test]
fn a_secret_that_is_not_there_or_that_others_may_read_or_that_is_no_base64() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(place) = Place::new() else { return };
    let before = place.export();
    std::fs::remove_file(place.path("tsig")).unwrap();
    place.fails(&["rotate", ZONE], 1, &["tsig"]);
    place.write_private("tsig", "%%%");
    place.fails(&["advance", ZONE], 1, &["base64"]);
    let path = place.write_private("tsig", &place.key.secret);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    place.fails(&["advance", ZONE], 1, &["tsig", "chmod"]);
    place.whole();
    assert_ne!(place.export(), before, "that a rotation was asked for is kept");
}
