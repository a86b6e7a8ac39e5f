//! Port 25, reverse names, the address that mail leaves from.

use std::net::IpAddr;

use crate::doctor::finding::Said;
use crate::doctor::net::{Address, Family, Forward, Helo, Known, Pointer, Port25, Tried};

fn said(evidence: impl Into<String>, fix: impl Into<String>) -> Said {
    Said { evidence: evidence.into(), fix: fix.into() }
}

pub fn offline() -> String {
    "not looked at: --offline".to_owned()
}

pub fn relayed(relay: &str) -> String {
    format!("mail leaves through {relay}, whose addresses count, not the ones of this host")
}

pub fn open(family: Family, peer: &str) -> String {
    format!("port 25 is open over {}: {peer} answered", family.as_str())
}

pub fn no_ipv6() -> String {
    "no mail leaves by IPv6: there is no way out".to_owned()
}

pub fn nothing_by_ipv6() -> String {
    "no mail leaves by IPv6".to_owned()
}

pub fn no_peer(family: Family) -> String {
    format!("no peer with an {} address was named", family.as_str())
}

pub fn shut(family: Family, peer: &str, refused: bool) -> Said {
    let how = if refused { "was refused" } else { "timed out" };
    said(
        format!(
            "port 25 of {peer} {how} over {} from where mail leaves: no mail can be delivered that way",
            family.as_str()
        ),
        "many hosts block port 25: ask the provider of this server to open it for outgoing mail, or send through a \
         relay: `postconf -e 'relayhost = [smtp.relay.example]:587'`\n\
         then: dkimctl doctor --only NET001",
    )
}

pub fn no_route(family: Family, peer: &str) -> Said {
    said(
        format!("there is no way to {peer} over {}: the network that mail leaves from leads nowhere", family.as_str()),
        "look at the container's networks: one marked `internal` has no way out (`docker network inspect NETWORK`)",
    )
}

pub fn untried(tries: &[&Tried]) -> Said {
    let why = |tried: &&Tried| match &tried.outcome {
        Port25::Unknown(why) | Port25::NotSmtp(why) => format!("{}: {why}", tried.peer),
        _ => tried.peer.clone(),
    };
    let whys: Vec<String> = tries.iter().map(why).collect();
    said(
        format!("port 25 could not be tried: {}", whys.join("; ")),
        "run it as root on the host of the container, or name another server to try: --peer mx.example.net",
    )
}

pub fn no_address(ports: &[Tried]) -> Said {
    let asked: Vec<&str> = ports.iter().map(|tried| tried.peer.as_str()).collect();
    let evidence = match asked.is_empty() {
        true => "the address that mail leaves from is not known".to_owned(),
        false => format!("the address that mail leaves from is not known: {} did not show it", asked.join(", ")),
    };
    said(evidence, "name it: dkimctl doctor --public-ip 203.0.113.10")
}

pub fn answered(ip: IpAddr) -> String {
    format!("the name servers of {ip}'s reverse zone answered")
}

pub fn unknown_reverse(ip: IpAddr, why: &str) -> Said {
    said(
        format!("the reverse name of {ip} could not be asked for, which is not a finding: {why}"),
        format!("ask again later: dig -x {ip} +trace"),
    )
}

pub fn unknown_forward(ip: IpAddr, pointer: &Pointer) -> Said {
    let Pointer { name, forward } = pointer;
    said(
        format!("whether {name} leads back to {ip} is not known: {}", forward.unknown.join("; ")),
        format!("ask again later: dig {} {name} +trace", record_type(ip)),
    )
}

pub fn no_reverse(address: &Address, exists: bool, helo: Option<&str>) -> Said {
    let ip = address.ip;
    let how = if exists { "its reverse zone has no PTR for it" } else { "NXDOMAIN" };
    said(
        format!(
            "{ip} has no reverse name ({how}){}. Most receivers defer or reject mail from such an address \
             (Gmail: 550 5.7.25)",
            seen_by(address)
        ),
        set_reverse(ip, helo),
    )
}

pub fn has_reverse(ip: IpAddr, pointers: &[Pointer]) -> String {
    let names: Vec<&str> = pointers.iter().map(|pointer| pointer.name.as_str()).collect();
    format!("{ip} is {}", names.join(", "))
}

pub fn confirmed(ip: IpAddr, name: &str) -> String {
    format!("{ip} is {name}, and {name} is {ip}")
}

pub fn unconfirmed(ip: IpAddr, pointers: &[&Pointer], helo: Option<&str>) -> Said {
    let each: Vec<String> = pointers.iter().map(|p| format!("{} is {}", p.name, addresses(&p.forward))).collect();
    let name = pointers.first().map_or("", |pointer| pointer.name.as_str());
    let or = match helo.filter(|helo| !helo.eq_ignore_ascii_case(name)) {
        Some(helo) => format!("\nor have the owner of the address set its reverse name to {helo}"),
        None => String::new(),
    };
    said(
        format!(
            "{ip} says that it is {name}, but the name does not lead back: {}. Anybody could claim that name, so \
             receivers believe neither (Gmail: 4.7.23)",
            each.join("; ")
        ),
        format!(
            "whoever keeps the zone of {name} adds: {name}. {} {ip}{or}\ncheck: dig +short {} {name}",
            record_type(ip),
            record_type(ip)
        ),
    )
}

