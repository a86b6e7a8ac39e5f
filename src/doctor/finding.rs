//! What a check found, and how evidence of several tiers is weighed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::catalog::{self, Check};

/// How a check ended. What could not be looked at is [`Outcome::Unknown`], and never a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Ok,
    /// It does not apply here, or was not asked for.
    Skip,
    Unknown,
    /// A finding of severity info or warn.
    Warn,
    /// A finding of severity error or critical.
    Fail,
}

/// What a finding costs: info nothing, warn something one day, error mail now, critical somebody else's mail or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Warn,
    Error,
    Critical,
}

/// How close to the mail the evidence was taken. The higher overrides the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Written somewhere: compose files, Dockerfiles, main.cf, an image.
    Files,
    /// In force: `postconf`, `docker inspect`, DNS.
    Effective,
    /// Seen by somebody else: the peer of a connection, a signer that was probed, a mailbox.
    Observed,
}

/// Where in a file something stands; lines and columns from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    pub file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
}

/// What was seen, and what to do about it, as people read it. Several lines are fine; the first one stands alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What was seen, where, and why it matters.
    pub evidence: String,
    /// Who must do what, with the exact text or command; empty where nothing is to be done.
    pub fix: String,
}

/// One thing that a check looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: &'static str,
    pub severity: Severity,
    pub result: Outcome,
    pub tier: Tier,
    /// What was looked at: a service, an address, a record; the same thing at every tier has the same name.
    pub about: String,
    pub evidence: String,
    pub fix: String,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Outcome {
    pub fn of(severity: Severity) -> Outcome {
        if severity >= Severity::Error { Outcome::Fail } else { Outcome::Warn }
    }

    /// Whether it is something to be mended.
    pub fn is_bad(self) -> bool {
        matches!(self, Outcome::Warn | Outcome::Fail)
    }
}

impl Place {
    pub fn line(file: impl Into<String>, line: u32) -> Place {
        Place { file: file.into(), line: Some(line), column: None }
    }

    pub fn file(file: impl Into<String>) -> Place {
        Place { file: file.into(), line: None, column: None }
    }
}

impl Finding {
    fn new(id: &'static str, tier: Tier, about: impl Into<String>, result: Outcome, said: Said) -> Finding {
        let severity = catalog::check(id).severity;
        let Said { evidence, fix } = said;
        Finding { id, severity, result, tier, about: about.into(), evidence, fix, place: None }
    }

    /// A problem of an earlier run that is not found any more.
    pub(super) fn gone(id: &'static str, about: &str, sentence: String) -> Finding {
        let said = Said { evidence: sentence, fix: String::new() };
        Finding::new(id, Tier::Files, about, Outcome::Ok, said)
    }

    pub fn at(&mut self, place: Place) -> &mut Finding {
        self.place = Some(place);
        self
    }

    /// A finding that weighs otherwise than its check usually does.
    pub fn weighing(&mut self, severity: Severity) -> &mut Finding {
        self.severity = severity;
        if self.result.is_bad() {
            self.result = Outcome::of(severity);
        }
        self
    }
}

/// What the checks leave behind.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// It is as it should be.
    pub fn ok(&mut self, id: &'static str, tier: Tier, about: impl Into<String>, evidence: impl Into<String>) {
        let said = Said { evidence: evidence.into(), fix: String::new() };
        self.0.push(Finding::new(id, tier, about, Outcome::Ok, said));
    }

    /// It is not as it should be.
    pub fn found(&mut self, id: &'static str, tier: Tier, about: impl Into<String>, said: Said) -> &mut Finding {
        let outcome = Outcome::of(catalog::check(id).severity);
        self.push(Finding::new(id, tier, about, outcome, said))
    }

    /// It could not be looked at.
    pub fn unknown(&mut self, id: &'static str, tier: Tier, about: impl Into<String>, said: Said) -> &mut Finding {
        self.push(Finding::new(id, tier, about, Outcome::Unknown, said))
    }

    /// There is nothing to look at.
    pub fn skip(&mut self, id: &'static str, about: impl Into<String>, why: impl Into<String>) {
        let said = Said { evidence: why.into(), fix: String::new() };
        self.0.push(Finding::new(id, Tier::Files, about, Outcome::Skip, said));
    }

    pub fn push(&mut self, finding: Finding) -> &mut Finding {
        self.0.push(finding);
        self.0.last_mut().expect("one was pushed")
    }

    /// Everything that another thread found.
    pub(super) fn append(&mut self, other: Findings) {
        self.0.extend(other.0);
    }

    /// What was left behind so far, in the order in which it was found.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// The last word on each thing, in the order of the catalogue.
    ///
    /// A higher tier overrides a lower one if it knows; "unknown" and "skip" override nothing, and say nothing where
    /// something is known. With a container at hand (`looked_inside`), files alone prove no error of what runs: it
    /// may have been set right elsewhere.
    pub fn settled(self, wanted: &dyn Fn(&Check) -> bool, looked_inside: bool) -> Vec<Finding> {
        // How much is known: skip < unknown < known from files < in force < observed.
        let weight = |finding: &Finding| match finding.result {
            Outcome::Skip => (0, Tier::Files),
            Outcome::Unknown => (1, Tier::Files),
            _ => (2, finding.tier),
        };
        let mut best: BTreeMap<(&str, &str), (u8, Tier)> = BTreeMap::new();
        for finding in &self.0 {
            let known = best.entry((finding.id, &finding.about)).or_insert((0, Tier::Files));
            *known = (*known).max(weight(finding));
        }
        let is_last_word = |finding: &&Finding| best[&(finding.id, &*finding.about)] == weight(finding);
        let mut settled: Vec<Finding> = self.0.iter().filter(is_last_word).cloned().collect();
        settled.retain(|finding| wanted(catalog::check(finding.id)));
        for finding in &mut settled {
            let only_written = finding.tier == Tier::Files && !catalog::check(finding.id).is_of_files();
            if looked_inside && only_written && finding.result == Outcome::Fail {
                finding.weighing(Severity::Warn);
            }
        }
        settled.sort_by_key(|finding| catalog::position(finding.id));
        settled.dedup();
        settled
    }
}

#[cfg(test)]
#[path = "finding_tests.rs"]
mod tests;
