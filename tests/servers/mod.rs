//! Real name servers for tests: started on a free port of 127.0.0.1 in a directory of their own, ended on drop.
//!
//! A server counts as ready when it serves a nonce that only this start knows. Waiting for the port would not do:
//! named shares a port with another named in silence (SO_REUSEPORT), and half of the questions would go astray.
#![allow(dead_code, unused_imports)] // each test program uses a part

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl_providers::wire::{self, Answer, Options};
use hickory_proto::rr::{Name, RData, RecordType};

pub mod cloudflare_fake;
pub mod dovecot;
pub mod emulators;
pub mod http;
pub mod knotd;
pub mod named;
pub mod pdnsd;
pub mod postfix;
pub mod proxy;
pub mod route53_fake;
pub mod unbound;

pub use cloudflare_fake::CloudflareFake;
pub use knotd::Knot;
pub use named::Bind;
pub use pdnsd::Pdns;
pub use route53_fake::Route53Fake;

/// A TSIG key that a server knows.
#[derive(Debug, Clone)]
pub struct TestKey {
    pub name: String,
    pub algorithm: String,
    /// base64
    pub secret: String,
}

impl TestKey {
    pub fn new(name: &str) -> Self {
        let secret = "dGhlIHNlY3JldCBvZiBhIHRlc3QsIDMyIG9jdGV0cyE=".to_owned();
        TestKey { name: name.to_owned(), algorithm: "hmac-sha256".to_owned(), secret }
    }
}

/// A zone to be served.
#[derive(Debug, Clone)]
pub struct TestZone {
    pub name: String,
    /// Zone file lines besides SOA and NS.
    pub records: String,
    /// The NS targets and their address lines; `ns.<zone>.` at 127.0.0.1 unless set.
    pub nameservers: String,
    /// Seconds.
    pub soa_ttl: u32,
    pub soa_minimum: u32,
    /// How often a secondary that gets no NOTIFY asks.
    pub soa_refresh: u32,
    /// `update-policy { ... }` for BIND, lines of the update ACL for Knot; without it every key may update all.
    pub policy: Option<String>,
    /// Whom to tell of changes.
    pub notify: Vec<SocketAddr>,
    /// Serve a copy of this server's zone, by AXFR, instead of our own.
    pub copy_of: Option<SocketAddr>,
}

impl TestZone {
    pub fn new(name: &str) -> Self {
        TestZone {
            name: name.to_owned(),
            records: String::new(),
            nameservers: format!("@ NS ns.{name}.\nns A 127.0.0.1\n"),
            soa_ttl: 300,
            soa_minimum: 60,
            soa_refresh: 3600,
            policy: None,
            notify: Vec::new(),
            copy_of: None,
        }
    }

    pub fn with(mut self, records: &str) -> Self {
        self.records.push_str(records);
        self.records.push('\n');
        self
    }

    pub fn policy(mut self, text: &str) -> Self {
        self.policy = Some(text.to_owned());
        self
    }

    pub fn copy_of(mut self, primary: SocketAddr) -> Self {
        self.copy_of = Some(primary);
        self
    }

    fn file_text(&self) -> String {
        let TestZone { soa_ttl, soa_refresh, soa_minimum, nameservers, records, .. } = self;
        format!(
            "$TTL 300\n@ {soa_ttl} SOA ns hostmaster 1 {soa_refresh} 5 864000 {soa_minimum}\n{nameservers}{records}"
        )
    }
}

/// Whether the programs are there. Without them a test returns at once.
pub fn servers_or_skip(programs: &[&str]) -> bool {
    let missing: Vec<&str> = programs.iter().filter(|program| find(program).is_none()).copied().collect();
    if missing.is_empty() {
        return true;
    }
    skip(&format!("not found: {}", missing.join(", ")));
    false
}

/// Says that the test which calls this is skipped, past the harness, which shows no output of a test that passes.
/// Under DKIMCTL_NO_SKIP=1, as in CI, it fails instead.
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let note = format!("SKIPPED: {test} ({reason})");
    assert!(std::env::var_os("DKIMCTL_NO_SKIP").is_none_or(|value| value != "1"), "{note}");
    let _ = writeln!(std::io::stderr(), "{note}");
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin:/sbin";
    path.split(':').map(|directory| Path::new(directory).join(program)).find(|path| path.is_file())
}

/// A running server.
pub struct Running {
    child: Child,
    pub address: SocketAddr,
    directory: tempfile::TempDir,
}

impl Running {
    /// Starts `program`, whose configuration `configure` writes into the directory for that port and returns as
    /// arguments. The zone that `configure` is given holds the nonce and has to be served.
    /// A port is chosen unless one is given.
    fn start(program: &str, port: Option<u16>, configure: impl Fn(&Path, u16, &TestZone) -> Vec<String>) -> Running {
        let place = port.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        Running::start_on(program, place, |directory, address, ready| configure(directory, address.port(), ready))
    }

    /// At an address of its own, for those that look for a server at port 53.
    fn start_on(
        program: &str,
        place: Option<SocketAddr>,
        configure: impl Fn(&Path, SocketAddr, &TestZone) -> Vec<String>,
    ) -> Running {
        let program = find(program).unwrap_or_else(|| panic!("{program} is not installed; call servers_or_skip first"));
        let mut last_log = String::new();
        for _ in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let nonce = nonce();
            let ready = TestZone::new("ready.invalid").with(&format!("nonce 0 TXT \"{nonce}\""));
            let address = place.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], free_port())));
            let arguments = configure(directory.path(), address, &ready);
            let log = File::create(directory.path().join("log")).unwrap();
            let child = Command::new(&program)
                .args(arguments)
                .current_dir(directory.path())
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut running = Running { child, address, directory };
            if running.serves(&nonce) {
                return running;
            }
            last_log = running.log();
        }
        panic!("{} did not start:\n{last_log}", program.display());
    }

    /// What the server wrote so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// It hears and says nothing any more, as behind a broken line, until [`Running::thaw`].
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success(), "kill {signal}");
    }

    fn serves(&mut self, nonce: &str) -> bool {
        let deadline = Instant::now() + Duration::from_secs(10);
        let options = Options { timeout: Duration::from_millis(300), tries: 1, ..Options::default() };
        let name = Name::from_ascii("nonce.ready.invalid.").unwrap();
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            match wire::ask(self.address, &name, RecordType::TXT, options) {
                Answer::Records(records) => {
                    let ours = |data: &RData| matches!(data, RData::TXT(txt) if *txt.txt_data[0] == *nonce.as_bytes());
                    return records.answers.iter().any(|record| ours(&record.data));
                }
                _ => thread::sleep(Duration::from_millis(20)),
            }
        }
        false
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that is free on UDP and TCP just now.
pub fn free_port() -> u16 {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = udp.local_addr().unwrap().port();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn nonce() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{}-{now}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
