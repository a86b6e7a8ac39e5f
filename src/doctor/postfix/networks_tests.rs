use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn the_first_entry_that_matches_counts() {
    let networks = Networks::parse("127.0.0.0/8, !172.20.0.1 172.16.0.0/12 [::1]/128 hash:/etc/postfix/nets");
    assert_eq!(networks.lets_in(ip("172.20.0.1")), None);
    assert_eq!(networks.lets_in(ip("172.20.0.2")).map(|n| n.to_string()).as_deref(), Some("172.16.0.0/12"));
    assert_eq!(networks.lets_in(ip("::1")).map(|n| n.to_string()).as_deref(), Some("[::1]/128"));
    assert_eq!(networks.lets_in(ip("192.0.2.1")), None);
    assert_eq!(networks.unread, ["hash:/etc/postfix/nets"]);
}

#[test]
fn the_world_is_told_from_networks_of_ones_own() {
    for (value, world) in [
        ("0.0.0.0/0", true),
        ("[::]/0", true),
        ("::/0", true),
        ("64.0.0.0/2", true),
        ("127.0.0.0/8", false),
        ("10.0.0.0/8", false),
        ("172.16.0.0/12 192.168.0.0/16", false),
        ("203.0.113.0/24", false),
        ("[fd00::]/8", false),
        ("!0.0.0.0/0", false),
        ("0.0.0.0/33", false),
    ] {
        assert_eq!(Networks::parse(value).world().is_some(), world, "{value}");
    }
}

#[test]
fn any_bridge_is_let_in_only_by_all_of_them() {
    assert!(Networks::parse("127.0.0.0/8 172.16.0.0/12").lets_in_any_bridge().is_some());
    assert!(Networks::parse("172.17.0.0/16").lets_in_any_bridge().is_none());
    assert!(Networks::parse("127.0.0.0/8 172.30.25.0/24").lets_in_any_bridge().is_none());
    assert_eq!(Network::parse("172.30.25.7/24").unwrap().gateway(), Some(ip("172.30.25.1")));
    assert_eq!(Network::parse("0.0.0.0/0").unwrap().gateway(), Some(ip("0.0.0.1")));
}
