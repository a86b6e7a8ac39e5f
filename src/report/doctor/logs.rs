//! What `doctor logs` says: replies of other servers, by code, with the check that looks at the cause.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::{Paint, Report};
use crate::doctor::logs::{Cause, Logs, Provider, Row};

/// Everything that the log shows.
#[derive(Debug, Serialize)]
pub struct LogsReport {
    #[serde(flatten)]
    pub logs: Logs,
}

impl Report for LogsReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for row in &self.logs.rows {
            let count = format!("{:>5} x", row.count());
            let count = if row.checks.is_empty() { count } else { paint.red(count) };
            let fates = [("bounced", row.bounced), ("deferred", row.deferred), ("tried elsewhere", row.tried)];
            let fates: Vec<String> =
                fates.iter().filter(|(_, n)| *n > 0).map(|(word, n)| format!("{n} {word}")).collect();
            let _ = writeln!(out, "{count} {} {}: {} ({})", who(row.provider), row.code, cause(row), fates.join(", "));
            let _ = writeln!(out, "        line {}: {}", row.first_line, row.first);
            if let [first, others @ ..] = row.checks.as_slice() {
                let also = if others.is_empty() { String::new() } else { format!("     (also {})", others.join(", ")) };
                let _ = writeln!(out, "        dkimctl explain {first}{also}");
            }
        }
        let Logs { lines, sent, without_code, turned_away, .. } = &self.logs;
        let failed: u64 = self.logs.rows.iter().map(Row::count).sum();
        let mut parts = vec![format!("{lines} lines"), format!("{sent} sent"), format!("{failed} replies that say no")];
        let more = [
            (self.logs.unknown(), "of them unknown to us"),
            (*without_code, "failures without a code"),
            (*turned_away, "turned away by this server itself"),
        ];
        parts.extend(more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
        let _ = writeln!(out, "{}", parts.join(", "));
        out
    }
}

fn who(provider: Provider) -> &'static str {
    match provider {
        Provider::Gmail => "Gmail",
        Provider::Microsoft => "Microsoft",
        Provider::Yahoo => "Yahoo",
        Provider::Other => "another server",
        Provider::Here => "Postfix itself",
    }
}

fn cause(row: &Row) -> &'static str {
    match row.cause {
        Cause::ReverseName => "the address has no reverse name that leads back to it",
        Cause::Ipv6ReverseName => "the IPv6 address has no reverse name, or the mail is not authenticated",
        Cause::Helo => "HELO is not a full name that resolves",
        Cause::Spf => "SPF did not pass",
        Cause::Dkim => "DKIM did not pass",
        Cause::Dmarc => "DMARC is missing or failed",
        Cause::Alignment => "neither SPF nor DKIM is of the domain in From",
        Cause::Authentication => "the mail is not authenticated",
        Cause::Tls => "the mail did not come over TLS",
        Cause::BlockList => "the address is on a block list",
        Cause::Rate => "too much at once, or too many complaints: send slower, and only what is wanted",
        Cause::Content => "taken for spam: content or reputation, not DNS",
        Cause::Network => "nobody could be reached",
        Cause::Resolver => "Postfix could not resolve a name",
        Cause::Signer => "the signer did not answer",
        Cause::Unknown => "not a code that we know",
    }
}
