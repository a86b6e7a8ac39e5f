use super::*;
use hickory_proto::rr::RData;

fn fqdn(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn key() -> Key {
    Key::new(fqdn("k.example"), "hmac-sha256", "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0").unwrap()
}

#[test]
fn two_thousand_selectors_of_2048_bits_take_at_most_17_messages() {
    let text = vec![vec![b'x'; 255], vec![b'y'; 155]];
    let mut messages = 1;
    let mut update = Update::new(&fqdn("fleet.example"));
    for i in 0..2000 {
        let mark = update.mark();
        let name = fqdn(&format!("dkim-selector-{i:04}._domainkey.fleet.example"));
        for round in 0..2 {
            update.require_none(&name, RecordType::TXT);
            update.require_none(&name, RecordType::CNAME);
            update.add(&name, 3600, &text);
            if update.fits() {
                break;
            }
            assert_eq!(round, 0);
            update.back_to(&mark);
            let mut full = std::mem::replace(&mut update, Update::new(&fqdn("fleet.example"))).finish(7);
            key().sign(&mut full, 1_700_000_000).unwrap();
            assert!(full.len() <= 65_535);
            let read = Message::from_vec(&full).unwrap();
            assert!(read.authorities.iter().all(|record| matches!(record.data, RData::TXT(_))));
            messages += 1;
        }
    }
    assert!(messages <= 17, "{messages} messages");
}

#[test]
fn what_is_written_reads_back() {
    let mut update = Update::new(&fqdn("example.com"));
    let name = fqdn("s1._domainkey.example.com");
    update.require_txt(&name, &[b"old".to_vec()]);
    update.delete(&name, &[b"old".to_vec()]);
    update.add(&name, 300, &[b"new".to_vec(), b"".to_vec()]);
    let message = Message::from_vec(&update.finish(9)).unwrap();
    assert_eq!((message.id, message.op_code), (9, OpCode::Update));
    assert_eq!(message.queries[0].name, to_name(&fqdn("example.com")));
    assert_eq!(message.answers.len(), 1);
    let updates: Vec<String> =
        message.authorities.iter().map(|r| format!("{} {} {}", r.name, r.ttl, r.dns_class)).collect();
    assert_eq!(updates, ["s1._domainkey.example.com. 0 NONE", "s1._domainkey.example.com. 300 IN"]);
}

#[test]
fn an_answer_is_believed_only_with_our_signature() {
    let mut asked = Update::new(&fqdn("example.com")).finish(9);
    let mac = key().sign(&mut asked, 1_700_000_000).unwrap();
    let answer = Message::response(9, OpCode::Update).to_vec().unwrap();
    assert!(matches!(key().open(&answer, &mac, 9), Err(Distrust::Unsigned(_))));

    let mut forged = answer;
    key().sign(&mut forged, 1_700_000_000).unwrap(); // does not cover the request's MAC
    assert!(matches!(key().open(&forged, &mac, 9), Err(Distrust::Untrue(_))));
    for cut in 0..forged.len() {
        assert!(key().open(&forged[..cut], &mac, 9).is_err());
    }
}

#[test]
fn a_key_shows_its_name_and_never_its_secret() {
    let shown = format!("{:?}", key());
    assert!(shown.contains("k.example") && !shown.contains("c2Vj") && !shown.contains("115"), "{shown}");
    assert_eq!(Key::new(fqdn("k"), "hmac-md5", "AAAA").unwrap_err(), KeyError::Algorithm("hmac-md5".into()));
    assert_eq!(Key::new(fqdn("k"), "hmac-sha256", "not base64!").unwrap_err(), KeyError::Secret);
}
