//! What `spf` says: a check, an evaluation, a plan, an adoption.

use dkimctl_state::record::lint::Severity;
use serde::Serialize;

use super::{Paint, Report};
use crate::spf::eval::{Evaluation, MOST_LOOKUPS, MOST_VOIDS};
use crate::spf::flatten::Flat;
use crate::spf::lint::{self, Finding};
use crate::spf::tree::{AtDomain, Branch, Visit};

/// The result of check_host() for one session.
#[derive(Debug, Serialize)]
pub struct EvalReport {
    pub result: &'static str,
    /// The domain's own words for a fail; empty if it has none.
    pub explanation: String,
    pub lookups: u32,
    pub void_lookups: u32,
    /// Why it is an error, or nothing at all; empty otherwise.
    pub reason: String,
    #[serde(skip)]
    tree: Branch,
    #[serde(skip)]
    verbose: bool,
}

impl EvalReport {
    pub fn new(found: Evaluation, verbose: bool) -> Self {
        EvalReport {
            result: found.outcome.as_str(),
            explanation: found.explanation.unwrap_or_default(),
            lookups: found.lookups,
            void_lookups: found.void_lookups,
            reason: found.why.unwrap_or_default(),
            tree: found.tree,
            verbose,
        }
    }
}

impl Report for EvalReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = format!("{}\n", paint.bold(self.result));
        for line in [&self.explanation, &self.reason].into_iter().filter(|line| !line.is_empty()) {
            out.push_str(&format!("  {line}\n"));
        }
        out.push_str(&format!(
            "  {} of {MOST_LOOKUPS} lookups, {} of {MOST_VOIDS} that found nothing\n",
            self.lookups, self.void_lookups
        ));
        if self.verbose {
            out.push_str(&tree_text(&self.tree, 1));
        }
        out
    }
}

/// What `spf check` found at some domains.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    pub domains: Vec<Checked>,
}

#[derive(Debug, Serialize)]
pub struct Checked {
    pub domain: String,
    pub records: Vec<String>,
    pub lookups: u32,
    pub void_lookups: u32,
    pub findings: Vec<Finding>,
    /// What DNS did not tell.
    pub unknown: Vec<String>,
    pub tree: TreeReport,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flat: Option<Flat>,
    #[serde(skip)]
    branch: Branch,
}

/// A branch, as JSON.
#[derive(Debug, Serialize)]
pub struct TreeReport {
    pub domain: String,
    pub record: Option<String>,
    /// Why there is no record to read.
    pub problem: Option<String>,
    pub lookups: u32,
    pub terms: Vec<TermReport>,
}

#[derive(Debug, Serialize)]
pub struct TermReport {
    pub term: String,
    pub target: Option<String>,
    pub lookups: u32,
    pub voids: Vec<String>,
    pub addresses: Vec<std::net::IpAddr>,
    pub depends_on_message: bool,
    pub below: Option<TreeReport>,
}

