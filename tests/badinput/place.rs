//! A domain, its state and its BIND; and a program that is expected to fail.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use dkimctl::sealing::host_identity;
use dkimctl_providers::wire::{self, Answer};
use dkimctl_state::name::Fqdn;
use hickory_proto::rr::{RData, RecordType};

use crate::servers::{Bind, TestKey, TestZone, servers_or_skip};

pub const ZONE: &str = "example.com";

/// The waits are there, but short: what is asked here is asked at once.
const POLICY: &str = "[policy]\nlab = true\npublish_safety = \"0s\"\nsweep_gap = \"0s\"\nnegative_floor = \"0s\"\n\
                      negative_unknown = \"0s\"\npoll = \"1s\"\n";

pub struct Place {
    pub dir: tempfile::TempDir,
    pub dns: Bind,
    pub key: TestKey,
    pub recipient: String,
    /// What must never be printed.
    secrets: Vec<String>,
}

impl Place {
    /// `None` without BIND.
    pub fn new() -> Option<Place> {
        Place::with(TestZone::new(ZONE))
    }

    pub fn with(zone: TestZone) -> Option<Place> {
        if !servers_or_skip(&[Bind::PROGRAM]) {
            return None;
        }
        let key = TestKey::new("dkimctl");
        let dns = Bind::start(std::slice::from_ref(&key), &[zone]);
        let dir = tempfile::tempdir().unwrap();
        let (identity, recipient) = host_identity();
        let canary = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned();
        let secrets = vec![canary, key.secret.clone()];
        let place = Place { dir, dns, key, recipient: recipient.to_string(), secrets };
        place.write_private("identity", &identity);
        place.write_private("tsig", &place.key.secret);
        let made =
            place.output(&["init", "--no-input", "--dir", ".", "--domain", ZONE, "--recipient", &place.recipient]);
        assert!(made.status.success(), "{}", said(&made));
        place.configure(&place.config());
        Some(place)
    }

    /// A configuration that works.
    pub fn config(&self) -> String {
        let (server, key, recipient) = (self.dns.address, &self.key.name, &self.recipient);
        format!(
            r#"[[domain]]
name = "{ZONE}"
provider = "lab"
signer = "mail"
selectors = ["s1"]
ttl = 1
[provider.lab]
type = "rfc2136"
server = "{server}"
zones = ["{ZONE}"]
key_name = "{key}"
algorithm = "hmac-sha256"
secret_file = "tsig"
timeout = "1s"
[signer.mail]
outbox = "outbox"
receipts = "receipts"
[secrets]
recipients = ["{recipient}"]
[observe]
nameservers = ["{server}"]
{POLICY}"#
        )
    }

    pub fn configure(&self, text: &str) {
        fs::write(self.path("dkimctl.toml"), text).unwrap();
    }

    /// The working configuration, but for this.
    pub fn reconfigure(&self, was: &str, is: &str) {
        let config = self.config();
        assert!(config.contains(was), "{was} is not in {config}");
        self.configure(&config.replace(was, is));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write_private(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// The program, which must do what it is asked to do.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(output.status.success(), "dkimctl {arguments:?}: {}", said(&output));
        said(&output)
    }

    /// The program, which must fail with `code`, say each of `seen` and the next command, and change no DNS.
    pub fn fails(&self, arguments: &[&str], code: i32, seen: &[&str]) -> String {
        self.fails_as(self.command(env!("CARGO_BIN_EXE_dkimctl")).args(arguments), code, seen)
    }

    pub fn fails_as(&self, command: &mut Command, code: i32, seen: &[&str]) -> String {
        let before = self.zone();
        let output = command.output().unwrap();
        let text = said(&output);
        eprintln!("{:?}\n{text}", command.get_args().collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(code), "{text}");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains("dkimctl: error: "), "no error is named: {text}");
        assert!(errors.contains("dkimctl: hint: "), "no next command is named: {text}");
        for word in seen {
            assert!(errors.contains(word), "`{word}` is not said: {text}");
        }
        for secret in &self.secrets {
            assert!(!text.contains(secret.as_str()), "a secret is told: {text}");
        }
        assert_eq!(self.zone(), before, "the zone was changed");
        text
    }

    /// The state holds what it held, and is whole.
    pub fn whole(&self) {
        let verified = self.run(&["state", "verify"]);
        assert!(verified.contains("ok "), "{verified}");
    }

    pub fn export(&self) -> String {
        self.run(&["state", "export"])
    }

    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_dkimctl")).args(arguments).output().unwrap()
    }

    /// Any program, in the directory of this place and with nothing of the tester's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", self.dir.path());
        command.current_dir(self.dir.path());
        command
    }

    /// Serial of the zone, which rises with every change, and what stands at the selector.
    pub fn zone(&self) -> (u32, Vec<String>) {
        let ask = |name: &str, rtype| {
            let name: Fqdn = name.parse().unwrap();
            match wire::ask(self.dns.address, &wire::to_name(&name), rtype, wire::Options::default()) {
                Answer::Records(records) => records.answers,
                _ => Vec::new(),
            }
        };
        let soa = ask(ZONE, RecordType::SOA);
        let serial = soa.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(soa.serial),
            _ => None,
        });
        let at = ask(&format!("s1._domainkey.{ZONE}"), RecordType::TXT);
        let mut texts: Vec<String> = at.iter().map(|record| record.data.to_string()).collect();
        texts.sort(); // BIND gives them in turns
        (serial.unwrap(), texts)
    }
}

pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// Every file below a directory, with its contents.
pub fn tree(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(tree(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}
