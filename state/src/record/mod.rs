//! DNS records, one file a record type: parsed and built, never assembled by hand elsewhere.

pub mod dkim;
pub mod dmarc;
pub mod lint;
pub mod spf;
pub mod txt;
