//! Where every key stands, what comes next, when, and who must act; the most urgent first.
//!
//! It is told from the ledger alone: no server is asked, so it answers at once and from anywhere.

use std::fmt::Write as _;

use comfy_table::{Table, presets};
use dkimctl_state::lifecycle::ledger::{Incoming, Key, Ledger, Line, Outgoing, Phase};
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::wait::{Wait, Who};
use dkimctl_state::name::{Label, Selector, SigningDomain};
use dkimctl_state::record::dkim::Algorithm;
use dkimctl_state::time::Time;
use serde::Serialize;

use super::timeline::{Bar, Timeline};
use super::words;
use super::{Paint, Report};

#[derive(Debug, Serialize)]
pub struct StatusReport {
    pub now: Time,
    pub rows: Vec<Row>,
    pub timelines: Vec<Timeline>,
    /// Domains that are configured and were never rotated.
    pub without_key: Vec<SigningDomain>,
    /// Domains without a key for which one was asked for: something keeps it from being made.
    pub asked: Vec<SigningDomain>,
    /// The command to run next, and when.
    pub next: Option<String>,
    pub next_at: Option<Time>,
}

#[derive(Debug, Serialize)]
pub struct Row {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub algorithm: Algorithm,
    pub phase: Phase,
    /// Since the key was sealed, in seconds.
    pub age: u64,
    pub next: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    pub who: Who,
    /// What a person is to run, where a person has to act.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    #[serde(skip)]
    urgency: Urgency,
}

/// What is to be looked at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    /// A person has to do something.
    Person,
    /// Something is due and nobody ran `advance`.
    Due,
    /// A mail host or the DNS has to do something.
    Others,
    /// Time has to pass.
    Time,
    /// Nothing.
    Rest,
}

/// What comes next for one key.
struct Next {
    said: String,
    at: Option<Time>,
    who: Who,
    urgency: Urgency,
    command: Option<String>,
}

impl StatusReport {
    pub fn new(now: Time) -> Self {
        StatusReport {
            now,
            rows: Vec::new(),
            timelines: Vec::new(),
            without_key: Vec::new(),
            asked: Vec::new(),
            next: None,
            next_at: None,
        }
    }

    pub fn add(&mut self, settings: &Settings, ledger: &Ledger, with_gone: bool) {
        let teller = Teller { settings, ledger, now: self.now };
        let before = self.rows.len();
        let mut bars = Vec::new();
        for (algorithm, line) in &ledger.lines {
            for (phase, key) in line.keys().filter(|(phase, _)| with_gone || *phase != Phase::Gone) {
                let next = teller.next(line, phase, key);
                self.rows.push(Row {
                    domain: ledger.domain.clone(),
                    selector: key.selector.clone(),
                    algorithm: *algorithm,
                    phase,
                    age: self.now.since(key.sealed).as_secs(),
                    next: next.said,
                    at: next.at,
                    who: next.who,
                    command: next.command,
                    urgency: next.urgency,
                });
                bars.push(Bar::of(line, phase, key, settings));
            }
        }
        let is_asked = ledger.lines.values().any(|line| line.request.is_some());
        if self.rows.len() == before && is_asked {
            self.asked.push(ledger.domain.clone());
        } else if self.rows.len() == before {
            self.without_key.push(ledger.domain.clone());
        } else {
            self.timelines.push(Timeline::new(ledger.domain.clone(), bars, self.now));
        }
    }

    /// Sorts, and says what to do next.
    pub fn finish(mut self) -> Self {
        self.rows.sort_by(|a, b| {
            let key = |row: &Row| (row.urgency, row.at.unwrap_or(self.now), row.domain.clone(), row.selector.clone());
            key(a).cmp(&key(b))
        });
        let future = self.rows.iter().filter_map(|row| row.at).filter(|at| *at > self.now).min();
        (self.next, self.next_at) = match self.rows.first() {
            Some(row) if row.command.is_some() => (row.command.clone(), None),
            Some(row) if row.urgency <= Urgency::Others => (Some("dkimctl advance".to_owned()), None),
            _ if !self.asked.is_empty() => (Some(format!("dkimctl advance {}", self.asked[0])), None),
            _ if !self.without_key.is_empty() => (Some(format!("dkimctl rotate {}", self.without_key[0])), None),
            Some(_) if future.is_some() => (Some("dkimctl advance".to_owned()), future),
            Some(row) => (Some(format!("dkimctl rotate {}", row.domain)), None),
            None => (None, None),
        };
        self
    }
}

