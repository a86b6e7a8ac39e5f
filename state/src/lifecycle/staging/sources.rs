//! Whose mail a row is about: ours, somebody's who forwards, a sender nobody named, or a forger's.

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::evidence::{AuthWord, Day, Overrides, Row};
use super::policy::Floor;
use crate::name::Fqdn;
use crate::record::dmarc::org::by_suffix_list;
use crate::time::{Time, serde_as_text};

/// A sender that an operator named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sender {
    pub name: String,
    /// Domains that it signs with or bounces to, when they are not ours.
    #[serde(default)]
    pub domains: Vec<Fqdn>,
    /// Selectors that it signs our domain with.
    #[serde(default)]
    pub selectors: Vec<String>,
    #[serde(default)]
    pub networks: Vec<Network>,
    #[serde(default)]
    pub cadence: Cadence,
    /// Since when it is known; the window begins no earlier.
    pub since: Time,
}

/// How often a sender sends at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cadence {
    #[default]
    Daily,
    Weekly,
    Monthly,
}

/// A source that an operator looked at: its mail is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotOurs {
    /// The domain that it authenticates as, or an address or network.
    pub source: String,
    pub by: String,
    pub at: Time,
    pub reason: String,
}

/// What is known of a domain's mail.
#[derive(Debug, Clone)]
pub struct Ours<'a> {
    pub domain: Option<Fqdn>,
    pub senders: &'a [Sender],
    pub not_ours: &'a [NotOurs],
    /// Addresses that our SPF record allows.
    pub spf: &'a [Network],
    /// Selectors of keys that we manage.
    pub selectors: &'a BTreeSet<String>,
}

/// `192.0.2.0/24`, `2001:db8::/32`, or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    address: IpAddr,
    length: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Pass,
    /// It fails, and the source is ours.
    KnownFail,
    /// It fails, and somebody passed it on.
    Forwarded,
    /// It fails, and authenticates as somebody whom nobody named.
    Unresolved,
    /// It fails, and nothing vouches for it.
    Spoof,
}

/// A row's class, and by whom it came: a sender's name, a domain, an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified<'r> {
    pub row: &'r Row,
    pub class: Class,
    pub who: String,
}

/// Everything that one source did in a window: for the table, and for the gates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    pub class: Class,
    pub who: String,
    pub messages: u64,
    pub dkim: u64,
    pub spf: u64,
    pub aligned: u64,
    pub first: Day,
    pub last: Day,
    pub days: u32,
    pub reporters: u32,
    /// Some of its addresses, at most three.
    pub addresses: Vec<IpAddr>,
}

