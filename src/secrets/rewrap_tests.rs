use super::super::fixture::Hosts;
use super::*;
use crate::sealing::host_identity;
use crate::vault::{Held, sha256_hex};

struct Twice {
    hosts: Hosts,
    /// The same directory, with another recipient.
    vault: AgeVault,
    new: Identities,
    keys: Vec<Fingerprint>,
}

impl Twice {
    fn new() -> Twice {
        let hosts = Hosts::new();
        let (text, to) = host_identity();
        let vault = AgeVault::open(hosts.temp.path(), vec![to]).unwrap();
        let new = Identities::from_text("new", text.as_bytes()).unwrap();
        let keys = vec![hosts.fingerprint(0), hosts.fingerprint(1)];
        Twice { hosts, vault, new, keys }
    }

    fn sha(&self, key: &Fingerprint) -> String {
        sha256_hex(&self.vault.blob(key).unwrap())
    }

    fn opens(&self, key: &Fingerprint, identities: &Identities) -> bool {
        sealing::open(&self.vault.blob(key).unwrap(), identities).is_ok_and(|opened| opened.fingerprint() == *key)
    }

    fn files(&self) -> Vec<String> {
        self.vault.directory().names().unwrap()
    }
}

#[test]
fn a_key_sealed_again_opens_for_the_new_recipient_only() {
    let t = Twice::new();
    let sealed = seal_beside(&t.vault, &t.hosts.identity, &t.keys).unwrap();
    let sealed: Vec<SealedKey> = sealed.into_iter().map(Result::unwrap).collect();
    // Until the state knows the new ones, the old blobs are in force.
    assert!(t.keys.iter().all(|key| t.opens(key, &t.hosts.identity)));
    let known = t.keys.iter().zip(sealed.iter().map(|sealed| &*sealed.blob_sha256));
    assert_eq!(settle(&t.vault, known.clone()).unwrap(), 2);
    assert_eq!(settle(&t.vault, known).unwrap(), 0, "twice is once");
    for (key, sealed) in t.keys.iter().zip(&sealed) {
        assert!(t.opens(key, &t.new) && !t.opens(key, &t.hosts.identity));
        assert_eq!(t.vault.holds(key, &sealed.blob_sha256).unwrap(), Held::Whole);
    }
    assert!(t.files().iter().all(|name| name.ends_with(".age")), "{:?}", t.files());
}

#[test]
fn what_never_came_to_count_goes() {
    let t = Twice::new();
    let before: Vec<String> = t.keys.iter().map(|key| t.sha(key)).collect();
    seal_beside(&t.vault, &t.hosts.identity, &t.keys).unwrap();
    assert_eq!(t.files().len(), 4);
    let known = || t.keys.iter().zip(before.iter().map(|sha| &**sha));
    assert_eq!(settle(&t.vault, known()).unwrap(), 0);
    assert_eq!(t.files().len(), 2);
    assert!(t.keys.iter().all(|key| t.opens(key, &t.hosts.identity)));
}

#[test]
fn an_exchanged_blob_is_not_sealed_again_and_a_wrong_identity_opens_nothing() {
    let t = Twice::new();
    let refused = seal_beside(&t.vault, &t.new, &t.keys).unwrap();
    assert!(refused.iter().all(|sealed| matches!(sealed, Err(RewrapError::Open(OpenError::NotForUs(_))))));
    let other = t.vault.blob(&t.keys[1]).unwrap();
    std::fs::write(t.vault.path().join(crate::vault::blob_name(&t.keys[0])), other).unwrap();
    let sealed = seal_beside(&t.vault, &t.hosts.identity, &t.keys).unwrap();
    assert!(matches!(sealed[0], Err(RewrapError::OtherKey { .. })));
    assert!(sealed[1].is_ok());
}

#[test]
fn a_destroyed_key_leaves_no_second_blob() {
    let t = Twice::new();
    seal_beside(&t.vault, &t.hosts.identity, &t.keys).unwrap();
    t.vault.shred(&t.keys[0]).unwrap();
    assert_eq!(t.files().len(), 2);
}
