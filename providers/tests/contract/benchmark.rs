//! Calls and seconds for many records of one zone, packed and one by one, on the servers that run here:
//!
//! ```text
//! cargo test -p dkimctl-providers --test contract -- --ignored --nocapture benchmark
//! ```
//!
//! `DKIMCTL_BENCH_NAMES` sets how many; 2,000 is a fleet, 200 the default. Debug builds of the SDKs are slow: what
//! matters are the calls, and the ratio.

use std::io::Write;
use std::time::Instant;

use dkimctl_providers::{DnsProvider, Guarded, Op, Outcome, Zone};
use dkimctl_state::name::Fqdn;

use crate::hosts::{FakeTimer, cloudflare_at, key, powerdns_at, rfc2136_at, route53_at};
use crate::servers::{Bind, CloudflareFake, Knot, Pdns, Route53Fake, TestZone, route53_fake, servers_or_skip};
use crate::{ZONE, dkim};

#[test]
#[ignore = "a measurement, not a test"]
fn benchmark() {
    let count = std::env::var("DKIMCTL_BENCH_NAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    say(&format!("{count} records of 2048 bits in one zone: write calls and seconds, packed | one by one"));
    if servers_or_skip(&[Bind::PROGRAM, Knot::PROGRAM]) {
        let server = Bind::start(&[key()], &[TestZone::new(ZONE)]);
        let host = rfc2136_at(&server.address.to_string(), &key());
        measure("BIND, RFC 2136", &host, count, &|| host.messages_sent());
        let server = Knot::start(&[key()], &[TestZone::new(ZONE)]);
        let host = rfc2136_at(&server.address.to_string(), &key());
        measure("Knot, RFC 2136", &host, count, &|| host.messages_sent());
    }
    if servers_or_skip(&Pdns::programs()) {
        let server = Pdns::start(&[TestZone::new(ZONE)]);
        let host = powerdns_at(&server.api);
        let patches = || server.log().matches("\"PATCH /api").count() as u64;
        measure("PowerDNS, HTTP", &host, count, &patches);
    }
    let fake = CloudflareFake::start([ZONE]);
    let host = cloudflare_at(&fake, &FakeTimer::default());
    measure("Cloudflare, fake", &host, count, &|| fake.writes() as u64);
    let fake = Route53Fake::start([ZONE]);
    let host = route53_at(&fake.endpoint(), route53_fake::ACCESS_KEY);
    measure("Route 53, fake", &host, count, &|| fake.writes() as u64);
}

fn measure(what: &str, host: &dyn DnsProvider, count: usize, calls: &dyn Fn() -> u64) {
    let zone = host.zones().unwrap().remove(0);
    let mut cells = Vec::new();
    for (round, pack) in [("packed", count), ("single", 1)] {
        let names: Vec<Fqdn> = (0..count).map(|i| format!("{round}._domainkey.d{i}.{ZONE}").parse().unwrap()).collect();
        let (before, started) = (calls(), Instant::now());
        for names in names.chunks(pack) {
            add(host, &zone, names);
        }
        cells.push(format!("{:>5} {:>8.2} s", calls() - before, started.elapsed().as_secs_f64()));
    }
    say(&format!("{what:<18} {}", cells.join(" | ")));
}

fn add(host: &dyn DnsProvider, zone: &Zone, names: &[Fqdn]) {
    let seen = host.observe(zone, names).unwrap();
    let op = |name: &Fqdn| Op::Add { name: name.clone(), text: dkim('A').into(), ttl: 300 };
    let ops: Vec<_> = names.iter().zip(seen).map(|(name, seen)| Guarded { op: op(name), seen }).collect();
    let outcomes = host.apply(zone, &ops);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(_))), "{outcomes:?}");
}

fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
