//! Reverse names that a machine made: they carry the address, or the words that providers use for addresses that
//! nobody asked a name for. Receivers treat them like those of home connections.

use std::net::IpAddr;

/// What makes the name look machine-made; `None` if nothing does.
pub fn sign_of_a_machine(name: &str, ip: IpAddr) -> Option<String> {
    let name = name.to_ascii_lowercase();
    if let Some(part) = carries(&name, ip.to_canonical()) {
        return Some(format!("`{part}` in it is the address"));
    }
    let labels: Vec<&str> = name.split('.').collect();
    // The registered domain says who owns the name; what a machine makes stands before it.
    let own = &labels[..labels.len().saturating_sub(2)];
    let words =
        own.iter().flat_map(|label| label.split('-')).map(|word| word.trim_matches(|c: char| c.is_ascii_digit()));
    let word = words.into_iter().find(|word| WORDS.contains(word));
    word.map(|word| format!("`{word}` in it is a word of providers"))
}

/// Words that stand alone between dots, hyphens and digits.
const WORDS: [&str; 20] = [
    "adsl",
    "broadband",
    "cable",
    "client",
    "clients",
    "compute",
    "cust",
    "customer",
    "dhcp",
    "dial",
    "dialup",
    "dsl",
    "dyn",
    "dynamic",
    "ec",
    "ip",
    "pool",
    "ppp",
    "static",
    "unassigned",
];

/// The part of the name that is made of the address, forwards or backwards.
fn carries(name: &str, ip: IpAddr) -> Option<String> {
    let IpAddr::V4(ip) = ip else { return carries_groups(name, ip) };
    let octets = ip.octets();
    let texts = |write: &dyn Fn(u8) -> String| octets.map(write);
    for parts in [
        texts(&|octet| octet.to_string()),
        texts(&|octet| format!("{octet:03}")),
        texts(&|octet| format!("{octet:02x}")),
    ] {
        let hex = parts[0] == format!("{:02x}", octets[0]) && parts.iter().all(|part| part.len() == 2);
        let mut backwards = parts.clone();
        backwards.reverse();
        for order in [&parts, &backwards] {
            for between in ["-", ".", "_", "x", ""] {
                // Without anything between them only octets of a fixed width are recognized for certain.
                if between.is_empty() && !(hex || parts.iter().all(|part| part.len() == 3)) {
                    continue;
                }
                let joined = order.join(between);
                if name.match_indices(&joined).any(|(at, _)| stands_alone(name, at, joined.len())) {
                    return Some(joined);
                }
            }
        }
    }
    None
}

/// An IPv6 address is carried when its last four groups are, or all its nibbles.
fn carries_groups(name: &str, ip: IpAddr) -> Option<String> {
    let IpAddr::V6(ip) = ip else { return None };
    let groups = ip.segments();
    let short = groups.map(|group| format!("{group:x}"));
    let long = groups.map(|group| format!("{group:04x}"));
    for between in ["-", "."] {
        for parts in [&short, &long] {
            let joined = parts[4..].join(between);
            let whole = parts.join(between);
            for wanted in [whole, joined] {
                let telling = wanted.chars().filter(|c| c.is_ascii_hexdigit() && *c != '0').count() > 4;
                if telling && name.match_indices(&wanted).any(|(at, _)| stands_alone(name, at, wanted.len())) {
                    return Some(wanted);
                }
            }
        }
    }
    let nibbles = long.concat();
    name.contains(&nibbles).then_some(nibbles)
}

/// Whether no digit touches what was found: 10.1.1.1 is not in `110-1-1-1`.
fn stands_alone(name: &str, at: usize, length: usize) -> bool {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    !digit(name[..at].chars().next_back()) && !digit(name[at + length..].chars().next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_providers_give_are_told_from_names_that_people_give() {
        let made = |name: &str, ip: &str| sign_of_a_machine(name, ip.parse().unwrap()).is_some();
        for (name, ip) in [
            ("ec2-203-0-113-17.eu-central-1.compute.amazonaws.com", "203.0.113.17"),
            ("static.17.113.0.203.clients.your-server.example", "203.0.113.17"),
            ("ip-203-0-113-17.isp.example", "203.0.113.17"),
            ("ip17.ip-203-0-113.example.net", "203.0.113.17"),
            ("17-113-0-203.rev.isp.example", "203.0.113.17"),
            ("cb007111.dyn.isp.example", "203.0.113.17"),
            ("203000113017.isp.example", "203.0.113.17"),
            ("dhcp-12.campus.example.edu", "203.0.113.17"),
            ("2001-db8-25-0-1a2b-3c4d-5e6f-17.v6.isp.example", "2001:db8:25:0:1a2b:3c4d:5e6f:17"),
        ] {
            assert!(made(name, ip), "{name}");
        }
        for (name, ip) in [
            ("mail.example.com", "203.0.113.17"),
            ("mx1.static-shop.example", "203.0.113.17"),
            ("mail17.example.com", "203.0.113.17"),
            ("smtp.dynamic.example", "203.0.113.17"),
            ("mail-1.eu.example.com", "10.1.1.1"),
            ("out-203.example.com", "203.0.113.17"),
            ("mail.example.com", "2001:db8:25::17"),
            ("mail-0-0-0-17.example.com", "2001:db8:25::17"),
        ] {
            assert!(!made(name, ip), "{name}");
        }
    }
}
