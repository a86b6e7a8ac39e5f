//! The DMARC policy record (RFC 9989 section 4.7; RFC 7489 section 6.3 for the tags that went away).
//!
//! [`DmarcRecord`] is what is meant. [`read`] takes a text as a verifier does: what it must ignore is ignored, and
//! every such thing is a [`Fault`]. [`DmarcRecord::parse`] is for what we publish: no fault at all. [`lint`] says more,
//! and [`org`] finds the organizational domain, by tree walk and by the public suffix list.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::txt::TxtText;
use crate::name::Fqdn;

pub mod lint;
pub mod org;

/// What is asked of receivers for mail that fails: `p=`, `sp=`, `np=`. The later the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    None,
    Quarantine,
    Reject,
}

/// `adkim=`, `aspf=`: how closely names must agree. Relaxed by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Alignment {
    #[default]
    #[serde(rename = "r")]
    Relaxed,
    #[serde(rename = "s")]
    Strict,
}

/// `psd=`: whether the name is a public suffix (RFC 9989 section 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Psd {
    /// `y`: a public suffix.
    Yes,
    /// `n`: an organizational domain.
    No,
    /// `u`: not known; the default.
    Unknown,
}

/// One address in `rua=` or `ruf=`, as written, percent signs and all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReportUri {
    /// `mailto:reports@example.com`
    pub uri: String,
    /// `!10m`: the largest report that is taken (RFC 7489 section 6.4; ignored since RFC 9989).
    pub limit: Option<SizeLimit>,
}

/// `10m`: a number and `k`, `m`, `g`, `t` or nothing (RFC 7489 section 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SizeLimit {
    pub number: u64,
    pub unit: Option<char>,
}

/// A policy record. A `None` is a tag that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DmarcRecord {
    /// `p=`; a record without it counts as `none` if it has a `rua=` (RFC 9989 section 4.7).
    pub policy: Option<Policy>,
    /// `sp=`: for subdomains that exist; `p` by default.
    pub subdomains: Option<Policy>,
    /// `np=`: for subdomains that do not exist; `sp` by default.
    pub nonexistent: Option<Policy>,
    /// `t=y`: receivers are asked for one level less (RFC 9989 section 4.7).
    pub testing: Option<bool>,
    /// `pct=`: the share of mail that the policy is for (RFC 7489 section 6.3; ignored since RFC 9989).
    pub percent: Option<u8>,
    pub dkim_alignment: Option<Alignment>,
    pub spf_alignment: Option<Alignment>,
    /// `rua=`: where aggregate reports go.
    pub aggregate: Vec<ReportUri>,
    /// `ruf=`: where failure reports go.
    pub failure: Vec<ReportUri>,
    /// `fo=`: when failure reports are made; `0`, `1`, `d`, `s`.
    pub failure_options: Vec<char>,
    pub psd: Option<Psd>,
    /// `rf=`, `ri=` and whatever nobody knows; kept so that an edit of ours loses nothing.
    pub others: Vec<(String, String)>,
}

/// Something in a record that is not as it should be. The text says what was seen, and what receivers make of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("it is no DMARC record: it begins with `{0}`, not `v=DMARC1` (in upper case; RFC 9989 section 4.8)")]
    Version(String),
    #[error("there is no `;` after `v=DMARC1`, so receivers see no record at all in `{0}`")]
    NoSemicolon(String),
    #[error("`{0}` has no `=`, so it is ignored")]
    NoValue(String),
    #[error("the tag `{0}=` appears twice, and receivers differ about which one counts")]
    Duplicate(String),
    #[error("`{tag}={seen}` is not {wanted}; receivers ignore the tag")]
    BadValue { tag: &'static str, seen: String, wanted: &'static str },
    #[error(
        "`p={0}` is not none, quarantine or reject; receivers fall back to none, or see no record without a `rua=`"
    )]
    BadPolicy(String),
    #[error("there is no `p=`; receivers fall back to none, or see no record without a `rua=`")]
    NoPolicy,
    #[error("`{tag}={seen}`: {why}")]
    BadUri { tag: &'static str, seen: String, why: &'static str },
    #[error("the record is quoted twice: it has `\"` inside")]
    Quoted,
}

