//! The adapter speaks: through the crate to a real BIND and a real PowerDNS, and to strict fakes of two of its hosts;
//! each runs the rows of the contract that fit hosts of which a name is set as a whole.
//!
//! The crate lets nobody say where a host's API is, but it obeys `HTTPS_PROXY` and the system's authorities. So what
//! needs a fake runs in a process of its own whose way out leads to the fakes alone ([`door`]).

use std::time::Duration;

use dns_update::{DnsUpdater, TsigAlgorithm};

use dkimctl_state::record::txt::TxtText;

use super::*;
use crate::dnsupdate::hosts::{HOSTS, host};
use desec::Desec;
use digitalocean::DigitalOcean;
use door::Door;
use hosts::{Bench, PdnsBench, Raw, UpdateBench, key, powerdns_at, rfc2136_at, serial};
use rows::{KEY, ZONE, fqdn, run_table};
use servers::http::{Request, Response};
use servers::{Bind, Pdns, TestZone, servers_or_skip};
use table::{dkim, table};

#[path = "adapter_tests/desec.rs"]
mod desec;
#[path = "adapter_tests/digitalocean.rs"]
mod digitalocean;
#[path = "adapter_tests/door.rs"]
mod door;
#[allow(dead_code)]
#[path = "../../tests/contract/hosts.rs"]
mod hosts;
#[path = "../../tests/contract/rows.rs"]
mod rows;
#[path = "../../../tests/servers/mod.rs"]
mod servers;
#[path = "../../tests/contract/table.rs"]
mod table;

const CANARY: &str = "canary-token-of-a-test";

/// Servers of our own, which the product reaches by its own providers.
const OURS: Host = Host {
    code: "ours",
    name: "Ours",
    secrets: &["key"],
    min_ttl: 0,
    max_text: 3_000,
    hides_absence: false,
    caveat: "",
};

fn config(host: &'static Host, ttl: u32) -> Config {
    let secret = vec![CANARY; host.secrets.len()].join("\n");
    let secret = Secret::new(&secret);
    Config { host, zones: vec![ZONE.parse().unwrap()], ttl, secret, timeout: Duration::from_secs(5) }
}

fn at(code: &str, ttl: u32) -> DnsUpdate {
    DnsUpdate::new(config(host(code).unwrap(), ttl)).unwrap()
}

/// The adapter before a host whose records are reached in another way.
struct ByCrate<B> {
    adapter: DnsUpdate,
    host: B,
    writes: fn(&B) -> u64,
    ttl: fn(u32) -> u32,
}

impl<B: Bench> Bench for ByCrate<B> {
    fn host(&self) -> &dyn DnsProvider {
        &self.adapter
    }

    fn put(&self, name: &str, ttl: u32, records: &[Vec<String>]) {
        self.host.put(name, ttl, records);
    }

    fn alias(&self, name: &str, target: &str) {
        self.host.alias(name, target);
    }

    fn records(&self, name: &str) -> Raw {
        self.host.records(name)
    }

    fn writes(&self) -> u64 {
        (self.writes)(&self.host)
    }

    fn ttl(&self, ttl: u32) -> u32 {
        (self.ttl)(ttl)
    }
}

// ---- real servers -------------------------------------------------------------------------------------------------

#[test]
fn bind() {
    if !servers_or_skip(&[Bind::PROGRAM, "nsupdate"]) {
        return;
    }
    let server = Bind::start(&[key()], &[TestZone::new(ZONE)]);
    let updater = by_tsig(&server, &key().secret);
    let adapter = DnsUpdate::over(config(&OURS, 300), updater).unwrap();
    let host = UpdateBench { host: rfc2136_at(&server.address.to_string(), &key()), server: server.address };
    let writes = |bench: &UpdateBench| serial(bench.server);
    run_table(table(), "bind by crate", &ByCrate { adapter, host, writes, ttl: |ttl| ttl });
}

fn by_tsig(server: &Bind, secret: &str) -> DnsUpdater {
    let secret = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, secret).unwrap();
    let address = format!("tcp://{}", server.address);
    DnsUpdater::new_rfc2136_tsig(address, key().name, secret, TsigAlgorithm::HmacSha256).unwrap()
}

