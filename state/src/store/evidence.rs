//! Where aggregate reports are kept: each report once, its rows counted together by day, so that years stay small.

use std::net::IpAddr;
use std::sync::Arc;

use super::StoreError;
pub use crate::lifecycle::staging::evidence::Refusal;
use crate::lifecycle::staging::evidence::{Outcome, Report, Row};
use crate::name::Fqdn;
use crate::time::Time;

/// A report on its way into the state.
#[derive(Debug, Clone)]
pub struct Filed {
    pub report: Report,
    /// SHA-256 over what it says.
    pub hash: [u8; 32],
    pub rows: Vec<FiledRow>,
}

/// A row of it.
#[derive(Debug, Clone)]
pub struct FiledRow {
    pub source: IpAddr,
    pub header_from: Arc<str>,
    /// [`crate::lifecycle::staging::evidence::Auth`] as text.
    pub auth: Arc<str>,
    pub outcome: Outcome,
    pub count: u64,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    New,
    /// The same report is there already; nothing was counted.
    Duplicate,
    /// It was there already, but is believed more now; it counts once, as what it is now.
    Confirmed,
    /// A report of the same reporter, number, domain and time is there, and says something else. Both count.
    SameNumber,
}

/// A store that keeps reports.
pub trait EvidenceStore {
    /// All of the batch, or none; one answer for each.
    fn file_reports(&mut self, batch: &[Filed]) -> Result<Vec<Kept>, StoreError>;

    /// The reports about a domain that end after `since`, in order of their end.
    fn reports(&self, domain: &Fqdn, since: Time) -> Result<Vec<Report>, StoreError>;

    /// The rows about a domain from the day of `since` on.
    fn rows(&self, domain: &Fqdn, since: Time) -> Result<Vec<Row>, StoreError>;

    /// Keeps that reports could not be read; how many of them are new.
    fn file_refusals(&mut self, batch: &[Refusal]) -> Result<u64, StoreError>;

    /// The reports about a domain that were refused whole and end after `since`.
    fn refusals(&self, domain: &Fqdn, since: Time) -> Result<Vec<Refusal>, StoreError>;

    /// Forgets what ended before `before`; how many reports that were.
    fn forget_reports(&mut self, before: Time) -> Result<u64, StoreError>;
}
