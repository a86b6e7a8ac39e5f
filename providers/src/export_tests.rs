use super::*;

fn records() -> Vec<Record> {
    let record = |name: &str, text: &str| Record { name: name.parse().unwrap(), ttl: 300, text: text.into() };
    vec![
        record("s1._domainkey.example.com", &format!("v=DKIM1; k=rsa; p={}", "A".repeat(392))),
        record("_dmarc.example.com", "v=DMARC1; p=none; rua=mailto:a@example.com"),
        record("example.com", "v=spf1 -all"),
        record("s1._domainkey.elsewhere.test", "left out"),
    ]
}

#[test]
fn every_format_has_all_records_of_the_zone_and_the_snippet() {
    let zone = "example.com".parse().unwrap();
    for (format, name, text, snippet) in [
        (Format::Zone, "s1._domainkey.example.com. 300 IN TXT", "\"v=spf1 -all\"", "$INCLUDE"),
        (Format::Nsupdate, "update add s1._domainkey.example.com. 300", "\"v=spf1 -all\"", "freeze"),
        (Format::OctoDns, "'s1._domainkey':", "'v=DMARC1\\; p=none\\; rua", "NameRejectlistFilter"),
        (
            Format::DnsControl,
            "TXT(\"s1._domainkey\", \"v=DKIM1; k=rsa",
            "TXT(\"@\", \"v=spf1 -all\", TTL(300))",
            "IGNORE(",
        ),
        (Format::Terraform, "\"s1._domainkey.example.com\" = {", "[\"v=spf1 -all\"]", "ignore_changes"),
    ] {
        let out = export(format, &zone, &records());
        for part in [name, text, snippet, &"A".repeat(200)] {
            assert!(out.contains(part), "{format}: no {part:?} in\n{out}");
        }
        assert!(!out.contains("left out") && out.lines().count() > 5, "{format}");
        assert_eq!(format.code().parse(), Ok(format));
    }
    assert!("yaml".parse::<Format>().is_err());
}

#[test]
fn what_could_end_a_string_does_not() {
    let zone = "example.com".parse().unwrap();
    let text = "a\"b\\c'd;e${f}%{g}\n";
    let record = Record { name: "x.example.com".parse().unwrap(), ttl: 60, text: text.into() };
    let out = |format| export(format, &zone, std::slice::from_ref(&record));
    assert!(out(Format::DnsControl).contains(r#"TXT("x", "a\"b\\c'd;e${f}%{g}\u000a", TTL(60))"#));
    assert!(out(Format::Terraform).contains(r#"["a\"b\\c'd;e$${f}%%{g}\u000a"]"#));
    assert!(out(Format::Zone).contains(r#""a\"b\\c'd;e${f}%{g}\010""#));
    assert!(out(Format::OctoDns).contains(r"'a"));
}
