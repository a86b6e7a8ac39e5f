//! A key's life, decided purely: no clock, no file, no network, no randomness (clippy.toml bans them by name).
//!
//! Read [`rotation`] first: the phase table and the function that says what is due. [`ledger`] holds the facts,
//! [`fact`] how a new fact changes them, [`seen`] what the world showed, [`plan`] what to do and in which order,
//! [`check`] the rules as sentences, enforced apart from the planner, and [`policy`] every duration with its reason.

pub mod check;
pub mod fact;
pub mod ledger;
pub mod plan;
pub mod policy;
pub mod request;
pub mod rotation;
pub mod seen;
pub mod settings;
pub mod staging;
pub mod step;
pub mod wait;
