//! A state that is not ours, not whole, or not the newest.

use std::fs;

use crate::place::{Place, ZONE, said};

/// Every verb that opens the state says what it found, and leaves it as it is.
fn nobody_takes_it(place: &Place, seen: &[&str]) {
    let file = place.path("state/dkimctl.db");
    let before = fs::read(&file).unwrap();
    for arguments in [&["status"][..], &["rotate", ZONE], &["advance"], &["state", "backup"]] {
        place.fails(arguments, 1, seen);
    }
    assert_eq!(fs::read(&file).unwrap(), before, "the file was changed");
}

#[test]
fn a_state_that_was_cut_off() {
    let Some(place) = Place::new() else { return };
    place.run(&["rotate", ZONE]);
    let file = place.path("state/dkimctl.db");
    let whole = fs::read(&file).unwrap();
    for length in [whole.len() / 2, whole.len() - 1, 4096, 100] {
        fs::write(&file, &whole[..length]).unwrap();
        nobody_takes_it(&place, &["dkimctl.db"]);
    }
    fs::write(&file, b"").unwrap();
    nobody_takes_it(&place, &["it is empty", "dkimctl state backup"]);
    fs::write(&file, &whole).unwrap();
    place.whole();
}

#[test]
fn a_state_that_is_another_programs() {
    let Some(place) = Place::new() else { return };
    let file = place.path("state/dkimctl.db");
    fs::write(&file, "SPF records of example.com\nv=spf1 -all\n").unwrap();
    nobody_takes_it(&place, &["it is not a database", "SPF records of e"]);
    fs::remove_file(&file).unwrap();
    place.fails(&["status"], 1, &["there is no state here", "dkimctl init"]);
}

#[test]
fn a_damaged_page_is_found() {
    let Some(place) = Place::new() else { return };
    place.run(&["rotate", ZONE]);
    let file = place.path("state/dkimctl.db");
    let whole = fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    // In the middle of every document and every event that names the request: each is found, and what is acted upon
    // is not acted upon.
    let mut refused = 0;
    let word = b"\"request";
    for at in (0..whole.len() - word.len()).filter(|at| whole[*at..].starts_with(word)) {
        damaged.copy_from_slice(&whole);
        damaged[at + 1] ^= 0x20;
        fs::write(&file, &damaged).unwrap();
        let verified = place.output(&["state", "verify"]);
        assert_eq!(verified.status.code(), Some(3), "{}", said(&verified));
        if !place.output(&["status"]).status.success() {
            refused += 1;
            place.fails(&["advance", ZONE], 1, &["dkimctl state verify"]);
            assert_eq!(fs::read(&file).unwrap(), damaged, "a damaged state was written to");
        }
    }
    assert!(refused > 0, "no document was damaged");
}

#[test]
fn an_older_copy_that_was_restored() {
    let Some(place) = Place::new() else { return };
    let file = place.path("state/dkimctl.db");
    let older = fs::read(&file).unwrap();
    place.run(&["rotate", ZONE]);
    let newer = fs::read(&file).unwrap();
    fs::write(&file, &older).unwrap();
    nobody_takes_it(&place, &["this is an older copy of the state", "was seen on this machine"]);
    fs::write(&file, &newer).unwrap();
    place.whole();
    place.run(&["advance", ZONE]);
}
