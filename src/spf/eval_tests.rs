use proptest::prelude::*;

use super::super::fake::Fake;
use super::*;
use dkimctl_state::time::Time;

fn session(ip: &str, from: &str) -> Session {
    Session {
        ip: ip.parse().unwrap(),
        helo: "mail.example.test".to_owned(),
        mail_from: from.to_owned(),
        receiver: "unknown".to_owned(),
        now: Time::from_unix(0),
    }
}

#[test]
fn the_tree_shows_what_was_visited() {
    let fake = Fake::new(
        "d.test TXT v=spf1 a:n.test include:i.test -all\n\
         i.test TXT v=spf1 ip4:198.51.100.1 a:h.test ip4:192.0.2.9 -all\n\
         h.test A 192.0.2.1",
    );
    let found = check(&fake, &session("192.0.2.1", "u@d.test"));
    assert_eq!((found.outcome, found.lookups, found.void_lookups), (Outcome::Pass, 3, 1));
    let matched = |branch: &Branch| branch.terms.iter().map(|visit| visit.matched).collect::<Vec<_>>();
    assert_eq!(matched(&found.tree), [Some(false), Some(true)]);
    let below = found.tree.terms[1].below.as_ref().unwrap();
    assert_eq!((below.result, matched(below)), (Some(Outcome::Pass), vec![Some(false), Some(true)]));
    assert_eq!(below.terms[1].addresses, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
}

#[test]
fn a_hostile_greeting_never_reaches_the_smtp_reply() {
    let fake = Fake::new("d.test TXT v=spf1 -all exp=e.test\ne.test TXT you are %{h}");
    let mut hostile = session("192.0.2.1", "u@d.test");
    hostile.helo = "x\r\n250 ok".to_owned();
    assert_eq!(check(&fake, &hostile).explanation, None);
}

#[test]
fn networks_compare_by_prefix() {
    for (ip, network, length, inside) in [
        ("192.0.2.1", "192.0.2.255", 24, true),
        ("192.0.2.1", "192.0.3.1", 24, false),
        ("192.0.2.1", "0.0.0.0", 0, true),
        ("192.0.2.1", "192.0.2.0", 32, false),
        ("255.0.0.0", "0.0.0.0", 1, false),
        ("2001:db8::1", "2001:db8::", 127, true),
        ("2001:db8::1", "::", 0, true),
        ("2001:db8::1", "0.0.0.0", 0, false),
    ] {
        assert_eq!(
            in_network(ip.parse().unwrap(), network.parse().unwrap(), length),
            inside,
            "{ip} {network}/{length}"
        );
    }
}

proptest! {
    /// Records that lead anywhere, to each other and to themselves: always a result, within the limits.
    #[test]
    fn nothing_makes_it_panic_or_run_away(
        records in proptest::collection::vec(
            "v=spf1( [-+~?]?(include:[abc].test|a:[abcd].test|mx:[abcd].test|exists:%\\{[slodipvh][1-3]?r?[-.]?\\}.test|ptr|a|mx|redirect=[abc].test|exp=[abc].test|x=%\\{l\\})){0,13}( [~-]all)?",
            3
        ),
        local in "\\PC{0,70}",
        helo in "\\PC{0,40}",
        ip in any::<u128>(),
        six in any::<bool>(),
    ) {
        let zone: Vec<String> =
            ["a", "b", "c"].iter().zip(&records).map(|(name, record)| format!("{name}.test TXT {record}")).collect();
        let fake = Fake::new(&format!("{}\nd.test A 192.0.2.1\nd.test MX d.test", zone.join("\n")));
        let ip: IpAddr = if six { std::net::Ipv6Addr::from(ip).into() } else { std::net::Ipv4Addr::from(ip as u32).into() };
        let session = Session { ip, helo, mail_from: format!("{local}@a.test"), ..session("192.0.2.1", "") };
        let found = check(&fake, &session);
        prop_assert!(found.lookups <= MOST_LOOKUPS + 1 && found.void_lookups <= MOST_VOIDS + 1);
        prop_assert_eq!(found.outcome == Outcome::PermError || found.outcome == Outcome::None, found.why.is_some());
        let tree = analyze(&fake, "a.test");
        prop_assert!(tree.result.is_none());
    }
}
