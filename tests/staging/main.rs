//! The whole ladder at a real name server: reports come every day, the clock moves, and the record climbs from none to
//! reject. It is read back from the server at each rung, and every other text at the name stays.

use std::collections::BTreeMap;
use std::time::Duration;

use dkimctl::dmarc::authentic::Authenticator;
use dkimctl::dmarc::ingest::{Entry, Ingest};
use dkimctl::dmarc::publish::{self, PublishError};
use dkimctl::dmarc::stage::{Records, Stage};
use dkimctl::dns::Dns;
use dkimctl::observe::{self, AuthoritativeSweeper, Sweeper};
use dkimctl_providers::rfc2136::{self, Key, Rfc2136};
use dkimctl_providers::wire::{self, Answer, Options};
use dkimctl_providers::{DnsProvider, Guarded, Op};
use dkimctl_state::lifecycle::policy::Policy as RotationPolicy;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::staging::ladder::Rung;
use dkimctl_state::lifecycle::staging::policy::StagingPolicy;
use dkimctl_state::lifecycle::staging::sources::{Cadence, Sender};
use dkimctl_state::lifecycle::staging::{Due, Move, StagingWait};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::sqlite::{self, SqliteStore};
use dkimctl_state::time::{Span, Time};
use hickory_proto::rr::{Name, RData, RecordType};

#[path = "../servers/mod.rs"]
mod servers;

use servers::{Bind, TestKey, TestZone, servers_or_skip};

const FIRST: &str = "v=DMARC1; p=none; rua=mailto:dmarc@example.com";
const FOREIGN: [&str; 2] = ["google-site-verification=abc", "some other text"];
/// 2026-03-02
const DAY_0: i64 = 1_772_409_600;

struct World {
    server: Bind,
    dns: Dns,
    store: SqliteStore,
    servers: Box<dyn Sweeper>,
    settings: Settings,
    policy: StagingPolicy,
    key: TestKey,
    _dir: tempfile::TempDir,
}

fn morning(day: i64) -> Time {
    Time::from_unix(DAY_0 + day * 86400 + 6 * 3600)
}

impl World {
    fn new() -> World {
        let key = TestKey::new("k");
        let records = format!(
            "_dmarc TXT \"{FIRST}\"\n_dmarc TXT \"{}\"\n_dmarc TXT \"{}\"\nwww TXT \"untouched\"",
            FOREIGN[0], FOREIGN[1]
        );
        let zone = TestZone::new("example.com").with(&records);
        let server = Bind::start(std::slice::from_ref(&key), &[zone]);
        let label: dkimctl_state::name::Label = "bind".parse().unwrap();
        let providers: BTreeMap<_, Box<dyn DnsProvider>> = BTreeMap::from([(label.clone(), provider(&server, &key))]);
        let dir = tempfile::tempdir().unwrap();
        let lineage = uuid();
        let store = SqliteStore::create(&dir.path().join("state"), lineage, &sqlite::Options::read_write()).unwrap();
        let settings = Settings {
            domain: "example.com".parse().unwrap(),
            slots: BTreeMap::new(),
            rsa_bits: 2048,
            ttl: 300,
            providers: vec![label],
            hosts: vec![],
            // The test's clock is months away from the server's.
            policy: RotationPolicy { clock_tolerance: Span::days(10_000), ..RotationPolicy::default() },
        };
        let asked = observe::Config {
            nameservers: BTreeMap::from([("example.com".parse().unwrap(), vec![server.address])]),
            ..observe::Config::default()
        };
        let servers = Box::new(AuthoritativeSweeper::new(asked));
        World {
            server,
            dns: Dns::new(providers),
            store,
            servers,
            settings,
            policy: StagingPolicy::default(),
            key,
            _dir: dir,
        }
    }

