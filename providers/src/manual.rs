//! DNS that people change: a form on a web page, a ticket, a colleague.
//!
//! We say which record is to be entered, and are satisfied when every name server of the zone shows it. Nothing is
//! believed: an entry that was mistyped is not there.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use hickory_proto::rr::RecordType;

use crate::pace::{SystemTimer, Timer};
use crate::rfc2136::at_name;
use crate::wire::{self, Answer, Question, to_name};
use crate::{AtName, Caps, CompareAndSet, Descriptor, DnsProvider, Guarded, Op, Outcome, ProviderError, Zone};

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "manual",
    name: "By hand (anything with a form)",
    credentials: "none; the zone's name servers must be reachable on port 53",
    least_rights: "none; a person enters the record",
    rights_template: "",
    docs: "",
};

/// How often the name servers are asked while somebody is typing.
const EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub zones: Vec<Fqdn>,
    /// All authoritative servers of these zones: a name or an address, with `:port` unless it is 53.
    pub servers: Vec<String>,
    /// How long to wait for the person; zero says what is to be done and goes on.
    pub patience: Duration,
    /// Of one question.
    pub timeout: Duration,
}

/// Where the instructions go.
pub type Tell = Box<dyn Fn(&str) + Send + Sync>;

pub struct Manual {
    config: Config,
    tell: Tell,
    timer: Box<dyn Timer>,
}

impl Manual {
    pub fn new(config: Config, tell: Tell) -> Self {
        Self::with_timer(config, tell, Box::new(SystemTimer::default()))
    }

    /// With another clock to wait by, for tests.
    pub fn with_timer(config: Config, tell: Tell, timer: Box<dyn Timer>) -> Self {
        Manual { config, tell, timer }
    }
}

impl DnsProvider for Manual {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn caps(&self) -> Caps {
        Caps {
            min_ttl: 0,
            max_text: 20_000,
            max_batch: 20,
            atomic_batch: false,
            compare_and_set: CompareAndSet::LookAgain,
            rate: None,
        }
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        Ok(self.config.zones.iter().map(Zone::named).collect())
    }

    /// What all name servers show; where they differ, the name is left alone until they agree.
    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        zone.holds(names)?;
        let mut agreed: Option<Vec<AtName>> = None;
        for (server, address) in self.addresses()? {
            let shown = self.ask(&server, address, names)?;
            agreed = Some(match agreed {
                None => shown,
                Some(agreed) => agreed.into_iter().zip(shown).map(|(a, b)| agree(a, b, &server)).collect(),
            });
        }
        agreed.ok_or_else(|| ProviderError::Unreachable("no name server is configured in `nameservers`".into()))
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        let mut outcomes: Vec<Option<Outcome>> = ops.iter().map(|guarded| self.judge(zone, guarded)).collect();
        let open = |outcomes: &[Option<Outcome>]| -> Vec<usize> {
            (0..ops.len()).filter(|&index| outcomes[index].is_none()).collect()
        };
        let wanted = open(&outcomes);
        for &index in &wanted {
            (self.tell)(&instruction(&zone.name, &ops[index].op));
        }
        let start = self.timer.now();
        loop {
            for index in open(&outcomes) {
                let now = self.observe(zone, std::slice::from_ref(ops[index].op.name()));
                if now.is_ok_and(|now| ops[index].op.holds_in(&now[0])) {
                    outcomes[index] = Some(Outcome::Applied(None));
                }
            }
            if open(&outcomes).is_empty() || self.timer.now().saturating_sub(start) >= self.config.patience {
                break;
            }
            self.timer.sleep(EVERY);
        }
        let waiting = || Outcome::Rejected(not_yet());
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(waiting)).collect()
    }
}

impl Manual {
    /// `None` when somebody has to do something.
    fn judge(&self, zone: &Zone, guarded: &Guarded) -> Option<Outcome> {
        match self.observe(zone, std::slice::from_ref(guarded.op.name())) {
            Err(error) => Some(Outcome::Rejected(error)),
            Ok(mut now) => {
                let now = now.pop()?;
                let after = guarded.op.after(&now);
                match after {
                    _ if !now.same_as(&guarded.seen) => Some(guarded.mismatch(now)),
                    None => Some(Outcome::Conflict(now)),
                    Some(after) if after.same_as(&now) => Some(Outcome::Already),
                    Some(_) => None,
                }
            }
        }
    }