impl Checked {
    pub fn new(report: lint::Report, flat: Option<Flat>) -> Self {
        Checked {
            domain: report.domain,
            records: report.texts.iter().map(ToString::to_string).collect(),
            lookups: report.lookups,
            void_lookups: report.void_lookups,
            findings: report.findings,
            unknown: report.unknown,
            tree: TreeReport::new(&report.tree),
            flat,
            branch: report.tree,
        }
    }

    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

impl TreeReport {
    fn new(branch: &Branch) -> Self {
        let record = match &branch.at {
            AtDomain::Record(text) | AtDomain::Broken { text, .. } => Some(text.clone()),
            _ => None,
        };
        let problem = problem(&branch.at);
        let terms = branch.terms.iter().map(TermReport::new).collect();
        TreeReport { domain: branch.domain.clone(), record, problem, lookups: branch.lookups(), terms }
    }
}

impl TermReport {
    fn new(visit: &Visit) -> Self {
        TermReport {
            term: visit.term.to_string(),
            target: visit.target.clone(),
            lookups: visit.lookups(),
            voids: visit.voids.iter().map(|(name, kind)| format!("{name} {kind}")).collect(),
            addresses: visit.addresses.clone(),
            depends_on_message: visit.dynamic,
            below: visit.below.as_ref().map(TreeReport::new),
        }
    }
}

impl Report for CheckReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for checked in &self.domains {
            out.push_str(&format!(
                "{}: {} of {MOST_LOOKUPS} lookups, {} of {MOST_VOIDS} that find nothing\n",
                paint.bold(&checked.domain),
                checked.lookups,
                checked.void_lookups
            ));
            out.push_str(&tree_text(&checked.branch, 1));
            for finding in &checked.findings {
                let severity = paint.severity(finding.severity);
                let Finding { id, domain, seen, fix, .. } = finding;
                out.push_str(&format!("  {id} {severity} at {domain}: {seen}\n         {fix}\n"));
            }
            for unknown in &checked.unknown {
                out.push_str(&format!("  not checked: {unknown}\n"));
            }
            if checked.findings.is_empty() && checked.unknown.is_empty() {
                out.push_str(&format!("  {}\n", paint.green("nothing to mend")));
            }
            if let Some(flat) = &checked.flat {
                let Flat { record, snapshot, kept, octets, .. } = flat;
                out.push_str(&format!(
                    "  flattened ({octets} octets), only a plan: {record}\n  from snapshot {snapshot}\n"
                ));
                kept.iter().for_each(|term| out.push_str(&format!("  stays: {term}\n")));
            }
        }
        out
    }
}

/// What `spf apply` is about to do, or did.
#[derive(Debug, Serialize)]
pub struct ApplyReport {
    pub domains: Vec<Applied>,
}

#[derive(Debug, Serialize)]
pub struct Applied {
    pub domain: String,
    pub old: Option<String>,
    pub new: String,
    /// Whether it differs from what stands.
    pub changes: bool,
    /// Whether it was written.
    pub written: bool,
    /// Why the ending does not change yet.
    pub wait: Option<String>,
}

impl Report for ApplyReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for applied in self.domains.iter().filter(|applied| applied.changes) {
            let done = if applied.written { "written and read back" } else { "to be written" };
            out.push_str(&format!("{}: {done}\n", paint.bold(&applied.domain)));
            if let Some(old) = &applied.old {
                out.push_str(&format!("  {}\n", paint.red(format!("- {old}"))));
            }
            out.push_str(&format!("  {}\n", paint.green(format!("+ {}", applied.new))));
        }
        out
    }
}

/// What `spf adopt` took over.
#[derive(Debug, Serialize)]
pub struct AdoptReport {
    pub domain: String,
    pub text: String,
}

impl Report for AdoptReport {
    fn text(&self, _: Paint) -> String {
        format!("{}: adopted; `dkimctl spf apply` may change it now\n  {}\n", self.domain, self.text)
    }
}

/// One line a term: its lookups, its text, what it came to.
fn tree_text(branch: &Branch, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut out = String::new();
    if let Some(problem) = problem(&branch.at) {
        out.push_str(&format!("{indent}{problem}\n"));
    }
    for visit in &branch.terms {
        let lookups = visit.lookups();
        let count = if lookups > 0 { lookups.to_string() } else { String::new() };
        let matched = if visit.matched == Some(true) { "  matches" } else { "" };
        let empty: Vec<String> = visit.voids.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        let empty = if empty.is_empty() { String::new() } else { format!("  nothing at {}", empty.join(", ")) };
        out.push_str(&format!("{indent}{count:>3}  {}{matched}{empty}\n", visit.term));
        if let Some(below) = &visit.below {
            out.push_str(&tree_text(below, depth + 1));
        }
    }
    out
}

fn problem(at: &AtDomain) -> Option<String> {
    Some(match at {
        AtDomain::Record(_) => return None,
        AtDomain::Broken { why, .. } => format!("cannot be read: {why}"),
        AtDomain::None { exists: true } => "has no SPF record".to_owned(),
        AtDomain::None { exists: false } => "does not exist, or has no TXT".to_owned(),
        AtDomain::Several(all) => format!("has {} SPF records", all.len()),
        AtDomain::Unknown(why) => format!("not known: {why}"),
        AtDomain::Loop => "leads back to a record above".to_owned(),
        AtDomain::Dynamic => "depends on the message".to_owned(),
        AtDomain::CutOff => "not looked at any more".to_owned(),
    })
}