struct Teller<'a> {
    settings: &'a Settings,
    ledger: &'a Ledger,
    now: Time,
}

impl Teller<'_> {
    fn next(&self, line: &Line, phase: Phase, key: &Key) -> Next {
        if let Some(hold) = &self.ledger.hold
            && phase != Phase::Gone
        {
            return self.person(format!("held: {}", hold.reason), format!("dkimctl release {}", self.ledger.domain));
        }
        let incoming = line.incoming.as_ref().filter(|incoming| incoming.key().fingerprint == key.fingerprint);
        match incoming {
            Some(incoming) => self.coming(line, incoming),
            None if phase == Phase::Active => self.active(key, line),
            None => {
                let outgoing = line.outgoing.iter().find(|o| o.key().fingerprint == key.fingerprint);
                outgoing.map_or_else(rest, |outgoing| self.leaving(outgoing))
            }
        }
    }

    fn coming(&self, line: &Line, incoming: &Incoming) -> Next {
        let policy = &self.settings.policy;
        let hosts = &self.settings.hosts;
        let lacking = |known: &std::collections::BTreeMap<Label, Time>| {
            hosts.iter().filter(|host| !known.contains_key(*host)).map(Label::to_string).collect::<Vec<_>>().join(", ")
        };
        match incoming {
            Incoming::Sealed(_) => self.due("publish its record"),
            Incoming::Published(p) => match p.first_clean {
                Some(first) => self.at(first + policy.sweep_gap, "ask every name server a second time"),
                None => others(Who::Dns, "see its record on every name server".to_owned()),
            },
            Incoming::Propagated(p) => {
                let emergency = line.request.is_some()
                    && matches!(&line.request, Some(r) if matches!(r.intent, dkimctl_state::lifecycle::request::Intent::Revoke { .. }));
                let safety = if emergency { dkimctl_state::time::Span::ZERO } else { policy.publish_safety };
                let ready = p.seen + self.ledger.maxima(&p.key.selector).longest(policy) + safety;
                let missing = lacking(&p.key.delivered);
                match () {
                    () if ready > self.now => self.at(ready, "sign with it (caches may deny it until then)"),
                    () if !missing.is_empty() => others(Who::Host, format!("proof from {missing} to hold the key")),
                    () => self.due("sign with it"),
                }
            }
            Incoming::Switching(s) if s.refused.is_some() => {
                others(Who::Host, format!("proof from {} to sign with the old key again", lacking(&s.turned_back)))
            }
            Incoming::Switching(s) => others(Who::Host, format!("proof from {} to sign with it", lacking(&s.signing))),
        }
    }

    fn active(&self, key: &Key, line: &Line) -> Next {
        let old = key.sealed + self.settings.policy.key_age_notice;
        let age = words::length(self.now.since(key.sealed));
        match (&line.incoming, &line.request) {
            (Some(_), _) => Next { said: format!("sign until {} does", successor(line)), ..rest() },
            (None, Some(_)) => self.due("make its successor"),
            (None, None) if old <= self.now => {
                self.person(format!("rotate: {age} old"), format!("dkimctl rotate {}", self.ledger.domain))
            }
            (None, None) => Next { at: Some(old), said: "rotate it some day".to_owned(), ..rest() },
        }
    }

    fn leaving(&self, outgoing: &Outgoing) -> Next {
        let policy = &self.settings.policy;
        let maxima = self.ledger.maxima(&outgoing.key().selector);
        match outgoing {
            Outgoing::Retiring(r) => {
                let grace = r.stopped + policy.rollback_grace;
                let since = r.last_use.as_ref().map_or(r.stopped, |used| used.at);
                let until = since + policy.window.max(maxima.positive());
                let destroyed = r.key.shredded.is_some();
                let used = r.last_use.as_ref().map(|used| format!("; {} still used it", used.by)).unwrap_or_default();
                match &r.last_use {
                    Some(used) if self.now >= r.stopped + policy.window + policy.window => {
                        let (selector, by, at) = (r.key.selector.clone(), used.by.clone(), used.at);
                        let wait = Wait::StillUsedTooLong { selector, by, at };
                        let command = words::advice(&wait, &self.ledger.domain).unwrap_or_default();
                        self.person(words::wait(&wait), command)
                    }
                    _ if !destroyed && grace < until => {
                        self.at(grace, &format!("destroy its private key (kept for a rollback{used})"))
                    }
                    _ => self.at(until, &format!("remove its record (mail may be under way{used})")),
                }
            }
            Outgoing::Withdrawn(w) => match w.gone {
                Some(gone) => self.at(gone + maxima.longest(policy) + policy.propagation, "free the selector"),
                None => others(Who::Dns, "see its record gone from every name server".to_owned()),
            },
            Outgoing::Revoked(r) => self.at(r.since + policy.revoked_retention, "remove the empty p="),
            Outgoing::Gone(_) => rest(),
        }
    }

    fn person(&self, said: String, command: String) -> Next {
        Next { said, at: None, who: Who::Operator, urgency: Urgency::Person, command: Some(command) }
    }

    fn due(&self, said: &str) -> Next {
        Next { said: said.to_owned(), at: Some(self.now), who: Who::Time, urgency: Urgency::Due, command: None }
    }

    fn at(&self, at: Time, said: &str) -> Next {
        let urgency = if at <= self.now { Urgency::Due } else { Urgency::Time };
        Next { said: said.to_owned(), at: Some(at), who: Who::Time, urgency, command: None }
    }
}

