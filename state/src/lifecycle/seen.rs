//! What name servers and providers showed: input of the planner, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::ledger::Key;
use crate::name::{Fqdn, Label};
use crate::record::dkim::{Fingerprint, key_in};
use crate::record::txt::TxtText;
use crate::time::Time;

/// Everything that one look at the world showed.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub names: BTreeMap<Fqdn, SeenName>,
    pub clock: Witness,
}

/// What another clock says of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Witness {
    /// Nobody could be asked.
    #[default]
    Unknown,
    Agrees,
    /// The other clock, where ours says something else by more than the tolerance.
    Disagrees(Time),
}

/// What was seen at one name.
#[derive(Debug, Clone, Default)]
pub struct SeenName {
    /// What each provider says stands there.
    pub at_provider: BTreeMap<Label, View>,
    /// What every address of every authoritative server answered; `None` if nobody was asked.
    pub sweep: Option<Sweep>,
}

/// A provider's own view of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    Absent,
    Txt {
        ttl: u32,
        texts: Vec<TxtText>,
    },
    Cname {
        target: Fqdn,
    },
    /// Something that is not touched, with the reason.
    Unsupported(String),
    /// The provider could not be asked. Never read as absent.
    Unknown(String),
}

/// One sweep over every address of every authoritative server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sweep {
    pub at: Time,
    pub answers: Vec<ServerAnswer>,
    /// Seconds that a denial may be cached: min(SOA TTL, SOA minimum) (RFC 2308 section 5); `None` if unreadable.
    pub negative_ttl: Option<u32>,
    /// The target and TTL of a CNAME that was followed.
    pub cname: Option<(Fqdn, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAnswer {
    /// Name and address, for people: `ns1.example.com 192.0.2.1`.
    pub server: String,
    pub answer: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Txt {
        ttl: u32,
        texts: Vec<TxtText>,
    },
    Absent,
    /// SERVFAIL, a timeout, a lame server: no knowledge either way.
    Unknown(String),
}

/// A sweep measured against the one value that ought to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every server has exactly this value.
    Match,
    /// These servers answered and do not have it.
    Missing { servers: Vec<String> },
    /// This server has something else, or something more.
    Conflict { server: String, texts: Vec<TxtText> },
    /// Nothing contradicts, but not everybody answered.
    Unknown { servers: Vec<String> },
}

impl Seen {
    pub fn view(&self, name: &Fqdn, provider: &Label) -> Option<&View> {
        self.names.get(name)?.at_provider.get(provider)
    }

    pub fn sweep(&self, name: &Fqdn) -> Option<&Sweep> {
        self.names.get(name)?.sweep.as_ref()
    }
}

impl View {
    pub fn texts(&self) -> &[TxtText] {
        match self {
            View::Txt { texts, .. } => texts,
            _ => &[],
        }
    }
}

impl Sweep {
    /// Compares every answer with `wanted`: exactly one TXT record with exactly this text, however it is chunked.
    pub fn verdict(&self, wanted: &TxtText) -> Verdict {
        let mut missing = Vec::new();
        let mut unknown = Vec::new();
        for ServerAnswer { server, answer } in &self.answers {
            match answer {
                Answer::Txt { texts, .. } if texts.as_slice() == std::slice::from_ref(wanted) => {}
                Answer::Txt { texts, .. } => {
                    return Verdict::Conflict { server: server.clone(), texts: texts.clone() };
                }
                Answer::Absent => missing.push(server.clone()),
                Answer::Unknown(why) => unknown.push(format!("{server} ({why})")),
            }
        }
        if !missing.is_empty() {
            Verdict::Missing { servers: missing }
        } else if !unknown.is_empty() || self.answers.is_empty() {
            Verdict::Unknown { servers: unknown }
        } else {
            Verdict::Match
        }
    }

    /// The servers that still serve this key or its gravestone, and those that did not answer.
    pub fn still_serving(&self, key: &Key) -> (Vec<String>, Vec<String>) {
        let mut serving = Vec::new();
        let mut unknown = Vec::new();
        for ServerAnswer { server, answer } in &self.answers {
            match answer {
                Answer::Txt { texts, .. }
                    if keys_in(texts).contains(&key.fingerprint) || texts.contains(&key.revocation()) =>
                {
                    serving.push(server.clone());
                }
                Answer::Unknown(why) => unknown.push(format!("{server} ({why})")),
                Answer::Txt { .. } | Answer::Absent => {}
            }
        }
        (serving, unknown)
    }

    /// The largest TTL that any server put on the name, in seconds.
    pub fn ttl(&self) -> u32 {
        let ttl = |answer: &ServerAnswer| match answer.answer {
            Answer::Txt { ttl, .. } => ttl,
            _ => 0,
        };
        self.answers.iter().map(ttl).max().unwrap_or(0)
    }

    /// Whether every server answered.
    pub fn complete(&self) -> bool {
        !self.answers.is_empty() && !self.answers.iter().any(|a| matches!(a.answer, Answer::Unknown(_)))
    }
}

/// The keys that stand in these texts.
pub fn keys_in(texts: &[TxtText]) -> BTreeSet<Fingerprint> {
    texts.iter().filter_map(key_in).map(|key| key.fingerprint()).collect()
}
