//! The way of a domain's DMARC policy from `p=none` to `p=reject`, decided on evidence.

pub mod evidence;
