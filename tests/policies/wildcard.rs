//! `*._report._dmarc.<host>` is leave for everybody (RFC 9990 section 4).

use super::place::Place;
use super::{FIRST, LEAVE};

#[test]
fn leave_for_everybody_needs_no_leave_of_ours() {
    let records = format!("_dmarc TXT \"{FIRST}\"");
    let Some(place) = Place::new(&records, "in A 192.0.2.7\n*._report._dmarc.in TXT \"v=DMARC1;\"") else { return };
    let resolver = place.resolver();
    let checked = place.output(&["dmarc", "check", "example.com", "--resolver", &resolver]);
    let checked = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.contains(FIRST) && !checked.contains("external-rua"), "{checked}");

    let serial = place.serial("reports.test");
    place.run(&["dmarc", "adopt", "example.com", "--yes", "--text", FIRST]);
    assert_eq!(place.serial("reports.test"), serial, "nothing is written beside it");
    assert_eq!(place.texts(LEAVE), [[b"v=DMARC1;".to_vec()]], "what reporters see");
    assert!(!place.run(&["log", "example.com"]).contains("leave to send reports"));
}
