//! What the store costs with 100,000 domains: `cargo bench --bench store`.
//!
//! The goals: a due-scan in 50 ms, a transition's commit within 100 ms at p99, 128 MB of memory, an export in 2 s.
//! `DKIMCTL_BENCH_DOMAINS` makes it smaller, `DKIMCTL_BENCH_DIR` puts it on another disk.
#![allow(clippy::print_stdout)] // the figures that criterion does not know

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key, Ledger, Maxima};
use dkimctl_state::name::{Label, Selector, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use dkimctl_state::store::sqlite::{FILE, Options, SqliteStore};
use dkimctl_state::store::{Change, Event, Loaded, Store};
use dkimctl_state::time::{Span, Time};

const T0: Time = Time::from_unix(1_795_339_800);
/// How many commits the percentiles are of.
const SAMPLES: usize = 1_000;

fn main() {
    if let Some(state) = std::env::var_os("DKIMCTL_BENCH_SCAN") {
        return scan(Path::new(&state));
    }
    let domains = std::env::var("DKIMCTL_BENCH_DOMAINS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let dir = match std::env::var_os("DKIMCTL_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    }
    .expect("a directory for the store");
    let state = dir.path().join("state");
    build(&state, domains);

    memory_of_a_due_scan(&state);
    whole_store(&state, dir.path());
    let mut store = SqliteStore::open(&state, &Options::read_write()).expect("open");
    let mut fresh = domains;
    percentiles(&mut store, domains, &mut fresh);

    let mut criterion = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(5));
    criterion.bench_function("due, none of 100k", |b| b.iter(|| black_box(store.due(T0, 100).expect("due"))));
    criterion.bench_function("open + due + close", |b| {
        b.iter(|| SqliteStore::open(&state, &Options::read_only()).expect("open").due(T0, 100).expect("due"))
    });
    for (name, size) in [("commit 1 transition", 1), ("commit 100 transitions", 100)] {
        criterion.bench_function(name, |b| {
            let store = std::cell::RefCell::new(&mut store);
            let changes = || (0..size).map(|_| transition(&**store.borrow(), domains, &mut fresh)).collect::<Vec<_>>();
            b.iter_batched(
                changes,
                |changes| store.borrow_mut().commit(&changes).expect("commit"),
                BatchSize::PerIteration,
            )
        });
    }
    criterion.final_summary();
}

/// Every domain with a key that signs and one that retires, and the events that led there.
fn build(state: &Path, domains: u32) {
    let started = Instant::now();
    let lineage = "6f1c3bd2-4d0a-4b43-9d9c-0c6f1d8a7e11".parse().expect("a lineage");
    let mut store = SqliteStore::create(state, lineage, &Options::read_write()).expect("create");
    let numbers: Vec<u32> = (0..domains).collect();
    for batch in numbers.chunks(5_000) {
        let changes: Vec<Change> = batch
            .iter()
            .map(|n| {
                let mut facts = to_active(2 * n, "s1");
                facts.extend(to_active(2 * n + 1, "s2"));
                let empty = Loaded { ledger: Ledger::new(domain(*n)), revision: 0, wake: None };
                change(empty, facts, Some(T0 + Span::days(30)))
            })
            .collect();
        store.commit(&changes).expect("commit");
    }
    let size = std::fs::metadata(state.join(FILE)).expect("the file").len();
    println!("build of {domains} domains: {:.1} s, {} MB", started.elapsed().as_secs_f64(), size / 1_000_000);
}

/// In a process of its own, or the builder's memory would be counted.
fn memory_of_a_due_scan(state: &Path) {
    let me = std::env::current_exe().expect("this program");
    let child = std::process::Command::new(me).env("DKIMCTL_BENCH_SCAN", state).output().expect("a scan");
    print!("{}", String::from_utf8_lossy(&child.stdout));
}

fn scan(state: &Path) {
    let store = SqliteStore::open(state, &Options::read_only()).expect("open");
    let none = store.due(T0, 100).expect("due");
    println!("resident memory of a due-scan with none due ({}): {}", none.len(), peak());
    let all = store.due(T0 + Span::days(365), usize::MAX).expect("due");
    println!("resident memory with all {} due: {}", all.len(), peak());
}

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.map_or("unknown".to_owned(), |kb| kb.trim().to_owned())
}

