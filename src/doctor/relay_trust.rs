//! RELAY001, RELAY002, IP6002, IP6003: who may send through the server, and by which way they come.

use std::net::IpAddr;

use super::compose::interpolate::Text;
use super::container::{Container, Published};
use super::finding::{Findings, Place, Severity, Tier};
use super::patient::Patient;
use super::postfix::effective::Effective;
use super::postfix::networks::{Network, Networks};
use super::written::Mta;
use crate::report::doctor::relay_trust as said;
use crate::spf::resolver::{Kind as Record, QueryName, Recursive, Reply, Resolver as _};

/// What the checks are about, at every tier.
pub const NETWORKS: &str = "mynetworks";

const MAIL_PORTS: &[u16] = &[25, 465, 587, 2525];

pub fn examine(patient: &Patient, findings: &mut Findings) {
    for mta in patient.written().mtas() {
        written(&mta, findings);
    }
    for (path, main) in &patient.written().main_cfs {
        if let Some(entry) = main.get("mynetworks")
            && let Some(world) = main.expanded("mynetworks").and_then(|value| Networks::parse(&value).world())
        {
            let place = Place::line(path.display().to_string(), entry.line);
            findings.found("RELAY002", Tier::Files, NETWORKS, said::world(&entry.value, world)).at(place);
        }
    }
    in_force(patient, findings);
}

fn written(mta: &Mta<'_>, findings: &mut Findings) {
    let on_host = mta.service.network_mode.as_ref().is_some_and(|mode| mode.value.text == "host");
    let ports = mta.service.ports.iter().filter(|port| MAIL_PORTS.iter().any(|&mail| port.has(mail)));
    let open = ports.filter(|port| port.is_loopback() == Some(false)).collect::<Vec<_>>();
    let by_variable = mta.service.environment.iter().find_map(|variable| {
        let name = variable.name.to_ascii_uppercase();
        let value = variable.value.as_ref()?.known()?;
        match name.as_str() {
            "POSTFIX_MYNETWORKS" | "MYNETWORKS" | "RELAY_NETWORKS" | "SMTP_NETWORKS" if reads_variables(mta) => {
                Some((variable, value.to_owned()))
            }
            _ => None,
        }
    });
    let by_main = mta.main_cf().and_then(|(path, main)| Some((path, main, main.get("mynetworks")?)));
    let (value, place) = match (&by_main, &by_variable) {
        (_, Some((variable, value))) => (Some(value.clone()), mta.project.place(variable.origin)),
        (Some((path, main, entry)), None) => {
            (main.expanded("mynetworks"), Place::line(path.display().to_string(), entry.line))
        }
        (None, None) => {
            docker_trusted(mta, &open, findings);
            return;
        }
    };
    let Some(value) = value else { return };
    let networks = Networks::parse(&value);
    if by_variable.is_some()
        && let Some(world) = networks.world()
    {
        findings.found("RELAY002", Tier::Files, NETWORKS, said::world(&value, world)).at(place.clone());
    }
    if networks.world().is_none() && networks.unread.is_empty() {
        findings.ok("RELAY002", Tier::Files, NETWORKS, said::not_the_world(&value));
    }
    if on_host || !relays_by_networks(mta) {
        return;
    }
    let Some(port) = open.first() else {
        findings.ok("RELAY001", Tier::Files, NETWORKS, said::nothing_published(&mta.service.name));
        return;
    };
    match bridge_let_in(mta, &networks) {
        Some(network) => {
            let said = said::open_relay(&mta.service.name, port.target, network, &place, own_subnet(mta));
            findings.found("RELAY001", Tier::Files, NETWORKS, said).at(mta.project.place(port.origin));
        }
        None if networks.unread.is_empty() => {
            findings.ok("RELAY001", Tier::Files, NETWORKS, said::bridge_not_trusted(&value));
        }
        None => {
            findings.unknown("RELAY001", Tier::Files, NETWORKS, said::unread(&networks.unread)).at(place);
        }
    }
}

/// docker-mailserver's own word for trusting the bridge.
fn docker_trusted(mta: &Mta<'_>, open: &[&super::compose::model::Port], findings: &mut Findings) {
    let permits = mta.service.variable("PERMIT_DOCKER");
    if let (Some(variable), Some(port)) = (permits, open.first())
        && let Some(value) = variable.value.as_ref().and_then(Text::known)
        && ["network", "connected-networks"].contains(&value)
    {
        findings
            .found("RELAY001", Tier::Files, NETWORKS, said::docker_permitted(value, port.target))
            .weighing(Severity::Warn)
            .at(mta.project.place(variable.origin));
    }
}

/// Whether anything in the container turns such variables into configuration.
fn reads_variables(mta: &Mta<'_>) -> bool {
    !mta.is_plain() || mta.mentions("POSTFIX_") || mta.mentions("MYNETWORKS")
}

/// Restrictions of one's own may leave `permit_mynetworks` out.
fn relays_by_networks(mta: &Mta<'_>) -> bool {
    let Some((_, main)) = mta.main_cf() else { return true };
    let restrictions = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_client_restrictions"];
    match main.value(restrictions[0]) {
        Some(relay) => relay.contains("permit_mynetworks"),
        None => {
            let mut others = restrictions[1..].iter().filter_map(|name| main.value(name)).peekable();
            // Postfix's default permits them.
            others.peek().is_none()
                || others.any(|value| value.contains("permit_mynetworks"))
                || main.value("smtpd_relay_restrictions").is_none()
        }
    }
}

