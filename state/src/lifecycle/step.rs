//! One fully specified change. Every step is an *ensure*: doing it twice is doing it once. The executor chooses nothing.

use super::fact::Fact;
use super::seen::View;
use crate::name::{Fqdn, Label, Selector};
use crate::record::dkim::{Algorithm, Fingerprint};
use crate::record::txt::TxtText;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A conclusion: nothing is done, a fact is written down.
    Record(Fact),
    /// Make a key, seal it, read the blob back.
    Generate { algorithm: Algorithm, selector: Selector },
    /// Put one value at a name.
    Publish { key: Fingerprint, provider: Label, name: Fqdn, text: TxtText, ttl: u32, seen: View },
    /// Give the sealed key to a host, which proves that it can read it.
    Deliver { key: Fingerprint, host: Label },
    /// Tell a host to sign with the key, which proves that it does.
    Switch { key: Fingerprint, host: Label },
    /// Tell a host to sign with the old key again (or not at all, if there was none), which proves that it does.
    TurnBack { key: Fingerprint, host: Label },
    /// Tell a host to destroy its copy, which proves that it did.
    Wipe { key: Fingerprint, host: Label },
    /// Destroy our own sealed copy.
    Shred { key: Fingerprint },
    /// Replace the key's record by the revocation: `p=` empty.
    Empty { key: Fingerprint, provider: Label, name: Fqdn, old: Option<TxtText>, new: TxtText, ttl: u32, seen: View },
    /// Remove one value from a name.
    Withdraw { key: Fingerprint, provider: Label, name: Fqdn, text: TxtText, seen: View },
}

/// The kinds in the order in which a wave of them is safe: conclusions first, add before use, stop use before remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wave {
    Record,
    Generate,
    Publish,
    Hosts,
    Shred,
    Withdraw,
}

impl Step {
    pub fn wave(&self) -> Wave {
        match self {
            Step::Record(_) => Wave::Record,
            Step::Generate { .. } => Wave::Generate,
            Step::Publish { .. } => Wave::Publish,
            Step::Deliver { .. } | Step::Switch { .. } | Step::TurnBack { .. } | Step::Wipe { .. } => Wave::Hosts,
            Step::Shred { .. } => Wave::Shred,
            Step::Empty { .. } | Step::Withdraw { .. } => Wave::Withdraw,
        }
    }
}
