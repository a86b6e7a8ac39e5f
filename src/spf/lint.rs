//! What is wrong with a published SPF record: every rule with its id, what was seen, and how to mend it.
//!
//! The ids are stable; docs/spf.md lists them. A DNS failure is never a finding: it goes to `unknown`.

#[path = "lint_rules.rs"]
mod rules;

use std::net::IpAddr;

use dkimctl_state::record::lint::Severity::{self, Error, Info, Warning};
use dkimctl_state::record::spf::{Mechanism, Term, is_spf};
use dkimctl_state::record::txt::TxtText;
use serde::Serialize;

use super::eval::analyze_texts;
use super::resolver::{Data, Kind, QueryName, Reply, Resolver};
use super::tree::{AtDomain, Branch};

/// One thing to mend, or to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: &'static str,
    pub severity: Severity,
    /// The domain whose record shows it.
    pub domain: String,
    pub seen: String,
    pub fix: String,
}

/// What a look at a domain's SPF brought.
#[derive(Debug, Clone)]
pub struct Report {
    pub domain: String,
    /// Every SPF text at the name.
    pub texts: Vec<TxtText>,
    pub tree: Branch,
    pub lookups: u32,
    /// Of those that find nothing for either address family.
    pub void_lookups: u32,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What DNS did not tell, as sentences.
    pub unknown: Vec<String>,
}

/// What is known of the domain besides DNS.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'e> {
    /// Addresses that passed SPF aligned in the whole window of reports; `None` without reports.
    pub passed_from: Option<&'e [IpAddr]>,
}

/// A rule, for the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    pub id: &'static str,
    pub severity: Severity,
    pub title: &'static str,
}

const fn rule(id: &'static str, severity: Severity, title: &'static str) -> Rule {
    Rule { id, severity, title }
}

/// Every rule there is; an id is never used again for something else.
pub const RULES: [Rule; 33] = [
    rule("SPF001", Error, "more than one SPF record"),
    rule("SPF002", Error, "more than 10 terms that cause lookups"),
    rule("SPF003", Warning, "8 or more terms that cause lookups"),
    rule("SPF004", Error, "more than 2 lookups that find nothing"),
    rule("SPF005", Error, "mx with more than 10 exchangers"),
    rule("SPF006", Error, "all passes everybody"),
    rule("SPF007", Warning, "?all says nothing about strangers"),
    rule("SPF008", Warning, "no all and no redirect"),
    rule("SPF009", Error, "an included record passes everybody"),
    rule("SPF010", Warning, "an included record ends in ?all"),
    rule("SPF011", Error, "a network that is the whole internet"),
    rule("SPF012", Warning, "a network broader than /16 (IPv4) or /32 (IPv6)"),
    rule("SPF013", Error, "a record that leads back to itself"),
    rule("SPF014", Warning, "the same record included twice"),
    rule("SPF015", Error, "include or redirect to a name without SPF"),
    rule("SPF016", Warning, "redirect beside all is ignored"),
    rule("SPF017", Error, "redirect or exp twice"),
    rule("SPF018", Warning, "terms after all are never looked at"),
    rule("SPF019", Warning, "ptr should not be used"),
    rule("SPF020", Error, "a term that cannot be read"),
    rule("SPF021", Info, "a target that depends on the message"),
    rule("SPF022", Error, "two strings of the record meet without a space"),
    rule("SPF023", Warning, "the record is longer than 450 octets"),
    rule("SPF024", Warning, "the answer with all TXT of the name is larger than 512 octets"),
    rule("SPF025", Info, "the version is not written v=spf1"),
    rule("SPF026", Error, "a text that looks like SPF and is not"),
    rule("SPF027", Warning, "a Sender ID record"),
    rule("SPF028", Warning, "a record of type 99"),
    rule("SPF029", Info, "an include that nobody passed through"),
    rule("SPF030", Info, "a name that receives no mail and has no SPF"),
    rule("SPF031", Warning, "a name that receives mail and has no SPF"),
    rule("SPF032", Warning, "a term leads to a name that DNS cannot be asked for"),
    rule("SPF033", Warning, "more than 2 lookups that find nothing for one address family"),
];

/// Looks at a domain as it is published.
pub fn lint(resolver: &dyn Resolver, domain: &str, evidence: Evidence<'_>) -> Report {
    let reply = QueryName::parse(domain).map(|name| resolver.ask(&name, Kind::Txt));
    let texts: Vec<(TxtText, Vec<usize>)> = match reply {
        Some(Reply::Found(data)) => data
            .into_iter()
            .filter_map(|data| match data {
                Data::Txt { text, cuts } => Some((text, cuts)),
                _ => None,
            })
            .collect(),
        Some(Reply::Failed(why)) => return unknown(domain, why),
        _ => Vec::new(),
    };
    lint_texts(resolver, domain, &texts, evidence)
}

/// Looks at a domain as if these texts stood there; each with where its strings meet.
pub fn lint_texts(
    resolver: &dyn Resolver,
    domain: &str,
    texts: &[(TxtText, Vec<usize>)],
    evidence: Evidence<'_>,
) -> Report {
    let tree = analyze_texts(resolver, domain, texts.iter().map(|(text, _)| text.clone()).collect());
    let mut lint = rules::Lint { resolver, domain, evidence, findings: Vec::new(), unknown: Vec::new() };
    lint.name(texts);
    lint.record(&tree);
    lint.branches(&tree);
    lint.counts(&tree);
    lint.unused(&tree);
    let (mut findings, unknown) = (lint.findings, lint.unknown);
    findings.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.id.cmp(b.id)).then(a.domain.cmp(&b.domain)));
    findings.dedup();
    Report {
        domain: domain.to_owned(),
        texts: texts.iter().map(|(text, _)| text).filter(|text| is_spf(text)).cloned().collect(),
        lookups: tree.lookups(),
        void_lookups: rules::voids(&tree, &[Kind::A, Kind::Aaaa]).len() as u32,
        tree,
        findings,
        unknown,
    }
}

fn unknown(domain: &str, why: String) -> Report {
    Report {
        domain: domain.to_owned(),
        texts: Vec::new(),
        tree: Branch::new(domain, AtDomain::Unknown(why.clone())),
        lookups: 0,
        void_lookups: 0,
        findings: Vec::new(),
        unknown: vec![why],
    }
}

/// Every network that a record and whatever it includes let pass, address and prefix length.
pub fn networks(branch: &Branch) -> Vec<(IpAddr, u8)> {
    let mut found = Vec::new();
    branch.walk(&mut |_, visit| {
        let Term::Directive(directive) = &visit.term else { return };
        match &directive.mechanism {
            Mechanism::Ip4(ip, length) => found.push(((*ip).into(), length.unwrap_or(32))),
            Mechanism::Ip6(ip, length) => found.push(((*ip).into(), length.unwrap_or(128))),
            Mechanism::A(_, cidr) | Mechanism::Mx(_, cidr) => found.extend(visit.addresses.iter().map(|ip| {
                let length = if ip.is_ipv4() { cidr.v4.unwrap_or(32) } else { cidr.v6.unwrap_or(128) };
                (*ip, length)
            })),
            _ => {}
        }
    });
    found
}

impl Report {
    /// Whether a change of policy may rest on this record.
    pub fn is_sound(&self) -> bool {
        self.unknown.is_empty() && self.findings.iter().all(|finding| finding.severity != Error)
    }
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;
