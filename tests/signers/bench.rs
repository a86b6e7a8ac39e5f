//! A mail host around a real signer: a key directory, and the name servers' answers. Orders are carried out on it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
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
use crate::servers::opendkimd::OpenDkimd;
use crate::servers::rspamdd::Rspamdd;

/// A signer that runs for a test, with `keys/` and `tables/` in a directory of its own.
pub trait Daemon {
    /// How long an old answer is asked for again.
    const SETTLE: Duration;

    fn dir(&self) -> &Path;
    /// Writes a key as the daemon accepts it.
    fn write_key(&self, name: &str, pem: &str) -> PathBuf;
    fn signer(&self) -> Box<dyn Signer>;
}

impl Daemon for OpenDkimd {
    const SETTLE: Duration = Duration::from_secs(2);

    fn dir(&self) -> &Path {
        &self.dir
    }
    fn write_key(&self, name: &str, pem: &str) -> PathBuf {
        self.write_key(name, pem)
    }
    fn signer(&self) -> Box<dyn Signer> {
        Box::new(self.signer())
    }
}

impl Daemon for Rspamdd {
    const SETTLE: Duration = Duration::from_secs(20);

    fn dir(&self) -> &Path {
        &self.dir
    }
    fn write_key(&self, name: &str, pem: &str) -> PathBuf {
        self.write_key(name, pem)
    }
    fn signer(&self) -> Box<dyn Signer> {
        Box::new(self.signer())
    }
}

pub struct Bench<D> {
    pub daemon: D,
    pub dns: RefCell<HashMap<Fqdn, KeyLookup>>,
}

/// Keys in the daemon's directory, named by fingerprint.
struct Directory<'a, D>(&'a D);

impl<D: Daemon> KeyStore for Directory<'_, D> {
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
        Ok(Some(self.0.dir().join("keys").join(format!("{}.pem", fingerprint.short()))))
    }

    fn destroy(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<bool, KeyStoreError> {
        Ok(fs::remove_file(self.locate(domain, fingerprint)?.unwrap()).is_ok())
    }
}

impl<D: Daemon> Bench<D> {
    /// The records of s1 and s2 of example.com are served.
    pub fn around(daemon: D) -> Bench<D> {
        let bench = Bench { daemon, dns: RefCell::default() };
        for (selector, key) in ["s1", "s2"].iter().zip(keys()) {
            bench.serve(selector, KeyLookup::Found(key.public.record(Algorithm::Rsa)));
        }
        bench
    }

    pub fn serve(&self, selector: &str, answer: KeyLookup) {
        let name = format!("{selector}._domainkey.example.com").parse().unwrap();
        self.dns.borrow_mut().insert(name, answer);
    }

    pub fn apply(&self, order: DomainOrder) -> Report {
        self.apply_as(&*self.daemon.signer(), order)
    }

    pub fn apply_as(&self, signer: &dyn Signer, order: DomainOrder) -> Report {
        let lookup = |name: &Fqdn| self.dns.borrow().get(name).cloned().unwrap_or(KeyLookup::Missing);
        let store = Directory(&self.daemon);
        let host = Host { signer, store: &store, lookup: &lookup, settle: D::SETTLE, retry: false };
        let mut journal = Journal::open(&self.daemon.dir().join("journal.json")).unwrap();
        apply(&host, &mut journal, &HostOrder { domains: vec![order] }).unwrap()
    }

    pub fn signing_table(&self) -> String {
        fs::read_to_string(self.daemon.dir().join("tables/SigningTable")).unwrap()
    }

    pub fn key_table(&self) -> String {
        fs::read_to_string(self.daemon.dir().join("tables/KeyTable")).unwrap()
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
