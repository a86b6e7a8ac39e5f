//! The world outside the host, in a network namespace of its own: a mail server that takes port 25, says from where it was
//! reached, and greets with its time. Containers get there by the engine's own way out, from 198.18.78.10 (RFC 2544, as the
//! laboratory's other addresses: nobody's here).

use crate::lab::{DOMAIN, HOSTNAME, NAMES};
use crate::servers::TestZone;
use crate::spaces::{Spaces, run};

/// What the world sees of a container that sends by IPv4.
pub const V4: &str = "198.18.78.10";
/// The mail host's own, where it has IPv6: nobody translates it.
pub const V6: &str = "2001:db8:77::5";
pub const V6_NETWORK: &str = "2001:db8:77::/64";
pub const PEER: &str = "mx.peer.example";
pub const PTR4: &str = "10.78.18.198.in-addr.arpa";
pub const PTR6: &str = "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.7.7.0.0.8.b.d.0.1.0.0.2.ip6.arpa";

/// With its namespace its end of the link goes, and with that the other end here.
pub struct World(#[allow(dead_code)] Spaces);

impl World {
    /// `None`, and a word about it, where network namespaces or an Exim are missing.
    pub fn start() -> Option<World> {
        let mut spaces = Spaces::start(&["w"])?;
        let (link, world) = (spaces.name("h"), spaces.name("w"));
        run(&["ip", "link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &world]);
        for address in ["198.18.78.10/24", "2001:db8:25::10/64"] {
            run(&["ip", "addr", "add", address, "dev", &link, "nodad"]);
        }
        run(&["ip", "link", "set", &link, "up"]);
        spaces.addresses("w", "eth0", &["198.18.78.25/24", "2001:db8:25::25/64"]);
        run(&["ip", "-n", &world, "-6", "route", "add", V6_NETWORK, "via", "2001:db8:25::10"]);
        spaces.serve_mail("w", PEER, "198.18.78.25;2001:db8:25::25", "deny", &[]);
        Some(World(spaces))
    }

    /// The records that dns.txt of the stack asks for, a mailbox for reports, the reverse names, and the peer's; and what
    /// else is asked for out there.
    pub fn zones(ipv6: bool) -> Vec<TestZone> {
        let zone = |name: &str, records: &str| {
            let mut zone = TestZone::new(name).with(records);
            zone.nameservers = format!("@ NS ns.{DOMAIN}.\n");
            zone
        };
        let (aaaa, spf) = match ipv6 {
            true => (format!("mail AAAA {V6}\n"), format!("ip4:{V4} ip6:{V6}")),
            false => (String::new(), format!("ip4:{V4}")),
        };
        vec![
            zone(
                DOMAIN,
                &format!(
                    "mail A {V4}\n{aaaa}@ TXT \"v=spf1 {spf} -all\"\n@ MX 10 mx.peer.example.\n\
                     _dmarc TXT \"v=DMARC1; p=none; rua=mailto:dmarc@{DOMAIN}\""
                ),
            ),
            zone("78.18.198.in-addr.arpa", &format!("10 PTR {HOSTNAME}.\n25 PTR {PEER}.")),
            zone("8.b.d.0.1.0.0.2.ip6.arpa", &format!("{PTR6}. PTR {HOSTNAME}.")),
            zone("peer.example", "mx A 198.18.78.25\nmx AAAA 2001:db8:25::25"),
            // Whatever else is asked for is not there: libraries in the image hold keys for their own tests, whose files'
            // names look like domains.
            zone(".", &format!("{DOMAIN}. NS ns.{DOMAIN}.\nns.{DOMAIN}. A {NAMES}")),
        ]
    }
}
