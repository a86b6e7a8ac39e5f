use proptest::prelude::*;

use super::macro_string::Place;
use super::*;

fn parse(text: &str) -> Result<SpfRecord, SpfError> {
    SpfRecord::parse(&text.into())
}

#[test]
fn records_read_and_print_the_same() {
    for text in [
        "v=spf1",
        "v=spf1 -all",
        "v=spf1 +mx a:colo.example.com/28 -all",
        "v=spf1 a//64 mx/24//64 ptr ?ptr:example.com ~all",
        "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 ip6:::ffff:192.0.2.1 ip4:0.0.0.0/0 -all",
        "v=spf1 include:_spf.%{d2} exists:%{ir}.%{v}._spf.%{d} redirect=_spf.example.com",
        "v=spf1 exists:%{l1r+-,/_=}.%%.%_%-%{S} -all exp=explain._spf.%{d}",
        "v=spf1 moo= x-y_z.1=anything:%{h}/goes -all",
        "v=spf1 a:foo:bar/baz.example.com/24",
    ] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    for (seen, meant) in [
        ("V=SPF1  A   -ALL ", "v=spf1 a -all"),
        ("v=spf1 IP4:192.0.2.1 Include:Example.COM", "v=spf1 ip4:192.0.2.1 include:Example.COM"),
        ("v=spf1 ip6:2001:DB8:0:0::1 a:%{D2R}.x", "v=spf1 ip6:2001:db8::1 a:%{D2r}.x"),
    ] {
        assert_eq!(parse(seen).unwrap().to_string(), meant);
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (text, at, wrong) in [
        ("v=spf10 -all", 0, Wrong::Version),
        ("v=spf1\t-all", 0, Wrong::Version),
        ("v=spf1 \u{fc}", 7, Wrong::Octet(0xc3)),
        ("v=spf1 a:x\u{7}.test", 10, Wrong::Octet(7)),
        ("v=spf1 ip:192.0.2.1", 7, Wrong::UnknownMechanism("ip".into())),
        ("v=spf1 -redirect=a.test", 8, Wrong::UnknownMechanism("redirect".into())),
        ("v=spf1 - all", 8, Wrong::QualifierAlone),
        ("v=spf1 -include", 15, Wrong::NeedsDomain("include")),
        ("v=spf1 ip4", 10, Wrong::NeedsAddress("ip4")),
        ("v=spf1 all:x", 10, Wrong::Trailing { mechanism: "all", allowed: "a space", seen: ":x".into() }),
        ("v=spf1 a:", 9, Wrong::EmptyDomain),
        ("v=spf1 exp=", 11, Wrong::EmptyDomain),
        ("v=spf1 a:host", 9, Wrong::DomainEnd("host".into())),
        ("v=spf1 a:%{d}.123", 13, Wrong::DomainEnd(".123".into())),
        ("v=spf1 ip4:192.0.2.256", 11, Wrong::Ip4("192.0.2.256".into())),
        ("v=spf1 ip4:2001:db8::1", 11, Wrong::Ip4("2001:db8::1".into())),
        ("v=spf1 ip6:192.0.2.1", 11, Wrong::Ip6("192.0.2.1".into())),
        ("v=spf1 ip4:192.0.2.1/33", 21, Wrong::Cidr { seen: "33".into(), max: 32 }),
        ("v=spf1 ip4:192.0.2.1ip4:192.0.2.2", 11, Wrong::Ip4("192.0.2.1ip4:192.0.2.2".into())),
        ("v=spf1 a/08", 9, Wrong::Cidr { seen: "08".into(), max: 32 }),
        ("v=spf1 a:x.test//129", 17, Wrong::Cidr { seen: "129".into(), max: 128 }),
        ("v=spf1 redirect=a.test redirect=b.test", 23, Wrong::ModifierTwice("redirect")),
        ("v=spf1 exp=a.test EXP=a.test", 18, Wrong::ModifierTwice("exp")),
        ("v=spf1 exists:%x.test", 14, Wrong::Percent),
        ("v=spf1 exists:%{d.test", 14, Wrong::Unclosed),
        ("v=spf1 exists:%{}", 16, Wrong::MacroLetter(None)),
        ("v=spf1 exists:%{z}", 16, Wrong::MacroLetter(Some('z'))),
        ("v=spf1 exists:%{t}", 16, Wrong::ExplanationOnly('t')),
        ("v=spf1 exists:%{d0}", 17, Wrong::MacroDigits),
        ("v=spf1 exists:%{d2rx}", 19, Wrong::MacroTail('x')),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!((error.at, &error.wrong), (at, &wrong), "{text}: {error}");
    }
}

#[test]
fn every_mistake_is_told_at_once() {
    let placed = SpfRecord::placed("v=spf1 ip4:1 a mx:x -all").unwrap();
    assert_eq!(placed.iter().map(|p| p.term.is_ok()).collect::<Vec<_>>(), [false, true, false, true]);
    assert_eq!(placed.iter().map(|p| p.range.start).collect::<Vec<_>>(), [7, 13, 15, 20]);
}

/// The examples of RFC 7208 section 7.4.
#[test]
fn macros_expand_as_in_the_rfc() {
    let value = |ip: &'static str| {
        move |letter| match letter {
            Letter::Sender => "strong-bad@email.example.com".to_owned(),
            Letter::LocalPart => "strong-bad".to_owned(),
            Letter::SenderDomain | Letter::Domain => "email.example.com".to_owned(),
            Letter::Ip => ip.to_owned(),
            Letter::IpVersion => "in-addr".to_owned(),
            _ => "unknown".to_owned(),
        }
    };
    for (seen, meant) in [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("a%%b%_c%-d", "a%b c%20d"),
        ("%{S}", "strong-bad%40email.example.com"),
    ] {
        let string = MacroString::parse(seen, Place::Modifier).unwrap();
        assert_eq!(string.expand(value("192.0.2.3")), meant, "{seen}");
    }
}

