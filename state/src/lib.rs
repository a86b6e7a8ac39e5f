//! What dkimctl knows, how it moves, and how it is kept.
//!
//! - [`lifecycle`] is pure: a key's whole life as facts, and what is to be done next as a function of
//!   (config, facts, observations, now). Start reading at [`lifecycle::rotation`].
//! - [`record`] parses and builds the DNS records, one file a record type.
//! - [`store`] keeps the facts: the trait, and SQLite behind it.
//! - [`name`] and [`time`] hold what is parsed once and never a `String` again.

pub mod lifecycle;
pub mod name;
pub mod record;
pub mod store;
pub mod time;
