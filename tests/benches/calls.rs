//! Calls and seconds for many records of one zone at every host that runs here, packed and one call a record.
//!
//! `DKIMCTL_BENCH_NAMES` sets how many; 2,000 is a fleet and the default. The fakes' seconds are those of the fakes.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dkimctl_providers::cloudflare::{self, Cloudflare};
use dkimctl_providers::pace::Timer;
use dkimctl_providers::powerdns::{self, PowerDns};
use dkimctl_providers::rfc2136::{self, Key, Rfc2136};
use dkimctl_providers::route53::{self, Credentials, Route53};
use dkimctl_providers::{DnsProvider, Guarded, Op, Outcome, Secret, Zone};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::dkim::Algorithm;

use crate::servers::{
    Bind, CloudflareFake, Knot, Pdns, Route53Fake, TestKey, TestZone, cloudflare_fake, route53_fake, servers_or_skip,
};
use crate::{ZONE, public};

pub fn print() {
    let count = std::env::var("DKIMCTL_BENCH_NAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    println!("{count} records of 2048 bits in one zone: change calls and seconds, each read back");
    println!("{:<18} {:>6} {:>10} | {:>6} {:>10}", "", "packed", "", "single", "");
    let key = TestKey::new("dkimctl");
    let zone = || [TestZone::new(ZONE)];
    if servers_or_skip(&[Bind::PROGRAM]) {
        let server = Bind::start(std::slice::from_ref(&key), &zone());
        let host = rfc2136(&server.address.to_string(), &key);
        measure("BIND, RFC 2136", &host, count, &|| host.messages_sent());
    }
    if servers_or_skip(&[Knot::PROGRAM]) {
        let server = Knot::start(std::slice::from_ref(&key), &zone());
        let host = rfc2136(&server.address.to_string(), &key);
        measure("Knot, RFC 2136", &host, count, &|| host.messages_sent());
    }
    if servers_or_skip(&Pdns::programs()) {
        let server = Pdns::start(&zone());
        let (url, name, key) = (server.api.clone(), "localhost".to_owned(), Secret::new(Pdns::KEY));
        let config = powerdns::Config { url, server: name, key, timeout: Duration::from_secs(60) };
        let host = PowerDns::new(config).expect("a client");
        measure("PowerDNS, HTTP", &host, count, &|| server.log().matches("\"PATCH /api").count() as u64);
    }
    let fake = CloudflareFake::start([ZONE]);
    let config = cloudflare::Config { api: fake.api(), ..cloudflare::Config::new(Secret::new(cloudflare_fake::TOKEN)) };
    let host = Cloudflare::with_timer(config, Box::new(Unhurried::default())).expect("a client");
    measure("Cloudflare, fake", &host, count, &|| fake.writes() as u64);
    let fake = Route53Fake::start([ZONE]);
    let credentials = Credentials::new(route53_fake::ACCESS_KEY, route53_fake::SECRET_KEY, None, None, "bench");
    let endpoint = Some(fake.endpoint());
    let config = route53::Config { endpoint, credentials: Some(credentials), ..route53::Config::default() };
    let host = Route53::with_timer(config, Box::new(Unhurried::default())).expect("a client");
    measure("Route 53, fake", &host, count, &|| fake.writes() as u64);
}

fn rfc2136(server: &str, key: &TestKey) -> Rfc2136 {
    let key = Key::new(key.name.parse().expect("a name"), &key.algorithm, &key.secret).expect("a key");
    let zones = vec![ZONE.parse().expect("a zone")];
    Rfc2136::new(rfc2136::Config { server: server.to_owned(), zones, key, timeout: Duration::from_secs(30) })
}

fn measure(what: &str, host: &dyn DnsProvider, count: usize, calls: &dyn Fn() -> u64) {
    let zone = host.zones().expect("the zones").remove(0);
    let mut cells = Vec::new();
    for (round, pack) in [("packed", count), ("single", 1)] {
        let name = |n| format!("{round}._domainkey.d{n}.{ZONE}").parse().expect("a name");
        let names: Vec<Fqdn> = (0..count).map(name).collect();
        let (before, started) = (calls(), Instant::now());
        names.chunks(pack).for_each(|names| add(host, &zone, names));
        cells.push(format!("{:>6} {:>8.2} s", calls() - before, started.elapsed().as_secs_f64()));
    }
    println!("{what:<18} {}", cells.join(" | "));
}

fn add(host: &dyn DnsProvider, zone: &Zone, names: &[Fqdn]) {
    let seen = host.observe(zone, names).expect("a look");
    let op = |name: &Fqdn| Op::Add { name: name.clone(), text: public(0).record(Algorithm::Rsa), ttl: 300 };
    let ops: Vec<_> = names.iter().zip(seen).map(|(name, seen)| Guarded { op: op(name), seen }).collect();
    let outcomes = host.apply(zone, &ops);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(_))), "{outcomes:?}");
}

/// A pace that counts and does not wait.
#[derive(Default)]
struct Unhurried(Arc<Mutex<Duration>>);

impl Timer for Unhurried {
    fn now(&self) -> Duration {
        *self.0.lock().expect("no panic before")
    }

    fn sleep(&self, time: Duration) {
        *self.0.lock().expect("no panic before") += time;
    }
}