/// A server that refuses is a refusal, and one that does not know the key leaves the name as it was.
#[test]
fn bind_refuses() {
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let policy = format!("grant test-key name elsewhere.{ZONE}. TXT;");
    let server = Bind::start(&[key()], &[TestZone::new(ZONE).policy(&policy)]);
    for (secret, expected) in [(key().secret.as_str(), "Query Refused"), ("d3Jvbmc=", "")] {
        let adapter = DnsUpdate::over(config(&OURS, 300), by_tsig(&server, secret)).unwrap();
        let outcome = publish(&adapter, &dkim('A'));
        let shown = format!("{outcome:?} {adapter:?}");
        assert!(shown.contains(expected) && !shown.contains("dGhl") && !shown.contains("d3Jv"), "{shown}");
        assert!(!matches!(outcome, Outcome::Applied(_) | Outcome::Already), "{shown}");
        let zone = adapter.zones().unwrap().remove(0);
        assert_eq!(adapter.observe(&zone, &[fqdn(KEY)]).unwrap(), [AtName::Absent]);
    }
}

#[test]
fn powerdns() {
    if !servers_or_skip(&Pdns::programs()) {
        return;
    }
    let server = Pdns::start(&[TestZone::new(ZONE)]);
    let updater = DnsUpdater::new_pdns(Pdns::KEY, Some(&server.api), None::<&str>, None).unwrap();
    let adapter = DnsUpdate::over(config(&OURS, 300), updater).unwrap();
    let host = PdnsBench { host: powerdns_at(&server.api), server };
    run_table(table(), "powerdns by crate", &ByCrate { adapter, host, writes: Bench::writes, ttl: |ttl| ttl });
}

// ---- fakes --------------------------------------------------------------------------------------------------------

#[test]
fn digitalocean() {
    let fake = DigitalOcean::start(CANARY);
    let Some(_door) = Door::open("digitalocean", vec![("api.digitalocean.com", fake.handler())]) else { return };
    let adapter = at("digitalocean", 300);
    run_table(table(), "digitalocean", &ByCrate { adapter, host: fake, writes: Bench::writes, ttl: |ttl| ttl });
}

#[test]
fn desec() {
    let fake = Desec::start(CANARY);
    let Some(_door) = Door::open("desec", vec![("desec.io", fake.handler())]) else { return };
    // An hour is the least.
    let (adapter, ttl) = (at("desec", 3600), |ttl| ttl * 12);
    run_table(table(), "desec", &ByCrate { adapter, host: fake, writes: Bench::writes, ttl });
}

fn below(zone: &Fqdn) -> Fqdn {
    format!("{KEY}.{zone}").parse().unwrap()
}

fn publish(adapter: &DnsUpdate, text: &str) -> Outcome {
    let op = Op::Add { name: fqdn(KEY), text: text.into(), ttl: adapter.config.ttl };
    apply(adapter, op, AtName::Absent)
}

fn apply(adapter: &DnsUpdate, op: Op, seen: AtName) -> Outcome {
    adapter.apply(&Zone::named(&adapter.config.zones[0]), &[Guarded { op, seen }]).remove(0)
}

/// The crate deletes before it creates. What was deleted comes back when the new value is refused, or it is said that
/// there is none.
#[test]
fn a_refused_replacement_leaves_the_old_value() {
    let fake = DigitalOcean::start(CANARY);
    let hosts = vec![("api.digitalocean.com", fake.handler())];
    let Some(_door) = Door::open("a_refused_replacement_leaves_the_old_value", hosts) else { return };
    let adapter = at("digitalocean", 300);
    let (name, old, new) = (fqdn(KEY), TxtText::from(&*dkim('A')), TxtText::from("v=DKIM1; p="));
    let seen = AtName::Txt { ttl: 300, entries: vec![Entry::new(old.clone())] };
    let revoke = || Op::Replace { name: name.clone(), old: old.clone(), new: new.clone(), ttl: 300 };
    assert_eq!(publish(&adapter, &dkim('A')), Outcome::Applied(None));
    for (status, expected) in [(422, "422"), (403, "credentials"), (429, "asks to wait")] {
        fake.refuse_creates(&[status]);
        let Outcome::Rejected(error) = apply(&adapter, revoke(), seen.clone()) else { panic!("{status}") };
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(fake.records(KEY), [(300, rows::chunked(&dkim('A'), 255))], "{status}");
    }
    // No answer proves nothing.
    fake.refuse_creates(&[500]);
    assert!(matches!(apply(&adapter, revoke(), seen.clone()), Outcome::Unknown(_)));
    fake.put(KEY, 300, &[rows::chunked(&dkim('A'), 255)]);
    // Refused for ever: the emptiness is named.
    fake.refuse_creates(&[422, 422]);
    let outcome = apply(&adapter, revoke(), seen.clone());
    assert!(matches!(&outcome, Outcome::Unknown(why) if why.contains("has no value now")), "{outcome:?}");
}

