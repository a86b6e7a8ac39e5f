//! What a mail log says of how other people's servers take our mail: replies counted by code, and mapped to checks.
//!
//! Postfix writes a line for each delivery, with the reply of the other side as it came:
//! `to=<a@gmail.com>, relay=gmail-smtp-in.l.google.com[...]:25, dsn=5.7.26, status=bounced (host ... said: 550-...`.
//! A code that no rule knows is counted like every other one; a line that cannot be read is counted too.
//!
//! Where the codes are documented:
//! - Gmail: <https://support.google.com/a/answer/3726730> (SMTP errors), <https://support.google.com/a/answer/14229414>
//!   (FAQ of the sender guidelines: 4.7.23, 4.7.27, 4.7.29 to 4.7.32).
//! - Microsoft: <https://sendersupport.olc.protection.outlook.com/pm/troubleshooting> (S3140, DY-001, OU-002),
//!   <https://learn.microsoft.com/exchange/mail-flow-best-practices/non-delivery-reports-in-exchange-online> (5.7.511,
//!   5.7.515, 5.7.606 to 5.7.649, 4.7.650, 4.7.651).
//! - Yahoo and AOL: <https://senders.yahooinc.com/smtp-error-codes/> (TSS04, BL21, 554 5.7.9).
//! - Everybody: RFC 7372 (5.7.20 to 5.7.26), RFC 3463, and Postfix's own words for its restrictions.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::placement::family::Family;

/// Everything that a log says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Logs {
    pub lines: u64,
    pub sent: u64,
    pub rows: Vec<Row>,
    /// Deliveries that failed, in lines that hold no code.
    pub without_code: u64,
    /// Mail that this server itself turned away; that is about others, and says nothing of ours.
    pub turned_away: u64,
}

/// Replies of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub provider: Provider,
    /// `550 5.7.26`, `421 4.7.0 TSS04`, or what Postfix says where nobody answered.
    pub code: String,
    /// The checks that look at the cause; empty where no check does, or where nobody knows.
    pub checks: Vec<&'static str>,
    pub cause: Cause,
    pub deferred: u64,
    pub bounced: u64,
    /// Replies on the way to another server of the same receiver.
    pub tried: u64,
    /// The line of the first one, and its words.
    pub first_line: u64,
    pub first: String,
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    Gmail,
    Microsoft,
    Yahoo,
    Other,
    /// Nobody: Postfix did not get that far, or the signer said no.
    Here,
}

/// What a code is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    ReverseName,
    Ipv6ReverseName,
    Helo,
    Spf,
    Dkim,
    Dmarc,
    Alignment,
    Authentication,
    Tls,
    BlockList,
    /// Too much at once, or too many complaints: time and better mail help, DNS does not.
    Rate,
    Content,
    Network,
    Resolver,
    Signer,
    Unknown,
}

impl Logs {
    /// Replies that a check explains.
    pub fn explained(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.checks.is_empty())
    }

    pub fn unknown(&self) -> u64 {
        self.rows.iter().filter(|row| row.cause == Cause::Unknown).map(Row::count).sum()
    }
}

impl Row {
    pub fn count(&self) -> u64 {
        self.deferred + self.bounced + self.tried
    }
}

/// Reads log lines, in whatever order and from whatever source.
pub fn read(lines: impl IntoIterator<Item = impl AsRef<str>>) -> Logs {
    let mut logs = Logs::default();
    let mut rows: BTreeMap<(Provider, String, Cause), Row> = BTreeMap::new();
    for line in lines {
        logs.lines += 1;
        let Some(event) = event(line.as_ref()) else { continue };
        match event.fate {
            Fate::Sent => logs.sent += 1,
            Fate::TurnedAway => logs.turned_away += 1,
            fate => {
                let (provider, reply) = (event.provider, event.reply);
                let Some(code) = reply.code() else {
                    logs.without_code += 1;
                    continue;
                };
                let (cause, checks) = rule(provider, &reply);
                let row = rows.entry((provider, code.clone(), cause)).or_insert_with(|| Row {
                    provider,
                    code,
                    checks: checks.to_vec(),
                    cause,
                    deferred: 0,
                    bounced: 0,
                    tried: 0,
                    first_line: logs.lines,
                    first: crate::mail::header::harmless(reply.text, 200).into_owned(),
                });
                match fate {
                    Fate::Bounced => row.bounced += 1,
                    Fate::Tried => row.tried += 1,
                    _ => row.deferred += 1,
                }
            }
        }
    }
    logs.rows = rows.into_values().collect();
    logs.rows.sort_by_key(|row| (row.checks.is_empty(), std::cmp::Reverse(row.count()), row.first_line));
    logs
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Sent,
    Deferred,
    Bounced,
    Tried,
    TurnedAway,
}

