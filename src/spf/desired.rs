//! The record that the configuration means, merged with the one that is published.
//!
//! What others wrote stays, in its order; only what we wrote ourselves and nobody wants any more goes.

use std::net::IpAddr;
use std::str::FromStr;

use dkimctl_state::lifecycle::staging::spf::{Ending, Goal, Rung};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::spf::{Directive, Mechanism, SpfRecord, Term};
use serde::{Deserialize, Serialize};

/// What is configured for a domain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Services that send for the domain.
    pub relays: Vec<Relay>,
    /// Own addresses and networks: `192.0.2.1`, `2001:db8::/64`.
    pub addresses: Vec<Network>,
    /// Own hosts by name; each costs a lookup.
    pub hosts: Vec<Fqdn>,
    /// Whether the mail exchangers send as well.
    pub mx: bool,
    /// Other records to include.
    pub includes: Vec<Fqdn>,
    /// Where it is to end: `soft`, `hard` or `parked`.
    pub goal: Goal,
}

/// A service with a published SPF record of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Relay {
    Ses,
    Mailgun,
    Postmark,
    SendGrid,
    Google,
    Microsoft,
}

/// An address or a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    ip: IpAddr,
    length: Option<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an address or a network such as 192.0.2.0/24 or 2001:db8::/48")]
pub struct NotANetwork(String);

impl Relay {
    pub const ALL: [Relay; 6] =
        [Relay::Ses, Relay::Mailgun, Relay::Postmark, Relay::SendGrid, Relay::Google, Relay::Microsoft];

    /// The name that the service tells its customers to include.
    pub fn include(self) -> &'static str {
        match self {
            Relay::Ses => "amazonses.com",
            Relay::Mailgun => "mailgun.org",
            Relay::Postmark => "spf.mtasv.net",
            Relay::SendGrid => "sendgrid.net",
            Relay::Google => "_spf.google.com",
            Relay::Microsoft => "spf.protection.outlook.com",
        }
    }

    /// Whose host it is, as it stands in `relayhost`: `[email-smtp.eu-west-1.amazonaws.com]:587`.
    pub fn of_host(host: &str) -> Option<Relay> {
        let host = host.trim_start_matches('[').split([']', ':']).next().unwrap_or_default().to_ascii_lowercase();
        let below = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        let domains = [
            ("amazonaws.com", Relay::Ses),
            ("mailgun.org", Relay::Mailgun),
            ("mtasv.net", Relay::Postmark),
            ("postmarkapp.com", Relay::Postmark),
            ("sendgrid.net", Relay::SendGrid),
            ("google.com", Relay::Google),
            ("gmail.com", Relay::Google),
            ("outlook.com", Relay::Microsoft),
            ("office365.com", Relay::Microsoft),
        ];
        domains.into_iter().find(|(domain, _)| below(domain)).map(|(_, relay)| relay)
    }
}

impl Wanted {
    /// The mechanisms, the cheap ones first: whoever matches an address costs no lookup.
    pub fn terms(&self) -> Vec<Term> {
        let mut texts: Vec<String> = self.addresses.iter().map(|network| network.mechanism()).collect();
        texts.extend(self.hosts.iter().map(|host| format!("a:{host}")));
        texts.extend(self.mx.then(|| "mx".to_owned()));
        texts.extend(self.relays.iter().map(|relay| format!("include:{}", relay.include())));
        texts.extend(self.includes.iter().map(|name| format!("include:{name}")));
        let mut terms: Vec<Term> = Vec::new();
        // A name that is no domain-spec (`localhost`) makes no term; `spf check` tells that it is missing.
        for term in texts.iter().flat_map(|text| read(text)) {
            if !terms.contains(&term) {
                terms.push(term);
            }
        }
        terms
    }
}

fn read(term: &str) -> Vec<Term> {
    SpfRecord::parse(&format!("v=spf1 {term}").into()).map(|record| record.terms).unwrap_or_default()
}

/// How a published record ends.
pub fn ending(published: Option<&SpfRecord>) -> Ending {
    match published {
        None => Ending::Nothing,
        Some(record) => match (record.all(), record.redirect()) {
            (Some(qualifier), _) => Ending::All(qualifier),
            (None, Some(_)) => Ending::Elsewhere,
            (None, None) => Ending::Open,
        },
    }
}

/// The record to publish. `ours` are the terms that we wrote before, `rung` is what it is to end in if that changes.
pub fn desired(wanted: &Wanted, published: Option<&SpfRecord>, ours: &[String], rung: Option<Rung>) -> SpfRecord {
    let wanted_terms = if wanted.goal == Goal::Parked { Vec::new() } else { wanted.terms() };
    let is_all = |term: &Term| matches!(term, Term::Directive(d) if d.mechanism == Mechanism::All);
    let kept: Vec<Term> = published
        .into_iter()
        .flat_map(|record| &record.terms)
        .filter(|term| wanted_terms.iter().any(|w| same(w, term)) || !ours.contains(&term.to_string()))
        .cloned()
        .collect();
    // New mechanisms stand before the first `all`, and before modifiers, which may stand anywhere.
    let place = kept.iter().position(|term| is_all(term) || matches!(term, Term::Modifier(_))).unwrap_or(kept.len());
    let new: Vec<Term> = wanted_terms.into_iter().filter(|w| !kept.iter().any(|term| same(w, term))).collect();
    let mut terms = kept;
    terms.splice(place..place, new);
    if let Some(rung) = rung {
        let all = Term::Directive(Directive { written: Some(rung.qualifier()), mechanism: Mechanism::All });
        match terms.iter().position(is_all) {
            Some(at) => terms[at] = all,
            None => {
                let at = terms.iter().position(|term| matches!(term, Term::Modifier(_))).unwrap_or(terms.len());
                terms.insert(at, all);
            }
        }
    }
    SpfRecord { terms }
}

/// Whether two terms let the same senders pass: `+a` is `a`, names have no case.
fn same(a: &Term, b: &Term) -> bool {
    let plain = |term: &Term| {
        let text = term.to_string().to_ascii_lowercase();
        text.strip_prefix('+').map(str::to_owned).unwrap_or(text)
    };
    plain(a) == plain(b)
}

impl Network {
    fn mechanism(&self) -> String {
        let family = if self.ip.is_ipv4() { "ip4" } else { "ip6" };
        format!("{family}:{self}")
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.to_owned());
        let (ip, length) = match text.split_once('/') {
            Some((ip, length)) => (ip, Some(length.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        if length.is_some_and(|length| length > most) { Err(wrong()) } else { Ok(Network { ip, length }) }
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.ip)?;
        self.length.map_or(Ok(()), |length| write!(f, "/{length}"))
    }
}

impl TryFrom<String> for Network {
    type Error = NotANetwork;

    fn try_from(text: String) -> Result<Self, NotANetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

#[cfg(test)]
#[path = "desired_tests.rs"]
mod tests;
