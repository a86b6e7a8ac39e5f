//! `host apply`: the outbox is read, its orders are carried out, and a signed receipt is left.

use std::collections::BTreeMap;
use std::path::Path;

use dkimctl_state::lifecycle::seen::Sweep;
use dkimctl_state::name::{Fqdn, Selector, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::store::StoreError;
use dkimctl_state::store::lock::{Holder, Lock};
use dkimctl_state::time::Time;

use super::apply::{ApplyError, Host, apply};
use super::evidence::{self, Evidence};
use super::journal::{Journal, JournalError};
use super::order::{Delivered, DomainOrder as HostDomainOrder, HostOrder, Report};
use super::settings::HostSettings;
use super::targets::{self, Delivery, TargetError};
use crate::clock::Clock;
use crate::files::{Access, Dir, FileError, Owner};
use crate::observe::Sweeper;
use crate::sealing::{Identities, OpenError};
use crate::secrets::manifest::{DomainOrder, Manifest, Seen};
use crate::secrets::outbox::{Outbox, OutboxError};
use crate::secrets::receipt::{self, DomainReceipt, LastUse, Receipt, ReceiptError};
use crate::secrets::signed::{Document as _, SigningKey, SigningKeyError};
use crate::signers::Signer;
use crate::signers::probe::KeyLookup;

/// What an apply did and saw.
#[derive(Debug)]
pub struct Applied {
    pub serial: u64,
    pub report: Report,
    pub receipt: Receipt,
    /// Evidence that could not be looked at.
    pub unknown: Vec<String>,
}

/// Why nothing was applied. Whatever was done before is safe to do again.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error("the identity of this host: {0}")]
    Identity(#[from] OpenError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    #[error(transparent)]
    ReceiptKey(#[from] SigningKeyError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(
        "{0} is damaged, so it is not known which manifest was the last: remove it after checking the outbox's serial"
    )]
    Memory(String),
    #[error(transparent)]
    Lock(#[from] StoreError),
    #[error(
        "the outbox changed while it was being carried out; nothing was switched, and the next run takes the new one"
    )]
    Overtaken,
}

/// What this host remembers of manifests.
const SEEN: &str = "manifest-seen.json";
const JOURNAL: &str = "journal.json";
pub const RECEIPT_KEY: &str = "receipt.key";
/// Older receipts are removed: each answers the orders of its day, and the secure host has long read them.
const RECEIPTS_KEPT: u64 = 200;

/// Carries out what lies in the outbox.
pub fn run(
    settings: &HostSettings,
    signer: &dyn Signer,
    key_owner: Option<Owner>,
    sweeper: &dyn Sweeper,
    clock: &dyn Clock,
    retry: bool,
) -> Result<Applied, RunError> {
    let Begun { outbox, identities, _lock } = begin(settings, clock)?;
    let delivery = Delivery { settings, outbox: &outbox, identities: &identities, key_owner };
    let keys = targets::deliver(&delivery)?;

    let lookup = Lookup::new(sweeper, &outbox.manifest, clock.now());
    let host =
        Host { signer, store: &*keys, lookup: &|name: &Fqdn| lookup.key_at(name), settle: settings.settle, retry };
    // Whoever was stopped since the outbox was read may hold orders of long ago.
    let now = Outbox::open(&settings.outbox, &settings.manifest_key, &settings.name, outbox.seen.as_ref())?;
    if now.seen != outbox.seen {
        return Err(RunError::Overtaken);
    }
    let mut journal = Journal::open(&settings.state.join(JOURNAL))?;
    let order = HostOrder { domains: outbox.manifest.domains.iter().map(Into::into).collect() };
    let report = apply(&host, &mut journal, &order)?;

    let evidence = evidence::gather(&settings.evidence, chrono::Local::now());
    let receipt = leave_receipt(settings, &outbox.manifest, &report, &evidence, clock.now())?;
    Ok(Applied { serial: outbox.manifest.serial, report, receipt, unknown: evidence.unknown })
}

/// Puts the keys of the outbox where the signer opens them, and does no more: no table is touched and no receipt left. A
/// start hook for keys that live in memory only.
pub fn deliver_keys(
    settings: &HostSettings,
    key_owner: Option<Owner>,
    clock: &dyn Clock,
) -> Result<Vec<DeliveredKey>, RunError> {
    let Begun { outbox, identities, _lock } = begin(settings, clock)?;
    let delivery = Delivery { settings, outbox: &outbox, identities: &identities, key_owner };
    let store = targets::deliver(&delivery)?;
    let mut delivered = Vec::new();
    for order in &outbox.manifest.domains {
        for key in &HostDomainOrder::from(order).keys {
            let outcome = store.deliver(&order.domain, key).map_err(|error| error.to_string());
            let (domain, selector) = (order.domain.clone(), key.selector.clone());
            delivered.push(DeliveredKey { domain, selector, fingerprint: key.fingerprint, outcome });
        }
    }
    Ok(delivered)
}

