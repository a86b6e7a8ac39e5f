//! How orders reach the mail hosts, and how their proofs come back: an outbox and a directory of receipts per host.
//!
//! The secure host never logs in anywhere. It writes a signed manifest and sealed blobs into the host's outbox; the
//! host (or CI) fetches them, acts, and leaves a signed receipt; how the two directories travel is the operator's
//! affair. A signer on this machine is the same path with the outbox on the same disk: then the host's side runs in
//! the same breath.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Incoming, Key, Ledger, Outgoing, Phase};
use dkimctl_state::lifecycle::plan::signing_keys;
use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;

use crate::clock::Clock;
use crate::secrets::manifest::{DomainOrder, KeyOrder, Manifest, SignOrder, WatchOrder};
use crate::secrets::outbox::{self, Change, Orders};
use crate::secrets::receipt::{self, DomainReceipt, Receipt, Verdict};
use crate::secrets::signed::{SigningKey, VerifyKey};
use crate::vault::Vault;

/// What each host proved about each domain.
pub type Proofs = BTreeMap<SigningDomain, Vec<Fact>>;

/// The way to the mail hosts.
pub trait Post {
    /// Makes the host's orders say what these ledgers say, and what it is to destroy. Returns what the host has proved
    /// about these domains: at once where it is this machine, and when its receipts arrive where it is another.
    fn instruct(&self, host: &Label, domains: &[(&Ledger, Vec<Fingerprint>)]) -> Result<Proofs, PostError>;
}

/// Why a host's orders could not be written, or its answers not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PostError {
    #[error("no [signer.{0}] is configured")]
    NoSuchHost(Label),
    #[error("the outbox of {host}: {why}")]
    Outbox { host: Label, why: String },
    #[error("the receipts of {host}: {why}")]
    Receipts { host: Label, why: String },
    #[error("{host}: {why}")]
    Host { host: Label, why: String },
}

/// One mail host, as the secure host knows it.
pub struct Mailbox {
    pub outbox: PathBuf,
    /// Where the host's receipts arrive.
    pub receipts: PathBuf,
    /// The key that its receipts must be signed with; `None` until one was pinned, and then none is believed.
    pub receipt_key: Option<VerifyKey>,
    /// Runs the host's side here and now, when the host is this machine.
    pub here: Option<Box<dyn Fn() -> Result<(), String>>>,
}

/// Outboxes and receipts on disk.
pub struct Outboxes<'a> {
    pub hosts: BTreeMap<Label, Mailbox>,
    pub lineage: String,
    /// The serial of the state: a manifest's serial never falls below it, even if the outbox is lost.
    pub floor: u64,
    pub key: &'a SigningKey,
    pub vault: &'a dyn Vault,
    pub clock: &'a dyn Clock,
    /// What was not believed, for people.
    pub complaints: RefCell<Vec<String>>,
}

impl Post for Outboxes<'_> {
    fn instruct(&self, host: &Label, domains: &[(&Ledger, Vec<Fingerprint>)]) -> Result<Proofs, PostError> {
        let mailbox = self.hosts.get(host).ok_or_else(|| PostError::NoSuchHost(host.clone()))?;
        let (orders, _) = self.write(host, mailbox, domains)?;
        if let Some(act) = &mailbox.here {
            act().map_err(|why| PostError::Host { host: host.clone(), why })?;
        }
        self.read(host, mailbox, &orders, domains)
    }
}

