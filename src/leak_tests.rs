//! A canary: no piece of a private key may turn up in anything that is printed.

use crate::files::FileError;
use crate::keygen::{KeyKind, PrivateKey, generate};
use crate::sealing::{Identities, Recipient, host_identity, open, seal};
use crate::secrets::fixture::Hosts;
use crate::secrets::signed::{SigningKey, VerifyKey};
use crate::secrets::{list, receipt, write};
use crate::vault::Vault as _;

/// Pieces of a PEM text that would betray it: every run of 12 characters of its body, and the body without line ends.
pub fn pieces(pem: &str) -> Vec<String> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----") && !line.starts_with('#')).collect();
    // The first octets of PKCS#8 are the same for every key of a kind.
    let secret = &body.as_bytes()[body.len().min(24)..];
    secret.windows(12).map(|run| String::from_utf8_lossy(run).into_owned()).collect()
}

/// Fails if any of `printed` contains a piece of the key.
pub fn assert_no_leak(pem: &str, printed: &[String]) {
    let pieces = pieces(pem);
    assert!(!pieces.is_empty());
    for text in printed {
        // Not the text itself: this message must not leak either.
        assert!(!pieces.iter().any(|piece| text.contains(piece)), "a piece of a private key was printed");
    }
}

fn shown<E: std::error::Error>(error: E) -> Vec<String> {
    let mut texts = vec![format!("{error:?} {error:#?} {error}")];
    let mut cause = error.source();
    while let Some(why) = cause {
        texts.push(format!("{why:?} {why}"));
        cause = why.source();
    }
    texts
}

/// Every way of breaking a key's text that a reader may meet.
fn broken(pem: &str) -> Vec<Vec<u8>> {
    let mut texts: Vec<Vec<u8>> = (0..pem.len()).step_by(7).map(|at| pem.as_bytes()[..at].to_vec()).collect();
    texts.push(pem.replace("PRIVATE KEY", "EC PRIVATE KEY").into());
    texts.push(pem.replace("-----END", "-----NED").into());
    texts.push(pem.replace("-----", "").into());
    texts.push(pem.replacen('M', "*", 1).into());
    texts.push(pem.replace('\n', "").into());
    texts.push(pem.replacen("-----BEGIN PRIVATE KEY-----\n", "-----BEGIN ", 1).into());
    texts
}

#[test]
fn errors_of_reading_a_key_carry_nothing_of_it() {
    for kind in [KeyKind::default(), KeyKind::Ed25519] {
        let key = generate(kind).unwrap();
        let mut printed = Vec::new();
        for text in broken(key.pem()) {
            printed.extend(PrivateKey::from_pem(&text).err().into_iter().flat_map(shown));
            printed.extend(Identities::from_text("a file", &text).err().into_iter().flat_map(shown));
            let text = String::from_utf8(text).unwrap();
            printed.extend(text.parse::<Recipient>().err().into_iter().flat_map(shown));
            printed.extend(text.parse::<VerifyKey>().err().into_iter().flat_map(shown));
        }
        assert!(printed.len() > 50);
        assert_no_leak(key.pem(), &printed);
    }
}

#[test]
fn errors_of_reading_an_identity_carry_nothing_of_it() {
    let (text, _) = host_identity();
    let secret = text.lines().last().unwrap();
    let mut printed = Vec::new();
    for text in [secret, &secret.to_lowercase(), &secret[..secret.len() - 1], &format!("{secret}x")] {
        printed.extend(Identities::from_text("a file", text.as_bytes()).err().into_iter().flat_map(shown));
        printed.extend(text.parse::<Recipient>().err().into_iter().flat_map(shown));
    }
    let body = &secret["AGE-SECRET-KEY-1".len()..];
    for run in body.as_bytes().windows(12) {
        let run = std::str::from_utf8(run).unwrap();
        let folded = |text: &String| text.to_ascii_uppercase().contains(run);
        assert!(!printed.iter().any(folded), "a piece of an identity was printed");
    }
}

#[test]
fn a_whole_delivery_prints_nothing_of_its_keys_and_keeps_nothing_in_the_clear() {
    let hosts = Hosts::new();
    let mut printed = vec![format!("{:?}", hosts.write().unwrap())];
    let outbox = hosts.open();
    printed.push(format!("{:?} {:?}", outbox.manifest, outbox.seen));
    let target = hosts.target();
    printed.push(format!("{:?}", write::write(&outbox, &hosts.identity, &target, None).unwrap()));
    printed.push(format!("{:?}", list::list(&outbox.manifest, &target.dir)));
    let order = &outbox.manifest.domains[0];
    let path = write::key_path(&target.dir, &order.domain, &order.keys[0]);
    let pem = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();

    // The error paths: a foreign file, an identity that does not fit, a directory in the way, a damaged blob.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, &pem[..pem.len() - 40]).unwrap();
    printed.push(format!("{:?}", write::write(&outbox, &hosts.identity, &target, None).unwrap()));
    printed.push(format!("{:?}", write::destroy(&target.dir, order)));
    let blob = hosts.vault.blob(&order.keys[0].fingerprint).unwrap();
    let stranger = Identities::from_text("stranger", host_identity().0.as_bytes()).unwrap();
    printed.extend(open(&blob, &stranger).err().into_iter().flat_map(shown));
    printed.extend(open(&blob[..blob.len() - 9], &hosts.identity).err().into_iter().flat_map(shown));
    let blocked = FileError::Exists { path };
    printed.extend(shown(receipt::ReceiptError::from(blocked)));
    assert_no_leak(&pem, &printed);

    // What lies on the disk outside the target directory is sealed.
    let key = PrivateKey::from_pem(&pem).unwrap();
    assert_no_leak(&pem, &[String::from_utf8_lossy(&seal(&key, hosts.vault.recipients()).unwrap()).into_owned()]);
    for dir in [hosts.outbox(), hosts.outbox().join("blobs"), hosts.vault.path().to_owned()] {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
            assert_no_leak(&pem, &[text]);
        }
    }
}

#[test]
fn the_canary_sings() {
    let key = generate(KeyKind::Ed25519).unwrap();
    let leak = std::panic::catch_unwind(|| assert_no_leak(key.pem(), &[format!("oops: {}", key.pem())]));
    assert!(leak.is_err());
    let other = SigningKey::generate();
    assert_no_leak(key.pem(), &[other.pem().to_string(), other.verify_key().to_string()]);
}
