use super::*;
use crate::Op;
use std::collections::HashSet;

fn host() -> Rfc2136 {
    let key = Key::new("k.example".parse().unwrap(), "hmac-sha256", "c2VjcmV0LXNlY3JldA==").unwrap();
    Rfc2136::new(Config {
        server: "ns.invalid:53".into(),
        zones: vec!["example.com".parse().unwrap()],
        key,
        timeout: Duration::from_millis(200),
    })
}

#[test]
fn every_failure_has_its_own_sentence_with_a_next_step_and_no_secret() {
    let (host, zone) = (host(), "example.com".parse().unwrap());
    let sentences: Vec<String> = [
        host.no_address(&"not found"),
        host.no_connection("connection refused"),
        host.bad_key(),
        host.bad_signature(),
        host.bad_time(1_700_000_000, 1_700_001_000),
        host.not_primary(&zone, ResponseCode::NotAuth),
        host.not_authoritative(&zone),
        host.update_refused(&zone, ResponseCode::Refused),
        host.update_refused(&zone, ResponseCode::NotZone),
        host.update_refused(&zone, ResponseCode::ServFail),
        host.too_long(),
    ]
    .iter()
    .map(ToString::to_string)
    .collect();
    let distinct: HashSet<_> = sentences.iter().collect();
    assert_eq!(distinct.len(), sentences.len());
    for sentence in sentences.iter().chain([&format!("{host:?}")]) {
        assert!(!sentence.contains("c2Vjc") && !sentence.contains("secret-secret"), "{sentence}");
        assert!(!sentence.contains("file an issue"), "{sentence}");
    }
}

#[test]
fn names_outside_the_zone_are_refused_before_anything_is_sent() {
    let host = host();
    let zone = host.zones().unwrap().remove(0);
    let op = Op::Add { name: "notexample.com".parse().unwrap(), text: "x".into(), ttl: 60 };
    let outcomes = host.apply(&zone, &[Guarded { op, seen: AtName::Absent }]);
    assert!(matches!(&outcomes[..], [Outcome::Rejected(ProviderError::NoZone(_))]), "{outcomes:?}");
    assert_eq!(host.messages_sent(), 0);
}

/// A server that takes a message and hangs up: what was in it is unknown, what came after it was not tried.
#[test]
fn a_lost_answer_is_unknown_and_stops_the_run() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut host = host();
    host.config.server = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        wire::receive_message(&mut stream, Duration::from_secs(2)).unwrap();
    });
    let zone = host.zones().unwrap().remove(0);
    let add =
        |i| Op::Add { name: format!("s{i}.example.com").parse().unwrap(), text: "x".repeat(2000).into(), ttl: 60 };
    let ops: Vec<_> = (0..60).map(|i| Guarded { op: add(i), seen: AtName::Absent }).collect();
    let outcomes = host.apply(&zone, &ops);
    let Outcome::Unknown(why) = &outcomes[0] else { panic!("{:?}", outcomes[0]) };
    assert!(why.contains("may or may not have happened") && why.contains("looks before it writes"), "{why}");
    assert_eq!(outcomes[59], Outcome::NotTried);
    assert_eq!(host.messages_sent(), 1, "never sent again blindly");
}
