//! What would be done now: the exact change of every record, every table, every file.

use std::fmt::Write as _;

use dkimctl_state::lifecycle::ledger::{Incoming, Ledger};
use dkimctl_state::lifecycle::plan::Plan;
use dkimctl_state::lifecycle::step::Step;
use dkimctl_state::lifecycle::wait::Wait;
use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::time::Time;
use serde::Serialize;

use super::words::{self, Selectors};
use super::{Paint, Report};

#[derive(Debug, Default, Serialize)]
pub struct PlanReport {
    pub domains: Vec<DomainPlan>,
}

#[derive(Debug, Serialize)]
pub struct DomainPlan {
    pub domain: SigningDomain,
    pub steps: Vec<StepLine>,
    pub waits: Vec<WaitLine>,
    /// Why the steps would be refused, where that is known beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    pub wake: Option<Time>,
}

#[derive(Debug, Serialize)]
pub struct StepLine {
    /// `generate`, `publish`, ...
    pub step: &'static str,
    /// The provider or the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Label>,
    pub sentence: String,
    /// Lines that begin with `+` or `-`: records as a zone file has them, rows of the signer's tables, files.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diff: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct WaitLine {
    pub sentence: String,
    /// Who can end it: `time`, `dns`, `host`, `operator`.
    pub who: dkimctl_state::lifecycle::wait::Who,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The next command, where a person ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    pub detail: Wait,
}

impl WaitLine {
    pub fn new(wait: Wait, domain: &SigningDomain) -> Self {
        WaitLine {
            sentence: words::wait(&wait),
            who: wait.who(),
            until: wait.until(),
            next: words::advice(&wait, domain),
            detail: wait,
        }
    }
}

impl PlanReport {
    pub fn add(&mut self, plan: Plan, ledger: &Ledger, refused: Option<String>) {
        let scene = Scene { ledger, selectors: Selectors::of(ledger) };
        self.domains.push(DomainPlan {
            steps: plan.steps.iter().map(|step| scene.line(step)).collect(),
            waits: plan.waits.into_iter().map(|wait| WaitLine::new(wait, &plan.domain)).collect(),
            refused,
            wake: plan.wake,
            domain: plan.domain,
        });
    }

    /// Whether anything would be done.
    pub fn is_pending(&self) -> bool {
        self.domains.iter().any(|plan| !plan.steps.is_empty())
    }
}

/// What steps are told against.
struct Scene<'a> {
    ledger: &'a Ledger,
    selectors: Selectors,
}

impl Scene<'_> {
    fn line(&self, step: &Step) -> StepLine {
        let domain = &self.ledger.domain;
        let line = |step, at: Option<&Label>, sentence, diff| StepLine { step, at: at.cloned(), sentence, diff };
        match step {
            Step::Record(fact) => {
                line("record", None, format!("write down: {}", words::fact(fact, &self.selectors)), Vec::new())
            }
            Step::Generate { algorithm, selector } => {
                let name = selector.record_name(domain);
                let diff = vec![
                    "+ blobs/<fingerprint>.age".to_owned(),
                    format!("+ {name}. TXT \"v=DKIM1; k={algorithm}; h=sha256; p=<the new key>\""),
                ];
                line("generate", None, format!("make a new {algorithm} key for {selector}, seal it, publish it"), diff)
            }
            Step::Publish { provider, name, text, ttl, .. } => {
                let diff = vec![format!("+ {name}. {ttl} IN TXT {}", text.quoted())];
                line("publish", Some(provider), format!("publish {name} at {provider}"), diff)
            }
            Step::Deliver { key, host } => {
                let sentence = format!("give the sealed key of {} to {host}", self.selectors.name(key));
                line("deliver", Some(host), sentence, vec![format!("+ {host}: blobs/{}.age", key.short())])
            }
            Step::Switch { key, host } => {
                let sentence = format!("tell {host} to sign with {}", self.selectors.name(key));
                line("switch", Some(host), sentence, self.tables(self.signing_now(key), Some(key)))
            }
            Step::TurnBack { key, host } => {
                let back = self.signing_now(key);
                let sentence = match &back {
                    Some(old) => format!("tell {host} to sign with {} again", self.selectors.name(old)),
                    None => format!("tell {host} not to sign any more"),
                };
                line("turn_back", Some(host), sentence, self.tables(Some(*key), back.as_ref()))
            }
            Step::Wipe { key, host } => {
                let sentence = format!("tell {host} to destroy the private key of {}", self.selectors.name(key));
                line("wipe", Some(host), sentence, vec![format!("- {host}: private key {}", key.short())])
            }
            Step::Shred { key } => {
                let sentence = format!("destroy our sealed private key of {}", self.selectors.name(key));
                line("shred", None, sentence, vec![format!("- blobs/{}.age", key.short())])
            }
            Step::Empty { provider, name, old, new, ttl, .. } => {
                let old = old.iter().map(|old| format!("- {name}. IN TXT {}", old.quoted()));
                let diff = old.chain([format!("+ {name}. {ttl} IN TXT {}", new.quoted())]).collect();
                line("empty", Some(provider), format!("revoke {name} at {provider}"), diff)
            }
            Step::Withdraw { provider, name, text, .. } => {
                let diff = vec![format!("- {name}. IN TXT {}", text.quoted())];
                line("withdraw", Some(provider), format!("remove {name} at {provider}"), diff)
            }
        }
    }

    /// The key of the same line that signs beside `key`, if there is one.
    fn signing_now(&self, key: &Fingerprint) -> Option<Fingerprint> {
        let holds = |fingerprint: &Fingerprint| fingerprint == key;
        self.ledger.lines.values().find_map(|line| {
            let mine = line.keys().any(|(_, k)| holds(&k.fingerprint));
            let switching = matches!(&line.incoming, Some(Incoming::Switching(s)) if holds(&s.key.fingerprint));
            let active = line.active.as_ref().filter(|active| !holds(&active.key.fingerprint));
            (mine && switching).then_some(active?.key.fingerprint)
        })
    }

    /// The rows of KeyTable and SigningTable that change.
    fn tables(&self, old: Option<Fingerprint>, new: Option<&Fingerprint>) -> Vec<String> {
        let domain = &self.ledger.domain;
        let rows = |sign: char, key: &Fingerprint| {
            let selector = self.selectors.name(key);
            [
                format!("{sign} KeyTable      {selector}._domainkey.{domain} {domain}:{selector}:<key file>"),
                format!("{sign} SigningTable  *@{domain} {selector}._domainkey.{domain}"),
            ]
        };
        let old = old.iter().flat_map(|key| rows('-', key));
        // The old key stays in KeyTable: only what signs changes.
        old.filter(|row| row.contains("SigningTable")).chain(new.into_iter().flat_map(|key| rows('+', key))).collect()
    }
}

impl Report for PlanReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for plan in &self.domains {
            let _ = writeln!(out, "{}", paint.bold(&plan.domain));
            for step in &plan.steps {
                let _ = writeln!(out, "  do    {}", step.sentence);
                for row in &step.diff {
                    let row = if row.starts_with('+') { paint.green(row) } else { paint.red(row) };
                    let _ = writeln!(out, "        {row}");
                }
            }
            if let Some(why) = &plan.refused {
                let _ = writeln!(out, "  {} {why}", paint.red("refused:"));
            }
            for wait in &plan.waits {
                let _ = writeln!(out, "  wait  {}", wait.sentence);
            }
            if plan.steps.is_empty() && plan.waits.is_empty() {
                let _ = writeln!(out, "  nothing to do");
            }
        }
        out
    }
}
