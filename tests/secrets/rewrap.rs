//! `secrets rewrap`: whole, interrupted at each of its steps, and killed anywhere.

use std::fs;
use std::path::Path;

use dkimctl::sealing::{Identities, host_identity};
use dkimctl::secrets::rewrap::seal_beside;
use dkimctl::vault::AgeVault;

use crate::bench::{Bench, opens};

/// A bench whose configuration has another recipient than its key is sealed to.
struct Moved {
    bench: Bench,
    new: String,
    recipient: String,
}

impl Moved {
    fn new() -> Moved {
        let bench = Bench::new();
        let (new, recipient) = host_identity();
        let recipient = recipient.to_string();
        bench.seal_to(&[&recipient]);
        Moved { bench, new: new.to_string(), recipient }
    }

    /// Runs it with the old identity, which opens nothing that was sealed again.
    fn rewrap(&self) -> String {
        self.bench.said(&["secrets", "rewrap", "--identity", "ci.key", "--yes"], 0)
    }

    /// The vault and the outbox are sealed to the new recipient alone, and the state knows it.
    fn assert_done(&self) {
        self.bench.said(&["secrets", "list"], 0);
        for blob in [self.bench.blob(), self.bench.only("outbox/blobs", ".age")] {
            assert!(opens(&blob, &self.new) && !opens(&blob, &self.bench.identity), "{}", blob.display());
        }
        assert_eq!(fs::read_dir(self.bench.path("state/blobs")).unwrap().count(), 1, "nothing is left beside");
        self.bench.private("new.key", &self.new);
        let args = ["secrets", "write", "--manifest", "outbox", "--identity", "new.key", "--to", "keys"];
        self.bench.said(&[&args[..], &["--verify-key", &self.bench.verify_key]].concat(), 0);
    }
}

#[test]
fn keys_are_sealed_again_and_outboxes_follow() {
    let moved = Moved::new();
    let said = moved.bench.said(&["secrets", "rewrap", "--identity", "ci.key"], 2);
    assert!(said.contains(&moved.recipient) && said.contains("add --yes if it is meant"), "{said}");
    let said = moved.rewrap();
    assert!(said.starts_with("resealed  example.com  s1  ") && said.contains("done mail: outbox written"), "{said}");
    moved.assert_done();
    assert!(moved.bench.said(&["log", "example.com"], 0).contains("s1: sealed again"));
    let blob = fs::read(moved.bench.blob()).unwrap();
    assert!(moved.rewrap().starts_with("already   example.com  s1  "));
    assert_eq!(fs::read(moved.bench.blob()).unwrap(), blob, "twice is once");
    moved.bench.said(&["state", "verify"], 0);
}

#[test]
fn a_wrong_identity_changes_nothing() {
    let moved = Moved::new();
    let before = fs::read(moved.bench.blob()).unwrap();
    moved.bench.private("ci.key", &host_identity().0);
    let said = moved.bench.said(&["secrets", "rewrap", "--identity", "ci.key", "--yes"], 1);
    assert!(said.starts_with("refused   ") && said.contains("is not sealed to the identity in ci.key"), "{said}");
    assert_eq!(fs::read(moved.bench.blob()).unwrap(), before);
    assert!(moved.bench.said(&["secrets", "deliver"], 0).starts_with("ok   mail: the outbox is whole"));
}

#[test]
fn interrupted_before_the_state_knew() {
    let moved = Moved::new();
    let vault = AgeVault::open(&moved.bench.path("state"), vec![moved.recipient.parse().unwrap()]).unwrap();
    let old = Identities::from_text("old", moved.bench.identity.as_bytes()).unwrap();
    let keys = [fingerprint(&moved.bench)];
    assert!(seal_beside(&vault, &old, &keys).unwrap()[0].is_ok());
    assert_eq!(fs::read_dir(moved.bench.path("state/blobs")).unwrap().count(), 2);
    // Everything else goes on with the old blob meanwhile.
    moved.bench.said(&["secrets", "list"], 0);
    moved.bench.said(&["secrets", "deliver"], 0);
    assert!(opens(&moved.bench.only("outbox/blobs", ".age"), &moved.bench.identity));
    moved.rewrap();
    moved.assert_done();
}

#[test]
fn interrupted_before_the_blobs_were_exchanged_and_before_the_outbox() {
    let moved = Moved::new();
    let (blob, old) = (moved.bench.blob(), fs::read(moved.bench.blob()).unwrap());
    copy(&moved.bench.path("outbox"), &moved.bench.path("outbox.before"));
    moved.rewrap();
    let outbox_back = || {
        fs::remove_dir_all(moved.bench.path("outbox")).unwrap();
        copy(&moved.bench.path("outbox.before"), &moved.bench.path("outbox"));
    };
    for command in ["rewrap", "deliver"] {
        outbox_back();
        fs::rename(&blob, format!("{}.next", blob.display())).unwrap();
        fs::write(&blob, &old).unwrap();
        match command {
            "rewrap" => assert!(moved.rewrap().starts_with("already   ")),
            _ => drop(moved.bench.said(&["secrets", "deliver"], 0)),
        }
        moved.assert_done();
    }
    outbox_back();
    assert!(moved.rewrap().contains("done mail: outbox written"));
    moved.assert_done();
}

/// SIGKILL at rising delays, then the same command: the end is always that of a run that nobody killed.
#[test]
fn killed_anywhere_it_converges() {
    let mut moved = Moved::new();
    let old = moved.bench.identity.clone();
    let whole = std::time::Instant::now();
    moved.rewrap();
    let whole = whole.elapsed();
    moved.assert_done();
    const KILLS: u32 = 30;
    let (mut killed, mut halfway) = (0, 0);
    for kill in 1..=KILLS {
        // The one who could open it is the one who leaves.
        moved.bench.identity = moved.new.clone();
        moved.bench.private("ci.key", &moved.new);
        let before = fs::read(moved.bench.blob()).unwrap();
        let (new, recipient) = host_identity();
        (moved.new, moved.recipient) = (new.to_string(), recipient.to_string());
        moved.bench.seal_to(&[&moved.recipient]);
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("dkimctl"));
        let command = command.env_clear().env("HOME", moved.bench.path("")).current_dir(moved.bench.path(""));
        let command = command.args(["secrets", "rewrap", "--identity", "ci.key", "--yes", "--quiet"]);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole * kill / KILLS);
        let running = child.try_wait().unwrap().is_none();
        let _ = child.kill();
        child.wait().unwrap();
        killed += u32::from(running);
        let touched = fs::read_dir(moved.bench.path("state/blobs")).unwrap().count() > 1
            || fs::read(moved.bench.blob()).unwrap() != before;
        halfway += u32::from(running && touched);
        moved.rewrap();
        moved.assert_done();
        assert!(!opens(&moved.bench.blob(), &old) || moved.bench.identity == old);
    }
    println!("{KILLS} runs of {} ms: {killed} killed, {halfway} of them halfway", whole.as_millis());
    assert!(killed > 0);
    moved.bench.said(&["state", "verify"], 0);
}

fn fingerprint(bench: &Bench) -> dkimctl_state::record::dkim::Fingerprint {
    let output = bench.command(&["secrets", "list", "--json"]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    json["keys"][0]["fingerprint"].as_str().unwrap().parse().unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}
