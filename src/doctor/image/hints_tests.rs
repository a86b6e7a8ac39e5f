use super::*;

fn names(hints: Vec<Hint>) -> Vec<String> {
    hints.iter().map(|hint| hint.selector.record_name(&hint.domain).to_string()).collect()
}

#[test]
fn paths_name_their_selectors_in_the_ways_of_the_guides() {
    for (path, wanted) in [
        ("etc/opendkim/keys/example.com/s1.private", "s1._domainkey.example.com"),
        ("etc/opendkim/keys/example.com/s1-0123456789abcdef.private", "s1._domainkey.example.com"),
        ("srv/mail._domainkey.example.com.pem", "mail._domainkey.example.com"),
        ("keys/mail._domainkey.example.com/private.key", "mail._domainkey.example.com"),
        ("var/lib/rspamd/dkim/example.com.dkim.key", "dkim._domainkey.example.com"),
        ("keys/s1.example.com.pem", "s1._domainkey.example.com"),
        ("dkim/rsa-2048-mail-example.com.private.txt", "mail._domainkey.example.com"),
    ] {
        assert!(names(of_path(path)).contains(&wanted.to_owned()), "{path}: {:?}", names(of_path(path)));
    }
    assert!(of_path("app/key.pem").is_empty());
    assert!(of_path("usr/lib/libgnutls.so.30.34.3").is_empty(), "a version is no domain");
    assert!(of_path("").is_empty() && of_path("///").is_empty());
}

#[test]
fn tables_and_records_name_selectors() {
    let table = "s1._domainkey.a.example a.example:s1:/etc/keys/a\n\
                 x %:s9:/k\n\
                 y d.example:inline:MIIEvQIBADAN\n\
                 mail._domainkey\tIN\tTXT\t( \"v=DKIM1\" )  ; ----- DKIM key mail for b.example\n\
                 d: \"sel._domainkey.c.example.\"\n";
    let found = of_text(table);
    for wanted in [
        "s1._domainkey.a.example",
        "mail._domainkey.b.example",
        "sel._domainkey.c.example",
        "inline._domainkey.d.example",
    ] {
        assert!(names(found.clone()).contains(&wanted.to_owned()), "{found:?}");
    }
    assert!(found.iter().any(|hint| hint.path.as_deref() == Some("/etc/keys/a")));
    assert!(!names(found).iter().any(|name| name.starts_with("s9")), "% is no domain");
}
