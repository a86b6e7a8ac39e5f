//! What every DNS host has to do for us, as one table, run against each host that can run here. At its end every host
//! lists what the rows have left.
//!
//! A host alone has no part in some of what is asked (propagation, when a record may go, where a name leads): [`whole`]
//! lists all of it, each behaviour with its rows and tests, and is checked.
//!
//! The records are set up and looked at past the provider under test: by nsupdate and plain questions on real
//! servers, by hand in the file, by the back door in memory.

use std::time::{Duration, Instant};

use dkimctl_providers::memory::Memory;
use dkimctl_providers::powerdns::PowerDns;
use dkimctl_providers::rfc2136::Rfc2136;
use dkimctl_providers::zonefile::{self, ZoneFile};
use dkimctl_providers::{AtName, DnsProvider, Guarded, Op, Outcome, ProviderError, Secret, Visibility, Zone, zone_for};
use dkimctl_state::name::Fqdn;
use dkimctl_state::time::Time;

#[path = "contract/cloudflare.rs"]
mod cloudflare;
#[path = "contract/hosts.rs"]
mod hosts;
#[path = "contract/manual.rs"]
mod manual;
#[path = "contract/route53.rs"]
mod route53;
#[path = "contract/rows.rs"]
mod rows;
#[path = "../../tests/servers/mod.rs"]
mod servers;
#[path = "contract/table.rs"]
mod table;
#[path = "contract/whole.rs"]
mod whole;

use hosts::{
    CloudflareBench, EmulatorBench, FileBench, MemoryBench, PdnsBench, Route53Bench, UpdateBench, cloudflare_at,
    config_at, key, powerdns_at, rfc2136_at, route53_at,
};
use rows::{KEY, ZONE, run_table};
use servers::emulators::{Emulator, Kind};
use servers::http::{HttpServer, Response};
use servers::{Bind, CloudflareFake, Knot, Pdns, Route53Fake, TestKey, TestZone, free_port, servers_or_skip};
use table::{dkim, table};

/// A zone's first selector.
fn publish(zone: &Zone) -> Guarded {
    let op = Op::Add { name: format!("{KEY}.{}", zone.name).parse().unwrap(), text: dkim('A').into(), ttl: 300 };
    Guarded { op, seen: AtName::Absent }
}

// ---- the table, at each host -------------------------------------------------------------------------------------

#[test]
fn memory() {
    let host = Memory::new(&[ZONE.parse().unwrap()], 1, || Time::from_unix(1_800_000_000));
    run_table(table(), "memory", &MemoryBench(host));
}

#[test]
fn zone_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("contract.zone");
    std::fs::write(&path, "; others write here as well\n").unwrap();
    let zones = vec![(ZONE.parse().unwrap(), path.clone())];
    let reload_timeout = Duration::from_secs(5);
    let host = ZoneFile::new(zonefile::Config { zones, default_ttl: 300, reload: vec![], reload_timeout });
    run_table(table(), "zonefile", &FileBench { host, path });
}

#[test]
fn bind() {
    if servers_or_skip(&[Bind::PROGRAM, "nsupdate"]) {
        let server = Bind::start(&[key()], &[TestZone::new(ZONE)]);
        run_table(
            table(),
            "bind",
            &UpdateBench { host: rfc2136_at(&server.address.to_string(), &key()), server: server.address },
        );
    }
}

#[test]
fn knot() {
    if servers_or_skip(&[Knot::PROGRAM, "nsupdate"]) {
        let server = Knot::start(&[key()], &[TestZone::new(ZONE)]);
        run_table(
            table(),
            "knot",
            &UpdateBench { host: rfc2136_at(&server.address.to_string(), &key()), server: server.address },
        );
    }
}

#[test]
fn powerdns() {
    if servers_or_skip(&Pdns::programs()) {
        let server = Pdns::start(&[TestZone::new(ZONE)]);
        run_table(table(), "powerdns", &PdnsBench { host: powerdns_at(&server.api), server });
    }
}

#[test]
fn cloudflare_fake() {
    let fake = CloudflareFake::start([ZONE]);
    run_table(
        table(),
        "cloudflare",
        &CloudflareBench { host: cloudflare_at(&fake, &hosts::FakeTimer::default()), fake },
    );
}

#[test]
fn route53_fake() {
    let fake = Route53Fake::start([ZONE]);
    let host = route53_at(&fake.endpoint(), servers::route53_fake::ACCESS_KEY);
    run_table(table(), "route53", &Route53Bench { host, fake });
}

/// Second opinions: what they accept says nothing, what they refuse is worth a look.
#[test]
fn route53_emulators() {
    for (kind, name) in [(Kind::Moto, "moto"), (Kind::Ministack, "ministack")] {
        if let Some(emulator) = Emulator::start(kind) {
            emulator.create_zone(ZONE);
            let host = route53_at(&emulator.endpoint(), servers::route53_fake::ACCESS_KEY);
            let zone = host.zones().unwrap().remove(0).id;
            run_table(table(), name, &EmulatorBench { host, emulator, zone });
        }
    }
}

