//! The records that a customer adds once, as lines of his zone file.

use std::fmt::Write as _;

use dkimctl_state::name::{Fqdn, Label, SigningDomain};
use serde::Serialize;

use super::verify::Outcome;
use super::{Paint, Report};

#[derive(Debug, Serialize)]
pub struct DelegateReport {
    pub domain: SigningDomain,
    /// Seconds.
    pub ttl: u32,
    pub aliases: Vec<Alias>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegation: Option<Delegation>,
    /// The provider that holds what the aliases lead to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<Label>,
}

#[derive(Debug, Serialize)]
pub struct Alias {
    pub name: Fqdn,
    pub target: Fqdn,
    /// What the name's servers say; `None` when they were not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Found>,
}

#[derive(Debug, Serialize)]
pub struct Delegation {
    pub zone: Fqdn,
    pub servers: Vec<Fqdn>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Found {
    Right,
    Missing,
    Elsewhere { target: Fqdn },
    Unknown { why: String },
}

impl DelegateReport {
    pub fn new(domain: SigningDomain, ttl: u32) -> Self {
        DelegateReport { domain, ttl, aliases: Vec::new(), delegation: None, holder: None }
    }

    /// What all targets end in.
    fn below(&self) -> String {
        let target = self.aliases.first().map(|alias| alias.target.as_str()).unwrap_or_default();
        target.split_once(&format!(".{}.", self.domain)).map_or(target, |(_, below)| below).to_owned()
    }

    pub fn outcome(&self) -> Outcome {
        let any = |wanted: fn(&Found) -> bool| self.aliases.iter().filter_map(|a| a.found.as_ref()).any(wanted);
        if any(|found| matches!(found, Found::Missing | Found::Elsewhere { .. })) {
            Outcome::Wrong
        } else if any(|found| matches!(found, Found::Unknown { .. })) {
            Outcome::NotChecked
        } else {
            Outcome::Right
        }
    }
}

impl Report for DelegateReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        let DelegateReport { domain, ttl, .. } = self;
        if let Some(holder) = &self.holder {
            let note = format!("; into the zone of {domain}, once; the keys are then kept at {holder}");
            let _ = writeln!(out, "{}", paint.dim(note));
        }
        for Alias { name, target, found } in &self.aliases {
            let said = match found {
                None => String::new(),
                Some(Found::Right) => format!("  {}", paint.green("; ok")),
                Some(Found::Missing) => format!("  {}", paint.red("; MISSING")),
                Some(Found::Elsewhere { target }) => format!("  {}", paint.red(format!("; LEADS to {target}."))),
                Some(Found::Unknown { why }) => format!("  {}", paint.yellow(format!("; not known: {why}"))),
            };
            let _ = writeln!(out, "{name}. {ttl} IN CNAME {target}.{said}");
        }
        if !self.aliases.is_empty() && self.aliases.iter().all(|alias| alias.found.is_none()) {
            let next = format!("; when they are there: dkimctl dns delegate {domain} --below {} --check", self.below());
            let _ = writeln!(out, "{}", paint.dim(next));
        }
        if let Some(Delegation { zone, servers }) = &self.delegation {
            let note = format!("; into the zone of {domain}, once; {zone} has to be a zone at these servers");
            let _ = writeln!(out, "{}", paint.dim(note));
            for server in servers {
                let _ = writeln!(out, "{zone}. {ttl} IN NS {server}.");
            }
        }
        out
    }
}
