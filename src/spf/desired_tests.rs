use super::*;

fn wanted(text: &str) -> Wanted {
    toml::from_str(text).unwrap()
}

fn merge(config: &str, published: Option<&str>, ours: &[&str], rung: Option<Rung>) -> String {
    let published = published.map(|text| SpfRecord::parse(&text.into()).unwrap());
    let ours: Vec<String> = ours.iter().map(|term| (*term).to_owned()).collect();
    desired(&wanted(config), published.as_ref(), &ours, rung).to_string()
}

#[test]
fn a_new_record() {
    let config = "relays = [\"ses\", \"google\"]\naddresses = [\"192.0.2.1\", \"2001:db8::/64\"]\nmx = true\n\
                  hosts = [\"out.example.com\"]\nincludes = [\"spf.example.net\"]";
    assert_eq!(
        merge(config, None, &[], Some(Rung::Neutral)),
        "v=spf1 ip4:192.0.2.1 ip6:2001:db8::/64 a:out.example.com mx include:amazonses.com \
         include:_spf.google.com include:spf.example.net ?all"
    );
    assert_eq!(merge("goal = \"parked\"\nmx = true", None, &[], Some(Rung::Hard)), "v=spf1 -all");
}

#[test]
fn what_others_wrote_stays() {
    let config = "addresses = [\"192.0.2.1\"]";
    for (published, meant) in [
        ("v=spf1 include:x.test ~all", "v=spf1 include:x.test ip4:192.0.2.1 ~all"),
        ("v=spf1 +ip4:192.0.2.1 -all exp=e.test", "v=spf1 +ip4:192.0.2.1 -all exp=e.test"),
        ("v=spf1 a redirect=r.test", "v=spf1 a ip4:192.0.2.1 redirect=r.test"),
        ("v=spf1 exp=e.test a -all", "v=spf1 ip4:192.0.2.1 exp=e.test a -all"),
        ("v=spf1", "v=spf1 ip4:192.0.2.1"),
    ] {
        assert_eq!(merge(config, Some(published), &[], None), meant);
        // Twice is once.
        assert_eq!(merge(config, Some(meant), &[], None), meant);
    }
}

#[test]
fn what_we_wrote_and_nobody_wants_goes() {
    let published = "v=spf1 include:x.test include:amazonses.com ~all";
    assert_eq!(merge("", Some(published), &["include:amazonses.com"], None), "v=spf1 include:x.test ~all");
    assert_eq!(merge("relays = [\"ses\"]", Some(published), &["include:amazonses.com"], None), published);
}

#[test]
fn only_the_ending_climbs() {
    let published = Some("v=spf1 a ?all exp=e.test");
    assert_eq!(merge("", published, &[], Some(Rung::Soft)), "v=spf1 a ~all exp=e.test");
    assert_eq!(merge("", Some("v=spf1 a"), &[], Some(Rung::Neutral)), "v=spf1 a ?all");
}

#[test]
fn what_is_no_network_is_refused() {
    for bad in ["192.0.2", "192.0.2.0/33", "2001:db8::/129", "host", "192.0.2.1/x", ""] {
        assert!(bad.parse::<Network>().is_err(), "{bad}");
    }
}
