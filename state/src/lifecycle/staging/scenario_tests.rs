//! A page for each way that weeks of reports can go. Days are counted from the adoption of `p=none`, at noon of day 0.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use super::course::{Change, Hold};
use super::evidence::*;
use super::gates::GateState;
use super::policy::Profile;
use super::sources::{Cadence, Network, NotOurs, Sender};
use super::*;
use crate::record::dmarc::{DmarcRecord, Policy};

/// 2026-03-02, a Monday.
const DAY_0: i64 = 1_772_409_600;
const NONE: &str = "v=DMARC1; p=none; rua=mailto:dmarc@example.com; x=kept";

fn day(n: i64) -> Time {
    Time::from_unix(DAY_0 + n * 86400)
}

/// Morning of day n.
fn morning(n: i64) -> Time {
    day(n) + Span::hours(6)
}

#[derive(Clone)]
struct Mail {
    source: String,
    count: u64,
    dkim: Option<(&'static str, &'static str, AuthWord)>,
    spf: Option<(&'static str, AuthWord)>,
    aligned: (bool, bool),
    overrides: Overrides,
    disposition: Policy,
}

fn mail(count: u64, source: &str) -> Mail {
    let (source, overrides) = (source.to_owned(), Overrides::default());
    Mail { source, count, dkim: None, spf: None, aligned: (false, false), overrides, disposition: Policy::None }
}

/// Our own mail, signed.
fn ours(count: u64) -> Mail {
    let dkim = Some(("example.com", "s1", AuthWord::Pass));
    Mail { dkim, spf: Some(("example.com", AuthWord::Pass)), aligned: (true, true), ..mail(count, "192.0.2.1") }
}

/// Our own server, unsigned, and sent through a host that SPF does not name.
fn broken(count: u64) -> Mail {
    mail(count, "192.0.2.1")
}

fn spf_only(count: u64) -> Mail {
    Mail { spf: Some(("bounce.example.com", AuthWord::Pass)), aligned: (false, true), ..mail(count, "198.51.100.9") }
}

/// A service that signs as itself: nobody declared it.
fn saas(count: u64) -> Mail {
    Mail { dkim: Some(("mailer.example.net", "m1", AuthWord::Pass)), ..mail(count, "203.0.113.50") }
}

fn spoof(count: u64, n: i64) -> Mail {
    mail(count, &format!("203.0.{}.{}", n.rem_euclid(250), count % 250))
}

fn list(count: u64) -> Mail {
    let dkim = Some(("example.com", "s1", AuthWord::Fail));
    Mail { dkim, overrides: Overrides::MAILING_LIST, ..mail(count, "198.51.100.77") }
}

fn newsletter(count: u64) -> Mail {
    let dkim = Some(("example.com", "news", AuthWord::Pass));
    Mail { dkim, aligned: (true, false), ..mail(count, "198.51.100.30") }
}

struct Page {
    policy: StagingPolicy,
    course: Course,
    reports: Vec<Report>,
    rows: Vec<Row>,
    rejected: u64,
    around: Around,
    selectors: BTreeSet<String>,
    spf: Vec<Network>,
}

impl Page {
    /// `p=none` stands since noon of day 0; our server is in SPF, and s1 is ours.
    fn new() -> Page {
        let mut course = Course::new("example.com".parse().unwrap());
        adopt(&mut course, NONE, day(0) + Span::hours(12));
        Page {
            policy: StagingPolicy::default(),
            course,
            reports: Vec::new(),
            rows: Vec::new(),
            rejected: 0,
            around: Around::default(),
            selectors: ["s1".to_owned()].into(),
            spf: vec!["192.0.2.0/28".parse().unwrap()],
        }
    }

    /// On the rung of this record since noon of day 0.
    fn standing(text: &str) -> Page {
        let mut page = Page::new();
        page.climb(text, day(0) + Span::hours(12));
        page
    }

    fn climb(&mut self, text: &str, at: Time) {
        let from = self.course.now().map(|stood| stood.text.clone());
        let change =
            Change { at, by: "cron".into(), kind: ChangeKind::Climb, from, to: text.into(), ttl: 300, why: "".into() };
        self.course.settle(change, at);
    }

