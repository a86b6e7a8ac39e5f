//! How a fact changes the ledger. A fact is recorded after its effect was seen to hold, dated then, and never changed.
//!
//! [`Ledger::record`] refuses a fact that does not fit the phase its key is in: what cannot have happened is not
//! written down. Facts that arrive twice (a receipt imported again, a re-run after a kill) change nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ledger::*;
use super::request::{Hold, Request};
use crate::name::{Fqdn, Label, Selector};
use crate::record::dkim::{Algorithm, Fingerprint};
use crate::record::txt::TxtText;
use crate::time::Time;

/// Something that happened. `at` is kept by the event that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact {
    /// An operator asked for something.
    Asked {
        algorithm: Algorithm,
        request: Request,
    },
    /// What was asked is done, or cannot be done any more.
    Answered {
        algorithm: Algorithm,
    },
    Held {
        hold: Hold,
    },
    Released,
    /// A key was made, sealed, and its blob read back.
    Sealed {
        key: Key,
    },
    /// A key that already signs was taken over, private half and record verified against each other.
    Adopted {
        key: Key,
    },
    /// The name's answers may be cached for so long.
    Carried {
        selector: Selector,
        maxima: Maxima,
    },
    /// The provider was seen to hold the record.
    Written {
        key: Fingerprint,
        provider: Label,
    },
    /// The first sweep in a row in which every server had the record.
    SweptClean {
        key: Fingerprint,
    },
    /// A second one, long enough after the first: every server has it since then, every machine behind one included.
    SeenEverywhere {
        key: Fingerprint,
        since: Time,
    },
    /// A server did not have it.
    Missed {
        key: Fingerprint,
        server: String,
    },
    /// The host proved to hold the private half.
    Delivered {
        key: Fingerprint,
        host: Label,
    },
    /// Intent: from now on any host may sign with the key.
    Committed {
        key: Fingerprint,
    },
    /// The host's probe showed a right signature by the key.
    Signing {
        key: Fingerprint,
        host: Label,
    },
    /// The host's probe was wrong, or an operator wants to go back.
    Refused {
        key: Fingerprint,
        host: Option<Label>,
        why: String,
    },
    /// The host proved to sign with the old key again.
    TurnedBack {
        key: Fingerprint,
        host: Label,
    },
    /// Every host signs with the old key again; the new one waits.
    Parked {
        key: Fingerprint,
    },
    /// Every host signs with the key.
    Activated {
        key: Fingerprint,
    },
    /// A key that never came to sign, or may have in a failed attempt, is given up.
    Abandoned {
        key: Fingerprint,
    },
    /// A stopped key is to sign again.
    Recalled {
        key: Fingerprint,
    },
    /// Somebody of ours was seen to use a stopped key.
    Used {
        key: Fingerprint,
        seen: Time,
        by: String,
    },
    /// The host proved to have destroyed its copy.
    Wiped {
        key: Fingerprint,
        host: Label,
    },
    /// Our copy is about to be sealed to other recipients: from now on this blob is the one that counts.
    Resealed {
        key: Fingerprint,
        blob_sha256: String,
        /// SHA-256 of the recipients, so that a second run knows what the first one did.
        sealed_to: String,
    },
    /// Our sealed copy was destroyed.
    Shredded {
        key: Fingerprint,
    },
    /// The private half is known to others, and nobody of ours signs with it.
    Condemned {
        key: Fingerprint,
    },
    /// The provider was seen to hold the revocation.
    Emptied {
        key: Fingerprint,
        provider: Label,
    },
    /// Intent: the record is being removed.
    Withdrawing {
        key: Fingerprint,
    },
    /// The provider was seen not to hold the record any more.
    Removed {
        key: Fingerprint,
        provider: Label,
    },
    /// No server has it any more.
    Unserved {
        key: Fingerprint,
    },
    /// A server has it again after all.
    Resurfaced {
        key: Fingerprint,
        server: String,
    },
    /// No cache can have it any more.
    Hidden {
        key: Fingerprint,
    },
    /// A record that says how mail is judged (SPF, DMARC, or that reports are taken) was taken over, or changed and
    /// read back. It is no key's affair.
    Policy {
        record: PolicyRecord,
        name: Fqdn,
        change: PolicyChange,
        /// `None`: nothing stood there.
        from: Option<TxtText>,
        /// `None`: nothing stands there now.
        to: Option<TxtText>,
        why: String,
    },
}

/// Which record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PolicyRecord {
    Spf,
    Dmarc,
    /// That reports about another domain are taken (RFC 9990 section 4).
    Reports,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyChange {
    /// An operator agreed to the text that stood there.
    Adopted,
    Written,
    RolledBack,
    Removed,
}

