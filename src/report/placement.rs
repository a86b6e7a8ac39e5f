//! What `placement` says: probes that were sent, what each mailbox shows, which providers are covered.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Paint, Report};
use crate::placement::evidence::{Evidence, Folder, Named, Signature, Whose};
use crate::placement::family::Family;
use crate::placement::imap::ImapError;
use crate::placement::journal::{Changed, Sent};
use crate::placement::meaning::{Fault, Meaning, Outcome};
use crate::placement::probe::Token;
use crate::placement::submit::Submitted;

/// The text of a probe, as whoever opens the mailbox reads it.
pub fn probe_text(from: &str, token: &Token) -> String {
    let domain = from.rsplit_once('@').map_or(from, |(_, domain)| domain);
    format!(
        "Hello,\n\nthis message was sent to see how mail from {domain} arrives: in which folder, with which signature.\n\
         It is one of a few, to mailboxes of our own, and needs no answer.\n\nIts number is {token}.\n"
    )
}

/// What `placement send` did.
#[derive(Debug, Serialize)]
pub struct SendReport {
    pub token: Token,
    pub from: String,
    pub host: String,
    pub seeds: Vec<SentTo>,
}

#[derive(Debug, Serialize)]
pub struct SentTo {
    pub seed: String,
    pub address: String,
    pub family: Family,
    #[serde(flatten)]
    pub submitted: SubmittedJson,
}

#[derive(Debug, Serialize)]
pub struct SubmittedJson {
    pub result: &'static str,
    pub answer: String,
}

impl From<Submitted> for SubmittedJson {
    fn from(submitted: Submitted) -> Self {
        match submitted {
            Submitted::Taken(answer) => SubmittedJson { result: "taken", answer },
            Submitted::Refused { permanent: false, answer } => SubmittedJson { result: "deferred", answer },
            Submitted::Refused { permanent: true, answer } => SubmittedJson { result: "refused", answer },
        }
    }
}

impl Report for SendReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = format!("{} from {} through {}\n", paint.bold(&self.token), self.from, self.host);
        for SentTo { seed, address, submitted, .. } in &self.seeds {
            let word = match submitted.result {
                "taken" => paint.green("taken   "),
                word => paint.red(format!("{word:<8}")),
            };
            let _ = writeln!(out, "  {word} {seed} <{address}>: {}", submitted.answer);
        }
        out.push_str("Then, in a minute or two: dkimctl placement read\n");
        out
    }
}

/// What `placement read` found.
#[derive(Debug, Default, Serialize)]
pub struct ReadReport {
    /// The round of probes that was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round: Option<Round>,
    pub mailboxes: Vec<Mailbox>,
    pub missing: Vec<Missing>,
    pub coverage: Vec<Covered>,
}

#[derive(Debug, Serialize)]
pub struct Round {
    pub token: Token,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent: Option<dkimctl_state::time::Time>,
}

impl Round {
    pub fn new(token: Token, rounds: &[Sent]) -> Round {
        let sent = rounds.iter().find(|round| round.token == token).map(|round| round.at);
        Round { token, sent }
    }
}

/// One message in one mailbox.
#[derive(Debug, Serialize)]
pub struct Mailbox {
    pub mailbox: String,
    /// The file, or the folder and number, that it was read from.
    pub message: String,
    #[serde(flatten)]
    pub evidence: Evidence,
    #[serde(flatten)]
    pub meaning: Meaning,
    pub sentence: String,
    pub changed: Vec<Changed>,
}

impl Mailbox {
    pub fn new(mailbox: String, message: String, evidence: Evidence, meaning: Meaning, changed: Vec<Changed>) -> Self {
        let sentence = sentence(&evidence, &meaning);
        Mailbox { mailbox, message, evidence, meaning, sentence, changed }
    }
}

/// A mailbox or a file that shows nothing.
#[derive(Debug, Serialize)]
pub struct Missing {
    pub mailbox: String,
    pub why: String,
}

impl Missing {
    pub fn not_found(mailbox: &str) -> Missing {
        let why =
            "the probe is in none of its folders: on its way still, held back, or gone; see the mail log".to_owned();
        Missing { mailbox: mailbox.to_owned(), why }
    }

    pub fn unreachable(mailbox: &str, error: &ImapError) -> Missing {
        Missing { mailbox: mailbox.to_owned(), why: format!("could not look: {error}") }
    }

    pub fn by_hand(mailbox: &str) -> Missing {
        let why =
            format!("no `imap` is configured; save the message and run `dkimctl placement read --seed {mailbox} FILE`");
        Missing { mailbox: mailbox.to_owned(), why }
    }

