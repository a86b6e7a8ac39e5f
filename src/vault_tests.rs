use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::sync::Mutex;

use super::*;
use crate::sealing::{Identities, host_identity, open};

fn vault(dir: &Path) -> (AgeVault, Identities) {
    let (text, to) = host_identity();
    let (_, spare) = host_identity();
    (AgeVault::open(dir, vec![to, spare]).unwrap(), Identities::from_text("test", text.as_bytes()).unwrap())
}

fn wanted(n: usize) -> Vec<NewKey> {
    let kind = |i: usize| if i == 0 { KeyKind::default() } else { KeyKind::Ed25519 };
    (0..n)
        .map(|i| NewKey {
            domain: format!("d{i}.example").parse().unwrap(),
            selector: "s1".parse().unwrap(),
            kind: kind(i),
        })
        .collect()
}

#[test]
fn keys_are_sealed_durably_and_open_again() {
    let temp = tempfile::tempdir().unwrap();
    let (vault, identity) = vault(temp.path());
    let seen = Mutex::new(Vec::new());
    let made = vault.create_watched(&wanted(5), &|n| seen.lock().unwrap().push(n));
    assert_eq!(seen.into_inner().unwrap().iter().max(), Some(&5));
    for (made, wanted) in made.into_iter().zip(wanted(5)) {
        let made = made.unwrap();
        assert_eq!((made.algorithm, made.recipients), (wanted.kind.algorithm(), 2));
        let fingerprint = made.public.fingerprint();
        let blob = vault.blob(&fingerprint).unwrap();
        assert_eq!(sha256_hex(&blob), made.blob_sha256);
        assert_eq!(open(&blob, &identity).unwrap().public(), &made.public);
        let path = vault.path().join(blob_name(&fingerprint));
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    }
    assert_eq!(vault.path().metadata().unwrap().mode() & 0o7777, 0o700);
    assert_eq!(vault.names().unwrap().len(), 5);
}

#[test]
fn nothing_is_sealed_to_nobody() {
    let temp = tempfile::tempdir().unwrap();
    let vault = AgeVault::open(temp.path(), vec![]).unwrap();
    assert!(vault.create(&wanted(2)).iter().all(|made| matches!(made, Err(VaultError::NoRecipients))));
    assert!(vault.names().unwrap().is_empty());
}

#[test]
fn a_shredded_key_is_gone_and_shredding_twice_is_once() {
    let temp = tempfile::tempdir().unwrap();
    let (vault, _) = vault(temp.path());
    let made = vault.create(&wanted(1)).pop().unwrap().unwrap();
    let key = made.public.fingerprint();
    vault.shred(&key).unwrap();
    vault.shred(&key).unwrap();
    assert!(matches!(vault.blob(&key), Err(VaultError::Missing { .. })));
    assert!(vault.directory().names().unwrap().is_empty());
}

#[test]
fn an_adopted_key_is_itself_and_adopting_twice_is_once() {
    let temp = tempfile::tempdir().unwrap();
    let (vault, identity) = vault(temp.path());
    let key = keygen::generate(KeyKind::Ed25519).unwrap();
    vault.adopt(&key).unwrap();
    let sealed = vault.adopt(&key).unwrap();
    let blob = vault.blob(&key.fingerprint()).unwrap();
    assert_eq!(sha256_hex(&blob), sealed.blob_sha256);
    assert!(open(&blob, &identity).unwrap().pem() == key.pem());
    assert_eq!(vault.names().unwrap().len(), 1);
}

#[test]
fn the_next_run_cleans_up_after_a_crash_and_refuses_an_open_directory() {
    let temp = tempfile::tempdir().unwrap();
    let (first, _) = vault(temp.path());
    std::fs::write(first.path().join(".0011223344556677.age.partial"), b"half").unwrap();
    let (second, _) = vault(temp.path());
    assert!(second.directory().names().unwrap().is_empty());
    std::fs::set_permissions(second.path(), PermissionsExt::from_mode(0o770)).unwrap();
    let refused = AgeVault::open(temp.path(), vec![]);
    assert!(matches!(refused, Err(VaultError::File(FileError::WritableByOthers { .. }))));
}
