//! What only Route 53 has: batches that count characters, changes that settle, policies. And a client that does it wrong.

use dkimctl_providers::route53::Route53;
use dkimctl_providers::{AtName, DnsProvider, Guarded, Op, Outcome, ProviderError, Visibility, Zone, zone_for};
use dkimctl_state::name::Fqdn;

use crate::hosts::route53_at;
use crate::servers::http::call;
use crate::servers::route53_fake::{ACCESS_KEY, FakeSet, FakeZone, Route53Fake, refusal};
use crate::{dkim, publish};

const ZONE: &str = "contract.example";

fn name(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn selectors(count: usize) -> Vec<Fqdn> {
    (0..count).map(|i| name(&format!("s1._domainkey.d{i}.{ZONE}"))).collect()
}

fn adds(host: &dyn DnsProvider, zone: &Zone, names: &[Fqdn]) -> Vec<Guarded> {
    let op = |name: &Fqdn| Op::Add { name: name.clone(), text: dkim('A').into(), ttl: 300 };
    let seen = host.observe(zone, names).unwrap();
    names.iter().zip(seen).map(|(name, seen)| Guarded { op: op(name), seen }).collect()
}

fn start() -> (Route53Fake, Route53, Zone) {
    let fake = Route53Fake::start([ZONE]);
    let host = route53_at(&fake.endpoint(), ACCESS_KEY);
    let zone = host.zones().unwrap().remove(0);
    (fake, host, zone)
}

fn applied(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Applied(Some(_)))
}

fn set(name: &str, values: &[&str]) -> FakeSet {
    let (name, values) = (format!("{name}."), values.iter().map(|value| (*value).to_owned()).collect());
    FakeSet { name, kind: "TXT".into(), ttl: Some(300), values, ..FakeSet::default() }
}

#[test]
fn seventy_seven_keys_of_2048_bits_fit_one_call() {
    let (fake, host, zone) = start();
    let outcomes = host.apply(&zone, &adds(&host, &zone, &selectors(100)));
    assert!(outcomes.iter().all(applied), "{:?}", outcomes[0]);
    assert_eq!(fake.state().batches, [77, 23]);
}

#[test]
fn a_fleet_is_packed_and_nothing_is_written_the_second_time() {
    let (fake, host, zone) = start();
    let names = selectors(2000);
    let outcomes = host.apply(&zone, &adds(&host, &zone, &names));
    assert!(outcomes.iter().all(applied));
    assert_eq!(fake.writes(), 2000_usize.div_ceil(77));
    let outcomes = host.apply(&zone, &adds(&host, &zone, &names));
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Already));
    assert_eq!(fake.writes(), 2000_usize.div_ceil(77));
    let calls = fake.state().log.len();
    assert!(calls < 80, "the zone is paged through, not asked for each name: {calls} calls");
}

#[test]
fn a_replacement_counts_both_values() {
    let (fake, host, zone) = start();
    let names = selectors(50);
    host.apply(&zone, &adds(&host, &zone, &names));
    let seen = host.observe(&zone, &names).unwrap();
    let op = |name: &Fqdn| Op::Replace { name: name.clone(), old: dkim('A').into(), new: dkim('B').into(), ttl: 300 };
    let ops: Vec<_> = names.iter().zip(seen).map(|(name, seen)| Guarded { op: op(name), seen }).collect();
    assert!(host.apply(&zone, &ops).iter().all(applied));
    assert_eq!(fake.state().batches, [50, 76, 24], "38 deletions and 38 creations, then the rest");
}

#[test]
fn two_thousand_zones_are_listed_once_and_changed_by_one_call_each() {
    let names: Vec<String> = (0..2000).map(|i| format!("d{i}.example")).collect();
    let fake = Route53Fake::start(names.iter().map(String::as_str));
    let host = route53_at(&fake.endpoint(), ACCESS_KEY);
    for run in [2000, 50] {
        for zone in host.zones().unwrap().into_iter().take(run) {
            host.apply(&zone, &[publish(&zone)]);
        }
    }
    assert_eq!(fake.writes(), 2000, "and none in the second run");
    let lists = fake.state().log.iter().filter(|line| line.starts_with("GET /2013-04-01/hostedzone?")).count();
    assert_eq!(lists, 20, "20 pages, once");
}