fn successor(line: &Line) -> String {
    line.incoming.as_ref().map(|incoming| incoming.key().selector.to_string()).unwrap_or_default()
}

fn others(who: Who, said: String) -> Next {
    Next { said, at: None, who, urgency: Urgency::Others, command: None }
}

fn rest() -> Next {
    Next { said: "-".to_owned(), at: None, who: Who::Time, urgency: Urgency::Rest, command: None }
}

/// More timelines than that help nobody; `status DOMAIN` shows one.
const TIMELINES: usize = 8;

impl Report for StatusReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        if !self.rows.is_empty() {
            let mut table = Table::new();
            table.load_style(presets::NOTHING);
            table.set_header(["DOMAIN", "SELECTOR", "KEY", "PHASE", "AGE", "NEXT STEP", "WHEN", "WHO"]);
            for row in &self.rows {
                let when = match (row.urgency, row.at) {
                    (Urgency::Due, _) => paint.yellow("now"),
                    (_, Some(at)) => words::relative(at, self.now),
                    (Urgency::Rest, None) => "-".to_owned(),
                    (_, None) => "pending".to_owned(),
                };
                let who = if row.urgency == Urgency::Rest { "-" } else { words::who(row.who) };
                table.add_row([
                    row.domain.to_string(),
                    row.selector.to_string(),
                    row.algorithm.to_string(),
                    row.phase.to_string(),
                    words::length(dkimctl_state::time::Span::seconds(row.age)),
                    row.next.clone(),
                    when,
                    who.to_owned(),
                ]);
            }
            for line in table.trim_fmt().lines() {
                let _ = writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(line));
            }
        }
        for timeline in self.timelines.iter().take(TIMELINES) {
            let _ = write!(out, "\n{}", timeline.text(paint));
        }
        if self.timelines.len() > TIMELINES {
            let _ = writeln!(out, "\n{} more timelines: dkimctl status DOMAIN", self.timelines.len() - TIMELINES);
        }
        for domain in self.asked.iter().take(TIMELINES) {
            let _ = writeln!(out, "{domain} has no key yet; one was asked for and could not be made.");
        }
        match self.without_key.as_slice() {
            [] => {}
            [one] => {
                let _ = writeln!(out, "{one} has no key yet.");
            }
            many => {
                let _ = writeln!(out, "{} domains have no key yet, the first is {}.", many.len(), many[0]);
            }
        }
        let _ = match (&self.next, self.next_at) {
            (Some(next), Some(at)) => {
                writeln!(
                    out,
                    "\nNothing is due before {at} ({}). Then:   {}",
                    words::relative(at, self.now),
                    paint.bold(next)
                )
            }
            (Some(next), None) => writeln!(out, "\nNext:   {}", paint.bold(next)),
            (None, _) => Ok(()),
        };
        out
    }
}