struct Event<'l> {
    fate: Fate,
    provider: Provider,
    reply: Reply<'l>,
}

/// What the other side said, or Postfix of it.
struct Reply<'l> {
    basic: Option<u16>,
    /// RFC 3463: class, subject, detail.
    enhanced: Option<(u16, u16, u16)>,
    text: &'l str,
}

impl Reply<'_> {
    /// The code as it is counted: numbers, and the provider's own sign for the reason, such as `TSS04` or `S3140`.
    fn code(&self) -> Option<String> {
        let enhanced = self.enhanced.map(|(class, subject, detail)| format!("{class}.{subject}.{detail}"));
        let basic = self.basic.map(|code| code.to_string());
        let numbers: Vec<String> = basic.into_iter().chain(enhanced).collect();
        (!numbers.is_empty()).then(|| match sign(self.text) {
            Some(sign) => format!("{} {sign}", numbers.join(" ")),
            None => numbers.join(" "),
        })
    }
}

/// `[TSS04]`, `[BL21]`, `(S3140)`, `(AS3150)`, `(OU-002)`, `DY-001`: letters, then digits.
fn sign(text: &str) -> Option<&str> {
    text.split(['[', ']', '(', ')', ' ', ',']).find(|word| {
        let letters = word.bytes().take_while(u8::is_ascii_uppercase).count();
        let digits = word[letters..].strip_prefix('-').unwrap_or(&word[letters..]);
        let known = ["TSS", "TS", "BL", "S", "AS", "OU", "DY", "SC", "RP", "CS"].contains(&&word[..letters]);
        known && (2..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn event(line: &str) -> Option<Event<'_>> {
    if let Some((before, status)) = line.split_once(" status=").or_else(|| line.split_once(",status=")) {
        let fate = match status.split([' ', '(']).next()? {
            "sent" | "deliverable" => Fate::Sent,
            "deferred" | "undeliverable" => Fate::Deferred,
            // The queue's lifetime is over.
            "bounced" | "expired" => Fate::Bounced,
            _ => return None,
        };
        let text = status.split_once('(').map_or("", |(_, text)| text);
        let text = text.strip_suffix(')').unwrap_or(text);
        let dsn = before.rsplit_once("dsn=").and_then(|(_, dsn)| enhanced(dsn));
        let relay = value(before, "relay=").unwrap_or_default();
        let answered = said(text);
        // `host X said: ...` names the server that spoke; it may be another than the last one that was tried.
        let host = text.strip_prefix("host ").unwrap_or(relay);
        let provider = if answered.is_some() { provider(host) } else { Provider::Here };
        let reply = match answered {
            Some(said) => reply(said, dsn),
            None => Reply { basic: None, enhanced: dsn, text },
        };
        return Some(Event { fate, provider, reply });
    }
    if let Some((_, rest)) = line.split_once("milter-reject: ") {
        let text = rest.split_once("]: ").map_or(rest, |(_, text)| text);
        let event = Event { fate: Fate::Deferred, provider: Provider::Here, reply: reply(text, None) };
        // What a milter refuses for good is its own opinion of that message.
        let is_for_now = event.reply.enhanced.is_some_and(|(class, ..)| class == 4);
        return is_for_now.then_some(event);
    }
    if line.contains(" reject: ") && line.contains("NOQUEUE") {
        return Some(Event { fate: Fate::TurnedAway, provider: Provider::Here, reply: reply("", None) });
    }
    if line.contains("connect to Milter service ") {
        let text = &line[line.find("connect to Milter service ")?..];
        let reply = Reply { basic: None, enhanced: Some((4, 7, 1)), text };
        return Some(Event { fate: Fate::Deferred, provider: Provider::Here, reply });
    }
    // Another server of the receiver is tried next, and the line with `status=` speaks of that one.
    let at = line.find(": host ")?;
    let text = &line[at + 2..];
    let said = said(text)?;
    let provider = provider(text.strip_prefix("host ").unwrap_or(text));
    Some(Event { fate: Fate::Tried, provider, reply: reply(said, None) })
}

fn value<'l>(text: &'l str, key: &str) -> Option<&'l str> {
    let (_, rest) = text.split_once(key)?;
    rest.split([',', ' ']).next()
}

/// Behind `said: ` or `refused to talk to me: `.
fn said(text: &str) -> Option<&str> {
    let (_, said) = text.split_once(" said: ").or_else(|| text.split_once(" refused to talk to me: "))?;
    Some(said)
}

fn provider(host: &str) -> Provider {
    let name = host.split(['[', ':', ' ']).next().unwrap_or_default().to_ascii_lowercase();
    match Family::of_host(name.trim_end_matches('.')) {
        Some(Family::Gmail) => Provider::Gmail,
        Some(Family::Microsoft) => Provider::Microsoft,
        Some(Family::Yahoo) => Provider::Yahoo,
        _ => Provider::Other,
    }
}

/// `550-5.7.26 words 550 5.7.26 words`: the first line's code, or the first enhanced one in any line.
fn reply<'l>(text: &'l str, dsn: Option<(u16, u16, u16)>) -> Reply<'l> {
    let text = text.trim_start();
    let basic = text.get(..3).and_then(|code| code.parse().ok()).filter(|code| (200..600).contains(code));
    let rest = text.get(4..).filter(|_| basic.is_some()).unwrap_or(text);
    Reply { basic, enhanced: enhanced(rest).or(dsn), text }
}

