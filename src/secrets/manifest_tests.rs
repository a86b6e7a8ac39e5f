use super::*;
use crate::secrets::fixture::{Hosts, NOW};
use crate::secrets::signed::{SigningKey, sign};

fn manifest(hosts: &Hosts, serial: u64) -> Manifest {
    let orders = &hosts.orders;
    Manifest {
        schema: 1,
        lineage: orders.lineage.clone(),
        host: orders.host.clone(),
        serial,
        written: NOW,
        domains: orders.domains.clone(),
    }
}

#[test]
fn the_serial_never_goes_back_and_never_forks() {
    let hosts = Hosts::new();
    let accept = |manifest: &Manifest, last: Option<&Seen>| {
        let pinned = hosts.key.verify_key();
        Manifest::accept(&sign(manifest, &hosts.key), &pinned, &hosts.orders.host, last).map(|(_, seen)| seen)
    };
    let first = accept(&manifest(&hosts, 7), None).unwrap();
    assert_eq!(accept(&manifest(&hosts, 7), Some(&first)).unwrap(), first, "the same one again is welcome");
    let second = accept(&manifest(&hosts, 8), Some(&first)).unwrap();
    let older = accept(&manifest(&hosts, 7), Some(&second));
    assert!(matches!(older, Err(ManifestError::Older { seen: 7, known: 8 })));
    let fork = Manifest { domains: vec![], ..manifest(&hosts, 8) };
    assert!(matches!(accept(&fork, Some(&second)), Err(ManifestError::Fork { serial: 8 })));
    let moved = Manifest { lineage: "other".into(), ..manifest(&hosts, 9) };
    assert!(matches!(accept(&moved, Some(&second)), Err(ManifestError::OtherLineage { .. })));
    let elsewhere = Manifest { host: "mx2".parse().unwrap(), ..manifest(&hosts, 9) };
    assert!(matches!(accept(&elsewhere, Some(&second)), Err(ManifestError::OtherHost { .. })));
    let stranger = sign(&manifest(&hosts, 9), &SigningKey::generate());
    let refused = Manifest::accept(&stranger, &hosts.key.verify_key(), &hosts.orders.host, None);
    assert!(matches!(refused, Err(ManifestError::Signed(SignedError::OtherKey { .. }))));
}

#[test]
fn orders_that_cannot_be_meant_are_refused() {
    let hosts = Hosts::new();
    let wrong = |change: fn(&mut DomainOrder)| {
        let mut manifest = manifest(&hosts, 1);
        change(&mut manifest.domains[0]);
        manifest.check().unwrap_err()
    };
    assert!(manifest(&hosts, 1).check().is_ok());
    assert!(wrong(|order| order.keys[0].blob = "../../etc/passwd".into()).contains("is not called"));
    assert!(wrong(|order| order.keys[0].public = order.keys[1].public.clone()).contains("another fingerprint"));
    assert!(wrong(|order| order.keys[0].selector = order.keys[1].selector.clone()).contains("two keys"));
    assert!(wrong(|order| order.keys.truncate(1)).contains("no such key"));
    assert!(wrong(|order| order.sign[0].algorithm = Algorithm::Rsa).contains("no such key"));
    assert!(wrong(|order| order.sign.push(order.sign[0])).contains("two keys are to sign"));
    assert!(wrong(|order| order.destroy.push(order.keys[0].fingerprint)).contains("held and to be destroyed"));
    let mut twice = manifest(&hosts, 1);
    twice.domains.push(twice.domains[0].clone());
    assert!(twice.check().unwrap_err().contains("two orders"));
}

#[test]
fn an_order_has_one_digest_on_both_sides() {
    let mut hosts = Hosts::new();
    let sent = hosts.orders.domains[0].digest();
    hosts.write().unwrap();
    assert_eq!(hosts.open().manifest.domains[0].digest(), sent);
    hosts.order().sign.clear();
    assert_ne!(hosts.orders.domains[0].digest(), sent);
}
