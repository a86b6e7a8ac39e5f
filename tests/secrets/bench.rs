//! A secure host in a temporary directory, its zone in an embedded name server, and a key ordered to a mail host.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use assert_cmd::Command;
use dkimctl::embedded_dns::{Data, EmbeddedDns, Records, Zone, from_map};
use dkimctl::sealing::{Identities, host_identity, open};
use dkimctl_state::name::Fqdn;
use tempfile::TempDir;

pub struct Bench {
    dir: TempDir,
    pub records: Records,
    pub dns: EmbeddedDns,
    /// What `init` printed for hosts to pin.
    pub verify_key: String,
    /// The identity that the key is sealed to, as its file has it.
    pub identity: String,
}

impl Bench {
    /// One domain, one key, published, seen, and ordered to the host `mail`.
    pub fn new() -> Bench {
        let records = Records::default();
        let zone: Fqdn = "example.com".parse().unwrap();
        let dns = EmbeddedDns::start(vec![Zone::new(zone)], from_map(Arc::clone(&records))).unwrap();
        let (identity, recipient) = host_identity();
        let dir = tempfile::tempdir().unwrap();
        let mut bench = Bench { dir, records, dns, verify_key: String::new(), identity: identity.to_string() };
        let begun = bench.said(&["init", "--domain", "example.com", "--no-input", "--dir", "."], 0);
        bench.verify_key = begun.split_whitespace().find(|word| word.starts_with("dkimctl-pk-")).unwrap().to_owned();
        std::fs::create_dir_all(bench.path("outbox")).unwrap();
        bench.seal_to(&[&recipient.to_string()]);
        bench.private("ci.key", &identity);
        bench.said(&["rotate", "example.com"], 0);
        bench.serve();
        bench.said(&["advance", "example.com"], 0);
        assert!(bench.path("outbox/manifest.signed").exists(), "the mail host has no orders");
        bench
    }

    /// Writes the configuration with these recipients.
    pub fn seal_to(&self, recipients: &[&str]) {
        let config = format!(
            r#"[[domain]]
name = "example.com"

[provider.dns]
type = "zonefile"
files = {{ "example.com" = "zone" }}

[signer.mail]
outbox = "outbox"
receipts = "receipts"

[secrets]
recipients = {recipients:?}

[observe]
nameservers = ["{}"]

[policy]
lab = true
sweep_gap = "0s"
publish_safety = "0s"
"#,
            self.dns.address()
        );
        std::fs::write(self.path("dkimctl.toml"), config).unwrap();
    }

    /// The name server takes in what the zone file has.
    fn serve(&self) {
        let mut records = self.records.write().unwrap();
        let text = std::fs::read_to_string(self.path("zone")).unwrap();
        for line in text.lines().filter(|line| line.contains("TXT")) {
            let name = line.split_whitespace().next().unwrap().trim_end_matches('.');
            let chunks = line.split('"').skip(1).step_by(2).map(|chunk| chunk.as_bytes().to_vec()).collect();
            let name = if name.ends_with("example.com") { name.to_owned() } else { format!("{name}.example.com") };
            records.insert(name.parse().unwrap(), vec![(3600, Data::Txt(chunks))]);
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file that only its owner reads.
    pub fn private(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
        self.chmod(name, 0o600);
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::cargo_bin("dkimctl").unwrap();
        command.env_clear().env("HOME", self.dir.path()).current_dir(self.dir.path()).args(args);
        command
    }

    /// What was printed, data and talk; the exit code is checked.
    pub fn said(&self, args: &[&str], code: i32) -> String {
        let Output { status, stdout, stderr } = self.command(args).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(code), "dkimctl {args:?}:\n{text}");
        text.replace("dkimctl: warning: `lab = true`: waits may be too short for real mail\n", "")
    }

    /// `secrets write` with the pinned key, and more arguments.
    pub fn write(&self, more: &[&str], code: i32) -> String {
        let pin = ["--verify-key", &self.verify_key];
        let base = ["secrets", "write", "--manifest", "outbox", "--identity", "ci.key", "--to", "keys"];
        self.said(&[&base[..], &pin, more].concat(), code)
    }

    /// The one file with this ending below a directory.
    pub fn only(&self, dir: &str, ending: &str) -> PathBuf {
        let found: Vec<PathBuf> = std::fs::read_dir(self.path(dir))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].clone()
    }

    pub fn blob(&self) -> PathBuf {
        self.only("state/blobs", ".age")
    }
}

/// Whether an identity opens a blob.
pub fn opens(blob: &Path, identity: &str) -> bool {
    let identities = Identities::from_text("a test", identity.as_bytes()).unwrap();
    open(&std::fs::read(blob).unwrap(), &identities).is_ok()
}
