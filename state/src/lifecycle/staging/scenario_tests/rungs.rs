//! Which record follows on which, and what stands in the way.

use super::*;

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
    let text = Rung::Parked.record(&DmarcRecord::parse(&NONE.into()).unwrap(), Subdomains::Keep).text().to_string();
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
fn the_old_percentages_are_a_longer_rehearsal() {
    let policy = StagingPolicy { legacy_pct: vec![50, 5], ..StagingPolicy::default() };
    let mut record = DmarcRecord::with_policy(Policy::None);
    let mut texts = Vec::new();
    while let Some((_, next)) = ladder::next(&record, &record, &policy) {
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