impl Ours<'_> {
    /// The class of each row, with steady sources that nothing vouches for brought to light.
    pub fn classify<'r>(&self, rows: &'r [Row], floor: &Floor) -> Vec<Classified<'r>> {
        let mut all: Vec<Classified<'r>> = rows.iter().map(|row| self.class(row)).collect();
        let steady = steady_sources(&all, floor);
        for one in all.iter_mut().filter(|one| is_bare(one)) {
            if steady.contains(&one.row.source) && !self.is_not_ours(&one.row.source.to_string(), Some(one.row.source))
            {
                one.class = Class::Unresolved;
            }
        }
        all
    }

    fn class<'r>(&self, row: &'r Row) -> Classified<'r> {
        let (class, who) = self.judge(row);
        Classified { row, class, who }
    }

    fn judge(&self, row: &Row) -> (Class, String) {
        let sender = self.sender_of(row);
        if row.outcome.aligned() {
            return (Class::Pass, sender.unwrap_or_else(|| self.passing_name(row)));
        }
        if let Some(sender) = sender {
            return (Class::KnownFail, sender);
        }
        if self.spf.iter().any(|network| network.contains(row.source)) {
            return (Class::KnownFail, "an address in our SPF record".to_owned());
        }
        let passing = passing_domains(row);
        if let Some(own) = passing.iter().find(|domain| self.is_own(domain)) {
            return (Class::KnownFail, format!("{own} (not aligned)"));
        }
        const PASSED_ON: [Overrides; 4] =
            [Overrides::FORWARDED, Overrides::TRUSTED_FORWARDER, Overrides::MAILING_LIST, Overrides::ARC];
        // RFC 9990 has no `forwarded` any more: a signature of ours that broke on the way says the same.
        let broken = row.auth.dkim.iter().any(|signature| {
            self.is_own(&signature.domain)
                && signature.result != AuthWord::None
                && self.selectors_know(&signature.selector)
        });
        let forwarder = || passing.first().map_or_else(|| row.source.to_string(), |domain| organization(domain));
        if row.outcome.overrides.any(&PASSED_ON) || broken {
            return (Class::Forwarded, forwarder());
        }
        match passing
            .iter()
            .map(|domain| organization(domain))
            .find(|domain| !self.is_not_ours(domain, Some(row.source)))
        {
            Some(domain) => (Class::Unresolved, domain),
            None => (Class::Spoof, row.source.to_string()),
        }
    }

    /// The declared sender whose mail this is: by address, by a selector of our domain, or by the domain that it
    /// proved to be. What fails proves nothing.
    fn sender_of(&self, row: &Row) -> Option<String> {
        let passing = passing_domains(row);
        let selectors: Vec<&str> = row
            .auth
            .dkim
            .iter()
            .filter(|signature| signature.result == AuthWord::Pass && self.is_own(&signature.domain))
            .map(|signature| signature.selector.as_str())
            .collect();
        let sender = self.senders.iter().find(|sender| {
            let by_selector =
                sender.selectors.iter().any(|s| selectors.iter().any(|seen| seen.eq_ignore_ascii_case(s)));
            let by_domain = sender.domains.iter().any(|domain| passing.iter().any(|seen| is_below(seen, domain)));
            by_selector || by_domain || sender.networks.iter().any(|network| network.contains(row.source))
        });
        sender.map(|sender| sender.name.clone())
    }

    fn passing_name(&self, row: &Row) -> String {
        let signed = row.auth.dkim.iter().find(|s| s.result == AuthWord::Pass && self.is_own(&s.domain));
        match signed {
            Some(signature) => format!("selector {}", signature.selector),
            None => "SPF alone".to_owned(),
        }
    }

    fn is_own(&self, domain: &str) -> bool {
        self.domain.as_ref().is_some_and(|own| {
            is_below(domain, own) || by_suffix_list(own).is_some_and(|organization| is_below(domain, &organization))
        })
    }

    fn selectors_know(&self, selector: &str) -> bool {
        self.selectors.contains(selector)
            || self.senders.iter().any(|sender| sender.selectors.iter().any(|s| s.eq_ignore_ascii_case(selector)))
    }

    /// Whether a passing selector of ours is managed by us or by a declared sender.
    pub fn knows_selector(&self, selector: &str) -> bool {
        self.selectors_know(selector)
    }

    /// Whether the domain is ours, so that its selectors concern us.
    pub fn owns(&self, domain: &str) -> bool {
        self.is_own(domain)
    }

    fn is_not_ours(&self, who: &str, source: Option<IpAddr>) -> bool {
        self.not_ours.iter().any(|known| {
            known.source.eq_ignore_ascii_case(who)
                || known.source.parse::<Fqdn>().is_ok_and(|domain| is_below(who, &domain))
                || known.source.parse::<Network>().is_ok_and(|network| source.is_some_and(|ip| network.contains(ip)))
        })
    }
}

fn passing_domains(row: &Row) -> Vec<&str> {
    let dkim = row.auth.dkim.iter().filter(|r| r.result == AuthWord::Pass).map(|r| r.domain.as_str());
    let spf = row.auth.spf.iter().filter(|r| r.result == AuthWord::Pass).map(|r| r.domain.as_str());
    dkim.chain(spf).filter(|domain| !domain.is_empty()).collect()
}

