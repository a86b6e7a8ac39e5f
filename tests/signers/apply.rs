//! Orders, carried out on a real OpenDKIM.

use std::fs;
use std::path::PathBuf;

use dkimctl::host::order::{DomainOrder, Report, Verdict};
use dkimctl::signers::Signer;
use dkimctl::signers::probe::KeyLookup;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Algorithm;

use crate::bench::{Bench, assert_right, order};
use crate::keys::keys;
use crate::servers::opendkimd::{OpenDkimd, Options, available};

#[track_caller]
fn assert_wrong(report: &Report, words: &[&str], was_rolled_back: bool) {
    let Verdict::Wrong { what: seen, rolled_back } = &report.domains[0].signing[0].verdict else {
        panic!("{report:#?}")
    };
    assert_eq!(*rolled_back, was_rolled_back, "{seen}");
    for word in words {
        assert!(seen.contains(word), "{word:?} is not in {seen:?}");
    }
}

#[track_caller]
fn assert_unknown(report: &Report, word: &str) {
    let Verdict::Unknown { why } = &report.domains[0].signing[0].verdict else { panic!("{report:#?}") };
    assert!(why.contains(word), "{word:?} is not in {why:?}");
}

#[test]
fn s1_to_s2_and_the_second_run_changes_nothing() {
    if !available("s1_to_s2_and_the_second_run_changes_nothing") {
        return;
    }
    for unix_socket in [false, true] {
        let bench = Bench::around(OpenDkimd::start(&Options { unix_socket, ..Options::default() }));
        let [first, second] = keys();
        let report = bench.apply(order(first));
        assert_right(&report, first);
        assert_eq!((report.writes, report.reloads), (4, 1), "two keys, two tables");

        let report = bench.apply(order(second));
        assert_right(&report, second);
        assert_eq!((report.writes, report.reloads), (1, 1), "the signing table alone");

        let report = bench.apply(order(second));
        assert_right(&report, second);
        assert_eq!((report.writes, report.reloads), (0, 0));

        let report = bench.apply(DomainOrder {
            destroy: vec![first.public.fingerprint()],
            keys: vec![second.order("s2")],
            ..order(second)
        });
        assert_right(&report, second);
        assert_eq!(report.domains[0].destroyed, [first.public.fingerprint()]);
        assert_eq!((report.writes, report.reloads), (2, 1), "the key table and the key");
        assert!(!bench.key_table().contains(":s1:"), "{}", bench.key_table());
        assert_eq!(fs::read_dir(bench.daemon.keys()).unwrap().count(), 1);
        assert_right(&bench.apply(order(second)), second);
    }
}

#[test]
fn mail_that_is_not_internal_is_wrong() {
    if !available("mail_that_is_not_internal_is_wrong") {
        return;
    }
    let bench = Bench::around(OpenDkimd::start(&Options::default()));
    let report = bench.apply_as(&bench.daemon.signer_seen_from("192.0.2.1"), order(&keys()[0]));
    // There was no row before, and an empty table is never written.
    assert_wrong(&report, &["leaves unsigned", "not internal"], false);
    assert_right(&bench.apply(order(&keys()[0])), &keys()[0]);
}

#[test]
fn a_key_that_the_signer_loses_is_rolled_back_and_the_old_one_signs() {
    if !available("a_key_that_the_signer_loses_is_rolled_back_and_the_old_one_signs") {
        return;
    }
    let bench = Bench::around(OpenDkimd::start(&Options::default()));
    let [first, second] = keys();
    assert_right(&bench.apply(order(first)), first);

    let signer = Losing { inner: bench.daemon.signer(), lost: bench.daemon.keys() };
    let before = bench.signing_table();
    let report = bench.apply_as(&signer, order(second));
    assert_wrong(&report, &["refuses mail", "rolled back: s1 signs again, and verifies"], true);
    assert_eq!(bench.signing_table(), before);

    // The same order is not tried again by itself; another one is.
    let report = bench.apply(order(second));
    assert_wrong(&report, &["not tried again"], true);
    assert_eq!((report.reloads, bench.signing_table()), (0, before));
    assert_right(&bench.apply(DomainOrder { digest: "again".into(), ..order(second) }), second);
}

