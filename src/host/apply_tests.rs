use std::panic::{AssertUnwindSafe, catch_unwind};

use dkimctl_state::record::dkim::Algorithm;

use super::super::order::SignOrder;
use super::*;
use crate::signers::fake::{FakeHost, Killed, key_order, public};

/// A host whose name servers serve s1 (key 1), s2 (key 2) and s3 (key 3) of every domain.
struct Bench {
    fake: FakeHost,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new(domains: &[&str]) -> Bench {
        let bench = Bench { fake: FakeHost::default(), dir: tempfile::tempdir().unwrap() };
        for name in domains {
            for number in 1..=3 {
                bench.serve(name, number, KeyLookup::Found(public(number).record(Algorithm::Ed25519)));
            }
        }
        bench
    }

    fn serve(&self, domain: &str, number: u8, answer: KeyLookup) {
        let name = format!("s{number}._domainkey.{domain}").parse().unwrap();
        self.fake.records.borrow_mut().insert(name, answer);
    }

    fn lookup(&self, name: &Fqdn) -> KeyLookup {
        self.fake.records.borrow().get(name).cloned().unwrap_or(KeyLookup::Missing)
    }

    fn apply(&self, domains: Vec<DomainOrder>) -> Report {
        let lookup = |name: &Fqdn| self.lookup(name);
        let host =
            Host { signer: &self.fake, store: &self.fake, lookup: &lookup, settle: Duration::ZERO, retry: false };
        let mut journal = Journal::open(&self.dir.path().join("journal.json")).unwrap();
        apply(&host, &mut journal, &HostOrder { domains }).unwrap()
    }

    /// The selector that signs mail of the domain at this instant, if its signature verifies.
    fn signs(&self, name: &str) -> Option<u8> {
        let domain: SigningDomain = name.parse().unwrap();
        let verifies = |number: &u8| {
            let expected = Expected { selector: format!("s{number}").parse().unwrap(), key: None };
            let verdicts = probe::judge(&self.fake.sign(&domain), &domain, &[expected], &|name| self.lookup(name));
            verdicts == [probe::Verdict::Right]
        };
        (1..=3).find(verifies)
    }
}

fn order(domain: &str, held: &[u8], sign: u8) -> DomainOrder {
    DomainOrder {
        domain: domain.parse().unwrap(),
        digest: format!("{held:?} {sign}"),
        keys: held.iter().map(|&number| key_order(number, &format!("s{number}"))).collect(),
        sign: vec![SignOrder { algorithm: Algorithm::Ed25519, fingerprint: public(sign).fingerprint() }],
        destroy: vec![],
    }
}

fn verdict(report: &Report, index: usize) -> &Verdict {
    &report.domains[index].signing[0].verdict
}

fn right(number: u8) -> Verdict {
    Verdict::Right { fingerprint: public(number).fingerprint() }
}

#[test]
fn mail_is_signed_and_verifies_after_a_kill_at_any_instant() {
    let switch = || vec![order("a.example", &[1, 2], 2)];
    let destroy = || {
        let destroy = vec![public(1).fingerprint()];
        vec![DomainOrder { destroy, ..order("a.example", &[2], 2) }]
    };
    for (earlier, then) in [(None, switch()), (Some(switch()), destroy())] {
        for fuse in 0.. {
            let bench = Bench::new(&["a.example"]);
            bench.apply(vec![order("a.example", &[1], 1)]);
            earlier.clone().into_iter().for_each(|orders| drop(bench.apply(orders)));

            bench.fake.fuse.set(Some(fuse));
            let run = catch_unwind(AssertUnwindSafe(|| bench.apply(then.clone())));
            bench.fake.fuse.set(None);
            assert!(bench.signs("a.example").is_some(), "killed at instant {fuse}: mail is not signed any more");
            // A signer that is restarted by somebody else in the meantime reads what is there.
            bench.fake.reload().unwrap();
            bench.fake.probe(&"a.example".parse().unwrap());
            assert!(bench.signs("a.example").is_some(), "killed at instant {fuse} and restarted: mail is not signed");

            let report = bench.apply(then.clone());
            assert_eq!(*verdict(&report, 0), right(2), "the same command after a kill at instant {fuse}");
            let again = bench.apply(then.clone());
            assert_eq!(
                (again.writes, again.reloads),
                (0, 0),
                "killed at instant {fuse}, then applied: nothing is left"
            );
            match run {
                Ok(_) => {
                    assert!(fuse > 8, "only {fuse} instants were seen");
                    break;
                }
                Err(payload) => assert!(payload.is::<Killed>()),
            }
        }
    }
}

#[test]
fn a_kill_during_a_roll_back_ends_with_the_old_key_as_well() {
    for fuse in 0.. {
        let bench = Bench::new(&["a.example"]);
        bench.apply(vec![order("a.example", &[1], 1)]);
        bench.apply(vec![order("a.example", &[1, 2], 1)]);
        // The record goes away between the question before the switch and the probe: seen at the second look.
        let asked = std::cell::Cell::new(0);
        let lookup = |name: &Fqdn| match name.as_str() {
            "s2._domainkey.a.example" => {
                asked.set(asked.get() + 1);
                if asked.get() == 1 { bench.lookup(name) } else { KeyLookup::Missing }
            }
            _ => bench.lookup(name),
        };
        let host =
            Host { signer: &bench.fake, store: &bench.fake, lookup: &lookup, settle: Duration::ZERO, retry: false };
        let run = |fuse| {
            bench.fake.fuse.set(fuse);
            let mut journal = Journal::open(&bench.dir.path().join("journal.json")).unwrap();
            let order = HostOrder { domains: vec![order("a.example", &[1, 2], 2)] };
            let report = catch_unwind(AssertUnwindSafe(|| apply(&host, &mut journal, &order).unwrap()));
            bench.fake.fuse.set(None);
            report
        };
        let first = run(Some(fuse));
        let second = run(None).unwrap_or_else(|_| panic!("not killed"));
        assert!(matches!(verdict(&second, 0), Verdict::Wrong { rolled_back: true, .. }), "{fuse}: {second:#?}");
        assert_eq!(bench.signs("a.example"), Some(1), "killed at instant {fuse}");
        let third = run(None).unwrap_or_else(|_| panic!("not killed"));
        assert_eq!((third.writes, third.reloads), (0, 0), "killed at instant {fuse}: no flapping");
        if first.is_ok() {
            assert!(fuse > 8, "only {fuse} instants were seen");
            break;
        }
    }
}