    fn addresses(&self) -> Result<Vec<(String, SocketAddr)>, ProviderError> {
        let address = |server: &String| {
            let with_port = if server.parse::<std::net::IpAddr>().is_ok() || !server.contains(':') {
                (server.as_str(), 53).to_socket_addrs()
            } else {
                server.to_socket_addrs()
            };
            let first = with_port.ok().and_then(|mut all| all.next());
            let address = first.ok_or_else(|| {
                ProviderError::Unreachable(format!(
                    "the name server `{server}` has no address here, so what it shows is unknown; `nameservers` takes \
                     names and addresses"
                ))
            })?;
            Ok((server.clone(), address))
        };
        self.config.servers.iter().map(address).collect()
    }

    fn ask(&self, server: &str, address: SocketAddr, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        let questions: Vec<_> =
            names.iter().map(|name| Question { name: to_name(name), rtype: RecordType::TXT }).collect();
        let options = wire::Options { timeout: self.config.timeout, ..wire::Options::default() };
        let read = |(name, answer): (&Fqdn, Answer)| match answer {
            Answer::Records(records) if records.authoritative => Ok(at_name(name, &records.answers)),
            Answer::NxDomain(negative) | Answer::NoData(negative) if negative.authoritative => Ok(AtName::Absent),
            other => Err(ProviderError::Unreachable(format!(
                "{server} does not tell what stands at `{name}` ({}), and unknown is not absent; see that it serves the \
                 zone and that port 53 is open",
                kind(&other)
            ))),
        };
        names.iter().zip(wire::ask_all(address, &questions, options)).map(read).collect()
    }
}

fn kind(answer: &Answer) -> String {
    match answer {
        Answer::Records(_) | Answer::NxDomain(_) | Answer::NoData(_) => "no authority for it".into(),
        Answer::Rcode(code) => code.to_string(),
        Answer::Timeout => "no answer in time".into(),
        Answer::ConnectionRefused => "connection refused".into(),
        Answer::NoRoute(why) | Answer::Garbled(why) => why.clone(),
    }
}

fn agree(a: AtName, b: AtName, server: &str) -> AtName {
    if a.same_as(&b) {
        return a;
    }
    AtName::Unsupported(format!(
        "the name servers do not agree yet: {server} shows something else; wait, and look again"
    ))
}

fn not_yet() -> ProviderError {
    let sentence =
        "the name servers do not all show it yet; make the change as printed, then run the same command again";
    ProviderError::ByHand(sentence.to_owned())
}

/// What to do, with the text in both forms: as a zone file has it, and in one piece for forms that split it themselves.
fn instruction(zone: &Fqdn, op: &Op) -> String {
    let name = op.name();
    let relative = name.as_str().strip_suffix(zone.as_str()).map_or("", |rest| rest.trim_end_matches('.'));
    let host = if relative.is_empty() { "@" } else { relative };
    let record = |ttl: u32, text: &TxtText| {
        format!(
            "  zone file:  {name}. {ttl} IN TXT {}\n  form:       zone {zone}, name {host}, type TXT, TTL {ttl}, value:\n\
             {text}",
            text.quoted()
        )
    };
    match op {
        Op::Add { text, ttl, .. } => format!("add this record:\n{}", record(*ttl, text)),
        Op::Replace { old, new, ttl, .. } => {
            format!("replace the value\n{old}\nof the TXT record {name} by this:\n{}", record(*ttl, new))
        }
        Op::Remove { text, .. } => {
            format!(
                "remove this value from the TXT records of {name} (zone {zone}, name {host}), and no other:\n{text}"
            )
        }
    }
}

impl fmt::Debug for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manual").field("config", &self.config).finish_non_exhaustive()
    }
}