pub fn one_name(ip: IpAddr) -> String {
    format!("{ip} has one reverse name")
}

pub fn several_confirmed(ip: IpAddr, count: usize) -> String {
    format!("{ip} has {count} reverse names, and each leads back to it")
}

pub fn several(ip: IpAddr, back: &[&Pointer], elsewhere: &[&Pointer], helo: Option<&str>) -> Said {
    let names = |pointers: &[&Pointer]| pointers.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
    let keep = helo.filter(|helo| back.iter().any(|p| p.name.eq_ignore_ascii_case(helo))).unwrap_or(&back[0].name);
    said(
        format!(
            "{ip} has several reverse names, and {} does not lead back to it (but {} does). Receivers pick one at \
             random, so some mail is refused and some is not",
            names(elsewhere),
            names(back)
        ),
        format!("have the owner of the address keep one reverse name only: {ip} -> {keep}\ncheck: dig +short -x {ip}"),
    )
}

pub fn generic(ip: IpAddr, name: &str, sign: &str, helo: Option<&str>) -> Said {
    said(
        format!(
            "the reverse name of {ip} looks machine-made: {name} ({sign}). Receivers treat such names like home \
             connections"
        ),
        set_reverse(ip, helo),
    )
}

pub fn own_name(name: &str) -> String {
    format!("{name} does not look machine-made")
}

pub fn helo_leads_here(helo: &str, ip: IpAddr) -> String {
    format!("mail leaves from {ip}, and {helo} is {ip}")
}

pub fn other_address(address: &Address, helo: &Helo) -> Said {
    let (ip, name) = (address.ip, &helo.name);
    let family = helo.forward.addresses.iter().filter(|other| Family::of(**other) == Family::of(ip));
    let family: Vec<String> = family.map(ToString::to_string).collect();
    let says = match family.is_empty() {
        true => format!("DNS has no {} record for {name}", record_type(ip)),
        false => format!("DNS says that {name} is {}", family.join(", ")),
    };
    let or = match family.first() {
        Some(other) => format!("\nor make mail leave from {other}: see `smtp_bind_address` and the host's SNAT rules"),
        None => String::new(),
    };
    said(
        format!("mail leaves from {ip}{}, but {says}", seen_by(address)),
        format!("add: {name}. {} {ip}{or}\ncheck: dig +short {} {name}", record_type(ip), record_type(ip)),
    )
}

pub fn unresolved(name: &str, why: &str) -> Said {
    said(format!("the addresses of {name} are not all known: {why}"), "ask again later")
}

pub fn ipv6_without_name(address: &Address, helo: Option<&str>) -> Said {
    let ip = address.ip;
    said(
        format!(
            "mail leaves by IPv6 from {ip}{}, which has no reverse name that leads back. Gmail rejects mail from such \
             addresses (550 5.7.1, 550 5.7.25), and IPv6 is tried first",
            seen_by(address)
        ),
        format!(
            "{}\nor send by IPv4 only: `postconf -e inet_protocols=ipv4` and restart (receivers that have IPv6 only \
             become unreachable)",
            set_reverse(ip, helo)
        ),
    )
}

pub fn listed(ip: IpAddr, zone: &str, codes: &[IpAddr], text: Option<&str>) -> Said {
    let codes: Vec<String> = codes.iter().map(ToString::to_string).collect();
    let text = text.map(|text| format!(": {text:.200}")).unwrap_or_default();
    said(
        format!("{ip} is on the list {zone} ({}){text}", codes.join(", ")),
        format!("find out why before asking to be taken off: https://{zone}"),
    )
}

pub fn not_listed(ip: IpAddr, zone: &str) -> String {
    format!("{ip} is not on {zone}")
}

pub fn unlisted(why: &str) -> Said {
    said(format!("not known: {why}"), "ask the list through a resolver of your own, not a public one")
}

/// Who can set a reverse name, and how it is checked.
fn set_reverse(ip: IpAddr, helo: Option<&str>) -> String {
    let name = helo
        .filter(|helo| !helo.starts_with('[') && crate::doctor::helo_name::fault(helo, "").is_none())
        .unwrap_or("mail.example.com");
    format!(
        "only the owner of the address can set it, in the panel of the server's provider (\"reverse DNS\"); neither \
         your zone nor Docker can: {ip} -> {name}\ncheck: dig +short -x {ip}"
    )
}

fn seen_by(address: &Address) -> String {
    match &address.known {
        Known::Echoed { peer } => format!(" (as {peer} saw it)"),
        Known::Own { peer } => format!(" (our end of a connection to {peer})"),
        Known::Configured => String::new(),
    }
}

fn addresses(forward: &Forward) -> String {
    let texts: Vec<String> = forward.addresses.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "nowhere".to_owned() } else { texts.join(", ") }
}

pub(super) fn record_type(ip: IpAddr) -> &'static str {
    if Family::of(ip) == Family::V4 { "A" } else { "AAAA" }
}

pub fn nobody_named() -> String {
    "no mail server was named to look from: --container NAME".to_owned()
}

pub fn no_container(why: &str) -> Said {
    said(format!("the container could not be looked at: {why}"), "docker ps shows the names of those that run")
}