// ---- beyond the table: zones, and what only one kind of host has --------------------------------------------------

/// The longest suffix on a label boundary, and nothing that merely ends alike.
#[test]
fn a_name_lies_in_the_longest_zone_that_ends_it() {
    let zones = ["foo.bar", "qux.baz", "foo.qux.baz", "example.com"].map(|name| Zone {
        id: name.into(),
        name: name.parse().unwrap(),
        visibility: Visibility::Public,
    });
    for (name, zone) in [
        ("name.qux.baz", Some("qux.baz")),
        ("name.foo.qux.baz", Some("foo.qux.baz")),
        ("foo.qux.baz", Some("foo.qux.baz")),
        ("name-foo.qux.baz", Some("qux.baz")),
        ("nomatch-foo.bar", None),
        ("notexample.com", None),
        ("name.qux.foo", None),
        ("S1._DomainKey.Example.COM.", Some("example.com")),
    ] {
        let found = zone_for(&zones, &name.parse().unwrap()).map(|zone| zone.name.as_str());
        assert_eq!(found, zone, "{name}");
    }
    let twins = [Visibility::Private, Visibility::Public].map(|visibility| Zone {
        id: format!("{visibility:?}"),
        name: "example.com".parse().unwrap(),
        visibility,
    });
    assert_eq!(zone_for(&twins, &"a.example.com".parse().unwrap()).unwrap().id, "Public");
}

/// Neither the key we have nor one that the server does not know is ever shown, though a server says it back.
#[test]
fn powerdns_never_shows_its_key() {
    let echo = HttpServer::start(|request| {
        let key = request.header("x-api-key").unwrap_or_default();
        match (request.method.as_str(), request.path.ends_with("/zones")) {
            ("GET", false) => Response::new(200, "{\"rrsets\": []}"),
            (method, _) => {
                let status = if method == "GET" { 401 } else { 422 };
                Response::new(status, format!("{{\"error\": \"not with {key}\"}}"))
            }
        }
    });
    let host = powerdns_at(&format!("http://{}", echo.address));
    let zone = Zone { id: "x.".into(), name: ZONE.parse().unwrap(), visibility: Visibility::Public };
    let op = Op::Add { name: format!("{KEY}.{ZONE}").parse().unwrap(), text: "x".into(), ttl: 60 };
    let outcome = host.apply(&zone, &[Guarded { op, seen: AtName::Absent }]).remove(0);
    let shown = format!("{:?} {outcome:?} {host:?}", host.zones());
    assert!(shown.contains("does not accept the key") && shown.contains("not with [secret]"), "{shown}");
    assert!(!shown.contains("canary"), "{shown}");
    if servers_or_skip(&Pdns::programs()) {
        let server = Pdns::start(&[TestZone::new(ZONE)]);
        let mut config = hosts::powerdns_config(&server.api);
        config.key = Secret::new("canary-that-nobody-knows");
        let stranger = PowerDns::new(config).unwrap();
        let error = stranger.zones().unwrap_err();
        let shown = format!("{error} {error:?} {stranger:?}");
        assert!(matches!(error, ProviderError::Auth(_)) && !shown.contains("canary"), "{shown}");
    }
}

// ---- what only RFC 2136 servers have ------------------------------------------------------------

/// 2,000 selectors are one short burst: at most 17 messages, and none the second time.
#[test]
fn a_fleet_is_packed() {
    if !servers_or_skip(&[Bind::PROGRAM, Knot::PROGRAM]) {
        return;
    }
    let (bind, knot) = (Bind::start(&[key()], &[TestZone::new(ZONE)]), Knot::start(&[key()], &[TestZone::new(ZONE)]));
    for server in [bind.address, knot.address] {
        let host = rfc2136_at(&format!("localhost:{}", server.port()), &key());
        let zone = host.zones().unwrap().remove(0);
        let names: Vec<Fqdn> = (0..2000).map(|i| format!("s1._domainkey.d{i}.{ZONE}").parse().unwrap()).collect();
        let ops = |seen: Vec<AtName>| -> Vec<Guarded> {
            let add = |name: &Fqdn| Op::Add { name: name.clone(), text: dkim('A').into(), ttl: 300 };
            names.iter().zip(seen).map(|(name, seen)| Guarded { op: add(name), seen }).collect()
        };
        let started = Instant::now();
        let outcomes = host.apply(&zone, &ops(host.observe(&zone, &names).unwrap()));
        assert!(started.elapsed() < Duration::from_secs(10), "packing is what makes it fast: {:?}", started.elapsed());
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied(None)));
        let messages = host.messages_sent();
        assert!(messages <= 17, "{messages} messages");
        let outcomes = host.apply(&zone, &ops(host.observe(&zone, &names).unwrap()));
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Already));
        assert_eq!(host.messages_sent(), messages);
        assert!(host.clock().is_some(), "signed answers carry the server's time");
    }
}