    fn report(&mut self, n: i64, reporter: &str, mails: &[Mail]) -> &mut Report {
        let published = Published {
            policy: self.course.record().and_then(|record| record.policy),
            percent: self.course.record().and_then(|record| record.percent),
            ..Published::default()
        };
        self.report_as(n, reporter, mails, published, Trust::Operator, true)
    }

    fn report_as(
        &mut self,
        n: i64,
        reporter: &str,
        mails: &[Mail],
        published: Published,
        trust: Trust,
        complete: bool,
    ) -> &mut Report {
        for mail in mails.iter().filter(|mail| mail.count > 0) {
            let dkim = mail.dkim.iter().map(|(domain, selector, result)| DkimResult {
                domain: (*domain).into(),
                selector: (*selector).into(),
                result: *result,
            });
            let spf = mail.spf.iter().map(|(domain, result)| SpfResult { domain: (*domain).into(), result: *result });
            self.rows.push(Row {
                day: Day::of(day(n)),
                reporter: reporter.into(),
                trust,
                complete,
                published: published.clone().into(),
                source: mail.source.parse().unwrap(),
                header_from: "example.com".into(),
                auth: Auth { dkim: dkim.collect(), spf: spf.collect() }.into(),
                outcome: Outcome {
                    disposition: mail.disposition,
                    dkim: mail.aligned.0,
                    spf: mail.aligned.1,
                    overrides: mail.overrides,
                },
                count: mail.count,
            });
        }
        let messages = mails.iter().map(|mail| mail.count).sum();
        self.reports.push(Report {
            reporter: reporter.into(),
            id: format!("{reporter}-{n}"),
            domain: "example.com".parse().unwrap(),
            begin: day(n),
            end: day(n + 1),
            published,
            trust,
            complete,
            records: mails.len() as u64,
            messages,
            aligned: 0,
            received: day(n + 1),
        });
        self.reports.last_mut().unwrap()
    }

    /// Two reporters, every day.
    fn days(&mut self, days: RangeInclusive<i64>, mails: impl Fn(i64) -> Vec<Mail>) {
        for n in days {
            for reporter in ["google.com", "yahoo.com"] {
                self.report(n, reporter, &mails(n));
            }
        }
    }

    fn sender(&mut self, name: &str, selector: &str, cadence: Cadence, since: Time) {
        let (domains, networks) = (Vec::new(), Vec::new());
        self.course.senders.push(Sender {
            name: name.into(),
            domains,
            selectors: vec![selector.into()],
            networks,
            cadence,
            since,
        });
    }

    fn due(&mut self, at: Time) -> Due {
        if self.around.dkim_proved.is_none() {
            self.around.dkim_proved = Some(at - Span::days(1));
        } else if self.around.dkim_proved.is_some_and(|proved| at.since(proved) > Span::days(1)) {
            self.around.dkim_proved = Some(at - Span::days(1));
        }
        self.look(at)
    }

    fn look(&self, at: Time) -> Due {
        let ours = Ours {
            domain: Some("example.com".parse().unwrap()),
            senders: &self.course.senders,
            not_ours: &self.course.not_ours,
            spf: &self.spf,
            selectors: &self.selectors,
        };
        let reports: Vec<Report> = self.reports.iter().filter(|report| report.received <= at).cloned().collect();
        let rows: Vec<Row> = self.rows.iter().filter(|row| row.day.start() + Span::days(1) <= at).cloned().collect();
        let evidence = Evidence { reports: &reports, rows: &rows, refused: &vec![at; self.rejected as usize] };
        due(Now { policy: &self.policy, course: &self.course, ours: &ours, evidence, around: &self.around, at })
    }

    fn verdict(&mut self, at: Time) -> Verdict {
        self.due(at).verdict.expect("a verdict")
    }

    /// The state, and the gates that are not open.
    fn closed(&mut self, at: Time) -> (State, Vec<&'static str>) {
        let verdict = self.verdict(at);
        let closed = verdict.gates.iter().filter(|g| matches!(g.state, GateState::Blocked | GateState::Insufficient));
        (verdict.state, closed.map(|g| g.id).collect())
    }

