//! Network namespaces of a laboratory, and the servers that stand in them.
//!
//! Everything has a name that only this process and this laboratory use, and ends with the value.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl::doctor::inside::Inside;

use crate::servers::{servers_or_skip, skip};

/// Namespaces by what they stand for: `world`, `box`.
pub struct Spaces {
    prefix: String,
    names: Vec<String>,
    children: Vec<Child>,
    dir: tempfile::TempDir,
}

impl Spaces {
    /// `None`, and a word about it, where network namespaces or servers are missing.
    pub fn start(what: &[&str]) -> Option<Spaces> {
        if !nix::unistd::geteuid().is_root() {
            skip("this needs root, for network namespaces");
            return None;
        }
        if !servers_or_skip(&["ip", "nft", "faketime"]) {
            return None;
        }
        if exim().is_none() {
            skip("there is no exim4; tests/run unpacks one");
            return None;
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("dk{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let mut spaces = Spaces { prefix, names: Vec::new(), children: Vec::new(), dir: tempfile::tempdir().unwrap() };
        for what in what {
            let name = spaces.name(what);
            if !Command::new("ip").args(["netns", "add", &name]).output().unwrap().status.success() {
                skip("network namespaces are not allowed here");
                return None;
            }
            spaces.names.push(name.clone());
            run(&["ip", "-n", &name, "link", "set", "lo", "up"]);
        }
        Some(spaces)
    }

    pub fn name(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }

    /// Gives a link addresses, and takes it into use. Without duplicate address detection, which takes a second in which
    /// an address cannot be used.
    pub fn addresses(&self, what: &str, link: &str, addresses: &[&str]) {
        let name = self.name(what);
        for address in addresses {
            run(&["ip", "-n", &name, "addr", "add", address, "dev", link, "nodad"]);
        }
        run(&["ip", "-n", &name, "link", "set", link, "up"]);
    }

    /// A command that is to run somewhere.
    pub fn command(&self, what: &str, argv: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(what)]).args(argv);
        command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin");
        command
    }

    pub fn run(&self, what: &str, argv: &[&str]) {
        let out = self.command(what, argv).output().unwrap();
        assert!(out.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&out.stderr));
    }

    pub fn nft(&self, what: &str, text: &str) {
        let file = self.dir.path().join("rules.nft");
        fs::write(&file, text).unwrap();
        self.run(what, &["nft", "-f", &file.display().to_string()]);
    }

    /// Starts a server, which writes into a log of its own. `ip netns exec` becomes it, so that its pid is known.
    pub fn spawn(&mut self, what: &str, name: &str, argv: &[&str]) -> u32 {
        let log = File::create(self.dir.path().join(format!("{name}.log"))).unwrap();
        let child =
            self.command(what, argv).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let pid = child.id();
        self.children.push(child);
        pid
    }

    /// An Exim that calls itself `host`, takes EHLO, and denies or accepts recipients. `before` comes before its name:
    /// another clock.
    pub fn serve_mail(&mut self, what: &str, host: &str, addresses: &str, verdict: &str, before: &[&str]) {
        let server = addresses.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        let dir = self.directory(&server);
        let conf = dir.join("exim.conf");
        let text = format!(
            "primary_hostname = {host}\nspool_directory = {}\nlog_file_path = {}/%slog\nlocal_interfaces = <; {addresses}\n\
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
        self.spawn(what, &server, &argv);
        let address = format!("{}:25", addresses.split(';').next().unwrap());
        self.wait_for_port(what, &address);
        // It listens before it has read all its certificates, and greets after.
        let greeting = || {
            let mut greeting = [0; 3];
            let mut stream = TcpStream::connect(&address)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.read_exact(&mut greeting).map(|()| greeting)
        };
        let greeting: std::io::Result<[u8; 3]> = self.inside(what, greeting);
        assert_eq!(greeting.unwrap(), *b"220", "{}", self.logs());
    }

    /// The directory of the whole laboratory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A directory that ends with the laboratory.
    pub fn directory(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).unwrap();
        dir
    }

    pub fn wait_for_port(&self, what: &str, address: &str) {
        let address: SocketAddr = address.parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let open = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).is_ok();
        while !self.inside(what, open) {
            assert!(Instant::now() < deadline, "nothing listens at {address}:\n{}", self.logs());
            thread::sleep(Duration::from_millis(30));
        }
    }

    pub fn logs(&self) -> String {
        let files = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.map(|path| format!("{}:\n{}", path.display(), fs::read_to_string(&path).unwrap_or_default())).collect()
    }

    /// Calls `act` where it stands.
    pub fn inside<T: Send>(&self, what: &str, act: impl FnOnce() -> T + Send) -> T {
        Inside { network: Some(self.netns(what)), ..Inside::here() }.in_network(act).unwrap()
    }

    pub fn netns(&self, what: &str) -> PathBuf {
        PathBuf::from("/run/netns").join(self.name(what))
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        for name in &self.names {
            // What a child started itself (faketime does) is in a namespace that only this laboratory has.
            let left = Command::new("ip").args(["netns", "pids", name]).output();
            let left = left.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default();
            for pid in left.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
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

pub fn run(argv: &[&str]) {
    let out = Command::new(argv[0]).args(&argv[1..]).output().unwrap();
    assert!(out.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&out.stderr));
}