impl Policy {
    pub const ALL: [Policy; 3] = [Policy::None, Policy::Quarantine, Policy::Reject];

    pub fn as_str(self) -> &'static str {
        match self {
            Policy::None => "none",
            Policy::Quarantine => "quarantine",
            Policy::Reject => "reject",
        }
    }

    fn read(text: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| text.eq_ignore_ascii_case(policy.as_str()))
    }

    /// One level more: what [`Policy::lowered`] makes this again, but for `none`, which stays, and `reject`.
    pub fn raised(self) -> Policy {
        match self {
            Policy::None => Policy::None,
            _ => Policy::Reject,
        }
    }

    /// One level less: what `t=y` makes of it (RFC 9989 section 4.7).
    pub fn lowered(self) -> Policy {
        match self {
            Policy::Reject => Policy::Quarantine,
            _ => Policy::None,
        }
    }
}

impl DmarcRecord {
    /// `v=DMARC1; p=...` and nothing else.
    pub fn with_policy(policy: Policy) -> Self {
        DmarcRecord { policy: Some(policy), ..DmarcRecord::default() }
    }

    /// A record without any fault.
    pub fn parse(text: &TxtText) -> Result<DmarcRecord, Fault> {
        let (record, mut faults) = read(text);
        match (record, faults.is_empty()) {
            (Some(record), true) => Ok(record),
            _ => Err(faults.swap_remove(0)),
        }
    }

    /// What a receiver that knows RFC 9989 does with failing mail of the domain itself.
    pub fn effective(&self) -> Policy {
        let policy = self.policy.unwrap_or(Policy::None);
        if self.testing == Some(true) { policy.lowered() } else { policy }
    }

    /// What a receiver that knows RFC 7489 alone does with failing mail that `pct` does not pick (section 6.6.4).
    pub fn effective_7489(&self) -> Policy {
        let policy = self.policy.unwrap_or(Policy::None);
        if self.percent == Some(0) { policy.lowered() } else { policy }
    }

    /// The text that we publish: tags in the RFC's order, what is unknown at the end.
    pub fn text(&self) -> TxtText {
        let mut out = String::from("v=DMARC1");
        let mut tag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                out.push_str(&format!("; {name}={value}"));
            }
        };
        let policy = |policy: Option<Policy>| policy.map(|p| p.as_str().to_owned());
        let alignment = |a: Option<Alignment>| a.map(|a| if a == Alignment::Strict { "s" } else { "r" }.to_owned());
        let uris = |uris: &[ReportUri]| {
            let uris: Vec<String> = uris.iter().map(ReportUri::to_string).collect();
            (!uris.is_empty()).then(|| uris.join(","))
        };
        tag("p", policy(self.policy));
        tag("sp", policy(self.subdomains));
        tag("np", policy(self.nonexistent));
        tag("t", self.testing.map(|t| if t { "y" } else { "n" }.to_owned()));
        tag("pct", self.percent.map(|percent| percent.to_string()));
        tag("adkim", alignment(self.dkim_alignment));
        tag("aspf", alignment(self.spf_alignment));
        tag("rua", uris(&self.aggregate));
        tag("ruf", uris(&self.failure));
        let options: Vec<String> = self.failure_options.iter().map(char::to_string).collect();
        tag("fo", (!options.is_empty()).then(|| options.join(":")));
        tag("psd", self.psd.map(|psd| psd.letter().to_owned()));
        for (name, value) in &self.others {
            tag(name, Some(value.clone()));
        }
        out.into()
    }
}

