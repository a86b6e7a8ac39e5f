//! Breadth: hosts that somebody else's crate knows (`dns-update`), with the narrowest use of it.
//!
//! The crate sets whole names, tells neither TTLs nor record ids, and at some hosts deletes before it creates. So only
//! names below `_domainkey` (or `_dk`, where aliases lead) are written, only where nothing but our own record stands or is
//! to stand, one at a time, and each is read back. SPF and DMARC are not for it.

use crate::Descriptor;

pub mod hosts;

// Its tests run without the feature as well: the crate is a dev-dependency.
#[cfg(any(feature = "dns-update", test))]
mod adapter;

#[cfg(feature = "dns-update")]
pub use adapter::{Config, DnsUpdate};
#[cfg(feature = "dns-update")]
pub use dns_update::DnsUpdater;

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "dnsupdate",
    name: "Other hosts, through the crate dns-update",
    credentials: "the host's token, or its key and secret on two lines",
    least_rights: "whatever the host offers that is narrowest; most offer one token for everything",
    rights_template: "",
    docs: "https://docs.rs/dns-update",
};
