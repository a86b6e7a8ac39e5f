//! What became of private keys: written for a signer, listed, sealed again, delivered.

pub mod put;

use std::fmt::Write as _;
use std::path::PathBuf;

use dkimctl_state::lifecycle::ledger::{Key, Phase};
use dkimctl_state::name::{Label, Selector, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;
use serde::Serialize;

use super::{Paint, Report, words};
use crate::post::PostError;
use crate::sealing::Recipient;
use crate::secrets::manifest::Manifest;
use crate::secrets::outbox::Change;
use crate::secrets::rewrap::RewrapError;
use crate::secrets::write::{Outcome, Written};
use crate::vault::{Held, SealedKey};

/// The receipt of `secrets write`.
#[derive(Debug, Serialize)]
pub struct WriteReport {
    pub host: Label,
    pub serial: u64,
    pub verified: Verified,
    pub keys: Vec<WrittenKey>,
}

/// What says that the manifest is to be obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verified {
    /// The key that was pinned signed it.
    Signature,
    /// Every key of it is in DNS.
    Dns,
    Nothing,
}

#[derive(Debug, Serialize)]
pub struct WrittenKey {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub fingerprint: Fingerprint,
    pub path: PathBuf,
    pub outcome: &'static str,
    /// Why it was refused.
    pub why: Option<String>,
}

impl WriteReport {
    pub fn new(manifest: &Manifest, verified: Verified, written: Vec<Written>) -> Self {
        let keys = written.into_iter().map(|Written { domain, selector, fingerprint, path, outcome }| {
            let (outcome, why) = match outcome {
                Outcome::Written => ("written", None),
                Outcome::Already => ("already", None),
                Outcome::Repaired => ("repaired", None),
                Outcome::Refused(why) => ("refused", Some(why.to_string())),
            };
            WrittenKey { domain, selector, fingerprint, path, outcome, why }
        });
        WriteReport { host: manifest.host.clone(), serial: manifest.serial, verified, keys: keys.collect() }
    }

    /// Whether every key is where the signer looks for it.
    pub fn is_complete(&self) -> bool {
        self.keys.iter().all(|key| key.why.is_none())
    }
}

impl Report for WriteReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for WrittenKey { domain, selector, fingerprint, path, outcome, why } in &self.keys {
            let mark = format!("{outcome:<8}");
            let mark = if why.is_some() { paint.red(mark) } else { paint.green(mark) };
            let _ = writeln!(out, "{mark}  {domain}  {selector}  {}  {}", fingerprint.short(), path.display());
            if let Some(why) = why {
                let _ = writeln!(out, "          {why}");
            }
        }
        out
    }
}

/// `secrets list`
#[derive(Debug, Default, Serialize)]
pub struct ListReport {
    pub keys: Vec<Listed>,
    /// Blobs that belong to no key of the state.
    pub orphans: Vec<Orphan>,
}

#[derive(Debug, Serialize)]
pub struct Listed {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub phase: Phase,
    pub fingerprint: Fingerprint,
    pub blob: &'static str,
    /// The hosts that proved to hold it.
    pub held: Vec<Label>,
    /// The hosts that proved to have destroyed it.
    pub wiped: Vec<Label>,
}

#[derive(Debug, Serialize)]
pub struct Orphan {
    pub blob: String,
    pub path: PathBuf,
    /// Why `--remove-orphans` leaves it alone.
    pub kept: Option<String>,
    pub removed: bool,
}

impl Listed {
    pub fn new(domain: SigningDomain, phase: Phase, key: &Key, held: Held) -> Self {
        let blob = match (held, key.shredded) {
            (Held::Whole, None) => "sealed",
            (Held::Other, None) => "changed",
            (Held::Missing, None) => "missing",
            (Held::Missing, Some(_)) => "destroyed",
            (Held::Whole | Held::Other, Some(_)) => "back",
        };
        Listed {
            domain,
            selector: key.selector.clone(),
            phase,
            fingerprint: key.fingerprint,
            blob,
            held: key.delivered.keys().cloned().collect(),
            wiped: key.wiped.keys().cloned().collect(),
        }
    }
}

impl ListReport {
    /// Whether every blob is as it should be.
    pub fn is_whole(&self) -> bool {
        self.keys.iter().all(|key| matches!(key.blob, "sealed" | "destroyed"))
    }
}

