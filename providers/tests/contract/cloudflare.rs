//! What only Cloudflare has: plans, quotas, tokens, limits. And a client that does everything wrong, for the fake's sake.

use dkimctl_providers::cloudflare::{self, Cloudflare};
use dkimctl_providers::pace::Timer;
use dkimctl_providers::{AtName, DnsProvider, Guarded, Op, Outcome, ProviderError, Secret, Visibility, Zone};
use dkimctl_state::name::Fqdn;
use serde_json::{Value, json};

use crate::hosts::{FakeTimer, cloudflare_at};
use crate::servers::cloudflare_fake::{CloudflareFake, READ_ONLY, TOKEN, refusal};
use crate::servers::http::{Response, call};
use crate::{dkim, publish};

const ZONE: &str = "contract.example";

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn selectors(count: usize) -> Vec<Fqdn> {
    (0..count).map(|i| name(&format!("s1._domainkey.d{i}.{ZONE}"))).collect()
}

/// Adds of a 2048-bit key at names that hold what is observed now.
fn adds(host: &dyn DnsProvider, zone: &Zone, names: &[Fqdn]) -> Vec<Guarded> {
    let op = |name: &Fqdn| Op::Add { name: name.clone(), text: dkim('A').into(), ttl: 300 };
    let seen = host.observe(zone, names).unwrap();
    names.iter().zip(seen).map(|(name, seen)| Guarded { op: op(name), seen }).collect()
}

fn start() -> (CloudflareFake, FakeTimer, Cloudflare, Zone) {
    let fake = CloudflareFake::start([ZONE]);
    let timer = FakeTimer::default();
    let host = cloudflare_at(&fake, &timer);
    let zone = host.zones().unwrap().remove(0);
    (fake, timer, host, zone)
}

fn scripted(status: u16, code: u64, message: &str) -> Response {
    Response::new(status, refusal(code, message).to_string())
}

#[test]
fn a_fleet_is_one_batch_per_two_hundred_records_and_nothing_the_second_time() {
    let (fake, _, host, zone) = start();
    let names = selectors(2000);
    let outcomes = host.apply(&zone, &adds(&host, &zone, &names));
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Applied(None)));
    assert_eq!(fake.writes(), 10);
    let outcomes = host.apply(&zone, &adds(&host, &zone, &names));
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Already));
    assert_eq!(fake.writes(), 10);
    let calls = fake.state().log.len();
    assert!(calls < 50, "the zone is listed, not each name: {calls} calls");
}

#[test]
fn a_paid_zone_takes_them_in_one() {
    let fake = CloudflareFake::start([ZONE]);
    fake.state().zones[0].plan = "pro";
    let host = cloudflare_at(&fake, &FakeTimer::default());
    let zone = host.zones().unwrap().remove(0);
    host.apply(&zone, &adds(&host, &zone, &selectors(2000)));
    assert_eq!(fake.writes(), 1);
}

#[test]
fn two_thousand_zones_are_listed_once_and_changed_by_one_call_each() {
    let names: Vec<String> = (0..2000).map(|i| format!("d{i}.example")).collect();
    let fake = CloudflareFake::start(names.iter().map(String::as_str));
    let timer = FakeTimer::default();
    let host = cloudflare_at(&fake, &timer);
    for run in [2000, 50] {
        for zone in host.zones().unwrap().into_iter().take(run) {
            host.apply(&zone, &[publish(&zone)]);
        }
    }
    assert_eq!(fake.writes(), 2000, "and none in the second run");
    let lists = fake.state().log.iter().filter(|line| line.starts_with("GET /client/v4/zones?")).count();
    assert_eq!(lists, 40, "40 pages, once");
    assert!(timer.now().as_secs() > 600, "1,100 calls in five minutes, and no more");
}

