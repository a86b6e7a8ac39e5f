//! What `dmarc` says: reports that were taken in, gates, moves, sources.

use std::fmt;

use dkimctl_state::lifecycle::fact::PolicyChange;
use dkimctl_state::lifecycle::staging::course::Course;
use dkimctl_state::lifecycle::staging::gates::{Gate, GateState, State};
use dkimctl_state::lifecycle::staging::ladder::Rung;
use dkimctl_state::lifecycle::staging::sources::Source;
use dkimctl_state::lifecycle::staging::{Due, Move, StagingWait};
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::dmarc::lint::Finding;
use dkimctl_state::record::lint::Severity;
use serde::Serialize;

use super::{Paint, Report, words};
use crate::dmarc::authorization;
use crate::dmarc::ingest::{Entry, Status, Totals};

/// One input, for people: nothing for what is simply there.
pub struct IngestText<'a>(pub &'a Entry);

impl fmt::Display for IngestText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { file, status, errors, .. } = self.0;
        match status {
            Status::Ok | Status::Duplicate => Ok(()),
            Status::Partial => writeln!(f, "{file}: read in part: {}", errors.join("; ")),
            Status::Rejected => writeln!(f, "{file}: rejected: {}", errors.join("; ")),
        }
    }
}

pub fn totals_text(totals: &Totals) -> String {
    let Totals { ok, partial, rejected, duplicate, messages, aligned, unverified, .. } = totals;
    let unverified = match unverified {
        0 => String::new(),
        n => format!("; {n} came by mail that nobody vouches for, and can block but not advance"),
    };
    format!(
        "{ok} reports taken in, {partial} in part, {duplicate} were there already, {rejected} rejected; {messages} messages, \
         {aligned} aligned{unverified}"
    )
}

/// What `dmarc check` found.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    pub domains: Vec<Checked>,
}

#[derive(Debug, Serialize)]
pub struct Checked {
    pub domain: String,
    pub records: Vec<String>,
    pub findings: Vec<Finding>,
    pub organizational_domain: Option<Fqdn>,
    /// What DNS did not tell.
    pub unknown: Vec<String>,
}

impl Checked {
    pub fn new(
        domain: &Fqdn,
        records: Vec<String>,
        findings: Vec<Finding>,
        organizational_domain: Option<Fqdn>,
        unknown: Vec<String>,
    ) -> Self {
        Checked { domain: domain.to_string(), records, findings, organizational_domain, unknown }
    }

    pub fn unknown(domain: &Fqdn, why: String) -> Self {
        Checked::new(domain, Vec::new(), Vec::new(), None, vec![why])
    }

    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

impl Report for CheckReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Checked { domain, records, findings, unknown, .. } in &self.domains {
            out.push_str(&format!("{}\n", paint.bold(domain)));
            records.iter().for_each(|record| out.push_str(&format!("  {record}\n")));
            for Finding { id, severity, seen, fix } in findings {
                let word = paint.severity(*severity);
                out.push_str(&format!("  {word} {id}: {seen}\n    {fix}\n"));
            }
            unknown.iter().for_each(|why| out.push_str(&format!("  not known: {why}\n")));
        }
        out
    }
}

/// Where policies stand.
#[derive(Debug, Serialize)]
pub struct StatusReport {
    pub domains: Vec<Standing>,
}

#[derive(Debug, Serialize)]
pub struct Standing {
    pub domain: SigningDomain,
    pub text: Option<String>,
    #[serde(flatten)]
    pub due: Due,
}

impl Standing {
    pub fn new(course: &Course, due: Due) -> Self {
        let text = course.now().map(|stood| stood.text.to_string());
        Standing { domain: course.domain.clone(), text, due }
    }
}

impl Report for StatusReport {
    fn text(&self, paint: Paint) -> String {
        if self.domains.is_empty() {
            return words::nothing("No DMARC record is looked after yet.", "dkimctl dmarc adopt DOMAIN", paint);
        }
        self.domains.iter().map(|standing| standing_text(standing, paint)).collect()
    }
}

fn standing_text(standing: &Standing, paint: Paint) -> String {
    let Standing { domain, text, due } = standing;
    let rung = due.rung.map_or("not adopted".to_owned(), |rung| rung.to_string());
    let mut out = format!("{}: {rung}\n", paint.bold(domain));
    if let Some(text) = text {
        out.push_str(&format!("  {text}\n"));
    }
    if let Some(verdict) = &due.verdict {
        let state = match verdict.state {
            State::Clean => paint.green("CLEAN"),
            State::Blocked => paint.red("BLOCKED"),
            State::Insufficient => paint.yellow("INSUFFICIENT"),
        };
        out.push_str(&format!("  {state}, {} to {}\n", verdict.from, verdict.to));
        verdict.gates.iter().for_each(|gate| out.push_str(&gate_text(gate, paint)));
        let messages: Vec<String> =
            verdict.messages.iter().map(|(class, n)| format!("{n} {}", format!("{class:?}").to_lowercase())).collect();
        if !messages.is_empty() {
            out.push_str(&format!("  messages: {}\n", messages.join(", ")));
        }
        if verdict.other_policy > 0 {
            out.push_str(&format!("  {} reports are about another policy, and do not count\n", verdict.other_policy));
        }
        if verdict.unverified > 0 {
            out.push_str(&format!("  {} reports came by mail that nobody vouches for\n", verdict.unverified));
        }
        match verdict.earliest {
            Some(at) => out.push_str(&format!("  next rung at the earliest: {at}\n")),
            None => out.push_str("  the next rung waits for you\n"),
        }
    }
    due.waits.iter().for_each(|wait| out.push_str(&format!("  wait: {}\n", wait_text(wait, domain))));
    if let Move::Write { rung, to, .. } = &due.what {
        out.push_str(&format!("  due: {rung}\n    {to}\n"));
    }
    out
}

