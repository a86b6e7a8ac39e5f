//! A secure host and a mail host in one temporary directory, for tests.

use std::path::PathBuf;

use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::time::Time;

use super::manifest::{DomainOrder, KeyOrder, SignOrder};
use super::outbox::{self, Change, Orders, Outbox, OutboxError};
use super::signed::SigningKey;
use super::write::Target;
use crate::files::Access;
use crate::keygen::KeyKind;
use crate::sealing::{Identities, host_identity};
use crate::vault::{AgeVault, NewKey, Vault as _};

pub const NOW: Time = Time::from_unix(1_795_000_000);

pub struct Hosts {
    pub temp: tempfile::TempDir,
    pub vault: AgeVault,
    pub key: SigningKey,
    pub identity: Identities,
    pub orders: Orders,
}

impl Hosts {
    /// One domain, `example.com`, with an idle key `s1` and a signing key `s2`.
    pub fn new() -> Hosts {
        let temp = tempfile::tempdir().unwrap();
        let (text, to) = host_identity();
        let vault = AgeVault::open(temp.path(), vec![to]).unwrap();
        let identity = Identities::from_text("the host's identity", text.as_bytes()).unwrap();
        let orders = Orders {
            lineage: "7f1e0d3a-54f6-4a53-9f0c-6f1a1c1f7a11".into(),
            host: "mx1".parse().unwrap(),
            domains: Vec::new(),
            last_serial: 0,
        };
        let mut hosts = Hosts { temp, vault, key: SigningKey::generate(), identity, orders };
        let keys = [hosts.make("s1"), hosts.make("s2")];
        let sign = SignOrder { algorithm: keys[1].algorithm, fingerprint: keys[1].fingerprint };
        let domain = "example.com".parse().unwrap();
        hosts.orders.domains =
            vec![DomainOrder { domain, since: 1, keys: keys.into(), sign: vec![sign], destroy: vec![], watch: vec![] }];
        hosts
    }

    /// A new key in the vault.
    pub fn make(&self, selector: &str) -> KeyOrder {
        let selector: dkimctl_state::name::Selector = selector.parse().unwrap();
        let new = NewKey { domain: "example.com".parse().unwrap(), selector: selector.clone(), kind: KeyKind::Ed25519 };
        let made = self.vault.create(&[new]).pop().unwrap().unwrap();
        KeyOrder::new(selector, made.algorithm, made.public, made.blob_sha256)
    }

    pub fn outbox(&self) -> PathBuf {
        self.temp.path().join("outbox")
    }

    pub fn write(&self) -> Result<Change, OutboxError> {
        outbox::write(&self.outbox(), &self.orders, &self.vault, &self.key, NOW)
    }

    pub fn open(&self) -> Outbox {
        Outbox::open(&self.outbox(), &self.key.verify_key(), &self.orders.host, None).unwrap()
    }

    pub fn order(&mut self) -> &mut DomainOrder {
        &mut self.orders.domains[0]
    }

    pub fn fingerprint(&self, index: usize) -> Fingerprint {
        self.orders.domains[0].keys[index].fingerprint
    }

    pub fn target(&self) -> Target {
        Target { dir: self.temp.path().join("keys"), access: Access::mode(0o400) }
    }
}
