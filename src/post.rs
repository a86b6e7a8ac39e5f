//! How orders reach the mail hosts, and how their proofs come back.

use std::collections::BTreeMap;

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::Ledger;
use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;

/// The way to the mail hosts.
pub trait Post {
    /// Makes the host's orders say what these ledgers say, and what it is to destroy. Returns what the host has proved
    /// about these domains: at once where it is this machine, and when its receipts arrive where it is another.
    fn instruct(
        &self,
        host: &Label,
        domains: &[(&Ledger, Vec<Fingerprint>)],
    ) -> Result<BTreeMap<SigningDomain, Vec<Fact>>, PostError>;
}

/// Why a host's orders could not be written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PostError {
    #[error("no [signer.{0}] is configured")]
    NoSuchHost(Label),
    #[error("{0}")]
    Outbox(String),
    #[error("{0}")]
    Host(String),
}
