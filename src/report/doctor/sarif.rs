//! Findings as SARIF 2.1.0 (OASIS), for code scanning.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::DoctorReport;
use super::explain::explained;
use crate::doctor::catalog::{self, CHECKS};
use crate::doctor::finding::{Finding, Outcome, Severity};

const SCHEMA: &str = "https://json.schemastore.org/sarif-2.1.0.json";

/// One run with every rule, and a result for everything that was found.
pub fn document(report: &DoctorReport) -> String {
    let rules: Vec<Value> = CHECKS.iter().map(rule).collect();
    let results: Vec<Value> = report.checks.iter().map(result).collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "dkimctl",
                "version": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    let mut text = serde_json::to_string_pretty(&document).expect("it is JSON");
    text.push('\n');
    text
}

fn rule(check: &catalog::Check) -> Value {
    let said = explained(check.id);
    json!({
        "id": check.id,
        "shortDescription": {"text": check.title},
        "fullDescription": {"text": said.what},
        "help": {"text": said.text()},
        "defaultConfiguration": {"level": level(check.severity)},
        "properties": {"tags": ["mail", check.group.prefix()]},
    })
}

fn result(finding: &Finding) -> Value {
    // Section 3.27.9: only a "fail" has a level.
    let (kind, level) = match finding.result {
        Outcome::Ok => ("pass", "none"),
        Outcome::Skip => ("notApplicable", "none"),
        Outcome::Unknown => ("open", "none"),
        Outcome::Warn | Outcome::Fail => ("fail", level(finding.severity)),
    };
    let message = match finding.fix.is_empty() {
        true => finding.evidence.clone(),
        false => format!("{}\n\n{}", finding.evidence, finding.fix),
    };
    let location = match &finding.place {
        Some(place) => {
            let mut physical = json!({"artifactLocation": {"uri": uri(&place.file)}});
            if let Some(line) = place.line {
                physical["region"] = json!({"startLine": line});
                if let Some(column) = place.column {
                    physical["region"]["startColumn"] = json!(column);
                }
            }
            json!({"physicalLocation": physical})
        }
        None => json!({"logicalLocations": [{"fullyQualifiedName": finding.about}]}),
    };
    json!({
        "ruleId": finding.id,
        "ruleIndex": catalog::position(finding.id),
        "kind": kind,
        "level": level,
        "message": {"text": message},
        "locations": [location],
        "partialFingerprints": {"dkimctl/v1": fingerprint(finding)},
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Warn => "warning",
        Severity::Error | Severity::Critical => "error",
    }
}

/// The same finding has the same fingerprint after lines above it moved.
fn fingerprint(finding: &Finding) -> String {
    let file = finding.place.as_ref().map_or("", |place| &place.file);
    let digest = Sha256::digest(format!("{}\n{}\n{file}", finding.id, finding.about));
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// A relative path as a URI reference (RFC 3986 section 4.2).
fn uri(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.trim_start_matches("./").bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(byte as char),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}