#[test]
fn a_change_settles_when_all_servers_have_it() {
    let (fake, host, zone) = start();
    fake.state().pending = 2;
    let outcomes = host.apply(&zone, &adds(&host, &zone, &selectors(1)));
    let [Outcome::Applied(Some(change))] = &outcomes[..] else { panic!("{outcomes:?}") };
    let settled: Vec<bool> = (0..3).map(|_| host.settled(&zone, change).unwrap()).collect();
    assert_eq!(settled, [false, false, true]);
    assert!(host.settled(&zone, &dkimctl_providers::ChangeId("/change/C0".into())).is_err());
}

#[test]
fn what_came_meanwhile_is_never_overwritten() {
    let (fake, host, zone) = start();
    let names = selectors(5);
    let ops = adds(&host, &zone, &names);
    fake.state().meanwhile = vec![
        set(names[1].as_str(), &["\"theirs\""]),
        FakeSet { kind: "CNAME".into(), ..set(names[2].as_str(), &["elsewhere.example."]) },
        set(names[3].as_str(), &[&format!("\"{}\" \"{}\"", &dkim('A')[..200], &dkim('A')[200..])]),
    ];
    let outcomes = host.apply(&zone, &ops);
    assert!(applied(&outcomes[0]) && applied(&outcomes[4]), "{outcomes:#?}");
    assert!(matches!(&outcomes[1], Outcome::Conflict(AtName::Txt { .. })));
    assert!(matches!(&outcomes[2], Outcome::Conflict(AtName::Cname { .. })));
    assert_eq!(outcomes[3], Outcome::Already, "ours, in other chunks");
}

#[test]
fn adjacent_strings_as_it_lists_them_can_be_deleted() {
    let (fake, host, zone) = start();
    let selector = selectors(1).remove(0);
    let value = format!("\"{}\"\"{}\"", &dkim('A')[..255], &dkim('A')[255..]);
    fake.plant(set(selector.as_str(), &[&value]));
    let seen = host.observe(&zone, std::slice::from_ref(&selector)).unwrap().remove(0);
    let op = Op::Remove { name: selector, text: dkim('A').into() };
    assert!(applied(&host.apply(&zone, &[Guarded { op, seen }])[0]));
}

#[test]
fn a_routing_policy_or_an_alias_is_left_alone_with_its_reason() {
    let (fake, host, zone) = start();
    let names = selectors(3);
    let weighted = set(names[0].as_str(), &["\"x\""]);
    fake.plant(FakeSet { identifier: Some("blue".into()), ..weighted });
    fake.plant(FakeSet { alias: true, ttl: None, ..set(names[1].as_str(), &[]) });
    fake.plant(FakeSet { kind: "NS".into(), ..set(names[2].as_str(), &["ns.elsewhere.example."]) });
    let seen = host.observe(&zone, &names).unwrap();
    for (at, why) in seen.iter().zip(["routing policy", "alias", "delegated"]) {
        assert!(matches!(at, AtName::Unsupported(text) if text.contains(why)), "{at:?}");
    }
    let outcomes = host.apply(&zone, &adds(&host, &zone, &names));
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Conflict(AtName::Unsupported(_)))));
    assert_eq!(fake.writes(), 0);
}

#[test]
fn of_twins_the_public_one_is_taken_and_two_public_ones_are_refused() {
    let fake = Route53Fake::start([ZONE, "twice.example", "twice.example"]);
    fake.state().zones.insert(0, FakeZone { id: "ZPRIVATE".into(), name: format!("{ZONE}."), private: true });
    let host = route53_at(&fake.endpoint(), ACCESS_KEY);
    let zones = host.zones().unwrap();
    let zone = zone_for(&zones, &name(&format!("s1._domainkey.{ZONE}"))).unwrap();
    assert!(zone.visibility == Visibility::Public && zone.id != "ZPRIVATE", "{zones:?}");
    let twice = zone_for(&zones, &name("s1._domainkey.twice.example")).unwrap();
    let error = host.observe(twice, &[name("s1._domainkey.twice.example")]).unwrap_err();
    assert!(error.to_string().contains("`zone_ids`"), "{error}");
}

