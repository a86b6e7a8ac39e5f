use super::*;
use crate::secrets::fixture::Hosts;

#[test]
fn an_outbox_holds_what_its_manifest_names_and_no_more() {
    let mut hosts = Hosts::new();
    let change = hosts.write().unwrap();
    assert_eq!(change, Change { serial: 1, manifest: true, blobs_added: 2, blobs_removed: 0 });
    let outbox = hosts.open();
    for (_, key) in outbox.manifest.keys() {
        assert_eq!(outbox.blob(key).unwrap(), hosts.vault.blob(&key.fingerprint).unwrap());
    }
    let retired = hosts.order().keys.remove(0);
    hosts.order().destroy.push(retired.fingerprint);
    let change = hosts.write().unwrap();
    assert_eq!(change, Change { serial: 2, manifest: true, blobs_added: 0, blobs_removed: 1 });
    assert!(!hosts.outbox().join("blobs").join(&retired.blob).exists());
}

#[test]
fn the_same_orders_write_nothing_and_keep_the_serial() {
    let hosts = Hosts::new();
    hosts.write().unwrap();
    let before = std::fs::read(hosts.outbox().join(MANIFEST)).unwrap();
    let nothing = Change { serial: 1, manifest: false, blobs_added: 0, blobs_removed: 0 };
    assert_eq!(hosts.write().unwrap(), nothing);
    assert_eq!(std::fs::read(hosts.outbox().join(MANIFEST)).unwrap(), before);
    let blob = hosts.outbox().join("blobs").join(&hosts.orders.domains[0].keys[0].blob);
    std::fs::write(&blob, "damaged").unwrap();
    assert_eq!(hosts.write().unwrap(), Change { blobs_added: 1, ..nothing }, "a damaged blob is copied again");
}

#[test]
fn the_serial_goes_on_after_an_old_outbox_or_none_was_put_back() {
    let mut hosts = Hosts::new();
    hosts.write().unwrap();
    hosts.orders.last_serial = 9;
    assert_eq!(hosts.write().unwrap().serial, 10, "the old copy would be refused by its reader");
    std::fs::remove_dir_all(hosts.outbox()).unwrap();
    hosts.orders.last_serial = 10;
    assert_eq!(hosts.write().unwrap().serial, 11);
}

#[test]
fn an_outbox_that_is_still_on_its_way_is_named_so() {
    let hosts = Hosts::new();
    let open = || Outbox::open(&hosts.outbox(), &hosts.key.verify_key(), &hosts.orders.host, None);
    std::fs::create_dir(hosts.outbox()).unwrap();
    assert!(matches!(open().err(), Some(OutboxError::NoManifest(_))));
    std::fs::remove_dir(hosts.outbox()).unwrap();
    hosts.write().unwrap();
    let [first, second] = [0, 1].map(|i| hosts.orders.domains[0].keys[i].clone());
    std::fs::write(hosts.outbox().join("blobs").join(&first.blob), "half").unwrap();
    let outbox = open().unwrap();
    assert!(matches!(outbox.blob(&first), Err(OutboxError::Incomplete { .. })));
    assert!(outbox.blob(&second).is_ok());
    std::fs::remove_dir_all(hosts.outbox().join("blobs")).unwrap();
    assert!(matches!(outbox.blob(&second), Err(OutboxError::Incomplete { .. })));
}

#[test]
fn orders_that_do_not_fit_the_vault_or_themselves_are_not_written() {
    let mut hosts = Hosts::new();
    hosts.order().keys[0].blob_sha256 = "0".repeat(64);
    assert!(matches!(hosts.write(), Err(OutboxError::OtherBlob(_))));
    let mut hosts = Hosts::new();
    let twice = hosts.order().sign[0];
    hosts.order().sign.push(twice);
    assert!(matches!(hosts.write(), Err(OutboxError::Orders { .. })));
    assert!(!hosts.outbox().join(MANIFEST).exists());
}
