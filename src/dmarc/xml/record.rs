//! One `<record>` while it is read.

use std::net::IpAddr;

use dkimctl_state::lifecycle::staging::evidence::{AuthWord, Outcome, Overrides, clean};
use dkimctl_state::record::dmarc::Policy;
use sha2::{Digest, Sha256};

use super::values::whole_number;

/// What stands in a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Row,
    SourceIp,
    Count,
    Evaluated,
    Disposition,
    EvaluatedDkim,
    EvaluatedSpf,
    Reason,
    ReasonType,
    ReasonComment,
    Identifiers,
    HeaderFrom,
    Results,
    Dkim,
    Spf,
    Domain,
    Selector,
    Result,
    Ignored,
}

impl Part {
    /// What an element is, by the one that it stands in (`None`: the record itself).
    pub(super) fn below(parent: Option<Part>, name: &str) -> Option<Part> {
        Some(match (parent, name) {
            (None, "row") => Part::Row,
            // Some reporters write `identities`.
            (None, "identifiers" | "identities") => Part::Identifiers,
            (None, "auth_results") => Part::Results,
            (Some(Part::Row), "source_ip") => Part::SourceIp,
            (Some(Part::Row), "count") => Part::Count,
            (Some(Part::Row), "policy_evaluated") => Part::Evaluated,
            (Some(Part::Evaluated), "disposition") => Part::Disposition,
            (Some(Part::Evaluated), "dkim") => Part::EvaluatedDkim,
            (Some(Part::Evaluated), "spf") => Part::EvaluatedSpf,
            (Some(Part::Evaluated), "reason") => Part::Reason,
            (Some(Part::Reason), "type") => Part::ReasonType,
            (Some(Part::Reason), "comment") => Part::ReasonComment,
            (Some(Part::Identifiers), "header_from") => Part::HeaderFrom,
            (Some(Part::Identifiers), "envelope_from" | "envelope_to") => Part::Ignored,
            (Some(Part::Results), "dkim") => Part::Dkim,
            (Some(Part::Results), "spf") => Part::Spf,
            (Some(Part::Dkim | Part::Spf), "domain") => Part::Domain,
            (Some(Part::Dkim), "selector") => Part::Selector,
            (Some(Part::Dkim | Part::Spf), "result") => Part::Result,
            (Some(Part::Dkim | Part::Spf), "human_result" | "scope") => Part::Ignored,
            _ => return None,
        })
    }
}

/// A record of more authentication results than this is cut: nobody signs so often.
const MOST_RESULTS: usize = 64;

/// A record as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) source: Option<IpAddr>,
    count: Option<u64>,
    disposition: Option<Policy>,
    dkim: Option<bool>,
    spf: Option<bool>,
    overrides: Overrides,
    reason: Overrides,
    arc: bool,
    pub(super) header_from: String,
    /// The results in the form that they are kept in.
    pub(super) auth: String,
    results: usize,
    domain: String,
    selector: String,
    result: Option<AuthWord>,
    refused: Option<String>,
    /// Something was read in a way that has to be told.
    pub(super) odd: Option<String>,
}

impl Draft {
    pub(super) fn clear(&mut self) {
        let (mut header_from, mut auth) = (std::mem::take(&mut self.header_from), std::mem::take(&mut self.auth));
        header_from.clear();
        auth.clear();
        *self = Draft { header_from, auth, ..Draft::default() };
    }

    pub(super) fn open(&mut self, part: Part) {
        match part {
            Part::Dkim | Part::Spf => {
                self.domain.clear();
                self.selector.clear();
                self.result = None;
            }
            Part::Reason => (self.reason, self.arc) = (Overrides::default(), false),
            _ => {}
        }
    }