#[test]
fn throttled_three_times_is_done_and_for_ever_is_a_typed_error() {
    let (fake, host, zone) = start();
    let ops = adds(&host, &zone, &selectors(1));
    fake.state().next = vec![refusal(400, "Throttling", "Rate exceeded"); 3];
    assert!(applied(&host.apply(&zone, &ops)[0]));
    fake.state().next = vec![refusal(400, "Throttling", "Rate exceeded"); 100];
    let error = host.observe(&zone, &selectors(1)).unwrap_err();
    assert!(matches!(error, ProviderError::RateLimited { .. }), "{error}");
    assert!(fake.state().next.len() >= 90, "it stops asking");
}

#[test]
fn a_lost_answer_never_makes_two() {
    let (fake, host, zone) = start();
    let ops = adds(&host, &zone, &selectors(3));
    fake.state().drop_answers = 1;
    let first = host.apply(&zone, &ops);
    let fine = |outcome: &Outcome| applied(outcome) || matches!(outcome, Outcome::Already | Outcome::Unknown(_));
    assert!(first.iter().all(fine), "{first:?}");
    assert!(host.apply(&zone, &ops).iter().all(|outcome| *outcome == Outcome::Already));
    assert_eq!(fake.state().sets.values().map(Vec::len).sum::<usize>(), 3);
}

#[test]
fn wrong_credentials_have_a_sentence_without_them() {
    let fake = Route53Fake::start([ZONE]);
    let host = route53_at(&fake.endpoint(), "AKIDCANARYUNKNOWN");
    let error = host.zones().unwrap_err();
    let shown = format!("{error} {error:?} {host:?}");
    assert!(matches!(error, ProviderError::Auth(_)) && shown.contains("InvalidClientTokenId"), "{shown}");
    assert!(!shown.to_ascii_lowercase().contains("canary"), "{shown}");
    let dead = route53_at(&format!("http://127.0.0.1:{}", crate::servers::free_port()), ACCESS_KEY);
    let error = dead.zones().unwrap_err();
    assert!(matches!(&error, ProviderError::Unreachable(why) if why.contains("cannot be reached")), "{error}");
}

#[test]
fn the_time_by_their_clock() {
    let (_, host, _) = start();
    let clock = host.clock().unwrap().unix();
    assert!((clock - 1_795_341_600).abs() < 60, "{clock}");
}

// ---- a client that does it wrong ----------------------------------------------------------------------------------

