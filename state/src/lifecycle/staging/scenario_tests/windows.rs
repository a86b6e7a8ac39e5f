//! Which reports count, for how long, and whose.

use super::*;

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
    let reasons = ["3 refused: it is empty (4.gz)", "2 refused: it is cut off (3.gz)"];
    assert_eq!(page.gate("integrity", morning(17)).rows, reasons);
}
