//! Patients for the tests of checks: a directory written for the occasion, a container that answers as recorded.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::catalog::Check;
use super::container::Container;
use super::engine::Engine;
use super::files::Files;
use super::finding::{Finding, Findings, Outcome, Severity};
use super::patient::{Patient, Reach};
use crate::command::{CommandError, Ran};

/// A directory with these files, as a patient. Nothing is asked of an engine.
pub fn directory(tree: &[(&str, &str)]) -> (TempDir, Patient) {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in tree {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let files = Some(Files::open(root.path()).unwrap());
    (root, Patient { files, offline: true, ..Patient::default() })
}

/// What one examination finds in these files.
pub fn found(tree: &[(&str, &str)], examination: fn(&Patient, &mut Findings)) -> Vec<Finding> {
    let (_root, patient) = directory(tree);
    look(&patient, examination)
}

pub fn look(patient: &Patient, examination: fn(&Patient, &mut Findings)) -> Vec<Finding> {
    let mut findings = Findings::default();
    examination(patient, &mut findings);
    let all = |_: &Check| true;
    findings.settled(&all, patient.container.there().is_some())
}

/// The verdicts on one check: result, severity if it is bad, and the place.
pub fn verdicts(findings: &[Finding], id: &str) -> Vec<String> {
    let of = findings.iter().filter(|finding| finding.id == id);
    of.map(|finding| {
        let severity = match finding.severity {
            Severity::Info => " info",
            Severity::Warn => " warn",
            Severity::Error => " error",
            Severity::Critical => " critical",
        };
        let result = match finding.result {
            Outcome::Ok => "ok",
            Outcome::Skip => "skip",
            Outcome::Unknown => "unknown",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
        };
        let severity = if finding.result == Outcome::Fail {
            severity
        } else if finding.severity == Severity::Info && finding.result == Outcome::Warn {
            " info"
        } else {
            ""
        };
        let place = finding.place.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
        format!("{result}{severity}{place}")
    })
    .collect()
}

/// Answers to `docker exec`: what is run, and what it prints; a text that begins with `!` is an error's.
struct Recorded {
    inspect: Value,
    answers: BTreeMap<String, String>,
}

impl Engine for Recorded {
    fn run(&self, args: &[&str]) -> Result<Ran, CommandError> {
        let ok = |text: String| Ran { code: Some(0), stdout: text.into_bytes(), stderr: Vec::new() };
        if args.starts_with(&["container", "inspect"]) {
            return Ok(ok(json!([self.inspect]).to_string()));
        }
        // exec -u 0 -e LC_ALL=C NAME ARGV...
        let command = args[6..].join(" ");
        Ok(match self.answers.get(&command).map(|answer| (answer, answer.split_once("\nstderr: "))) {
            Some((_, Some((stdout, stderr)))) => {
                Ran { code: Some(0), stdout: stdout.as_bytes().to_vec(), stderr: stderr.as_bytes().to_vec() }
            }
            Some((answer, None)) => ok(answer.clone()),
            None if command.starts_with("cat -- ") => {
                let said = format!("{}: No such file or directory", command.replace("-- ", ""));
                Ran { code: Some(1), stdout: Vec::new(), stderr: said.into_bytes() }
            }
            None => Ran {
                code: Some(127),
                stdout: Vec::new(),
                stderr: b"OCI runtime exec failed: exec failed: executable file not found in $PATH".to_vec(),
            },
        })
    }

    fn stream(&self, _: &[&str]) -> Result<Box<dyn Read + Send>, CommandError> {
        unreachable!("nothing is streamed here")
    }
}

/// A container with this inspection, laid over a usual one, and these answers.
pub fn container(inspect: Value, answers: &[(&str, &str)]) -> Patient {
    let mut whole = json!({
        "Id": "f7a2c4b1d3e50123456789abcdef0123456789abcdef0123456789abcdef0123",
        "State": {"Running": true, "Pid": 4711},
        "Config": {"Hostname": "mail.example.com", "Env": [], "Labels": {}},
        "HostConfig": {"NetworkMode": "mail_default"},
        "NetworkSettings": {
            "Ports": {},
            "Networks": {"mail_default": {"IPAddress": "172.20.0.5", "Gateway": "172.20.0.1"}}
        },
        "Mounts": []
    });
    lay_over(&mut whole, inspect);
    let answers = answers.iter().map(|(command, answer)| ((*command).to_owned(), (*answer).to_owned())).collect();
    let engine = Arc::new(Recorded { inspect: whole, answers });
    let container = Container::open(engine, "mail").unwrap();
    Patient { container: Reach::There(container), offline: true, ..Patient::default() }
}

fn lay_over(below: &mut Value, over: Value) {
    match (below, over) {
        (Value::Object(below), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(below.entry(key).or_insert(Value::Null), value);
            }
        }
        (below, over) => *below = over,
    }
}