    pub fn no_secret(mailbox: &str, why: impl std::fmt::Display) -> Missing {
        Missing { mailbox: mailbox.to_owned(), why: format!("could not look: {why}") }
    }
}

/// A family of providers that is to be covered.
#[derive(Debug, Serialize)]
pub struct Covered {
    pub family: Family,
    /// `seen`, `not seen`, or `no seed`.
    pub state: &'static str,
}

impl Report for ReadReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        if let Some(Round { token, sent }) = &self.round {
            let sent = sent.map(|at| format!(", sent {at}")).unwrap_or_default();
            let _ = writeln!(out, "{token}{sent}");
        }
        for mailbox in &self.mailboxes {
            mailbox_text(&mut out, mailbox, paint);
        }
        for Missing { mailbox, why } in &self.missing {
            let _ = writeln!(out, "{}    {}\n  {why}", paint.bold(mailbox), paint.yellow("not seen"));
        }
        if !self.coverage.is_empty() {
            let one = |covered: &Covered| match covered.state {
                "seen" => covered.family.code().to_owned(),
                state => format!("{} ({state})", covered.family.code()),
            };
            let seen = self.coverage.iter().filter(|covered| covered.state == "seen").count();
            let list: Vec<String> = self.coverage.iter().map(one).collect();
            let _ = writeln!(out, "{seen} of {} families seen: {}", self.coverage.len(), list.join(", "));
        }
        out
    }
}

fn mailbox_text(out: &mut String, mailbox: &Mailbox, paint: Paint) {
    let Mailbox { mailbox: name, evidence, meaning, sentence, changed, .. } = mailbox;
    let folder = match &evidence.folder {
        Some(Folder::Inbox) => paint.green("Inbox"),
        Some(Folder::Junk) => paint.red("Junk"),
        Some(Folder::Other(name)) => name.clone(),
        None => "folder not known".to_owned(),
    };
    let filter = if evidence.filter.is_empty() { String::new() } else { format!(" ({})", evidence.filter.join(", ")) };
    let _ = writeln!(out, "{}    {folder}{filter}", paint.bold(name));
    let row = |out: &mut String, what: &str, said: String| {
        let _ = writeln!(out, "  {what:<5} {said}");
    };
    row(out, "spf", named(evidence.spf.as_ref(), paint));
    if evidence.dkim.is_empty() {
        row(out, "dkim", if evidence.signatures == 0 { "no signature in the message" } else { NOT_SAID }.to_owned());
    }
    for signature in &evidence.dkim {
        row(out, "dkim", signature_text(signature, paint));
    }
    row(out, "dmarc", named(evidence.dmarc.as_ref(), paint));
    let client = &evidence.client;
    let helo = client.helo.as_deref();
    let names = match (&client.ptr, helo) {
        (Some(ptr), Some(helo)) if ptr == helo => format!("{ptr} = HELO {helo}"),
        (Some(ptr), helo) => format!("{ptr}, HELO {}", helo.unwrap_or(NOT_SAID)),
        (None, helo) if client.ptr_missing => format!("none, HELO {}", helo.unwrap_or(NOT_SAID)),
        (None, helo) => format!("{NOT_SAID}, HELO {}", helo.unwrap_or(NOT_SAID)),
    };
    let address = client.address.map(|address| format!("     [{address}]")).unwrap_or_default();
    row(out, "ptr", format!("{names}{address}"));
    let tls = evidence.tls.as_ref().map(|tls| match (&tls.version, tls.encrypted) {
        (Some(version), _) => version.clone(),
        (None, true) => "yes".to_owned(),
        (None, false) => paint.red("no"),
    });
    row(out, "tls", tls.unwrap_or_else(|| NOT_SAID.to_owned()));
    for forged in &evidence.forged {
        let _ = writeln!(out, "  {}: {forged}", paint.yellow("forged Authentication-Results present, not believed"));
    }
    for Changed { what, before, now } in changed {
        let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        let _ = writeln!(out, "  {}: {what} was {}, is {}", paint.yellow("changed"), word(before), word(now));
    }
    let sentence = match meaning.outcome {
        Outcome::Ok => paint.green(sentence),
        Outcome::Unknown => paint.yellow(sentence),
        Outcome::Failed => paint.red(sentence),
    };
    let _ = writeln!(out, "{sentence}");
}

const NOT_SAID: &str = "not said";