/// The record as a verifier takes it, and everything that is wrong with it. `None`: a verifier sees no record.
pub fn read(text: &TxtText) -> (Option<DmarcRecord>, Vec<Fault>) {
    let text = text.to_str_lossy();
    let mut specs = text.split(';');
    let first = specs.next().unwrap_or_default();
    let mut faults = Vec::new();
    // RFC 9989 section 4.8: "v" *WSP "=" *WSP %s"DMARC1", first of all.
    match first.split_once('=').map(|(tag, version)| (tag.trim_end(), version.trim())) {
        Some(("v" | "V", "DMARC1")) => {}
        Some(("v" | "V", version)) if version.strip_prefix("DMARC1").is_some_and(|r| r.starts_with([' ', '\t'])) => {
            return (None, vec![Fault::NoSemicolon(first.to_owned())]);
        }
        _ => return (None, vec![Fault::Version(first.chars().take(40).collect())]),
    }
    if text.contains('"') {
        faults.push(Fault::Quoted);
    }
    let mut tags: Vec<(String, &str)> = Vec::new();
    for spec in specs {
        if spec.trim().is_empty() {
            continue;
        }
        match spec.split_once('=') {
            None => faults.push(Fault::NoValue(spec.trim().to_owned())),
            Some((tag, value)) => {
                let tag = tag.trim().to_ascii_lowercase();
                if tag == "v" || tags.iter().any(|(seen, _)| *seen == tag) {
                    faults.push(Fault::Duplicate(tag));
                } else {
                    tags.push((tag, value.trim()));
                }
            }
        }
    }
    let mut record = DmarcRecord::default();
    let mut bad_policy = None;
    for (tag, value) in &tags {
        if let Err(fault) = record.take(tag, value, &mut faults) {
            if matches!(fault, Fault::BadPolicy(_)) || matches!(fault, Fault::BadValue { tag: "sp" | "np", .. }) {
                bad_policy = Some(());
            }
            faults.push(fault);
        }
    }
    if !tags.iter().any(|(tag, _)| tag == "p") {
        faults.push(Fault::NoPolicy);
    }
    // RFC 9989 section 4.7: without a valid p (or with a bad sp, np), rua decides between none and nothing.
    if record.policy.is_none() || bad_policy.is_some() {
        if record.aggregate.is_empty() {
            return (None, faults);
        }
        record.policy = Some(Policy::None);
    }
    (Some(record), faults)
}

impl DmarcRecord {
    fn take(&mut self, tag: &str, value: &str, faults: &mut Vec<Fault>) -> Result<(), Fault> {
        let bad = |tag, wanted| Fault::BadValue { tag, seen: value.to_owned(), wanted };
        let policy = |tag| Policy::read(value).ok_or(bad(tag, "none, quarantine or reject"));
        let alignment = |tag| match value {
            "r" | "R" => Ok(Some(Alignment::Relaxed)),
            "s" | "S" => Ok(Some(Alignment::Strict)),
            _ => Err(bad(tag, "r or s")),
        };
        match tag {
            "p" => self.policy = Some(Policy::read(value).ok_or_else(|| Fault::BadPolicy(value.to_owned()))?),
            "sp" => self.subdomains = Some(policy("sp")?),
            "np" => self.nonexistent = Some(policy("np")?),
            "t" => {
                self.testing = Some(match value {
                    "y" | "Y" => true,
                    "n" | "N" => false,
                    _ => return Err(bad("t", "y or n")),
                })
            }
            "pct" => {
                // RFC 7489 section 6.3: 1*3DIGIT, 0 to 100. `+5` parses as a number and is none.
                let digits = value.bytes().all(|b| b.is_ascii_digit()) && value.len() <= 3;
                let percent = value.parse().ok().filter(|percent| digits && *percent <= 100);
                self.percent = Some(percent.ok_or(bad("pct", "a number from 0 to 100"))?)
            }
            "adkim" => self.dkim_alignment = alignment("adkim")?,
            "aspf" => self.spf_alignment = alignment("aspf")?,
            "rua" => self.aggregate = uris("rua", value, faults),
            "ruf" => self.failure = uris("ruf", value, faults),
            "fo" => {
                let options: Vec<&str> = value.split(':').map(str::trim).collect();
                if !options.iter().all(|option| matches!(*option, "0" | "1" | "d" | "s" | "D" | "S")) {
                    return Err(bad("fo", "a list of 0, 1, d, s with `:` between"));
                }
                self.failure_options =
                    options.iter().flat_map(|option| option.to_ascii_lowercase().chars().next()).collect()
            }
            "psd" => {
                self.psd = Some(match value {
                    "y" | "Y" => Psd::Yes,
                    "n" | "N" => Psd::No,
                    "u" | "U" => Psd::Unknown,
                    _ => return Err(bad("psd", "y, n or u")),
                })
            }
            _ => self.others.push((tag.to_owned(), value.to_owned())),
        }
        Ok(())
    }
}

