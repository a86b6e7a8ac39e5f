//! One domain on one machine, with whatever DNS hosts a test gives it; and runs of the program.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dkimctl::sealing::host_identity;
use dkimctl::secrets::signed::SigningKey;
use dkimctl_providers::wire::{self, Answer};
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key, Ledger, Phase};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::Store as _;
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::time::Time;
use hickory_proto::rr::{RData, RecordType};

use crate::opendkimd::{self, OpenDkimd};
use crate::servers::{Pdns, TestKey, cloudflare_fake, route53_fake};

/// The waits are all there, a second long.
const POLICY: &str = "[policy]\nlab = true\nwindow = \"3s\"\nqueue_lifetime = \"1s\"\nretire_safety = \"1s\"\n\
                      publish_safety = \"0s\"\nsweep_gap = \"1s\"\npropagation = \"1s\"\nnegative_floor = \"1s\"\n\
                      negative_unknown = \"1s\"\nrollback_grace = \"1s\"\npoll = \"1s\"\nclock_tolerance = \"3650d\"\n";

/// The key by which a name server knows us.
pub fn key() -> TestKey {
    TestKey::new("dkimctl")
}

pub struct Lab {
    dir: tempfile::TempDir,
    pub domain: String,
    signer: Option<OpenDkimd>,
}

/// What differs from test to test.
pub struct Plan<'a> {
    pub domain: &'a str,
    /// The line of the [[domain]] that names its providers.
    pub provider: &'a str,
    /// The `[provider.NAME]` tables.
    pub providers: &'a str,
    /// The lines of `[observe]` and its tables.
    pub observe: &'a str,
    /// With an OpenDKIM that signs.
    pub signs: bool,
}

