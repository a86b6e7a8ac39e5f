use dkimctl_state::lifecycle::seen::{ServerAnswer, Sweep};
use dkimctl_state::time::Time;

use super::super::Probe;
use super::*;
use crate::doctor::finding::Outcome::{self, Fail, Ok, Skip, Unknown, Warn};
use crate::keygen::{KeyKind, generate};

fn now() -> Time {
    Time::from_unix(1_800_000_000)
}

fn key(public: &PublicKey, algorithm: Algorithm, answers: Vec<Answer>) -> Key {
    let answers = answers.into_iter().enumerate();
    let answers = answers.map(|(n, answer)| ServerAnswer { server: format!("ns{n}.example.com"), answer }).collect();
    Key {
        domain: "example.com".parse().unwrap(),
        selector: "s1".parse().unwrap(),
        phase: Some(Phase::Active),
        public: Some(public.clone()),
        record: Some(record_of(public, algorithm).into()),
        due: None,
        sweep: Sweep { at: now(), answers, negative_ttl: None, cname: None },
    }
}

fn record_of(public: &PublicKey, algorithm: Algorithm) -> String {
    format!("v=DKIM1; k={algorithm}; p={public}")
}

fn txt(texts: &[&str]) -> Answer {
    Answer::Txt { ttl: 300, texts: texts.iter().map(|text| TxtText::from(*text)).collect() }
}

fn results(keys: Vec<Key>) -> Vec<(&'static str, Outcome, String)> {
    let facts = Facts { keys, now: Some(now()), ..Facts::default() };
    let mut findings = Findings::default();
    judge(&facts, &mut findings);
    findings.iter().map(|finding| (finding.id, finding.result, finding.evidence.clone())).collect()
}

fn result(keys: Vec<Key>, id: &str) -> Option<Outcome> {
    let of_id = results(keys).into_iter().filter(|(found, ..)| *found == id);
    of_id.map(|(_, result, _)| result).max()
}

fn two() -> (PublicKey, PublicKey) {
    let one = || generate(KeyKind::Ed25519).unwrap().public().clone();
    (one(), one())
}

#[test]
fn every_way_in_which_a_record_fails_its_key() {
    let (ours, other) = two();
    let right = record_of(&ours, Algorithm::Ed25519);
    let (first, second) = right.split_at(30);
    let rows: Vec<(Vec<Answer>, &str, Outcome, &str)> = vec![
        (vec![txt(&[&right]), txt(&[&right])], "DKIM002", Ok, "all 2 addresses"),
        (vec![txt(&[&right])], "DKIM001", Ok, ""),
        (vec![txt(&[&right]), txt(&[&record_of(&other, Algorithm::Ed25519)])], "DKIM001", Fail, "at ns1.example.com"),
        (vec![txt(&[&right]), Answer::Absent], "DKIM002", Fail, "there is no record, at ns1.example.com"),
        (vec![txt(&["v=DKIM1; k=ed25519; p="])], "DKIM002", Fail, "revoked"),
        (vec![txt(&[&right, &record_of(&other, Algorithm::Ed25519)])], "DKIM002", Fail, "2 TXT records"),
        (vec![txt(&[first, second])], "DKIM002", Fail, "cut into 2"),
        (vec![txt(&[second, first])], "DKIM002", Fail, "cut into 2"),
        (vec![txt(&["v=DKIM1; k=ed25519; p=not base64!"])], "DKIM002", Fail, "no key record"),
        (vec![Answer::Unknown("SERVFAIL".into())], "DKIM002", Unknown, "SERVFAIL"),
        (vec![txt(&[&right]), Answer::Unknown("no answer".into())], "DKIM002", Unknown, "ns1.example.com: no answer"),
        // What is wrong at one is wrong, whether or not the other answers.
        (vec![Answer::Absent, Answer::Unknown("no answer".into())], "DKIM002", Fail, "ns0"),
    ];
    for (answers, id, wanted, evidence) in rows {
        let found = results(vec![key(&ours, Algorithm::Ed25519, answers.clone())]);
        let of_id: Vec<_> = found.iter().filter(|(found, ..)| *found == id).collect();
        assert!(
            of_id.iter().any(|(_, result, text)| *result == wanted && text.contains(evidence)),
            "{answers:?}: {id} {wanted:?} {evidence:?}, but {of_id:?}"
        );
    }
}

