//! What the doctor says. One file a group of checks holds its sentences, each a function from what was seen to
//! [`Said`](crate::doctor::finding::Said); [`explain`] says at length what a check is about. The report itself comes
//! in four shapes: for people, JSON, annotations of GitHub ([`github`]), and SARIF ([`sarif`]).

use std::fmt::Write as _;

use serde::Serialize;

use super::{Paint, Report};
use crate::doctor::catalog::{self, Group};
use crate::doctor::finding::{Finding, Outcome, Place, Severity};

pub mod builds;
pub mod catchers;
pub mod dkim;
pub mod explain;
pub mod github;
pub mod helo_name;
pub mod helo_seen;
pub mod image;
pub mod keyfiles;
pub mod logs;
pub mod net;
pub mod policy;
pub mod queue;
pub mod relay_probe;
pub mod relay_trust;
pub mod safekeys;
pub mod sarif;
pub mod settings;
pub mod tables;

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct DoctorReport {
    pub checks: Vec<Finding>,
    #[serde(skip)]
    pub look: Look,
}

/// How much of it is shown to people, and with which marks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Also what was passed over, and why.
    pub verbose: bool,
    /// Only what is not well.
    pub quiet: bool,
    /// Only what is new: then nothing at all is said when nothing is.
    pub changes: bool,
    /// The terminal can show more than ASCII.
    pub unicode: bool,
}

impl DoctorReport {
    pub fn has(&self, result: Outcome) -> bool {
        self.checks.iter().any(|finding| finding.result == result)
    }

    fn count(&self, wanted: impl Fn(&Finding) -> bool) -> usize {
        self.checks.iter().filter(|finding| wanted(finding)).count()
    }

    fn is_shown(&self, finding: &Finding) -> bool {
        match finding.result {
            Outcome::Skip => self.look.verbose,
            Outcome::Ok => !self.look.quiet,
            _ => true,
        }
    }

    fn summary(&self) -> String {
        let of = |result| self.count(|finding| finding.result == result);
        let infos = self.count(|finding| finding.result == Outcome::Warn && finding.severity == Severity::Info);
        let warnings = of(Outcome::Warn) - infos;
        let mut parts = vec![format!("{} ok", of(Outcome::Ok)), format!("{} failed", of(Outcome::Fail))];
        match warnings {
            0 => {}
            1 => parts.push("1 warning".to_owned()),
            many => parts.push(format!("{many} warnings")),
        }
        for (count, what) in
            [(infos, "to know"), (of(Outcome::Unknown), "not checked"), (of(Outcome::Skip), "passed over")]
        {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        parts.join(", ")
    }
}

impl Report for DoctorReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        if self.look.changes && self.checks.is_empty() {
            return out;
        }
        let mut group: Option<Group> = None;
        for finding in self.checks.iter().filter(|finding| self.is_shown(finding)) {
            let check = catalog::check(finding.id);
            if group != Some(check.group) {
                group = Some(check.group);
                let _ = writeln!(out, "{}", paint.bold(group_name(check.group)));
            }
            out.push_str(&self.line(finding, paint));
        }
        let worst = self.checks.iter().filter(|finding| finding.result.is_bad()).max_by_key(|finding| finding.severity);
        let more = worst.map(|finding| format!("  More: dkimctl explain {}", finding.id)).unwrap_or_default();
        let _ = writeln!(out, "{}.{more}", self.summary());
        out
    }
}

impl DoctorReport {
    fn line(&self, finding: &Finding, paint: Paint) -> String {
        let mark = mark(finding, self.look.unicode);
        let mark = match (finding.result, finding.severity) {
            (Outcome::Ok, _) => paint.green(mark),
            (Outcome::Fail, _) => paint.red(mark),
            (Outcome::Warn, Severity::Info) | (Outcome::Skip, _) => paint.dim(mark),
            (Outcome::Warn | Outcome::Unknown, _) => paint.yellow(mark),
        };
        let indent = " ".repeat(if self.look.unicode { 13 } else { 16 });
        let place = finding.place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default();
        let mut lines = finding.evidence.lines();
        let first = lines.next().unwrap_or_default();
        let mut out = format!("  {mark} {:<8} {place}{first}\n", finding.id);
        for line in lines {
            let _ = writeln!(out, "{indent}{line}");
        }
        for (index, line) in finding.fix.lines().enumerate() {
            let lead = if index == 0 { paint.dim("fix  ") } else { "     ".to_owned() };
            let _ = writeln!(out, "{indent}{lead}{line}");
        }
        out
    }
}

/// A mark that says the result without colour.
fn mark(finding: &Finding, unicode: bool) -> &'static str {
    match (finding.result, finding.severity, unicode) {
        (Outcome::Ok, _, true) => "✓",
        (Outcome::Fail, _, true) => "✗",
        (Outcome::Warn, Severity::Info, true) => "i",
        (Outcome::Warn, _, true) => "‼",
        (Outcome::Unknown, _, true) => "?",
        (Outcome::Skip, _, true) => "-",
        (Outcome::Ok, _, false) => "ok  ",
        (Outcome::Fail, _, false) => "FAIL",
        (Outcome::Warn, Severity::Info, false) => "info",
        (Outcome::Warn, _, false) => "WARN",
        (Outcome::Unknown, _, false) => "?   ",
        (Outcome::Skip, _, false) => "skip",
    }
}

pub fn group_name(group: Group) -> &'static str {
    match group {
        Group::Net => "network",
        Group::Ip6 => "IPv6",
        Group::Helo => "HELO",
        Group::Key => "keys",
        Group::Dkim => "DKIM",
        Group::Spf => "SPF",
        Group::Dmarc => "DMARC",
        Group::Relay => "relaying",
        Group::Queue => "queue",
        Group::Pf => "Postfix",
        Group::Sys => "system",
        Group::Dev => "development",
    }
}

/// What `--changes` says of a problem that is gone.
pub fn gone() -> String {
    "not found any more".to_owned()
}

/// Why there is nothing to examine.
pub const NOTHING_TO_EXAMINE: &str =
    "there is nothing to examine here: no Compose file, no Dockerfile, no configuration";
pub const NOTHING_TO_EXAMINE_HINT: &str =
    "name a directory, a container or an image: dkimctl doctor --files DIR --container NAME --image REF";

/// What was asked for with `--only`, and is neither a group nor a check.
pub fn no_such_check(seen: &str, nearest: Option<&str>) -> String {
    match nearest {
        Some(nearest) => format!("`{seen}` is neither a check nor a group of checks; did you mean {nearest}?"),
        None => format!("`{seen}` is neither a check nor a group of checks"),
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file)?;
        self.line.map_or(Ok(()), |line| write!(f, ":{line}"))
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod page_tests;