impl Report for ListReport {
    fn text(&self, paint: Paint) -> String {
        if self.keys.is_empty() && self.orphans.is_empty() {
            return words::nothing("No key is sealed yet.", "dkimctl rotate DOMAIN", paint);
        }
        let mut out = String::new();
        for Listed { domain, selector, phase, fingerprint, blob, held, wiped } in &self.keys {
            let said = match *blob {
                "sealed" => "sealed here",
                "destroyed" => "destroyed here",
                "missing" => "MISSING here: bring the blob back from a backup, or rotate",
                "back" => "destroyed here, and BACK: somebody restored it; remove it",
                _ => "CHANGED here: dkimctl secrets rewrap, or bring the blob back from a backup",
            };
            let mark = match *blob {
                "sealed" | "destroyed" => paint.green("ok   "),
                _ => paint.red("FAIL "),
            };
            let _ = write!(out, "{mark}{domain} {selector} ({phase}) {}: {said}", fingerprint.short());
            if !held.is_empty() {
                let _ = write!(out, "; held by {}", names(held));
            }
            if !wiped.is_empty() {
                let _ = write!(out, "; destroyed by {}", names(wiped));
            }
            out.push('\n');
        }
        for Orphan { blob, kept, removed, .. } in &self.orphans {
            let said = match (removed, kept) {
                (true, _) => "destroyed",
                (false, Some(why)) => why,
                (false, None) => "left by a crash; dkimctl secrets list --remove-orphans destroys it",
            };
            let _ = writeln!(out, "{}{blob} belongs to no key of this state: {said}", paint.yellow("?    "));
        }
        out
    }
}

/// `secrets deliver`
#[derive(Debug, Default, Serialize)]
pub struct DeliverReport {
    pub hosts: Vec<Delivered>,
}

#[derive(Debug, Serialize)]
pub struct Delivered {
    pub host: Label,
    pub serial: Option<u64>,
    /// Whether anything in the outbox is new.
    pub changed: bool,
    pub blobs_added: usize,
    pub blobs_removed: usize,
    /// What a host on this machine proved at once.
    pub proved: Vec<String>,
    pub problem: Option<String>,
}

impl Delivered {
    pub fn new(host: Label, change: Result<Change, PostError>) -> Self {
        let proved = Vec::new();
        match change {
            Ok(Change { serial, manifest, blobs_added, blobs_removed }) => {
                let changed = manifest || blobs_added > 0 || blobs_removed > 0;
                Delivered { host, serial: Some(serial), changed, blobs_added, blobs_removed, proved, problem: None }
            }
            Err(why) => {
                let problem = Some(why.to_string());
                Delivered { host, serial: None, changed: false, blobs_added: 0, blobs_removed: 0, proved, problem }
            }
        }
    }
}

impl DeliverReport {
    pub fn is_complete(&self) -> bool {
        self.hosts.iter().all(|host| host.problem.is_none())
    }
}

impl Report for DeliverReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Delivered { host, serial, changed, blobs_added, proved, problem, .. } in &self.hosts {
            let serial = serial.unwrap_or_default();
            let _ = match (problem, changed) {
                (Some(problem), _) => writeln!(out, "{}{problem}", paint.red("FAIL ")),
                (None, false) => writeln!(out, "{}{host}: the outbox is whole, serial {serial}", paint.green("ok   ")),
                (None, true) => {
                    let mark = paint.green("done ");
                    writeln!(out, "{mark}{host}: outbox written, serial {serial}, {blobs_added} sealed keys added")
                }
            };
            for line in proved {
                let _ = writeln!(out, "{}{line}", paint.green("done "));
            }
        }
        out
    }
}

/// `secrets rewrap`
#[derive(Debug, Serialize)]
pub struct RewrapReport {
    pub recipients: Vec<String>,
    pub keys: Vec<Resealed>,
    pub outboxes: DeliverReport,
}

#[derive(Debug, Serialize)]
pub struct Resealed {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub fingerprint: Fingerprint,
    pub outcome: &'static str,
    /// Why it stays as it was.
    pub why: Option<String>,
}

impl Resealed {
    /// `sealed` is what became of it; nothing if it was sealed so already.
    pub fn new(domain: SigningDomain, key: &Key, sealed: Option<Result<SealedKey, RewrapError>>) -> Self {
        let (outcome, why) = match sealed {
            None => ("already", None),
            Some(Ok(_)) => ("resealed", None),
            Some(Err(why)) => ("refused", Some(why.to_string())),
        };
        Resealed { domain, selector: key.selector.clone(), fingerprint: key.fingerprint, outcome, why }
    }
}

impl RewrapReport {
    pub fn new(recipients: &[Recipient]) -> Self {
        let recipients = recipients.iter().map(ToString::to_string).collect();
        RewrapReport { recipients, keys: Vec::new(), outboxes: DeliverReport::default() }
    }

    pub fn is_complete(&self) -> bool {
        self.keys.iter().all(|key| key.why.is_none()) && self.outboxes.is_complete()
    }
}

impl Report for RewrapReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Resealed { domain, selector, fingerprint, outcome, why } in &self.keys {
            let mark = format!("{outcome:<8}");
            let mark = if why.is_some() { paint.red(mark) } else { paint.green(mark) };
            let _ = writeln!(out, "{mark}  {domain}  {selector}  {}", fingerprint.short());
            if let Some(why) = why {
                let _ = writeln!(out, "          {why}");
            }
        }
        out + &self.outboxes.text(paint)
    }
}

fn names(hosts: &[Label]) -> String {
    hosts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
