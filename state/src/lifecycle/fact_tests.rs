use super::*;
use crate::store::sample::{T0, domain, key, to_active};
use crate::time::Span;

#[test]
fn a_key_sealed_again_counts_by_its_new_blob_and_nothing_else_changes() {
    let mut ledger = Ledger::new(domain(1));
    for fact in to_active(1, "s1") {
        ledger.record(&fact, T0).unwrap();
    }
    let fingerprint = key(1, "s1").fingerprint;
    let fact = Fact::Resealed { key: fingerprint, blob_sha256: "1".repeat(64), sealed_to: "2".repeat(64) };
    let mut expected = ledger.clone();
    expected.lines.get_mut(&Algorithm::Rsa).unwrap().active.as_mut().unwrap().key.blob_sha256 = "1".repeat(64);
    ledger.record(&fact, T0).unwrap();
    assert_eq!(ledger, expected);
    ledger.record(&fact, T0).unwrap();
    assert_eq!(ledger, expected, "twice is once");
    assert_eq!(fact.key(), Some(&fingerprint));

    let text = serde_json::to_string(&fact).unwrap();
    assert!(text.starts_with(r#"{"fact":"resealed","key":""#), "{text}");
    assert_eq!(serde_json::from_str::<Fact>(&text).unwrap(), fact);
}

#[test]
fn what_was_destroyed_or_never_was_cannot_be_sealed_again() {
    let mut ledger = Ledger::new(domain(1));
    let resealed =
        |n| Fact::Resealed { key: key(n, "s1").fingerprint, blob_sha256: "1".repeat(64), sealed_to: "2".repeat(64) };
    assert_eq!(ledger.record(&resealed(1), T0), Err(Impossible::NoSuchKey(key(1, "s1").fingerprint)));
    let shredded = Key { shredded: Some(T0 + Span::minutes(1)), ..key(1, "s1") };
    ledger.record(&Fact::Sealed { key: shredded }, T0).unwrap();
    assert!(matches!(ledger.record(&resealed(1), T0), Err(Impossible::WrongPhase { fact: "resealed", .. })));
}