/// The entry that trusts the bridge of the service's network.
fn bridge_let_in(mta: &Mta<'_>, networks: &Networks) -> Option<Network> {
    let subnets = subnets(mta);
    if subnets.is_empty() {
        return networks.lets_in_any_bridge();
    }
    subnets.iter().filter_map(Network::gateway).find_map(|gateway| networks.lets_in(gateway))
}

fn subnets(mta: &Mta<'_>) -> Vec<Network> {
    let names: Vec<&str> = match mta.service.networks.as_slice() {
        [] => vec!["default"],
        names => names.iter().map(String::as_str).collect(),
    };
    let texts = names.iter().filter_map(|name| mta.project.subnets.get(*name)).flatten();
    texts.filter_map(|text| Network::parse(text.known()?)).collect()
}

fn own_subnet(mta: &Mta<'_>) -> Option<Network> {
    subnets(mta).into_iter().find(|network| network.address.is_ipv4())
}

fn in_force(patient: &Patient, findings: &mut Findings) {
    let postfix = match patient.postfix() {
        Ok(Some(postfix)) => postfix,
        Ok(None) => return,
        Err(why) => {
            for id in ["RELAY001", "RELAY002"] {
                findings.unknown(id, Tier::Effective, NETWORKS, said::not_asked(why));
            }
            return;
        }
    };
    let Some(container) = patient.container.there() else { return };
    let value = postfix.value("mynetworks");
    let networks = Networks::parse(value);
    match networks.world() {
        Some(world) => {
            findings.found("RELAY002", Tier::Effective, NETWORKS, said::world(value, world));
        }
        None if networks.unread.is_empty() => {
            findings.ok("RELAY002", Tier::Effective, NETWORKS, said::not_the_world(value));
        }
        None => {
            findings.unknown("RELAY002", Tier::Effective, NETWORKS, said::unread(&networks.unread));
        }
    }
    let open: Vec<Published> = container.published().into_iter().filter(is_open_mail_port).collect();
    relay_in_force(container, postfix, &networks, &open, findings);
    by_ipv6(patient, container, postfix, &open, findings);
}

fn is_open_mail_port(published: &Published) -> bool {
    let loopback = published.host_ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    MAIL_PORTS.contains(&published.port) && !loopback
}

fn relay_in_force(
    container: &Container,
    postfix: &Effective,
    networks: &Networks,
    open: &[Published],
    findings: &mut Findings,
) {
    let permits = ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"]
        .iter()
        .any(|name| postfix.value(name).contains("permit_mynetworks"));
    let Some(port) = open.first() else {
        return findings.ok("RELAY001", Tier::Effective, NETWORKS, said::nothing_published(&container.name));
    };
    if !permits {
        return findings.ok("RELAY001", Tier::Effective, NETWORKS, said::not_permitted());
    }
    let trusted = container.gateways().into_iter().find_map(|ip| Some((ip, networks.lets_in(ip)?)));
    match trusted {
        Some((gateway, network)) => {
            let said = said::open_relay_in_force(port, gateway, network, &container.addresses());
            let finding = findings.found("RELAY001", Tier::Effective, NETWORKS, said);
            // By IPv4 the engine usually keeps the client's address; by IPv6 its proxy never does.
            if !open.iter().any(|port| port.host_ip.contains(':') || port.host_ip.is_empty()) {
                finding.weighing(Severity::Error);
            }
        }
        None if networks.unread.is_empty() => {
            findings.ok("RELAY001", Tier::Effective, NETWORKS, said::bridge_not_trusted(postfix.value("mynetworks")));
        }
        None => {
            findings.unknown("RELAY001", Tier::Effective, NETWORKS, said::unread(&networks.unread));
        }
    }
}

fn by_ipv6(patient: &Patient, container: &Container, postfix: &Effective, open: &[Published], findings: &mut Findings) {
    if container.network_mode() == "host" {
        return;
    }
    let own = container.addresses().iter().any(IpAddr::is_ipv6);
    let protocols = postfix.value("inet_protocols");
    if !own && (protocols.contains("all") || protocols.contains("ipv6")) {
        findings.found("IP6003", Tier::Effective, "inet_protocols", said::needless_ipv6(protocols));
    } else {
        findings.ok("IP6003", Tier::Effective, "inet_protocols", said::protocols_fit(protocols));
    }
    let Some(port) = open.iter().find(|port| port.host_ip.contains(':')).filter(|_| !own) else {
        return findings.ok("IP6002", Tier::Effective, "published ports", said::no_proxied_ipv6());
    };
    let name = postfix.value("myhostname");
    let resolver = patient.resolvers.first().filter(|_| !patient.offline).map(|&server| Recursive::new(server));
    let asked = resolver.and_then(|resolver| Some(resolver.ask(&QueryName::parse(name)?, Record::Aaaa)));
    match asked {
        None => findings.skip("IP6002", "published ports", said::aaaa_not_asked(name)),
        Some(Reply::Found(_)) => {
            findings.found("IP6002", Tier::Effective, "published ports", said::proxied_ipv6(port, name));
        }
        // Without the record nobody is led there; whoever scans addresses finds it all the same.
        Some(Reply::Nothing { .. }) => {
            findings
                .found("IP6002", Tier::Effective, "published ports", said::proxied_ipv6_unnamed(port))
                .weighing(Severity::Info);
        }
        Some(Reply::Failed(why)) => {
            findings.unknown("IP6002", Tier::Effective, "published ports", said::not_asked(&why));
        }
    }
}

#[cfg(test)]
#[path = "relay_trust_tests.rs"]
mod tests;
