use super::*;
use crate::embedded_dns::{Data, EmbeddedDns, Found, Zone};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SELECTOR: &str = "s1._domainkey.example.com";

fn fqdn(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn serve(answer: impl Fn(&str) -> Found + Send + Sync + 'static) -> EmbeddedDns {
    let zones = ["example.com", "host.example", "_domainkey.delegated.example", "delegated.example"];
    let zones = zones.map(|zone| Zone { soa_ttl: 900, soa_minimum: 120, ..Zone::new(fqdn(zone)) });
    EmbeddedDns::start(zones.to_vec(), move |name| answer(name.as_str())).unwrap()
}

fn txt(text: &str) -> Found {
    Found::Records(vec![(300, Data::txt(text))])
}

fn only_selector(text: &'static str) -> EmbeddedDns {
    serve(move |name| if name == SELECTOR { txt(text) } else { Found::NoName })
}

const NOW: Time = Time::from_unix(1_790_000_000);

/// A sweeper whose zones are served where we say.
fn sweeper(servers: &[SocketAddr]) -> AuthoritativeSweeper {
    let nameservers = ["example.com", "host.example"].map(|zone| (fqdn(zone), servers.to_vec())).into();
    let options = wire::Options { timeout: Duration::from_millis(300), tries: 2, ..wire::Options::default() };
    let config = Config { nameservers, resolvers: vec![], options, ..Config::default() };
    AuthoritativeSweeper::new(config)
}

fn sweep_one(servers: &[SocketAddr], name: &str) -> Sweep {
    sweeper(servers).sweep(&[fqdn(name)], NOW).remove(0)
}

fn seen(text: &str) -> Answer {
    Answer::Txt { ttl: 300, texts: vec![text.into()] }
}

fn reason(answer: &Answer) -> &str {
    match answer {
        Answer::Unknown(why) => why,
        other => panic!("{other:?} must be unknown"),
    }
}

#[test]
fn a_stale_server_is_named() {
    let (fresh, stale) = (only_selector("new"), only_selector("old"));
    let sweep = sweep_one(&[fresh.address(), stale.address()], SELECTOR);
    let expected = [(fresh.address(), seen("new")), (stale.address(), seen("old"))];
    let expected = expected.map(|(server, answer)| ServerAnswer { server: server.to_string(), answer });
    assert_eq!(sweep.answers, expected);
    assert_eq!(sweep.negative_ttl, Some(120), "the SOA is asked for, as no negative answer showed it");
}

#[test]
fn absence_on_one_server_is_absence_there() {
    let (has, lacks) = (only_selector("x"), serve(|_| Found::NoName));
    let sweep = sweep_one(&[has.address(), lacks.address()], SELECTOR);
    assert_eq!([&sweep.answers[0].answer, &sweep.answers[1].answer], [&seen("x"), &Answer::Absent]);
}

#[test]
fn what_could_not_be_asked_is_unknown_each_with_its_reason() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failing = serve(|_| Found::Fails(ResponseCode::ServFail));
    let refusing = serve(|_| Found::Fails(ResponseCode::Refused));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent_udp = UdpSocket::bind(silent).unwrap();
    let servers = [closed, failing.address(), refusing.address(), silent_udp.local_addr().unwrap()];
    let sweep = sweep_one(&servers, SELECTOR);
    let wanted = ["closed", "SERVFAIL", "REFUSED", ""];
    for (answer, wanted) in sweep.answers.iter().zip(wanted) {
        assert!(reason(&answer.answer).contains(wanted), "{answer:?}");
    }
}

#[test]
fn a_long_answer_comes_over_tcp_and_chunks_do_not_matter() {
    let long = "v=DKIM1; p=".to_owned() + &"A".repeat(2000);
    let chunked = Data::Txt(long.as_bytes().chunks(100).map(<[u8]>::to_vec).collect());
    let server = serve(move |_| Found::Records(vec![(300, chunked.clone())]));
    assert_eq!(sweep_one(&[server.address()], SELECTOR).answers[0].answer, seen(&long));
}

#[test]
fn an_alias_is_followed_to_the_servers_of_its_target() {
    let server = serve(|name| match name {
        SELECTOR => Found::Records(vec![(7200, Data::Cname(fqdn("s1.host.example")))]),
        "s1.host.example" => txt("key"),
        _ => Found::NoName,
    });
    // The second server has not heard of the alias yet.
    let behind = serve(|name| if name == "s1.host.example" { txt("key") } else { Found::NoName });
    let sweep = sweep_one(&[server.address(), behind.address()], SELECTOR);
    assert_eq!(sweep.cname, Some((fqdn("s1.host.example"), 7200)));
    let answers: Vec<_> = sweep.answers.into_iter().map(|answer| answer.answer).collect();
    assert_eq!(answers, [Answer::Absent, seen("key"), seen("key")]);
}

