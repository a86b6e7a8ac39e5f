//! What became of private keys: written for a signer, listed, sealed again, delivered.

use std::fmt::Write as _;
use std::path::PathBuf;

use dkimctl_state::name::{Label, Selector, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;
use serde::Serialize;

use super::{Paint, Report};
use crate::secrets::manifest::Manifest;
use crate::secrets::write::{Outcome, Written};

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
