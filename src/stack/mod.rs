//! A mail host for containers that has none of the failures that containers bring: `stack init` writes its files.
//!
//! [`files`] is the list of them, each a template beside it; [`relay`] is what differs by who carries the mail on, [`signs`] by
//! what signs it;
//! [`place`] compares a directory with the list and writes what is missing, and nothing else; [`diff`] shows the rest.

pub mod diff;
pub mod files;
pub mod place;
pub mod relay;
pub mod signs;
pub mod subnet;

use dkimctl_state::name::{Fqdn, Label, SigningDomain};

use self::relay::Relay;
use self::signs::Signs;
use self::subnet::Subnet;
use crate::secrets::signed::VerifyKey;

/// The numeric user and group of the signer in the image, whatever the host calls them.
pub const SIGNER_UID: u32 = 10101;

/// What is chosen for a stack.
#[derive(Debug, Clone)]
pub struct Choices {
    pub domain: SigningDomain,
    /// What the host is called, announces itself as, and has as its reverse name.
    pub hostname: Fqdn,
    pub relay: Relay,
    pub signs: Signs,
    /// The applications' network, exactly.
    pub subnet: Subnet,
    /// The mail host, as the secure host calls it.
    pub signer: Label,
    /// The absolute path of the stack, for timers.
    pub dir: String,
    pub keys: Introduced,
}

/// The public halves by which the secure host and the mail host know each other.
#[derive(Debug, Clone)]
pub struct Introduced {
    pub manifest: VerifyKey,
    pub receipts: VerifyKey,
    /// To whom keys for the mail host are sealed.
    pub recipient: String,
    /// Whether the secure host's side lies here too.
    pub secure_here: bool,
}