#[test]
fn long_names_lose_labels_from_the_left() {
    let spec = DomainSpec::parse("%{l}.example.com.").unwrap();
    let name = spec.expand(|_| ["abcdefghi"; 30].join("."));
    assert!(name.len() <= 253 && name.len() > 243 && name.ends_with(".example.com"), "{name}");
}

fn delimiters() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[-.+,/_=]{0,3}").unwrap()
}

fn macros(place: Place) -> impl Strategy<Value = String> {
    let letters = if place != Place::Explanation { "[slodipvhSLODIPVH]" } else { "[slodipvhcrtSLODIPVHCRT]" };
    let expand = (
        proptest::string::string_regex(letters).unwrap(),
        proptest::option::of(1u32..200),
        any::<bool>(),
        delimiters(),
    )
        .prop_map(|(letter, keep, reverse, delimiters)| {
            let keep = keep.map(|k| k.to_string()).unwrap_or_default();
            format!("%{{{letter}{keep}{}{delimiters}}}", if reverse { "r" } else { "" })
        });
    prop_oneof![expand, Just("%%".to_owned()), Just("%_".to_owned()), Just("%-".to_owned())]
}

fn domain() -> impl Strategy<Value = String> {
    let literal = proptest::string::string_regex("[!-$&-~]{0,12}").unwrap();
    let end = prop_oneof![Just(".example".to_owned()), Just(".x-1.".to_owned()), macros(Place::Domain)];
    (literal, macros(Place::Domain), end).prop_map(|(literal, makro, end)| format!("{literal}{makro}{end}"))
}

fn term() -> impl Strategy<Value = String> {
    let cidr = (proptest::option::of(0u8..=32), proptest::option::of(0u8..=128))
        .prop_map(|(v4, v6)| DualCidr { v4, v6 }.to_string());
    let mechanism = prop_oneof![
        Just("all".to_owned()),
        domain().prop_map(|d| format!("include:{d}")),
        domain().prop_map(|d| format!("exists:{d}")),
        domain().prop_map(|d| format!("ptr:{d}")),
        (domain(), cidr.clone()).prop_map(|(d, c)| format!("a:{d}{c}")),
        (domain(), cidr.clone()).prop_map(|(d, c)| format!("mx:{d}{c}")),
        cidr.prop_map(|c| format!("mx{c}")),
        (any::<[u8; 4]>(), 0u8..=32).prop_map(|(ip, n)| format!("ip4:{}/{n}", std::net::Ipv4Addr::from(ip))),
        (any::<[u8; 16]>(), 0u8..=128).prop_map(|(ip, n)| format!("ip6:{}/{n}", std::net::Ipv6Addr::from(ip))),
    ];
    let directive = (prop_oneof![Just(""), Just("+"), Just("-"), Just("~"), Just("?")], mechanism)
        .prop_map(|(q, m)| q.to_owned() + &m);
    let unknown = ("[a-z][a-z0-9._-]{0,6}", macros(Place::Modifier))
        .prop_filter("known", |(name, _)| name != "exp" && name != "redirect")
        .prop_map(|(name, value)| format!("{name}={value}"));
    prop_oneof![8 => directive, 1 => unknown]
}

proptest! {
    #[test]
    fn what_the_grammar_makes_reads_back(
        terms in proptest::collection::vec(term(), 0..8),
        redirect in proptest::option::of(domain()),
        exp in proptest::option::of(domain()),
    ) {
        let mut text = "v=spf1".to_owned();
        terms.iter().for_each(|term| text.extend([" ", term]));
        redirect.iter().for_each(|domain| text.extend([" redirect=", domain]));
        exp.iter().for_each(|domain| text.extend([" exp=", domain]));
        let record = parse(&text).map_err(|e| TestCaseError::fail(format!("{text}: {e}")))?;
        prop_assert_eq!(record.to_string(), text);
        prop_assert_eq!(SpfRecord::parse(&record.text()).unwrap(), record);
    }

    #[test]
    fn any_octets_read_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = SpfRecord::parse(&TxtText::new(bytes.clone()));
        let mut spf = b"v=spf1 ".to_vec();
        spf.extend(bytes);
        if let Err(error) = SpfRecord::parse(&TxtText::new(spf.clone())) {
            prop_assert!(error.at <= spf.len(), "{}", error);
        }
    }

    #[test]
    fn nearly_spf_reads_or_is_refused(text in "v=spf1( [-+~?]?(a|mx|ip4|ip6|all|exists|include|exp|ptr)[:=/%{}a-z0-9.\u{fc}]{0,12}){0,6}") {
        match SpfRecord::parse(&text.as_str().into()) {
            Ok(record) => prop_assert_eq!(SpfRecord::parse(&record.text()).unwrap(), record),
            Err(error) => prop_assert!(error.at <= text.len(), "{}", error),
        }
    }
}