#[test]
fn one_bad_record_is_found_and_the_others_are_written() {
    let (fake, _, host, zone) = start();
    let mut ops = adds(&host, &zone, &selectors(150));
    // Below the least TTL that Cloudflare takes.
    ops[37].op = Op::Add { name: ops[37].op.name().clone(), text: "x".into(), ttl: 30 };
    let outcomes = host.apply(&zone, &ops);
    let not_applied: Vec<usize> = (0..150).filter(|&i| outcomes[i] != Outcome::Applied(None)).collect();
    assert_eq!(not_applied, [37]);
    let Outcome::Rejected(ProviderError::Rejected { code, message }) = &outcomes[37] else { panic!() };
    assert!(code == "9021" && message.contains("60 to 86,400"), "{code}: {message}");
    assert!(fake.writes() < 20, "{} calls", fake.writes());
}

#[test]
fn an_identical_record_that_came_meanwhile_is_as_good_as_ours() {
    for content in [format!("\"{}\" \"{}\"", &dkim('A')[..200], &dkim('A')[200..]), dkim('A')] {
        let (fake, _, host, zone) = start();
        let names = selectors(3);
        let ops = adds(&host, &zone, &names);
        fake.state().meanwhile.push((names[1].to_string(), "TXT".into(), content));
        let outcomes = host.apply(&zone, &ops);
        assert_eq!(outcomes, [Outcome::Applied(None), Outcome::Already, Outcome::Applied(None)]);
        assert_eq!(fake.at(names[1].as_str(), "TXT").len(), 1);
    }
}

#[test]
fn an_alias_that_came_meanwhile_is_a_conflict() {
    let (fake, _, host, zone) = start();
    let names = selectors(3);
    let ops = adds(&host, &zone, &names);
    fake.state().meanwhile.push((names[1].to_string(), "CNAME".into(), "elsewhere.example".into()));
    let outcomes = host.apply(&zone, &ops);
    assert!(matches!(&outcomes[1], Outcome::Conflict(AtName::Cname { .. })), "{outcomes:?}");
    assert!(outcomes[0] == Outcome::Applied(None) && outcomes[2] == Outcome::Applied(None));
}

#[test]
fn a_bare_foreign_value_keeps_its_id_its_form_and_its_ttl() {
    let (fake, _, host, zone) = start();
    let id = fake.plant(ZONE, "TXT", "google-site-verification=abc", 600);
    fake.plant(ZONE, "TXT", "\"v=spf1 -all\"", 600);
    fake.plant(ZONE, "CAA", "0 issue \"ca.example\"", 1);
    fake.plant(ZONE, "HTTPS", "1 .", 1);
    let before = fake.at(ZONE, "TXT")[0].clone();
    let seen = host.observe(&zone, &[name(ZONE)]).unwrap().remove(0);
    let op = Op::Replace { name: name(ZONE), old: "v=spf1 -all".into(), new: "v=spf1 mx -all".into(), ttl: 600 };
    assert_eq!(host.apply(&zone, &[Guarded { op, seen }]), [Outcome::Applied(None)]);
    let after = fake.at(ZONE, "TXT");
    assert!(after.contains(&before) && before.id == id, "{after:?}");
    assert!(after.iter().any(|record| record.content == "\"v=spf1 mx -all\""));
}

#[test]
fn a_bare_value_of_ours_is_found_and_removed() {
    let (fake, _, host, zone) = start();
    let selector = selectors(1).remove(0);
    fake.plant(selector.as_str(), "TXT", &dkim('A'), 300);
    let seen = host.observe(&zone, std::slice::from_ref(&selector)).unwrap().remove(0);
    let op = Op::Remove { name: selector.clone(), text: dkim('A').into() };
    assert_eq!(host.apply(&zone, &[Guarded { op, seen }]), [Outcome::Applied(None)]);
    assert!(fake.at(selector.as_str(), "TXT").is_empty());
}

#[test]
fn zones_of_every_kind_and_page_are_seen() {
    let names: Vec<String> = (0..120).map(|i| format!("d{i}.example")).collect();
    let fake = CloudflareFake::start(names.iter().map(String::as_str));
    {
        let mut state = fake.state();
        state.zones[0].status = "pending";
        state.zones[1].kind = "secondary";
        state.zones[2].kind = "internal";
        state.zones[119].name = "bücher.example".into();
    }
    let zones = cloudflare_at(&fake, &FakeTimer::default()).zones().unwrap();
    assert_eq!(zones.len(), 119, "all but the secondary one");
    assert_eq!(zones.iter().find(|zone| zone.visibility == Visibility::Private).unwrap().name.as_str(), "d2.example");
    assert_eq!(zones[118].name.as_str(), "xn--bcher-kva.example");
}

