use super::*;
use crate::secrets::fixture::{Hosts, NOW};
use crate::vault::sha256_hex;

fn receipt(hosts: &Hosts, sequence: u64) -> Receipt {
    let order = &hosts.orders.domains[0];
    let fingerprint = hosts.fingerprint(1);
    Receipt {
        schema: 1,
        host: hosts.orders.host.clone(),
        lineage: hosts.orders.lineage.clone(),
        manifest_serial: 3,
        sequence,
        time: NOW,
        oldest_queued: None,
        domains: vec![DomainReceipt {
            domain: order.domain.clone(),
            order_digest: order.digest(),
            held: vec![hosts.fingerprint(0), fingerprint],
            destroyed: vec![],
            signing: vec![
                SigningSeen { algorithm: Algorithm::Ed25519, verdict: Verdict::Right { fingerprint } },
                SigningSeen {
                    algorithm: Algorithm::Rsa,
                    verdict: Verdict::Wrong { what: "unsigned".into(), rolled_back: true },
                },
                SigningSeen { algorithm: Algorithm::Rsa, verdict: Verdict::Unknown { why: "no answer".into() } },
            ],
            last_use: vec![LastUse { fingerprint: hosts.fingerprint(0), time: NOW, by: "mail.log".into() }],
            problem: None,
        }],
    }
}

#[test]
fn receipts_are_filed_once_and_read_in_order() {
    let hosts = Hosts::new();
    let dir = hosts.temp.path().join("receipts");
    let read =
        |after| read_new(&dir, &hosts.key.verify_key(), &hosts.orders.host, &hosts.orders.lineage, after).unwrap();
    assert_eq!(next_sequence(&dir, 0).unwrap(), 1);
    assert_eq!(next_sequence(&dir, 41).unwrap(), 42, "an emptied directory does not start again");
    for sequence in [2, 10, 1] {
        write(&dir, &receipt(&hosts, sequence), &hosts.key).unwrap();
    }
    assert_eq!(next_sequence(&dir, 0).unwrap(), 11);
    assert!(matches!(write(&dir, &receipt(&hosts, 2), &hosts.key), Err(ReceiptError::File(FileError::Exists { .. }))));
    let sequences: Vec<_> = read(1).into_iter().map(|receipt| receipt.unwrap().sequence).collect();
    assert_eq!(sequences, [2, 10]);
    assert_eq!(read(9).pop().unwrap().unwrap(), receipt(&hosts, 10));
}

#[test]
fn a_bad_receipt_hides_no_other() {
    let hosts = Hosts::new();
    let dir = hosts.temp.path().join("receipts");
    for sequence in 1..=4 {
        write(&dir, &receipt(&hosts, sequence), &hosts.key).unwrap();
    }
    std::fs::write(dir.join(name(1)), "hello").unwrap();
    std::fs::copy(dir.join(name(2)), dir.join(name(3))).unwrap();
    let stranger = Receipt { host: "mx2".parse().unwrap(), ..receipt(&hosts, 5) };
    write(&dir, &stranger, &hosts.key).unwrap();
    let moved = Receipt { lineage: sha256_hex(b""), ..receipt(&hosts, 6) };
    write(&dir, &moved, &hosts.key).unwrap();
    let read = read_new(&dir, &hosts.key.verify_key(), &hosts.orders.host, &hosts.orders.lineage, 0).unwrap();
    assert!(matches!(&read[0], Err(ReceiptError::Signed { .. })));
    assert!(matches!(&read[1], Ok(receipt) if receipt.sequence == 2));
    assert!(matches!(&read[2], Err(ReceiptError::Renamed { seen: 2, .. })));
    assert!(matches!(&read[3], Ok(receipt) if receipt.sequence == 4));
    assert!(matches!(&read[4], Err(ReceiptError::OtherHost { .. })));
    assert!(matches!(&read[5], Err(ReceiptError::OtherLineage { .. })));
}
