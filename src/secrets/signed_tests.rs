use std::os::unix::fs::{MetadataExt as _, PermissionsExt};

use super::super::receipt::Receipt;
use super::*;
use crate::secrets::fixture::NOW;

fn receipt() -> Receipt {
    Receipt {
        schema: Receipt::SCHEMA,
        host: "mx1".parse().unwrap(),
        lineage: "l".into(),
        manifest_serial: 1,
        sequence: 1,
        time: NOW,
        oldest_queued: None,
        domains: vec![],
    }
}

#[test]
fn what_was_signed_reads_back_and_nothing_else_does() {
    let key = SigningKey::generate();
    let file = sign(&receipt(), &key);
    assert_eq!(verify::<Receipt>(&file, &key.verify_key()).unwrap(), receipt());
    let stranger = SigningKey::generate().verify_key();
    assert!(matches!(verify::<Receipt>(&file, &stranger), Err(SignedError::OtherKey { .. })));
    for at in 0..file.len() {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert!(verify::<Receipt>(&changed, &key.verify_key()).is_err(), "octet {at} can be changed");
        assert!(verify::<Receipt>(&file[..at], &key.verify_key()).is_err(), "it can be cut at {at}");
    }
    let longer = [&file, b" \n".as_slice()].concat();
    assert!(matches!(verify::<Receipt>(&longer, &key.verify_key()), Err(SignedError::Forged)));
}

#[test]
fn one_kind_is_never_taken_for_another() {
    use super::super::manifest::Manifest;
    let key = SigningKey::generate();
    let file = sign(&receipt(), &key);
    assert!(matches!(verify::<Manifest>(&file, &key.verify_key()), Err(SignedError::NotSigned(_))));
    let renamed = String::from_utf8(file).unwrap().replacen(Receipt::KIND, Manifest::KIND, 1);
    assert!(matches!(verify::<Manifest>(renamed.as_bytes(), &key.verify_key()), Err(SignedError::Forged)));
}

#[test]
fn a_newer_schema_and_an_unknown_field_are_refused_by_name() {
    let key = SigningKey::generate();
    let file = sign(&Receipt { schema: 2, ..receipt() }, &key);
    assert!(matches!(verify::<Receipt>(&file, &key.verify_key()), Err(SignedError::Schema { seen: 2, known: 1 })));
    let mut json = serde_json::to_value(receipt()).unwrap();
    json["surprise"] = 1.into();
    let error = parse::<Receipt>(json.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("surprise"), "{error}");
}

#[test]
fn the_public_key_reads_back_as_it_prints() {
    let key = SigningKey::generate().verify_key();
    let text = key.to_string();
    assert!(text.starts_with("dkimctl-pk-"));
    assert_eq!(text.parse::<VerifyKey>().unwrap(), key);
    assert_eq!(serde_json::from_str::<VerifyKey>(&serde_json::to_string(&key).unwrap()).unwrap(), key);
    assert!(key.fingerprint().starts_with("SHA256:"));
    for bad in ["", "dkimctl-pk-", "dkimctl-pk-AAAA", &text[1..], &text[..text.len() - 1]] {
        assert!(bad.parse::<VerifyKey>().is_err(), "{bad:?}");
    }
}

#[test]
fn the_key_file_is_made_once_and_is_private() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("signing.key");
    let made = SigningKey::open_or_create(&path).unwrap().verify_key();
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
    assert_eq!(SigningKey::open_or_create(&path).unwrap().verify_key(), made);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(matches!(SigningKey::open_or_create(&path), Err(SigningKeyError::File(FileError::OpenToOthers { .. }))));
    std::fs::write(&path, "hello").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    assert!(matches!(SigningKey::open_or_create(&path), Err(SigningKeyError::NotAKey(_))));
}