#[test]
fn a_loop_of_aliases_ends_as_unknown() {
    let server = serve(|name| {
        let next = if name == "a.example.com" { "b.example.com" } else { "a.example.com" };
        Found::Records(vec![(300, Data::Cname(fqdn(next)))])
    });
    let sweep = sweep_one(&[server.address()], "a.example.com");
    assert!(reason(&sweep.answers[0].answer).contains("back to itself"), "{sweep:?}");

    let endless = serve(|name| Found::Records(vec![(300, Data::Cname(fqdn(&format!("x.{name}"))))]));
    let sweep = sweep_one(&[endless.address()], "a.example.com");
    assert!(reason(&sweep.answers[0].answer).contains("too long"), "{sweep:?}");
}

#[test]
fn a_wildcard_is_shown_as_what_it_says() {
    let server = serve(|_| txt("wild"));
    assert_eq!(sweep_one(&[server.address()], SELECTOR).answers[0].answer, seen("wild"), "values decide, not presence");
}

#[test]
fn two_values_at_a_name_are_two_texts() {
    let server = serve(|_| Found::Records(vec![(300, Data::txt("b")), (300, Data::txt("a"))]));
    let both = Answer::Txt { ttl: 300, texts: vec!["a".into(), "b".into()] };
    assert_eq!(sweep_one(&[server.address()], SELECTOR).answers[0].answer, both);
}

#[test]
fn two_thousand_names_at_four_servers_are_quick() {
    let servers: Vec<_> = (0..4).map(|_| serve(|_| txt("key"))).collect();
    let addresses: Vec<_> = servers.iter().map(EmbeddedDns::address).collect();
    let names: Vec<_> = (0..2000).map(|i| fqdn(&format!("s1._domainkey.d{i}.example.com"))).collect();
    let started = Instant::now();
    let sweeps = sweeper(&addresses).sweep(&names, NOW);
    assert!(sweeps.iter().all(|sweep| sweep.answers.iter().all(|answer| answer.answer == seen("key"))));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

/// The zone and its servers are found through a resolver, which never hears of the selector.
#[test]
fn the_resolver_is_asked_for_zones_and_servers_only() {
    let authority = serve(|name| if name.starts_with("s1._domainkey") { txt("key") } else { Found::NoName });
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let log = heard.clone();
    let resolver = serve(move |name| {
        log.lock().unwrap().insert(name.to_owned());
        Found::NoName
    });
    let sweeper = AuthoritativeSweeper::new(Config {
        nameservers: BTreeMap::new(),
        servers: Vec::new(),
        resolvers: vec![resolver.address()],
        port: authority.address().port(),
        families: Families { v4: true, v6: false },
        options: wire::Options { timeout: Duration::from_millis(500), ..wire::Options::default() },
    });
    let names = [SELECTOR, "s1._domainkey.delegated.example", "s1._domainkey.nowhere.test"].map(fqdn);
    let sweeps = sweeper.sweep(&names, NOW);
    assert_eq!(sweeps[0].answers, [ServerAnswer { server: "ns.example.com 127.0.0.1".into(), answer: seen("key") }]);
    assert!(reason(&sweeps[2].answers[0].answer).contains("could not be looked up"), "{:?}", sweeps[2]);
    // The delegated _domainkey: its server's address is looked up by name, like any other.
    assert_eq!(sweeps[1].answers[0].server, "ns._domainkey.delegated.example 127.0.0.1");
    let heard = heard.lock().unwrap();
    let harmless = ["example.com", "delegated.example", "ns.example.com", "ns.delegated.example"];
    for name in heard.iter() {
        let server_name = name.starts_with("ns.");
        assert!(server_name || harmless.contains(&name.as_str()), "the resolver was asked for {name}");
    }
}

#[test]
fn resolv_conf_is_read() {
    let text = "# comment\nsearch example.com\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nnameserver bad\n";
    let resolvers = resolv_conf::parse(text);
    assert_eq!(resolvers, ["192.0.2.53:53", "[2001:db8::53]:53"].map(|a| a.parse().unwrap()));
}