    fn gate(&mut self, id: &str, at: Time) -> gates::Gate {
        self.verdict(at).gates.into_iter().find(|gate| gate.id == id).unwrap_or_else(|| panic!("no gate {id}"))
    }

    /// What is written, if anything.
    fn written(&mut self, at: Time) -> Option<(Rung, String)> {
        match self.due(at).what {
            Move::Write { rung, to, .. } => Some((rung, to.to_string())),
            Move::Stay => None,
        }
    }
}

fn adopt(course: &mut Course, text: &str, at: Time) {
    let change = Change {
        at,
        by: "anna".into(),
        kind: ChangeKind::Adopt,
        from: None,
        to: text.into(),
        ttl: 300,
        why: "".into(),
    };
    course.settle(change, at);
}

const QUARANTINE: &str = "v=DMARC1; p=quarantine; rua=mailto:dmarc@example.com; x=kept";
const REJECT: &str = "v=DMARC1; p=reject; np=reject; rua=mailto:dmarc@example.com; x=kept";

#[test]
fn fourteen_clean_days_open_the_first_rung() {
    let mut page = Page::new();
    page.days(1..=20, |_| vec![ours(50)]);
    // 24 hours settle, then 14 days: not a minute before noon of day 15.
    assert_eq!(page.closed(day(15) + Span::hours(11)), (State::Insufficient, vec!["days"]));
    assert_eq!(page.verdict(day(10)).earliest, Some(day(15) + Span::hours(12)));
    let verdict = page.verdict(morning(16));
    assert_eq!((verdict.state, verdict.earliest), (State::Clean, Some(morning(16))));
    let rehearsal = "v=DMARC1; p=quarantine; t=y; pct=0; rua=mailto:dmarc@example.com; x=kept";
    assert_eq!(page.written(morning(16)), Some((Rung::QuarantineTest, rehearsal.to_owned())));
    // Users write to lists: a month.
    page.policy.profile = Profile::Users;
    assert_eq!(page.verdict(morning(16)).earliest, Some(day(31) + Span::hours(12)));
}

#[test]
fn a_gap_of_four_days_is_not_enough_evidence() {
    let mut page = Page::new();
    page.days(1..=6, |_| vec![ours(50)]);
    page.days(11..=40, |_| vec![ours(50)]);
    let (state, closed) = page.closed(morning(16));
    assert_eq!(state, State::Insufficient);
    assert!(closed.contains(&"gap"), "{closed:?}");
    assert_eq!(page.gate("gap", morning(16)).value, "4 days");
    let earliest = page.verdict(morning(16)).earliest.unwrap();
    assert!(earliest > morning(20) && earliest < morning(26), "{earliest}");
    assert_eq!(page.verdict(earliest + Span::hours(1)).state, State::Clean);
}

#[test]
fn stale_reports_say_nothing_of_today() {
    let mut page = Page::new();
    page.days(1..=15, |_| vec![ours(50)]);
    assert_eq!(page.verdict(morning(17)).state, State::Clean);
    let (state, closed) = page.closed(morning(20));
    assert_eq!(state, State::Insufficient);
    assert!(closed.contains(&"freshness"), "{closed:?}");
    assert_eq!(page.written(morning(20)), None);
}

#[test]
fn one_reporter_is_one_opinion() {
    let mut page = Page::new();
    for n in 1..=20 {
        page.report(n, "google.com", &[ours(50)]);
    }
    assert_eq!(page.closed(morning(17)), (State::Insufficient, vec!["reporters"]));
    page.report(12, "yahoo.com", &[ours(1)]);
    assert_eq!(page.verdict(morning(17)).state, State::Clean);
}

#[test]
fn a_new_service_on_day_10_blocks_until_somebody_says_whose_it_is() {
    let mut page = Page::new();
    page.days(1..=40, |n| if n >= 10 { vec![ours(500), saas(2)] } else { vec![ours(500)] });
    assert_eq!(page.closed(morning(17)), (State::Blocked, vec!["unresolved"]));
    let gate = page.gate("unresolved", morning(17));
    assert!(gate.rows[0].starts_with("example.net: 28 messages on 7 days"), "{:?}", gate.rows);
    assert!(gate.fix.unwrap().contains("dmarc ack"));
    assert_eq!(page.verdict(morning(17)).earliest, None, "a person has to act");
    // Not ours: it is a forger's, and does not count.
    let not_ours =
        NotOurs { source: "example.net".into(), by: "anna".into(), at: morning(17), reason: "never heard of".into() };
    page.course.not_ours.push(not_ours);
    assert_eq!(page.verdict(morning(17)).state, State::Clean);
    // Ours: it is declared, the window begins again, and its failures count.
    page.course.not_ours.clear();
    page.sender("crm", "crm1", Cadence::Daily, morning(17));
    page.course.senders[0].domains.push("example.net".parse().unwrap());
    let (state, closed) = page.closed(morning(18));
    assert_eq!((state, closed.contains(&"days")), (State::Blocked, true), "{closed:?}");
    assert_eq!(page.gate("days", morning(18)).earliest, Some(morning(31)));
    assert!(page.closed(morning(33)).1.contains(&"worst-sender"), "it never passed");
}

#[test]
fn a_flood_of_forgeries_is_no_reason_to_wait() {
    let mut page = Page::new();
    page.days(1..=20, |n| vec![ours(50), spoof(900, n), spoof(50, n + 100)]);
    let verdict = page.verdict(morning(17));
    let spoofed = verdict.messages[&Class::Spoof];
    assert!(spoofed * 100 >= 95 * (spoofed + verdict.messages[&Class::Pass]));
    assert_eq!(verdict.state, State::Clean);
}

#[test]
fn a_machine_that_nothing_vouches_for_comes_to_light() {
    let mut page = Page::new();
    page.days(1..=20, |_| vec![ours(50), mail(3, "203.0.113.7")]);
    let gate = page.gate("unresolved", morning(17));
    assert!(gate.rows[0].starts_with("203.0.113.7"), "{gate:?}");
    page.course.not_ours.push(NotOurs {
        source: "203.0.113.0/24".into(),
        by: "a".into(),
        at: day(1),
        reason: "".into(),
    });
    assert_eq!(page.verdict(morning(17)).state, State::Clean);
}

#[test]
fn a_monthly_newsletter_has_to_be_seen_first() {
    let mut page = Page::new();
    page.sender("newsletter", "news", Cadence::Monthly, day(0));
    page.days(1..=60, |n| if n == 24 { vec![ours(50), newsletter(800)] } else { vec![ours(50)] });
    assert_eq!(page.closed(morning(17)), (State::Insufficient, vec!["senders-seen"]));
    assert_eq!(page.gate("senders-seen", morning(17)).rows, ["newsletter was not seen to pass"]);
    assert_eq!(page.verdict(morning(26)).state, State::Clean);
    // Its rhythm is a month, so it is remembered beyond the window of 14 days, and not for ever.
    assert_eq!(page.verdict(morning(45)).state, State::Clean);
    assert_eq!(page.closed(morning(61)).1, ["senders-seen"]);
}

#[test]
fn lists_at_three_percent_would_be_hit() {
    let mut page = Page::new();
    page.days(1..=20, |_| vec![ours(97), list(3)]);
    let (state, closed) = page.closed(morning(17));
    assert_eq!((state, closed.contains(&"forwarded")), (State::Blocked, true));
    let gate = page.gate("forwarded", morning(17));
    assert_eq!((gate.value.split(' ').next(), gate.threshold.as_str()), (Some("3"), "<= 2 %"));
    assert!(gate.fix.unwrap().contains("accept_list_breakage"));
    // A reporter that knows RFC 9990 alone has no word for it: our broken signature is the word.
    page.rows.iter_mut().for_each(|row| row.outcome.overrides = Overrides::default());
    assert!(page.closed(morning(17)).1.contains(&"forwarded"));
}

#[test]
fn a_sender_by_spf_alone_stops_at_the_gate_to_reject() {
    let mut page = Page::new();
    let mails = |_| vec![ours(80), spf_only(20)];
    page.days(1..=20, mails);
    let verdict = page.verdict(morning(17));
    assert_eq!(verdict.state, State::Clean, "to quarantine it is only said");
    assert_eq!(page.gate("dkim-share", morning(17)).state, GateState::Warned);

    let mut page = Page::standing(QUARANTINE);
    page.days(1..=20, mails);
    for n in 1..=20 {
        page.report(n, "mail.ru", &[ours(10)]);
    }
    assert_eq!(page.closed(morning(17)), (State::Blocked, vec!["dkim-share"]));
    let gate = page.gate("dkim-share", morning(17));
    assert_eq!(gate.rows, ["SPF alone: 560 messages pass by SPF alone"]);
    assert!(gate.fix.unwrap().contains("RFC 9989 section 7.4"));
}

#[test]
fn reports_of_the_old_policy_do_not_speak_of_the_new_one() {
    let mut page = Page::standing(QUARANTINE);
    let none = Published { policy: Some(Policy::None), ..Published::default() };
    for n in 1..=20 {
        for reporter in ["google.com", "yahoo.com", "mail.ru"] {
            // Every reporter has its own idea of when the record changed; one never saw it.
            let old = reporter == "mail.ru" || n < 4;
            let published =
                if old { none.clone() } else { Published { policy: Some(Policy::Quarantine), ..none.clone() } };
            page.report_as(n, reporter, &[ours(50)], published, Trust::Operator, true);
        }
    }
    let verdict = page.verdict(morning(17));
    assert_eq!(verdict.state, State::Insufficient);
    assert!(verdict.other_policy >= 14, "{}", verdict.other_policy);
    assert_eq!(page.gate("reporters", morning(17)).value, "2");
}

#[test]
fn a_reused_report_id_with_a_new_range_is_a_new_report() {
    // The store tells them apart by their range; here both are counted.
    let mut page = Page::new();
    page.days(1..=20, |_| vec![ours(50)]);
    page.reports.iter_mut().for_each(|report| report.id = "42".into());
    assert_eq!(page.verdict(morning(17)).state, State::Clean);
    assert_eq!(page.gate("coverage", morning(17)).value, "100 % (12 of 12 days)");
}

#[test]
fn forged_clean_reports_advance_nothing_and_forged_bad_ones_may_block() {
    let mut page = Page::new();
    for n in 1..=20 {
        for reporter in ["google.com", "yahoo.com", "mail.ru"] {
            let none = Published { policy: Some(Policy::None), ..Published::default() };
            page.report_as(n, reporter, &[ours(5000)], none, Trust::Unverified, true);
        }
    }
    let (state, closed) = page.closed(morning(17));
    assert_eq!(state, State::Insufficient);
    for id in ["coverage", "freshness", "reporters", "volume"] {
        assert!(closed.contains(&id), "{id} in {closed:?}");
    }
    // Nor do they water down what fails in reports that are believed.
    page.days(1..=20, |_| vec![ours(90), broken(10)]);
    assert_eq!(page.gate("pass", morning(17)).value.split(' ').next(), Some("90"));
    assert_eq!(page.verdict(morning(17)).state, State::Blocked);
}

#[test]
fn half_a_report_counts_its_failures_and_covers_no_day() {
    let mut page = Page::new();
    for n in 1..=20 {
        let none = Published { policy: Some(Policy::None), ..Published::default() };
        page.report_as(n, "google.com", &[ours(500), broken(2)], none.clone(), Trust::Operator, false);
        page.report_as(n, "yahoo.com", &[ours(40)], none, Trust::Operator, true);
    }
    let (state, closed) = page.closed(morning(17));
    assert_eq!(state, State::Blocked);
    for id in ["pass", "reporters", "integrity"] {
        assert!(closed.contains(&id), "{id} in {closed:?}");
    }
    assert!(page.gate("integrity", morning(17)).rows[0].contains("was not whole"));
    // What is refused whole is missed as well.
    let mut page = Page::new();
    page.days(1..=20, |_| vec![ours(50)]);
    page.rejected = 5;
    assert_eq!(page.closed(morning(17)), (State::Insufficient, vec!["integrity"]));
}

#[test]
fn mail_of_a_declared_sender_that_suffers_brings_the_policy_back() {
    let mut page = Page::standing(QUARANTINE);
    page.sender("newsletter", "news", Cadence::Daily, day(0));
    page.course.senders[0].networks.push("198.51.100.0/24".parse().unwrap());
    page.days(2..=5, |_| vec![ours(50), newsletter(300)]);
    assert!(page.due(morning(6)).waits.iter().all(|wait| !matches!(wait, StagingWait::Alarm { .. })));
    let hit = Mail { disposition: Policy::Quarantine, ..mail(15, "198.51.100.30") };
    page.days(6..=7, |_| vec![ours(50), hit.clone()]);

    let StagingWait::Alarm { why } = page.due(morning(8)).waits.remove(0) else { panic!("no alarm") };
    assert!(why.contains("newsletter fails (60 of 2460)"), "{why}");
    assert_eq!(page.written(morning(8)), None, "it is said, and nothing is done unless configured");
    page.policy.alarm.automatic = true;
    page.course.hold = Some(Hold { since: day(7), by: "anna".into(), reason: "holiday".into() });
    // To the octet, whatever else is going on.
    assert_eq!(page.written(morning(8)), Some((Rung::None, NONE.to_owned())));

    let Move::Write { kind, from, to, .. } = page.due(morning(8)).what else { panic!() };
    let change = Change { at: morning(8), by: "cron".into(), kind, from: Some(from), to, ttl: 300, why };
    page.course.settle(change, morning(8));
    page.course.hold = None;
    assert_eq!((page.course.rung(), page.course.before()), (Some(Rung::None), None));
    assert_eq!(page.written(morning(9)), None);
    assert_eq!(page.gate("days", morning(9)).earliest, Some(morning(8) + Span::days(15)), "the whole window again");
}

#[test]
fn a_parked_domain_needs_no_evidence_and_refuses_if_it_sends() {
    let mut page = Page::new();
    let may = |page: &Page| {
        let ours = Ours { domain: None, senders: &[], not_ours: &[], spf: &[], selectors: &page.selectors };
        let evidence = Evidence { reports: &page.reports, rows: &page.rows, refused: &[] };
        may_park(Now {
            policy: &page.policy,
            course: &page.course,
            ours: &ours,
            evidence,
            around: &page.around,
            at: day(1),
        })
    };
    page.days(1..=2, |n| vec![spoof(7, n)]);
    assert_eq!(may(&page), Ok(()));
    let text = Rung::Parked.record(&DmarcRecord::parse(&NONE.into()).unwrap()).text().to_string();
    assert_eq!(text, "v=DMARC1; p=reject; sp=reject; np=reject; rua=mailto:dmarc@example.com; x=kept");
    page.days(3..=3, |_| vec![ours(1)]);
    assert!(may(&page).unwrap_err().contains("2 messages"));
}

#[test]
fn nothing_climbs_during_a_switch_without_proof_or_on_unsound_spf() {
    let mut page = Page::new();
    page.days(1..=20, |_| vec![ours(50)]);
    let at = morning(16);
    assert!(page.written(at).is_some());
    for (around, wait) in [
        (Around { key_switch: Some("s2".into()), ..page.around.clone() }, "key_switch"),
        (Around { dkim_proved: None, ..page.around.clone() }, "dkim_proof"),
        (Around { dkim_proved: Some(at - Span::days(8)), ..page.around.clone() }, "dkim_proof"),
        (Around { spf_errors: vec!["11 lookups".into()], ..page.around.clone() }, "spf"),
        (Around { clock_disagrees: true, ..page.around.clone() }, "clock_disagrees"),
    ] {
        let page = Page { around, ..copy(&page) };
        let due = page.look(at);
        assert_eq!(due.what, Move::Stay, "{wait}");
        let json = serde_json::to_string(&due.waits).unwrap();
        assert!(json.contains(wait), "{wait}: {json}");
    }
    page.course.hold = Some(Hold { since: at, by: "anna".into(), reason: "moving".into() });
    assert_eq!(page.written(at), None);
}

#[test]
fn the_whole_ladder_in_a_season() {
    let mut page = Page::new();
    let mut seen = vec![];
    for n in 1..=90 {
        for reporter in ["google.com", "yahoo.com", "mail.ru"] {
            page.report(n, reporter, &[ours(60)]);
        }
        let at = morning(n + 1);
        if let Move::Write { kind, rung, from, to, why } = page.due(at).what {
            seen.push((n + 1, rung));
            page.course.settle(Change { at, by: "cron".into(), kind, from: Some(from), to, ttl: 300, why }, at);
        }
    }
    assert_eq!(
        seen.iter().map(|(_, rung)| *rung).collect::<Vec<_>>(),
        [Rung::QuarantineTest, Rung::Quarantine, Rung::RejectTest, Rung::Reject]
    );
    assert!(seen.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 7), "{seen:?}");
    assert!(seen[3].0 >= 44, "14 + 7 + 14 + 7 days and what settles: {seen:?}");
    assert_eq!(page.course.now().unwrap().text.to_string(), REJECT);
    assert!(matches!(page.due(morning(91)).waits[..], [StagingWait::AtTheTop { rung: Rung::Reject }]));
    // Back down, each text to the octet.
    let texts: Vec<TxtText> = page.course.trail.iter().map(|stood| stood.text.clone()).collect();
    for (n, text) in (92..).zip(texts.iter().rev().skip(1)) {
        let ours = Ours { domain: None, senders: &[], not_ours: &[], spf: &[], selectors: &page.selectors };
        let evidence = Evidence { reports: &[], rows: &[], refused: &[] };
        let now = Now {
            policy: &page.policy,
            course: &page.course,
            ours: &ours,
            evidence,
            around: &page.around,
            at: morning(n),
        };
        let Some(Move::Write { kind, from, to, why, .. }) = back(now, "asked") else { panic!("no way back") };
        assert_eq!(&to, text);
        page.course.settle(
            Change { at: morning(n), by: "anna".into(), kind, from: Some(from), to, ttl: 300, why },
            morning(n),
        );
    }
    assert_eq!((page.course.rung(), page.course.trail.len(), page.course.log.len()), (Some(Rung::None), 1, 9));
}