fn whole_store(state: &Path, dir: &Path) {
    let store = SqliteStore::open(state, &Options::read_only()).expect("open");
    let timed = |what: &str, work: &dyn Fn() -> String| {
        let started = Instant::now();
        let said = work();
        println!("{what}: {:.2} s, {said}", started.elapsed().as_secs_f64());
    };
    timed("export", &|| {
        let mut lines = std::fs::File::create(dir.join("export.jsonl")).expect("a file");
        store.export(&mut lines).expect("export");
        format!("{} MB", lines.metadata().expect("its size").len() / 1_000_000)
    });
    timed("backup", &|| store.backup(&dir.join("backup")).expect("backup").sha256);
    timed("verify", &|| {
        let report = store.verify().expect("verify");
        assert!(report.is_whole(), "{:?}", report.findings);
        format!("{} domains, {} keys, {} events", report.domains, report.keys, report.events)
    });
}

fn percentiles(store: &mut SqliteStore, domains: u32, fresh: &mut u32) {
    let mut times: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let change = transition(store, domains, fresh);
            let started = Instant::now();
            store.commit(&[change]).expect("commit");
            started.elapsed()
        })
        .collect();
    times.sort();
    let at = |share: f64| times[((SAMPLES - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("one transition of {SAMPLES}: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms", at(0.5), at(0.99), at(1.0));
}

/// The next domain in an order that jumps through the file: its key comes to one more host.
fn transition(store: &dyn Store, domains: u32, fresh: &mut u32) -> Change {
    *fresh = fresh.wrapping_add(48_271);
    let n = *fresh % domains;
    let loaded = store.load(&domain(n)).expect("load");
    let key = loaded.ledger.keys().next().expect("an active key").1.fingerprint;
    let host = format!("mx{fresh}").parse().expect("a host");
    change(loaded, vec![Fact::Delivered { key, host }], Some(T0 + Span::days(30)))
}

fn change(loaded: Loaded, facts: Vec<Fact>, wake: Option<Time>) -> Change {
    let mut ledger = loaded.ledger;
    let mut at = ledger.newest.unwrap_or(T0);
    let mut events = Vec::new();
    for fact in facts {
        at = at + Span::minutes(1);
        ledger.record(&fact, at).expect("a fact that can have happened");
        events.push(Event { at, actor: "cron".to_owned(), fact });
    }
    Change { ledger, revision: loaded.revision, wake, events }
}

fn to_active(n: u32, selector: &str) -> Vec<Fact> {
    // As long as an RSA key of 2048 bits, and another for every number.
    let public = PublicKey::from_bytes(n.to_be_bytes().repeat(74)[..294].to_vec());
    let fingerprint = public.fingerprint();
    let selector: Selector = selector.parse().expect("a selector");
    let none = std::collections::BTreeMap::new;
    let key = Key {
        fingerprint,
        selector: selector.clone(),
        algorithm: Algorithm::Rsa,
        public,
        sealed: T0,
        blob_sha256: fingerprint.to_string(),
        record_at: none(),
        delivered: none(),
        wiped: none(),
        shredded: None,
    };
    let host: Label = "mx1".parse().expect("a host");
    let provider = "route53".parse().expect("a provider");
    vec![
        Fact::Sealed { key },
        Fact::Carried { selector, maxima: Maxima { ttl: 3600, negative: Some(300), cname: 0 } },
        Fact::Written { key: fingerprint, provider },
        Fact::SweptClean { key: fingerprint },
        Fact::SeenEverywhere { key: fingerprint, since: T0 },
        Fact::Delivered { key: fingerprint, host: host.clone() },
        Fact::Committed { key: fingerprint },
        Fact::Signing { key: fingerprint, host },
        Fact::Activated { key: fingerprint },
    ]
}

fn domain(n: u32) -> SigningDomain {
    format!("d{n:06}.example").parse().expect("a domain")
}
