//! Every check at length, for `dkimctl explain`: one text an id, with the same five parts.

use serde::Serialize;

use crate::doctor::catalog::{self, CHECKS, Check};
use crate::doctor::finding::Severity;
use crate::report::{Paint, Report};

mod keys;
mod network;
mod server;

/// What there is to say about a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Explained {
    pub id: &'static str,
    /// What is looked at, and what counts as a finding.
    pub what: &'static str,
    /// What it costs.
    pub why: &'static str,
    /// How it looks where it happens.
    pub wild: &'static str,
    pub fix: &'static str,
    /// How to see that it is mended.
    pub verify: &'static str,
}

/// The text of a check of the catalogue.
pub fn explained(id: &str) -> Explained {
    all().find(|text| text.id == id).unwrap_or_else(|| panic!("{id} has no text"))
}

fn all() -> impl Iterator<Item = Explained> {
    network::TEXTS.iter().chain(keys::TEXTS).chain(server::TEXTS).copied()
}

impl Explained {
    fn parts(&self) -> [(&'static str, &'static str); 5] {
        let Explained { what, why, wild, fix, verify, .. } = *self;
        [("What", what), ("Why", why), ("In the wild", wild), ("Fix", fix), ("Verify", verify)]
    }

    pub fn text(&self) -> String {
        self.parts().map(|(name, text)| format!("{name}: {text}")).join("\n\n")
    }
}

impl Report for Explained {
    fn text(&self, paint: Paint) -> String {
        let Check { id, title, severity, .. } = catalog::check(self.id);
        let mut out = format!("{} {title} ({})\n", paint.bold(id), severity_name(*severity));
        for (name, text) in self.parts() {
            out.push_str(&format!("\n{}\n{}\n", paint.bold(name), wrapped(text, 92)));
        }
        out
    }
}

/// The whole catalogue, one line a check.
#[derive(Debug, Serialize)]
pub struct AllExplained {
    checks: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    id: &'static str,
    severity: Severity,
    title: &'static str,
}

impl Default for AllExplained {
    fn default() -> Self {
        let line = |check: &Check| Line { id: check.id, severity: check.severity, title: check.title };
        AllExplained { checks: CHECKS.iter().map(line).collect() }
    }
}

impl Report for AllExplained {
    fn text(&self, paint: Paint) -> String {
        let line =
            |line: &Line| format!("{:<8} {:<9}{}\n", paint.bold(line.id), severity_name(line.severity), line.title);
        self.checks.iter().map(line).collect()
    }
}

pub fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warn => "warn",
        Severity::Error => "error",
        Severity::Critical => "critical",
    }
}

/// Lines of at most `width` characters, indented by two; a line that is indented already is text to copy, and stays.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in text.lines() {
        if paragraph.starts_with("  ") {
            lines.push(format!("  {paragraph}"));
            continue;
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                lines.push(format!("  {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(format!("  {line}"));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