#[test]
fn people_stop_at_quarantine_unless_they_accept_the_loss() {
    let mut page = Page::standing(QUARANTINE);
    page.policy.profile = Profile::Users;
    for n in 1..=40 {
        for reporter in ["google.com", "yahoo.com", "mail.ru"] {
            page.report(n, reporter, &[ours(60)]);
        }
    }
    assert_eq!(page.due(morning(40)).waits, [StagingWait::AtTheTop { rung: Rung::Quarantine }]);
    page.policy.accept_list_breakage = true;
    assert_eq!(page.written(morning(40)).map(|(rung, _)| rung), Some(Rung::RejectTest));
}

fn copy(page: &Page) -> Page {
    Page {
        policy: page.policy.clone(),
        course: page.course.clone(),
        reports: page.reports.clone(),
        rows: page.rows.clone(),
        rejected: page.rejected,
        around: page.around.clone(),
        selectors: page.selectors.clone(),
        spf: page.spf.clone(),
    }
}

#[test]
fn the_old_percentages_are_a_longer_rehearsal() {
    let policy = StagingPolicy { legacy_pct: vec![50, 5], ..StagingPolicy::default() };
    let mut record = DmarcRecord::with_policy(Policy::None);
    let mut texts = Vec::new();
    while let Some((_, next)) = ladder::next(&record, &policy) {
        texts.push(next.text().to_string());
        record = next;
    }
    let texts: Vec<&str> = texts.iter().map(|text| text.strip_prefix("v=DMARC1; p=").unwrap()).collect();
    assert_eq!(
        texts,
        [
            "quarantine; t=y; pct=0",
            "quarantine; t=y; pct=5",
            "quarantine; t=y; pct=50",
            "quarantine",
            "reject; t=y; pct=0",
            "reject; t=y; pct=5",
            "reject; t=y; pct=50",
            "reject; np=reject",
        ]
    );
}
