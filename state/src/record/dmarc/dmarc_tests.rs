use proptest::prelude::*;

use super::lint::{Context, lint};
use super::org::{Step, authorization_name, by_suffix_list, stations, tree_walk};
use super::*;
use crate::record::lint::Severity;

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

#[test]
fn records_as_they_are_in_the_wild() {
    for (text, policy, effective) in [
        ("v=DMARC1; p=none", Policy::None, Policy::None),
        ("v=DMARC1;p=reject;", Policy::Reject, Policy::Reject),
        ("v = DMARC1 ; P = QUARANTINE", Policy::Quarantine, Policy::Quarantine),
        ("v=DMARC1; p=reject; t=y", Policy::Reject, Policy::Quarantine),
        ("v=DMARC1; p=quarantine; t=y; pct=0", Policy::Quarantine, Policy::None),
        (
            "v=DMARC1; p=reject; rua=mailto:a@example.com!10m,mailto:b%2Cc@example.org; fo=1:d:s; x=y",
            Policy::Reject,
            Policy::Reject,
        ),
        ("v=DMARC1; rf=afrf; p=none; ri=86400", Policy::None, Policy::None),
    ] {
        let record = DmarcRecord::parse(&text.into()).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((record.policy, record.effective()), (Some(policy), effective), "{text}");
    }
}

#[test]
fn what_a_verifier_makes_of_faults() {
    // Some(policy): it acts so all the same; None: it sees no record (RFC 9989 section 4.7).
    for (text, left) in [
        ("v=DMARC1 p=none", None),
        ("v=dmarc1; p=none", None),
        ("p=none; v=DMARC1", None),
        ("v=DMARC1; p=monitor", None),
        ("v=DMARC1; p=monitor; rua=mailto:a@example.com", Some(Policy::None)),
        ("v=DMARC1; rua=mailto:a@example.com", Some(Policy::None)),
        ("v=DMARC1; p=reject; sp=maybe; rua=mailto:a@example.com", Some(Policy::None)),
        ("v=DMARC1; p=reject; pct=101", Some(Policy::Reject)),
        ("v=DMARC1; p=reject; p=none", Some(Policy::Reject)),
        ("v=DMARC1; p=reject; rua=a@example.com", Some(Policy::Reject)),
        ("v=DMARC1; p=reject; rua=https://example.com", Some(Policy::Reject)),
        ("v=DMARC1; p=reject; garbage", Some(Policy::Reject)),
        ("v=DMARC1; p=reject; fo=2", Some(Policy::Reject)),
        ("v=DMARC1; p=reject; t=yes", Some(Policy::Reject)),
    ] {
        let (record, faults) = read(&text.into());
        assert!(!faults.is_empty(), "{text}");
        assert_eq!(record.and_then(|r| r.policy), left, "{text}: {faults:?}");
        assert!(DmarcRecord::parse(&text.into()).is_err(), "{text}");
    }
}

