use std::collections::BTreeSet;

use super::super::fake::Fake;
use super::*;

const ZONE: &str = "
ok.test TXT v=spf1 ip4:192.0.2.0/24 -all
open.test TXT v=spf1 +all
soft.test TXT v=spf1 ?all
broken.test TXT v=spf1 nonsense
self.test TXT v=spf1 include:loop.test -all
loop.test TXT v=spf1 include:self.test -all
down.test FAIL
h1.test A 192.0.2.1
h1.test AAAA 2001:db8::1
six.test AAAA 2001:db8::1
eight.test TXT v=spf1 a:h1.test a:h1.test a:h1.test a:h1.test a:h1.test a:h1.test a:h1.test a:h1.test -all
many.test MX m1.test
many.test MX m2.test
many.test MX m3.test
many.test MX m4.test
many.test MX m5.test
many.test MX m6.test
many.test MX m7.test
many.test MX m8.test
many.test MX m9.test
many.test MX m10.test
many.test MX m11.test
";

/// Lints one record (several with `&&` between them) and returns the ids.
fn ids(records: &str) -> Vec<&'static str> {
    let lines: Vec<String> = records.split(" && ").map(|text| format!("d.test TXT {text}")).collect();
    let report = lint(&Fake::new(&format!("{ZONE}\n{}", lines.join("\n"))), "d.test", Evidence::default());
    report.findings.iter().map(|finding| finding.id).collect()
}

#[test]
fn every_rule_by_the_record_that_breaks_it() {
    let long = "v=spf1 ".to_owned() + &"ip4:198.51.100.100 ".repeat(25) + "~all";
    let token = "x".repeat(250);
    let tokens = format!("v=spf1 ip4:192.0.2.1 ~all && {token} && {token}");
    let cases: Vec<(&str, &[&str])> = vec![
        ("v=spf1 ip4:192.0.2.1 ip6:2001:db8::/32 a:h1.test/24 include:ok.test ~all", &[]),
        ("v=spf1 -all && v=spf1 ~all", &["SPF001"]),
        ("v=spf1 include:eight.test a:h1.test a:h1.test ~all", &["SPF002"]),
        ("v=spf1 include:eight.test a:h1.test ~all", &["SPF003"]),
        ("v=spf1 a:h1.test a:h1.test a:h1.test a:h1.test a:h1.test a:h1.test a:h1.test ~all", &[]),
        ("v=spf1 a:n1.test a:n2.test a:n3.test ~all", &["SPF004"]),
        ("v=spf1 a:n1.test a:n2.test ~all", &[]),
        ("v=spf1 a:six.test a:six.test a:six.test ~all", &["SPF033"]),
        ("v=spf1 mx:many.test ~all", &["SPF005"]),
        ("v=spf1 ip4:192.0.2.1 +all", &["SPF006"]),
        ("v=spf1 ip4:192.0.2.1 all", &["SPF006"]),
        ("v=spf1 ip4:192.0.2.1 ?all", &["SPF007"]),
        ("v=spf1 ip4:192.0.2.1", &["SPF008"]),
        ("v=spf1 redirect=ok.test", &[]),
        ("v=spf1 include:open.test ~all", &["SPF009"]),
        ("v=spf1 include:soft.test ~all", &["SPF010"]),
        ("v=spf1 ip4:0.0.0.0/0 ~all", &["SPF011"]),
        ("v=spf1 ip6:::/0 ~all", &["SPF011"]),
        ("v=spf1 ip4:10.0.0.0/8 ~all", &["SPF012"]),
        ("v=spf1 ip6:2000::/3 ~all", &["SPF012"]),
        ("v=spf1 a:h1.test/15 ~all", &["SPF012"]),
        ("v=spf1 ip4:192.0.0.0/16 -ip4:10.0.0.0/8 ~all", &[]),
        ("v=spf1 include:self.test ~all", &["SPF013"]),
        ("v=spf1 include:d.test ~all", &["SPF013"]),
        ("v=spf1 include:ok.test include:OK.test ~all", &["SPF014"]),
        ("v=spf1 include:missing.test ~all", &["SPF015"]),
        ("v=spf1 include:h1.test ~all", &["SPF015"]),
        ("v=spf1 redirect=broken.test", &["SPF015"]),
        ("v=spf1 ip4:192.0.2.1 ~all redirect=ok.test", &["SPF016"]),
        ("v=spf1 redirect=ok.test redirect=ok.test", &["SPF017"]),
        ("v=spf1 ~all exp=ok.test exp=ok.test", &["SPF017"]),
        ("v=spf1 ~all ip4:192.0.2.1", &["SPF018"]),
        ("v=spf1 ptr ~all", &["SPF019"]),
        ("v=spf1 ip4:2001:db8::1 ipv6:x ~all", &["SPF020", "SPF020"]),
        ("v=spf1 exists:%{z}.test ~all", &["SPF020"]),
        ("v=spf1 exists:%{i}.ok.test ~all", &["SPF021"]),
        ("v=spf1 ip4:192.0.2.1|ip4:192.0.2.2 ~all", &["SPF022"]),
        ("v=spf1 ip4:192.0.2.1 |ip4:192.0.2.2 ~all", &[]),
        (&long, &["SPF023", "SPF024"]),
        (&tokens, &["SPF024"]),
        ("V=SPF1 ip4:192.0.2.1 ~all", &["SPF025"]),
        ("\"v=spf1 -all\" && v=spf1 ip4:192.0.2.1 ~all", &["SPF026"]),
        ("spf2.0/pra -all && v=spf1 ip4:192.0.2.1 ~all", &["SPF027"]),
        ("v=spf1 a:x..test ~all", &["SPF032"]),
    ];
    let mut shown: BTreeSet<&str> = BTreeSet::new();
    for (record, expected) in &cases {
        assert_eq!(ids(record), *expected, "{record}");
        shown.extend(*expected);
    }
    // Those that are not about a record's own text are shown by the tests below.
    shown.extend(["SPF028", "SPF029", "SPF030", "SPF031"]);
    let all: BTreeSet<&str> = RULES.iter().map(|rule| rule.id).collect();
    assert_eq!(shown, all);
}

