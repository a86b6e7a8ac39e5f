//! A configuration with mistakes: file, line and column, and what was probably meant.

use crate::place::{Place, ZONE};

#[test]
fn a_mistake_is_shown_where_it_stands() {
    let Some(place) = Place::new() else { return };
    let before = place.export();
    let mistakes: [(&str, &str, &[&str]); 7] = [
        ("ttl = 1", "tll = 1", &["dkimctl.toml:6:1", "tll", "ttl"]),
        ("selectors = [\"s1\"]", "selectors = [\"s1\"", &["dkimctl.toml:"]),
        ("provider = \"lab\"", "provider = \"lob\"", &["dkimctl.toml:3:", "lob", "lab"]),
        ("key_name = \"dkimctl\"", "", &["dkimctl.toml:", "key_name"]),
        ("secret_file = \"tsig\"", "secret = \"c2VjcmV0\"", &["dkimctl.toml:", "secret"]),
        ("lab = true\n", "", &["dkimctl.toml:", "sweep_gap"]),
        ("poll = \"1s\"", "poll = \"1 fortnight\"", &["dkimctl.toml:", "fortnight"]),
    ];
    for (was, is, seen) in mistakes {
        place.reconfigure(was, is);
        for verb in ["rotate", "plan"] {
            let said = place.fails(&[verb, ZONE], 1, seen);
            assert!(!said.contains("c2VjcmV0"), "{said}");
        }
    }
    place.configure(&place.config());
    assert_eq!(place.export(), before);
}

#[test]
fn a_configuration_that_is_not_there_and_a_domain_that_is_not_in_it() {
    let Some(place) = Place::new() else { return };
    place.fails(&["--config", "elsewhere.toml", "status"], 1, &["elsewhere.toml"]);
    place.fails(&["rotate", "exmaple.com"], 2, &["exmaple.com", "example.com"]);
    std::fs::remove_file(place.path("dkimctl.toml")).unwrap();
    place.fails(&["status"], 1, &["dkimctl.toml"]);
}