fn is_below(name: &str, domain: &Fqdn) -> bool {
    name.parse::<Fqdn>().is_ok_and(|name| name.is_in(domain))
}

fn organization(domain: &str) -> String {
    let name = domain.parse::<Fqdn>().ok();
    name.and_then(|name| by_suffix_list(&name)).map_or_else(|| domain.to_owned(), |name| name.to_string())
}

/// Nothing vouches for it at all. What authenticates as somebody who was said not to be ours has been looked at.
fn is_bare(one: &Classified<'_>) -> bool {
    one.class == Class::Spoof && passing_domains(one.row).is_empty()
}

/// Addresses without any credentials, seen on many days with about the same volume: a forgotten machine of ours looks
/// like this, and a forger's rarely does.
fn steady_sources(all: &[Classified<'_>], floor: &Floor) -> BTreeSet<IpAddr> {
    let mut days: BTreeMap<IpAddr, BTreeMap<Day, u64>> = BTreeMap::new();
    for one in all.iter().filter(|one| is_bare(one)) {
        *days.entry(one.row.source).or_default().entry(one.row.day).or_default() += one.row.count;
    }
    let steady = |days: &BTreeMap<Day, u64>| {
        let (least, most) = (days.values().min().copied().unwrap_or(0), days.values().max().copied().unwrap_or(0));
        days.len() >= floor.steady_days as usize && most <= least.saturating_mul(3)
    };
    days.into_iter().filter(|(_, days)| steady(days)).map(|(source, _)| source).collect()
}

/// The table of sources, the largest first.
pub fn table(all: &[Classified<'_>]) -> Vec<Source> {
    type Sets<'r> = (Source, BTreeSet<Day>, BTreeSet<&'r str>);
    let mut by_who: BTreeMap<(Class, &str), Sets<'_>> = BTreeMap::new();
    for Classified { row, class, who } in all {
        let (source, days, reporters) = by_who.entry((*class, who)).or_insert_with(|| {
            let source = Source {
                class: *class,
                who: who.clone(),
                messages: 0,
                dkim: 0,
                spf: 0,
                aligned: 0,
                first: row.day,
                last: row.day,
                days: 0,
                reporters: 0,
                addresses: Vec::new(),
            };
            (source, BTreeSet::new(), BTreeSet::new())
        });
        source.messages += row.count;
        source.dkim += if row.outcome.dkim { row.count } else { 0 };
        source.spf += if row.outcome.spf { row.count } else { 0 };
        source.aligned += if row.outcome.aligned() { row.count } else { 0 };
        source.first = source.first.min(row.day);
        source.last = source.last.max(row.day);
        if source.addresses.len() < 3 && !source.addresses.contains(&row.source) {
            source.addresses.push(row.source);
        }
        days.insert(row.day);
        reporters.insert(&row.reporter);
    }
    let mut table: Vec<Source> = by_who
        .into_values()
        .map(|(source, days, reporters)| Source {
            days: days.len() as u32,
            reporters: reporters.len() as u32,
            ..source
        })
        .collect();
    table.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| a.who.cmp(&b.who)));
    table
}

impl Network {
    pub fn new(address: IpAddr, length: u8) -> Option<Network> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        (length <= most).then_some(Network { address, length })
    }

    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.length);
                shift == 32 || u32::from(own) >> shift == u32::from(other) >> shift
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.length);
                shift == 128 || u128::from(own) >> shift == u128::from(other) >> shift
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = text.split_once('/').unwrap_or((text, ""));
        let address: IpAddr = address.parse().map_err(|_| format!("`{text}` is no address and no network"))?;
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let length = if length.is_empty() { Some(whole) } else { length.parse().ok() };
        length.and_then(|length| Network::new(address, length)).ok_or_else(|| format!("`{text}` is no network"))
    }
}

serde_as_text!(Network);