    fn stage(&mut self, now: Time) -> Stage<'_> {
        let records = Records { networks: vec!["192.0.2.0/28".parse().unwrap()], ..Records::default() };
        let World { dns, store, servers, settings, policy, .. } = self;
        Stage { dns, store, servers: &**servers, settings, policy, records, now, actor: "cron".to_owned() }
    }

    /// Yesterday's reports, as files: from whoever reports, under the policy that the server shows.
    fn reports(&mut self, day: i64, broken: u32) {
        let policy = self.served().into_iter().find(|text| text.starts_with("v=DMARC1")).unwrap();
        let word = ["p=reject", "p=quarantine"].into_iter().find(|p| policy.contains(p)).unwrap_or("p=none");
        let percent = if policy.contains("pct=0") { 0 } else { 100 };
        let texts: Vec<String> = ["google.com", "yahoo.com", "mail.ru"]
            .iter()
            .map(|reporter| report(reporter, day, &word[2..], percent, broken))
            .collect();
        let nobody = |_: &Fqdn| Err::<Vec<TxtText>, _>("offline".to_owned());
        let mut say = |entry: &Entry| assert!(entry.errors.is_empty(), "{entry:?}");
        let now = morning(day + 1);
        let mut run = Ingest::new(Some(&mut self.store), Authenticator::new(&nobody), now, false, &mut say);
        for text in &texts {
            run.stream("report.xml", text.as_bytes());
        }
        assert_eq!(run.finish().unwrap().0.ok, 3);
    }

    /// The texts at `_dmarc.example.com`, asked of the server.
    fn served(&self) -> Vec<String> {
        texts_at(&self.server, "_dmarc.example.com.")
    }

    fn record(&self) -> String {
        let (dmarc, others): (Vec<String>, Vec<String>) =
            self.served().into_iter().partition(|text| text.starts_with("v=DMARC1"));
        assert_eq!(others, FOREIGN, "other texts at the name stay");
        assert_eq!(dmarc.len(), 1, "{dmarc:?}");
        assert_eq!(texts_at(&self.server, "www.example.com."), ["untouched"]);
        dmarc.into_iter().next().unwrap()
    }
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::from_u128(7)
}

fn provider(server: &Bind, key: &TestKey) -> Box<dyn DnsProvider> {
    Box::new(Rfc2136::new(rfc2136::Config {
        server: server.address.to_string(),
        zones: vec!["example.com".parse().unwrap()],
        key: Key::new(key.name.parse().unwrap(), &key.algorithm, &key.secret).unwrap(),
        timeout: Duration::from_secs(5),
    }))
}

fn texts_at(server: &Bind, name: &str) -> Vec<String> {
    let options = Options { timeout: Duration::from_secs(2), ..Options::default() };
    let Answer::Records(records) =
        wire::ask(server.address, &Name::from_ascii(name).unwrap(), RecordType::TXT, options)
    else {
        return Vec::new();
    };
    let text = |data: &RData| match data {
        RData::TXT(txt) => Some(TxtText::join(txt.txt_data.iter().map(|chunk| &**chunk)).to_string()),
        _ => None,
    };
    let mut texts: Vec<String> = records.answers.iter().filter_map(|record| text(&record.data)).collect();
    texts.sort();
    texts
}

fn report(reporter: &str, day: i64, policy: &str, percent: u8, broken: u32) -> String {
    let begin = DAY_0 + day * 86400;
    let row = |source: &str, count: u32, word: &str, auth: &str| {
        format!(
            "<record><row><source_ip>{source}</source_ip><count>{count}</count><policy_evaluated><disposition>none\
             </disposition><dkim>{word}</dkim><spf>{word}</spf></policy_evaluated></row><identifiers>\
             <header_from>example.com</header_from></identifiers><auth_results>{auth}</auth_results></record>"
        )
    };
    let signed = "<dkim><domain>example.com</domain><selector>s1</selector><result>pass</result></dkim>\
                  <spf><domain>example.com</domain><result>pass</result></spf>";
    let mut rows = row("192.0.2.1", 60, "pass", signed);
    rows += &row(
        &format!("203.0.113.{}", day % 250),
        40,
        "fail",
        "<spf><domain>example.com</domain><result>fail</result></spf>",
    );
    if broken > 0 {
        rows += &row("192.0.2.9", broken, "fail", "").replace("<disposition>none", "<disposition>reject");
    }
    format!(
        "<feedback><report_metadata><org_name>{reporter}</org_name><report_id>{reporter}.{day}</report_id><date_range>\
         <begin>{begin}</begin><end>{}</end></date_range></report_metadata><policy_published><domain>example.com</domain>\
         <p>{policy}</p><pct>{percent}</pct></policy_published>{rows}</feedback>",
        begin + 86399
    )
}

