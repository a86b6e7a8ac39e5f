//! The demonstration's timeline, told as it happens, and what it leaves.

use std::path::Path;

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::time::Time;
use serde::Serialize;

use super::words::{self, Selectors};
use super::{Paint, Report};
use crate::demo::Shown;

/// What was shown so far.
#[derive(Default)]
pub struct Story {
    selectors: Selectors,
    last: Option<Time>,
    events: Vec<Told>,
}

#[derive(Debug, Clone, Serialize)]
struct Told {
    at: Time,
    kind: &'static str,
    text: String,
}

/// The whole story, for programs.
#[derive(Serialize)]
pub struct DemoReport {
    directory: String,
    events: Vec<Told>,
}

impl Story {
    /// The lines for one thing that happened; none for what happens all the time.
    pub fn tell(&mut self, at: Time, shown: &Shown, paint: Paint) -> Option<String> {
        if let Shown::Fact(Fact::Sealed { key }) = shown {
            self.selectors.learn(key);
        }
        let (kind, text) = match shown {
            Shown::Typed(command) => ("command", format!("$ {command}")),
            Shown::Cron => return None,
            Shown::Fact(fact) => ("fact", words::fact(fact, &self.selectors)),
            Shown::Wait(wait) => ("wait", words::wait(wait)),
            Shown::Verified(proof) => {
                let from = "verified with the key that the name server serves";
                ("proof", format!("a message was signed with {} and {from}", proof.selector))
            }
        };
        self.events.push(Told { at, kind, text: text.clone() });
        let stamp = match self.last.replace(at) {
            Some(last) if last == at => " ".repeat(at.to_string().len()),
            _ => at.to_string(),
        };
        Some(match kind {
            "command" => format!("\n{stamp}  {}\n", paint.bold(text)),
            "wait" => format!("{stamp}    {}\n", paint.dim(text)),
            "proof" => format!("{stamp}  {}\n", paint.green(text)),
            _ => format!("{stamp}  {text}\n"),
        })
    }

    pub fn report(self, dir: &Path) -> DemoReport {
        DemoReport { directory: dir.display().to_string(), events: self.events }
    }
}

impl Report for DemoReport {
    fn text(&self, paint: Paint) -> String {
        let dir = &self.directory;
        let at = |path: &str, what: &str| format!("  {:<44} {what}\n", format!("{dir}/{path}"));
        let mut text = format!("\n{}\n", paint.bold("No message was unverifiable at any time. What was written:"));
        text += &at("zone/example.com.zone", "the records, as the zone file provider keeps them");
        text += &at("state/", "SQLite with every fact, and the sealed keys");
        text += &at("outbox/, receipts/", "what travelled between the two hosts, signed");
        text += &at("mail/SigningTable, mail/KeyTable", "what OpenDKIM would read");
        text += "\nNext, for a domain of yours:\n";
        text += "  dkimctl init --domain example.com     writes a commented dkimctl.toml\n";
        text += "  dkimctl host init                     on the mail host\n";
        text += "  dkimctl rotate example.com            and cron runs: dkimctl advance\n";
        text
    }
}
