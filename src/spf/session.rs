//! What a check is about: the session, the identity, the result, and how addresses and names compare.

use std::net::IpAddr;

use dkimctl_state::name::Fqdn;
use dkimctl_state::record::spf::Qualifier;
use dkimctl_state::time::Time;

use super::resolver::QueryName;

/// RFC 7208 section 2.6: the result of check_host().
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Pass,
    Fail,
    SoftFail,
    Neutral,
    None,
    TempError,
    PermError,
}

/// What a receiving host knows of a message before it accepts it.
#[derive(Debug, Clone)]
pub struct Session {
    pub ip: IpAddr,
    /// The argument of HELO or EHLO.
    pub helo: String,
    /// The argument of MAIL FROM without angle brackets; empty for a bounce.
    pub mail_from: String,
    /// The host that checks, for `%{r}`.
    pub receiver: String,
    /// For `%{t}`.
    pub now: Time,
}

/// The identity that is checked.
pub(super) struct Sender {
    pub local: String,
    pub domain: String,
}

impl Sender {
    pub fn of(session: &Session) -> Sender {
        let from = session.mail_from.trim();
        let from = from.strip_prefix('<').and_then(|f| f.strip_suffix('>')).unwrap_or(from);
        // RFC 7208 section 2.4: a null reverse-path means postmaster at the HELO name; section 4.3: so does a missing
        // local part at its domain.
        let (local, domain) = match from.rsplit_once('@') {
            _ if from.is_empty() => ("", session.helo.as_str()),
            Some((local, domain)) => (local, domain),
            None => ("", from),
        };
        let local = if local.is_empty() { "postmaster" } else { local };
        Sender { local: local.to_owned(), domain: a_labels(domain) }
    }
}

/// RFC 7208 section 4.3: U-labels are converted to A-labels first.
fn a_labels(domain: &str) -> String {
    let bare = domain.strip_suffix('.').unwrap_or(domain);
    if bare.is_ascii() {
        bare.to_owned()
    } else {
        bare.parse::<Fqdn>().map_or(bare.to_owned(), |name| name.to_string())
    }
}

pub(super) fn is_checkable(domain: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"[]()<>@,;:\\\"".contains(c);
    domain.contains('.') && domain.chars().all(plain) && QueryName::parse(domain).is_some()
}

impl From<Qualifier> for Outcome {
    fn from(qualifier: Qualifier) -> Self {
        match qualifier {
            Qualifier::Pass => Outcome::Pass,
            Qualifier::Neutral => Outcome::Neutral,
            Qualifier::SoftFail => Outcome::SoftFail,
            Qualifier::Fail => Outcome::Fail,
        }
    }
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::SoftFail => "softfail",
            Outcome::Neutral => "neutral",
            Outcome::None => "none",
            Outcome::TempError => "temperror",
            Outcome::PermError => "permerror",
        }
    }
}

/// Whether `name` is `domain` or lies below it.
pub(super) fn is_in(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.to_ascii_lowercase(), domain.to_ascii_lowercase());
    name == domain || name.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
}

/// RFC 7208 section 5: the first `length` bits are compared; families never match each other.
pub fn in_network(ip: IpAddr, network: IpAddr, length: u8) -> bool {
    let shared = |xor: u128, width: u32| xor == 0 || width - (128 - xor.leading_zeros()) >= u32::from(length);
    match (ip, network) {
        (IpAddr::V4(ip), IpAddr::V4(network)) => shared((ip.to_bits() ^ network.to_bits()).into(), 32),
        (IpAddr::V6(ip), IpAddr::V6(network)) => shared(ip.to_bits() ^ network.to_bits(), 128),
        _ => false,
    }
}

/// RFC 7208 section 7.3: an IPv6 address as 32 nibbles with dots between. Names have no case, so nothing depends on it
/// but what people read; other evaluators write upper case.
pub(super) fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let nibbles: Vec<String> =
                ip.octets().iter().flat_map(|octet| [octet >> 4, octet & 15]).map(|n| format!("{n:X}")).collect();
            nibbles.join(".")
        }
    }
}

pub(super) fn reversed(dotted: &str) -> String {
    dotted.rsplit('.').collect::<Vec<_>>().join(".")
}

pub(super) fn version(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "in-addr" } else { "ip6" }
}