#[test]
fn every_rule_of_the_lint_speaks() {
    let about = |text: &str, context: Context| {
        let context = Context { texts: vec![text.into()], ..context };
        lint(&name("example.com"), &context).into_iter().map(|f| f.id).collect::<Vec<_>>()
    };
    let plain = Context::default;
    for (id, text, context) in [
        ("version", "v=dmarc1; p=none", plain()),
        ("no-semicolon", "v=DMARC1 p=none", plain()),
        ("no-value", "v=DMARC1; p=none; what", plain()),
        ("duplicate-tag", "v=DMARC1; p=none; p=none", plain()),
        ("bad-value", "v=DMARC1; p=none; sp=all", plain()),
        ("bad-policy", "v=DMARC1; p=all", plain()),
        ("no-policy", "v=DMARC1; rua=mailto:a@example.com", plain()),
        ("bad-uri", "v=DMARC1; p=none; rua=a@example.com", plain()),
        ("bad-uri", "v=DMARC1; p=none; rua=mailto:a!b@example.com", plain()),
        ("quotes-inside", "v=DMARC1; p=\"none\"", plain()),
        ("none-without-rua", "v=DMARC1; p=none", plain()),
        ("testing-at-the-top", "v=DMARC1; p=reject; t=y", Context { at_the_top: true, ..plain() }),
        ("weak-subdomains", "v=DMARC1; p=reject; sp=none", plain()),
        ("weak-nonexistent", "v=DMARC1; p=reject; np=none", plain()),
        ("no-np", "v=DMARC1; p=reject", plain()),
        ("reject-without-dkim", "v=DMARC1; p=reject", Context { dkim_seen: Some(false), ..plain() }),
        ("strict-with-subdomains", "v=DMARC1; p=none; adkim=s", Context { signs_as_subdomain: true, ..plain() }),
        ("pct", "v=DMARC1; p=reject; pct=50", plain()),
        ("removed-tag", "v=DMARC1; p=reject; ri=3600", plain()),
        ("unknown-tag", "v=DMARC1; p=reject; x=1", plain()),
        ("ruf", "v=DMARC1; p=reject; ruf=mailto:a@example.com", plain()),
        ("many-rua", "v=DMARC1; p=none; rua=mailto:a@e.org,mailto:b@e.org,mailto:c@e.org", plain()),
        ("size-limit", "v=DMARC1; p=none; rua=mailto:a@example.com!5m", plain()),
        (
            "rua-takes-no-mail",
            "v=DMARC1; p=none; rua=mailto:a@example.com",
            Context { mail_hosts: [(name("example.com"), false)].into(), ..plain() },
        ),
        (
            "external-rua",
            "v=DMARC1; p=none; rua=mailto:a@example.org",
            Context { authorizations: [(name("example.com._report._dmarc.example.org"), vec![])].into(), ..plain() },
        ),
        ("long-ttl", "v=DMARC1; p=none", Context { ttl: Some(86400), staging: true, ..plain() }),
        ("organizations-differ", "v=DMARC1; p=none", Context { organizational: Some(name("com")), ..plain() }),
        ("weaker-than-parent", "v=DMARC1; p=none", Context { parent: Some(Policy::Reject), ..plain() }),
        ("dmarc-at-apex", "v=DMARC1; p=none", Context { apex: vec!["v=DMARC1; p=none".into()], ..plain() }),
        ("spf-at-dmarc", "v=spf1 -all", plain()),
        ("no-record", "hello", plain()),
    ] {
        assert!(about(text, context.clone()).contains(&id), "{id} for {text}: {:?}", about(text, context));
    }
    let two = Context { texts: vec!["v=DMARC1; p=none".into(), "v=DMARC1; p=reject".into()], ..plain() };
    assert_eq!(lint(&name("example.com"), &two)[0].id, "several-records");
    let good = "v=DMARC1; p=reject; sp=reject; np=reject; rua=mailto:dmarc@example.com";
    assert_eq!(about(good, plain()), Vec::<&str>::new());
    assert!(lint(&name("example.com"), &two).iter().all(|f| f.severity == Severity::Error));
}

#[test]
fn the_walk_takes_eight_steps_at_most() {
    let long = stations(&name("a.b.c.d.e.f.g.h.i.j.example.com"));
    assert_eq!(
        (long.len(), long[1].as_str(), long[7].as_str()),
        (8, "g.h.i.j.example.com".replace("g.", "f.g.").as_str(), "com")
    );
    assert_eq!(stations(&name("mail.example.com")).len(), 3);
    let eight = stations(&name("a.b.c.d.e.f.example.com"));
    assert_eq!((eight.len(), eight[1].labels().count()), (8, 7));
}

