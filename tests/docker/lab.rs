//! A laboratory around one stack: an address for name server and receivers that this machine and containers reach, the
//! stack as `stack init` wrote it with the laboratory's DNS, and both sides of dkimctl as the operator runs them.

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::engine::{docker, docker_ok};
use crate::servers::{Bind, TestKey, TestZone};
use crate::sink::{Received, Sink, count};

pub const DOMAIN: &str = "docker.example";
pub const HOSTNAME: &str = "mail.docker.example";
pub const SUBNET: &str = "10.213.77.0/28";
/// A network for benchmarks (RFC 2544): nobody's here.
pub const NAMES: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 53);
const OPEN: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 25);
const HELD: Ipv4Addr = Ipv4Addr::new(198, 18, 77, 26);

/// Whose key may change every record: who owns the DNS, and the reverse names.
const OPERATOR: &str = "operator";

/// Waits of a real policy, some hundred times faster.
const POLICY: &str = "lab = true\nwindow = \"20s\"\nqueue_lifetime = \"15s\"\nretire_safety = \"1s\"\npublish_safety = \"2s\"\n\
     sweep_gap = \"2s\"\npropagation = \"1s\"\nnegative_floor = \"4s\"\nnegative_unknown = \"8s\"\nrollback_grace = \"15s\"\n\
     poll = \"1s\"\n";

/// Everything, torn down in this order.
pub struct Lab {
    pub sink: Sink,
    held: Option<Sink>,
    pub dns: Bind,
    /// What this laboratory began in the engine, undone by these.
    undo: Vec<Vec<String>>,
    pub dir: TempDir,
    /// How often the mail host could not check something, and the next run had to.
    pub unchecked: Cell<usize>,
    _addresses: Vec<Address>,
}

impl Lab {
    /// The stack is written and adapted to the laboratory; nothing runs yet.
    pub fn new() -> Lab {
        Lab::written(25, &[], &[])
    }

    /// The same with another signer in the stack.
    pub fn of_signer(signer: &str) -> Lab {
        Lab::written(25, &["--signer", signer], &[])
    }

    /// The same, with more zones in its DNS, and more records in those that are there already.
    pub fn with_zones(zones: &[TestZone]) -> Lab {
        Lab::written(25, &[], zones)
    }

    /// A mail host that shares this machine's network takes the receiver's address for its own, and so for a loop, unless
    /// the port is another: then it is told to relay there.
    pub fn of_this_network() -> Lab {
        const PORT: u16 = 2525;
        let lab = Lab::written(PORT, &[], &[]);
        edit(&lab.file("mail/main.cf"), |text| format!("{text}\nrelayhost = [{OPEN}]:{PORT}\n"));
        lab
    }

