//! The three parties of a rotation, on the library: the secure host, the mail host, and CI. They share two
//! directories, the outbox and the receipts.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dkimctl::advance::{Run, advance};
use dkimctl::clock::{Clock, SystemClock};
use dkimctl::dns::Dns;
use dkimctl::files::{Access, Owner};
use dkimctl::host::apply::{Host, apply};
use dkimctl::host::journal::Journal;
use dkimctl::host::order::{self, Delivered, HostOrder, KeyStore, KeyStoreError};
use dkimctl::observe::{AuthoritativeSweeper, Config as Observe, Sweeper};
use dkimctl::post::{Mailbox, Outboxes};
use dkimctl::sealing::{Identities, Recipient, host_identity};
use dkimctl::secrets::manifest::{DomainOrder, Seen};
use dkimctl::secrets::outbox::Outbox;
use dkimctl::secrets::receipt::{self, DomainReceipt, Receipt, SigningSeen, Verdict};
use dkimctl::secrets::signed::{Document, SigningKey, VerifyKey};
use dkimctl::secrets::write::{self, Outcome, Target, Written};
use dkimctl::signers::Signer;
use dkimctl::signers::probe::KeyLookup;
use dkimctl::vault::AgeVault;
use dkimctl::world::World;
use dkimctl_providers::DnsProvider;
use dkimctl_providers::rfc2136::{self, Rfc2136};
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Ledger, Phase};
use dkimctl_state::lifecycle::policy::Policy;
use dkimctl_state::lifecycle::request::{Intent, Request};
use dkimctl_state::lifecycle::seen::Answer;
use dkimctl_state::lifecycle::settings::{Settings, SlotPattern, Slots};
use dkimctl_state::name::{Fqdn, Label, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, Fingerprint};
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::store::{Change, Event, Store};

use crate::rig::{Rig, TTL, ZONE};
use crate::servers::postfix::uid_of;

const HOST: &str = "mail";

/// What may be known on the way from one party to another.
#[derive(Clone)]
pub struct Shared {
    pub outbox: PathBuf,
    pub receipts: PathBuf,
}

/// Has the state, the sealed keys and the DNS key. Cannot open what it sealed.
pub struct SecureHost {
    directory: PathBuf,
    settings: Settings,
    store: SqliteStore,
    dns: Dns,
    observe: Observe,
    recipients: Vec<Recipient>,
    manifest_key: SigningKey,
    receipt_key: VerifyKey,
    shared: Shared,
}

impl SecureHost {
    pub fn new(
        rig: &Rig,
        policy: Policy,
        nameservers: &[SocketAddr],
        recipients: Vec<Recipient>,
        receipt_key: VerifyKey,
        shared: Shared,
    ) -> SecureHost {
        let directory = rig.directory().join("secure");
        let lineage = uuid::Uuid::new_v4();
        let store = SqliteStore::create(&directory, lineage, &Options::read_write()).unwrap();
        let key = rfc2136::Key::new(fqdn(&rig.key.name), &rig.key.algorithm, &rig.key.secret).unwrap();
        let provider = Rfc2136::new(rfc2136::Config {
            server: rig.primary.address.to_string(),
            zones: vec![fqdn(ZONE)],
            key,
            timeout: Duration::from_secs(5),
        });
        let slot = |text| SlotPattern::parse(text).unwrap();
        let slots = Slots { regular: vec![slot("s1"), slot("s2")], spare: None };
        let provider_name = label("lab");
        SecureHost {
            settings: Settings {
                domain: domain(),
                slots: BTreeMap::from([(Algorithm::Rsa, slots)]),
                rsa_bits: 2048,
                ttl: TTL,
                providers: vec![provider_name.clone()],
                hosts: vec![label(HOST)],
                policy,
            },
            dns: Dns::new(BTreeMap::from([(provider_name, Box::new(provider) as Box<dyn DnsProvider>)])),
            observe: observe(nameservers),
            recipients,
            manifest_key: SigningKey::open_or_create(&directory.join("manifest.key")).unwrap(),
            receipt_key,
            directory,
            store,
            shared,
        }
    }

    pub fn manifest_key(&self) -> VerifyKey {
        self.manifest_key.verify_key()
    }

    /// `dkimctl rotate`
    pub fn rotate(&mut self) -> Run {
        let now = SystemClock.now();
        let loaded = self.store.load(&domain()).unwrap();
        let request = Request { intent: Intent::Rotate, asked: now, by: "test".to_owned(), reason: None };
        let fact = Fact::Asked { algorithm: Algorithm::Rsa, request };
        let mut ledger = loaded.ledger;
        ledger.record(&fact, now).unwrap();
        let events = vec![Event { at: now, actor: "test".to_owned(), fact }];
        self.store.commit(&[Change { ledger, revision: loaded.revision, wake: Some(now), events }]).unwrap();
        self.advance()
    }