#[test]
fn from_none_to_reject_and_back_at_a_real_server() {
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let mut world = World::new();
    assert_eq!(world.record(), FIRST);

    // Nothing is touched before somebody agreed to the text.
    let due = world.stage(morning(0)).advance().unwrap();
    assert_eq!(due.waits, [StagingWait::NotAdopted]);
    let wrong = world.stage(morning(0)).adopt(Some("v=DMARC1; p=reject".into()), None);
    assert!(matches!(wrong, Err(PublishError::Changed(_))), "{wrong:?}");
    let course = world.stage(morning(0)).adopt(Some(FIRST.into()), None).unwrap();
    assert_eq!((course.rung(), world.record().as_str()), (Some(Rung::None), FIRST));
    let sender = Sender {
        name: "our server".into(),
        domains: vec![],
        selectors: vec!["s1".into()],
        networks: vec!["192.0.2.0/28".parse().unwrap()],
        cadence: Cadence::Daily,
        since: morning(0),
    };
    world.stage(morning(0)).note(|course| course.senders.push(sender)).unwrap();

    let mut climbed = Vec::new();
    for day in 1..=70 {
        world.reports(day - 1, 0);
        // Cron runs more than once; only the first run of a day finds something.
        let due: Due = world.stage(morning(day)).advance().unwrap();
        let again = world.stage(morning(day)).advance().unwrap();
        assert_eq!(again.what, Move::Stay, "one rung at a time");
        if let Move::Write { rung, to, .. } = due.what {
            assert_eq!(world.record(), to.to_string(), "the server shows what was decided");
            climbed.push((day, rung, world.record()));
        }
    }
    let texts: Vec<(Rung, &str)> = climbed.iter().map(|(_, rung, text)| (*rung, text.as_str())).collect();
    assert_eq!(
        texts,
        [
            (Rung::QuarantineTest, "v=DMARC1; p=quarantine; t=y; pct=0; rua=mailto:dmarc@example.com"),
            (Rung::Quarantine, "v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com"),
            (Rung::RejectTest, "v=DMARC1; p=reject; t=y; pct=0; rua=mailto:dmarc@example.com"),
            (Rung::Reject, "v=DMARC1; p=reject; np=reject; rua=mailto:dmarc@example.com"),
        ]
    );
    let days: Vec<i64> = climbed.iter().map(|(day, ..)| *day).collect();
    assert!(days[0] >= 15 && days[1] - days[0] >= 7 && days[2] - days[1] >= 14 && days[3] - days[2] >= 7, "{days:?}");

    // Half of a declared server's mail is rejected: it is said, and on request the record steps back by itself.
    world.reports(70, 30);
    world.reports(71, 30);
    let due = world.stage(morning(72)).advance().unwrap();
    assert!(due.waits.iter().any(|wait| matches!(wait, StagingWait::Alarm { .. })), "{:?}", due.waits);
    assert_eq!(world.record(), texts[3].1);
    world.policy.alarm.automatic = true;
    world.stage(morning(72)).advance().unwrap();
    assert_eq!(world.record(), texts[2].1, "to the octet what stood before");
    // By hand, to the foot of the ladder, at once.
    for text in [texts[1].1, texts[0].1, FIRST] {
        assert!(world.stage(morning(72)).rollback("asked").unwrap().is_some());
        assert_eq!(world.record(), text);
    }
    assert_eq!(world.stage(morning(72)).rollback("asked").unwrap(), None);
    let course = publish::course(&world.store, &world.settings.domain).unwrap();
    assert_eq!(course.log.len(), 9, "one adoption, four up, four down");
}

