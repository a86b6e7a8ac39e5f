//! Findings as GitHub shows them beside the lines of a pull request: workflow commands, one line each.

use std::fmt::Write as _;

use super::DoctorReport;
use crate::doctor::catalog;
use crate::doctor::finding::{Finding, Outcome, Severity};

/// One annotation a finding; what is well, and what was passed over, is not worth one.
pub fn annotations(report: &DoctorReport) -> String {
    let mut out = String::new();
    for finding in &report.checks {
        let Some(command) = command(finding) else { continue };
        let mut properties = Vec::new();
        if let Some(place) = &finding.place {
            properties.push(format!("file={}", property(&place.file)));
            properties.extend(place.line.map(|line| format!("line={line}")));
            properties.extend(place.column.map(|column| format!("col={column}")));
        }
        let check = catalog::check(finding.id);
        properties.push(format!("title={}", property(&format!("{} {}", check.id, check.title))));
        let message = match finding.fix.is_empty() {
            true => finding.evidence.clone(),
            false => format!("{}\n{}", finding.evidence, finding.fix),
        };
        let _ = writeln!(out, "::{command} {}::{}", properties.join(","), data(&message));
    }
    out
}

fn command(finding: &Finding) -> Option<&'static str> {
    match (finding.result, finding.severity) {
        (Outcome::Ok | Outcome::Skip, _) => None,
        (Outcome::Fail, _) => Some("error"),
        (Outcome::Warn, Severity::Info) | (Outcome::Unknown, _) => Some("notice"),
        (Outcome::Warn, _) => Some("warning"),
    }
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// In a property, what separates properties is escaped too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