#[test]
fn an_alias_into_nothing_is_named() {
    let (ours, _) = two();
    let mut dangling = key(&ours, Algorithm::Ed25519, vec![Answer::Absent]);
    dangling.sweep.cname = Some(("s1.hosted.example.net".parse().unwrap(), 300));
    let found = results(vec![dangling]);
    assert!(found.iter().any(|(id, _, text)| *id == "DKIM002" && text.contains("alias of s1.hosted.example.net")));
}

#[test]
fn weak_keys_and_records_that_say_too_much() {
    let (ours, _) = two();
    let with = |text: &str| {
        let text = format!("v=DKIM1; k=ed25519; {text}p={ours}");
        results(vec![key(&ours, Algorithm::Ed25519, vec![txt(&[&text])])])
    };
    let warns = |found: &[(&str, Outcome, String)], what: &str| {
        found.iter().any(|(id, result, text)| *id == "DKIM003" && *result == Warn && text.contains(what))
    };
    assert!(warns(&with(""), "Ed25519 alone"));
    assert!(warns(&with("t=y; "), "t=y"));
    assert!(warns(&with("h=sha1; "), "sha256"));
    assert!(warns(&with("s=tlsrpt; "), "not for mail"));
    assert!(!warns(&with("t=s; h=sha256:sha1; s=email; "), "t=y"));

    // 1024 bits, made for this test alone.
    let short: PublicKey = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
        .parse()
        .unwrap();
    let found = results(vec![key(&short, Algorithm::Rsa, vec![txt(&[&record_of(&short, Algorithm::Rsa)])])]);
    assert!(warns(&found, "1024 bits"), "{found:?}");
    let long = generate(KeyKind::Rsa { bits: 2048 }).unwrap().public().clone();
    assert_eq!(
        result(vec![key(&long, Algorithm::Rsa, vec![txt(&[&record_of(&long, Algorithm::Rsa)])])], "DKIM003"),
        Some(Ok)
    );
}

#[test]
fn a_key_grows_old_and_a_retired_one_is_not_to_go_too_early() {
    let (ours, _) = two();
    let right = record_of(&ours, Algorithm::Ed25519);
    let aged = |due: i64| Key {
        due: Some(Time::from_unix(now().unix() + due)),
        ..key(&ours, Algorithm::Ed25519, vec![txt(&[&right])])
    };
    assert_eq!(result(vec![aged(-1)], "DKIM004"), Some(Warn));
    assert_eq!(result(vec![aged(3600)], "DKIM004"), Some(Ok));
    let retiring = |answer| Key { phase: Some(Phase::Retiring), ..key(&ours, Algorithm::Ed25519, vec![answer]) };
    assert_eq!(result(vec![retiring(Answer::Absent)], "DKIM004"), Some(Fail));
    assert_eq!(result(vec![retiring(Answer::Absent)], "DKIM002"), None);
    assert_eq!(result(vec![retiring(txt(&[&right]))], "DKIM004"), None);
}

#[test]
fn a_probe_says_what_tables_cannot() {
    let judged = |verdict| {
        let probes = vec![Probe { domain: "example.com".parse().unwrap(), verdict }];
        let mut findings = Findings::default();
        judge(&Facts { probes, ..Facts::default() }, &mut findings);
        findings.iter().find(|finding| finding.id == "DKIM005").unwrap().result
    };
    assert_eq!(judged(Verdict::Right), Ok);
    assert_eq!(judged(Verdict::Wrong { seen: "mail leaves unsigned".into() }), Fail);
    assert_eq!(judged(Verdict::Unknown { why: "no answer".into() }), Unknown);
    assert_eq!(result(Vec::new(), "DKIM001"), Some(Skip));
}
