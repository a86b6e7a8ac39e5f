//! DMARC001: a record that is there, is whole, and goes somewhere. Pure; [`crate::dmarc::look`] gathers.

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dmarc::lint::lint;
use dkimctl_state::record::lint::Severity as Weight;
use dkimctl_state::record::dmarc::{Policy, looks_like_dmarc, read};

use super::finding::{Findings, Severity, Tier};
use super::patient::Profile;
use crate::dmarc::look::Looked;
use crate::report::doctor::policy as say;

pub fn judge(domain: &SigningDomain, looked: &Looked, profile: Profile, findings: &mut Findings) {
    let about = domain.as_str();
    let Some(context) = &looked.context else {
        findings.unknown("DMARC001", Tier::Effective, about, say::dmarc_unknown(domain, &looked.unknown));
        return;
    };
    let own: Vec<_> = context.texts.iter().filter(|text| looks_like_dmarc(text)).collect();
    // RFC 9989 section 4.10: without a record of its own a domain follows the one above.
    if let (true, Some(policy)) = (own.is_empty(), context.parent) {
        findings.ok("DMARC001", Tier::Effective, about, say::inherits(domain, policy));
        return;
    }
    let mut well = true;
    for seen in lint(domain.as_fqdn(), context).iter().filter(|seen| seen.severity != Weight::Info) {
        well = false;
        let finding = findings.found("DMARC001", Tier::Effective, about, say::dmarc_finding(seen));
        match seen.severity {
            // Whoever sends thousands a day is refused without a record (Gmail 5.7.26, Microsoft 5.7.515).
            Weight::Error if profile == Profile::Bulk => drop(finding.weighing(Severity::Error)),
            Weight::Error => {}
            _ => drop(finding.weighing(Severity::Info)),
        }
    }
    if !looked.unknown.is_empty() {
        findings.unknown("DMARC001", Tier::Effective, about, say::dmarc_unknown(domain, &looked.unknown));
        return;
    }
    let policy = own.iter().find_map(|text| read(text).0).and_then(|record| record.policy);
    match policy {
        Some(Policy::None) if well => {
            findings.found("DMARC001", Tier::Effective, about, say::asks_for_nothing(domain)).weighing(Severity::Info);
        }
        Some(policy) if well => findings.ok("DMARC001", Tier::Effective, about, say::dmarc_stands(domain, policy)),
        _ => {}
    }
}
