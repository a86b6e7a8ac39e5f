//! Live records against the ledger.

use std::fmt::Write as _;

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::seen::{Sweep, Verdict};
use dkimctl_state::name::{Fqdn, Selector, SigningDomain};
use dkimctl_state::record::txt::TxtText;
use serde::Serialize;

use super::{Paint, Report, words};

#[derive(Debug, Default, Serialize)]
pub struct VerifyReport {
    pub records: Vec<Record>,
}

#[derive(Debug, Serialize)]
pub struct Record {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub phase: Phase,
    pub name: Fqdn,
    #[serde(flatten)]
    pub finding: Finding,
}

/// How one record stands. What could not be asked is never a finding against it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Finding {
    /// Every server has exactly our value.
    Right {
        servers: usize,
    },
    /// It is not there yet, or not any more, as it should be.
    Expected {
        why: String,
    },
    Missing {
        servers: Vec<String>,
    },
    Other {
        server: String,
        texts: Vec<TxtText>,
    },
    Unknown {
        servers: Vec<String>,
    },
}

/// What all findings come to, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Right,
    Wrong,
    /// Nothing is wrong as far as could be seen, but not everything could.
    NotChecked,
}

impl Finding {
    /// Measures a sweep against what a key in this phase must show.
    pub fn of(phase: Phase, wanted: &TxtText, sweep: &Sweep) -> Finding {
        match (phase, sweep.verdict(wanted)) {
            (_, Verdict::Match) => Finding::Right { servers: sweep.answers.len() },
            (_, Verdict::Unknown { servers }) => Finding::Unknown { servers },
            // A key that does not sign yet may still be on its way to the servers.
            (Phase::Sealed | Phase::Published, Verdict::Missing { servers }) => {
                Finding::Expected { why: format!("not yet at {}", servers.join(", ")) }
            }
            (_, Verdict::Missing { servers }) => Finding::Missing { servers },
            (_, Verdict::Conflict { server, texts }) => Finding::Other { server, texts },
        }
    }
}

impl VerifyReport {
    pub fn outcome(&self) -> Outcome {
        let any = |wanted: fn(&Finding) -> bool| self.records.iter().any(|record| wanted(&record.finding));
        if any(|finding| matches!(finding, Finding::Missing { .. } | Finding::Other { .. })) {
            Outcome::Wrong
        } else if any(|finding| matches!(finding, Finding::Unknown { .. })) {
            Outcome::NotChecked
        } else {
            Outcome::Right
        }
    }
}

impl Report for VerifyReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Record { name, phase, finding, .. } in &self.records {
            let (mark, said) = match finding {
                Finding::Right { servers: 1 } => (paint.green("ok   "), "the one address asked has it".to_owned()),
                Finding::Right { servers } => (paint.green("ok   "), format!("all {servers} addresses have it")),
                Finding::Expected { why } => (paint.green("ok   "), why.clone()),
                Finding::Missing { servers } => (paint.red("FAIL "), format!("missing at {}", servers.join(", "))),
                Finding::Other { server, texts } => {
                    let texts: Vec<String> = texts.iter().map(words::short).collect();
                    (paint.red("FAIL "), format!("{server} has {}", texts.join(", ")))
                }
                Finding::Unknown { servers } if servers.is_empty() => {
                    (paint.yellow("?    "), "no name server could be asked".to_owned())
                }
                Finding::Unknown { servers } => {
                    (paint.yellow("?    "), format!("no answer from {}", servers.join(", ")))
                }
            };
            let _ = writeln!(out, "{mark}{name} ({phase}): {said}");
        }
        out
    }
}
