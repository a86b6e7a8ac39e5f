//! A small internet on one machine: two name servers of which one lags, a caching resolver, a mail server that signs
//! through a milter, and a receiver that verifies every message as it comes.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dkimctl::signers::milter::Socket;
use dkimctl_providers::wire::{self, Answer, Options};
use hickory_proto::rr::{Name, RecordType};
use tempfile::TempDir;

use crate::lag::Lag;
use crate::opendkimd::{OpenDkimd, Options as Signer};
use crate::servers::postfix::{Postfix, PostfixPlan};
use crate::servers::unbound::Unbound;
use crate::servers::{Bind, TestKey, TestZone, free_port};
use crate::sink::{Received, Sink};

pub const ZONE: &str = "rotation.example";
/// The TTL of a selector's record. Short, and not zero: caches matter here.
pub const TTL: u32 = 5;
/// How long a denial may be cached.
pub const NEGATIVE_TTL: u32 = 5;
/// How much later than the primary the secondary has a change.
pub const LAG: Duration = Duration::from_secs(8);
/// Mail for this domain stays queued until [`Rig::open_held`].
pub const HELD: &str = "held.example";

/// Everything, ended in this order.
pub struct Rig {
    pub postfix: Postfix,
    pub signer: OpenDkimd,
    sink: Sink,
    held_sink: Option<Sink>,
    held: SocketAddr,
    _lag: Lag,
    pub resolver: Unbound,
    pub secondary: Bind,
    pub primary: Bind,
    pub key: TestKey,
    directory: TempDir,
}

impl Rig {
    /// Nothing is published yet and nothing signed: the tables are empty.
    pub fn start() -> Rig {
        // Other users have to get through, and no key may lie below a directory that everybody may write.
        let directory = tempfile::Builder::new().prefix("dkimctl-rotation-").tempdir_in("/var/lib").unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let below = |name: &str| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };

        let key = TestKey::new("dkimctl");
        let mut zone = TestZone::new(ZONE);
        zone.nameservers = "@ NS ns1\n@ NS ns2\nns1 A 127.0.0.1\nns2 A 127.0.0.1\n".to_owned();
        zone.soa_minimum = NEGATIVE_TTL;
        zone.policy = Some(format!("grant {} wildcard *._domainkey.{ZONE} TXT;", key.name));
        let primary = Bind::start(std::slice::from_ref(&key), std::slice::from_ref(&zone));
        let secondary = Bind::start(&[], &[zone.copy_of(primary.address)]);
        // The verifier's resolver happens to be nearer to the server that lags.
        let resolver = Unbound::start(ZONE, &[secondary.address]);
        let resolver_address = resolver.address;
        let lag =
            Lag::start(ZONE, [primary.address, secondary.address], LAG, move || just_denied_or_known(resolver_address));

        let sink_port = free_port();
        let sink = Sink::start(sink_port, resolver.address, &directory.path().join("received"));
        let held = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let signer = OpenDkimd::start(&Signer::default());
        let Socket::Inet { host, port } = &signer.socket else { unreachable!("it was asked for a port") };
        let plan = PostfixPlan {
            milter: format!("inet:{host}:{port}"),
            relay: SocketAddr::from(([127, 0, 0, 1], sink_port)),
            routes: vec![(HELD.to_owned(), held)],
        };
        let postfix = Postfix::start(&below("postfix"), &plan);
        let rig = Rig {
            postfix,
            signer,
            sink,
            held_sink: None,
            held,
            _lag: lag,
            resolver,
            secondary,
            primary,
            key,
            directory,
        };
        until("the secondary has the zone", 10, || rig.serials_agree());
        rig
    }

    /// Where the parties of a test keep what is theirs.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Opens the port that [`HELD`] mail waits for, and has the queue tried.
    pub fn open_held(&mut self) {
        let file = self.directory.path().join("received-held");
        self.held_sink = Some(Sink::start(self.held.port(), self.resolver.address, &file));
        self.postfix.flush();
    }

    pub fn received(&self) -> Vec<Received> {
        self.sink.received()
    }

    pub fn received_late(&self) -> Vec<Received> {
        self.held_sink.iter().flat_map(Sink::received).collect()
    }

    /// Every server has the same version of the zone.
    pub fn serials_agree(&self) -> bool {
        let zone = Name::from_ascii(format!("{ZONE}.")).unwrap();
        let [one, two] = [&self.primary, &self.secondary].map(|s| crate::lag::serial(s.address, &zone));
        one.is_some() && one == two
    }

    /// Whether a server has a TXT record for this selector.
    pub fn serves(&self, server: SocketAddr, selector: &str) -> bool {
        let recursion = server == self.resolver.address;
        matches!(ask(server, selector, recursion), Answer::Records(_))
    }

    /// Sends these lines to the primary with nsupdate.
    pub fn update(&self, lines: &str) {
        let TestKey { name, algorithm, secret } = &self.key;
        let address = self.primary.address;
        let (ip, port) = (address.ip(), address.port());
        let script = format!("server {ip} {port}\nzone {ZONE}.\nkey {algorithm}:{name} {secret}\n{lines}\nsend\n");
        let mut child = Command::new("nsupdate").stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "nsupdate: {lines}");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.postfix.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(30)..].join("\n");
            let _ = writeln!(std::io::stderr(), "the end of Postfix's log:\n{end}");
        }
    }
}

/// Somebody out there who asks the resolver for a selector again and again, so that it caches whatever it is told,
/// denials too, and up to the last moment.
pub struct Curious {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Curious {
    pub fn about(selector: &str, rig: &Rig) -> Curious {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, resolver, selector) = (stop.clone(), rig.resolver.address, selector.to_owned());
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                ask(resolver, &selector, true);
                thread::sleep(Duration::from_millis(100));
            }
        });
        Curious { stop, thread: Some(thread) }
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

fn ask(server: SocketAddr, selector: &str, recursion: bool) -> Answer {
    let name = Name::from_ascii(format!("{selector}._domainkey.{ZONE}.")).unwrap();
    wire::ask(server, &name, RecordType::TXT, Options { recursion, ..Options::default() })
}

/// Whether the resolver knows s2 already, or has this very second cached that there is none.
fn just_denied_or_known(resolver: SocketAddr) -> bool {
    match ask(resolver, "s2", true) {
        Answer::NxDomain(denial) | Answer::NoData(denial) => denial.ttl().is_none_or(|ttl| ttl == NEGATIVE_TTL),
        _ => true,
    }
}

/// Waits for a condition, and fails the test if it does not come true.
pub fn until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