/// A fact that cannot have happened, as far as the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    #[error("no key {0:?} is in the ledger")]
    NoSuchKey(Fingerprint),
    #[error("the key {key:?} is {phase}, which does not allow `{fact}`")]
    WrongPhase { key: Fingerprint, phase: Phase, fact: &'static str },
    #[error("the key {0:?} has had a life already; a key lives once")]
    KeyReused(Fingerprint),
    #[error("selector {selector} already belongs to a key that is {phase}")]
    SelectorTaken { selector: Selector, phase: Phase },
    #[error("another key is already on its way or active")]
    LineBusy,
}

impl Ledger {
    /// Applies `fact`, which was seen to hold at `at`.
    pub fn record(&mut self, fact: &Fact, at: Time) -> Result<(), Impossible> {
        match fact {
            Fact::Asked { algorithm, request } => {
                self.lines.entry(*algorithm).or_default().request = Some(request.clone());
            }
            Fact::Answered { algorithm } => self.lines.entry(*algorithm).or_default().request = None,
            Fact::Policy { .. } => {}
            Fact::Held { hold } => self.hold = Some(hold.clone()),
            Fact::Released => self.hold = None,
            Fact::Carried { selector, maxima } => {
                let known = self.maxima.entry(selector.clone()).or_default();
                known.ttl = known.ttl.max(maxima.ttl);
                known.cname = known.cname.max(maxima.cname);
                known.negative = known.negative.max(maxima.negative);
            }
            Fact::Sealed { key } => {
                let line = self.room_for(key)?;
                if line.incoming.is_some() {
                    return Err(Impossible::LineBusy);
                }
                line.incoming = Some(Incoming::Sealed(Sealed { key: key.clone() }));
            }
            Fact::Adopted { key } => {
                let line = self.room_for(key)?;
                if line.active.is_some() {
                    return Err(Impossible::LineBusy);
                }
                line.active = Some(Active { key: key.clone(), seen: at, since: at, signing: BTreeMap::new() });
            }
            about_a_key => {
                self.line_of(about_a_key.key().expect("every other fact names a key"))?.record(about_a_key, at)?
            }
        }
        self.newest = self.newest.max(Some(at));
        Ok(())
    }

    fn room_for(&mut self, key: &Key) -> Result<&mut Line, Impossible> {
        for (phase, other) in self.keys() {
            if other.fingerprint == key.fingerprint {
                return Err(Impossible::KeyReused(key.fingerprint));
            }
            if other.selector == key.selector && phase != Phase::Gone {
                return Err(Impossible::SelectorTaken { selector: key.selector.clone(), phase });
            }
        }
        Ok(self.lines.entry(key.algorithm).or_default())
    }

    fn line_of(&mut self, key: &Fingerprint) -> Result<&mut Line, Impossible> {
        let holds = |line: &Line| line.keys().any(|(_, k)| k.fingerprint == *key);
        self.lines.values_mut().find(|line| holds(line)).ok_or(Impossible::NoSuchKey(*key))
    }
}

impl Fact {
    /// The key that the fact is about.
    pub fn key(&self) -> Option<&Fingerprint> {
        match self {
            Fact::Asked { .. }
            | Fact::Answered { .. }
            | Fact::Held { .. }
            | Fact::Released
            | Fact::Carried { .. }
            | Fact::Policy { .. } => None,
            Fact::Sealed { key } | Fact::Adopted { key } => Some(&key.fingerprint),
            Fact::Written { key, .. }
            | Fact::SweptClean { key }
            | Fact::SeenEverywhere { key, .. }
            | Fact::Missed { key, .. }
            | Fact::Delivered { key, .. }
            | Fact::Committed { key }
            | Fact::Signing { key, .. }
            | Fact::Refused { key, .. }
            | Fact::TurnedBack { key, .. }
            | Fact::Parked { key }
            | Fact::Activated { key }
            | Fact::Abandoned { key }
            | Fact::Recalled { key }
            | Fact::Used { key, .. }
            | Fact::Wiped { key, .. }
            | Fact::Resealed { key, .. }
            | Fact::Shredded { key }
            | Fact::Condemned { key }
            | Fact::Emptied { key, .. }
            | Fact::Withdrawing { key }
            | Fact::Removed { key, .. }
            | Fact::Unserved { key }
            | Fact::Resurfaced { key, .. }
            | Fact::Hidden { key } => Some(key),
        }
    }
}

#[cfg(test)]
#[path = "fact_tests.rs"]
mod tests;
