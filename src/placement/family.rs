//! The families of mailbox providers: what their hosts are called, who they say they are, where they write.

use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::mail::received::Received;

/// Providers that filter alike, because one runs the mail of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Gmail,
    Microsoft,
    Yahoo,
    Icloud,
    Fastmail,
    Proton,
    Zoho,
    Gmx,
    Yandex,
    MailRu,
    /// A server of nobody's whom we know.
    Other,
}

/// Where a provider writes its results, seen from the `Received` with which it took the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Above it, as RFC 8601 section 4 has it.
    Above,
    /// Above it in the ARC set alone; `Authentication-Results` says the same again below it (Gmail).
    ArcAbove,
    /// Right below it, before the first field of the message: only there, and each authserv-id once (iCloud, Yandex).
    Below,
}

pub const ALL: [Family; 11] = [
    Family::Gmail,
    Family::Microsoft,
    Family::Yahoo,
    Family::Icloud,
    Family::Fastmail,
    Family::Proton,
    Family::Zoho,
    Family::Gmx,
    Family::Yandex,
    Family::MailRu,
    Family::Other,
];

impl Family {
    pub fn code(self) -> &'static str {
        match self {
            Family::Gmail => "gmail",
            Family::Microsoft => "microsoft",
            Family::Yahoo => "yahoo",
            Family::Icloud => "icloud",
            Family::Fastmail => "fastmail",
            Family::Proton => "proton",
            Family::Zoho => "zoho",
            Family::Gmx => "gmx",
            Family::Yandex => "yandex",
            Family::MailRu => "mail.ru",
            Family::Other => "other",
        }
    }

    pub fn find(code: &str) -> Option<Family> {
        ALL.into_iter().find(|family| family.code().eq_ignore_ascii_case(code))
    }

    /// The family of an address at one of the providers' own domains.
    pub fn of_address(address: &str) -> Option<Family> {
        let domain = address.rsplit_once('@')?.1.trim_end_matches('>').to_ascii_lowercase();
        let first = domain.split('.').next().unwrap_or_default();
        Some(match domain.as_str() {
            "gmail.com" | "googlemail.com" => Family::Gmail,
            "icloud.com" | "me.com" | "mac.com" => Family::Icloud,
            "fastmail.com" | "fastmail.fm" => Family::Fastmail,
            "proton.me" | "protonmail.com" | "protonmail.ch" | "pm.me" => Family::Proton,
            "ymail.com" | "rocketmail.com" | "aol.com" => Family::Yahoo,
            "zohomail.com" | "zohomail.eu" | "zoho.com" => Family::Zoho,
            "web.de" | "mail.com" => Family::Gmx,
            "mail.ru" | "inbox.ru" | "list.ru" | "bk.ru" => Family::MailRu,
            "ya.ru" => Family::Yandex,
            _ => match first {
                "outlook" | "hotmail" | "live" | "msn" => Family::Microsoft,
                "yahoo" => Family::Yahoo,
                "gmx" => Family::Gmx,
                "yandex" => Family::Yandex,
                _ => return None,
            },
        })
    }

    /// The family of a host that wrote a `Received` field. Only the receiver writes `by`.
    pub fn of_host(by: &str) -> Option<Family> {
        let below = |zones: &[&str]| zones.iter().any(|zone| is_in(by, zone));
        Some(match () {
            () if below(&["google.com", "googlemail.com"]) => Family::Gmail,
            () if below(&MICROSOFT) => Family::Microsoft,
            () if below(&["yahoo.com", "aol.com", "yahoodns.net"]) => Family::Yahoo,
            () if below(&["me.com", "icloud.com", "mac.com"]) => Family::Icloud,
            () if !by.contains('.') && (by.contains("icloudmta") || by.contains("-mailgateway-")) => Family::Icloud,
            () if below(&["messagingengine.com"]) => Family::Fastmail,
            () if below(&["protonmail.ch", "proton.ch", "protonmail.com"]) => Family::Proton,
            () if zoho(by) => Family::Zoho,
            () if below(&["gmx.net", "gmx.com", "web.de", "kundenserver.de", "mail.com"]) => Family::Gmx,
            () if below(&["yandex.net", "yandex.ru", "yandex.com"]) => Family::Yandex,
            () if below(&["mail.ru", "smailru.net"]) => Family::MailRu,
            () => return None,
        })
    }

    pub fn layout(self) -> Layout {
        match self {
            Family::Gmail => Layout::ArcAbove,
            Family::Icloud | Family::Yandex => Layout::Below,
            _ => Layout::Above,
        }
    }

    /// Whether the family writes results under this authserv-id. `by` is the host that took the message.
    pub fn writes_as(self, id: Option<&str>, by: &str) -> bool {
        // Microsoft names nobody.
        let Some(id) = id else { return self == Family::Microsoft };
        match self {
            Family::Gmail => id == "mx.google.com",
            Family::Microsoft => false,
            Family::Yahoo => is_in(id, "yahoo.com") || is_in(id, "aol.com"),
            Family::Icloud => ICLOUD.contains(&id),
            Family::Fastmail => is_in(id, "messagingengine.com"),
            Family::Proton => is_in(id, "protonmail.ch") || is_in(id, "protonmail.com"),
            Family::Zoho => zoho(id),
            Family::Gmx => {
                ["gmx.net", "gmx.com", "web.de", "mail.com", "kundenserver.de"].iter().any(|zone| is_in(id, zone))
            }
            Family::Yandex => id == by,
            Family::MailRu => is_in(id, "mail.ru"),
            // A host speaks for itself and for the domain that it is in.
            Family::Other => id.contains('.') && is_in(by, id),
        }
    }

    /// The fields that the family writes between its `Received` and the message, for [`Layout::Below`].
    pub fn writes_below(self, field: &str) -> bool {
        let begins = |start: &str| field.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
        match self {
            Family::Icloud => begins("X-ICL-") || begins("X-ARC-Info") || begins("X-DMARC-") || begins("X-BIMI"),
            Family::Yandex => begins("X-Yandex-") || field.eq_ignore_ascii_case("Return-Path"),
            _ => false,
        }
    }

    /// Whether the hop stays within the provider, so that the message came in further down. What decides is written by
    /// the receiver alone: `by`, and the address of the connection. In doubt a hop is the boundary: less is believed.
    pub fn is_inner(self, hop: &Received) -> bool {
        let by = hop.by.as_deref().unwrap_or_default();
        let protocol = hop.with.as_deref().unwrap_or_default();
        if !hop.has_from || protocol.eq_ignore_ascii_case("imap") || protocol.eq_ignore_ascii_case("pop3") {
            return true;
        }
        // All Internet mail to Microsoft enters here, whatever address it comes from.
        if is_in(by, "mail.protection.outlook.com") {
            return false;
        }
        if hop.addresses.is_empty() {
            // iCloud's gateways have names without a dot, and say no address.
            return self == Family::Icloud && !by.contains('.');
        }
        let own = |address: &IpAddr| is_private(*address) || self.owns(*address, by);
        hop.addresses.iter().all(own)
    }

    /// Networks between a provider's own hosts.
    fn owns(self, address: IpAddr, by: &str) -> bool {
        match (self, address) {
            // Exchange Online between its own servers, and from those that took the mail in. Mail of the Internet, of
            // other customers too, comes in elsewhere (see above), so these addresses lead no sender in here.
            (Family::Microsoft, IpAddr::V6(ip)) => {
                let [first, second, third, ..] = ip.segments();
                let between = first == 0x2603 && [0x1096, 0x10a6, 0x10b6, 0x10c6, 0x10d6, 0x10e6].contains(&second);
                let entrance = [first, second] == [0x2a01, 0x0111] && [0xf400, 0xf403].contains(&third);
                (between || entrance) && MICROSOFT.iter().any(|zone| is_in(by, zone))
            }
            (Family::Yandex, IpAddr::V6(ip)) => ip.segments()[..2] == [0x2a02, 0x06b8] && is_in(by, "yandex.net"),
            (Family::Icloud, IpAddr::V4(ip)) => ip.octets()[0] == 17 && !by.contains(|c: char| c.is_ascii_alphabetic()),
            _ => false,
        }
    }
}

const MICROSOFT: [&str; 4] = ["outlook.com", "office365.com", "exchangelabs.com", "hotmail.com"];

/// The four authserv-ids of iCloud, and that of its ARC check, in the order in which it writes them.
pub const ICLOUD: [&str; 5] =
    ["bimi.icloud.com", "arc.icloud.com", "dmarc.icloud.com", "dkim-verifier.icloud.com", "spf.icloud.com"];

fn zoho(host: &str) -> bool {
    ["zoho.com", "zohomail.com", "zoho.eu", "zohomail.eu", "zoho.in", "zohomail.in"]
        .iter()
        .any(|zone| is_in(host, zone))
}

/// Whether `name` is `zone` or lies below it.
pub fn is_in(name: &str, zone: &str) -> bool {
    name == zone || name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'))
}

/// An address that no host of the Internet has.
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => {
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64
        }
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(mapped) => is_private(IpAddr::V4(mapped)),
            None => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        },
    }
}

impl Serialize for Family {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> serde::Deserialize<'de> for Family {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Ok(Family::find(&code).unwrap_or(Family::Other))
    }
}
