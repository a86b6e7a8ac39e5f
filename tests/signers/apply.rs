//! Orders, carried out on a real OpenDKIM.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use dkimctl::host::apply::{Host, apply};
use dkimctl::host::journal::Journal;
use dkimctl::host::order::{
    Delivered, DomainOrder, HostOrder, KeyOrder, KeyStore, KeyStoreError, Report, SignOrder, Verdict,
};
use dkimctl::signers::Signer;
use dkimctl::signers::probe::KeyLookup;
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, Fingerprint};

use crate::keys::{Key, keys};
use crate::servers::opendkimd::{OpenDkimd, Options, available};

/// A mail host: OpenDKIM, a key directory, and the name servers' answers.
pub struct Bench {
    pub daemon: OpenDkimd,
    pub dns: RefCell<HashMap<Fqdn, KeyLookup>>,
}

/// Keys in the daemon's directory, named by fingerprint.
struct Directory<'a>(&'a OpenDkimd);

impl KeyStore for Directory<'_> {
    fn deliver(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError> {
        let path = self.locate(domain, key.fingerprint)?.unwrap();
        let wrote = !path.exists();
        if wrote {
            let known = keys().iter().find(|known| known.public == key.public).unwrap();
            self.0.write_key(path.file_name().unwrap().to_str().unwrap(), &known.pem);
        }
        Ok(Delivered { path, wrote })
    }

    fn locate(&self, _: &SigningDomain, fingerprint: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError> {
        Ok(Some(self.0.keys().join(format!("{}.pem", fingerprint.short()))))
    }

    fn destroy(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<bool, KeyStoreError> {
        Ok(fs::remove_file(self.locate(domain, fingerprint)?.unwrap()).is_ok())
    }
}

impl Bench {
    /// s1 signs for example.com, and both key records are served.
    pub fn start(options: Options) -> Bench {
        let bench = Bench { daemon: OpenDkimd::start(&options), dns: RefCell::default() };
        bench.serve("s1", KeyLookup::Found(keys()[0].public.record(Algorithm::Rsa)));
        bench.serve("s2", KeyLookup::Found(keys()[1].public.record(Algorithm::Rsa)));
        bench
    }

    pub fn serve(&self, selector: &str, answer: KeyLookup) {
        let name = format!("{selector}._domainkey.example.com").parse().unwrap();
        self.dns.borrow_mut().insert(name, answer);
    }

    pub fn apply(&self, order: DomainOrder) -> Report {
        self.apply_as(&self.daemon.signer(), order)
    }

    pub fn apply_as(&self, signer: &dyn Signer, order: DomainOrder) -> Report {
        let lookup = |name: &Fqdn| self.dns.borrow().get(name).cloned().unwrap_or(KeyLookup::Missing);
        let store = Directory(&self.daemon);
        let settle = Duration::from_secs(2);
        let host = Host { signer, store: &store, lookup: &lookup, settle, retry: false };
        let mut journal = Journal::open(&self.daemon.dir.join("journal.json")).unwrap();
        apply(&host, &mut journal, &HostOrder { domains: vec![order] }).unwrap()
    }

    pub fn signing_table(&self) -> String {
        fs::read_to_string(self.daemon.signing_table()).unwrap()
    }

    pub fn key_table(&self) -> String {
        fs::read_to_string(self.daemon.key_table()).unwrap()
    }
}

/// An order: hold both keys, sign with one.
pub fn order(sign: &Key) -> DomainOrder {
    let held = [keys()[0].order("s1"), keys()[1].order("s2")];
    DomainOrder {
        domain: "example.com".parse().unwrap(),
        digest: format!("sign with {}", sign.public.fingerprint()),
        keys: held.to_vec(),
        sign: vec![SignOrder { algorithm: Algorithm::Rsa, fingerprint: sign.public.fingerprint() }],
        destroy: Vec::new(),
    }
}

#[track_caller]
pub fn assert_right(report: &Report, key: &Key) {
    let fingerprint = key.public.fingerprint();
    assert_eq!(report.domains[0].problem, None, "{report:#?}");
    assert_eq!(report.domains[0].signing[0].verdict, Verdict::Right { fingerprint }, "{report:#?}");
}

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
        let bench = Bench::start(Options { unix_socket, ..Options::default() });
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
    let bench = Bench::start(Options::default());
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
    let bench = Bench::start(Options::default());
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
    let mut bench = Bench::start(Options::default());
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
    let bench = Bench::start(Options::default());
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
    let bench = Bench::start(Options::default());
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