#[test]
fn a_signer_that_is_down_is_unknown_and_right_when_it_is_back() {
    if !available("a_signer_that_is_down_is_unknown_and_right_when_it_is_back") {
        return;
    }
    let mut bench = Bench::around(OpenDkimd::start(&Options::default()));
    let [first, second] = keys();
    assert_right(&bench.apply(order(first)), first);
    bench.daemon.stop();
    assert_unknown(&bench.apply(order(second)), "did not answer");
    assert!(bench.signing_table().contains("s2._domainkey"), "unknown leaves the rows as they are");
    bench.daemon.run();
    assert_right(&bench.apply(order(second)), second);
}

#[test]
fn a_key_that_is_not_served_does_not_sign() {
    if !available("a_key_that_is_not_served_does_not_sign") {
        return;
    }
    let bench = Bench::around(OpenDkimd::start(&Options::default()));
    let [first, second] = keys();
    assert_right(&bench.apply(order(first)), first);
    let before = bench.signing_table();

    bench.serve("s2", KeyLookup::Missing);
    assert_wrong(&bench.apply(order(second)), &["there is no s2._domainkey.example.com", "nothing was switched"], true);
    bench.serve("s2", KeyLookup::Found(first.public.record(Algorithm::Rsa)));
    assert_wrong(&bench.apply(order(second)), &["another key", "nothing was switched"], true);
    bench.serve("s2", KeyLookup::Unknown("SERVFAIL".into()));
    assert_unknown(&bench.apply(order(second)), "SERVFAIL");
    assert_eq!(bench.signing_table(), before);

    bench.serve("s2", KeyLookup::Found(second.public.record(Algorithm::Rsa)));
    assert_right(&bench.apply(order(second)), second);
    // A record that goes away afterwards is seen, and there is nothing left to roll back to.
    bench.serve("s2", KeyLookup::Missing);
    assert_wrong(&bench.apply(order(second)), &["there is no s2._domainkey.example.com"], false);
}

#[test]
fn a_switch_that_was_killed_before_its_reload_is_finished() {
    if !available("a_switch_that_was_killed_before_its_reload_is_finished") {
        return;
    }
    let bench = Bench::around(OpenDkimd::start(&Options::default()));
    let [first, second] = keys();
    assert_right(&bench.apply(order(first)), first);
    // As a kill leaves it: the rows are new, the signer was not told.
    let new = bench.signing_table().replace(
        &format!("{}.s1", first.public.fingerprint().short()),
        &format!("{}.s2", second.public.fingerprint().short()),
    );
    fs::write(bench.daemon.signing_table(), new).unwrap();
    let report = bench.apply(order(second));
    assert_right(&report, second);
    assert_eq!((report.writes, report.reloads), (0, 1));
}

/// A signer whose keys disappear between the switch and the probe.
struct Losing {
    inner: dkimctl::signers::opendkim::OpenDkim,
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
        let lost = self.lost.join(format!("{}.pem", keys()[1].public.fingerprint().short()));
        let _ = fs::remove_file(lost);
        self.inner.sign_with(domains)
    }
    fn unload(&self, keys: &[dkimctl::signers::KeyName]) -> Result<bool, dkimctl::signers::SignerError> {
        self.inner.unload(keys)
    }
    fn reload(&self) -> Result<(), dkimctl::signers::SignerError> {
        self.inner.reload()
    }
    fn probe(&self, domain: &SigningDomain) -> dkimctl::signers::probe::Probed {
        self.inner.probe(domain)
    }
    fn accepts(&self, path: &std::path::Path) -> Result<(), Vec<dkimctl::signers::safekeys::Problem>> {
        self.inner.accepts(path)
    }
}
