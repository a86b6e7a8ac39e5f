//! What is worth saying about a published DMARC record: each rule with a stable id, a severity, what was seen, and
//! what to do. Rules that need DNS get their answers as [`Context`].

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::org::{authorization_name, by_suffix_list};
use super::{Alignment, DmarcRecord, Fault, Policy, ReportUri, looks_like_dmarc, read};
use crate::name::Fqdn;
use crate::record::lint::Severity;
use crate::record::txt::TxtText;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: &'static str,
    pub severity: Severity,
    pub seen: String,
    pub fix: String,
}

/// What DNS showed around the record. A `None` was not asked, or could not be: no rule speaks of it.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// Every text at `_dmarc.<domain>`.
    pub texts: Vec<TxtText>,
    pub ttl: Option<u32>,
    /// The texts at the domain itself.
    pub apex: Vec<TxtText>,
    /// The texts at each name of [`authorization_name`].
    pub authorizations: BTreeMap<Fqdn, Vec<TxtText>>,
    /// Whether each host in `rua=` takes mail (an MX or an address).
    pub mail_hosts: BTreeMap<Fqdn, bool>,
    /// The organizational domain by tree walk.
    pub organizational: Option<Fqdn>,
    /// The record that stands above a subdomain.
    pub parent: Option<Policy>,
    /// The domain is on its way up, so that going back must be quick.
    pub staging: bool,
    /// No further rung is meant to come.
    pub at_the_top: bool,
    /// Whether aligned DKIM signatures were seen in reports.
    pub dkim_seen: Option<bool>,
    /// Whether senders sign with subdomains of the domain.
    pub signs_as_subdomain: bool,
}

/// Every finding about the records of a domain, the worst first.
pub fn lint(domain: &Fqdn, context: &Context) -> Vec<Finding> {
    let mut findings = Findings(Vec::new());
    for text in context.apex.iter().filter(|text| looks_like_dmarc(text)) {
        let fix = format!("move it to _dmarc.{domain}: nobody looks for it here");
        findings.error("dmarc-at-apex", format!("{text} stands at {domain} itself"), fix);
    }
    for text in context.texts.iter().filter(|text| text.as_bytes().starts_with(b"v=spf1")) {
        let fix = format!("remove it, and publish it at {domain}: an SPF record here says nothing");
        findings.error("spf-at-dmarc", format!("{text} stands at _dmarc.{domain}"), fix);
    }
    let claims: Vec<&TxtText> = context.texts.iter().filter(|text| looks_like_dmarc(text)).collect();
    match claims.as_slice() {
        [] => findings.error(
            "no-record",
            format!("there is no DMARC record at _dmarc.{domain}"),
            format!("publish `v=DMARC1; p=none; rua=mailto:...`: `dkimctl dmarc adopt {domain}`"),
        ),
        [text] => findings.one(domain, text, context),
        several => {
            let texts: Vec<String> = several.iter().map(|text| text.to_string()).collect();
            let seen = format!("{} records, so receivers discard all of them: {}", several.len(), texts.join(" | "));
            findings.error("several-records", seen, "remove all but one");
        }
    }
    findings.0.sort_by_key(|finding| Reverse(finding.severity));
    findings.0
}

struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, id: &'static str, severity: Severity, seen: impl Into<String>, fix: impl Into<String>) {
        self.0.push(Finding { id, severity, seen: seen.into(), fix: fix.into() });
    }

    fn error(&mut self, id: &'static str, seen: impl Into<String>, fix: impl Into<String>) {
        self.add(id, Severity::Error, seen, fix);
    }

    fn warn(&mut self, id: &'static str, seen: impl Into<String>, fix: impl Into<String>) {
        self.add(id, Severity::Warning, seen, fix);
    }

    fn one(&mut self, domain: &Fqdn, text: &TxtText, context: &Context) {
        let (record, faults) = read(text);
        for fault in &faults {
            let (id, fix) = of_fault(fault);
            let severity = if matches!(fault, Fault::NoPolicy) { Severity::Warning } else { Severity::Error };
            self.add(id, severity, fault.to_string(), fix);
        }
        if text.as_bytes().len() > 255 {
            self.add(
                "long-record",
                Severity::Info,
                format!("the record has {} octets", text.as_bytes().len()),
                "it is served as several strings; check that the provider splits it without a space",
            );
        }
        let Some(record) = record else { return };
        self.policies(&record, context);
        self.leftovers(&record);
        self.reports(domain, &record, context);
        self.surroundings(domain, &record, context);
    }

    fn policies(&mut self, record: &DmarcRecord, context: &Context) {
        let policy = record.policy.unwrap_or(Policy::None);
        if policy == Policy::None && record.aggregate.is_empty() {
            let fix = "add `rua=mailto:...`; without reports nobody learns anything from p=none";
            self.warn("none-without-rua", "p=none asks for nothing, and there is no rua=", fix);
        }
        if record.testing == Some(true) && context.at_the_top {
            let fix = "remove t=y once the ladder is climbed";
            self.warn("testing-at-the-top", format!("t=y lowers p={policy} to {}", policy.lowered()), fix);
        }
        if policy > Policy::None {
            match record.subdomains {
                Some(sub) if sub < policy => {
                    let seen = format!("sp={sub} is weaker than p={policy}: any subdomain can be forged");
                    self.warn("weak-subdomains", seen, format!("set sp={policy} when subdomains that send are known"));
                }
                _ => {}
            }
            if record.nonexistent.or(record.subdomains).unwrap_or(policy) < policy {
                let seen = "names that do not exist are treated better than the domain";
                self.warn("weak-nonexistent", seen, "set np=reject: no mail comes from names that do not exist");
            } else if record.nonexistent.is_none() {
                let seen = "there is no np=";
                self.add("no-np", Severity::Info, seen, "np=reject is safe where reports show no mail of such names");
            }
        }
        if policy == Policy::Reject && context.dkim_seen == Some(false) {
            let fix = "go back to p=none until mail is signed: RFC 9989 section 7.4 forbids p=reject on SPF alone";
            self.error("reject-without-dkim", "p=reject, but no report shows an aligned DKIM signature", fix);
        }
        let strict = [record.dkim_alignment, record.spf_alignment].contains(&Some(Alignment::Strict));
        if strict && context.signs_as_subdomain {
            let fix = "remove adkim=s and aspf=s, or sign with the domain of From itself";
            self.warn("strict-with-subdomains", "alignment is strict, and senders sign as subdomains", fix);
        }
    }

    fn leftovers(&mut self, record: &DmarcRecord) {
        match record.percent {
            Some(percent) if !matches!(percent, 0 | 100) => {
                let seen = format!("pct={percent} is not counted accurately by anybody, and gone in RFC 9989");
                self.warn("pct", seen, "use t=y with pct=0 for a rehearsal, and no pct otherwise");
            }
            _ => {}
        }
        for (tag, value) in &record.others {
            match tag.as_str() {
                "rf" | "ri" => {
                    self.warn("removed-tag", format!("{tag}={value} is gone in RFC 9989"), format!("remove {tag}="));
                }
                _ => self.add(
                    "unknown-tag",
                    Severity::Info,
                    format!("nobody knows the tag {tag}={value}"),
                    "receivers ignore it; remove it unless it is meant for somebody",
                ),
            }
        }
        if !record.failure.is_empty() {
            let fix = "remove ruf= unless failure reports are read: they carry addresses and subjects of real mail";
            self.warn("ruf", "ruf= asks for failure reports", fix);
        }
        if record.aggregate.len() > 2 {
            let seen =
                format!("rua= has {} addresses; many reporters serve the first two only", record.aggregate.len());
            self.warn("many-rua", seen, "keep two");
        }
        for uri in record.aggregate.iter().chain(&record.failure).filter(|uri| uri.limit.is_some()) {
            let fix = "remove what follows the `!`";
            self.warn("size-limit", format!("{uri}: a size limit is gone in RFC 9989"), fix);
        }
    }

    fn reports(&mut self, domain: &Fqdn, record: &DmarcRecord, context: &Context) {
        for uri in &record.aggregate {
            let Some(host) = uri.host() else { continue };
            if context.mail_hosts.get(&host) == Some(&false) {
                let seen = format!("{uri}: {host} has no MX and no address");
                self.error("rua-takes-no-mail", seen, "name an address that takes mail");
            }
            self.authorization(domain, uri, &host, context);
        }
    }

    fn authorization(&mut self, domain: &Fqdn, uri: &ReportUri, host: &Fqdn, context: &Context) {
        let name = match authorization_name(domain, host) {
            None => return,
            Some(Err(_)) => {
                let seen = format!("{uri}: the name that would allow it is longer than 253 octets");
                return self.error("external-rua", seen, "send reports to a shorter name");
            }
            Some(Ok(name)) => name,
        };
        let Some(texts) = context.authorizations.get(&name) else { return };
        if !texts.iter().any(|text| text.as_bytes().starts_with(b"v=DMARC1")) {
            let seen = format!("{uri}: {host} does not say that it takes reports about {domain}, so none are sent");
            self.error("external-rua", seen, format!("publish `v=DMARC1` as TXT at {name}"));
        }
    }

    fn surroundings(&mut self, domain: &Fqdn, record: &DmarcRecord, context: &Context) {
        if let Some(ttl) = context.ttl.filter(|ttl| context.staging && *ttl > 3600) {
            let seen = format!("the TTL is {ttl} s, so a step back takes that long to be seen");
            self.warn("long-ttl", seen, "keep it at 3600 or less while the policy is on its way");
        }
        if let (Some(walk), Some(list)) = (&context.organizational, by_suffix_list(domain))
            && *walk != list
        {
            let seen = format!("the organization is {walk} by tree walk, but {list} by the public suffix list");
            self.warn(
                "organizations-differ",
                seen,
                format!("publish a record at _dmarc.{list}, with psd=n if it is the top"),
            );
        }
        let own = record.policy.unwrap_or(Policy::None);
        if let Some(parent) = context.parent.filter(|parent| own < *parent) {
            let seen = format!("p={own}, while the domain above asks for {parent}");
            self.warn("weaker-than-parent", seen, "remove this record, or let it climb its own ladder");
        }
    }
}

fn of_fault(fault: &Fault) -> (&'static str, &'static str) {
    match fault {
        Fault::Version(_) => ("version", "begin the record with `v=DMARC1;`"),
        Fault::NoSemicolon(_) => ("no-semicolon", "write `v=DMARC1; p=...`"),
        Fault::NoValue(_) => ("no-value", "write tag=value, with `;` between tags"),
        Fault::Duplicate(_) => ("duplicate-tag", "keep one of them"),
        Fault::BadValue { .. } => ("bad-value", "correct the value"),
        Fault::BadPolicy(_) => ("bad-policy", "write p=none, p=quarantine or p=reject"),
        Fault::NoPolicy => ("no-policy", "write p=none if that is what is meant"),
        Fault::BadUri { .. } => ("bad-uri", "write mailto:address, with %2C for `,` and %21 for `!` inside"),
        Fault::Quoted => ("quotes-inside", "remove the quotes: the provider adds its own"),
    }
}