fn named(result: Option<&Named>, paint: Paint) -> String {
    let Some(Named { result, domain, aligned }) = result else { return NOT_SAID.to_owned() };
    let word = if result.is_pass() { paint.green(format!("{result:<6}")) } else { paint.red(format!("{result:<6}")) };
    let domain = domain.as_deref().unwrap_or_default();
    format!("{word} {domain}{}", aligned_text(*aligned)).trim_end().to_owned()
}

fn aligned_text(aligned: Option<bool>) -> &'static str {
    match aligned {
        Some(true) => "     aligned",
        Some(false) => "     not aligned",
        None => "",
    }
}

fn signature_text(signature: &Signature, paint: Paint) -> String {
    let Signature { result, domain, selector, aligned, key, comment, .. } = signature;
    let word = if result.is_pass() { paint.green(format!("{result:<6}")) } else { paint.red(format!("{result:<6}")) };
    let domain = domain.as_deref().unwrap_or("domain not said");
    let selector = selector.as_deref().unwrap_or("selector not said");
    let key = match key {
        Some(Whose::Active) => ", our key",
        Some(Whose::Idle) => ", our key, not the one that is to sign",
        Some(Whose::Foreign) => ", not a key of ours",
        Some(Whose::Others) | None => "",
    };
    let comment = comment.as_ref().filter(|_| !result.is_pass()).map(|text| format!(" ({text})")).unwrap_or_default();
    format!("{word} {domain}  {selector}{}{key}{comment}", aligned_text(*aligned))
}

/// The one thing to say.
pub fn sentence(evidence: &Evidence, meaning: &Meaning) -> String {
    let from = evidence.from.as_deref().unwrap_or("the domain in From");
    let has = |fault: Fault| meaning.faults.contains(&fault);
    let others = || {
        let passing = evidence.dkim.iter().filter(|signature| signature.result.is_pass());
        let domains: Vec<&str> = passing.filter_map(|signature| signature.domain.as_deref()).collect();
        domains.join(" and ")
    };
    let selector = || {
        let signature = evidence.main_signature().and_then(|signature| signature.selector.as_deref());
        signature.unwrap_or_default().to_owned()
    };
    match () {
        () if !evidence.believed && has(Fault::Unsigned) => {
            "The message has no DKIM signature; the signer did not sign it: dkimctl verify, and its log, say why."
                .to_owned()
        }
        () if !evidence.believed => {
            "Nothing in this message is the provider's own word on SPF, DKIM or DMARC, so nothing is known.".to_owned()
        }
        () if has(Fault::SignedByOthers) => {
            format!("It is signed, but by {} and not by {from}: the signature does not count for DMARC.", others())
        }
        () if has(Fault::Unsigned) => {
            format!("The message has no DKIM signature: it did not pass the signer of {from}. See: dkimctl verify")
        }
        () if has(Fault::DkimFails) => {
            format!("The signature of {from} does not verify: compare the record with the key: dkimctl verify {from}")
        }
        () if has(Fault::DmarcFails) => {
            format!("DMARC fails: neither SPF nor DKIM vouches for {from}. See: dkimctl dmarc check {from}")
        }
        () if has(Fault::SpfFails) => {
            let address = evidence.client.address.map_or("the sending address".to_owned(), |ip| ip.to_string());
            format!("SPF does not cover {address}: dkimctl spf check {from}")
        }
        () if has(Fault::ForeignSelector) => {
            format!("It is signed with {}, which is none of our keys: something else signs for {from}.", selector())
        }
        () if has(Fault::IdleSelector) => {
            format!("It is signed with {}, which is not the key that is to sign: dkimctl status {from}", selector())
        }
        () if has(Fault::NoPtr) => {
            let address = evidence.client.address.map_or("the address".to_owned(), |ip| ip.to_string());
            format!("{address} has no reverse name that leads back to it; only the owner of the address can set one.")
        }
        () if has(Fault::NotEncrypted) => {
            "It was handed over without TLS: `smtp_tls_security_level = may` in main.cf is the least.".to_owned()
        }
        () if has(Fault::Junk) => {
            "Authentication is fine; the filter disliked content or reputation. Not a DNS problem.".to_owned()
        }
        () if meaning.outcome == Outcome::Ok && evidence.folder == Some(Folder::Inbox) => {
            "Authentication is fine, and it is in the inbox.".to_owned()
        }
        () if meaning.outcome == Outcome::Ok => "Authentication is fine.".to_owned(),
        () => format!("The provider does not say enough to know whether DKIM of {from} passed."),
    }
}
