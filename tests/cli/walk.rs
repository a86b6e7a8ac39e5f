//! A longer way, by the clock of a laboratory: zone file, embedded name server, real commands.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, RwLock};

use assert_cmd::Command;
use dkimctl::embedded_dns::{Data, EmbeddedDns, Records, Zone, from_map};
use dkimctl::keygen::{KeyKind, generate};
use dkimctl_state::name::Fqdn;
use tempfile::TempDir;

/// A directory with a configuration, and the name server of its zone.
struct Bench {
    dir: TempDir,
    records: Records,
    _dns: EmbeddedDns,
}

impl Bench {
    fn new() -> Bench {
        let records = Records::default();
        let zone: Fqdn = "example.com".parse().unwrap();
        let dns = EmbeddedDns::start(vec![Zone::new(zone)], from_map(Arc::clone(&records))).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (_, recipient) = dkimctl::sealing::host_identity();
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
recipients = ["{recipient}"]

[observe]
nameservers = ["{}"]

[policy]
lab = true
sweep_gap = "0s"
publish_safety = "0s"
"#,
            dns.address()
        );
        let bench = Bench { dir, records: Arc::new(RwLock::default()), _dns: dns };
        let bench = Bench { records, ..bench };
        // `init` makes state and key; the page on it shows what it writes.
        bench.run(&["init", "--domain", "example.com", "--no-input"]).success();
        std::fs::write(bench.path("dkimctl.toml"), config).unwrap();
        std::fs::create_dir_all(bench.path("outbox")).unwrap();
        bench
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = Command::cargo_bin("dkimctl").unwrap();
        command.env_clear().env("HOME", self.dir.path()).current_dir(self.dir.path()).args(args).assert()
    }

    /// What was printed; the exit code is checked.
    fn said(&self, args: &[&str], code: i32) -> String {
        let Output { status, stdout, stderr } = self.run(args).get_output().clone();
        let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(code), "dkimctl {args:?}:\n{text}");
        text.replace("dkimctl: warning: `lab = true`: waits may be too short for real mail\n", "")
    }

    /// The name server takes in what the zone file has.
    fn reload(&self) {
        let mut records = self.records.write().unwrap();
        records.clear();
        let text = std::fs::read_to_string(self.path("zone")).unwrap_or_default();
        for line in text.lines().filter(|line| line.contains("TXT")) {
            let name = line.split_whitespace().next().unwrap().trim_end_matches('.');
            let chunks: Vec<Vec<u8>> =
                line.split('"').skip(1).step_by(2).map(|chunk| chunk.as_bytes().to_vec()).collect();
            let name = if name.ends_with("example.com") { name.to_owned() } else { format!("{name}.example.com") };
            records.insert(name.parse().unwrap(), vec![(3600, Data::Txt(chunks))]);
        }
    }
}

#[test]
fn a_rotation_is_published_seen_and_verified() {
    let bench = Bench::new();
    assert_eq!(bench.said(&["verify"], 0), "no record is ours yet\n");
    assert!(bench.said(&["plan", "--rotate", "--exit-code"], 5).contains("+ s1._domainkey.example.com. TXT"));
    let rotated = bench.said(&["rotate", "example.com"], 0);
    assert!(rotated.contains("wait example.com s1: not yet at 127.0.0.1"), "{rotated}");
    assert!(bench.said(&["verify"], 0).contains("(published): not yet at"));

    bench.reload();
    assert!(bench.said(&["verify"], 0).contains("the one address asked has it"));
    let advanced = bench.said(&["advance", "example.com"], 0);
    assert!(advanced.contains("every name server has the record, asked twice"), "{advanced}");
    assert!(advanced.contains("caches may still deny its record"), "{advanced}");
    assert!(bench.path("outbox/manifest.signed").exists(), "the mail host has no orders");

    // Somebody takes the record away: a finding. The name server falls silent: no finding.
    bench.records.write().unwrap().clear();
    assert!(bench.said(&["verify"], 3).contains("FAIL s1._domainkey.example.com"));
}