/// What became of one key.
#[derive(Debug)]
pub struct DeliveredKey {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub fingerprint: Fingerprint,
    pub outcome: Result<Delivered, String>,
}

/// The orders, and what opens their keys. Nobody else carries out orders while this lives.
struct Begun {
    outbox: Outbox,
    identities: Identities,
    _lock: Lock,
}

fn begin(settings: &HostSettings, clock: &dyn Clock) -> Result<Begun, RunError> {
    let state = Dir::open_own(&settings.state, Access::mode(0o700))?;
    // Two runs at once could put an older table over a newer one.
    let lock = Lock::take(&settings.state, &Holder::here("dkimctl host apply", clock.now()))?;
    state.sweep()?;
    let last = remembered(&state)?;
    let outbox = Outbox::open(&settings.outbox, &settings.manifest_key, &settings.name, last.as_ref())?;
    if let Some(seen) = outbox.seen.as_ref().filter(|seen| last.as_ref() != Some(*seen)) {
        let json = serde_json::to_vec_pretty(seen).expect("what is remembered is JSON");
        state.replace(SEEN, &json, Access::mode(0o600))?;
        state.sync()?;
    }
    let identities = Identities::from_file(&settings.identity)?;
    Ok(Begun { outbox, identities, _lock: lock })
}

fn remembered(state: &Dir) -> Result<Option<Seen>, RunError> {
    let Some(bytes) = state.read(SEEN)? else { return Ok(None) };
    let damaged = |_| RunError::Memory(state.path().join(SEEN).display().to_string());
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

fn leave_receipt(
    settings: &HostSettings,
    manifest: &Manifest,
    report: &Report,
    evidence: &Evidence,
    now: Time,
) -> Result<Receipt, RunError> {
    let key = SigningKey::open_or_create(&settings.state.join(RECEIPT_KEY))?;
    let sequence = receipt::next_sequence(&settings.receipts, 0)?;
    let domains = report.domains.iter().filter_map(|done| {
        let order = manifest.domains.iter().find(|order| order.domain == done.domain)?;
        Some(DomainReceipt {
            domain: done.domain.clone(),
            order_digest: done.digest.clone(),
            held: done.held.clone(),
            destroyed: done.destroyed.clone(),
            signing: done.signing.clone(),
            last_use: last_use(order, evidence),
            problem: done.problem.clone(),
        })
    });
    let receipt = Receipt {
        schema: Receipt::SCHEMA,
        host: settings.name.clone(),
        lineage: manifest.lineage.clone(),
        manifest_serial: manifest.serial,
        sequence,
        time: now,
        oldest_queued: evidence.oldest_queued,
        domains: domains.collect(),
    };
    receipt::write(&settings.receipts, &receipt, &key)?;
    receipt::forget(&settings.receipts, sequence.saturating_sub(RECEIPTS_KEPT))?;
    Ok(receipt)
}

fn last_use(order: &DomainOrder, evidence: &Evidence) -> Vec<LastUse> {
    let used = |domain: &SigningDomain, selector: &Selector| {
        evidence.last_signature.get(&(domain.clone(), selector.clone())).copied()
    };
    let watched = order.watch.iter().filter_map(|watch| {
        let time = used(&order.domain, &watch.selector)?;
        Some(LastUse { fingerprint: watch.fingerprint, time, by: "the mail log".to_owned() })
    });
    watched.collect()
}

/// What the authoritative servers serve at the names of all keys of a manifest, asked in one go.
struct Lookup {
    sweeps: BTreeMap<Fqdn, Sweep>,
}

impl Lookup {
    fn new(sweeper: &dyn Sweeper, manifest: &Manifest, now: Time) -> Self {
        let signs = |order: &DomainOrder, key| order.sign.iter().any(|sign| sign.fingerprint == key);
        let names: Vec<Fqdn> = manifest
            .keys()
            .filter(|(order, key)| signs(order, key.fingerprint))
            .map(|(order, key)| key.selector.record_name(&order.domain))
            .collect();
        let sweeps = sweeper.sweep(&names, now);
        Lookup { sweeps: names.into_iter().zip(sweeps).collect() }
    }

    fn key_at(&self, name: &Fqdn) -> KeyLookup {
        let Some(sweep) = self.sweeps.get(name) else {
            return KeyLookup::Unknown(format!("{name} was not asked for"));
        };
        KeyLookup::of(sweep)
    }
}

/// The key that signs this host's receipts; made, with the state directory, if there is none yet.
pub fn receipt_key(state: &Path) -> Result<SigningKey, RunError> {
    Dir::open_own(state, Access::mode(0o700))?;
    Ok(SigningKey::open_or_create(&state.join(RECEIPT_KEY))?)
}