/// Every way in which a server or a network says no has its own sentence, and none holds the secret.
#[test]
fn each_no_has_its_own_sentence() {
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let policy = format!("grant test-key wildcard *._domainkey.{ZONE}. TXT;");
    let server = Bind::start(&[key()], &[TestZone::new(ZONE).policy(&policy)]);
    let address = server.address.to_string();
    let wrong = |change: fn(&mut TestKey)| {
        let mut key = key();
        change(&mut key);
        rfc2136_at(&address, &key)
    };
    let other_zone = {
        let mut config = config_at(&address, &key());
        config.zones = vec!["elsewhere.example".parse().unwrap()];
        Rfc2136::new(config)
    };
    let cases: Vec<(&str, Rfc2136, &str)> = vec![
        ("BADKEY", wrong(|key| key.name = "unknown".into()), KEY),
        ("BADSIG", wrong(|key| key.secret = "d3Jvbmc=".into()), KEY),
        ("BADKEY", wrong(|key| key.algorithm = "hmac-sha512".into()), KEY),
        ("BADTIME", rfc2136_at(&address, &key()).with_clock(|| 1_700_000_000), KEY),
        ("REFUSED", rfc2136_at(&address, &key()), "www"),
        ("NOTAUTH", other_zone, "s1._domainkey"),
        ("Connection refused", rfc2136_at(&format!("127.0.0.1:{}", free_port()), &key()), KEY),
        ("has no address", rfc2136_at("ns.invalid:53", &key()), KEY),
    ];
    let mut sentences = std::collections::BTreeSet::new();
    for (expected, host, name) in cases {
        let zone = host.zones().unwrap().remove(0);
        let op = Op::Add { name: format!("{name}.{}", zone.name).parse().unwrap(), text: "x".into(), ttl: 60 };
        let outcome = host.apply(&zone, &[Guarded { op, seen: AtName::Absent }]).remove(0);
        let Outcome::Rejected(error) = outcome else { panic!("{expected}: {outcome:?}") };
        let sentence = error.to_string();
        assert!(sentence.contains(expected), "{expected}: {sentence}");
        let shown = format!("{sentence} {host:?}");
        assert!(!shown.contains("dGhl") && !shown.contains("the secret of") && !shown.contains("d3Jv"), "{shown}");
        assert!(!shown.contains("file an issue"), "{shown}");
        sentences.insert(sentence);
        if expected == "BADTIME" {
            assert!(host.clock().unwrap().unix() > 1_750_000_000, "the server's time, not ours");
        }
    }
    assert_eq!(sentences.len(), 8);
}

/// A policy that refuses one name of a message refuses the whole message; only that name is rejected in the end.
#[test]
fn one_forbidden_name_does_not_hold_up_the_others() {
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let policy = format!("grant test-key wildcard *._domainkey.{ZONE}. TXT;");
    let server = Bind::start(&[key()], &[TestZone::new(ZONE).policy(&policy)]);
    let host = rfc2136_at(&server.address.to_string(), &key());
    let zone = host.zones().unwrap().remove(0);
    let name = |i| if i == 37 { "www".to_owned() } else { format!("s{i}._domainkey") };
    let ops: Vec<_> = (0..100)
        .map(|i| Op::Add { name: format!("{}.{ZONE}", name(i)).parse().unwrap(), text: "x".into(), ttl: 60 })
        .map(|op| Guarded { op, seen: AtName::Absent })
        .collect();
    let outcomes = host.apply(&zone, &ops);
    let not_applied: Vec<_> = (0..100).filter(|&i| outcomes[i] != Outcome::Applied(None)).collect();
    assert_eq!(not_applied, [37], "{:?}", outcomes[37]);
    assert!(host.messages_sent() < 20, "bisection: {} messages", host.messages_sent());
}

/// A delegated name belongs to another zone: it is named, and its neighbours are written.
#[test]
fn a_delegated_name_does_not_hold_up_the_others() {
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let zone = TestZone::new(ZONE).with("_domainkey.away NS ns.away\nns.away A 127.0.0.1");
    let server = Bind::start(&[key()], &[zone]);
    let host = rfc2136_at(&server.address.to_string(), &key());
    let zone = host.zones().unwrap().remove(0);
    let names = ["s1._domainkey.away", KEY].map(|name| format!("{name}.{ZONE}").parse::<Fqdn>().unwrap());
    let seen = host.observe(&zone, &names).unwrap();
    let below: Fqdn = format!("_domainkey.away.{ZONE}").parse().unwrap();
    assert!(matches!(&seen[0], AtName::Delegated { zone, .. } if *zone == below), "{seen:?}");
    let ops = names.map(|name| Op::Add { name, text: "x".into(), ttl: 60 });
    let ops: Vec<_> = ops.into_iter().zip(seen).map(|(op, seen)| Guarded { op, seen }).collect();
    let outcomes = host.apply(&zone, &ops);
    assert!(
        matches!(&outcomes[..], [Outcome::Conflict(AtName::Delegated { .. }), Outcome::Applied(None)]),
        "{outcomes:?}"
    );
}