    /// `dkimctl receipt import` and `dkimctl advance`
    pub fn advance(&mut self) -> Run {
        let identity = self.store.identity().unwrap();
        let vault = AgeVault::open(&self.directory, self.recipients.clone()).unwrap();
        let mailbox = Mailbox {
            outbox: self.shared.outbox.clone(),
            receipts: self.shared.receipts.clone(),
            receipt_key: Some(self.receipt_key.clone()),
            here: None,
        };
        let post = Outboxes {
            hosts: BTreeMap::from([(label(HOST), mailbox)]),
            lineage: identity.lineage.to_string(),
            floor: identity.serial,
            key: &self.manifest_key,
            vault: &vault,
            clock: &SystemClock,
            complaints: Default::default(),
        };
        dkimctl::receipts::import(&mut self.store, &post, &label(HOST), "test").unwrap();
        let sweeper = AuthoritativeSweeper::new(self.observe.clone());
        let world = World { clock: &SystemClock, vault: &vault, dns: &self.dns, sweeper: &sweeper, post: &post };
        let run = advance(&world, &mut self.store, &[&self.settings], "test", &()).unwrap();
        assert!(post.complaints.borrow().is_empty(), "{:?}", post.complaints.borrow());
        run
    }

    pub fn ledger(&self) -> Ledger {
        self.store.load(&domain()).unwrap().ledger
    }

    /// The phase of the key that has this selector.
    pub fn phase(&self, selector: &str) -> Option<Phase> {
        self.ledger().keys().find(|(_, key)| key.selector.as_str() == selector).map(|(phase, _)| phase)
    }

    /// How many sealed keys lie in the vault.
    pub fn sealed(&self) -> usize {
        fs::read_dir(self.directory.join("blobs")).unwrap().count()
    }
}

/// Has its own identity, the signer's tables and keys. Knows no DNS key and no state.
pub struct MailHost {
    identities: Identities,
    pub recipient: Recipient,
    receipt_key: SigningKey,
    observe: Observe,
    last: Option<Seen>,
    directory: PathBuf,
    shared: Shared,
}

impl MailHost {
    pub fn new(rig: &Rig, nameservers: &[SocketAddr], shared: Shared) -> MailHost {
        let directory = rig.directory().join("mail");
        fs::create_dir(&directory).unwrap();
        let (identity, recipient) = host_identity();
        MailHost {
            identities: Identities::from_text("the mail host's identity", identity.as_bytes()).unwrap(),
            recipient,
            receipt_key: SigningKey::open_or_create(&directory.join("receipt.key")).unwrap(),
            observe: observe(nameservers),
            last: None,
            directory,
            shared,
        }
    }

    pub fn receipt_key(&self) -> VerifyKey {
        self.receipt_key.verify_key()
    }

    /// `dkimctl host apply`
    pub fn apply(&mut self, rig: &Rig, manifest_key: &VerifyKey) {
        if !self.shared.outbox.join("manifest.signed").exists() {
            return;
        }
        let host = label(HOST);
        let outbox = Outbox::open(&self.shared.outbox, manifest_key, &host, self.last.as_ref()).unwrap();
        let uid = uid_of("opendkim");
        let gid = nix::unistd::User::from_name("opendkim").unwrap().unwrap().gid.as_raw();
        let access = Access { mode: 0o400, owner: Some(Owner { uid, gid }) };
        let target = Target { dir: rig.signer.keys(), access };
        let written = write::write(&outbox, &self.identities, &target, None).unwrap();
        let store = Keys { orders: &outbox.manifest.domains, dir: &target.dir, written };
        let sweeper = AuthoritativeSweeper::new(self.observe.clone());
        let lookup = |name: &Fqdn| look_up(&sweeper, name);
        let signer = rig.signer.signer();
        let host_side = Host {
            signer: &signer as &dyn Signer,
            store: &store,
            lookup: &lookup,
            settle: Duration::from_secs(5),
            retry: false,
        };
        let orders = HostOrder { domains: outbox.manifest.domains.iter().map(ordered).collect() };
        let mut journal = Journal::open(&self.directory.join("journal.json")).unwrap();
        let report = apply(&host_side, &mut journal, &orders).unwrap();
        let receipt = Receipt {
            schema: Receipt::SCHEMA,
            host,
            lineage: outbox.manifest.lineage.clone(),
            manifest_serial: outbox.manifest.serial,
            sequence: receipt::next_sequence(&self.shared.receipts, 0).unwrap(),
            time: SystemClock.now(),
            domains: report.domains.into_iter().map(answered).collect(),
        };
        receipt::write(&self.shared.receipts, &receipt, &self.receipt_key).unwrap();
        self.last = outbox.seen;
    }
}

/// Has its own identity and reads the outbox, and nothing else.
pub struct Ci {
    identities: Identities,
    pub recipient: Recipient,
    target: Target,
}

