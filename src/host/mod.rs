//! What happens on a mail host: orders are carried out, and what was seen is reported.

pub mod apply;
pub mod evidence;
pub mod journal;
pub mod order;
mod proof;
