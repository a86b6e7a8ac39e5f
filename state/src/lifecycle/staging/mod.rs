//! The ladders that SPF and DMARC climb on evidence: pure, one rung at a time.

pub mod spf;
