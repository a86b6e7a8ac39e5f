use super::*;
use crate::Op;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

fn fqdn(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn host(seed: u64) -> (Memory, Arc<AtomicI64>, Zone) {
    let time = Arc::new(AtomicI64::new(1000));
    let shared = time.clone();
    let host = Memory::new(&[fqdn("example.com")], seed, move || Time::from_unix(shared.load(Ordering::Relaxed)));
    let zone = host.zones().unwrap().remove(0);
    (host, time, zone)
}

fn add(name: &str, text: &str) -> Guarded {
    Guarded { op: Op::Add { name: fqdn(name), text: text.into(), ttl: 300 }, seen: AtName::Absent }
}

#[test]
fn each_server_serves_a_change_after_its_own_lag() {
    let (host, _, zone) = host(1);
    host.set_lags(&[Span::ZERO, Span::seconds(30)]);
    host.set_soa(3600, 60);
    assert!(matches!(host.apply(&zone, &[add("a.example.com", "x")])[0], Outcome::Applied(_)));
    let sees = |server, at| match host.answer(server, &fqdn("a.example.com"), Time::from_unix(at)) {
        Served::Answer { at, negative_ttl: 60 } => at != AtName::Absent,
        other => panic!("{other:?}"),
    };
    assert!(sees(0, 1000) && !sees(1, 1000) && !sees(1, 1029) && sees(1, 1030));
    host.set_silent(1, true);
    assert_eq!(host.answer(1, &fqdn("a.example.com"), Time::from_unix(2000)), Served::Silent);
}

#[test]
fn the_same_seed_brings_the_same_misfortunes() {
    let fates = |seed| {
        let (host, _, zone) = host(seed);
        host.set_faults(Faults {
            refused: 50,
            done_but_unknown: 50,
            lost: 50,
            ok_but_not_done: 50,
            partial: 100,
            ..Faults::default()
        });
        (0..300).map(|i| host.apply(&zone, &[add(&format!("n{i}.example.com"), "x")]).remove(0)).collect::<Vec<_>>()
    };
    assert_eq!(fates(7), fates(7));
    assert_ne!(fates(7), fates(8));
    let kinds: std::collections::HashSet<_> = fates(7).iter().map(std::mem::discriminant).collect();
    assert_eq!(kinds.len(), 4, "applied, rejected, unknown, not tried");
}

#[test]
fn who_is_limited_waits_until_the_time_has_passed() {
    let (host, time, zone) = host(1);
    let faults = Faults { rate_limited: 1000, retry_after: Duration::from_secs(7), ..Faults::default() };
    host.set_faults(faults);
    let limited = ProviderError::RateLimited { after: Some(Duration::from_secs(7)) };
    assert_eq!(host.apply(&zone, &[add("a.example.com", "x")]), [Outcome::Rejected(limited)]);
    host.set_faults(Faults::default());
    time.fetch_add(6, Ordering::Relaxed);
    assert!(host.observe(&zone, &[]).is_err());
    time.fetch_add(1, Ordering::Relaxed);
    assert!(host.observe(&zone, &[]).is_ok());
}

/// A simulation runs this by the million.
#[test]
fn a_schedule_costs_microseconds() {
    let started = std::time::Instant::now();
    let names: Vec<Fqdn> = (0..4).map(|i| fqdn(&format!("s{i}.example.com"))).collect();
    for seed in 0..10_000 {
        let (host, time, zone) = host(seed);
        host.set_lags(&[Span::ZERO, Span::seconds(30)]);
        host.set_faults(Faults { refused: 50, lost: 50, ..Faults::default() });
        for name in &names {
            let seen = host.observe(&zone, std::slice::from_ref(name)).unwrap().remove(0);
            host.apply(&zone, &[Guarded { op: Op::Add { name: name.clone(), text: "key".into(), ttl: 300 }, seen }]);
            time.fetch_add(10, Ordering::Relaxed);
            (0..2).for_each(|server| drop(host.answer(server, name, Time::from_unix(1100))));
        }
    }
    assert!(started.elapsed().as_secs() < 20, "{:?} for 10,000 schedules", started.elapsed());
}
