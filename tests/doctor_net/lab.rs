//! Three network namespaces: `box`, a container at 172.18.0.5 and fd00:18::5; `host`, its host, which translates its
//! addresses; `world`, with name servers at 203.0.113.25 and .27 and mail servers at .25 and .28.
//!
//! Everything has a name that only this process and this laboratory use, and ends with the value.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl::doctor::inside::Inside;
use dkimctl::observe::lookup::Lookup;
use dkimctl::observe::{Config, Families};
use dkimctl_providers::wire::Options;

use crate::servers::{servers_or_skip, skip};

pub struct Lab {
    prefix: String,
    children: Vec<Child>,
    dir: tempfile::TempDir,
}

/// Where something stands.
#[derive(Clone, Copy)]
pub enum At {
    Box,
    Host,
    World,
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
        if !nix::unistd::geteuid().is_root() {
            skip("this needs root, for network namespaces");
            return None;
        }
        if !servers_or_skip(&["named", "ip", "nft", "faketime"]) {
            return None;
        }
        if exim().is_none() {
            skip("there is no exim4; tests/run unpacks one");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("dk{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut lab = Lab { prefix, children: Vec::new(), dir: tempfile::tempdir().unwrap() };
        let probe = Command::new("ip").args(["netns", "add", &lab.name(At::Box)]).output().unwrap();
        if !probe.status.success() {
            skip("network namespaces are not allowed here");
            return None;
        }
        lab.wire();
        lab.serve_names();
        lab.serve_mail("exim", "203.0.113.25;2001:db8:25::25", "deny", &[]);
        Some(lab)
    }

    pub fn name(&self, at: At) -> String {
        let what = match at {
            At::Box => "box",
            At::Host => "host",
            At::World => "world",
        };
        format!("{}{what}", self.prefix)
    }

    fn wire(&mut self) {
        for at in [At::Host, At::World] {
            run(&["ip", "netns", "add", &self.name(at)]);
        }
        let (bx, host, world) = (self.name(At::Box), self.name(At::Host), self.name(At::World));
        run(&["ip", "-n", &host, "link", "add", "br0", "type", "veth", "peer", "name", "eth0", "netns", &bx]);
        run(&["ip", "-n", &host, "link", "add", "wan0", "type", "veth", "peer", "name", "eth0", "netns", &world]);
        // Duplicate address detection takes a second, in which an address cannot be used.
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
            let name = self.name(at);
            for address in addresses {
                run(&["ip", "-n", &name, "addr", "add", address, "dev", link, "nodad"]);
            }
            run(&["ip", "-n", &name, "link", "set", link, "up"]);
            run(&["ip", "-n", &name, "link", "set", "lo", "up"]);
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
        let file = self.dir.path().join("rules.nft");
        fs::write(&file, text).unwrap();
        self.run(at, &["nft", "-f", &file.display().to_string()]);
    }

    fn serve_names(&mut self) {
        let dir = self.dir.path().to_owned();
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
            self.spawn(At::World, conf.rsplit('/').next().unwrap(), &["named", "-g", "-4", "-n", "1", "-c", &conf]);
            self.wait_for_port(address);
        }
    }

    /// An Exim that takes EHLO, and denies or accepts recipients. `before` comes before its name: another clock.
    pub fn serve_mail(&mut self, name: &str, addresses: &str, verdict: &str, before: &[&str]) {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        let conf = dir.join("exim.conf");
        let text = format!(
            "primary_hostname = {PEER}\nspool_directory = {}\nlog_file_path = {}/%slog\nlocal_interfaces = <; {addresses}\n\
             daemon_smtp_ports = 25\nrfc1413_query_timeout = 0s\nkeep_environment =\ntls_advertise_hosts =\n\
             host_lookup =\nhelo_lookup_domains =\n\
             acl_smtp_rcpt = recipients\nbegin acl\nrecipients:\n  {verdict}\n",
            dir.display(),
            dir.display(),
        );
        fs::write(&conf, text).unwrap();
        // It gives up root, and looks at its directories all the same.
        open_to_all(self.dir.path());
        open_to_all(&dir);
        let conf = conf.display().to_string();
        let argv: Vec<&str> = before.iter().copied().chain([exim().unwrap(), "-C", &conf, "-bdf"]).collect();
        self.spawn(At::World, name, &argv);
        let address = format!("{}:25", addresses.split(';').next().unwrap());
        self.wait_for_port(&address);
        // It listens before it has read all its certificates, and greets after.
        let greeting = || {
            let mut greeting = [0; 3];
            let mut stream = std::net::TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.read_exact(&mut greeting).map(|()| greeting)
        };
        let greeting: std::io::Result<[u8; 3]> = self.inside(At::World, greeting);
        assert_eq!(greeting.unwrap(), *b"220", "{}", self.logs());
    }

