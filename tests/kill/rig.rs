//! One domain on one machine: state, DNS, signer; and runs of the program that are cut off.

use std::cell::Cell;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl::sealing::host_identity;
use dkimctl::secrets::signed::SigningKey;
use dkimctl::signers::opendkim::OpenDkim;
use dkimctl_state::lifecycle::ledger::{Ledger, Phase};
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::store::{Loaded, Store as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::opendkimd::{self, OpenDkimd};
use crate::servers::{Bind, TestKey, TestZone};

pub const ZONE: &str = "example.com";

pub struct Rig {
    pub dir: tempfile::TempDir,
    pub dns: Bind,
    pub daemon: OpenDkimd,
    /// The signer as the test sees it; it only probes.
    pub signer: OpenDkim,
    pub key: TestKey,
    refusals: Cell<u32>,
}

/// How a run ended that was to be killed.
pub enum Ended {
    Killed,
    /// It was faster.
    ByItself(Duration),
}

impl Rig {
    pub fn start() -> Rig {
        let key = TestKey::new("dkimctl");
        let zone = TestZone { soa_ttl: 1, soa_minimum: 1, ..TestZone::new(ZONE) };
        let dns = Bind::start(std::slice::from_ref(&key), &[zone]);
        let daemon = OpenDkimd::start(&opendkimd::Options::default());
        let signer = daemon.signer();
        let dir = tempfile::tempdir().unwrap();
        let rig = Rig { dir, dns, daemon, signer, key, refusals: Cell::new(0) };
        rig.configure();
        rig
    }

    /// As an operator would: `init`, then the configuration of both sides with each other's public keys.
    fn configure(&self) {
        let (identity, recipient) = host_identity();
        write_private(&self.path("identity"), &identity);
        write_private(&self.path("tsig"), &self.key.secret);
        fs::create_dir(self.path("tmp")).unwrap();
        let init = ["init", "--no-input", "--dir", ".", "--domain", ZONE, "--recipient", &recipient.to_string()];
        let made = self.command(&init.map(str::to_owned)).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        fs::create_dir(self.path("host")).unwrap();
        fs::set_permissions(self.path("host"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let manifest_key = SigningKey::open_or_create(&self.path("state/manifest.key")).unwrap().verify_key();
        let receipt_key = SigningKey::open_or_create(&self.path("host/receipt.key")).unwrap().verify_key();
        let (server, key) = (self.dns.address, &self.key.name);
        // Every wait is there, a second or two long.
        let config = format!(
            r#"
[[domain]]
name = "{ZONE}"
provider = "lab"
signer = "here"
selectors = ["s1", "s2", "s3"]
ttl = 1
[provider.lab]
type = "rfc2136"
server = "{server}"
zones = ["{ZONE}"]
key_name = "{key}"
secret_file = "tsig"
[signer.here]
outbox = "outbox"
receipts = "receipts"
receipt_key = "{receipt_key}"
apply = "host.toml"
[secrets]
recipients = ["{recipient}"]
[observe]
nameservers = ["{server}"]
[policy]
lab = true
window = "3s"
queue_lifetime = "1s"
retire_safety = "1s"
publish_safety = "0s"
sweep_gap = "1s"
propagation = "1s"
negative_floor = "1s"
negative_unknown = "1s"
rollback_grace = "1s"
poll = "1s"
"#
        );
        let host = format!(
            r#"
host = "here"
outbox = "outbox"
receipts = "receipts"
manifest_key = "{manifest_key}"
identity = "identity"
keys = {keys:?}
state = "host"
[signer]
type = "opendkim"
conf = {conf:?}
[observe]
nameservers = ["{server}"]
"#,
            keys = self.daemon.keys(),
            conf = self.daemon.conf(),
        );
        fs::write(self.path("dkimctl.toml"), config).unwrap();
        fs::write(self.path("host.toml"), host).unwrap();
        for dir in ["outbox", "receipts"] {
            fs::create_dir_all(self.path(dir)).unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn ledger(&self) -> Ledger {
        let store = SqliteStore::open(&self.path("state"), &Options::read_only()).unwrap();
        let Loaded { ledger, .. } = store.load(&ZONE.parse().unwrap()).unwrap();
        ledger
    }

    /// What the next run goes on with, for the tally.
    pub fn phase(&self) -> String {
        let ledger = self.ledger();
        let is_asked = ledger.lines.values().any(|line| line.request.is_some());
        let key = |wanted: &[Phase]| ledger.keys().map(|(phase, _)| phase).find(|phase| wanted.contains(phase));
        let coming = key(&[Phase::Sealed, Phase::Published, Phase::Propagated, Phase::Switching]);
        let going = key(&[Phase::Retiring, Phase::Withdrawn]);
        match (coming, going) {
            (Some(coming), _) => coming.to_string(),
            (None, _) if is_asked => "asked for, no key yet".to_owned(),
            (None, Some(going)) => format!("{going}, and the next is asked for"),
            (None, None) => "at rest, and the next is asked for".to_owned(),
        }
    }

    /// Whoever asks for a rotation that is under way goes on with it.
    pub fn next_command(&self) -> Vec<String> {
        let verb = if self.ledger().lines.values().any(|line| line.incoming.is_some() || line.request.is_some()) {
            "advance"
        } else {
            "rotate"
        };
        vec![verb.to_owned(), ZONE.to_owned()]
    }

    /// Rotations that came to their end: keys that have signed and were removed.
    pub fn finished(&self) -> usize {
        self.ledger().keys().filter(|(phase, _)| *phase == Phase::Gone).count()
    }

    /// How often a second process was turned away.
    pub fn refusals(&self) -> u32 {
        self.refusals.get()
    }

    /// Runs to the end, which must be a good one.
    pub fn run(&self, arguments: &[String], patience: Duration) -> String {
        let started = Instant::now();
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "dkimctl {arguments:?}: {}", said(&output));
        assert!(started.elapsed() < patience, "dkimctl {arguments:?} took {:?}", started.elapsed());
        said(&output)
    }

    /// Runs without kills until a key signs and none is on its way.
    pub fn until_settled(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        loop {
            let line = self.run(&self.next_command(), patience);
            let ledger = self.ledger();
            if ledger.lines.values().any(|line| line.active.is_some() && line.incoming.is_none()) {
                return;
            }
            assert!(Instant::now() < deadline, "nothing signs yet:\n{line}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Killed after some time.
    pub fn kill_after(&self, arguments: &[String], time: Duration) -> Ended {
        let started = Instant::now();
        let mut child = self.spawn(self.command(arguments));
        while started.elapsed() < time {
            if child.try_wait().unwrap().is_some() {
                return self.ended(child, started);
            }
            thread::sleep((time - started.elapsed().min(time)).min(Duration::from_millis(2)));
        }
        let _ = child.kill();
        self.ended(child, started)
    }

    /// Killed before it makes one of these system calls for the nth time.
    pub fn kill_before(&self, arguments: &[String], calls: &str, which: u64) -> Ended {
        let program = self.command(arguments);
        let mut traced = self.environment("strace");
        traced.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        traced.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={which}")]);
        traced.arg(program.get_program()).args(program.get_args());
        let started = Instant::now();
        self.ended(self.spawn(traced), started)
    }

    /// Stopped while it has the lock; a second process must then be turned away; then killed.
    pub fn kill_while_another_waits(&self, arguments: &[String]) -> Ended {
        let started = Instant::now();
        let mut child = self.spawn(self.command(arguments));
        let pid = Pid::from_raw(child.id() as i32);
        while !has_a_lock(child.id()) {
            if child.try_wait().unwrap().is_some() {
                return self.ended(child, started);
            }
            thread::yield_now();
        }
        kill(pid, Signal::SIGSTOP).unwrap();
        until_stopped(child.id());
        if has_a_lock(child.id()) {
            let second = self.command(arguments).output().unwrap();
            let text = said(&second);
            assert_eq!(second.status.code(), Some(6), "a second process: {text}");
            assert!(
                text.contains("dkimctl: error: the state is in use by") && text.contains("dkimctl: hint: "),
                "{text}"
            );
            self.refusals.set(self.refusals.get() + 1);
        }
        let _ = child.kill();
        self.ended(child, started)
    }

    fn ended(&self, child: Child, started: Instant) -> Ended {
        let output = child.wait_with_output().unwrap();
        match output.status.signal() {
            Some(9) => Ended::Killed,
            _ => {
                assert!(output.status.success(), "{}", said(&output));
                Ended::ByItself(started.elapsed())
            }
        }
    }

    fn spawn(&self, mut command: Command) -> Child {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub fn command(&self, arguments: &[String]) -> Command {
        let mut command = self.environment(env!("CARGO_BIN_EXE_dkimctl"));
        command.args(arguments);
        command
    }

    fn environment(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", self.dir.path());
        command.env("TMPDIR", self.path("tmp")).current_dir(self.dir.path());
        command
    }
}

pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// Whether a process has locked a file with flock(2), as the kernel says.
fn has_a_lock(pid: u32) -> bool {
    let locks = fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains("FLOCK") && line.split_whitespace().any(|word| word == pid.to_string()))
}

fn until_stopped(pid: u32) {
    let state = || fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    while !state().rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['T', 'Z'])) {
        thread::yield_now();
    }
}
