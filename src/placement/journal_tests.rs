use dkimctl_state::store::memory::MemoryStore;

use super::*;

fn summary(at: i64, seen: &[(&str, &str)]) -> Summary {
    let seen = seen.iter().map(|(what, value)| ((*what).to_owned(), (*value).to_owned())).collect();
    Summary { at: Time::from_unix(at), outcome: "ok".to_owned(), seen }
}

#[test]
fn rounds_are_remembered_and_the_oldest_forgotten() {
    let mut store = MemoryStore::new(uuid::Uuid::nil());
    for at in 0..60 {
        let round =
            Sent { token: Token::new(Time::from_unix(at)), at: Time::from_unix(at), from: "a@b".into(), seeds: vec![] };
        remember_sent(&mut store, round).unwrap();
    }
    let rounds = sent(&store).unwrap();
    assert_eq!((rounds.len(), rounds[0].at, rounds[49].at), (50, Time::from_unix(10), Time::from_unix(59)));
}

#[test]
fn what_changed_is_what_is_said_now_and_was_not_before() {
    let before = summary(1, &[("folder", "inbox"), ("selector", "s1"), ("ptr", "a")]);
    let now = summary(2, &[("folder", "junk"), ("selector", "s1"), ("tls", "yes")]);
    let changed: Vec<_> = now.changes_since(&before).into_iter().map(|c| (c.what, c.before, c.now)).collect();
    let text = |word: &str| Some(word.to_owned());
    assert_eq!(changed, [("folder".to_owned(), text("inbox"), text("junk")), ("tls".to_owned(), None, text("yes"))]);
    let mut store = MemoryStore::new(uuid::Uuid::nil());
    remember_last(&mut store, BTreeMap::from([("g".to_owned(), before)])).unwrap();
    remember_last(&mut store, BTreeMap::from([("o".to_owned(), now.clone())])).unwrap();
    assert_eq!(last(&store).unwrap().len(), 2);
    assert_eq!(last(&store).unwrap()["o"], now);
}