impl Lab {
    pub fn new(plan: &Plan<'_>) -> Lab {
        let signer = plan.signs.then(|| OpenDkimd::start(&opendkimd::Options::default()));
        let lab = Lab { dir: tempfile::tempdir().unwrap(), domain: plan.domain.to_owned(), signer };
        let (identity, recipient) = host_identity();
        for (file, secret) in [
            ("identity", identity.as_str()),
            ("tsig", &key().secret),
            ("pdns.key", Pdns::KEY),
            ("cloudflare.token", cloudflare_fake::TOKEN),
        ] {
            fs::write(lab.path(file), secret).unwrap();
            fs::set_permissions(lab.path(file), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let recipient = recipient.to_string();
        let init = ["init", "--no-input", "--dir", ".", "--domain", plan.domain, "--recipient", &recipient];
        let made = lab.command(&init).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
        for dir in ["host", "outbox", "receipts"] {
            fs::create_dir_all(lab.path(dir)).unwrap();
        }
        fs::set_permissions(lab.path("host"), fs::Permissions::from_mode(0o700)).unwrap();
        let manifest_key = SigningKey::open_or_create(&lab.path("state/manifest.key")).unwrap().verify_key();
        let receipt_key = SigningKey::open_or_create(&lab.path("host/receipt.key")).unwrap().verify_key();
        let here = if plan.signs { "apply = \"host.toml\"\n" } else { "" };
        // Cloudflare takes no less than a minute.
        let ttl = if plan.providers.contains("cloudflare") { 60 } else { 1 };
        let Plan { domain, provider, providers, observe, .. } = plan;
        let config = format!(
            "[[domain]]\nname = \"{domain}\"\n{provider}\nsigner = \"here\"\nselectors = [\"s1\", \"s2\", \"s3\"]\nttl = {ttl}\n\
             {providers}\n[signer.here]\noutbox = \"outbox\"\nreceipts = \"receipts\"\nreceipt_key = \"{receipt_key}\"\n{here}\
             [secrets]\nrecipients = [\"{recipient}\"]\n[observe]\n{observe}\n{POLICY}"
        );
        fs::write(lab.path("dkimctl.toml"), config).unwrap();
        if let Some(signer) = &lab.signer {
            let host = format!(
                "host = \"here\"\noutbox = \"outbox\"\nreceipts = \"receipts\"\nmanifest_key = \"{manifest_key}\"\n\
                 identity = \"identity\"\nkeys = {:?}\nstate = \"host\"\n[signer]\ntype = \"opendkim\"\nconf = {:?}\n\
                 [observe]\n{observe}\n",
                signer.keys(),
                signer.conf(),
            );
            fs::write(lab.path("host.toml"), host).unwrap();
        }
        lab
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Changes the configuration.
    pub fn reconfigure(&self, was: &str, is: &str) {
        let config = fs::read_to_string(self.path("dkimctl.toml")).unwrap();
        assert!(config.contains(was), "{was} is not in {config}");
        fs::write(self.path("dkimctl.toml"), config.replace(was, is)).unwrap();
    }

    pub fn ledger(&self) -> Ledger {
        let store = SqliteStore::open(&self.path("state"), &Options::read_only()).unwrap();
        store.load(&self.domain.parse().unwrap()).unwrap().ledger
    }

    /// The selector and key in this phase.
    pub fn key_in(&self, phase: Phase) -> Option<Key> {
        self.ledger().keys().find(|(found, _)| *found == phase).map(|(_, key)| key.clone())
    }

    pub fn phases(&self) -> Vec<(String, Phase)> {
        self.ledger().keys().map(|(phase, key)| (key.selector.to_string(), phase)).collect()
    }

    /// Runs to the end; what was said, and the exit code.
    pub fn run(&self, arguments: &[&str]) -> (String, Option<i32>) {
        let output = self.command(arguments).output().unwrap();
        (said(&output), output.status.code())
    }

    /// Which must end well.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let (text, code) = self.run(arguments);
        assert_eq!(code, Some(0), "dkimctl {arguments:?}: {text}");
        text
    }

    /// Advances until it is so.
    pub fn until(&self, what: &str, mut condition: impl FnMut(&Lab) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(90);
        let mut text = String::new();
        while !condition(self) {
            assert!(Instant::now() < deadline, "not within 90 s: {what}; {:?}\n{text}", self.phases());
            text = self.run(&["advance", &self.domain.clone()]).0;
            thread::sleep(Duration::from_millis(100));
        }
        text
    }

    pub fn until_active(&self, selector: &str) {
        let is = |lab: &Lab| lab.key_in(Phase::Active).is_some_and(|key| key.selector.as_str() == selector);
        self.until(&format!("{selector} active"), is);
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// When a fact of this kind was first recorded of a key.
    pub fn when(&self, fact: &str, key: &Key) -> Time {
        let store = SqliteStore::open(&self.path("state"), &Options::read_only()).unwrap();
        let events = store.events(Some(&self.domain.parse().unwrap()), 0, 1000).unwrap();
        let is = |event: &Fact| {
            event.key() == Some(&key.fingerprint) && serde_json::to_value(event).unwrap()["fact"] == fact
        };
        events.iter().find(|logged| is(&logged.event.fact)).unwrap_or_else(|| panic!("no {fact}")).event.at
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dkimctl"));
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", self.dir.path());
        command.env("AWS_ACCESS_KEY_ID", route53_fake::ACCESS_KEY);
        command.env("AWS_SECRET_ACCESS_KEY", route53_fake::SECRET_KEY).env("AWS_EC2_METADATA_DISABLED", "true");
        command.current_dir(self.dir.path()).args(arguments);
        command
    }
}

pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))
}

/// The texts that a name server has at a name, itself.
pub fn texts_at(server: SocketAddr, name: &str) -> Vec<String> {
    let name: Fqdn = name.parse().unwrap();
    let Answer::Records(records) = wire::ask(server, &wire::to_name(&name), RecordType::TXT, wire::Options::default())
    else {
        return Vec::new();
    };
    let text = |data: &RData| match data {
        RData::TXT(txt) => Some(TxtText::join(txt.txt_data.iter().map(|chunk| &**chunk)).to_string()),
        _ => None,
    };
    records.answers.iter().filter_map(|record| text(&record.data)).collect()
}

/// `[provider.NAME]` of a server that takes updates by [`key`].
pub fn rfc2136(label: &str, server: SocketAddr, zones: &[&str]) -> String {
    format!(
        "[provider.{label}]\ntype = \"rfc2136\"\nserver = \"{server}\"\nzones = {zones:?}\nkey_name = \"dkimctl\"\n\
         secret_file = \"tsig\"\ntimeout = \"2s\"\n"
    )
}

pub fn powerdns(label: &str, url: &str) -> String {
    format!("[provider.{label}]\ntype = \"powerdns\"\nurl = \"{url}\"\nsecret_file = \"pdns.key\"\ntimeout = \"2s\"\n")
}