    /// A command that is to run somewhere.
    pub fn command(&self, at: At, argv: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(at)]).args(argv);
        command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin");
        command
    }

    fn run(&self, at: At, argv: &[&str]) {
        let out = self.command(at, argv).output().unwrap();
        assert!(out.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    /// Starts a server, which writes into a log of its own. `ip netns exec` becomes it, so that its pid is known.
    fn spawn(&mut self, at: At, name: &str, argv: &[&str]) {
        let log = File::create(self.dir.path().join(format!("{name}.log"))).unwrap();
        let child =
            self.command(at, argv).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.children.push(child);
    }

    /// A directory that ends with the laboratory.
    pub fn directory(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        dir
    }

    /// The container's first process.
    pub fn start_in_box(&mut self) -> u32 {
        self.spawn(At::Box, "first", &["sleep", "600"]);
        let child = self.children.last().unwrap().id();
        // It is in the box when `ip` has become what it was told to run.
        let is_there = || fs::read_to_string(format!("/proc/{child}/comm")).is_ok_and(|name| name.trim() == "sleep");
        let deadline = Instant::now() + Duration::from_secs(10);
        while !is_there() {
            assert!(Instant::now() < deadline, "the container's process does not start");
            thread::sleep(Duration::from_millis(10));
        }
        child
    }

    fn wait_for_port(&self, address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let open = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok();
        while !self.inside(At::World, open) {
            assert!(Instant::now() < deadline, "nothing listens at {address}:\n{}", self.logs());
            thread::sleep(Duration::from_millis(30));
        }
    }

    fn logs(&self) -> String {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|path| format!("{}:\n{}", path.display(), fs::read_to_string(&path).unwrap_or_default())).collect()
    }

    /// Calls `act` where it stands.
    pub fn inside<T: Send>(&self, at: At, act: impl FnOnce() -> T + Send) -> T {
        Inside { network: Some(self.netns(at)), ..Inside::here() }.in_network(act).unwrap()
    }

    fn netns(&self, at: At) -> PathBuf {
        PathBuf::from("/run/netns").join(self.name(at))
    }

    /// The container, as the doctor on the host gets into it.
    pub fn container(&self) -> Inside {
        Inside { network: Some(self.netns(At::Box)), ..Inside::here() }
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

impl Drop for Lab {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for at in [At::Box, At::Host, At::World] {
            // What a child started itself (faketime does) is in a namespace that only this laboratory has.
            let left = Command::new("ip").args(["netns", "pids", &self.name(at)]).output();
            let left = left.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
            for pid in left.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
            let _ = Command::new("ip").args(["netns", "del", &self.name(at)]).stderr(Stdio::null()).status();
        }
    }
}

/// Exim as Debian builds it. It cannot be installed beside Postfix, so tests/run unpacks it elsewhere.
fn exim() -> Option<&'static str> {
    let places = ["/usr/sbin/exim4", "/opt/dkimctl-test-exim/usr/sbin/exim4"];
    places.into_iter().find(|place| Path::new(place).exists())
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
}

fn run(argv: &[&str]) {
    let out = Command::new(argv[0]).args(&argv[1..]).output().unwrap();
    assert!(out.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&out.stderr));
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
