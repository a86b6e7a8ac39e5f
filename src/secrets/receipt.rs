//! What one host did of its orders, and what it saw.

use std::path::Path;

use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, Fingerprint};
use dkimctl_state::time::Time;
use serde::{Deserialize, Serialize};

use super::signed::{self, Document, SignedError, SigningKey, VerifyKey};
use crate::files::{Access, Dir, FileError};

/// The answer of one host to one manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    pub schema: u32,
    pub host: Label,
    /// The lineage of the manifest that is answered.
    pub lineage: String,
    pub manifest_serial: u64,
    /// Counts the receipts of this host, from 1.
    pub sequence: u64,
    /// When all of it was seen, by the host's clock.
    pub time: Time,
    /// When the oldest mail in the host's queue came in; it carries the signature of that day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_queued: Option<Time>,
    pub domains: Vec<DomainReceipt>,
}

/// The answer to one domain's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainReceipt {
    pub domain: SigningDomain,
    /// [`DomainOrder::digest`](super::manifest::DomainOrder::digest) of the order that is answered.
    pub order_digest: String,
    /// Keys that lie where the signer reads them, opened and compared with the order.
    pub held: Vec<Fingerprint>,
    /// Keys of the order's `destroy` that are certainly not there.
    pub destroyed: Vec<Fingerprint>,
    /// What the running signer was seen to do, an entry an algorithm that was probed.
    pub signing: Vec<SigningSeen>,
    /// Signatures by keys that are not the signing one any more.
    pub last_use: Vec<LastUse>,
    /// Why the order is not fulfilled, for people.
    pub problem: Option<String>,
}

/// What a probe of the signer showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningSeen {
    pub algorithm: Algorithm,
    pub verdict: Verdict,
}

/// The three values of a probe. An unanswered question is not a wrong answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "snake_case", deny_unknown_fields)]
pub enum Verdict {
    /// Signed with the key of this fingerprint, and the signature verified against what the name servers serve.
    Right { fingerprint: Fingerprint },
    /// The ordered key does not sign. `rolled_back`: the rows from before the order stand.
    Wrong { what: String, rolled_back: bool },
    /// Not known yet; nothing was taken back. The next run asks again.
    Unknown { why: String },
}

/// The latest known signature by a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastUse {
    pub fingerprint: Fingerprint,
    pub time: Time,
    /// Where it was seen: `probe`, `mail.log`, `queue`.
    pub by: String,
}

/// Why a receipt is not believed or cannot be filed.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    #[error("the receipt {path} cannot be used: {why}")]
    Signed { path: String, why: SignedError },
    #[error(
        "the receipt {path} comes from the host `{seen}`, not from `{wanted}`, which signed it; keep one directory of receipts a host"
    )]
    OtherHost { path: String, seen: Label, wanted: Label },
    #[error(
        "the receipt {path} has sequence {seen} inside: it was renamed, perhaps to pass for a newer one; fetch it again"
    )]
    Renamed { path: String, seen: u64 },
    #[error("the receipt {path} answers another state (lineage {seen}); it is none of ours")]
    OtherLineage { path: String, seen: String },
    #[error(transparent)]
    File(#[from] FileError),
}

/// Signs and files a receipt as `receipt-<sequence>.signed`; one that is there is never overwritten. Returns its name.
pub fn write(dir: &Path, receipt: &Receipt, key: &SigningKey) -> Result<String, ReceiptError> {
    let dir = Dir::open_own(dir, Access::mode(0o755))?;
    let name = name(receipt.sequence);
    dir.create(&name, &signed::sign(receipt, key), Access::mode(0o644))?;
    dir.sync()?;
    Ok(name)
}

/// The next free sequence number of a directory: one more than the highest that is filed, or `after`.
pub fn next_sequence(dir: &Path, after: u64) -> Result<u64, ReceiptError> {
    Ok(filed(dir)?.last().map_or(after, |(sequence, _)| after.max(*sequence)) + 1)
}

/// Removes the receipts with a sequence up to `last`.
pub fn forget(dir: &Path, last: u64) -> Result<(), ReceiptError> {
    let old: Vec<_> = filed(dir)?.into_iter().filter(|(sequence, _)| *sequence <= last).collect();
    if !old.is_empty() {
        let dir = Dir::open(dir)?;
        for (_, name) in old {
            dir.remove(&name)?;
        }
    }
    Ok(())
}

/// Reads the receipts of one host with a sequence above `after`, oldest first. Each stands for itself: a bad one is an
/// error in its place, and hides no other.
pub fn read_new(
    dir: &Path,
    pinned: &VerifyKey,
    host: &Label,
    lineage: &str,
    after: u64,
) -> Result<Vec<Result<Receipt, ReceiptError>>, ReceiptError> {
    let open = Dir::open(dir)?;
    let new = filed(dir)?.into_iter().filter(|(sequence, _)| *sequence > after);
    Ok(new.map(|(sequence, name)| read(&open, &name, sequence, pinned, host, lineage)).collect())
}

fn read(
    dir: &Dir,
    name: &str,
    sequence: u64,
    pinned: &VerifyKey,
    host: &Label,
    lineage: &str,
) -> Result<Receipt, ReceiptError> {
    let at = dir.path().join(name);
    let path = at.display().to_string();
    let file = dir.read(name)?.ok_or(FileError::Missing { path: at })?;
    let receipt: Receipt =
        signed::verify(&file, pinned).map_err(|why| ReceiptError::Signed { path: path.clone(), why })?;
    if receipt.host != *host {
        return Err(ReceiptError::OtherHost { path, seen: receipt.host, wanted: host.clone() });
    }
    if receipt.lineage != lineage {
        return Err(ReceiptError::OtherLineage { path, seen: receipt.lineage });
    }
    if receipt.sequence != sequence {
        return Err(ReceiptError::Renamed { path, seen: receipt.sequence });
    }
    Ok(receipt)
}

/// The receipts in a directory, by rising sequence; none if there is no directory yet.
fn filed(dir: &Path) -> Result<Vec<(u64, String)>, ReceiptError> {
    let names = match Dir::open(dir) {
        Ok(dir) => dir.names()?,
        Err(FileError::Missing { .. }) => Vec::new(),
        Err(e) => return Err(e.into()),
    };
    let mut filed: Vec<_> = names.into_iter().filter_map(|name| Some((sequence(&name)?, name))).collect();
    filed.sort();
    Ok(filed)
}

fn name(sequence: u64) -> String {
    format!("receipt-{sequence}.signed")
}

fn sequence(file_name: &str) -> Option<u64> {
    let sequence = file_name.strip_prefix("receipt-")?.strip_suffix(".signed")?.parse().ok()?;
    (name(sequence) == file_name).then_some(sequence)
}

impl Document for Receipt {
    const KIND: &'static str = "dkimctl-receipt-v1";

    fn check(&self) -> Result<(), String> {
        for domain in &self.domains {
            if let Some(key) = domain.held.iter().find(|key| domain.destroyed.contains(key)) {
                return Err(format!("{}: the key {} is held and destroyed", domain.domain, key.short()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "receipt_tests.rs"]
mod tests;