#[test]
fn names_without_a_record() {
    let zone = "mail.test MX h.test\nweb.test A 192.0.2.1\nold.test SPF v=spf1 -all\nold.test TXT v=spf1 -all";
    let fake = Fake::new(zone);
    let ids = |domain| lint(&fake, domain, Evidence::default()).findings.iter().map(|f| f.id).collect::<Vec<_>>();
    assert_eq!(ids("mail.test"), ["SPF031"]);
    assert_eq!(ids("web.test"), ["SPF030"]);
    assert_eq!(ids("old.test"), ["SPF028"]);
}

#[test]
fn unknown_is_not_missing() {
    let fake = Fake::new(&format!("{ZONE}\nd.test TXT v=spf1 include:down.test a:down.test ~all"));
    let report = lint(&fake, "d.test", Evidence::default());
    assert_eq!((report.findings, report.unknown.len()), (Vec::new(), 2));
    let report = lint(&fake, "down.test", Evidence::default());
    assert!(report.findings.is_empty() && !report.unknown.is_empty() && !report.is_sound());
}

#[test]
fn an_include_that_nobody_passed_through() {
    let fake = Fake::new(&format!(
        "{ZONE}\nd.test TXT v=spf1 include:ok.test include:far.test ~all\nfar.test TXT v=spf1 ip4:198.51.100.0/24 -all"
    ));
    let passed: [IpAddr; 1] = ["192.0.2.77".parse().unwrap()];
    let report = lint(&fake, "d.test", Evidence { passed_from: Some(&passed) });
    assert_eq!(report.findings.len(), 1);
    assert_eq!((report.findings[0].id, report.findings[0].seen.as_str()), ("SPF029", "`include:far.test`"));
}

#[test]
fn the_tree_counts_per_branch() {
    let fake = Fake::new(&format!("{ZONE}\nd.test TXT v=spf1 include:eight.test a:h1.test ~all"));
    let report = lint(&fake, "d.test", Evidence::default());
    let lookups: Vec<u32> = report.tree.terms.iter().map(|visit| visit.lookups()).collect();
    assert_eq!((report.lookups, lookups), (10, vec![9, 1, 0]));
    assert_eq!(networks(&report.tree).len(), 18);
}

#[test]
fn every_rule_stands_in_the_page() {
    let page = include_str!("../../docs/spf.md");
    for rule in RULES {
        let line = format!("| {} | {} | {} |", rule.id, rule.severity.as_str(), rule.title);
        assert!(page.contains(&line), "docs/spf.md lacks: {line}");
    }
}
