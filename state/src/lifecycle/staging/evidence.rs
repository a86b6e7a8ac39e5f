//! What aggregate reports said: reports, and their rows counted together. Input of the gates, and nothing else.
//!
//! A row is kept with the texts that a reporter sent; nothing in it was checked by us, and everything in it may have
//! been chosen by whoever sent the mail.

use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::Fqdn;
use crate::record::dmarc::Policy;
use crate::time::{Span, Time};

/// How a report came to us. The later the more it is believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trust {
    /// By mail that nobody vouches for: it may block, but never advance.
    Unverified,
    /// By mail with a good DKIM signature of the reporter (RFC 9990 section 5.1).
    Verified,
    /// A file that an operator placed.
    Operator,
}

/// The policy that a reporter applied, as it was when the mail came.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Published {
    pub policy: Option<Policy>,
    pub subdomains: Option<Policy>,
    pub nonexistent: Option<Policy>,
    pub percent: Option<u8>,
    pub testing: Option<bool>,
}

/// One report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Who made it: the signing domain of its mail, or what it calls itself in a file.
    pub reporter: String,
    pub id: String,
    pub domain: Fqdn,
    pub begin: Time,
    pub end: Time,
    pub published: Published,
    pub trust: Trust,
    /// Everything in it was read. A partial report counts failures but covers no day.
    pub complete: bool,
    pub records: u64,
    pub messages: u64,
    /// Messages that passed DMARC.
    pub aligned: u64,
    pub received: Time,
}

/// A report that could not be read at all, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub domain: Fqdn,
    /// When it ends; when it came, if it does not say.
    pub until: Time,
    pub trust: Trust,
    /// The file or the attachment.
    pub name: String,
    pub why: String,
}

/// Messages that have everything in common, of one reporter, on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub day: Day,
    pub reporter: Arc<str>,
    pub trust: Trust,
    pub complete: bool,
    pub published: Arc<Published>,
    pub source: IpAddr,
    pub header_from: Arc<str>,
    pub auth: Arc<Auth>,
    pub outcome: Outcome,
    pub count: u64,
}

/// A UTC day: days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Day(pub i32);

/// What DKIM and SPF said by themselves, aligned or not (`auth_results`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Auth {
    pub dkim: Vec<DkimResult>,
    pub spf: Vec<SpfResult>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DkimResult {
    pub domain: String,
    pub selector: String,
    pub result: AuthWord,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpfResult {
    pub domain: String,
    pub result: AuthWord,
}

/// A result word of RFC 8601, as far as it decides anything here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthWord {
    Pass,
    Fail,
    Softfail,
    Neutral,
    None,
    Policy,
    Temperror,
    Permerror,
    /// A word that nobody defined; never a pass.
    Other,
}

/// What became of the messages (`policy_evaluated`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outcome {
    pub disposition: Policy,
    /// DKIM passed and was aligned.
    pub dkim: bool,
    pub spf: bool,
    pub overrides: Overrides,
}

/// Why the policy was not applied: a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Overrides(u8);

impl Overrides {
    pub const FORWARDED: Overrides = Overrides(1);
    pub const SAMPLED_OUT: Overrides = Overrides(2);
    pub const TRUSTED_FORWARDER: Overrides = Overrides(4);
    pub const MAILING_LIST: Overrides = Overrides(8);
    pub const LOCAL_POLICY: Overrides = Overrides(16);
    /// A local policy whose comment says `arc=pass`.
    pub const ARC: Overrides = Overrides(32);
    pub const TEST_MODE: Overrides = Overrides(64);
    pub const OTHER: Overrides = Overrides(128);

    /// The word of the schema.
    pub fn word(text: &str) -> Overrides {
        let text = text.to_ascii_lowercase();
        match text.as_str() {
            "forwarded" => Self::FORWARDED,
            "sampled_out" => Self::SAMPLED_OUT,
            "trusted_forwarder" => Self::TRUSTED_FORWARDER,
            "mailing_list" => Self::MAILING_LIST,
            "local_policy" => Self::LOCAL_POLICY,
            "policy_test_mode" => Self::TEST_MODE,
            _ => Self::OTHER,
        }
    }

    pub fn with(self, other: Overrides) -> Overrides {
        Overrides(self.0 | other.0)
    }

    pub fn any(self, of: &[Overrides]) -> bool {
        of.iter().any(|one| self.0 & one.0 != 0)
    }

    pub fn bits(self) -> u8 {
        self.0
    }

    pub fn from_bits(bits: u8) -> Overrides {
        Overrides(bits)
    }
}

impl Outcome {
    /// Whether the message passed DMARC.
    pub fn aligned(self) -> bool {
        self.dkim || self.spf
    }

    /// One number, for storage.
    pub fn bits(self) -> u16 {
        let disposition = self.disposition as u16;
        disposition | u16::from(self.dkim) << 2 | u16::from(self.spf) << 3 | u16::from(self.overrides.0) << 8
    }

    pub fn from_bits(bits: u16) -> Outcome {
        let disposition = match bits & 3 {
            0 => Policy::None,
            1 => Policy::Quarantine,
            _ => Policy::Reject,
        };
        let overrides = Overrides((bits >> 8) as u8);
        Outcome { disposition, dkim: bits & 4 != 0, spf: bits & 8 != 0, overrides }
    }
}

impl Day {
    pub fn of(time: Time) -> Day {
        Day(i32::try_from(time.unix().div_euclid(86400)).unwrap_or(i32::MAX))
    }

