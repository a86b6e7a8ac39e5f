//! How SPF asks DNS: a trait, and a real resolver behind it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dkimctl_providers::wire::{Answer, Options, ask};
use dkimctl_state::record::txt::TxtText;
use hickory_proto::rr::{Name, RData, RecordType};

/// A name that can be asked for: labels of 1 to 63 octets, at most 253 in all. Any octet may stand in a label, since
/// macros put in what a sender says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryName(String);

/// The record types that SPF reads (RFC 7208 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Txt,
    A,
    Aaaa,
    Mx,
    Ptr,
    /// Type 99, which nobody reads any more (section 3.1); only the linter asks for it.
    Spf,
}

/// One record's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// The joined text, and where its strings meet: an editor that cuts a record in two may lose a space there.
    Txt {
        text: TxtText,
        cuts: Vec<usize>,
    },
    Address(IpAddr),
    /// A mail exchanger or a pointer; empty for the root.
    Name(String),
}

/// What DNS said. The three are never folded: nothing is not a failure (RFC 7208 section 2.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Found(Vec<Data>),
    /// RCODE 0 without records, or RCODE 3.
    Nothing {
        exists: bool,
    },
    /// Anything else, time included; why is a sentence.
    Failed(String),
}

pub trait Resolver {
    fn ask(&self, name: &QueryName, kind: Kind) -> Reply;
}

/// A recursive resolver, asked over UDP and TCP.
#[derive(Debug, Clone, Copy)]
pub struct Recursive {
    server: SocketAddr,
    options: Options,
}

impl Recursive {
    pub fn new(server: SocketAddr) -> Self {
        let options = Options { timeout: Duration::from_secs(2), tries: 2, recursion: true, window: 1 };
        Recursive { server, options }
    }

    pub fn with_timeout(self, timeout: Duration) -> Self {
        Recursive { options: Options { timeout, ..self.options }, ..self }
    }
}

impl QueryName {
    /// `None` for what no query can be made of: an empty or overlong label, an overlong name, the root.
    pub fn parse(text: &str) -> Option<QueryName> {
        let bare = text.strip_suffix('.').unwrap_or(text);
        let fits = !bare.is_empty() && bare.len() <= 253 && bare.split('.').all(|l| (1..=63).contains(&l.len()));
        fits.then(|| QueryName(bare.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn to_wire(&self) -> Option<Name> {
        let mut name = Name::from_labels(self.0.split('.').map(str::as_bytes)).ok()?;
        name.set_fqdn(true);
        Some(name)
    }
}

impl std::fmt::Display for QueryName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

/// How many aliases are followed from one name; BIND follows 16.
const MOST_ALIASES: usize = 16;

impl Resolver for Recursive {
    fn ask(&self, name: &QueryName, kind: Kind) -> Reply {
        let Some(mut wire) = name.to_wire() else { return Reply::Nothing { exists: false } };
        for _ in 0..MOST_ALIASES {
            match ask(self.server, &wire, kind.rtype(), self.options) {
                Answer::Records(records) => {
                    // The chain of aliases as the answer gives it, then what stands at its end.
                    let mut owner = wire.clone();
                    for _ in 0..=MOST_ALIASES {
                        let alias = records.answers.iter().find_map(|record| match &record.data {
                            RData::CNAME(target) if record.name == owner => Some(target.0.clone()),
                            _ => None,
                        });
                        match alias {
                            Some(target) => owner = target,
                            None => break,
                        }
                    }
                    let found: Vec<Data> =
                        records.answers.iter().filter(|r| r.name == owner).filter_map(|r| kind.data(&r.data)).collect();
                    if !found.is_empty() {
                        return Reply::Found(found);
                    }
                    if owner == wire {
                        // Records, but none of ours: a name that exists.
                        return Reply::Nothing { exists: true };
                    }
                    // A server that does not follow aliases out of its zone: ask on.
                    wire = owner;
                }
                Answer::NxDomain(_) => return Reply::Nothing { exists: false },
                Answer::NoData(_) => return Reply::Nothing { exists: true },
                Answer::Rcode(code) => return Reply::Failed(format!("{} answered {code} for {name}", self.server)),
                Answer::Timeout => return Reply::Failed(format!("{} did not answer for {name}", self.server)),
                Answer::ConnectionRefused => {
                    return Reply::Failed(format!("nothing listens at {}", self.server));
                }
                Answer::NoRoute(why) => return Reply::Failed(format!("{} cannot be reached: {why}", self.server)),
                Answer::Garbled(why) => return Reply::Failed(format!("{} answered for {name}: {why}", self.server)),
            }
        }
        Reply::Failed(format!("{name}: more than {MOST_ALIASES} aliases, or a loop of them"))
    }
}

impl Kind {
    fn rtype(self) -> RecordType {
        match self {
            Kind::Txt => RecordType::TXT,
            Kind::A => RecordType::A,
            Kind::Aaaa => RecordType::AAAA,
            Kind::Mx => RecordType::MX,
            Kind::Ptr => RecordType::PTR,
            Kind::Spf => RecordType::Unknown(99),
        }
    }

    fn data(self, data: &RData) -> Option<Data> {
        Some(match (self, data) {
            // RFC 7208 section 3.3: the strings of one record are joined without spaces.
            (Kind::Txt | Kind::Spf, RData::TXT(txt)) => Data::strings(txt.txt_data.iter().map(|chunk| &chunk[..])),
            (Kind::Spf, RData::Unknown { rdata, .. }) => Data::strings(strings_in(&rdata.anything)),
            (Kind::A, RData::A(a)) => Data::Address(a.0.into()),
            (Kind::Aaaa, RData::AAAA(aaaa)) => Data::Address(aaaa.0.into()),
            (Kind::Mx, RData::MX(mx)) => Data::Name(text_of(&mx.exchange)),
            (Kind::Ptr, RData::PTR(ptr)) => Data::Name(text_of(&ptr.0)),
            _ => return None,
        })
    }
}

impl Data {
    fn strings<'d>(chunks: impl Iterator<Item = &'d [u8]>) -> Data {
        let chunks: Vec<&[u8]> = chunks.collect();
        let mut end = 0;
        let ends = chunks.iter().map(|chunk| {
            end += chunk.len();
            end
        });
        let mut cuts: Vec<usize> = ends.collect();
        cuts.pop();
        Data::Txt { text: TxtText::join(chunks), cuts }
    }
}

/// The character-strings of a record's data (RFC 1035 section 3.3).
fn strings_in(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first()?;
        let (string, rest) = rest.split_at_checked(usize::from(*length))?;
        data = rest;
        Some(string)
    })
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.rtype())
    }
}

/// The labels as they are, joined with dots; a label that holds a dot itself makes a name nobody can mean.
fn text_of(name: &Name) -> String {
    let labels: Vec<_> = name.iter().map(String::from_utf8_lossy).collect();
    labels.join(".")
}

/// The TXT records among the data.
pub(super) fn texts(data: Vec<Data>) -> Vec<TxtText> {
    let text = |data| match data {
        Data::Txt { text, .. } => Some(text),
        _ => None,
    };
    data.into_iter().filter_map(text).collect()
}

/// The names among the data.
pub(super) fn names(data: Vec<Data>) -> Vec<String> {
    let name = |data| match data {
        Data::Name(name) => Some(name),
        _ => None,
    };
    data.into_iter().filter_map(name).collect()
}
