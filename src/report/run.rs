//! What a run did, what it waits for, what went wrong.

use std::fmt::Write as _;

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::wait::Wait;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::time::Time;
use serde::Serialize;

use super::plan::WaitLine;
use super::words::{self, Selectors};
use super::{Paint, Report, hints};
use crate::advance::Run;

#[derive(Debug, Default, Serialize)]
pub struct RunReport {
    pub done: Vec<Done>,
    pub waits: Vec<Waiting>,
    pub failures: Vec<Failed>,
    /// When to run again; `null` when only a request can change anything.
    pub wake: Option<Time>,
    /// How many domains were looked at.
    pub domains: usize,
    /// Too many of the first domains failed, and the others were left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

#[derive(Debug, Serialize)]
pub struct Stopped {
    /// From 1.
    pub wave: usize,
    pub of: usize,
    /// Domains of this wave and those before it.
    pub tried: usize,
    pub failed: Vec<SigningDomain>,
    /// Domains that were not looked at.
    pub left: usize,
}

impl Stopped {
    pub fn sentence(&self) -> String {
        let Stopped { wave, of, tried, failed, left } = self;
        format!(
            "stopped in wave {wave} of {of}: {} of {tried} domains failed, more than the failure budget; the other {left} \
             were left as they are",
            failed.len()
        )
    }

    pub fn hint(&self) -> String {
        let first = self.failed.first().map(ToString::to_string).unwrap_or_default();
        format!("when that is mended: dkimctl advance; or dkimctl hold {first} if it is the only one that is wrong")
    }
}

#[derive(Debug, Serialize)]
pub struct Done {
    pub domain: SigningDomain,
    pub at: Time,
    #[serde(flatten)]
    pub fact: Fact,
    pub sentence: String,
}

#[derive(Debug, Serialize)]
pub struct Waiting {
    pub domain: SigningDomain,
    #[serde(flatten)]
    pub line: WaitLine,
}

#[derive(Debug, Serialize)]
pub struct Failed {
    pub domain: SigningDomain,
    pub sentence: String,
    pub hint: String,
}

impl RunReport {
    /// Adds what a run of a batch did.
    pub fn add(&mut self, run: Run, selectors: &Selectors) {
        self.domains += run.waits.len();
        self.done.extend(run.done.into_iter().map(|(domain, at, fact)| {
            let sentence = words::fact(&fact, selectors);
            Done { domain, at, fact, sentence }
        }));
        for (domain, waits) in run.waits {
            let line = |wait: Wait| Waiting { line: WaitLine::new(wait, &domain), domain: domain.clone() };
            self.waits.extend(waits.into_iter().map(line));
        }
        self.failures.extend(run.failures.into_iter().map(|(domain, failure)| {
            let hint = hints::failure(&failure, &domain);
            Failed { sentence: failure.to_string(), hint, domain }
        }));
        self.wake = [self.wake, run.wake].into_iter().flatten().min();
    }

    /// Whether there is anything to tell: cron's mail stays away when nothing happened.
    pub fn is_silent(&self) -> bool {
        self.done.is_empty() && self.failures.is_empty() && self.stopped.is_none()
    }
}

/// More domains than that are counted, not listed.
const FEW: usize = 20;

impl Report for RunReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for done in &self.done {
            let _ = writeln!(out, "{} {} {}", paint.green("done"), paint.bold(&done.domain), done.sentence);
        }
        if self.domains <= FEW {
            for waiting in &self.waits {
                let _ =
                    writeln!(out, "{} {} {}", paint.yellow("wait"), paint.bold(&waiting.domain), waiting.line.sentence);
            }
        } else {
            let _ = writeln!(out, "{} {} domains have {} waits", paint.yellow("wait"), self.domains, self.waits.len());
        }
        // Failures are errors: they go to standard error, each with its hint.
        out
    }
}
