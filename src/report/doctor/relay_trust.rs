//! RELAY001, RELAY002, IP6002, IP6003.

use std::net::IpAddr;

use crate::doctor::container::Published;
use crate::doctor::finding::{Place, Said};
use crate::doctor::postfix::networks::Network;

pub fn world(value: &str, world: Network) -> Said {
    Said {
        evidence: format!("`mynetworks = {value}`: {world} lets anybody send anything to everybody"),
        fix: "name the app's exact subnet: mynetworks = 127.0.0.0/8 [::1]/128 172.30.25.0/24".to_owned(),
    }
}

pub fn not_the_world(value: &str) -> String {
    format!("mynetworks = {value}")
}

pub fn nothing_published(name: &str) -> String {
    format!("{name} publishes no mail port beyond this host")
}

pub fn bridge_not_trusted(value: &str) -> String {
    format!("a mail port is published, and the bridge is not among mynetworks = {value}")
}

pub fn not_permitted() -> String {
    "a mail port is published, and mynetworks gives no right to relay".to_owned()
}

pub fn unread(tables: &[String]) -> Said {
    Said {
        evidence: format!("mynetworks has {}, which was not read", tables.join(", ")),
        fix: "write the subnets into main.cf itself, or test: dkimctl explain RELAY001".to_owned(),
    }
}

fn port(target: Option<(u16, u16)>) -> String {
    match target {
        Some((first, last)) if first == last => first.to_string(),
        Some((first, last)) => format!("{first}-{last}"),
        None => "?".to_owned(),
    }
}

fn close(port: &str, subnet: Option<String>) -> String {
    let subnet = subnet.unwrap_or_else(|| "172.30.25.0/24 (the app's own, fixed under `networks:`)".to_owned());
    format!(
        "publish nothing, or `ports: [\"127.0.0.1:{port}:{port}\"]`\n\
         and trust the app's subnet alone: mynetworks = 127.0.0.0/8 [::1]/128 {subnet}"
    )
}

pub fn open_relay(
    service: &str,
    target: Option<(u16, u16)>,
    trusted: Network,
    written: &Place,
    subnet: Option<Network>,
) -> Said {
    let port = port(target);
    Said {
        evidence: format!(
            "open relay: service {service} publishes port {port} on every address, and mynetworks ({written}) trusts \
             {trusted}, the bridge\nwhoever comes by IPv6 arrives as 172.x.0.1, and may send anything to anybody"
        ),
        fix: close(&port, subnet.map(|subnet| format!("{subnet}, and not with a published port"))),
    }
}

pub fn open_relay_in_force(published: &Published, gateway: IpAddr, trusted: Network, own: &[IpAddr]) -> Said {
    let Published { port, host_ip, host_port } = published;
    let host = if host_ip.is_empty() { "every address" } else { host_ip };
    let own: Vec<String> = own.iter().map(|ip| format!("{ip}/32")).collect();
    Said {
        evidence: format!(
            "open relay: port {port} is published on {host} as {host_port}, and mynetworks trusts {trusted}, which has \
             the bridge {gateway}\nwhoever the engine's proxy lets in arrives as {gateway}, and may send anything to anybody"
        ),
        fix: close(
            &port.to_string(),
            own.first().map(|_| "and the app's own addresses, without the bridge".to_owned()),
        ),
    }
}

pub fn docker_permitted(value: &str, target: Option<(u16, u16)>) -> Said {
    let port = port(target);
    Said {
        evidence: format!(
            "`PERMIT_DOCKER={value}` trusts the bridge, and port {port} is published on every address: whoever comes by \
             IPv6 arrives as the bridge, and may relay"
        ),
        fix: "PERMIT_DOCKER=none, and let the app authenticate on port 587".to_owned(),
    }
}

pub fn not_asked(why: &str) -> Said {
    Said { evidence: format!("could not be looked at: {why}"), fix: String::new() }
}

pub fn needless_ipv6(protocols: &str) -> Said {
    Said {
        evidence: format!(
            "`inet_protocols = {protocols}`, and the container has no IPv6: harmless, but each host with an AAAA record \
             is tried in vain first"
        ),
        fix: "inet_protocols = ipv4".to_owned(),
    }
}

pub fn protocols_fit(protocols: &str) -> String {
    format!("inet_protocols = {protocols} fits the container's network")
}

pub fn no_proxied_ipv6() -> String {
    "nobody from outside comes in by IPv6 through the engine's proxy".to_owned()
}

pub fn aaaa_not_asked(name: &str) -> String {
    format!("whether {name} has an AAAA record was not asked")
}

pub fn proxied_ipv6(published: &Published, name: &str) -> Said {
    Said {
        evidence: format!(
            "{name} has an AAAA record, port {} is published on [{}], and the container has no IPv6: the engine's proxy \
             hides every client behind the bridge's address",
            published.port, published.host_ip
        ),
        fix: proxied_fix(published),
    }
}

pub fn proxied_ipv6_unnamed(published: &Published) -> Said {
    Said {
        evidence: format!(
            "port {} is published on [{}], and the container has no IPv6: the engine's proxy hides every client behind \
             the bridge's address",
            published.port, published.host_ip
        ),
        fix: proxied_fix(published),
    }
}

fn proxied_fix(published: &Published) -> String {
    format!("publish on 127.0.0.1 or 0.0.0.0: ports: [\"127.0.0.1:{0}:{0}\"]", published.port)
}
