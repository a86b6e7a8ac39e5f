//! What one message shows: the provider's own results, where it was filed, and how its sender was seen.
//!
//! `None` is "the provider does not say", and never a result: mail.ru writes nothing about a message without a
//! signature, Yandex nothing about DMARC.

use std::net::IpAddr;

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::dmarc::org::by_suffix_list;
use serde::Serialize;

use super::family::Family;
use super::probe;
use super::trust::{self, Trusted};
use crate::mail::authres::{MethodResult, Verdict, domain_in};
use crate::mail::header::{self, Field, harmless};

/// What one message shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    pub family: Family,
    /// The provider's host that took the message.
    pub receiver: Option<String>,
    /// The domain in `From`, which everything is compared with.
    pub from: Option<String>,
    /// The probe's token, if it is a probe.
    pub token: Option<String>,
    pub folder: Option<Folder>,
    pub filter: Vec<String>,
    pub spf: Option<Named>,
    pub dkim: Vec<Signature>,
    /// Signatures in the message itself, whatever the provider says of them.
    pub signatures: usize,
    pub dmarc: Option<Named>,
    pub client: Client,
    /// Whether the transfer to the provider was encrypted, and how; `None` if the provider does not say.
    pub tls: Option<Tls>,
    /// Results under the provider's name that it did not write.
    pub forged: Vec<String>,
    /// Whether anything in the message is the provider's own word on authentication.
    pub believed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Folder {
    Inbox,
    Junk,
    /// Some other folder: a category, a filter of the mailbox's owner.
    #[serde(untagged)]
    Other(String),
}

/// A result about a domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    pub result: Verdict,
    pub domain: Option<String>,
    /// Whether the domain has the organizational domain of `From` (RFC 9989, relaxed alignment).
    pub aligned: Option<bool>,
}

/// A result about a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    pub result: Verdict,
    pub domain: Option<String>,
    pub selector: Option<String>,
    /// Whether the selector stands in the provider's result, or was taken from the one signature that fits it.
    pub selector_from: Option<&'static str>,
    pub aligned: Option<bool>,
    /// What our own ledger knows of the key; `None` without a ledger.
    pub key: Option<Whose>,
    pub comment: Option<String>,
}

/// Whose key a selector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Whose {
    /// It is to sign now.
    Active,
    /// It is ours, and is not (or not any more) to sign.
    Idle,
    /// Our domain, under a selector that is not in the ledger.
    Foreign,
    /// Another domain.
    Others,
}

/// The sender as the provider saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Client {
    pub address: Option<IpAddr>,
    pub helo: Option<String>,
    pub ptr: Option<String>,
    /// The provider looked for a reverse name, and found none that leads back.
    pub ptr_missing: bool,
    /// It said that the reverse name leads back to the address.
    pub ptr_confirmed: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tls {
    pub encrypted: bool,
    pub version: Option<String>,
}

/// What the ledger says about a selector of a domain; `None` if there is no ledger to ask.
pub type Ours<'a> = dyn Fn(&str, &str) -> Option<Whose> + 'a;

/// Reads a message. `ours` knows our keys.
pub fn of(raw: &[u8], ours: &Ours<'_>) -> Evidence {
    let fields = header::fields(raw);
    let trusted = trust::trusted(&fields);
    let from = header::first(&fields, "From").and_then(header::domain_of);
    let result = |method: &str| worst(&trusted.results, method);
    let spf = result("spf").map(|result| {
        let domain = result.any(&["smtp.mailfrom", "smtp.mail", "smtp.helo"]).and_then(domain_in);
        named(result, domain, from.as_deref())
    });
    let dmarc = result("dmarc").map(|result| {
        let domain = result.property("header.from").and_then(domain_in);
        named(result, domain, from.as_deref())
    });
    let written = signatures(&fields);
    let dkim = trusted.results.iter().filter(|result| result.method == "dkim");
    let dkim = dkim.map(|result| signature(result, &written, from.as_deref(), ours)).collect();
    let forefront = pairs(&fields, "X-Forefront-Antispam-Report", trusted.family);
    let (folder, filter) = folder(&fields, &trusted, &forefront);
    Evidence {
        family: trusted.family,
        receiver: trusted.host.clone(),
        token: probe::token_in(&fields),
        folder,
        filter,
        spf,
        dkim,
        signatures: written.len(),
        dmarc,
        client: client(&fields, &trusted, &forefront),
        tls: tls(&trusted),
        believed: !trusted.results.is_empty(),
        forged: trusted.forged,
        from,
    }
}