impl Outboxes<'_> {
    /// Writes the orders of these domains between those of the others. Returns the orders that now lie there.
    fn write(
        &self,
        host: &Label,
        mailbox: &Mailbox,
        domains: &[(&Ledger, Vec<Fingerprint>)],
    ) -> Result<(Vec<DomainOrder>, Change), PostError> {
        let there = self.there(mailbox);
        let serial = there.as_ref().map_or(0, |manifest| manifest.serial).max(self.floor) + 1;
        let mut orders: BTreeMap<SigningDomain, DomainOrder> = there
            .into_iter()
            .filter(|manifest| manifest.lineage == self.lineage && manifest.host == *host)
            .flat_map(|manifest| manifest.domains)
            .map(|order| (order.domain.clone(), order))
            .collect();
        for (ledger, destroy) in domains {
            let mut destroy = destroy.clone();
            let pending = orders.get(&ledger.domain).map(|known| known.destroy.as_slice()).unwrap_or_default();
            destroy.extend(pending.iter().filter(|key| to_destroy(ledger, host, key)));
            let order = order_for(ledger, host, &destroy, serial);
            match orders.get(&ledger.domain) {
                Some(known) if known.asks_the_same(&order) => {}
                _ => {
                    orders.insert(ledger.domain.clone(), order);
                }
            }
        }
        let orders = Orders {
            lineage: self.lineage.clone(),
            host: host.clone(),
            domains: orders.into_values().collect(),
            last_serial: serial - 1,
        };
        let change = outbox::write(&mailbox.outbox, &orders, self.vault, self.key, self.clock.now())
            .map_err(|why| PostError::Outbox { host: host.clone(), why: why.to_string() })?;
        Ok((orders.domains, change))
    }

    /// Writes a host's orders anew, from these ledgers alone if the outbox was lost, and runs the host's side if it is
    /// this machine. What was to be destroyed is known by our own copy being destroyed.
    pub fn deliver(&self, host: &Label, ledgers: &[Ledger]) -> Result<Change, PostError> {
        let mailbox = self.hosts.get(host).ok_or_else(|| PostError::NoSuchHost(host.clone()))?;
        let left = |ledger: &Ledger| {
            let outgoing = ledger.lines.values().flat_map(|line| &line.outgoing).map(Outgoing::key);
            let left = outgoing.filter(|key| key.shredded.is_some() && !key.wiped.contains_key(host));
            left.map(|key| key.fingerprint).collect()
        };
        let domains: Vec<(&Ledger, Vec<Fingerprint>)> = ledgers.iter().map(|ledger| (ledger, left(ledger))).collect();
        let (_, change) = self.write(host, mailbox, &domains)?;
        if let Some(act) = &mailbox.here {
            act().map_err(|why| PostError::Host { host: host.clone(), why })?;
        }
        Ok(change)
    }

    /// The orders that lie in a host's outbox now.
    pub fn orders(&self, mailbox: &Mailbox) -> Vec<DomainOrder> {
        let ours = |manifest: &Manifest| manifest.lineage == self.lineage;
        self.there(mailbox).filter(ours).map(|manifest| manifest.domains).unwrap_or_default()
    }

    fn there(&self, mailbox: &Mailbox) -> Option<Manifest> {
        outbox::Outbox::open_signed(&mailbox.outbox, &self.key.verify_key()).ok().map(|outbox| outbox.manifest)
    }

    fn read(
        &self,
        host: &Label,
        mailbox: &Mailbox,
        orders: &[DomainOrder],
        domains: &[(&Ledger, Vec<Fingerprint>)],
    ) -> Result<Proofs, PostError> {
        let receipts = self.receipts(host, mailbox)?;
        let mut proofs = Proofs::new();
        for (ledger, _) in domains {
            let Some(order) = orders.iter().find(|order| order.domain == ledger.domain) else { continue };
            proofs.insert(ledger.domain.clone(), proved(host, ledger, order, &receipts));
            self.complaints.borrow_mut().extend(trouble(host, order, &receipts));
        }
        Ok(proofs)
    }

    /// The receipts that are believed, oldest first.
    pub fn receipts(&self, host: &Label, mailbox: &Mailbox) -> Result<Vec<Receipt>, PostError> {
        let Some(pinned) = &mailbox.receipt_key else { return Ok(Vec::new()) };
        if !mailbox.receipts.exists() {
            return Ok(Vec::new());
        }
        let read = receipt::read_new(&mailbox.receipts, pinned, host, &self.lineage, 0)
            .map_err(|why| PostError::Receipts { host: host.clone(), why: why.to_string() })?;
        let (good, bad): (Vec<_>, Vec<_>) = read.into_iter().partition(Result::is_ok);
        self.complaints.borrow_mut().extend(bad.into_iter().filter_map(|bad| bad.err()).map(|why| why.to_string()));
        Ok(good.into_iter().flatten().collect())
    }
}

/// What a host is to do for one domain now: a function of the facts alone.
pub fn order_for(ledger: &Ledger, host: &Label, destroy: &[Fingerprint], serial: u64) -> DomainOrder {
    let order =
        |key: &Key| KeyOrder::new(key.selector.clone(), key.algorithm, key.public.clone(), key.blob_sha256.clone());
    let mut keys = Vec::new();
    let mut gone: Vec<Fingerprint> = destroy.to_vec();
    for line in ledger.lines.values() {
        match &line.incoming {
            Some(Incoming::Propagated(p)) => keys.push(order(&p.key)),
            Some(Incoming::Switching(s)) => keys.push(order(&s.key)),
            Some(Incoming::Published(p)) if p.tried.is_some() => keys.push(order(&p.key)),
            Some(Incoming::Sealed(_) | Incoming::Published(_)) | None => {}
        }
        keys.extend(line.active.iter().map(|active| order(&active.key)));
        for outgoing in &line.outgoing {
            let key = outgoing.key();
            let kept =
                matches!(outgoing, Outgoing::Retiring(_)) && key.shredded.is_none() && !key.wiped.contains_key(host);
            if kept && !gone.contains(&key.fingerprint) {
                keys.push(order(key));
            }
        }
    }
    gone.sort();
    gone.dedup();
    let retiring = ledger.keys().filter(|(phase, _)| *phase == Phase::Retiring).map(|(_, key)| key);
    let watch =
        retiring.map(|key| WatchOrder { fingerprint: key.fingerprint, selector: key.selector.clone() }).collect();
    let sign =
        signing_keys(ledger).map(|key| SignOrder { algorithm: key.algorithm, fingerprint: key.fingerprint }).collect();
    DomainOrder { domain: ledger.domain.clone(), since: serial, keys, sign, destroy: gone, watch }
}

