//! `secrets write`

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use dkimctl::embedded_dns::Data;
use dkimctl::keygen::{KeyKind, generate};
use dkimctl::sealing::{break_glass_identity_with, host_identity};

use crate::bench::Bench;

#[test]
fn a_key_is_written_once_and_then_it_is_there_already() {
    let bench = Bench::new();
    assert!(bench.write(&[], 0).starts_with("written   example.com  s1  "));
    let file = bench.only("keys/example.com", ".private");
    let (inode, mode) = (file.metadata().unwrap().ino(), file.metadata().unwrap().permissions().mode() & 0o7777);
    assert_eq!(mode, 0o400);
    assert!(bench.write(&[], 0).starts_with("already   "));
    assert!(bench.write(&["--mode", "0440"], 0).starts_with("repaired  "));
    assert_eq!(file.metadata().unwrap().ino(), inode, "no file is written over");

    let json = bench.write(&["--json", "--mode", "0440"], 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["schema"], &json["verified"]), (&1.into(), &"signature".into()));
    let key = &json["keys"][0];
    assert_eq!((&key["domain"], &key["selector"]), (&"example.com".into(), &"s1".into()));
    assert_eq!((&key["outcome"], &key["why"]), (&"already".into(), &serde_json::Value::Null));
    assert!(key["fingerprint"].is_string() && key["path"].is_string());
}

#[test]
fn the_manifest_itself_can_be_named() {
    let bench = Bench::new();
    let args = ["secrets", "write", "--manifest", "outbox/manifest.signed", "--identity", "ci.key", "--to", "keys"];
    let pin = ["--verify-key", &bench.verify_key];
    assert!(bench.said(&[&args[..], &pin].concat(), 0).starts_with("written   "));
    let other = ["secrets", "write", "--manifest", "dkimctl.toml", "--identity", "ci.key", "--to", "keys"];
    let said = bench.said(&[&other[..], &pin].concat(), 2);
    assert!(said.contains("dkimctl.toml is neither an outbox nor the manifest.signed in one"), "{said}");
}

#[test]
fn who_signed_has_to_be_said_or_dns_has_to_show_it() {
    let bench = Bench::new();
    let write = |more: &[&str], code| {
        let base = ["secrets", "write", "--manifest", "outbox", "--identity", "ci.key", "--to", "keys"];
        bench.said(&[&base[..], more].concat(), code)
    };
    let said = write(&[], 2);
    assert!(said.contains("who signed the manifest is not known") && said.contains("--verify-key dkimctl-pk-"));
    assert!(!bench.path("keys").exists());

    let server = bench.dns.address().to_string();
    let dns = ["--check-dns", "--nameserver", &server];
    let shown = bench.records.read().unwrap().clone();
    bench.records.write().unwrap().clear();
    assert!(write(&dns, 1).contains("has no record"));
    let other = generate(KeyKind::Ed25519).unwrap();
    for name in shown.keys() {
        let text = other.public().record(other.algorithm());
        bench.records.write().unwrap().insert(name.clone(), vec![(300, Data::txt(text))]);
    }
    assert!(write(&dns, 1).contains("has another key"));
    assert!(write(&["--check-dns", "--nameserver", "127.0.0.1:9"], 1).contains("could not be asked"));
    assert!(bench.path("keys/example.com").read_dir().unwrap().next().is_none(), "nothing may be written");

    *bench.records.write().unwrap() = shown;
    let said = write(&dns, 0);
    assert!(said.starts_with("written   "), "{said}");
    assert_eq!(said.matches("warning: no --verify-key").count(), 1);
    bench.records.write().unwrap().clear();
    assert!(write(&dns, 1).starts_with("refused   "), "a key that is there is compared too");
    assert!(write(&["--unverified"], 0).contains("warning: no --verify-key"));
}

#[test]
fn a_manifest_that_was_tampered_with_is_refused() {
    let bench = Bench::new();
    let path = bench.path("outbox/manifest.signed");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"s1\"", "\"s9\"")).unwrap();
    assert!(bench.write(&[], 1).contains("its signature does not fit"));
    std::fs::write(&path, &text[..text.len() / 2]).unwrap();
    bench.write(&[], 1);
    std::fs::write(&path, &text).unwrap();
    let stranger = dkimctl::secrets::signed::SigningKey::generate().verify_key().to_string();
    let args = ["secrets", "write", "--manifest", "outbox", "--identity", "ci.key", "--to", "keys", "--verify-key"];
    assert!(bench.said(&[&args[..], &[&stranger]].concat(), 1).contains("is pinned"));
    assert!(!bench.path("keys").exists());
    // The blob of another key.
    let blob = bench.only("outbox/blobs", ".age");
    std::fs::write(&blob, "age-encryption.org/v1\n").unwrap();
    assert!(bench.write(&[], 1).contains("missing or not complete"));
}

