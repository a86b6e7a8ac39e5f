//! SPF (RFC 7208): asked, checked, linted, staged.
//!
//! [`eval`] is check_host(), and the analyzer too: both walk a record in the same way and leave a [`tree`].
//! [`resolver`] is how they ask DNS, [`lint`] what is wrong with a published record, [`desired`] the record that the
//! configuration means, and [`publish`] how it comes to stand in a zone.

pub mod desired;
pub mod eval;
pub mod flatten;
pub mod lint;
pub mod publish;
pub mod resolver;
mod session;
pub mod tree;

#[cfg(test)]
mod fake;
