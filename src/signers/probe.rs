//! The probe: a message that is sent nowhere is handed to the signer, and the signature that comes back is verified
//! against the key record that the authoritative servers serve. Tables say what was meant; this says what is.
//!
//! OpenDKIM reloads at the first new connection after SIGUSR1, and a connection keeps the configuration that it began
//! with: so every probe is a new connection, and right after a reload an old answer is asked for again until
//! [`Settle`] runs out.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::pin;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl_state::lifecycle::seen::{self, Sweep};
use dkimctl_state::name::{Fqdn, Selector, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, PublicKey, key_in};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::hickory_resolver::config::{ResolverConfig, ResolverOpts};
use mail_auth::{AuthenticatedMessage, DkimResult, DnsError, MessageAuthenticator, Parameters, ResolverCache, Txt};

use super::milter::{self, Answer, Header, Message};

/// The mailbox that a probe comes from.
pub const MAILBOX: &str = "dkimctl-probe";

/// A message, and what the signer made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub message: Message,
    pub answer: Answer,
}

/// A signature that ought to be on the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    pub selector: Selector,
    /// `None`: whatever the key record says.
    pub key: Option<(Algorithm, PublicKey)>,
}

/// What the authoritative servers say about a key record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLookup {
    Found(TxtText),
    Missing,
    /// They could not be asked, or do not agree. Never read as missing.
    Unknown(String),
}

/// What a probe says about one expected signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is there, and it verifies against the key record.
    Right,
    /// Mail leaves otherwise: another selector, a signature that does not verify, no signature, no mail at all.
    Wrong { seen: String },
    /// The signer or the name servers did not answer.
    Unknown { why: String },
}

/// How long a signer is asked again: while its answer may be one from before a reload, and while it does not answer at
/// all, for it may just be starting. What name servers did not say is not asked for again.
#[derive(Debug, Clone, Copy)]
pub struct Settle {
    stale_until: Instant,
    silent_until: Instant,
}

/// The message of a probe: the headers that every signer signs, and a body that says what it is.
pub fn message(domain: &SigningDomain, now: Time) -> Message {
    let sender = format!("{MAILBOX}@{domain}");
    let header = |name: &str, value: String| Header { name: name.to_owned(), value: format!(" {value}") };
    Message {
        headers: vec![
            header("From", sender.clone()),
            header("To", sender.clone()),
            header("Subject", "dkimctl probe: this message is sent nowhere".into()),
            header("Date", now.utc().to_rfc2822()),
            header("Message-ID", format!("<{}.{}@{domain}>", milter::QUEUE_ID, now.unix())),
        ],
        body: b"A signature is asked for, and no mail is sent.\r\n".to_vec(),
        recipient: sender.clone(),
        sender,
    }
}

/// Judges a probe: one verdict for each expected signature, in the same order.
pub fn judge(
    probed: &Probed,
    domain: &SigningDomain,
    expected: &[Expected],
    lookup: &dyn Fn(&Fqdn) -> KeyLookup,
) -> Vec<Verdict> {
    let all = |verdict: Verdict| vec![verdict; expected.len()];
    let unsigned = |how: &str| all(Verdict::Wrong { seen: format!("mail of {domain} leaves unsigned: {how}") });
    let added = match &probed.answer {
        Answer::NoAnswer { why } => return all(Verdict::Unknown { why: format!("the signer did not answer: {why}") }),
        Answer::Refused { at, reply } => {
            return all(Verdict::Wrong { seen: format!("the signer refuses mail of {domain} at {at}: {reply}") });
        }
        Answer::Ignored { at } => return unsigned(&format!("the signer let it go at {at} (not internal, or no row)")),
        Answer::Passed(added) => added,
    };
    let raw = raw_message(added, &probed.message);
    let Some(parsed) = AuthenticatedMessage::parse(&raw) else {
        return unsigned("what came back is no message");
    };
    let seen = signatures(&parsed, domain);
    if seen.is_empty() {
        return unsigned("no signature of this domain was added");
    }
    let is_expected = |seen: &&Seen| expected.iter().any(|e| e.selector.as_str() == seen.selector);
    if let Some(other) = seen.iter().find(|seen| !is_expected(seen)) {
        let wanted: Vec<&str> = expected.iter().map(|e| e.selector.as_str()).collect();
        let seen = format!("mail of {domain} is signed with selector {}, not {}", other.selector, wanted.join(" and "));
        return all(Verdict::Wrong { seen });
    }
    expected.iter().map(|expected| judge_one(&parsed, &seen, domain, expected, lookup)).collect()
}