impl Evidence {
    /// The signature to speak of: the best of those that are aligned, or of all.
    pub fn main_signature(&self) -> Option<&Signature> {
        let rank = |signature: &&Signature| {
            let ours = matches!(signature.key, Some(Whose::Active));
            (signature.aligned == Some(true), signature.result.is_pass(), ours)
        };
        self.dkim.iter().rev().max_by_key(rank)
    }
}

/// A provider that gives several results for one method means the worst of them.
fn worst<'r>(results: &'r [MethodResult], method: &str) -> Option<&'r MethodResult> {
    let severity = |result: &&MethodResult| match result.verdict {
        Verdict::Pass => 0,
        Verdict::None => 1,
        Verdict::TempError | Verdict::Other(_) => 2,
        _ => 3,
    };
    results.iter().filter(|result| result.method == method).max_by_key(severity)
}

fn named(result: &MethodResult, domain: Option<String>, from: Option<&str>) -> Named {
    let aligned = aligned(domain.as_deref(), from);
    Named { result: result.verdict.clone(), domain, aligned }
}

fn aligned(domain: Option<&str>, from: Option<&str>) -> Option<bool> {
    let (domain, from): (Fqdn, Fqdn) = (domain?.parse().ok()?, from?.parse().ok()?);
    let organization = |name: &Fqdn| by_suffix_list(name).unwrap_or_else(|| name.clone());
    Some(organization(&domain) == organization(&from))
}

/// A `DKIM-Signature` of the message: d=, s=, b= (RFC 6376 section 3.5).
struct Written {
    domain: String,
    selector: String,
    data: String,
}

fn signatures(fields: &[Field]) -> Vec<Written> {
    let read = |field: &Field| {
        let tag = |name: &str| {
            let tags = field.value.split(';').filter_map(|tag| tag.split_once('='));
            let value = tags.filter(|(key, _)| key.trim() == name).map(|(_, value)| value).next()?;
            Some(value.split_whitespace().collect::<String>())
        };
        let (domain, selector) = (tag("d")?.to_ascii_lowercase(), tag("s")?.to_ascii_lowercase());
        Some(Written { domain, selector, data: tag("b").unwrap_or_default() })
    };
    fields.iter().filter(|field| field.is("DKIM-Signature")).take(50).filter_map(read).collect()
}

fn signature(result: &MethodResult, written: &[Written], from: Option<&str>, ours: &Ours<'_>) -> Signature {
    let mut domain = result.signing_domain();
    let mut selector = result.selector();
    let mut selector_from = selector.is_some().then_some("result");
    if selector.is_none() && result.verdict != Verdict::None {
        // Zoho writes a bare `dkim=pass`, most leave out header.s: a signature that alone fits tells what is meant.
        let start = result.property("header.b").unwrap_or_default();
        let fits =
            |one: &&Written| domain.as_deref().is_none_or(|domain| domain == one.domain) && one.data.starts_with(start);
        let mut fitting = written.iter().filter(fits);
        if let (Some(one), None) = (fitting.next(), fitting.next()) {
            domain = domain.or_else(|| Some(one.domain.clone()));
            selector = Some(one.selector.clone());
            selector_from = Some("signature");
        }
    }
    let key = match (&domain, &selector) {
        (Some(domain), Some(selector)) => ours(domain, selector),
        _ => None,
    };
    let comment = result.comments.first().map(|text| harmless(text, 80).into_owned());
    let aligned = aligned(domain.as_deref(), from);
    Signature { result: result.verdict.clone(), domain, selector, selector_from, aligned, key, comment }
}

/// `KEY:value;KEY:value`. Microsoft adds its fields below the message's own, and takes out what came under these names;
/// two that differ are nobody's word.
fn pairs(fields: &[Field], name: &str, family: Family) -> Vec<(String, String)> {
    let mut found = fields.iter().filter(|field| family == Family::Microsoft && field.is(name));
    let Some(first) = found.next() else { return Vec::new() };
    if found.any(|other| other.value != first.value) {
        return Vec::new();
    }
    let pair = |pair: &str| {
        let (key, value) = pair.split_once(':')?;
        Some((key.trim().to_ascii_uppercase(), harmless(value.trim(), 120).into_owned()))
    };
    first.value.split(';').take(100).filter_map(pair).collect()
}

