//! What the evidence amounts to: everything that is wrong, worst first, and the one thing to say about it.

use serde::Serialize;

use super::evidence::{Evidence, Folder, Whose};
use crate::mail::authres::Verdict;

/// What can be wrong with a message that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// DMARC failed: neither SPF nor DKIM vouches for `From`.
    DmarcFails,
    /// The message has no signature at all.
    Unsigned,
    /// Signatures pass, and none of them is of the domain in `From`.
    SignedByOthers,
    /// The domain's own signature does not verify.
    DkimFails,
    SpfFails,
    /// The domain's own signature verifies, under a selector that is not in the ledger.
    ForeignSelector,
    /// The same, under one of our selectors that is not to sign now.
    IdleSelector,
    NoPtr,
    NotEncrypted,
    Junk,
    Forged,
    PtrIsNotHelo,
}

/// How a message fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    /// It does not tell enough.
    Unknown,
    Failed,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Meaning {
    pub outcome: Outcome,
    pub faults: Vec<Fault>,
}

impl Fault {
    /// Whether it is worth no more than a remark.
    fn is_remark(self) -> bool {
        matches!(self, Fault::Forged | Fault::PtrIsNotHelo)
    }

    /// Whether it concerns who vouches for the message.
    pub fn is_authentication(self) -> bool {
        self <= Fault::IdleSelector
    }
}

pub fn of(evidence: &Evidence) -> Meaning {
    let mut faults = Vec::new();
    let mut add = |found: bool, fault: Fault| {
        if found {
            faults.push(fault);
        }
    };
    let failed = |verdict: Option<&Verdict>| verdict.is_some_and(Verdict::is_failure);
    let own = || evidence.dkim.iter().filter(|signature| signature.aligned == Some(true));
    let own_passes = own().any(|signature| signature.result.is_pass());
    let passing_keys = || own().filter(|signature| signature.result.is_pass()).filter_map(|signature| signature.key);
    let others_pass =
        evidence.dkim.iter().any(|signature| signature.result.is_pass() && signature.aligned == Some(false));
    let said_none = evidence.dkim.iter().all(|signature| signature.result == Verdict::None);
    let arrived = evidence.receiver.is_some();
    add(failed(evidence.dmarc.as_ref().map(|dmarc| &dmarc.result)), Fault::DmarcFails);
    add(arrived && evidence.signatures == 0 && said_none, Fault::Unsigned);
    add(!own_passes && others_pass, Fault::SignedByOthers);
    // An Ed25519 signature beside an RSA one often comes back as an error; one that passes is enough (RFC 8463).
    add(!own_passes && own().any(|signature| signature.result.is_failure()), Fault::DkimFails);
    add(failed(evidence.spf.as_ref().map(|spf| &spf.result)), Fault::SpfFails);
    let no_active = passing_keys().all(|key| key != Whose::Active) && passing_keys().next().is_some();
    add(no_active && passing_keys().any(|key| key == Whose::Foreign), Fault::ForeignSelector);
    add(no_active && passing_keys().all(|key| key == Whose::Idle), Fault::IdleSelector);
    let client = &evidence.client;
    add(client.ptr_missing, Fault::NoPtr);
    add(evidence.tls.as_ref().is_some_and(|tls| !tls.encrypted), Fault::NotEncrypted);
    add(evidence.folder == Some(Folder::Junk), Fault::Junk);
    add(!evidence.forged.is_empty(), Fault::Forged);
    add(matches!((&client.ptr, &client.helo), (Some(ptr), Some(helo)) if ptr != helo), Fault::PtrIsNotHelo);

    // No record is no doubt; an answer that did not come is one.
    let told = |verdict: &Verdict| matches!(verdict, Verdict::Pass | Verdict::None);
    let proved = own_passes
        && evidence.spf.as_ref().is_none_or(|spf| told(&spf.result))
        && evidence.dmarc.as_ref().is_none_or(|dmarc| told(&dmarc.result));
    let outcome = match () {
        () if faults.iter().any(|fault| !fault.is_remark()) => Outcome::Failed,
        () if proved => Outcome::Ok,
        () => Outcome::Unknown,
    };
    Meaning { outcome, faults }
}
