//! Block lists in DNS (RFC 5782), asked only when somebody wants it.

use std::net::{IpAddr, SocketAddr};

use dkimctl_providers::wire::{self, Answer, Options};
use hickory_proto::rr::{Name, RData, RecordType};

use super::reverse::{address, reverse_name};

/// What one list says of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    pub ip: IpAddr,
    pub zone: String,
    pub result: Listed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    No,
    /// The codes, and what the list says of them.
    Yes {
        codes: Vec<IpAddr>,
        text: Option<String>,
    },
    Unknown(String),
}

/// Asks one list through a resolver, for lists do not let themselves be asked otherwise.
pub fn ask(resolver: SocketAddr, options: Options, zone: &str, ip: IpAddr) -> Listing {
    let options = Options { recursion: true, ..options };
    let query = |ip: IpAddr, rtype| match name(ip, zone) {
        Some(name) => wire::ask(resolver, &name, rtype, options),
        None => Answer::Garbled(format!("{zone} is no zone")),
    };
    let result = match query(ip, RecordType::A) {
        Answer::NxDomain(_) | Answer::NoData(_) => {
            // RFC 5782 section 5: every list has a test entry. Without it the zone is dead, and nobody is on it.
            let test = if ip.to_canonical().is_ipv4() { "127.0.0.2" } else { "::ffff:7f00:2" };
            let test = test.parse().map(|test| query_test(resolver, options, zone, test));
            match test {
                Ok(true) => Listed::No,
                _ => Listed::Unknown(format!("{zone} does not list its own test address, so it lists nobody")),
            }
        }
        Answer::Records(records) => {
            let codes: Vec<IpAddr> = records.answers.iter().filter_map(|record| address(&record.data)).collect();
            let text = || match query(ip, RecordType::TXT) {
                Answer::Records(records) => records.answers.iter().find_map(|record| match &record.data {
                    RData::TXT(txt) => Some(txt.txt_data.iter().map(|part| String::from_utf8_lossy(part)).collect()),
                    _ => None,
                }),
                _ => None,
            };
            meaning(zone, codes, text)
        }
        other => Listed::Unknown(crate::observe::why_unknown(&other)),
    };
    Listing { ip, zone: zone.to_owned(), result }
}

/// What the codes of an answer mean.
fn meaning(zone: &str, codes: Vec<IpAddr>, text: impl FnOnce() -> Option<String>) -> Listed {
    let octets = |ip: &IpAddr| if let IpAddr::V4(ip) = ip { ip.octets() } else { [0; 4] };
    // Spamhaus and others answer 127.255.255.x to whom they do not want to answer: public resolvers, blocked ones.
    if let Some(refusal) = codes.iter().find(|code| octets(code)[..3] == [127, 255, 255]) {
        return Listed::Unknown(format!("{zone} answers {refusal}: it does not talk to this resolver"));
    }
    // RFC 5782 section 2.1: listed is 127.0.0.0/8; anything else is a parked domain.
    match codes.iter().all(|code| octets(code)[0] == 127) && !codes.is_empty() {
        true => Listed::Yes { codes, text: text() },
        false => Listed::Unknown(format!("{zone} answers {codes:?}, which is no list's code")),
    }
}

/// The name that an address has on a list: its reverse name, with the zone in the place of `in-addr.arpa`. IPv6 goes
/// by nibbles (RFC 5782 section 2.4).
fn name(ip: IpAddr, zone: &str) -> Option<Name> {
    listed_as(&reverse_name(ip), zone)
}

fn listed_as(reverse: &Name, zone: &str) -> Option<Name> {
    let reverse = reverse.to_ascii();
    let bare = reverse.strip_suffix(".in-addr.arpa.").or_else(|| reverse.strip_suffix(".ip6.arpa."))?;
    Name::from_ascii(format!("{bare}.{}.", zone.trim_end_matches('.'))).ok()
}

/// Whether the list has its own test address. That of IPv6 is a mapped IPv4 address, by nibbles all the same.
fn query_test(resolver: SocketAddr, options: Options, zone: &str, test: IpAddr) -> bool {
    let reverse = match test {
        IpAddr::V4(_) => reverse_name(test),
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            let text: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            Name::from_ascii(text + "ip6.arpa.").unwrap_or_default()
        }
    };
    let answer = listed_as(&reverse, zone).map(|name| wire::ask(resolver, &name, RecordType::A, options));
    matches!(answer, Some(Answer::Records(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_is_asked_by_nibbles() {
        let asked = |ip: &str| name(ip.parse().unwrap(), "zen.example").unwrap().to_ascii();
        assert_eq!(asked("203.0.113.10"), "10.113.0.203.zen.example.");
        let nibbles = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.example.";
        assert_eq!(asked("2001:db8::1"), nibbles);
    }

    #[test]
    fn an_error_code_is_not_a_listing() {
        let codes = |text: &str| meaning("zen.example", vec![text.parse().unwrap()], || None);
        assert!(matches!(codes("127.0.0.2"), Listed::Yes { .. }));
        assert!(matches!(codes("127.255.255.254"), Listed::Unknown(_)));
        assert!(matches!(codes("198.51.100.7"), Listed::Unknown(_)));
    }
}
