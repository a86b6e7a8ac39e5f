//! What the last run found, so that `--changes` can keep silent about it.
//!
//! Answers of name servers and peers flicker: such a check must be bad twice in a row before it counts as changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::catalog::{self, Check};
use super::finding::{Finding, Outcome, Severity};
use crate::files::{Access, Dir, FileError};

/// The name of the file, in the directory of the state.
pub const FILE: &str = "doctor.json";

/// The last run of everything that was ever examined.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    schema: u32,
    /// By what was examined.
    patients: BTreeMap<String, BTreeMap<String, Past>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Past {
    /// The check, and what it looked at.
    id: String,
    about: String,
    result: Outcome,
    severity: Severity,
    /// It was bad in the last run for the first time, which nobody was told yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    doubted: bool,
}

impl Memory {
    /// Nothing that can be read as a memory is no memory: then everything is new.
    pub fn load(directory: &Path) -> Memory {
        let read = Dir::open(directory).and_then(|dir| dir.read(FILE)).ok().flatten();
        read.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub fn save(&self, directory: &Path) -> Result<(), FileError> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a memory is JSON");
        bytes.push(b'\n');
        Dir::open(directory)?.replace(FILE, &bytes, Access::mode(0o600))
    }

    /// What is new in `found` about `patient`, and remembers it.
    ///
    /// A problem that is gone comes back as an [`Outcome::Ok`]. What could not be looked at this time is left as it
    /// was. `gone` says the sentence for what is not found any more.
    pub fn changes(
        &mut self,
        patient: &str,
        found: Vec<Finding>,
        wanted: &dyn Fn(&Check) -> bool,
        gone: &dyn Fn() -> String,
    ) -> Vec<Finding> {
        self.schema = crate::report::SCHEMA;
        let past = self.patients.entry(patient.to_owned()).or_default();
        let unknown: BTreeSet<&str> =
            found.iter().filter(|finding| finding.result == Outcome::Unknown).map(|finding| finding.id).collect();
        let still: BTreeSet<String> = found.iter().map(key).collect();
        let mut changed: Vec<Finding> = Vec::new();
        for (_, old) in past.iter().filter(|(name, _)| !still.contains(*name)) {
            let Some(check) = catalog::find(&old.id).filter(|check| wanted(check)) else { continue };
            if old.result.is_bad() && !unknown.contains(check.id) {
                changed.push(Finding::gone(check.id, &old.about, gone()));
            }
        }
        past.retain(|name, old| {
            still.contains(name) || unknown.contains(old.id.as_str()) || !catalog::find(&old.id).is_some_and(wanted)
        });
        for finding in found {
            let old = past.get(&key(&finding));
            match news(&finding, old) {
                News::Known => {}
                News::Doubted => {
                    let (result, severity) =
                        old.map_or((Outcome::Ok, Severity::Info), |old| (old.result, old.severity));
                    past.insert(key(&finding), Past { result, severity, doubted: true, ..Past::of(&finding) });
                }
                News::Quiet => {
                    past.insert(key(&finding), Past::of(&finding));
                }
                News::Told => {
                    past.insert(key(&finding), Past::of(&finding));
                    changed.push(finding);
                }
            }
        }
        changed.sort_by_key(|finding| catalog::position(finding.id));
        changed
    }
}

enum News {
    /// Nothing that was not known, or nothing that could be learnt.
    Known,
    /// Bad, but only once so far.
    Doubted,
    /// Worth remembering, and not worth a word.
    Quiet,
    Told,
}

fn news(finding: &Finding, old: Option<&Past>) -> News {
    let bad = finding.result.is_bad();
    match old {
        Some(_) if finding.result == Outcome::Unknown => News::Known,
        Some(old) if old.result == finding.result && old.severity == finding.severity && !old.doubted => News::Known,
        Some(old) if old.result == finding.result && old.severity == finding.severity => News::Quiet,
        _ if bad
            && catalog::check(finding.id).flickers()
            && !old.is_some_and(|old| old.doubted || old.result.is_bad()) =>
        {
            News::Doubted
        }
        None if !bad && finding.result != Outcome::Unknown => News::Quiet,
        // What was unknown, or passed over, and is well now is no news either.
        Some(old) if !bad && !old.result.is_bad() => News::Quiet,
        _ => News::Told,
    }
}

fn key(finding: &Finding) -> String {
    let file = finding.place.as_ref().map_or("", |place| place.file.as_str());
    format!("{} {} {file}", finding.id, finding.about)
}

impl Past {
    fn of(finding: &Finding) -> Past {
        Past {
            id: finding.id.to_owned(),
            about: finding.about.clone(),
            result: finding.result,
            severity: finding.severity,
            doubted: false,
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
