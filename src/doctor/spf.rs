//! SPF001: the record is sound, and covers what really sends. [`look`] gathers, [`judge`] is pure.

use std::net::IpAddr;

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::lint::Severity;
use dkimctl_state::time::Time;

use super::finding::{Findings, Tier};
use super::net::Facts as WayOut;
use crate::report::doctor::policy as say;
use crate::spf::desired::Relay;
use crate::spf::eval::{Evaluation, Outcome, Session, check};
use crate::spf::lint::{Evidence, Report, lint};
use crate::spf::resolver::Resolver;

/// What DNS says of the senders of a domain.
#[derive(Debug, Clone)]
pub struct Facts {
    pub domain: SigningDomain,
    pub report: Report,
    /// check_host() for each address that mail leaves from.
    pub sessions: Vec<(IpAddr, Evaluation)>,
    /// The relay that sends in our place, and whether the record includes it; `None` for a relay nobody here knows.
    pub relay: Option<(String, Option<bool>)>,
}

pub fn look(resolver: &dyn Resolver, domain: &SigningDomain, out: &WayOut, now: Time) -> Facts {
    let report = lint(resolver, domain.as_str(), Evidence::default());
    let helo = out.helo.as_ref().map_or(domain.as_str(), |helo| helo.name.as_str());
    let session = |ip: IpAddr| Session {
        ip,
        helo: helo.to_owned(),
        mail_from: format!("postmaster@{domain}"),
        receiver: "mx.invalid".to_owned(),
        now,
    };
    let sessions = out.addresses.iter().map(|address| (address.ip, check(resolver, &session(address.ip)))).collect();
    let relay = out.relay.as_ref().map(|host| {
        let includes = Relay::of_host(host).map(|relay| {
            let mut found = false;
            report.tree.walk(&mut |branch, _| found |= branch.domain.eq_ignore_ascii_case(relay.include()));
            found
        });
        (host.clone(), includes)
    });
    Facts { domain: domain.clone(), report, sessions, relay }
}

pub fn judge(facts: &Facts, findings: &mut Findings) {
    let about = facts.domain.as_str();
    let errors: Vec<_> = facts.report.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    if !errors.is_empty() {
        findings.found("SPF001", Tier::Effective, about, say::spf_errors(&facts.domain, &errors));
    } else if facts.report.texts.is_empty() && facts.report.unknown.is_empty() {
        findings.found("SPF001", Tier::Effective, about, say::no_spf(facts));
        return;
    } else if !facts.report.unknown.is_empty() {
        findings.unknown("SPF001", Tier::Effective, about, say::spf_unknown(&facts.domain, &facts.report.unknown));
    } else if facts.sessions.is_empty() && facts.relay.is_none() {
        findings.ok("SPF001", Tier::Effective, about, say::spf_sound(&facts.domain));
    }
    match &facts.relay {
        Some((host, Some(false))) => {
            findings.found(
                "SPF001",
                Tier::Effective,
                format!("{about} through {host}"),
                say::relay_missing(facts, host),
            );
        }
        Some((host, Some(true))) => {
            findings.ok("SPF001", Tier::Effective, about, say::relay_covered(&facts.domain, host));
        }
        Some((host, None)) if errors.is_empty() => {
            findings.skip("SPF001", format!("{about} through {host}"), say::relay_unheard_of(host));
        }
        _ => {}
    }
    for (ip, seen) in &facts.sessions {
        let about = format!("{about} from {ip}");
        match seen.outcome {
            Outcome::Pass => findings.ok("SPF001", Tier::Effective, about, say::spf_pass(&facts.domain, *ip)),
            Outcome::TempError => {
                let why = seen.why.clone().unwrap_or_default();
                findings.unknown("SPF001", Tier::Effective, about, say::spf_unknown(&facts.domain, &[why]));
            }
            // What is broken for everybody was said above.
            Outcome::PermError if !errors.is_empty() => {}
            outcome => {
                findings.found("SPF001", Tier::Effective, about, say::not_covered(facts, *ip, outcome, seen));
            }
        }
    }
}