#[test]
fn one_domain_that_fails_stops_no_other() {
    let bench = Bench::new(&["a.example", "b.example", "c.example"]);
    bench.fake.refuses.borrow_mut().push("b.example".parse().unwrap());
    bench.serve("c.example", 1, KeyLookup::Missing);
    let names = ["a.example", "b.example", "c.example"];
    let report = bench.apply(names.iter().map(|name| order(name, &[1], 1)).collect());
    assert_eq!(*verdict(&report, 0), right(1));
    assert_eq!(report.domains[1].problem.as_deref(), Some("a row comes first"));
    assert!(matches!(verdict(&report, 2), Verdict::Wrong { what, .. } if what.contains("there is no s1._domainkey")));
    assert_eq!(report.reloads, 1);
}

#[test]
fn many_domains_are_one_write_and_one_reload() {
    let names: Vec<String> = (0..50).map(|n| format!("d{n}.example")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let bench = Bench::new(&names);
    let report = bench.apply(names.iter().map(|name| order(name, &[1], 1)).collect());
    assert_eq!((report.writes, report.reloads), (50 + 2, 1));
    assert!((0..50).all(|index| *verdict(&report, index) == right(1)));
}

#[test]
fn a_key_that_signs_or_is_unproven_is_not_destroyed() {
    let bench = Bench::new(&["a.example"]);
    bench.apply(vec![order("a.example", &[1, 2], 1)]);
    let destroy = |number: u8, sign: u8| {
        let destroy = vec![public(number).fingerprint()];
        vec![DomainOrder { destroy, ..order("a.example", &[sign], sign) }]
    };
    let report = bench.apply(destroy(1, 1));
    assert!(report.domains[0].problem.as_deref().is_some_and(|problem| problem.contains("it stays")), "{report:#?}");
    bench.fake.down.set(true);
    let report = bench.apply(destroy(1, 2));
    assert!(matches!(verdict(&report, 0), Verdict::Unknown { .. }));
    assert_eq!(bench.fake.files.borrow().len(), 2, "as long as it is unknown who signs, nothing is destroyed");
    // An order that signs with nobody leaves the rows alone, and so the key that they name.
    bench.fake.down.set(false);
    let both = DomainOrder { destroy: vec![public(1).fingerprint()], ..order("a.example", &[1, 2], 2) };
    let report = bench.apply(vec![both]);
    assert!(
        report.domains[0].problem.as_deref().is_some_and(|problem| problem.contains("to be held and")),
        "{report:#?}"
    );
    let nobody = DomainOrder { sign: vec![], destroy: vec![public(2).fingerprint()], ..order("a.example", &[1], 1) };
    let report = bench.apply(vec![nobody]);
    assert!(report.domains[0].problem.as_deref().is_some_and(|problem| problem.contains("still signs")), "{report:#?}");
}

#[test]
fn a_signer_that_comes_up_after_its_tables_is_waited_for() {
    let bench = Bench::new(&["a.example"]);
    let lookup = |name: &Fqdn| bench.lookup(name);
    let apply_within = |settle| {
        let host = Host { signer: &bench.fake, store: &bench.fake, lookup: &lookup, settle, retry: false };
        let mut journal = Journal::open(&bench.dir.path().join("journal.json")).unwrap();
        apply(&host, &mut journal, &HostOrder { domains: vec![order("a.example", &[1], 1)] }).unwrap()
    };
    const LONG: Duration = Duration::from_secs(60);
    for what in ["the first key", "the same rows after a restart"] {
        bench.fake.starts_after.set(4);
        assert_eq!(*verdict(&apply_within(LONG), 0), right(1), "{what}");
    }
    bench.fake.starts_after.set(1000);
    let report = apply_within(Duration::from_millis(100));
    assert!(matches!(verdict(&report, 0), Verdict::Unknown { why } if why.contains("no such file")), "{report:#?}");
}

#[test]
fn a_retry_is_asked_for_by_the_operator() {
    let bench = Bench::new(&["a.example"]);
    bench.apply(vec![order("a.example", &[1, 2], 1)]);
    let mut journal = Journal::open(&bench.dir.path().join("journal.json")).unwrap();
    let wanted = order("a.example", &[1, 2], 2);
    let refused = Refused { order: wanted.digest.clone(), seen: "unsigned".into() };
    journal.refuse([(wanted.domain.clone(), refused)]).unwrap();
    let report = bench.apply(vec![wanted.clone()]);
    assert!(matches!(verdict(&report, 0), Verdict::Wrong { what, .. } if what.contains("not tried again")));
    let lookup = |name: &Fqdn| bench.lookup(name);
    let host = Host { signer: &bench.fake, store: &bench.fake, lookup: &lookup, settle: Duration::ZERO, retry: true };
    let report = apply(&host, &mut journal, &HostOrder { domains: vec![wanted] }).unwrap();
    assert_eq!(*verdict(&report, 0), right(2));
}