/// Each kind of no has its own error, and none of them the token, though the host says it back.
#[test]
fn what_a_host_says_is_told_apart() {
    let answer = |request: &Request| {
        let echo: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let echo = format!("{} {}", echo.join(", "), request.body);
        match request.path.split('/').find_map(|part| part.strip_prefix("status-")) {
            Some("silent.example") => Response { silent: true, ..Response::default() },
            Some(code) => {
                Response::new(code.trim_end_matches(".example").parse().unwrap(), echo).with("retry-after", "0")
            }
            None => Response::new(401, echo),
        }
    };
    let names = ["api.digitalocean.com", "api.bunny.net", "desec.io", "api.gandi.net", "api.hetzner.cloud"];
    let more = ["api.linode.com", "api.porkbun.com", "api.vultr.com"];
    let hosts = names.iter().chain(&more).map(|name| (*name, door::handler(answer))).collect();
    let Some(door) = Door::open("what_a_host_says_is_told_apart", hosts) else { return };

    for (status, expected) in [
        ("400", "Rejected"),
        ("401", "Auth"),
        ("403", "Auth"),
        ("404", "no zone"),
        ("422", "Rejected"),
        ("429", "RateLimited"),
        ("500", "Unreachable"),
        ("silent", "Unreachable"),
    ] {
        let zones = vec![format!("status-{status}.example").parse().unwrap()];
        let adapter = DnsUpdate::new(Config { zones, ..config(host("digitalocean").unwrap(), 300) }).unwrap();
        let zone = adapter.zones().unwrap().remove(0);
        let error = adapter.observe(&zone, &[below(&zone.name)]).unwrap_err();
        let shown = format!("{error} {error:?} {adapter:?}");
        assert!(shown.contains(expected) && !shown.contains("canary"), "{status}: {shown}");
    }

    // Every host's secret goes to its own API and nowhere else.
    for host in HOSTS {
        door.forget();
        let adapter = at(host.code, host.min_ttl);
        let error = adapter.observe(&Zone::named(&adapter.config.zones[0]), &[fqdn(KEY)]).unwrap_err();
        let shown = format!("{error} {error:?} {adapter:?}");
        let asked = door.asked();
        assert!(asked.len() == 1 && asked[0].contains(host.code), "{}: {asked:?}", host.code);
        assert!(!shown.contains("canary"), "{}: {shown}", host.code);
        assert!(matches!(error, ProviderError::Auth(_) | ProviderError::Rejected { .. }), "{}: {shown}", host.code);
    }
}

/// What is not there is told from what is not ours.
#[test]
fn a_zone_that_the_host_has_not_is_not_an_empty_one() {
    let (ocean, desec) = (DigitalOcean::start(CANARY), Desec::start(CANARY));
    let hosts = vec![("api.digitalocean.com", ocean.handler()), ("desec.io", desec.handler())];
    let Some(_door) = Door::open("a_zone_that_the_host_has_not_is_not_an_empty_one", hosts) else { return };
    for code in ["digitalocean", "desec"] {
        let zones = vec!["stranger.example".parse().unwrap()];
        let adapter = DnsUpdate::new(Config { zones, ..config(host(code).unwrap(), 3600) }).unwrap();
        let zone = adapter.zones().unwrap().remove(0);
        let error = adapter.observe(&zone, &[below(&zone.name)]).unwrap_err();
        assert!(error.to_string().contains("no zone `stranger.example`"), "{code}: {error}");
        let ours = at(code, 3600);
        assert_eq!(ours.observe(&Zone::named(&ours.config.zones[0]), &[fqdn(KEY)]).unwrap(), [AtName::Absent]);
    }
}

#[test]
fn a_secret_with_too_few_lines_is_refused_before_anything_is_asked() {
    let config = Config { secret: Secret::new(CANARY), ..config(host("porkbun").unwrap(), 600) };
    let error = DnsUpdate::new(config).err().unwrap().to_string();
    assert!(error.contains("API key and secret API key on 2 line(s)") && !error.contains("canary"), "{error}");
}

/// A fake that is wrong in its refusals would prove nothing: whoever does it wrong is refused.
#[test]
fn the_fakes_are_strict() {
    digitalocean::refusals();
    desec::refusals();
}
