//! Keys that sign, against the records that receivers see: DKIM001 to DKIM005. Pure, but for [`look`].

mod judge;
pub mod look;

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::seen::Sweep;
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::PublicKey;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;

use crate::signers::probe::Verdict;

pub use judge::{Wrong, judge};

/// What was seen of the keys of all domains.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub keys: Vec<Key>,
    pub probes: Vec<Probe>,
    /// The signer is told to sign with SHA-1.
    pub sha1: bool,
    pub now: Option<Time>,
}

/// A key in use, and what every authoritative server says of its record.
#[derive(Debug, Clone)]
pub struct Key {
    pub domain: SigningDomain,
    pub selector: Selector,
    /// Where it is in its life; `None` when it is not one of ours, and signs.
    pub phase: Option<Phase>,
    /// `None` when only the signer has it: a probe compares.
    pub public: Option<PublicKey>,
    /// The exact text that ought to stand there.
    pub record: Option<TxtText>,
    /// When it is too old to go on signing.
    pub due: Option<Time>,
    pub sweep: Sweep,
}

/// What came of a message that the signer was asked to sign.
#[derive(Debug, Clone)]
pub struct Probe {
    pub domain: SigningDomain,
    pub verdict: Verdict,
}

impl Key {
    pub fn name(&self) -> String {
        self.selector.record_name(&self.domain).to_string()
    }

    /// Whether mail that leaves now is signed with it.
    pub fn signs(&self) -> bool {
        matches!(self.phase, None | Some(Phase::Active | Phase::Switching))
    }
}