#[test]
fn an_identity_has_to_be_the_right_one_and_nobody_elses() {
    let bench = Bench::new();
    bench.private("ci.key", &host_identity().0);
    let said = bench.write(&[], 1);
    assert!(said.starts_with("refused   ") && said.contains("the blob is not sealed to the identity in ci.key"));
    bench.private("ci.key", std::str::from_utf8(&break_glass_identity_with("a long passphrase", 10).0).unwrap());
    assert!(bench.write(&[], 1).contains("is encrypted with a passphrase, and nobody is here to be asked"));
    bench.private("ci.key", &bench.identity);
    bench.chmod("ci.key", 0o644);
    assert!(bench.write(&[], 1).contains("is open to others (mode 0644)"));
    assert!(std::fs::read_dir(bench.path("keys/example.com")).unwrap().next().is_none(), "nothing may be written");
    bench.chmod("ci.key", 0o600);
    assert!(bench.write(&[], 0).starts_with("written   "));
}

#[test]
fn a_directory_that_others_write_to_is_refused() {
    let bench = Bench::new();
    std::fs::create_dir(bench.path("keys")).unwrap();
    bench.chmod("keys", 0o777);
    assert!(bench.write(&[], 1).contains("can be written by others"));
    std::fs::remove_dir(bench.path("keys")).unwrap();
    std::fs::write(bench.path("keys"), "a file").unwrap();
    bench.write(&[], 1);
    let args = ["secrets", "write", "--manifest", "outbox", "--identity", "ci.key", "--to", "no/such/dir"];
    let said = bench.said(&[&args[..], &["--verify-key", &bench.verify_key]].concat(), 1);
    assert!(said.contains("no/such"), "{said}");
    assert!(bench.write(&["--mode", "0644"], 2).contains("signers refuse keys that others could read"));
}

#[test]
fn a_key_that_was_exchanged_is_refused_and_left_as_it_is() {
    let bench = Bench::new();
    bench.write(&[], 0);
    let file = bench.only("keys/example.com", ".private");
    let other = generate(KeyKind::Ed25519).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, other.pem()).unwrap();
    let said = bench.write(&[], 1);
    assert!(said.starts_with("refused   ") && said.contains("nothing here overwrites a key"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), other.pem());
}

/// Nothing of a private key or an identity is ever printed, whatever happens.
#[test]
fn nothing_secret_is_printed() {
    let bench = Bench::new();
    let mut printed = vec![bench.write(&["--json"], 0), bench.write(&["-v"], 0)];
    let file = bench.only("keys/example.com", ".private");
    let pem = std::fs::read_to_string(&file).unwrap();
    bench.chmod("ci.key", 0o644);
    printed.push(bench.write(&[], 1));
    bench.chmod("ci.key", 0o600);
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, pem.replace("BEGIN", "BEGUN")).unwrap();
    printed.push(bench.write(&["--json"], 1));
    printed.push(bench.said(&["secrets", "list", "--json"], 0));
    // The file of a key where the identity belongs, and the identity where the pinned key belongs.
    bench.private("mixed-up", &pem);
    let args = ["secrets", "write", "--manifest", "outbox", "--to", "keys", "--identity", "mixed-up", "--unverified"];
    printed.push(bench.said(&args, 1));
    let secret = bench.identity.lines().find(|line| line.starts_with("AGE-SECRET")).unwrap();
    let args = ["secrets", "write", "--manifest", "outbox", "--to", "keys", "--identity", "ci.key"];
    let pinned = bench.said(&[&args[..], &["--unverified", "--json"]].concat(), 1);
    printed.push(pinned);
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    for text in &printed {
        assert!(!text.contains("-----BEGIN"), "a PEM was printed");
        // The first octets of PKCS#8 are the same for every key.
        let leaked = body.as_bytes()[40..].windows(12).any(|run| text.contains(std::str::from_utf8(run).unwrap()));
        assert!(!leaked && !text.contains(secret), "a piece of a secret was printed");
    }
}
