//! A key in an image whose record a real BIND serves.

use std::path::Path;
use std::sync::Arc;

use dkimctl::config::Config;
use dkimctl::doctor::engine::Docker;
use dkimctl::doctor::finding::{Finding, Outcome, Severity};
use dkimctl::doctor::patient::{Image, OurKey, Ours, Patient};
use dkimctl::doctor::{self};
use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::time::Time;

use crate::planted::keys;
use crate::servers::{Bind, TestZone, skip};

/// An archive as docker would save it, with the planted RSA key at one path.
fn archive(at: &Path, path: &str) {
    let layer = tar_of(&[(path, keys().rsa.pem().as_bytes())]);
    let manifest = br#"[{"Config":"c.json","RepoTags":["mail:1"],"Layers":["l/layer.tar"]}]"#;
    let config = br#"{"history":[{"created_by":"COPY keys/ /etc/ # buildkit"}]}"#;
    std::fs::write(at, tar_of(&[("l/layer.tar", &layer), ("c.json", config), ("manifest.json", manifest)])).unwrap();
}

pub fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, octets) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(octets.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *octets).unwrap();
    }
    tar.into_inner().unwrap()
}

struct Case {
    dir: tempfile::TempDir,
    observe: String,
}

impl Case {
    fn examine(&self, path: &str, ours: Vec<OurKey>) -> Vec<Finding> {
        let image = self.dir.path().join("image.tar");
        archive(&image, path);
        let text = format!("state = \"state\"\n[observe]\n{}\n", self.observe);
        let config = Config::parse(&self.dir.path().join("dkimctl.toml"), &text).unwrap();
        let patient = Patient {
            image: Some(Image::Archive(image)),
            engine: Arc::new(Docker::default()),
            ours: Ours { config: Some(config), keys: ours, unread: None },
            now: Time::from_unix(1_800_000_000),
            ..Patient::default()
        };
        doctor::examine(&patient, &|check| check.id == "KEY001" || check.id == "KEY002")
    }
}

fn worst(findings: &[Finding]) -> (&'static str, Outcome, Severity) {
    let worst = findings.iter().max_by_key(|finding| (finding.result, finding.severity)).unwrap();
    (worst.id, worst.result, worst.severity)
}

#[test]
fn a_key_that_bind_serves_is_critical_and_any_other_is_not() {
    if !nix::unistd::geteuid().is_root() && std::process::Command::new("named").arg("-v").output().is_err() {
        return skip("named is not installed");
    }
    let record = keys().rsa.public().record(keys().rsa.algorithm()).to_str_lossy().into_owned();
    let chunks: Vec<String> =
        record.as_bytes().chunks(200).map(|chunk| format!("\"{}\"", String::from_utf8_lossy(chunk))).collect();
    let other = keys().ed25519.public().record(keys().ed25519.algorithm()).to_str_lossy().into_owned();
    let zone = TestZone::new("example.com")
        .with(&format!("s1._domainkey TXT ( {} )", chunks.join(" ")))
        .with(&format!("s2._domainkey TXT ( \"{other}\" )"))
        .with("dead._domainkey TXT \"v=DKIM1; k=rsa; p=\"");
    let bind = Bind::start(&[], &[zone]);
    let case = Case { dir: tempfile::tempdir().unwrap(), observe: format!("nameservers = [\"{}\"]", bind.address) };

    let live = case.examine("etc/opendkim/keys/example.com/s1.private", Vec::new());
    assert_eq!(worst(&live), ("KEY001", Outcome::Fail, Severity::Critical), "{live:#?}");
    assert!(live[0].evidence.contains("layer 1/1 (COPY keys/ /etc/)"), "{}", live[0].evidence);
    assert!(live[0].evidence.contains("s1._domainkey.example.com, live in DNS"), "{}", live[0].evidence);

    // By our ledger, wherever the file lies: the command of this program.
    let ours = |phase| OurKey {
        domain: "example.com".parse().unwrap(),
        selector: "s1".parse().unwrap(),
        phase,
        algorithm: keys().rsa.algorithm(),
        public: keys().rsa.public().clone(),
        record: keys().rsa.public().record(keys().rsa.algorithm()),
        due: Time::from_unix(2_000_000_000),
    };
    let live = case.examine("srv/x", vec![ours(Phase::Active)]);
    assert_eq!(worst(&live), ("KEY001", Outcome::Fail, Severity::Critical), "{live:#?}");
    assert!(live[0].fix.contains("dkimctl revoke example.com --selector s1 --reason"), "{}", live[0].fix);

    // Another key there, an empty p=, nothing at all: not live, and only a warning.
    for selector in ["s2", "dead", "none"] {
        let found = case.examine(&format!("etc/opendkim/keys/example.com/{selector}.private"), Vec::new());
        assert_eq!(worst(&found), ("KEY002", Outcome::Warn, Severity::Warn), "{selector}: {found:#?}");
    }
    // A ledger that says "gone": an error, but not live.
    let gone = OurKey { selector: "none".parse().unwrap(), ..ours(Phase::Gone) };
    let found = case.examine("srv/x", vec![gone]);
    assert_eq!(worst(&found), ("KEY002", Outcome::Fail, Severity::Error), "{found:#?}");
}

#[test]
fn a_name_server_that_is_silent_leaves_it_open() {
    // Nobody listens there.
    let silent = format!("127.0.0.1:{}", crate::servers::free_port());
    let case = Case { dir: tempfile::tempdir().unwrap(), observe: format!("nameservers = [\"{silent}\"]") };
    let found = case.examine("etc/opendkim/keys/example.com/s1.private", Vec::new());
    let key001: Vec<Outcome> = found.iter().filter(|f| f.id == "KEY001").map(|f| f.result).collect();
    assert_eq!(key001, [Outcome::Unknown], "{found:#?}");
    assert!(found.iter().any(|f| f.id == "KEY002" && f.severity == Severity::Warn), "{found:#?}");
}
