//! What happens on a mail host: orders are carried out, and what was seen is reported.
//!
//! [`run`] is the whole of `host apply`; [`apply`] is the one sequence in which a kill between any two steps leaves
//! mail signed.

pub mod apply;
pub mod evidence;
pub mod journal;
pub mod keys;
pub mod order;
pub mod run;
pub mod settings;