/// Each refusal of the fake is met by somebody who did not know better.
#[test]
fn a_wrong_client_fails_on_each_refusal() {
    let fake = Route53Fake::start([ZONE]);
    let zone = fake.state().zones[0].id.clone();
    fake.plant(set(&format!("taken.{ZONE}"), &["\"here\""]));
    fake.plant(FakeSet { kind: "CNAME".into(), ..set(&format!("alias.{ZONE}"), &["elsewhere.example."]) });
    fake.plant(FakeSet { identifier: Some("blue".into()), ..set(&format!("weighted.{ZONE}"), &["\"x\""]) });
    let auth = format!("AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/x");
    let raw = |method: &str, path: &str, auth: &str, body: &str| {
        call(fake.address(), method, &format!("/2013-04-01/{path}"), &[("authorization", auth)], body)
    };
    let change = |action: &str, name: &str, ttl: &str, values: &[&str]| {
        let value = |value: &&str| format!("<ResourceRecord><Value>{value}</Value></ResourceRecord>");
        let values: String = values.iter().map(value).collect();
        format!(
            "<Change><Action>{action}</Action><ResourceRecordSet><Name>{name}.{ZONE}.</Name><Type>TXT</Type>\
             <TTL>{ttl}</TTL><ResourceRecords>{values}</ResourceRecords></ResourceRecordSet></Change>"
        )
    };
    let post = |changes: &str| raw("POST", &format!("hostedzone/{zone}/rrset"), &auth, changes);
    let create = |name: &str, value: &str| post(&change("CREATE", name, "300", &[value]));
    let many = |action: &str, count: usize, value: &str| {
        let one = |i: usize| change(action, &format!("m{i}"), "300", &[value]);
        post(&(0..count).map(one).collect::<String>())
    };
    let long = format!("\"{}\"", "x".repeat(410));
    let key = format!("\"{}\" \"{}\"", "x".repeat(255), "x".repeat(155));
    let cases = [
        (
            "somebody else's key",
            raw("GET", "hostedzone", "AWS4-HMAC-SHA256 Credential=AKIDX/x", ""),
            "InvalidClientTokenId",
        ),
        ("a zone of others", raw("GET", "hostedzone/Z9/rrset", &auth, ""), "NoSuchHostedZone"),
        ("a change of others", raw("GET", "change/C9", &auth, ""), "NoSuchChange"),
        ("nothing to do", post(""), "InvalidInput"),
        ("no quotes", create("a", "v=spf1 -all"), "InvalidTXTRDATA"),
        ("what is not ASCII", create("a", "\"é\""), "InvalidTXTRDATA"),
        ("one long string", create("a", &long), "CharacterStringTooLong"),
        ("adjacent strings", create("a", "\"a\"\"b\""), "CharacterStringTooLong"),
        ("a text too long", create("a", &["\"x\""; 1100].join(" ")), "ValueTooLong"),
        ("the same twice", post(&change("CREATE", "a", "300", &["\"x\"", "\"x\""])), "Duplicate Resource Record"),
        ("no TTL", post(&change("CREATE", "a", "", &["\"x\""])), "Missing field"),
        (
            "a name outside",
            post(&change("CREATE", "a", "300", &["\"x\""]).replace(ZONE, "other.example")),
            "is not permitted in zone",
        ),
        ("what is there", create("taken", "\"here\""), "but it already exists"),
        ("beside an alias", create("alias", "\"x\""), "conflicting RRSet of type CNAME"),
        ("beside a policy", create("weighted", "\"x\""), "cannot be created as other RRSets exist"),
        ("a deletion of nothing", post(&change("DELETE", "a", "300", &["\"x\""])), "but it was not found"),
        (
            "a deletion of another value",
            post(&change("DELETE", "taken", "300", &["\"hers\""])),
            "do not match the current values",
        ),
        (
            "a deletion with another TTL",
            post(&change("DELETE", "taken", "60", &["\"here\""])),
            "do not match the current values",
        ),
        (
            "a deletion twice",
            post(&change("DELETE", "taken", "300", &["\"here\""]).repeat(2)),
            "invalid set of changes",
        ),
        ("1,001 records", many("CREATE", 1001, "\"x\""), "limit of 1000 exceeded"),
        ("501 UPSERTs", many("UPSERT", 501, "\"x\""), "limit of 1000 exceeded"),
        ("78 keys", many("CREATE", 78, &key), "limit of 32000 exceeded"),
        ("39 UPSERTs of keys", many("UPSERT", 39, &key), "limit of 32000 exceeded"),
        (
            "a batch with one bad change",
            post(&(change("CREATE", "good", "300", &["\"x\""]) + &change("CREATE", "taken", "300", &["\"x\""]))),
            "but it already exists",
        ),
    ];
    for (what, (status, body), words) in cases {
        assert!(status >= 400 && body.contains(words), "{what}: {status} {body}");
    }
    assert!(fake.at(&format!("good.{ZONE}."), "TXT").is_empty(), "a refused batch does nothing");
    assert_eq!(many("CREATE", 77, &key).0, 200, "and 77 are not too many");
    assert_eq!(many("UPSERT", 38, &key).0, 200);
    fake.state().next.push(refusal(400, "Throttling", "Rate exceeded"));
    assert!(create("b", "\"x\"").1.contains("Throttling"));
}
