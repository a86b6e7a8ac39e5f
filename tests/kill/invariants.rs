//! What holds after every kill. It shares no code with the program's own rules: it reads files, asks BIND, and has
//! the signer sign.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dkimctl::keygen::PrivateKey;
use dkimctl::signers::Signer as _;
use dkimctl::signers::milter::Answer as Signed;
use dkimctl::signers::probe::{self, KeyLookup, Verdict};
use dkimctl_providers::wire::{self, Answer};
use dkimctl_state::lifecycle::ledger::{Key, Ledger, Phase};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use hickory_proto::rr::{RData, RecordType};

use crate::rig::{Rig, ZONE, said};

/// When the world is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    AfterAKill,
    /// Then nothing may be left over either.
    AfterARun,
}

/// What a kill cut through, by what lies there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caught {
    Commit,
    FileHalfWritten,
    KeyUnknown,
    RecordUnknown,
    RecordStillKnown,
    DeliveryUnknown,
    SwitchUnproven,
}

/// Panics when something does not hold; says what was cut off.
pub fn hold(rig: &Rig, at: At) -> BTreeSet<Caught> {
    let mut caught = BTreeSet::new();
    // Before anybody opens the state: to open it is to take back half a commit.
    if rig.path("state/dkimctl.db-journal").exists() {
        caught.insert(Caught::Commit);
    }
    let files = files(rig);
    let left: Vec<&PathBuf> = files.iter().filter(|file| is_leftover(file)).collect();
    if left.iter().any(|file| !file.ends_with("dkimctl.db-journal")) {
        caught.insert(Caught::FileHalfWritten);
    }
    assert!(at == At::AfterAKill || left.is_empty(), "left over after a run: {left:?}");

    let verify = rig.command(&["state".to_owned(), "verify".to_owned()]).output().unwrap();
    assert!(verify.status.success(), "the state is not whole: {}", said(&verify));
    let ledger = rig.ledger();
    one_key_is_active(&ledger);
    no_secret_lies_about(rig, &files);
    let signs = what_signs_is_published(rig);
    mail_verifies(rig);
    everything_has_its_owner(rig, &ledger, at, &mut caught);
    if key(&ledger, Phase::Active).is_some_and(|active| *signs != *active.selector.as_str()) {
        caught.insert(Caught::SwitchUnproven);
    }
    caught
}

fn one_key_is_active(ledger: &Ledger) {
    let active = ledger.keys().filter(|(phase, _)| *phase == Phase::Active).count();
    assert_eq!(active, 1, "keys that sign, in the ledger: {ledger:#?}");
    let mut fingerprints: Vec<_> = ledger.keys().map(|(_, key)| key.fingerprint).collect();
    let all = fingerprints.len();
    fingerprints.sort();
    fingerprints.dedup();
    assert_eq!(fingerprints.len(), all, "a key lives twice: {ledger:#?}");
}

/// Private keys in PEM lie where the signer reads them, and nowhere else; nor do the other secrets.
fn no_secret_lies_about(rig: &Rig, files: &[PathBuf]) {
    let identity = fs::read_to_string(rig.path("identity")).unwrap();
    let identity = identity.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    let at_home = [
        ("PRIVATE KEY-----", vec![rig.path("state/manifest.key"), rig.path("host/receipt.key")]),
        (identity, vec![rig.path("identity")]),
        (&rig.key.secret, vec![rig.path("tsig")]),
    ];
    for file in files.iter().filter(|file| !file.starts_with(rig.daemon.keys())) {
        // It may go while it is looked at: an old receipt.
        let Ok(bytes) = fs::read(file) else { continue };
        for (secret, home) in &at_home {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found || home.contains(file), "{} holds a secret ({}...)", file.display(), &secret[..11]);
        }
    }
    let temporary = fs::read_dir(rig.path("tmp")).unwrap().count();
    assert_eq!(temporary, 0, "something was written to $TMPDIR");
}

/// SigningTable -> KeyTable -> file -> BIND. Returns the selector.
fn what_signs_is_published(rig: &Rig) -> String {
    let rows = |path: &Path| -> Vec<(String, String)> {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{} is cut off: {text:?}", path.display());
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
        let row = |line: &str| line.split_once(char::is_whitespace).map(|(a, b)| (a.to_owned(), b.trim().to_owned()));
        lines.map(|line| row(line).unwrap_or_else(|| panic!("{line:?}"))).collect()
    };
    let keys = rows(&rig.daemon.key_table());
    for (name, value) in &keys {
        let path = value.splitn(3, ':').nth(2).unwrap_or_else(|| panic!("{value}"));
        // OpenDKIM refuses its whole configuration for one file that is missing.
        assert!(Path::new(path).exists(), "{name} names {path}, which is not there");
    }
    let signing = rows(&rig.daemon.signing_table());
    let [(pattern, name)] = signing.as_slice() else { panic!("SigningTable: {signing:?}") };
    assert!(pattern.ends_with(ZONE), "{pattern}");
    let row = keys.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("{name} is not in {keys:?}"));
    let mut parts = row.1.splitn(3, ':');
    let (domain, selector, path) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    assert_eq!(domain, ZONE);
    let private = PrivateKey::from_pem(fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"));
    let record = private.public().record(private.algorithm());
    let served = served(rig, selector);
    assert_eq!(served, [record.to_str_lossy().into_owned()], "what {selector} signs with is not what BIND serves");
    selector.to_owned()
}

