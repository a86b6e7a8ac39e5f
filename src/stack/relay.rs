//! Who carries the mail on, and what that changes: the next hop, the SPF record, and which headers must not be signed.

use clap::ValueEnum;

/// Who delivers what the mail host signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Relay {
    /// Nobody: the mail host itself, by MX
    None,
    /// Amazon SES
    Ses,
    /// Mailgun
    Mailgun,
    /// Postmark
    Postmark,
}

/// One relay, as far as a stack has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub name: &'static str,
    /// The next hop as Postfix writes it: no MX lookup, port 587.
    pub hop: &'static str,
    /// The mechanism that covers its addresses.
    pub spf: &'static str,
    /// What it writes anew after the signature was made.
    pub rewrites: &'static [&'static str],
}

impl Relay {
    pub fn facts(self) -> Option<Facts> {
        match self {
            Relay::None => None,
            // SES overwrites Date and Message-ID, and asks that Return-Path and Bounces-To are not signed either.
            Relay::Ses => Some(Facts {
                name: "Amazon SES",
                hop: "[email-smtp.us-east-1.amazonaws.com]:587",
                spf: "include:amazonses.com",
                rewrites: &["Date", "Message-ID", "Bounces-To"],
            }),
            Relay::Mailgun => Some(Facts {
                name: "Mailgun",
                hop: "[smtp.mailgun.org]:587",
                spf: "include:mailgun.org",
                rewrites: &[],
            }),
            Relay::Postmark => Some(Facts {
                name: "Postmark",
                hop: "[smtp.postmarkapp.com]:587",
                spf: "include:spf.mtasv.net",
                rewrites: &["Message-ID"],
            }),
        }
    }

    /// The headers that it writes anew.
    pub fn rewrites(self) -> &'static [&'static str] {
        self.facts().map_or(&[], |facts| facts.rewrites)
    }
}
