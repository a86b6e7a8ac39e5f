//! The configuration: as written ([`written`]), as meant ([`meant`]), and every mistake in between ([`error`]).
//!
//! A mistake names file, line and column, what was seen, and what to write instead. Nothing is looked up, no secret
//! is read and no host is asked before a command needs it: [`providers`] builds a provider when there is work for it.

pub mod domains;
pub mod error;
pub mod find;
pub mod fleet;
pub mod meant;
pub mod placement;
pub mod providers;
pub(crate) mod written;

pub use domains::Domains;
pub use error::{ConfigError, Mistake};
pub use find::find;
pub use fleet::Fleet;
pub use meant::{Config, Observe, Secrets, Signer};
pub use placement::Placement;
pub use providers::Provider;

#[cfg(test)]
mod tests;
