//! How private keys travel: a signed manifest and sealed blobs one way, signed receipts the other.
//!
//! The secure host writes an [`outbox`]: a [`manifest`] that says which keys a host is to hold, sign with and destroy,
//! and the blobs. The host (or a CI job) verifies it, [`write`](mod@write)s the keys for its signer, and answers with a
//! [`receipt`]. Neither logs in to the other; how the directory travels is the operator's affair. [`signed`] is the
//! envelope of both documents; [`list`] shows what a host holds; [`rewrap`] changes who can open the vault.

pub mod list;
pub mod manifest;
pub mod outbox;
pub mod receipt;
pub mod rewrap;
pub mod signed;
pub mod write;

#[cfg(test)]
pub(crate) mod fixture;