fn gate_text(gate: &Gate, paint: Paint) -> String {
    let mark = match gate.state {
        GateState::Met => paint.green("ok     "),
        GateState::Warned => paint.yellow("warning"),
        GateState::Insufficient => paint.yellow("not yet"),
        GateState::Blocked => paint.red("blocked"),
    };
    let mut out = format!("    {mark} {:<13} {}  (wanted: {})\n", gate.id, gate.value, gate.threshold);
    if gate.state != GateState::Met {
        gate.rows.iter().for_each(|row| out.push_str(&format!("              {row}\n")));
        gate.fix.iter().for_each(|fix| out.push_str(&format!("              {fix}\n")));
        gate.earliest.iter().for_each(|at| out.push_str(&format!("              not before {at}\n")));
    }
    out
}

fn wait_text(wait: &StagingWait, domain: &SigningDomain) -> String {
    match wait {
        StagingWait::NotAdopted => format!("the record was not taken over; `dkimctl dmarc adopt {domain}`"),
        StagingWait::Pending => {
            "a change was begun and not seen to end; `dkimctl dmarc advance` looks first".to_owned()
        }
        StagingWait::Held { by, reason, .. } => {
            format!("held by {by}: {reason}; `dkimctl dmarc hold {domain} --release` ends it")
        }
        StagingWait::AtTheTop { rung } => format!("{rung} is the top of the profile"),
        StagingWait::Rehearsal { until } => format!("the rehearsal ends at {until}"),
        StagingWait::Gates { closed, .. } => format!("gates: {}", closed.join(", ")),
        StagingWait::KeySwitch { selector } => format!("a key is being switched ({selector})"),
        StagingWait::DkimProof { last: None } => "nothing proves that mail is signed".to_owned(),
        StagingWait::DkimProof { last: Some(at) } => format!("the last proof that mail is signed is of {at}"),
        StagingWait::Spf { errors } => format!("SPF is not sound: {}", errors.join("; ")),
        StagingWait::ClockDisagrees => "another clock says something else".to_owned(),
        StagingWait::Servers { why } => format!("the record that stands is {why}"),
        StagingWait::Alarm { why } => format!("{why}; `dkimctl dmarc rollback {domain}` goes back"),
    }
}

/// Records that were written.
#[derive(Debug)]
pub struct MoveReport {
    pub moves: Vec<(SigningDomain, Rung, String, String)>,
}

impl Serialize for MoveReport {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let moves: Vec<_> = self
            .moves
            .iter()
            .map(|(domain, rung, text, why)| serde_json::json!({"domain": domain, "rung": rung, "text": text, "why": why}))
            .collect();
        serde_json::json!({ "moves": moves }).serialize(serializer)
    }
}

impl Report for MoveReport {
    fn text(&self, paint: Paint) -> String {
        let line = |(domain, rung, text, why): &(SigningDomain, Rung, String, String)| {
            format!("{}: {rung} ({why})\n  {text}\n", paint.bold(domain))
        };
        self.moves.iter().map(line).collect()
    }
}

/// Leave to send reports elsewhere, given or taken back.
pub fn leave_text(domain: &SigningDomain, changed: &authorization::Changed) -> String {
    let name = &changed.name;
    match changed.change {
        PolicyChange::Removed => format!("{domain}: removed \"v=DMARC1\" at {name}: no reports go there any more"),
        _ => format!("{domain}: wrote \"v=DMARC1\" at {name}, so that reports may go there"),
    }
}

/// A record that may be edited from now on.
#[derive(Debug, Serialize)]
pub struct AdoptReport {
    pub domain: String,
    pub text: String,
    pub rung: Option<Rung>,
}

impl Report for AdoptReport {
    fn text(&self, _: Paint) -> String {
        let rung = self.rung.map_or("no rung".to_owned(), |rung| rung.to_string());
        format!("{}: adopted at {rung}\n  {}\n", self.domain, self.text)
    }
}

/// Who sends.
#[derive(Debug, Serialize)]
pub struct SourcesReport {
    pub domain: String,
    pub days: u32,
    pub sources: Vec<Source>,
}

impl Report for SourcesReport {
    fn text(&self, _: Paint) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["source", "class", "messages", "DKIM", "SPF", "first", "last", "days", "reporters"]);
        for source in &self.sources {
            let share = |part: u64| format!("{} %", (part * 100).checked_div(source.messages).unwrap_or(0));
            let class = format!("{:?}", source.class).to_lowercase();
            table.add_row([
                source.who.clone(),
                class,
                source.messages.to_string(),
                share(source.dkim),
                share(source.spf),
                source.first.to_string(),
                source.last.to_string(),
                source.days.to_string(),
                source.reporters.to_string(),
            ]);
        }
        format!("{table}\n")
    }
}