/// A signature of the domain that is on the message.
struct Seen {
    selector: String,
    algorithm: String,
}

fn signatures(parsed: &AuthenticatedMessage<'_>, domain: &SigningDomain) -> Vec<Seen> {
    let signatures = parsed.dkim_headers.iter().map(|header| &header.header);
    signatures
        .filter(|signature| signature.d.eq_ignore_ascii_case(domain.as_str()))
        .map(|signature| Seen { selector: signature.s.to_ascii_lowercase(), algorithm: format!("{:?}", signature.a) })
        .collect()
}

/// The selectors of the domain's signatures among the headers that a signer added, verified or not.
pub(crate) fn selectors(added: &[Header], message: &Message, domain: &SigningDomain) -> Vec<String> {
    let raw = raw_message(added, message);
    let Some(parsed) = AuthenticatedMessage::parse(&raw) else { return Vec::new() };
    signatures(&parsed, domain).into_iter().map(|seen| seen.selector).collect()
}

fn judge_one(
    parsed: &AuthenticatedMessage<'_>,
    seen: &[Seen],
    domain: &SigningDomain,
    expected: &Expected,
    lookup: &dyn Fn(&Fqdn) -> KeyLookup,
) -> Verdict {
    let selector = &expected.selector;
    let wrong = |seen: String| Verdict::Wrong { seen };
    let Some(found) = seen.iter().find(|seen| seen.selector == selector.as_str()) else {
        return wrong(format!("mail of {domain} is not signed with selector {selector}"));
    };
    let name = selector.record_name(domain);
    let text = match lookup(&name) {
        KeyLookup::Found(text) => text,
        KeyLookup::Missing => {
            return wrong(format!("mail of {domain} is signed with selector {selector}, but there is no {name}"));
        }
        KeyLookup::Unknown(why) => return Verdict::Unknown { why: format!("{name} could not be asked for: {why}") },
    };
    if let Some((algorithm, public)) = &expected.key {
        // RFC 6376 section 3.5, RFC 8463 section 3: the values of a=.
        let wanted = match algorithm {
            Algorithm::Rsa => "RsaSha256",
            Algorithm::Ed25519 => "Ed25519Sha256",
        };
        if found.algorithm != wanted {
            return wrong(format!("{selector} signs mail of {domain} with {}, not with {algorithm}", found.algorithm));
        }
        if key_in(&text).as_ref() != Some(public) {
            return wrong(format!("{name} serves another key than the one that was ordered to sign"));
        }
    }
    match verify(parsed, domain, selector, &name, &text) {
        Ok(()) => Verdict::Right,
        Err(why) => wrong(format!("{selector} signs mail of {domain}, but the signature does not verify: {why}")),
    }
}

/// Verifies the signature of one selector with its key record alone; no name server is asked.
fn verify(
    parsed: &AuthenticatedMessage<'_>,
    domain: &SigningDomain,
    selector: &Selector,
    name: &Fqdn,
    text: &TxtText,
) -> Result<(), String> {
    let key = DomainKey::parse(text.as_bytes()).map_or_else(Txt::Error, Txt::from);
    let records = Records(HashMap::from([(format!("{name}."), key)]));
    // An empty resolver configuration: it has nobody to ask.
    static VERIFIER: OnceLock<Option<MessageAuthenticator>> = OnceLock::new();
    let verifier = VERIFIER
        .get_or_init(|| MessageAuthenticator::new(ResolverConfig::default(), ResolverOpts::default()).ok())
        .as_ref()
        .ok_or("no verifier could be made")?;
    let outputs = ready(verifier.verify_dkim(Parameters::new(parsed).with_txt_cache(&records)))
        .ok_or("it asks for more than its key record")?;
    let ours = outputs.iter().find(|output| {
        output.signature().is_some_and(|signature| {
            signature.d.eq_ignore_ascii_case(domain.as_str()) && signature.s.eq_ignore_ascii_case(selector.as_str())
        })
    });
    match ours.map(|output| output.result()) {
        Some(DkimResult::Pass) => Ok(()),
        Some(
            DkimResult::Fail(error)
            | DkimResult::Neutral(error)
            | DkimResult::PermError(error)
            | DkimResult::TempError(error),
        ) => Err(error.to_string()),
        Some(DkimResult::None) | None => Err("it is malformed".into()),
    }
}