#[test]
fn many_records_over_many_pages_are_all_seen() {
    let (fake, _, host, zone) = start();
    let names = selectors(2500);
    names.iter().for_each(|name| drop(fake.plant(name.as_str(), "TXT", "\"x\"", 300)));
    let seen = host.observe(&zone, &names).unwrap();
    assert!(seen.iter().all(|at| at.texts().count() == 1));
}

// ---- limits and outages -------------------------------------------------------------------------------------------

#[test]
fn seven_seconds_are_waited_once() {
    let (fake, timer, host, zone) = start();
    let ops = adds(&host, &zone, &selectors(1));
    fake.state().next.push(scripted(429, 971, "Please wait and consider throttling").with("retry-after", "7"));
    assert_eq!(host.apply(&zone, &ops), [Outcome::Applied(None)]);
    assert_eq!(timer.slept(), [7]);
}

#[test]
fn an_empty_allowance_is_waited_for_before_it_is_exceeded() {
    let (fake, timer, host, zone) = start();
    let empty = json!({ "success": true, "errors": [], "result": [] }).to_string();
    fake.state().next.push(Response::new(200, empty).with("ratelimit", "\"default\";r=0;t=30"));
    host.observe(&zone, &selectors(1)).unwrap();
    host.observe(&zone, &selectors(1)).unwrap();
    assert_eq!(timer.slept(), [30]);
}

#[test]
fn a_daily_limit_stops_the_run_and_the_next_one_goes_on() {
    let (fake, timer, host, zone) = start();
    let ops = adds(&host, &zone, &selectors(450));
    let first = host.apply(&zone, &ops[..200]);
    assert!(first.iter().all(|outcome| *outcome == Outcome::Applied(None)));
    fake.state().next.push(Response::new(429, "").with("retry-after", "79200"));
    let outcomes = host.apply(&zone, &ops);
    let limited = |outcome: &Outcome| matches!(outcome, Outcome::Rejected(ProviderError::RateLimited { after: Some(time) }) if time.as_secs() == 79_200);
    assert!(outcomes.iter().any(limited) && !outcomes.iter().any(|o| matches!(o, Outcome::Applied(_))));
    assert_eq!(timer.slept(), [0; 0], "nobody sleeps a day");
    let outcomes = host.apply(&zone, &ops);
    assert!(outcomes[..200].iter().all(|o| *o == Outcome::Already), "what was done is not done again");
    assert!(outcomes[200..].iter().all(|o| *o == Outcome::Applied(None)));
}

#[test]
fn throttling_for_ever_is_a_typed_error() {
    let (fake, timer, host, zone) = start();
    fake.state().next = vec![Response::new(429, "").with("retry-after", "1"); 100];
    let error = host.observe(&zone, &selectors(1)).unwrap_err();
    assert!(matches!(error, ProviderError::RateLimited { .. }), "{error}");
    assert!(timer.slept().len() < 10);
}

#[test]
fn a_lost_answer_is_unknown_and_the_next_run_finds_it_done() {
    let (fake, _, host, zone) = start();
    let ops = adds(&host, &zone, &selectors(250));
    fake.state().drop_answer = true;
    let outcomes = host.apply(&zone, &ops);
    assert!(outcomes[..200].iter().all(|outcome| matches!(outcome, Outcome::Unknown(_))), "{:?}", outcomes[0]);
    assert!(outcomes[200..].iter().all(|outcome| *outcome == Outcome::NotTried));
    let writes = fake.writes();
    let outcomes = host.apply(&zone, &ops);
    assert!(outcomes[..200].iter().all(|outcome| *outcome == Outcome::Already));
    assert!(outcomes[200..].iter().all(|outcome| *outcome == Outcome::Applied(None)));
    assert_eq!(fake.writes(), writes + 1);
    assert_eq!(fake.state().records.values().map(Vec::len).sum::<usize>(), 250, "no duplicate");
}

