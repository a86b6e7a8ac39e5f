//! Orders, carried out on a real rspamd.

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dkimctl::host::order::{DomainOrder, SignOrder, Verdict};
use dkimctl::signers::milter::Answer;
use dkimctl::signers::probe::{self, Expected, KeyLookup};
use dkimctl::signers::{LoadedKey, Signer};
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::dkim::Algorithm;

use crate::bench::{Bench, assert_right, order};
use crate::keys::keys;
use crate::servers::rspamdd::{Rspamdd, available};

/// What leaves through the milter: the selector of a signature that verifies, or what is wrong.
fn seen(signer: &dyn Signer) -> Result<&'static str, String> {
    let domain: SigningDomain = "example.com".parse().unwrap();
    let probed = signer.probe(&domain);
    let mut wrong = String::new();
    for (selector, key) in ["s1", "s2"].into_iter().zip(keys()) {
        let lookup = |_: &Fqdn| KeyLookup::Found(key.public.record(Algorithm::Rsa));
        let expected =
            Expected { selector: selector.parse().unwrap(), key: Some((Algorithm::Rsa, key.public.clone())) };
        match probe::judge(&probed, &domain, &[expected], &lookup).pop().unwrap() {
            probe::Verdict::Right => return Ok(selector),
            probe::Verdict::Wrong { seen } => wrong = seen,
            probe::Verdict::Unknown { why } => wrong = why,
        }
    }
    Err(wrong)
}

#[test]
fn rspamd_goes_from_s1_to_s2_under_flow_without_a_bad_message() {
    if !available("rspamd_goes_from_s1_to_s2_under_flow_without_a_bad_message") {
        return;
    }
    let bench = Bench::around(Rspamdd::start());
    let [first, second] = keys();
    let report = bench.apply(order(first));
    assert_right(&report, first);
    assert_eq!(report.writes, 4, "two keys, two tables");

    let done = AtomicBool::new(false);
    let (signer, flow) = (bench.daemon.signer(), RefCell::new(Vec::new()));
    thread::scope(|scope| {
        let stream = scope.spawn(|| {
            let mut seen_so_far = Vec::new();
            while !done.load(Ordering::Relaxed) {
                seen_so_far.push(seen(&signer));
            }
            // And some that came after everybody had switched.
            seen_so_far.extend((0..20).map(|_| seen(&signer)));
            seen_so_far
        });
        let report = bench.apply(order(second));
        assert_right(&report, second);
        assert_eq!(report.writes, 1, "the signing table alone");
        done.store(true, Ordering::Relaxed);
        flow.borrow_mut().extend(stream.join().unwrap());
    });
    let flow = flow.into_inner();
    let bad: Vec<_> = flow.iter().filter_map(|seen| seen.as_ref().err()).collect();
    assert_eq!(bad, Vec::<&String>::new(), "of {} messages", flow.len());
    assert!(flow.len() > 20 && flow.last() == Some(&Ok("s2")), "{flow:?}");

    // Every worker of rspamd reads the tables in its own time; until all have, a repeated order may ask again.
    let mut in_a_row = 0;
    for _ in 0..500 {
        in_a_row = if seen(&signer) == Ok("s2") { in_a_row + 1 } else { 0 };
        if in_a_row == 30 {
            break;
        }
    }
    assert_eq!(in_a_row, 30, "some worker still signs with the old key");
    let report = bench.apply(order(second));
    assert_right(&report, second);
    assert_eq!((report.writes, report.reloads), (0, 0), "twice is once");

    let report = bench.apply(DomainOrder {
        destroy: vec![first.public.fingerprint()],
        keys: vec![second.order("s2")],
        ..order(second)
    });
    assert_right(&report, second);
    assert_eq!(report.domains[0].destroyed, [first.public.fingerprint()]);
    assert_right(&bench.apply(DomainOrder { keys: vec![second.order("s2")], ..order(second) }), second);
}

/// rspamd starts a worker with the tables that it read at its own start, and the worker watches for changes from then on.
#[test]
fn a_worker_that_was_born_late_is_found_and_told() {
    if !available("a_worker_that_was_born_late_is_found_and_told") {
        return;
    }
    let bench = Bench::around(Rspamdd::start());
    let first = &keys()[0];
    assert_right(&bench.apply(order(first)), first);

    bench.daemon.lose_a_worker();
    // Which worker answers is chance; in the end it is the late one too.
    let late = (0..50).find_map(|_| seen(&bench.daemon.signer()).err());
    assert!(late.as_ref().is_some_and(|late| late.contains("unsigned")), "rspamd does better than it did: {late:?}");

    let told = (0..50).map(|_| bench.apply(order(first))).find(|report| report.reloads > 0);
    let report = told.expect("a run that met the late worker");
    assert_right(&report, first);
    assert_eq!((report.writes, report.reloads), (0, 1), "the tables are as they were, and are put there anew");
    assert_eq!(seen(&bench.daemon.signer()), Ok("s1"));
}