impl KeyLookup {
    /// What a sweep says, once all servers agree; as long as they do not, nothing is known.
    pub fn of(sweep: &Sweep) -> KeyLookup {
        let mut found = None;
        let mut absent = None;
        for answer in &sweep.answers {
            match &answer.answer {
                seen::Answer::Txt { texts, .. } if texts.len() == 1 => match &found {
                    Some(other) if *other != texts[0] => {
                        return KeyLookup::Unknown("the name servers do not agree".to_owned());
                    }
                    _ => found = Some(texts[0].clone()),
                },
                seen::Answer::Txt { texts, .. } => {
                    return KeyLookup::Unknown(format!("{} serves {} records", answer.server, texts.len()));
                }
                seen::Answer::Absent => absent = Some(&answer.server),
                seen::Answer::Unknown(why) => return KeyLookup::Unknown(format!("{}: {why}", answer.server)),
            }
        }
        match (found, absent) {
            (Some(text), None) => KeyLookup::Found(text),
            (None, Some(_)) => KeyLookup::Missing,
            (Some(_), Some(server)) => KeyLookup::Unknown(format!("{server} does not serve it, others do")),
            (None, None) => KeyLookup::Unknown("no name server was found".to_owned()),
        }
    }
}

impl Settle {
    pub fn after_reload(time: Duration) -> Settle {
        let until = Instant::now() + time;
        Settle { stale_until: until, silent_until: until }
    }

    /// The signer was told nothing, so what it answers is what it does.
    pub fn as_it_runs(time: Duration) -> Settle {
        Settle { stale_until: Instant::now(), ..Settle::after_reload(time) }
    }

    /// Asks until the signer answers and nothing is wrong, or the time is over. Every time is a new connection.
    pub fn ask(self, mut probe: impl FnMut() -> Probed, judge: impl Fn(&Probed) -> Vec<Verdict>) -> Vec<Verdict> {
        loop {
            let probed = probe();
            let verdicts = judge(&probed);
            let silent = matches!(probed.answer, Answer::NoAnswer { .. });
            let wrong = verdicts.iter().any(|verdict| matches!(verdict, Verdict::Wrong { .. }));
            let now = Instant::now();
            if !(silent && now < self.silent_until || wrong && now < self.stale_until) {
                return verdicts;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The message as it would leave: added headers on top.
fn raw_message(added: &[Header], message: &Message) -> Vec<u8> {
    let mut raw = Vec::new();
    for Header { name, value } in added.iter().chain(&message.headers) {
        raw.extend_from_slice(format!("{name}:{value}\r\n").as_bytes());
    }
    raw.extend_from_slice(b"\r\n");
    raw.extend_from_slice(&message.body);
    raw
}

/// The one record that a verification may see. Everything else is answered at once: not known here.
pub(crate) struct Records(pub(crate) HashMap<String, Txt>);

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let found = self.0.iter().find(|(known, _)| {
            let known: Box<str> = known.as_str().into();
            Borrow::<Q>::borrow(&known) == name
        });
        let unknown = || Txt::Error(mail_auth::Error::Dns(DnsError::Resolver("not looked up".into())));
        Some(found.map_or_else(unknown, |(_, txt)| txt.clone()))
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// The value of a future that never has to wait; `None` if it wants to.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

#[cfg(test)]
#[path = "probe_tests.rs"]
mod tests;