    fn written(port: u16, more: &[&str], more_zones: &[TestZone]) -> Lab {
        let dir = tempfile::Builder::new().prefix("dkimctl-docker-").tempdir_in("/var/lib").unwrap();
        std::os::unix::fs::chown(dir.path(), Some(0), Some(0)).unwrap();
        let _addresses = [NAMES, OPEN, HELD].map(Address::new).into();
        let key = TestKey::new("dkimctl");
        let mut zone = TestZone::new(DOMAIN);
        zone.nameservers = format!("@ NS ns\nns A {NAMES}\n");
        zone.soa_minimum = 2;
        zone.policy =
            Some(format!("grant {} wildcard *._domainkey.{DOMAIN} TXT; grant {OPERATOR} zonesub ANY;", key.name));
        let receiver = |name: &str, address| {
            let mut zone = TestZone::new(name).with(&format!("@ MX 10 mx\nmx A {address}"));
            zone.nameservers = format!("@ NS ns\nns A {NAMES}\n");
            zone
        };
        let mut zones = vec![zone, receiver("sink.example", OPEN), receiver("held.example", HELD)];
        for more in more_zones {
            match zones.iter_mut().find(|zone| zone.name == more.name) {
                Some(zone) => zone.records.push_str(&more.records),
                None => zones.push(more.clone()),
            }
        }
        let keys = [key.clone(), TestKey::new(OPERATOR)];
        let dns = Bind::start_on(Some(SocketAddr::from((NAMES, 53))), &keys, &zones);
        let sink = Sink::start_on(SocketAddr::from((OPEN, port)), dns.address, &dir.path().join("received"));
        let lab = Lab { sink, held: None, dns, undo: Vec::new(), dir, unchecked: Cell::new(0), _addresses };

        let stack = lab.stack();
        let init = ["stack", "init", text(&stack), "--domain", DOMAIN, "--hostname", HOSTNAME, "--subnet", SUBNET];
        lab.dkimctl(&[&init, more].concat());
        edit(&stack.join("secure/dkimctl.toml"), |text| {
            let (head, rest) = text.split_once("type = \"zonefile\"").unwrap();
            let signer = rest.find("# The mail host:").unwrap();
            let (rest, _) = rest[signer..].split_once("[policy]").unwrap();
            format!(
                "{head}type = \"rfc2136\"\nserver = \"{server}\"\nzones = [\"{DOMAIN}\"]\nkey_name = \"{name}\"\n\
                 secret_file = \"tsig\"\n\n{rest}\n[observe]\nnameservers = [\"{server}\"]\n\n[policy]\n{POLICY}",
                server = lab.dns.address,
                name = key.name,
            )
        });
        edit(&stack.join("secure/dkimctl.toml"), |text| {
            text.replace("signer = \"mail\"\n", "signer = \"mail\"\nttl = 3\n")
        });
        fs::write(stack.join("secure/tsig"), &key.secret).unwrap();
        make_private(&stack.join("secure/tsig"));
        edit(&stack.join("host/host.toml"), |text| {
            format!("{text}\n[observe]\nnameservers = [\"{}\"]\n", lab.dns.address)
        });
        fs::write(
            stack.join("compose.lab.yaml"),
            format!(
                "services:\n  mail:\n    build:\n      context: ./mail\n      network: host\n    dns: [\"{NAMES}\"]\n  app:\n    dns: \
                 [\"{NAMES}\"]\n"
            ),
        )
        .unwrap();
        lab
    }

    pub fn stack(&self) -> PathBuf {
        self.dir.path().join("stack")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.stack().join(name)
    }

    /// Runs something against the engine when this laboratory ends, the last first.
    pub fn undo(&mut self, arguments: &[&str]) {
        self.undo.push(arguments.iter().map(|&argument| argument.to_owned()).collect());
    }

    pub fn dkimctl(&self, arguments: &[&str]) -> String {
        succeeded(&format!("dkimctl {arguments:?}"), self.try_dkimctl(self.dir.path(), arguments))
    }

    /// A command of the secure host.
    pub fn secure(&self, arguments: &[&str]) -> String {
        let output = self.try_dkimctl(&self.file("secure"), arguments);
        succeeded(&format!("dkimctl {arguments:?}"), output)
    }

