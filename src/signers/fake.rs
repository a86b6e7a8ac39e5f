//! A signer for tests: tables on a disk, a daemon that reads them lazily, keys as files, and a kill at any instant.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, Fingerprint, PublicKey};
use dkimctl_state::time::Time;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey;
use mail_auth::common::crypto::Ed25519Key;
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;

use super::milter::{Answer, Header};
use super::probe::{self, KeyLookup, Probed};
use super::safekeys::Problem;
use super::{KeyName, Loaded, LoadedKey, Rows, Signer, SignerError};
use crate::host::order::{Delivered, KeyOrder, KeyStore, KeyStoreError};

/// The key of a number, so that every test has as many as it likes.
pub fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub fn public(number: u8) -> PublicKey {
    PublicKey::from_bytes(key(number).verifying_key().to_bytes())
}

/// A mail host in memory: signer, key store and name servers.
#[derive(Default)]
pub struct FakeHost {
    disk: RefCell<Rows>,
    running: RefCell<Rows>,
    told: Cell<bool>,
    pub files: RefCell<BTreeMap<PathBuf, u8>>,
    pub records: RefCell<BTreeMap<Fqdn, KeyLookup>>,
    /// Instants until the kill; `None`: no kill.
    pub fuse: Cell<Option<u32>>,
    pub down: Cell<bool>,
    /// How many probes find nobody yet, as in a container that has just started.
    pub starts_after: Cell<u32>,
    /// Domains for which the signer refuses rows.
    pub refuses: RefCell<Vec<SigningDomain>>,
}

/// What a kill unwinds with.
pub struct Killed;

impl FakeHost {
    /// One instant between two steps. Nothing after it happens when the fuse is burnt.
    fn instant(&self) {
        match self.fuse.get() {
            Some(0) => resume_unwind(Box::new(Killed)),
            Some(left) => self.fuse.set(Some(left - 1)),
            None => {}
        }
    }

    fn write(&self, change: impl FnOnce(&mut Rows)) -> Result<bool, SignerError> {
        self.instant();
        let before = self.disk.borrow().clone();
        change(&mut self.disk.borrow_mut());
        let changed = before != *self.disk.borrow();
        self.instant();
        Ok(changed)
    }

    /// How the daemon signs now, whether or not it was told to read its tables again.
    pub fn sign(&self, domain: &SigningDomain) -> Probed {
        let message = probe::message(domain, Time::from_unix(1_795_341_270));
        if self.down.get() {
            return Probed { message, answer: Answer::NoAnswer { why: "connection refused".into() } };
        }
        let running = self.running.borrow();
        let Some(name) = running.signing(domain).first() else {
            return Probed { message, answer: Answer::Passed(vec![]) };
        };
        let file = running.loaded.get(name).and_then(|loaded| Some((loaded, loaded.path.as_ref()?)));
        let number = file.and_then(|(_, path)| self.files.borrow().get(path).copied());
        let (Some((loaded, _)), Some(number)) = (file, number) else {
            let reply = "451 4.7.1 (temporary failure)".into();
            return Probed { message, answer: Answer::Refused { at: "the end of the header", reply } };
        };
        let selector = loaded.selector.as_ref().unwrap().as_str();
        let der = key(number).to_pkcs8_der().unwrap();
        let signer = DkimSigner::from_key(Ed25519Key::from_pkcs8_maybe_unchecked_der(der.as_bytes()).unwrap())
            .domain(domain.as_str())
            .selector(selector)
            .headers(["From", "To", "Subject"]);
        let raw: String = message.headers.iter().map(|h| format!("{}:{}\r\n", h.name, h.value)).collect();
        let raw = [raw.as_bytes(), b"\r\n", &message.body].concat();
        let signature = signer.sign(&raw).unwrap().to_header();
        let (name, value) = signature.trim_end().split_once(':').unwrap();
        let added = Header { name: name.into(), value: value.into() };
        Probed { message, answer: Answer::Passed(vec![added]) }
    }
}

impl Signer for FakeHost {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn rows(&self) -> Result<Rows, SignerError> {
        Ok(self.disk.borrow().clone())
    }

    fn load(&self, keys: &[LoadedKey]) -> Result<bool, SignerError> {
        self.write(|rows| {
            for key in keys {
                let name = KeyName::new(format!("{} {}", key.domain, key.fingerprint.short()));
                let loaded = Loaded {
                    domain: Some(key.domain.clone()),
                    selector: Some(key.selector.clone()),
                    path: Some(key.path.clone()),
                };
                rows.loaded.insert(name, loaded);
            }
        })
    }

    fn sign_with(&self, domains: &[(SigningDomain, Vec<KeyName>)]) -> Result<bool, SignerError> {
        if domains.iter().any(|(domain, _)| self.refuses.borrow().contains(domain)) {
            return Err(SignerError::new("a row comes first"));
        }
        for name in domains.iter().flat_map(|(_, names)| names) {
            assert!(self.disk.borrow().loaded.contains_key(name), "a row never names a key that is not loaded");
        }
        self.write(|rows| rows.signing.extend(domains.iter().cloned()))
    }

    fn unload(&self, keys: &[KeyName]) -> Result<bool, SignerError> {
        let used = |name: &KeyName| self.disk.borrow().signing.values().flatten().any(|used| used == name);
        if keys.iter().any(used) {
            return Err(SignerError::new("a row still signs with it"));
        }
        self.write(|rows| rows.loaded.retain(|name, _| !keys.contains(name)))
    }

    fn reload(&self) -> Result<(), SignerError> {
        self.instant();
        self.told.set(true);
        self.instant();
        Ok(())
    }

    fn probe(&self, domain: &SigningDomain) -> Probed {
        self.instant();
        if let Some(left) = self.starts_after.get().checked_sub(1) {
            self.starts_after.set(left);
            let message = probe::message(domain, Time::from_unix(1_795_341_270));
            return Probed { message, answer: Answer::NoAnswer { why: "no such file".into() } };
        }
        if self.told.take() {
            *self.running.borrow_mut() = self.disk.borrow().clone();
        }
        self.sign(domain)
    }

    fn accepts(&self, _: &Path) -> Result<(), Vec<Problem>> {
        Ok(())
    }
}

impl KeyStore for FakeHost {
    fn deliver(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError> {
        self.instant();
        let path = self.locate(domain, key.fingerprint)?.unwrap();
        let number = (0..=u8::MAX).find(|number| public(*number) == key.public).unwrap();
        let wrote = self.files.borrow_mut().insert(path.clone(), number).is_none();
        self.instant();
        Ok(Delivered { path, wrote })
    }

    fn locate(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError> {
        Ok(Some(format!("/keys/{domain}/{}", fingerprint.short()).into()))
    }

    fn destroy(&self, domain: &SigningDomain, fingerprint: Fingerprint) -> Result<bool, KeyStoreError> {
        self.instant();
        let path = self.locate(domain, fingerprint)?.unwrap();
        let gone = self.files.borrow_mut().remove(&path).is_some();
        self.instant();
        Ok(gone)
    }
}

/// A key that is to be held, under a selector.
pub fn key_order(number: u8, selector: &str) -> KeyOrder {
    KeyOrder {
        fingerprint: public(number).fingerprint(),
        selector: selector.parse().unwrap(),
        algorithm: Algorithm::Ed25519,
        public: public(number),
    }
}