    pub(super) fn close(&mut self, part: Part, text: &str) {
        match part {
            Part::SourceIp => match address(text) {
                Some(_) if self.source.is_some() => self.refuse("it has two source addresses".to_owned()),
                Some(source) => self.source = Some(source),
                None => self.refuse(format!("`{}` is no address", clean(text, 60))),
            },
            Part::Count => match whole_number(text, u32::MAX.into()) {
                Some(_) if self.count.is_some() => self.refuse("it has two counts".to_owned()),
                Some(count) => self.count = Some(count),
                None => self.refuse(format!("its count `{}` is no whole number up to {}", clean(text, 40), u32::MAX)),
            },
            Part::Disposition => self.dispose(text),
            Part::EvaluatedDkim => self.dkim = self.evaluated(self.dkim, text),
            Part::EvaluatedSpf => self.spf = self.evaluated(self.spf, text),
            Part::ReasonType => self.reason = Overrides::word(text),
            Part::ReasonComment => self.arc |= text.to_ascii_lowercase().replace(' ', "").contains("arc=pass"),
            Part::Reason => {
                let arc = self.arc && self.reason == Overrides::LOCAL_POLICY;
                let reason = if arc { self.reason.with(Overrides::ARC) } else { self.reason };
                self.overrides = self.overrides.with(reason);
            }
            Part::HeaderFrom => replace(&mut self.header_from, text, 253),
            Part::Domain => replace(&mut self.domain, text, 253),
            Part::Selector => replace(&mut self.selector, text, 253),
            Part::Result => self.result = Some(AuthWord::read(text)),
            Part::Dkim | Part::Spf => self.add_result(part),
            _ => {}
        }
    }

    fn dispose(&mut self, text: &str) {
        match text.to_ascii_lowercase().as_str() {
            // RFC 9990 has `pass` for mail that passed; nothing was done to it.
            "none" | "pass" | "" => self.disposition = Some(Policy::None),
            "quarantine" => self.disposition = Some(Policy::Quarantine),
            "reject" => self.disposition = Some(Policy::Reject),
            other => {
                self.disposition = Some(Policy::None);
                self.odd = Some(format!("the disposition `{}` is unknown", clean(other, 40)));
            }
        }
    }

    /// Only `pass` is a pass, in any case; said twice, both must pass.
    fn evaluated(&mut self, before: Option<bool>, text: &str) -> Option<bool> {
        let pass = text.eq_ignore_ascii_case("pass");
        let known = pass
            || ["fail", "none", "", "softfail", "neutral", "temperror", "permerror"]
                .iter()
                .any(|w| text.eq_ignore_ascii_case(w));
        if !known {
            self.odd = Some(format!("the evaluation `{}` is unknown, and counts as a failure", clean(text, 40)));
        }
        Some(pass && before.unwrap_or(true))
    }

    fn add_result(&mut self, part: Part) {
        let empty = self.domain.is_empty() && self.result.is_none();
        if empty || self.results >= MOST_RESULTS {
            return;
        }
        self.results += 1;
        let result = self.result.unwrap_or(AuthWord::Other).as_str();
        let pieces: [&str; 8] = match part {
            Part::Dkim => ["d\t", &self.domain, "\t", &self.selector, "\t", result, "\n", ""],
            _ => ["s\t", &self.domain, "\t", result, "\n", "", "", ""],
        };
        pieces.iter().for_each(|piece| self.auth.push_str(piece));
    }

    pub(super) fn refuse(&mut self, why: String) {
        self.refused.get_or_insert(why);
    }

    /// The outcome and the count, or why the record cannot be used.
    pub(super) fn finish(&mut self) -> Result<(Outcome, u64), String> {
        if let Some(why) = self.refused.take() {
            return Err(why);
        }
        if self.source.is_none() {
            return Err("it has no source address".to_owned());
        }
        let count = self.count.ok_or("it has no count")?;
        if self.dkim.is_none() && self.spf.is_none() {
            self.odd
                .get_or_insert("it says neither for DKIM nor for SPF how it ended, and counts as a failure".to_owned());
        }
        let outcome = Outcome {
            disposition: self.disposition.unwrap_or(Policy::None),
            dkim: self.dkim.unwrap_or(false),
            spf: self.spf.unwrap_or(false),
            overrides: self.overrides,
        };
        Ok((outcome, count))
    }

    pub(super) fn digest(&self, outcome: Outcome, count: u64, hasher: &mut Sha256) {
        if let Some(source) = self.source {
            match source {
                IpAddr::V4(v4) => hasher.update(v4.octets()),
                IpAddr::V6(v6) => hasher.update(v6.octets()),
            }
        }
        hasher.update(count.to_le_bytes());
        hasher.update(outcome.bits().to_le_bytes());
        hasher.update(self.header_from.as_bytes());
        hasher.update([0]);
        hasher.update(self.auth.as_bytes());
        hasher.update([0]);
    }
}

fn replace(place: &mut String, text: &str, longest: usize) {
    place.clear();
    place.push_str(&clean(text, longest));
    place.make_ascii_lowercase();
}

/// An address as reporters write it; an IPv4 address in IPv6 clothes is IPv4.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let text = text.strip_prefix("IPv6:").unwrap_or(text);
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}