    pub fn try_dkimctl(&self, here: &Path, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dkimctl"))
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.dir.path())
            .current_dir(here)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// docker-compose with the laboratory's own file beside the stack's.
    pub fn compose(&self, arguments: &[&str]) -> String {
        let output = Command::new("docker-compose")
            .args(["-p", "dkimctl-lab", "-f", "compose.yaml", "-f", "compose.lab.yaml"])
            .args(arguments)
            .current_dir(self.stack())
            // The classic builder takes an image that was imported as it is.
            .envs([("DOCKER_BUILDKIT", "0"), ("COMPOSE_DOCKER_CLI_BUILD", "0")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        succeeded(&format!("docker-compose {arguments:?}"), output)
    }

    /// Builds the image and starts the stack, as its README says.
    pub fn up(&mut self) {
        self.compose(&["up", "-d", "--build"]);
        until("the mail host greets", 60, || {
            docker(&["exec", HOSTNAME, "sh", "-c", "postfix status"]).status.success()
                && docker(&["exec", HOSTNAME, "test", "-s", "/run/submission-ca/cert.pem"]).status.success()
        });
    }

    /// What cron does on the two hosts, faster, until a key has come to a phase.
    pub fn run_until(&self, selector: &str, phase: &str) {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let applied = self.apply();
            self.secure(&["receipt", "import"]);
            let said = self.secure(&["advance", DOMAIN]);
            if self.phase(selector).as_deref() == Some(phase) {
                return;
            }
            assert!(Instant::now() < deadline, "{selector} is not {phase}:\n{said}{applied}\n{}", self.log());
            thread::sleep(Duration::from_millis(300));
        }
    }

    /// The mail host looks for orders, which the first time may not be there yet.
    pub fn apply(&self) -> String {
        if !self.file("outbox/manifest.signed").exists() {
            return "there are no orders".to_owned();
        }
        /// Something could not be asked: the next run asks again.
        const NOT_CHECKED: i32 = 4;
        let output = self.try_dkimctl(&self.stack(), &["host", "apply", "--host", "host/host.toml"]);
        let code = output.status.code();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        self.unchecked.set(self.unchecked.get() + usize::from(code == Some(NOT_CHECKED)));
        assert!(matches!(code, Some(0 | NOT_CHECKED)), "host apply: {code:?}\n{said}\n{}", self.log());
        said
    }

    /// What somebody does by hand in DNS, in nsupdate's words.
    pub fn change_dns(&self, lines: &str) {
        let key = TestKey::new(OPERATOR);
        let auth = format!("{}:{}:{}", key.algorithm, key.name, key.secret);
        let file = self.dir.path().join("nsupdate");
        fs::write(&file, format!("server {} {}\n{lines}\nsend\n", NAMES, self.dns.address.port())).unwrap();
        let output = Command::new("nsupdate").args(["-y", &auth]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{lines}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The phase of the key that has this selector.
    pub fn phase(&self, selector: &str) -> Option<String> {
        let status = self.secure(&["status", "--json", "-v"]);
        let status: Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {status}"));
        let row = status["rows"].as_array()?.iter().rev().find(|row| row["selector"] == selector)?.clone();
        Some(row["phase"].as_str().unwrap().to_owned())
    }

    pub fn received(&self) -> Vec<Received> {
        self.sink.received()
    }

    /// Opens the receiver for held.example.
    pub fn open_held(&mut self) {
        let file = self.dir.path().join("received-held");
        self.held = Some(Sink::start_on(SocketAddr::from((HELD, 25)), self.dns.address, &file));
    }

    pub fn received_late(&self) -> Vec<Received> {
        self.held.iter().flat_map(Sink::received).collect()
    }

    /// The end of the mail host's log.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.file("log/mail.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the end of the mail log:\n{}", self.log());
        }
        for arguments in self.undo.iter().rev() {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            // What was just ended may hold what is removed next for a moment.
            for _ in 0..20 {
                if docker(&arguments).status.success() {
                    break;
                }
                thread::sleep(Duration::from_millis(500));
            }
        }
        let down = Command::new("docker-compose")
            .args(["-p", "dkimctl-lab", "-f", "compose.yaml", "-f", "compose.lab.yaml", "down", "-v", "-t", "3"])
            .current_dir(self.stack())
            .stdin(Stdio::null())
            .output();
        drop(down);
    }
}

/// An address of this machine for as long as this lives.
struct Address(String);

impl Address {
    fn new(address: Ipv4Addr) -> Address {
        let address = format!("{address}/32");
        // One that a killed test left behind will do.
        let _ = Command::new("ip").args(["address", "add", &address, "dev", "lo"]).stderr(Stdio::null()).status();
        Address(address)
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["address", "del", &self.0, "dev", "lo"]).stderr(Stdio::null()).status();
    }
}

/// Every message that was accepted arrived, once or more, and every one verified.
pub fn nothing_bad(accepted: &[String], received: &[Received]) {
    let bad: Vec<&Received> = received.iter().filter(|message| message.result != "pass").collect();
    assert!(bad.is_empty(), "{:?}, for example {:?}", count(received), bad[0]);
    let arrived: std::collections::BTreeSet<&str> = received.iter().map(|message| message.id.as_str()).collect();
    let lost: Vec<&String> = accepted.iter().filter(|id| !arrived.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "{} did not arrive, for example {}", lost.len(), lost[0]);
}

pub fn with(received: &[Received], selector: &str) -> usize {
    received.iter().filter(|message| message.selector.as_deref() == Some(selector)).count()
}

pub fn edit(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).unwrap();
    fs::write(path, change(text)).unwrap();
}

/// Waits for a condition, and fails the test if it does not come true.
pub fn until(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

pub fn succeeded(what: &str, output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
    out
}

pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn make_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Kills a container's main process as a crash would, and waits until the engine has seen it.
pub fn crash(container: &str) {
    let pid = docker_ok(&["inspect", "--format", "{{.State.Pid}}", container]);
    let started = docker_ok(&["inspect", "--format", "{{.State.StartedAt}}", container]);
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    until("the engine sees the crash", 30, || {
        docker_ok(&["inspect", "--format", "{{.State.Running}} {{.State.StartedAt}}", container])
            != format!("true {started}")
    });
}