    pub fn start(self) -> Time {
        Time::from_unix(i64::from(self.0) * 86400)
    }
}

impl Report {
    /// The day that its rows count for: the one that holds its middle, since reporters cut days differently.
    pub fn day(&self) -> Day {
        let half = self.end.since(self.begin).as_secs() / 2;
        Day::of(self.begin + Span::seconds(half))
    }
}

impl AuthWord {
    /// Any case; `hardfail` was once common for SPF.
    pub fn read(text: &str) -> AuthWord {
        const WORDS: [(&str, AuthWord); 12] = [
            ("pass", AuthWord::Pass),
            ("fail", AuthWord::Fail),
            ("none", AuthWord::None),
            ("softfail", AuthWord::Softfail),
            ("neutral", AuthWord::Neutral),
            ("policy", AuthWord::Policy),
            ("temperror", AuthWord::Temperror),
            ("permerror", AuthWord::Permerror),
            ("hardfail", AuthWord::Fail),
            ("invalid", AuthWord::Permerror),
            ("error", AuthWord::Temperror),
            ("unknown", AuthWord::Permerror),
        ];
        let found = WORDS.iter().find(|(word, _)| text.eq_ignore_ascii_case(word));
        found.map_or(AuthWord::Other, |(_, word)| *word)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            AuthWord::Pass => "pass",
            AuthWord::Fail => "fail",
            AuthWord::Softfail => "softfail",
            AuthWord::Neutral => "neutral",
            AuthWord::None => "none",
            AuthWord::Policy => "policy",
            AuthWord::Temperror => "temperror",
            AuthWord::Permerror => "permerror",
            AuthWord::Other => "other",
        }
    }
}

/// `d\tdomain\tselector\tresult` and `s\tdomain\tresult`, a line each: how it is kept. Tabs and line ends never stand in
/// what a reporter sent ([`clean`]).
impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for DkimResult { domain, selector, result } in &self.dkim {
            writeln!(f, "d\t{domain}\t{selector}\t{}", result.as_str())?;
        }
        for SpfResult { domain, result } in &self.spf {
            writeln!(f, "s\t{domain}\t{}", result.as_str())?;
        }
        Ok(())
    }
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut auth = Auth::default();
        for line in text.lines() {
            match line.split('\t').collect::<Vec<_>>().as_slice() {
                ["d", domain, selector, result] => auth.dkim.push(DkimResult {
                    domain: (*domain).to_owned(),
                    selector: (*selector).to_owned(),
                    result: AuthWord::read(result),
                }),
                ["s", domain, result] => {
                    auth.spf.push(SpfResult { domain: (*domain).to_owned(), result: AuthWord::read(result) })
                }
                _ => return Err(format!("`{line}` is no authentication result")),
            }
        }
        Ok(auth)
    }
}

/// `p=reject sp=none pct=0 t=y`; empty for a reporter that said nothing.
impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tags: Vec<String> = Vec::new();
        for (tag, policy) in [("p", self.policy), ("sp", self.subdomains), ("np", self.nonexistent)] {
            tags.extend(policy.map(|policy| format!("{tag}={policy}")));
        }
        tags.extend(self.percent.map(|percent| format!("pct={percent}")));
        tags.extend(self.testing.map(|testing| format!("t={}", if testing { "y" } else { "n" })));
        f.write_str(&tags.join(" "))
    }
}

impl FromStr for Published {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut published = Published::default();
        for part in text.split_whitespace() {
            let (tag, value) = part.split_once('=').ok_or_else(|| format!("`{part}` is no tag"))?;
            let policy = || Policy::ALL.into_iter().find(|policy| policy.as_str() == value);
            match tag {
                "p" => published.policy = policy(),
                "sp" => published.subdomains = policy(),
                "np" => published.nonexistent = policy(),
                "pct" => published.percent = value.parse().ok(),
                "t" => published.testing = Some(value == "y"),
                _ => return Err(format!("`{part}` is no tag")),
            }
        }
        Ok(published)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.start().utc().format("%Y-%m-%d").to_string())
    }
}

/// A text that a stranger sent, fit to be kept and shown: no control characters, at most `longest` octets.
pub fn clean(text: &str, longest: usize) -> std::borrow::Cow<'_, str> {
    let text = text.trim();
    if text.len() <= longest && !text.chars().any(char::is_control) {
        return text.into();
    }
    let mut out = String::with_capacity(text.len().min(longest));
    for c in text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }) {
        if out.len() + c.len_utf8() > longest {
            break;
        }
        out.push(c);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back() {
        let auth = Auth {
            dkim: vec![DkimResult { domain: "example.com".into(), selector: "s1".into(), result: AuthWord::Pass }],
            spf: vec![SpfResult { domain: clean("a\tb\n", 253).into(), result: AuthWord::Softfail }],
        };
        assert_eq!(auth.to_string().parse::<Auth>().unwrap(), auth);
        let published =
            Published { policy: Some(Policy::Reject), percent: Some(0), testing: Some(true), ..Published::default() };
        assert_eq!(published.to_string(), "p=reject pct=0 t=y");
        assert_eq!(published.to_string().parse::<Published>().unwrap(), published);
        for bits in [0u16, 5, 14, 0x2804, 0xff0e] {
            assert_eq!(Outcome::from_bits(bits).bits(), bits);
        }
        assert_eq!(clean(" x\u{7}é ", 3), "x\u{fffd}".get(..1).unwrap());
    }
}