#[test]
fn trouble_on_their_side_is_unknown_for_a_write_and_asked_again_for_a_question() {
    let (fake, _, host, zone) = start();
    let ops = adds(&host, &zone, &selectors(1));
    fake.state().next = vec![Response::new(502, "<html>bad gateway</html>"); 2];
    assert_eq!(host.observe(&zone, &selectors(1)).unwrap(), [AtName::Absent]);
    let ok = json!({ "success": true, "errors": [], "result": [] }).to_string();
    fake.state().next = vec![Response::new(502, "<html>"), Response::new(200, ok)];
    assert!(matches!(&host.apply(&zone, &ops)[..], [Outcome::Unknown(why)] if why.contains("HTTP 502")));
}

#[test]
fn the_time_by_their_clock() {
    let (_, _, host, _) = start();
    let clock = host.clock().unwrap().unix();
    assert!((clock - 1_795_341_600).abs() < 60, "{clock}");
}

// ---- rights, and words --------------------------------------------------------------------------------------------

#[test]
fn each_missing_right_has_its_sentence_and_no_sentence_holds_the_token() {
    let fake = CloudflareFake::start([ZONE]);
    let at = |token: &str| {
        let config = cloudflare::Config { api: fake.api(), ..cloudflare::Config::new(Secret::new(token)) };
        Cloudflare::with_timer(config, Box::new(FakeTimer::default())).unwrap()
    };
    let wrong = "canary-of-another-account-0123456789";
    let (unknown, broken, reader) = (at(wrong), at("canary-short"), at(READ_ONLY));
    let zone = reader.zones().unwrap().remove(0);
    let ops = adds(&reader, &zone, &selectors(2));
    let before = fake.state().log.len();
    let refused = reader.apply(&zone, &ops);
    assert_eq!(fake.state().log.len(), before + 3, "a look at each of two, one try");
    let [Outcome::Rejected(edit), _] = &refused[..] else { panic!("{refused:?}") };
    let none = {
        fake.state().zones.clear();
        at(TOKEN).zones().unwrap_err()
    };
    for (error, words) in [
        (&unknown.zones().unwrap_err(), "Invalid access token (9109)"),
        (&broken.zones().unwrap_err(), "(6111)"),
        (edit, "Zone / DNS / Edit"),
        (&none, "sees no zone"),
    ] {
        let shown = format!("{error} {error:?} {unknown:?} {broken:?} {reader:?}");
        assert!(matches!(error, ProviderError::Auth(_)) && shown.contains(words), "{words}: {shown}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn an_echoed_token_is_taken_out_of_what_the_host_says() {
    let (fake, _, host, zone) = start();
    fake.state().next.push(scripted(400, 6003, &format!("bad header: Bearer {TOKEN}")));
    let error = host.observe(&zone, &selectors(1)).unwrap_err();
    assert!(error.to_string().contains("bad header: Bearer [secret]") && !error.to_string().contains("canary"));
}

#[test]
fn a_full_zone_is_explained() {
    let (fake, _, host, zone) = start();
    fake.state().zones[0].quota = 1;
    let outcomes = host.apply(&zone, &adds(&host, &zone, &selectors(2)));
    let [Outcome::Applied(_), Outcome::Rejected(error)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!(error.to_string().contains("as many records as its plan allows"), "{error}");
}

// ---- a client that does it wrong ----------------------------------------------------------------------------------

/// Each refusal of the fake is met by somebody who did not know better.
#[test]
fn a_wrong_client_fails_on_each_refusal() {
    let fake = CloudflareFake::start([ZONE]);
    let zone = fake.state().zones[0].id.clone();
    fake.plant(&format!("taken.{ZONE}"), "TXT", "\"here\"", 300);
    fake.plant(&format!("alias.{ZONE}"), "CNAME", "elsewhere.example", 300);
    let bearer = format!("Bearer {TOKEN}");
    let send = |method: &str, path: &str, token: &str, body: &Value| {
        let headers = [("authorization", token)];
        let headers = if token.is_empty() { &[][..] } else { &headers[..] };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, body) = call(fake.address(), method, &format!("/client/v4/{path}"), headers, &body);
        let reply: Value = serde_json::from_str(&body).unwrap();
        let error = &reply["errors"][0];
        (status, error["error_chain"][0]["code"].as_u64().or(error["code"].as_u64()))
    };
    let records = format!("zones/{zone}/dns_records");
    let record = |name: &str, content: &str, ttl: u64| json!({ "type": "TXT", "name": format!("{name}.{ZONE}"), "content": content, "ttl": ttl });
    let post = |body: Value| send("POST", &records, &bearer, &body);
    let null = Value::Null;
    let cases = [
        ("no token", send("GET", "zones", "", &null), (400, 9106)),
        ("a token that is none", send("GET", "zones", "Bearer x", &null), (400, 6111)),
        ("somebody else's token", send("GET", "zones", "Bearer 0123456789012345678901234567890", &null), (403, 9109)),
        (
            "no right to write",
            send("POST", &records, &format!("Bearer {READ_ONLY}"), &record("a", "x", 300)),
            (403, 10000),
        ),
        ("a zone of others", send("GET", "zones/0/dns_records", &bearer, &null), (404, 7003)),
        ("a page too long", send("GET", "zones?per_page=1000", &bearer, &null), (400, 1004)),
        ("no JSON", send("POST", &records, &bearer, &json!(null)), (400, 9207)),
        ("a TTL too short", post(record("a", "x", 30)), (400, 9021)),
        ("no name", post(json!({ "type": "TXT", "name": "", "content": "x", "ttl": 300 })), (400, 9000)),
        ("beside an alias", post(record("alias", "x", 300)), (400, 81054)),
        (
            "an alias beside",
            post(json!({ "type": "CNAME", "name": format!("taken.{ZONE}"), "content": "x.example", "ttl": 300 })),
            (400, 81053),
        ),
        ("the same again", post(record("taken", "\"here\"", 300)), (400, 81058)),
        ("the same again, bare", post(record("taken", "here", 300)), (400, 81058)),
        ("a text too long", post(record("a", &"x".repeat(5000), 300)), (400, 9015)),
        (
            "tags on Free",
            post(json!({ "type": "TXT", "name": format!("a.{ZONE}"), "content": "x", "ttl": 300, "tags": ["a:b"] })),
            (400, 9300),
        ),
        (
            "a long comment",
            post(
                json!({ "type": "TXT", "name": format!("a.{ZONE}"), "content": "x", "ttl": 300, "comment": "c".repeat(101) }),
            ),
            (400, 9313),
        ),
        (
            "no such record",
            send("POST", &format!("{records}/batch"), &bearer, &json!({ "deletes": [{ "id": "0" }] })),
            (404, 81044),
        ),
        (
            "a batch too long",
            send("POST", &format!("{records}/batch"), &bearer, &json!({ "posts": vec![record("a", "x", 300); 201] })),
            (400, 1004),
        ),
        (
            "a batch with one bad record",
            send(
                "POST",
                &format!("{records}/batch"),
                &bearer,
                &json!({ "posts": [record("a", "x", 300), record("b", "x", 3)] }),
            ),
            (400, 9021),
        ),
    ];
    for (what, (status, code), (wanted, wanted_code)) in cases {
        assert_eq!((status, code), (wanted, Some(wanted_code)), "{what}");
    }
    assert!(fake.at(&format!("a.{ZONE}"), "TXT").is_empty(), "a refused batch does nothing");
    post(json!({ "type": "TXT", "name": "outside.test", "content": "x", "ttl": 300 }));
    assert_eq!(fake.at(&format!("outside.test.{ZONE}"), "TXT").len(), 1, "a foreign name ends up in the zone");
    fake.state().zones[0].quota = 0;
    assert_eq!(post(record("a", "x", 300)), (400, Some(1004)));
    fake.state().zones[0].quota = 1000;
    for n in 0..2 {
        assert_eq!(post(record("many", &format!("{n}{}", "x".repeat(4000)), 300)).0, 200);
    }
    assert_eq!(post(record("many", &"y".repeat(4000), 300)), (400, Some(83011)));
}