#[test]
fn what_somebody_else_changed_is_left_alone_and_a_kill_leaves_no_riddle() {
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let mut world = World::new();
    world.stage(morning(0)).adopt(Some(FIRST.into()), None).unwrap();
    world
        .stage(morning(0))
        .note(|course| {
            let (domains, networks) = (vec![], vec![]);
            let selectors = vec!["s1".to_owned()];
            course.senders.push(Sender {
                name: "s".into(),
                domains,
                selectors,
                networks,
                cadence: Cadence::Daily,
                since: morning(0),
            });
        })
        .unwrap();
    (0..16).for_each(|day| world.reports(day, 0));

    // Somebody edits the record by hand: nothing is written over it.
    let by_hand = "v=DMARC1; p=none; rua=mailto:other@example.com";
    replace(&world, FIRST, by_hand);
    let refused = world.stage(morning(16)).advance().unwrap_err();
    assert!(matches!(refused, PublishError::NotOurs { .. }), "{refused}");
    assert!(refused.to_string().contains("dmarc adopt example.com"), "{refused}");
    assert_eq!(world.record(), by_hand);
    replace(&world, by_hand, FIRST);

    // A kill between the write and the fact: the next run looks, and writes down what it finds.
    let Move::Write { kind, from, to, why, .. } = decided(&mut world, 16) else { panic!("nothing is due") };
    let change = dkimctl_state::lifecycle::staging::course::Change {
        at: morning(16),
        by: "cron".into(),
        kind,
        from: Some(from),
        to: to.clone(),
        ttl: 300,
        why,
    };
    world.stage(morning(16)).note(|course| course.pending = Some(change.clone())).unwrap();
    replace(&world, FIRST, &to.to_string());
    world.stage(morning(16)).advance().unwrap();
    let course = publish::course(&world.store, &world.settings.domain).unwrap();
    assert_eq!((course.pending, course.log.last().map(|c| c.to.clone())), (None, Some(to.clone())));
    // Killed before the write: nothing happened, and nothing is believed to have happened.
    world.stage(morning(16)).rollback("test").unwrap();
    world.stage(morning(17)).note(|course| course.pending = Some(change)).unwrap();
    world.stage(morning(17)).advance().unwrap();
    assert_eq!(world.record(), FIRST);
    assert_eq!(publish::course(&world.store, &world.settings.domain).unwrap().rung(), Some(Rung::None));
}

#[test]
fn nothing_is_climbed_by_a_clock_that_the_server_contradicts() {
    if !servers_or_skip(&[Bind::PROGRAM]) {
        return;
    }
    let mut world = World::new();
    world.settings.policy.clock_tolerance = Span::minutes(5);
    world.stage(morning(0)).adopt(Some(FIRST.into()), None).unwrap();
    world
        .stage(morning(0))
        .note(|course| {
            let (domains, networks) = (vec![], vec![]);
            let (name, selectors, cadence) = ("s".into(), vec!["s1".to_owned()], Cadence::Daily);
            course.senders.push(Sender { name, domains, selectors, networks, cadence, since: morning(0) });
        })
        .unwrap();
    (0..16).for_each(|day| world.reports(day, 0));
    // The first change is signed, and so the server's clock is heard.
    assert!(matches!(world.stage(morning(16)).advance().unwrap().what, Move::Write { .. }));
    let rehearsal = world.record();
    (16..30).for_each(|day| world.reports(day, 0));
    let due = world.stage(morning(30)).advance().unwrap();
    assert_eq!((due.what, due.waits), (Move::Stay, vec![StagingWait::ClockDisagrees]));
    assert_eq!(world.record(), rehearsal);
    // Back it goes with any clock.
    world.stage(morning(30)).rollback("asked").unwrap();
    assert_eq!(world.record(), FIRST);
}

fn decided(world: &mut World, day: i64) -> Move {
    let stage = world.stage(morning(day));
    let gathered = stage.gather().unwrap();
    stage.decide(&gathered).what
}

fn replace(world: &World, old: &str, new: &str) {
    let host = provider(&world.server, &world.key);
    let zone = host.zones().unwrap().remove(0);
    let name: Fqdn = "_dmarc.example.com".parse().unwrap();
    let seen = host.observe(&zone, std::slice::from_ref(&name)).unwrap().remove(0);
    let op = Op::Replace { name, old: old.into(), new: new.into(), ttl: 300 };
    let outcome = host.apply(&zone, &[Guarded { op, seen }]).remove(0);
    assert!(matches!(outcome, dkimctl_providers::Outcome::Applied(_)), "{outcome:?}");
}
