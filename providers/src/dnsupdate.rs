//! Breadth: hosts that somebody else's crate knows (`dns-update`), with the narrowest use of it.
//!
//! The crate sets whole names, tells neither TTLs nor record ids, and at some hosts deletes before it creates. So only
//! names below `_domainkey` (or `_dk`, where aliases lead) are written, only where nothing but our own record stands or is
//! to stand, one at a time, and each is read back. SPF and DMARC are not for it.

pub mod hosts;

// Its tests run without the feature as well: the crate is a dev-dependency.
#[cfg(any(feature = "dns-update", test))]
mod adapter;

#[cfg(feature = "dns-update")]
pub use adapter::{Config, DESCRIPTOR, DnsUpdate};
#[cfg(feature = "dns-update")]
pub use dns_update::DnsUpdater;