fn value<'p>(pairs: &'p [(String, String)], key: &str) -> Option<&'p str> {
    pairs.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// Where the provider says that it filed the message, and what its filter said. A folder that was looked into is known
/// better, and overrides this.
fn folder(fields: &[Field], trusted: &Trusted, forefront: &[(String, String)]) -> (Option<Folder>, Vec<String>) {
    let above = |name: &str| header::first(&fields[..trusted.above], name);
    let mut filter = Vec::new();
    let mut folder = None;
    match trusted.family {
        Family::Microsoft => {
            let delivery = pairs(fields, "X-Microsoft-Antispam-Mailbox-Delivery", trusted.family);
            folder = match value(&delivery, "DEST") {
                Some("I") => Some(Folder::Inbox),
                Some("J") => Some(Folder::Junk),
                _ => None,
            };
            let said = |pairs: &[(String, String)], key: &str| value(pairs, key).map(|value| format!("{key} {value}"));
            filter.extend(value(&delivery, "DEST").map(|dest| format!("dest:{dest}")));
            filter.extend(["SCL", "CAT", "SFV"].iter().filter_map(|key| said(forefront, key)));
            filter.extend(said(&delivery, "RF"));
        }
        Family::Icloud => {
            let moved = above("X-Apple-MoveToFolder").map(|name| name.split_whitespace().next().unwrap_or_default());
            folder = moved.map(named_folder);
        }
        Family::Gmail => {
            // Google Takeout writes labels; a message from IMAP has none.
            let labels = above("X-Gmail-Labels").map(|labels| labels.split(',').map(str::trim).collect::<Vec<_>>());
            let has = |label: &str| labels.iter().flatten().any(|known| known.eq_ignore_ascii_case(label));
            folder = match () {
                () if has("Spam") => Some(Folder::Junk),
                () if has("Inbox") => Some(Folder::Inbox),
                () => None,
            };
        }
        Family::Fastmail => filter.extend(above("X-Spam-score").map(|score| format!("score {}", harmless(score, 20)))),
        _ => {}
    }
    (folder, filter)
}

/// A folder by its name.
pub fn named_folder(name: &str) -> Folder {
    let last = name.rsplit(['/', '.']).next().unwrap_or(name);
    match last.to_ascii_lowercase().as_str() {
        "inbox" => Folder::Inbox,
        "junk" | "spam" | "junk e-mail" | "junk email" | "bulk" | "bulk mail" | "spamverdacht" => Folder::Junk,
        _ => Folder::Other(harmless(name, 60).into_owned()),
    }
}

fn client(fields: &[Field], trusted: &Trusted, forefront: &[(String, String)]) -> Client {
    let Some(hop) = &trusted.boundary else { return Client::default() };
    let mut client = Client {
        address: hop.client(),
        helo: hop.helo.clone(),
        ptr: hop.ptr.clone(),
        ptr_missing: hop.ptr_unknown,
        ptr_confirmed: None,
    };
    // What Microsoft saw, in its own words: an empty PTR is one that it did not look up.
    if let Some(helo) = value(forefront, "H") {
        client.helo = Some(helo.to_ascii_lowercase());
    }
    match value(forefront, "PTR") {
        Some(none) if none.to_ascii_lowercase().starts_with("infodomainnonexistent") || none == "InfoNoRecords" => {
            client.ptr_missing = true;
        }
        Some(name) => client.ptr = Some(name.trim_end_matches('.').to_ascii_lowercase()),
        None => {}
    }
    for result in &trusted.results {
        match result.method.as_str() {
            "x-ptr" => {
                client.ptr = result.property("policy.ptr").map(str::to_ascii_lowercase).or(client.ptr.take());
                client.helo = result.property("smtp.helo").map(str::to_ascii_lowercase).or(client.helo.take());
            }
            "iprev" => {
                client.ptr_confirmed = Some(result.verdict.is_pass());
                client.ptr_missing |= result.verdict == Verdict::Fail;
            }
            _ => {}
        }
    }
    let mru = header::first(fields, "X-Mru-PTR").filter(|_| trusted.family == Family::MailRu);
    client.ptr =
        client.ptr.or_else(|| mru.filter(|name| name.contains('.')).map(|name| harmless(name, 120).into_owned()));
    // Postfix and its like write a name only if it leads back to the address.
    client
}

fn tls(trusted: &Trusted) -> Option<Tls> {
    let hop = trusted.boundary.as_ref()?;
    Some(Tls { encrypted: hop.encrypted()?, version: hop.tls.clone() })
}
