//! The event log: what happened, when, by whom.

use std::fmt::Write as _;

use dkimctl_state::store::Logged;
use serde::Serialize;

use super::words::{self, Selectors};
use super::{Paint, Report};

#[derive(Debug, Serialize)]
pub struct LogReport {
    pub events: Vec<Line>,
}

#[derive(Debug, Serialize)]
pub struct Line {
    #[serde(flatten)]
    pub logged: Logged,
    pub sentence: String,
}

impl LogReport {
    pub fn new(events: Vec<Logged>, selectors: &Selectors) -> Self {
        let line = |logged: Logged| Line { sentence: words::fact(&logged.event.fact, selectors), logged };
        LogReport { events: events.into_iter().map(line).collect() }
    }
}

impl Report for LogReport {
    fn text(&self, paint: Paint) -> String {
        if self.events.is_empty() {
            return words::nothing("Nothing is written down here.", "dkimctl status", paint);
        }
        let mut out = String::new();
        for Line { logged, sentence } in &self.events {
            let _ = writeln!(
                out,
                "{} {} {sentence} {}",
                logged.event.at,
                paint.bold(&logged.domain),
                paint.dim(format!("[{}]", logged.event.actor))
            );
        }
        out
    }
}