fn uris(tag: &'static str, value: &str, faults: &mut Vec<Fault>) -> Vec<ReportUri> {
    let mut good = Vec::new();
    for part in value.split(',') {
        match ReportUri::parse(part) {
            Ok(uri) => good.push(uri),
            Err(why) => faults.push(Fault::BadUri { tag, seen: part.trim().to_owned(), why }),
        }
    }
    good
}

impl ReportUri {
    pub fn mailto(address: &str) -> Self {
        // RFC 9989 section 4.8: `,` and `!` in an address are written %2C and %21.
        let address = address.replace('%', "%25").replace(',', "%2C").replace('!', "%21").replace(';', "%3B");
        ReportUri { uri: format!("mailto:{address}"), limit: None }
    }

    fn parse(text: &str) -> Result<ReportUri, &'static str> {
        let text = text.trim();
        let (uri, limit) = match text.split_once('!') {
            None => (text, None),
            Some((uri, size)) => (uri, Some(SizeLimit::parse(size).ok_or("what follows `!` is no size such as 10m")?)),
        };
        let Some((scheme, rest)) = uri.split_once(':') else {
            return Err("it is no URI; write `mailto:` before the address");
        };
        if !scheme.eq_ignore_ascii_case("mailto") {
            return Err("only `mailto:` addresses get reports");
        }
        if uri.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err("there is a space in it; addresses are separated by `,`");
        }
        let address = rest.split('?').next().unwrap_or_default();
        match address.rsplit_once('@') {
            Some((local, host)) if !local.is_empty() && host.parse::<Fqdn>().is_ok() => {
                Ok(ReportUri { uri: format!("mailto:{rest}"), limit })
            }
            _ => Err("it is no mail address"),
        }
    }

    /// The host that the reports go to.
    pub fn host(&self) -> Option<Fqdn> {
        let address = self.uri.strip_prefix("mailto:")?.split('?').next()?;
        address.rsplit_once('@')?.1.parse().ok()
    }
}

impl SizeLimit {
    fn parse(text: &str) -> Option<SizeLimit> {
        let unit = text.chars().last().filter(char::is_ascii_alphabetic).map(|unit| unit.to_ascii_lowercase());
        let digits = if unit.is_some() { &text[..text.len() - 1] } else { text };
        let known = unit.is_none_or(|unit| "kmgt".contains(unit));
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.parse().ok().filter(|_| known && plain)?;
        Some(SizeLimit { number, unit })
    }
}

impl Psd {
    fn letter(self) -> &'static str {
        match self {
            Psd::Yes => "y",
            Psd::No => "n",
            Psd::Unknown => "u",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for ReportUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)?;
        match self.limit {
            Some(SizeLimit { number, unit }) => write!(f, "!{number}{}", unit.map(String::from).unwrap_or_default()),
            None => Ok(()),
        }
    }
}

/// Where the policy of a domain is published: `_dmarc.<domain>` (RFC 9989 section 4.6).
pub fn record_name(domain: &Fqdn) -> Result<Fqdn, crate::name::NameError> {
    domain.child("_dmarc")
}

/// Whether a text at `_dmarc` claims to be a DMARC record, however badly written: what an edit must not step over.
pub fn looks_like_dmarc(text: &TxtText) -> bool {
    let start: String = text.to_str_lossy().chars().filter(|c| !c.is_whitespace() && *c != '"').take(7).collect();
    start.eq_ignore_ascii_case("v=dmarc")
}

#[cfg(test)]
#[path = "dmarc/dmarc_tests.rs"]
mod tests;