/// `5.7.26`, and nothing behind it but an end.
fn enhanced(text: &str) -> Option<(u16, u16, u16)> {
    let word = text.trim_start().split([' ', ',', ';', ')', ':']).next()?;
    let mut parts = word.split('.');
    let mut number = || parts.next().filter(|part| part.len() <= 3)?.parse::<u16>().ok();
    let code = (number()?, number()?, number()?);
    (parts.next().is_none() && matches!(code.0, 2 | 4 | 5)).then_some(code)
}

type Checks = &'static [&'static str];

/// What a reply is about, and which checks look at that.
fn rule(provider: Provider, reply: &Reply<'_>) -> (Cause, Checks) {
    let text = reply.text.to_ascii_lowercase();
    let says = |word: &str| text.contains(word);
    let detail = reply.enhanced.filter(|(_, subject, _)| *subject == 7).map(|(_, _, detail)| detail);
    let special = match provider {
        Provider::Gmail => gmail(reply.basic, detail, &says),
        Provider::Microsoft => microsoft(detail, sign(reply.text), &says),
        Provider::Yahoo => yahoo(detail, sign(reply.text), &says),
        Provider::Here => here(&says),
        Provider::Other => None,
    };
    special.or_else(|| general(provider, reply, detail, &says)).unwrap_or((Cause::Unknown, &[]))
}

type Says<'s> = dyn Fn(&str) -> bool + 's;

fn gmail(basic: Option<u16>, detail: Option<u16>, says: &Says<'_>) -> Option<(Cause, Checks)> {
    Some(match detail? {
        // An address without a name, or whose name leads elsewhere.
        23 => (Cause::ReverseName, &["NET003", "NET002"]),
        25 => (Cause::ReverseName, &["NET002", "NET003"]),
        26 if says("dmarc") => (Cause::Dmarc, &["DMARC001", "DKIM005", "SPF001"]),
        26 => (Cause::Authentication, &["DKIM005", "SPF001"]),
        27 => (Cause::Spf, &["SPF001"]),
        28 => (Cause::Rate, &[]),
        29 => (Cause::Tls, &["PF003"]),
        30 => (Cause::Dkim, &["DKIM005", "DKIM001"]),
        31 | 40 => (Cause::Dmarc, &["DMARC001"]),
        32 => (Cause::Alignment, &["DMARC001", "DKIM005"]),
        1 if says("ipv6") && says("ptr") => (Cause::Ipv6ReverseName, &["IP6001"]),
        1 if says("unsolicited") || says("spam") => (Cause::Content, &[]),
        0 if basic == Some(421) || says("rate") || says("unsolicited") => (Cause::Rate, &[]),
        _ => return None,
    })
}

