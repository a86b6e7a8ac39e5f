//! Live records against the ledger.

use std::fmt::Write as _;

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::seen::{Sweep, Verdict};
use dkimctl_state::name::{Fqdn, Label, Selector, SigningDomain};
use dkimctl_state::record::txt::TxtText;
use serde::Serialize;

use super::{Paint, Report, words};

#[derive(Debug, Default, Serialize)]
pub struct VerifyReport {
    pub records: Vec<Record>,
    /// What each provider itself holds.
    pub providers: Vec<HeldRecord>,
    /// Selectors that no ledger knows, where a provider can list its names.
    pub unknown_selectors: Vec<Stranger>,
}

/// One key's record at one provider.
#[derive(Debug, Serialize)]
pub struct HeldRecord {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub phase: Phase,
    pub name: Fqdn,
    pub provider: Label,
    #[serde(flatten)]
    pub held: Held,
}

/// How a record stands at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Held {
    Right,
    Missing,
    /// It was missing, and was written again.
    Repaired,
    NotRepaired {
        why: String,
    },
    /// Somebody has changed it: that is a question to a person, and is never written over.
    Changed {
        texts: Vec<TxtText>,
    },
    Unusable {
        why: String,
    },
    Unknown {
        why: String,
    },
}

/// A record below `_domainkey` whose selector is not in the state: another sender's, or a forgotten one.
#[derive(Debug, Serialize)]
pub struct Stranger {
    pub domain: SigningDomain,
    pub name: Fqdn,
    pub provider: Label,
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
        let held = |wanted: fn(&Held) -> bool| self.providers.iter().any(|record| wanted(&record.held));
        let bad = |held: &Held| {
            matches!(held, Held::Missing | Held::NotRepaired { .. } | Held::Changed { .. } | Held::Unusable { .. })
        };
        if any(|finding| matches!(finding, Finding::Missing { .. } | Finding::Other { .. })) || held(bad) {
            Outcome::Wrong
        } else if any(|finding| matches!(finding, Finding::Unknown { .. }))
            || held(|held| matches!(held, Held::Unknown { .. }))
        {
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
        for HeldRecord { name, phase, provider, held, .. } in &self.providers {
            let (mark, said) = match held {
                Held::Right => continue,
                Held::Missing => (paint.red("FAIL "), "missing; verify --repair writes it again".to_owned()),
                Held::Repaired => (paint.green("done "), "was missing, and is written again".to_owned()),
                Held::NotRepaired { why } => (paint.red("FAIL "), format!("missing, and not written again: {why}")),
                Held::Changed { texts } => {
                    let texts: Vec<String> = texts.iter().map(words::short).collect();
                    (
                        paint.red("FAIL "),
                        format!("somebody changed it to {}; nothing is written over", texts.join(", ")),
                    )
                }
                Held::Unusable { why } => (paint.red("FAIL "), why.clone()),
                Held::Unknown { why } => (paint.yellow("?    "), format!("could not be asked: {why}")),
            };
            let _ = writeln!(out, "{mark}{name} ({phase}) at {provider}: {said}");
        }
        for Stranger { name, provider, .. } in &self.unknown_selectors {
            let mark = paint.dim("note ");
            let _ = writeln!(out, "{mark}{name} at {provider}: a selector that is not in the state");
        }
        out
    }
}
