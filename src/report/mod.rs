//! Every sentence that a person reads. Text and JSON are two renderings of one value.
//!
//! [`words`] says facts, waits, steps and failures; the other files are reports made of them, one file a report.
//! JSON begins with `"schema": 1`, holds the same values, and only ever gains fields.

pub mod delegate;
pub mod demo;
pub mod dmarc;
pub mod doctor;
pub mod hints;
pub mod host;
pub mod log;
pub mod paint;
pub mod placement;
pub mod plan;
pub mod run;
pub mod secrets;
pub mod spf;
pub mod stack;
pub mod status;
pub mod timeline;
pub mod verify;
pub mod words;

use serde::Serialize;

pub use paint::Paint;

/// The version of every JSON document that is printed.
pub const SCHEMA: u32 = 1;

/// A value that is shown.
pub trait Report: Serialize {
    /// For people; lines that end with a line feed, or nothing at all.
    fn text(&self, paint: Paint) -> String;

    /// For programs; one document that ends with a line feed.
    fn json(&self) -> String
    where
        Self: Sized,
    {
        let document = Document { schema: SCHEMA, report: self };
        let mut text = serde_json::to_string_pretty(&document).expect("a report is JSON");
        text.push('\n');
        text
    }
}

#[derive(Serialize)]
struct Document<'a, R> {
    schema: u32,
    #[serde(flatten)]
    report: &'a R,
}

#[cfg(test)]
mod tests;
