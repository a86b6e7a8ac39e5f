use proptest::prelude::*;

use super::*;

#[test]
fn fields_are_unfolded_and_end_at_the_empty_line() {
    let raw = b"From alice@example.com Mon Jan  1\r\nReceived: from a\r\n\tby b;\r\n  now\r\nno field here\r\nX-Empty:\r\n\r\nBody: no\r\n";
    let fields = fields(raw);
    let seen: Vec<_> = fields.iter().map(|field| (field.name.as_str(), field.value.as_str())).collect();
    assert_eq!(seen, [("Received", "from a by b; now"), ("X-Empty", "")]);
}

#[test]
fn the_domain_of_an_address() {
    for (address, domain) in [
        ("Alice <alice@Example.com>", Some("example.com")),
        ("alice@example.com, bob@example.net", Some("example.com")),
        ("\"a@b.example\" <alice@example.com>", Some("example.com")),
        ("alice@example.com (comment)", Some("example.com")),
        ("<>", None),
        ("", None),
    ] {
        assert_eq!(domain_of(address).as_deref(), domain, "{address}");
    }
}

#[test]
fn nothing_reaches_the_terminal_unasked() {
    assert_eq!(harmless("a\x1b[31mb\u{202e}c", 80), "a[31mbc");
    assert_eq!(harmless("abcdef", 3), "abc");
}

proptest! {
    #[test]
    fn no_octets_panic(raw in proptest::collection::vec(any::<u8>(), 0..400)) {
        for field in fields(&raw) {
            let _ = domain_of(&field.value);
            prop_assert!(!harmless(&field.value, 20).contains('\x1b'));
        }
    }
}