/// A copy that was ordered destroyed stays ordered so until the host has proved it, or the key is recalled.
fn to_destroy(ledger: &Ledger, host: &Label, key: &Fingerprint) -> bool {
    ledger
        .lines
        .values()
        .flat_map(|line| &line.outgoing)
        .any(|outgoing| outgoing.key().fingerprint == *key && !outgoing.key().wiped.contains_key(host))
}

/// The facts in a host's receipts: only those that answer exactly the order that lies in its outbox now.
pub fn proved(host: &Label, ledger: &Ledger, order: &DomainOrder, receipts: &[Receipt]) -> Vec<Fact> {
    let digest = order.digest();
    let mut facts = Vec::new();
    for receipt in receipts {
        for answer in receipt.domains.iter().filter(|answer| answer.domain == order.domain) {
            facts.extend(uses(host, ledger, receipt, answer));
            if answer.order_digest == digest {
                facts.extend(answered(host, ledger, order, answer));
            }
        }
    }
    facts
}

/// What the host's latest answer to this very order says is in the way.
fn trouble(host: &Label, order: &DomainOrder, receipts: &[Receipt]) -> Option<String> {
    let digest = order.digest();
    let latest =
        receipts.iter().rev().flat_map(|receipt| &receipt.domains).find(|answer| answer.order_digest == digest)?;
    let unknown = latest.signing.iter().find_map(|seen| match &seen.verdict {
        Verdict::Unknown { why } => Some(why.clone()),
        Verdict::Wrong { what, .. } => Some(what.clone()),
        Verdict::Right { .. } => None,
    });
    latest.problem.clone().or(unknown).map(|why| format!("{host}: {}: {why}", order.domain))
}

fn answered(host: &Label, ledger: &Ledger, order: &DomainOrder, answer: &DomainReceipt) -> Vec<Fact> {
    let host = || host.clone();
    let mut facts: Vec<Fact> = Vec::new();
    facts.extend(answer.held.iter().map(|key| Fact::Delivered { key: *key, host: host() }));
    facts.extend(answer.destroyed.iter().map(|key| Fact::Wiped { key: *key, host: host() }));
    for seen in &answer.signing {
        let ordered = order.sign.iter().find(|sign| sign.algorithm == seen.algorithm).map(|sign| sign.fingerprint);
        let switching = ledger.lines.get(&seen.algorithm).and_then(|line| match &line.incoming {
            Some(Incoming::Switching(switching)) => Some(switching),
            _ => None,
        });
        match (&seen.verdict, switching) {
            (Verdict::Right { fingerprint }, Some(s)) if s.refused.is_some() && Some(*fingerprint) == ordered => {
                facts.push(Fact::TurnedBack { key: s.key.fingerprint, host: host() });
            }
            (Verdict::Right { fingerprint }, _) if Some(*fingerprint) == ordered => {
                facts.push(Fact::Signing { key: *fingerprint, host: host() });
            }
            (Verdict::Wrong { what, .. }, Some(s)) if s.refused.is_none() && ordered == Some(s.key.fingerprint) => {
                let why = what.clone();
                facts.push(Fact::Refused { key: s.key.fingerprint, host: Some(host()), why });
            }
            // Neither an unknown nor a late answer moves anything.
            _ => {}
        }
    }
    // A first key that was refused leaves no order to sign; that the host holds no row is then its way back.
    for line in ledger.lines.values() {
        if let (Some(Incoming::Switching(s)), None) = (&line.incoming, &line.active)
            && s.refused.is_some()
            && answer.problem.is_none()
        {
            facts.push(Fact::TurnedBack { key: s.key.fingerprint, host: host() });
        }
    }
    facts
}

/// Sightings of stopped keys. They are dated by the host, and need not answer the latest order.
fn uses(host: &Label, ledger: &Ledger, receipt: &Receipt, answer: &DomainReceipt) -> Vec<Fact> {
    let mut facts = Vec::new();
    for retiring in ledger.lines.values().flat_map(|line| &line.outgoing).filter_map(Outgoing::retiring) {
        let key = retiring.key.fingerprint;
        let seen = answer.last_use.iter().filter(|used| used.fingerprint == key && used.time > retiring.stopped);
        facts.extend(seen.map(|used| Fact::Used { key, seen: used.time, by: format!("{host}: {}", used.by) }));
        // Mail that came in before the switch and has not left yet.
        if let Some(since) = receipt.oldest_queued.filter(|since| *since < retiring.stopped) {
            let by = format!("{host}: a message that waits in the queue since {since}");
            facts.push(Fact::Used { key, seen: receipt.time, by });
        }
    }
    facts
}

impl DomainOrder {
    /// Whether `other` orders the same, whenever it began.
    fn asks_the_same(&self, other: &DomainOrder) -> bool {
        let but_since = |order: &DomainOrder| DomainOrder { since: 0, ..order.clone() };
        but_since(self) == but_since(other)
    }
}
