//! What it costs to publish 2,000 selectors of one zone: `cargo bench --bench publish`.
//!
//! First at every host that runs here, packed beside one call a record ([`calls`]). Then on BIND, packed by our provider,
//! against nsupdate one change a message, in one process and in a process each, on the same server in the same run. The
//! goal: 17 messages at most.
#![allow(clippy::print_stdout)] // the figures that criterion does not know

mod calls;
#[path = "../servers/mod.rs"]
mod servers;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use dkimctl_providers::rfc2136::{Config, Key, Rfc2136};
use dkimctl_providers::{AtName, DnsProvider as _, Guarded, Op, Outcome};
use dkimctl_state::record::dkim::{Algorithm, PublicKey};

use servers::{Bind, TestKey, TestZone, servers_or_skip};

const ZONE: &str = "example.com";
const SELECTORS: usize = 2_000;
/// How many of them nsupdate is given a process each for.
const ALONE: usize = 100;

fn main() {
    calls::print();
    if !servers_or_skip(&[Bind::PROGRAM, "nsupdate"]) {
        return;
    }
    let packed = packed();
    let one_by_one = nsupdate(SELECTORS, SELECTORS);
    let alone = nsupdate(ALONE, 1).mul_f64(SELECTORS as f64 / ALONE as f64);
    println!("2,000 selectors, nsupdate, 2,000 messages of one process: {:.2} s", one_by_one.as_secs_f64());
    println!("2,000 selectors, nsupdate, a process each (from {ALONE}): {:.2} s", alone.as_secs_f64());
    let ratio = |other: Duration| other.as_secs_f64() / packed.as_secs_f64();
    println!("packed is {:.0} and {:.0} times as fast", ratio(one_by_one), ratio(alone));

    let mut criterion = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(10));
    criterion.bench_function("publish 2,000 selectors on BIND, packed", |b| {
        b.iter_batched(server, |(_bind, host)| apply(&host), BatchSize::PerIteration);
    });
    criterion.final_summary();
}

fn packed() -> Duration {
    let (_bind, host) = server();
    let started = Instant::now();
    apply(&host);
    let took = started.elapsed();
    println!("2,000 selectors, packed: {:.2} s, {} messages, each read back", took.as_secs_f64(), host.messages_sent());
    assert!(host.messages_sent() <= 17, "the goal is 17 messages");
    took
}

fn server() -> (Bind, Rfc2136) {
    let key = TestKey::new("dkimctl");
    let bind = Bind::start(std::slice::from_ref(&key), &[TestZone::new(ZONE)]);
    let name = key.name.parse().expect("a name");
    let key = Key::new(name, &key.algorithm, &key.secret).expect("a key");
    let zones = vec![ZONE.parse().expect("a zone")];
    let config = Config { server: bind.address.to_string(), zones, key, timeout: Duration::from_secs(30) };
    (bind, Rfc2136::new(config))
}

fn apply(host: &Rfc2136) {
    let zone = host.zones().expect("the zones").remove(0);
    let ops: Vec<Guarded> = (0..SELECTORS)
        .map(|n| {
            let name = format!("s{n}._domainkey.{ZONE}").parse().expect("a name");
            let op = Op::Add { name, text: public(n).record(Algorithm::Rsa), ttl: 3600 };
            Guarded { op, seen: AtName::Absent }
        })
        .collect();
    let outcomes = host.apply(&zone, &ops);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Applied(_))), "{:?}", outcomes[0]);
}

/// The same records by nsupdate, each sent by itself, so many of them a process.
fn nsupdate(names: usize, a_process: usize) -> Duration {
    let key = TestKey::new("dkimctl");
    let bind = Bind::start(std::slice::from_ref(&key), &[TestZone::new(ZONE)]);
    let head = format!(
        "server {} {}\nzone {ZONE}.\nkey {}:{} {}\n",
        bind.address.ip(),
        bind.address.port(),
        key.algorithm,
        key.name,
        key.secret
    );
    let scripts: Vec<String> = (0..names)
        .collect::<Vec<_>>()
        .chunks(a_process)
        .map(|numbers| {
            numbers.iter().fold(head.clone(), |script, n| {
                let text = public(*n).record(Algorithm::Rsa).quoted();
                format!("{script}update add s{n}._domainkey.{ZONE}. 3600 TXT {text}\nsend\n")
            })
        })
        .collect();
    let started = Instant::now();
    for script in scripts {
        let mut child = Command::new("nsupdate").stdin(Stdio::piped()).spawn().expect("nsupdate");
        child.stdin.take().expect("its input").write_all(script.as_bytes()).expect("the script is taken");
        assert!(child.wait().expect("its end").success());
    }
    started.elapsed()
}

/// As long as an RSA key of 2048 bits, and another for every number.
fn public(n: usize) -> PublicKey {
    PublicKey::from_bytes((n as u32).to_be_bytes().repeat(74)[..294].to_vec())
}