impl Ci {
    pub fn new(rig: &Rig) -> Ci {
        let (identity, recipient) = host_identity();
        let target = Target { dir: rig.directory().join("ci-secrets"), access: Access::mode(0o400) };
        let identities = Identities::from_text("the identity of CI", identity.as_bytes()).unwrap();
        Ci { identities, recipient, target }
    }

    /// `dkimctl secrets write`: the paths of the files.
    pub fn write_secrets(&self, shared: &Shared, manifest_key: &VerifyKey) -> Vec<PathBuf> {
        let outbox = Outbox::open_signed(&shared.outbox, manifest_key).unwrap();
        let written = write::write(&outbox, &self.identities, &self.target, None).unwrap();
        assert!(written.iter().all(|w| matches!(w.outcome, Outcome::Written | Outcome::Already)), "{written:?}");
        written.into_iter().map(|w| w.path).collect()
    }
}

/// The mail host's key directory.
struct Keys<'a> {
    orders: &'a [DomainOrder],
    dir: &'a Path,
    written: Vec<Written>,
}

impl KeyStore for Keys<'_> {
    fn deliver(&self, _: &SigningDomain, key: &order::KeyOrder) -> Result<Delivered, KeyStoreError> {
        let written = self.written.iter().find(|w| w.fingerprint == key.fingerprint).unwrap();
        let path = written.path.clone();
        match &written.outcome {
            Outcome::Written => Ok(Delivered { path, wrote: true }),
            Outcome::Already | Outcome::Repaired => Ok(Delivered { path, wrote: false }),
            Outcome::Refused(why) => Err(KeyStoreError::new(why.to_string())),
        }
    }

    fn locate(&self, domain: &SigningDomain, key: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError> {
        let ending = format!("-{}.private", key.short());
        let entries = fs::read_dir(self.dir.join(domain.as_str())).map_err(KeyStoreError::new)?;
        let mut paths = entries.map(|entry| entry.unwrap().path());
        Ok(paths.find(|path| path.to_string_lossy().ends_with(&ending)))
    }

    fn destroy(&self, domain: &SigningDomain, key: Fingerprint) -> Result<bool, KeyStoreError> {
        let order = self.orders.iter().find(|order| order.domain == *domain).unwrap();
        let destroyed = write::destroy(self.dir, order).into_iter().find(|d| d.fingerprint == key).unwrap();
        destroyed.outcome.map_err(KeyStoreError::new)?;
        Ok(!destroyed.paths.is_empty())
    }
}

fn ordered(order: &DomainOrder) -> order::DomainOrder {
    let key = |key: &dkimctl::secrets::manifest::KeyOrder| order::KeyOrder {
        fingerprint: key.fingerprint,
        selector: key.selector.clone(),
        algorithm: key.algorithm,
        public: key.public.clone(),
    };
    let sign = |sign: &dkimctl::secrets::manifest::SignOrder| order::SignOrder {
        algorithm: sign.algorithm,
        fingerprint: sign.fingerprint,
    };
    order::DomainOrder {
        domain: order.domain.clone(),
        digest: order.digest(),
        keys: order.keys.iter().map(key).collect(),
        sign: order.sign.iter().map(sign).collect(),
        destroy: order.destroy.clone(),
    }
}

fn answered(report: order::DomainReport) -> DomainReceipt {
    let seen = |seen: order::SigningSeen| SigningSeen {
        algorithm: seen.algorithm,
        verdict: match seen.verdict {
            order::Verdict::Right { fingerprint } => Verdict::Right { fingerprint },
            order::Verdict::Wrong { seen, rolled_back } => Verdict::Wrong { what: seen, rolled_back },
            order::Verdict::Unknown { why } => Verdict::Unknown { why },
        },
    };
    DomainReceipt {
        domain: report.domain,
        order_digest: report.digest,
        held: report.held,
        destroyed: report.destroyed,
        signing: report.signing.into_iter().map(seen).collect(),
        last_use: Vec::new(),
        problem: report.problem,
    }
}

fn look_up(sweeper: &AuthoritativeSweeper, name: &Fqdn) -> KeyLookup {
    let sweep = sweeper.sweep(std::slice::from_ref(name), SystemClock.now()).remove(0);
    let mut found = None;
    for server in sweep.answers {
        match server.answer {
            Answer::Txt { texts, .. } => found = texts.into_iter().next(),
            Answer::Absent => return KeyLookup::Missing,
            Answer::Unknown(why) => return KeyLookup::Unknown(why),
        }
    }
    found.map_or(KeyLookup::Missing, KeyLookup::Found)
}

fn observe(nameservers: &[SocketAddr]) -> Observe {
    Observe { nameservers: BTreeMap::from([(fqdn(ZONE), nameservers.to_vec())]), ..Observe::default() }
}

pub fn domain() -> SigningDomain {
    ZONE.parse().unwrap()
}

fn fqdn(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}
