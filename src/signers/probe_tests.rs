use dkimctl_state::record::dkim::revocation;

use super::*;
use crate::host::order::KeyStore;
use crate::signers::fake::{FakeHost, key_order, public};
use crate::signers::{LoadedKey, Signer};

fn domain() -> SigningDomain {
    "example.com".parse().unwrap()
}

/// A probe of a host that signs with key 1 as s1.
fn signed() -> Probed {
    let host = FakeHost::default();
    let order = key_order(1, "s1");
    let path = host.deliver(&domain(), &order).unwrap().path;
    let key = LoadedKey { domain: domain(), selector: order.selector, fingerprint: order.fingerprint, path };
    host.load(&[key]).unwrap();
    let name = host.rows().unwrap().loaded.into_keys().next().unwrap();
    host.sign_with(&[(domain(), vec![name])]).unwrap();
    host.reload().unwrap();
    host.probe(&domain())
}

fn expected(selector: &str, number: u8) -> Expected {
    Expected { selector: selector.parse().unwrap(), key: Some((Algorithm::Ed25519, public(number))) }
}

fn judged(probed: &Probed, expected: Expected, answer: KeyLookup) -> Verdict {
    let verdicts = judge(probed, &domain(), &[expected], &|name| {
        assert!(name.as_str().ends_with("._domainkey.example.com"));
        answer.clone()
    });
    assert_eq!(verdicts.len(), 1);
    verdicts.into_iter().next().unwrap()
}

fn found(number: u8) -> KeyLookup {
    KeyLookup::Found(public(number).record(Algorithm::Ed25519))
}

#[track_caller]
fn assert_wrong(verdict: Verdict, word: &str) {
    assert!(matches!(&verdict, Verdict::Wrong { seen } if seen.contains(word)), "{word:?}: {verdict:?}");
}

#[test]
fn a_signature_that_verifies_is_right() {
    assert_eq!(judged(&signed(), expected("s1", 1), found(1)), Verdict::Right);
    let any_key = Expected { key: None, ..expected("s1", 1) };
    assert_eq!(judged(&signed(), any_key, found(1)), Verdict::Right);
}

#[test]
fn everything_else_that_was_seen_is_wrong() {
    let signed = signed();
    assert_wrong(judged(&signed, expected("s2", 1), found(1)), "selector s1, not s2");
    assert_wrong(judged(&signed, expected("s1", 2), found(2)), "does not verify");
    assert_wrong(judged(&signed, expected("s1", 2), found(1)), "another key");
    assert_wrong(judged(&signed, expected("s1", 1), KeyLookup::Missing), "there is no s1._domainkey.example.com");
    let revoked = KeyLookup::Found(revocation(Algorithm::Ed25519));
    assert_wrong(judged(&signed, expected("s1", 1), revoked), "another key");
    let rsa = Expected { key: Some((Algorithm::Rsa, public(1))), ..expected("s1", 1) };
    assert_wrong(judged(&signed, rsa, found(1)), "not with rsa");

    let mut altered = signed.clone();
    altered.message.body.extend_from_slice(b"more\r\n");
    assert_wrong(judged(&altered, expected("s1", 1), found(1)), "does not verify");

    let with = |answer: Answer| judged(&Probed { answer, ..signed.clone() }, expected("s1", 1), found(1));
    assert_wrong(with(Answer::Passed(vec![])), "leaves unsigned");
    assert_wrong(with(Answer::Ignored { at: "connect" }), "leaves unsigned");
    assert_wrong(with(Answer::Refused { at: "connect", reply: "451".into() }), "refuses mail");
    let foreign =
        Header { name: "DKIM-Signature".into(), value: " v=1; a=rsa-sha256; d=other; s=s1; h=from; bh=; b=".into() };
    assert_wrong(with(Answer::Passed(vec![foreign])), "leaves unsigned");
}

#[test]
fn silence_is_unknown() {
    let unknown = |verdict: Verdict| assert!(matches!(verdict, Verdict::Unknown { .. }), "{verdict:?}");
    unknown(judged(&signed(), expected("s1", 1), KeyLookup::Unknown("SERVFAIL".into())));
    let probed = Probed { answer: Answer::NoAnswer { why: "refused".into() }, ..signed() };
    unknown(judged(&probed, expected("s1", 1), found(1)));
}

#[test]
fn a_wrong_answer_is_asked_for_again_while_it_may_be_an_old_one() {
    let old = || Probed { answer: Answer::Passed(vec![]), ..signed() };
    assert_eq!(settled(Settle::after_reload(PATIENCE), vec![old(), old(), signed()]), ([Verdict::Right].into(), 3));
    // Nobody told it to read its tables again: what it does now it does.
    let (verdicts, asked) = settled(Settle::as_it_runs(PATIENCE), vec![old()]);
    assert_wrong(verdicts[0].clone(), "leaves unsigned");
    assert_eq!(asked, 1);
}

#[test]
fn a_signer_that_is_just_starting_is_asked_again_and_one_that_stays_silent_is_unknown() {
    let silent = || Probed { answer: Answer::NoAnswer { why: "no such file".into() }, ..signed() };
    for settle in [Settle::after_reload(PATIENCE), Settle::as_it_runs(PATIENCE)] {
        assert_eq!(settled(settle, vec![silent(), silent(), signed()]), ([Verdict::Right].into(), 3));
    }
    let briefly = Duration::from_millis(200);
    let verdicts = Settle::as_it_runs(briefly).ask(silent, |probed| vec![judged(probed, expected("s1", 1), found(1))]);
    assert!(matches!(&verdicts[..], [Verdict::Unknown { why }] if why.contains("no such file")), "{verdicts:?}");
    // What it signed is seen at once, and that a name server is silent changes nothing about the signer.
    let judge = |probed: &Probed| vec![judged(probed, expected("s1", 1), KeyLookup::Unknown("SERVFAIL".into()))];
    let mut asked = 0;
    Settle::after_reload(PATIENCE).ask(|| (asked += 1, signed()).1, judge);
    assert_eq!(asked, 1);
}

/// Longer than any of these tests waits.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is said in the end if the signer does these one after the other, and how often it was asked.
fn settled(settle: Settle, probes: Vec<Probed>) -> (Vec<Verdict>, usize) {
    let (all, mut left) = (probes.len(), probes.into_iter());
    let judge = |probed: &Probed| vec![judged(probed, expected("s1", 1), found(1))];
    let verdicts = settle.ask(|| left.next().expect("it was asked more often"), judge);
    (verdicts, all - left.len())
}