#[test]
fn a_silent_server_is_not_a_missing_record() {
    let bench = Bench::new();
    bench.said(&["rotate", "example.com"], 0);
    let config = std::fs::read_to_string(bench.path("dkimctl.toml")).unwrap();
    let silent = config
        .lines()
        .map(|line| if line.starts_with("nameservers") { "nameservers = [\"127.0.0.1:9\"]" } else { line });
    std::fs::write(bench.path("dkimctl.toml"), silent.collect::<Vec<_>>().join("\n")).unwrap();
    assert!(bench.said(&["verify"], 4).starts_with("?    s1._domainkey.example.com"));
}

#[test]
fn nothing_due_is_silent_and_writes_nothing() {
    let bench = Bench::new();
    assert_eq!(bench.said(&["advance"], 0), "");
    bench.said(&["rotate", "example.com"], 0);
    let before = std::fs::metadata(bench.path("state/dkimctl.db")).unwrap().modified().unwrap();
    for verb in ["advance", "retire"] {
        assert_eq!(bench.said(&[verb], 0), "");
    }
    assert_eq!(std::fs::metadata(bench.path("state/dkimctl.db")).unwrap().modified().unwrap(), before);
    assert!(!bench.path("state/dkimctl.db-journal").exists());
}

#[test]
fn a_locked_state_exits_with_6() {
    use dkimctl_state::store::lock::{Holder, Lock};
    let bench = Bench::new();
    let holder = Holder::here("dkimctl rotate", dkimctl_state::time::Time::from_unix(1_795_000_000));
    let _held = Lock::take(&bench.path("state"), &holder).unwrap();
    let said = bench.said(&["rotate", "example.com"], 6);
    assert!(said.contains("the state is in use by") && said.contains("hint: wait for the other command"), "{said}");
    bench.said(&["status"], 0);
}

#[test]
fn adopting_verifies_key_and_record_against_each_other() {
    let bench = Bench::new();
    let key = generate(KeyKind::Rsa { bits: 2048 }).unwrap();
    write_private(&bench.path("mail.private"), key.pem());
    let adopt = ["adopt", "example.com", "--selector", "mail", "--key", "mail.private"];
    assert!(bench.said(&adopt, 1).contains("it shows no record; nothing was taken over"));

    let name: Fqdn = "mail._domainkey.example.com".parse().unwrap();
    let other = generate(KeyKind::Rsa { bits: 2048 }).unwrap();
    let serve = |key: &dkimctl::keygen::PrivateKey| {
        let text = key.public().record(key.algorithm());
        bench.records.write().unwrap().insert(name.clone(), vec![(300, Data::txt(text))]);
    };
    serve(&other);
    assert!(bench.said(&adopt, 1).contains("it shows another key than the file's"));
    serve(&key);
    assert!(bench.said(&adopt, 0).contains("mail: rsa key taken over"));
    assert!(bench.said(&["status"], 0).contains("mail      rsa  active"));
    assert!(bench.said(&["verify"], 0).contains("ok   mail._domainkey.example.com (active)"));
}

#[test]
fn revoking_is_confirmed_and_a_hold_holds() {
    let bench = Bench::new();
    bench.said(&["rotate", "example.com"], 0);
    let unsure = bench.said(&["revoke", "example.com", "--selector", "s1"], 2);
    assert!(unsure.contains("it has signed nothing yet") && unsure.contains("add --yes if it is meant"), "{unsure}");
    bench.said(&["hold", "example.com", "--reason", "moving the zone"], 0);
    assert!(bench.said(&["rotate", "example.com"], 1).contains("hint: dkimctl release example.com"));
    assert!(bench.said(&["status"], 0).ends_with("Next:   dkimctl release example.com\n"));
    bench.said(&["release", "example.com"], 0);
    let revoked = bench.said(&["revoke", "example.com", "--selector", "s1", "--yes", "--reason", "leaked"], 0);
    assert!(revoked.contains("s1: given up"), "{revoked}");
}

#[test]
fn json_begins_with_its_schema() {
    let bench = Bench::new();
    bench.said(&["rotate", "example.com", "--json"], 0);
    for args in [&["status"][..], &["log"], &["plan"], &["verify"], &["dns", "show"], &["state", "verify"]] {
        let output = bench.run(&[args, &["--json"]].concat()).get_output().clone();
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["schema"], 1, "{args:?}");
    }
}

fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