#[test]
fn a_key_that_rspamd_cannot_find_is_unsigned_and_rolled_back() {
    if !available("a_key_that_rspamd_cannot_find_is_unsigned_and_rolled_back") {
        return;
    }
    let bench = Bench::around(Rspamdd::start());
    let [first, second] = keys();
    assert_right(&bench.apply(order(first)), first);
    let before = bench.signing_table();
    let lost = bench.daemon.keys().join(format!("{}.pem", second.public.fingerprint().short()));

    let signer = Losing { inner: bench.daemon.signer(), lost };
    let report = bench.apply_as(&signer, order(second));
    let Verdict::Wrong { what: seen, rolled_back } = &report.domains[0].signing[0].verdict else {
        panic!("{report:#?}")
    };
    assert!(seen.contains("unsigned") && seen.contains("rolled back: s1 signs again, and verifies"), "{seen}");
    assert!(rolled_back, "{seen}");
    assert_eq!(bench.signing_table(), before);
    assert_right(&bench.apply(DomainOrder { digest: "again".into(), ..order(second) }), second);
}

/// rspamd's maps of globs have no end: what begins like a row is signed by it.
#[test]
fn a_domain_that_begins_like_another_is_not_put_beside_it() {
    if !available("a_domain_that_begins_like_another_is_not_put_beside_it") {
        return;
    }
    let bench = Bench::around(Rspamdd::start());
    let [first, second] = keys();
    assert_right(&bench.apply(order(first)), first);
    let before = bench.signing_table();
    let signer = bench.daemon.signer();
    let longer: SigningDomain = "example.com.au".parse().unwrap();
    let Answer::Passed(headers) = signer.probe(&longer).answer else { panic!("rspamd signs for {longer}") };
    assert!(headers.iter().any(|header| header.value.contains("d=example.com;")), "{headers:?}");

    let path = bench.daemon.write_key("longer.pem", &second.pem);
    let fingerprint = second.public.fingerprint();
    let key = LoadedKey { domain: longer.clone(), selector: "s1".parse().unwrap(), fingerprint, path };
    signer.load(&[key]).unwrap();
    let rows = signer.rows().unwrap();
    let (name, _) = rows.loaded.iter().find(|(_, loaded)| loaded.domain.as_ref() == Some(&longer)).unwrap();
    let refused = signer.sign_with(&[(longer, vec![name.clone()])]).unwrap_err().to_string();
    assert!(refused.contains("take the row of example.com for mail of example.com.au"), "{refused}");
    assert_eq!(bench.signing_table(), before);
}

#[test]
fn mail_that_rspamd_does_not_take_for_local_is_unsigned() {
    if !available("mail_that_rspamd_does_not_take_for_local_is_unsigned") {
        return;
    }
    let mut bench = Bench::around(Rspamdd::start());
    let first = &keys()[0];
    let brief = order(first);
    assert_right(&bench.apply(order(first)), first);
    let stranger = bench.daemon.signer_seen_from("192.0.2.1");
    assert!(seen(&stranger).unwrap_err().contains("unsigned"), "{:?}", seen(&stranger));
    assert_eq!(seen(&bench.daemon.signer()), Ok("s1"));
    // Down is unknown, not unsigned.
    bench.daemon.stop();
    let report = bench.apply(DomainOrder {
        sign: vec![SignOrder { algorithm: Algorithm::Rsa, fingerprint: first.public.fingerprint() }],
        ..brief
    });
    let Verdict::Unknown { why } = &report.domains[0].signing[0].verdict else { panic!("{report:#?}") };
    assert!(why.contains("did not answer"), "{why}");
    bench.daemon.run();
    assert_right(&bench.apply(order(first)), first);
}

/// A signer whose new key disappears just before the switch.
struct Losing {
    inner: dkimctl::signers::rspamd::Rspamd,
    lost: PathBuf,
}

impl Signer for Losing {
    fn name(&self) -> &'static str {
        self.inner.name()
    }
    fn rows(&self) -> Result<dkimctl::signers::Rows, dkimctl::signers::SignerError> {
        self.inner.rows()
    }
    fn load(&self, keys: &[dkimctl::signers::LoadedKey]) -> Result<bool, dkimctl::signers::SignerError> {
        self.inner.load(keys)
    }
    fn sign_with(
        &self,
        domains: &[(SigningDomain, Vec<dkimctl::signers::KeyName>)],
    ) -> Result<bool, dkimctl::signers::SignerError> {
        let _ = fs::remove_file(&self.lost);
        self.inner.sign_with(domains)
    }
    fn unload(&self, keys: &[dkimctl::signers::KeyName]) -> Result<bool, dkimctl::signers::SignerError> {
        self.inner.unload(keys)
    }
    fn reload(&self) -> Result<(), dkimctl::signers::SignerError> {
        self.inner.reload()
    }
    fn probe(&self, domain: &SigningDomain) -> probe::Probed {
        self.inner.probe(domain)
    }
    fn accepts(&self, path: &std::path::Path) -> Result<(), Vec<dkimctl::signers::safekeys::Problem>> {
        self.inner.accepts(path)
    }
}
