//! What happens on a mail host: orders are carried out, and what was seen is reported.
//!
//! [`run`] is the whole of `host apply`; [`apply`] is the one sequence in which a kill between any two steps leaves
//! mail signed.

pub mod apply;
pub mod evidence;
pub mod journal;
pub mod order;
mod proof;
pub mod run;
pub mod settings;
pub mod targets;

/// An error and its causes, as one sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