fn microsoft(detail: Option<u16>, sign: Option<&str>, says: &Says<'_>) -> Option<(Cause, Checks)> {
    let signed = |start: &str| sign.is_some_and(|sign| sign.starts_with(start));
    Some(match detail {
        // SPF and DKIM and DMARC, for 5,000 messages a day and more of one domain.
        Some(515) => (Cause::Authentication, &["SPF001", "DKIM005", "DMARC001"]),
        Some(509) => (Cause::Dmarc, &["DMARC001", "DKIM005"]),
        Some(511 | 606..=649 | 708) => (Cause::BlockList, &["NET008"]),
        Some(500 | 650..=652 | 700..=749 | 850) => (Cause::Rate, &[]),
        _ if signed("DY-") => (Cause::ReverseName, &["NET006", "NET002"]),
        _ if says("block list") || signed("S31") || signed("AS31") || signed("OU-") || signed("SC-") => {
            (Cause::BlockList, &["NET008"])
        }
        _ if signed("RP-") || says("server busy") => (Cause::Rate, &[]),
        _ => return None,
    })
}

fn yahoo(detail: Option<u16>, sign: Option<&str>, says: &Says<'_>) -> Option<(Cause, Checks)> {
    let signed = |start: &str| sign.is_some_and(|sign| sign.starts_with(start));
    Some(match detail {
        _ if signed("TSS") || signed("TS") => (Cause::Rate, &[]),
        _ if signed("BL") => (Cause::BlockList, &["NET008"]),
        // "Not accepted for policy reasons": unauthenticated, or against the DMARC policy of its domain.
        Some(9) => (Cause::Authentication, &["DKIM005", "SPF001", "DMARC001"]),
        _ if says("user complaints") || says("resources temporarily") => (Cause::Rate, &[]),
        _ => return None,
    })
}

/// Postfix did not get an answer, or its own milter did not.
fn here(says: &Says<'_>) -> Option<(Cause, Checks)> {
    Some(match () {
        // The stale resolv.conf in a chroot looks like this.
        () if says("host not found, try again") => (Cause::Resolver, &["PF001"]),
        () if says("milter") => (Cause::Signer, &["DKIM005", "PF003"]),
        () if says("service unavailable - try again later") => (Cause::Signer, &["DKIM005", "KEY003"]),
        () if says("network is unreachable") => (Cause::Network, &["IP6003", "NET001"]),
        () if says("connection timed out") || says("no route to host") => (Cause::Network, &["NET001"]),
        () => return None,
    })
}

/// What everybody means by a code: RFC 7372, and the words of Postfix's restrictions.
fn general(provider: Provider, reply: &Reply<'_>, detail: Option<u16>, says: &Says<'_>) -> Option<(Cause, Checks)> {
    Some(match detail {
        _ if provider == Provider::Here => return None,
        _ if says("cannot find your reverse hostname") => (Cause::ReverseName, &["NET002"]),
        _ if says("cannot find your hostname") => (Cause::ReverseName, &["NET003", "NET002"]),
        _ if says("need fully-qualified hostname") => (Cause::Helo, &["HELO001"]),
        _ if says("helo command rejected") => (Cause::Helo, &["HELO002", "HELO001"]),
        _ if says("starttls") && reply.basic == Some(530) => (Cause::Tls, &["PF003"]),
        Some(20..=22) => (Cause::Dkim, &["DKIM005", "DKIM001"]),
        Some(23 | 24) => (Cause::Spf, &["SPF001"]),
        Some(25) => (Cause::ReverseName, &["NET002", "NET003"]),
        Some(26) => (Cause::Authentication, &["DKIM005", "SPF001", "DMARC001"]),
        _ if says("spamhaus") || says("blacklist") || says("blocklist") || says("blocked using") => {
            (Cause::BlockList, &["NET008"])
        }
        _ if says("greylist") || says("rate limit") || says("too many") => (Cause::Rate, &[]),
        _ => return None,
    })
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
