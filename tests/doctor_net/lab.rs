//! Three network namespaces: `box`, a container at 172.18.0.5 and fd00:18::5; `host`, its host, which translates its
//! addresses; `world`, with name servers at 203.0.113.25 and .27 and mail servers at .25 and .28.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl::doctor::inside::Inside;
use dkimctl::observe::lookup::Lookup;
use dkimctl::observe::{Config, Families};
use dkimctl_providers::wire::Options;

use crate::servers::servers_or_skip;
use crate::spaces::{Spaces, run};

pub struct Lab(Spaces);

/// Where something stands.
#[derive(Clone, Copy)]
pub enum At {
    Box,
    Host,
    World,
}

impl At {
    const ALL: [&str; 3] = ["box", "host", "world"];

    fn as_str(self) -> &'static str {
        At::ALL[self as usize]
    }
}

const IN_ADDR: &str = include_str!("zones/113.0.203.in-addr.arpa");
const CLASSLESS: &str = include_str!("zones/8-29.113.0.203.in-addr.arpa");
const IP6: &str = include_str!("zones/5.2.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
const COM: &str = include_str!("zones/example.com");
const NET: &str = include_str!("zones/example.net");

/// The resolver, which is the first name server too.
pub const RESOLVER: &str = "203.0.113.25:53";
pub const PEER: &str = "mx.example.net";

impl Lab {
    /// `None`, and a word about it, where network namespaces or servers are missing.
    pub fn start() -> Option<Lab> {
        if !servers_or_skip(&["named"]) {
            return None;
        }
        let mut lab = Lab(Spaces::start(&At::ALL)?);
        lab.wire();
        lab.serve_names();
        lab.serve_mail("203.0.113.25;2001:db8:25::25", "deny", &[]);
        Some(lab)
    }

    pub fn name(&self, at: At) -> String {
        self.0.name(at.as_str())
    }

    fn wire(&mut self) {
        let (bx, host, world) = (self.name(At::Box), self.name(At::Host), self.name(At::World));
        run(&["ip", "-n", &host, "link", "add", "br0", "type", "veth", "peer", "name", "eth0", "netns", &bx]);
        run(&["ip", "-n", &host, "link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", &world]);
        for (at, link, addresses) in [
            (At::Box, "eth0", &["172.18.0.5/24", "fd00:18::5/64"][..]),
            (At::Host, "br0", &["172.18.0.1/24", "fd00:18::1/64"]),
            (
                At::Host,
                "wan0",
                &["203.0.113.10/24", "203.0.113.11/24", "203.0.113.18/24", "2001:db8:25::10/64", "2001:db8:25::16/64"],
            ),
            (
                At::World,
                "eth0",
                &["203.0.113.25/24", "203.0.113.26/24", "203.0.113.27/24", "203.0.113.28/24", "2001:db8:25::25/64"],
            ),
        ] {
            self.0.addresses(at.as_str(), link, addresses);
        }
        run(&["ip", "-n", &bx, "route", "add", "default", "via", "172.18.0.1"]);
        run(&["ip", "-n", &bx, "-6", "route", "add", "default", "via", "fd00:18::1"]);
        self.run(At::Host, &["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
        // Queries to .26 vanish, as behind a firewall.
        self.nft(
            At::World,
            "table ip drops { chain in { type filter hook input priority 0; ip daddr 203.0.113.26 drop; }; }",
        );
        self.leave_from("203.0.113.10", "2001:db8:25::10");
    }

    /// What the container's connections look like from outside.
    pub fn leave_from(&self, v4: &str, v6: &str) {
        let _ = self.command(At::Host, &["nft", "delete", "table", "inet", "nat"]).stderr(Stdio::null()).status();
        self.nft(
            At::Host,
            &format!(
                "table inet nat {{ chain out {{ type nat hook postrouting priority 100; \
                 ip saddr 172.18.0.0/24 snat ip to {v4}; ip6 saddr fd00:18::/64 snat ip6 to {v6}; }}; }}"
            ),
        );
    }

    /// A firewall rule of the provider: what it does with packets to port 25.
    pub fn port_25(&self, family: &str, verdict: &str) {
        let rule = format!(
            "table {family} shut {{ chain out {{ type filter hook forward priority 0; tcp dport 25 {verdict}; }}; }}"
        );
        self.nft(At::Host, &rule);
    }

    /// The container loses its IPv6.
    pub fn without_ipv6(&self) {
        run(&["ip", "-n", &self.name(At::Box), "-6", "route", "del", "default"]);
    }

    fn nft(&self, at: At, text: &str) {
        self.0.nft(at.as_str(), text);
    }

    fn serve_names(&mut self) {
        let dir = self.0.path().to_owned();
        let zone = |file: &str, text: &str| fs::write(dir.join(file), text).unwrap();
        let soa = "$TTL 60\n@ SOA ns.example.net. hostmaster.example.net. 1 3600 600 86400 60\n@ NS ns.example.net.\n";
        zone("in-addr.arpa", &format!("{soa}113.0.203 NS ns.example.net.\n"));
        zone("ip6.arpa", &format!("{soa}5.2.0.0.8.b.d.0.1.0.0.2 NS ns.example.net.\n"));
        for (file, text) in [("in-addr", IN_ADDR), ("ip6", IP6), ("com", COM), ("net", NET)] {
            zone(file, &format!("{soa}{text}"));
        }
        zone("classless", &format!("{}{CLASSLESS}", soa.replace("NS ns.", "NS ns2.")));
        zone(
            "zen",
            &format!("{soa}2.0.0.127 A 127.0.0.2\n10.113.0.203 A 127.0.0.4\n10.113.0.203 TXT \"spam was seen\"\n"),
        );
        let options = |address: &str, recursion: &str| {
            format!(
                "options {{ directory {dir:?}; listen-on {{ {address}; }}; listen-on-v6 {{ none; }}; pid-file none; \
                 session-keyfile none; recursion {recursion}; allow-recursion {{ any; }}; dnssec-validation no; \
                 empty-zones-enable no; notify no; allow-query {{ any; }}; }}; controls {{ }};\n"
            )
        };
        let primary = |zone: &str, file: &str| format!("zone {zone:?} {{ type primary; file {file:?}; }};\n");
        let mut conf = options("203.0.113.25", "yes");
        for (zone, file) in [
            ("in-addr.arpa", "in-addr.arpa"),
            ("ip6.arpa", "ip6.arpa"),
            ("113.0.203.in-addr.arpa", "in-addr"),
            ("5.2.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "ip6"),
            ("example.com", "com"),
            ("example.net", "net"),
            ("zen.example.org", "zen"),
        ] {
            conf += &primary(zone, file);
        }
        // A copy that never came: SERVFAIL, as from a server that lost its zone.
        conf += "zone \"lame.example.net\" { type secondary; primaries { 203.0.113.25 port 54; }; file \"lame\"; };\n";
        zone("named.conf", &conf);
        zone("named2.conf", &(options("203.0.113.27", "no") + &primary("8/29.113.0.203.in-addr.arpa", "classless")));
        for (conf, address) in [("named.conf", "203.0.113.25:53"), ("named2.conf", "203.0.113.27:53")] {
            let conf = dir.join(conf).display().to_string();
            self.0.spawn("world", conf.rsplit('/').next().unwrap(), &["named", "-g", "-4", "-n", "1", "-c", &conf]);
            self.0.wait_for_port("world", address);
        }
    }

    /// A Knot at .28 that has no zone, hands out cookies, and is ten minutes ahead. (BIND's allocator and libfaketime do
    /// not get on.)
    pub fn serve_names_late(&mut self) {
        let dir = self.0.directory("late").display().to_string();
        let conf = format!("{dir}/knot.conf");
        let text = format!(
            "server:\n  listen: 203.0.113.28@53\n  rundir: {dir}\ndatabase:\n  storage: {dir}\n\
             template:\n  - id: default\n    global-module: mod-cookies\n"
        );
        fs::write(&conf, text).unwrap();
        self.0.spawn("world", "late.conf", &["faketime", "-m", "-f", "+10m", "knotd", "-c", &conf]);
        self.0.wait_for_port("world", "203.0.113.28:53");
    }

    /// An Exim that takes EHLO, and denies or accepts recipients. `before` comes before its name: another clock.
    pub fn serve_mail(&mut self, addresses: &str, verdict: &str, before: &[&str]) {
        self.0.serve_mail("world", PEER, addresses, verdict, before);
    }

    /// A command that is to run somewhere.
    pub fn command(&self, at: At, argv: &[&str]) -> Command {
        self.0.command(at.as_str(), argv)
    }

    fn run(&self, at: At, argv: &[&str]) {
        self.0.run(at.as_str(), argv);
    }

    /// A directory that ends with the laboratory.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.0.directory(name)
    }

    /// The container's first process.
    pub fn start_in_box(&mut self) -> u32 {
        let child = self.0.spawn("box", "first", &["sleep", "600"]);
        // It is in the box when `ip` has become what it was told to run.
        let is_there = || fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "sleep");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_there() {
            assert!(Instant::now() < deadline, "the container's process does not start");
            thread::sleep(Duration::from_millis(10));
        }
        child
    }

    /// Calls `act` where it stands.
    pub fn inside<T: Send>(&self, at: At, act: impl FnOnce() -> T + Send) -> T {
        self.0.inside(at.as_str(), act)
    }

    /// The container, as the doctor on the host gets into it.
    pub fn container(&self) -> Inside {
        Inside { network: Some(self.0.netns("box")), ..Inside::here() }
    }

    /// The container, for somebody who is not allowed to enter its network but may run commands in it.
    pub fn container_by_commands(&self) -> Inside {
        Inside { exec: ["ip", "netns", "exec", &self.name(At::Box)].map(String::from).to_vec(), ..Inside::here() }
    }

    /// Name servers are asked from the host.
    pub fn lookup() -> Lookup {
        Lookup::new(Config {
            resolvers: vec![RESOLVER.parse().unwrap()],
            families: Families { v4: true, v6: false },
            options: Options { timeout: Duration::from_millis(400), tries: 2, ..Options::default() },
            ..Config::default()
        })
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