#[test]
fn the_organizational_domain_by_walk() {
    // (start, records, organizational domain), after the examples of RFC 9989 section 4.10 and appendix B.
    let tables: [(&str, &[(&str, &str)], &str); 6] = [
        ("mail.example.com", &[("example.com", "v=DMARC1; p=none")], "example.com"),
        ("mail.example.com", &[], "mail.example.com"),
        (
            "a.mail.example.com",
            &[("mail.example.com", "v=DMARC1; p=none; psd=n"), ("example.com", "v=DMARC1; p=none")],
            "mail.example.com",
        ),
        ("a.example.bank", &[("bank", "v=DMARC1; p=reject; psd=y")], "example.bank"),
        (
            "a.b.example.com",
            &[("a.b.example.com", "v=DMARC1; p=none"), ("b.example.com", "v=DMARC1; p=none")],
            "b.example.com",
        ),
        ("bank", &[("bank", "v=DMARC1; p=reject; psd=y")], "bank"),
    ];
    for (start, records, wanted) in tables {
        let walk = tree_walk(&name(start), |domain, at| {
            assert_eq!(at.as_str(), format!("_dmarc.{domain}"));
            match records.iter().find(|(place, _)| *place == domain.as_str()) {
                Some((_, text)) => Step::Record(Box::new(DmarcRecord::parse(&(*text).into()).unwrap())),
                None => Step::Nothing,
            }
        });
        assert_eq!(walk.organizational, Some(name(wanted)), "{start}");
    }
    let silent = tree_walk(&name("a.example.com"), |_, _| Step::Unknown("timeout".into()));
    assert_eq!(silent.organizational, None, "unknown is not missing");
}

#[test]
fn the_organizational_domain_by_list() {
    for (domain, wanted) in [
        ("mail.example.co.uk", Some("example.co.uk")),
        ("x.y.github.io", Some("github.io")),
        ("example.com", Some("example.com")),
        ("co.uk", None),
    ] {
        assert_eq!(by_suffix_list(&name(domain)), wanted.map(name), "{domain}");
    }
    let at = |domain, target| authorization_name(&name(domain), &name(target)).map(Result::unwrap);
    assert_eq!(at("example.com", "reports.example.com"), None);
    assert_eq!(at("example.com", "example.net"), Some(name("example.com._report._dmarc.example.net")));
}

fn policies() -> impl Strategy<Value = Option<Policy>> {
    proptest::option::of(proptest::sample::select(Policy::ALL.to_vec()))
}

fn addresses() -> impl Strategy<Value = Vec<ReportUri>> {
    let limit =
        proptest::option::of((0u64..1 << 40, proptest::option::of(proptest::sample::select(vec!['k', 'm', 'g', 't']))));
    let one = ("[a-z!,%;.+]{1,9}", "[a-z]{1,8}\\.example", limit).prop_map(|(local, host, limit)| ReportUri {
        limit: limit.map(|(number, unit)| SizeLimit { number, unit }),
        ..ReportUri::mailto(&format!("{local}@{host}"))
    });
    proptest::collection::vec(one, 0..4)
}

proptest! {
    #[test]
    fn what_is_built_reads_back(
        policy in proptest::sample::select(Policy::ALL.to_vec()),
        (subdomains, nonexistent) in (policies(), policies()),
        testing in proptest::option::of(any::<bool>()),
        percent in proptest::option::of(0u8..=100),
        strict in proptest::option::of(any::<bool>()),
        (aggregate, failure) in (addresses(), addresses()),
        psd in proptest::option::of(proptest::sample::select(vec![Psd::Yes, Psd::No, Psd::Unknown])),
        others in proptest::collection::btree_map("x[a-z]{2,6}", "[a-z0-9]{1,9}", 0..3),
    ) {
        let alignment = strict.map(|strict| if strict { Alignment::Strict } else { Alignment::Relaxed });
        let record = DmarcRecord {
            policy: Some(policy), subdomains, nonexistent, testing, percent, dkim_alignment: alignment,
            spf_alignment: alignment, aggregate, failure, failure_options: vec!['1', 'd'], psd,
            others: others.into_iter().collect(),
        };
        prop_assert_eq!(DmarcRecord::parse(&record.text()).unwrap(), record);
    }

    #[test]
    fn no_text_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut text = b"v=DMARC1;".to_vec();
        text.extend(&bytes);
        let _ = (read(&TxtText::new(bytes)), read(&TxtText::new(text.clone())));
        let context = Context { texts: vec![TxtText::new(text)], ..Context::default() };
        let _ = lint(&name("example.com"), &context);
    }
}
