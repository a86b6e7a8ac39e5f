//! DMARC: reports are read, kept, and weighed; the record follows the evidence, one rung at a time.
//!
//! [`open`] finds the reports in whatever is given, [`xml`] reads one, [`ingest`] keeps it. What it means is decided in
//! `dkimctl_state::lifecycle::staging`.

pub mod authentic;
pub mod authorization;
pub mod ingest;
pub mod limits;
pub mod look;
pub mod open;
pub mod publish;
pub mod source;
pub mod stage;
pub mod xml;
