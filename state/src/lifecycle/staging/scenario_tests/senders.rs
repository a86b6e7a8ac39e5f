//! Whose mail it is, and what becomes of it.

use super::*;

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