/// A message that is handed to the running signer comes back signed, and verifies with what BIND serves.
fn mail_verifies(rig: &Rig) {
    let domain = ZONE.parse().unwrap();
    let probed = rig.signer.probe(&domain);
    let Signed::Passed(headers) = &probed.answer else { panic!("the signer: {:?}", probed.answer) };
    let signature = headers.iter().find(|header| header.name.eq_ignore_ascii_case("DKIM-Signature"));
    let signature = signature.unwrap_or_else(|| panic!("unsigned: {headers:?}"));
    let tag = |tag: &str| signature.value.split(';').find_map(|part| part.trim().strip_prefix(tag).map(str::to_owned));
    let selector = tag("s=").unwrap_or_else(|| panic!("{}", signature.value));
    let expected = [probe::Expected { selector: selector.parse().unwrap(), key: None }];
    let lookup = |name: &Fqdn| {
        assert_eq!(name.as_str(), format!("{selector}._domainkey.{ZONE}"));
        match served(rig, &selector).as_slice() {
            [] => KeyLookup::Missing,
            [text] => KeyLookup::Found(TxtText::from(text.as_str())),
            many => panic!("{} records at {name}", many.len()),
        }
    };
    let verdicts = probe::judge(&probed, &domain, &expected, &lookup);
    assert_eq!(verdicts, [Verdict::Right], "a signature of {selector}");
}

/// Blobs, key files and records belong to keys of the ledger; those that do not were cut off on their way.
fn everything_has_its_owner(rig: &Rig, ledger: &Ledger, at: At, caught: &mut BTreeSet<Caught>) {
    let blobs: Vec<String> = names(&rig.path("state/blobs"));
    let mut known: Vec<&Key> = ledger.keys().map(|(_, key)| key).collect();
    known.retain(|key| key.shredded.is_none());
    for key in &known {
        let blob = format!("{}.age", key.fingerprint.short());
        let going = ledger.key(&key.fingerprint).unwrap().0;
        let may_be_shredded = matches!(going, Phase::Retiring | Phase::Withdrawn | Phase::Gone | Phase::Revoked);
        assert!(blobs.contains(&blob) || may_be_shredded, "the sealed key {blob} ({going}) is lost: {blobs:?}");
    }
    let of = |name: &String| known.iter().any(|key| *name == format!("{}.age", key.fingerprint.short()));
    if blobs.iter().any(|name| name.ends_with(".age") && !of(name)) {
        caught.insert(Caught::KeyUnknown);
    }
    let delivered = names(&rig.daemon.keys().join(ZONE));
    for (phase, key) in ledger.keys() {
        let served = if phase == Phase::Gone { Vec::new() } else { served(rig, key.selector.as_str()) };
        let is_there = served == [key.record().to_str_lossy().into_owned()];
        match phase {
            Phase::Sealed if is_there => drop(caught.insert(Caught::RecordUnknown)),
            Phase::Retiring if !is_there => drop(caught.insert(Caught::RecordStillKnown)),
            // Sentence 1 of the design: whatever may sit in a queue verifies.
            Phase::Published | Phase::Propagated | Phase::Switching | Phase::Active => {
                assert!(is_there, "{} is {phase}, and BIND serves {served:?}", key.selector);
            }
            _ => {}
        }
        let file = format!("{}-{}", key.selector, key.fingerprint.short());
        let is_delivered = delivered.iter().any(|name| name.starts_with(&file));
        if is_delivered && key.delivered.is_empty() {
            caught.insert(Caught::DeliveryUnknown);
        }
        if at == At::AfterARun && phase == Phase::Gone {
            assert!(!is_delivered, "the private key of {file} was not destroyed");
        }
    }
}

/// The TXT records at a selector.
fn served(rig: &Rig, selector: &str) -> Vec<String> {
    let name: Fqdn = format!("{selector}._domainkey.{ZONE}").parse().unwrap();
    match wire::ask(rig.dns.address, &wire::to_name(&name), RecordType::TXT, wire::Options::default()) {
        Answer::Records(records) => {
            let text = |data: &RData| match data {
                RData::TXT(txt) => String::from_utf8(txt.txt_data.concat()).unwrap(),
                other => panic!("{other}"),
            };
            records.answers.iter().map(|record| text(&record.data)).collect()
        }
        Answer::NxDomain(_) | Answer::NoData(_) => Vec::new(),
        other => panic!("BIND: {other:?}"),
    }
}

fn key(ledger: &Ledger, wanted: Phase) -> Option<&Key> {
    ledger.keys().find(|(phase, _)| *phase == wanted).map(|(_, key)| key)
}

/// Every file of both sides.
fn files(rig: &Rig) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![rig.dir.path().to_owned(), rig.daemon.dir.clone()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => {
                    if is_leftover(&entry.path()) {
                        files.push(entry.path());
                    }
                    directories.push(entry.path());
                }
                kind if kind.is_file() => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files
}

/// Whether a name is that of something unfinished.
fn is_leftover(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    name.ends_with(".partial")
        || name.ends_with("-journal")
        || name.ends_with(".new")
        || name.contains(".tmp")
        || name.starts_with(".dkimctl-")
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
