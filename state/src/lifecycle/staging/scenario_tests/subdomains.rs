//! What becomes of `sp=` and `np=` while `p=` climbs: nothing weaker by accident, and what somebody wrote stays.

use super::*;

/// Every text on the way up from `first`, each behind `v=DMARC1; p=`, and what each change says of subdomains.
fn climb(first: &str, policy: &StagingPolicy) -> (Vec<String>, Vec<String>) {
    let mut page = Page::new();
    page.policy = policy.clone();
    page.course = Course::new("example.com".parse().unwrap());
    adopt(&mut page.course, &format!("v=DMARC1; p={first}"), day(0) + Span::hours(12));
    let (mut texts, mut said) = (Vec::new(), Vec::new());
    for n in 1..=120 {
        for reporter in ["google.com", "yahoo.com", "mail.ru"] {
            page.report(n, reporter, &[ours(60)]);
        }
        let at = morning(n + 1);
        if let Move::Write { kind, from, to, why, .. } = page.due(at).what {
            texts.push(to.to_string().strip_prefix("v=DMARC1; p=").unwrap().to_owned());
            said.extend(why.split("; for ").skip(1).map(str::to_owned));
            page.course.settle(Change { at, by: "cron".into(), kind, from: Some(from), to, ttl: 300, why }, at);
        }
    }
    (texts, said)
}

fn with(subdomains: Subdomains) -> StagingPolicy {
    StagingPolicy { subdomains, ..StagingPolicy::default() }
}

#[test]
fn without_sp_subdomains_follow() {
    let plain = ["quarantine; t=y; pct=0", "quarantine", "reject; t=y; pct=0", "reject; np=reject"].map(str::to_owned);
    for policy in [with(Subdomains::Keep), with(Subdomains::Follow)] {
        assert_eq!(climb("none", &policy), (plain.to_vec(), vec![]));
    }
}

#[test]
fn what_stands_stays_and_a_rehearsal_takes_nothing_off_it() {
    // t=y and pct=0 lower sp= and np= as well (RFC 9989 section 4.7): sp=reject then has the effect of sp=quarantine.
    let (texts, said) = climb("none; sp=quarantine; np=quarantine", &with(Subdomains::Keep));
    let wanted = [
        "quarantine; sp=reject; np=reject; t=y; pct=0",
        "quarantine; sp=quarantine; np=quarantine",
        "reject; sp=reject; np=reject; t=y; pct=0",
        "reject; sp=quarantine; np=quarantine",
    ];
    assert_eq!((texts.as_slice(), said.len()), (wanted.map(str::to_owned).as_slice(), 0));
    // Subdomains that somebody left behind are not taken along.
    let (texts, said) = climb("none; sp=none", &with(Subdomains::Keep));
    let wanted = [
        "quarantine; sp=none; t=y; pct=0",
        "quarantine; sp=none",
        "reject; sp=none; t=y; pct=0",
        "reject; sp=none; np=reject",
    ];
    assert_eq!((texts.as_slice(), said.len()), (wanted.map(str::to_owned).as_slice(), 0));
}

#[test]
fn what_cannot_be_rehearsed_without_loss_is_said() {
    let (texts, said) = climb("none; sp=reject", &with(Subdomains::Keep));
    let wanted = [
        "quarantine; sp=reject; t=y; pct=0",
        "quarantine; sp=reject",
        "reject; sp=reject; t=y; pct=0",
        "reject; sp=reject; np=reject",
    ];
    assert_eq!(texts, wanted);
    let lowered = |whom: &str| format!("{whom} it has the effect of quarantine, not reject while it is rehearsed");
    let both = [lowered("subdomains"), lowered("names that do not exist")];
    assert_eq!(said, [both.clone(), both].concat());
}

#[test]
fn follow_drops_sp_when_p_has_come_up_to_it() {
    let (texts, said) = climb("none; sp=quarantine; np=none", &with(Subdomains::Follow));
    let wanted = [
        "quarantine; sp=reject; np=none; t=y; pct=0",
        "quarantine; np=none",
        "reject; np=none; t=y; pct=0",
        "reject; np=reject",
    ];
    assert_eq!((texts.as_slice(), said.len()), (wanted.map(str::to_owned).as_slice(), 0));
    let (texts, _) = climb("none; sp=reject", &with(Subdomains::Follow));
    let wanted = [
        "quarantine; sp=reject; t=y; pct=0",
        "quarantine; sp=reject",
        "reject; sp=reject; t=y; pct=0",
        "reject; np=reject",
    ];
    assert_eq!(texts, wanted);
}

#[test]
fn what_is_configured_is_written() {
    let (texts, said) = climb("none; sp=reject", &with(Subdomains::None));
    assert_eq!(texts[..2], ["quarantine; sp=none; t=y; pct=0", "quarantine; sp=none"]);
    assert!(said[0].starts_with("subdomains it has the effect of none, not reject"), "{said:?}");
    let (texts, _) = climb("none", &with(Subdomains::Reject));
    assert_eq!(texts[..2], ["quarantine; sp=reject; t=y; pct=0", "quarantine; sp=reject"]);
    // The old percentages: a part of the mail gets what the tags say, so they say what is meant.
    let policy = StagingPolicy { legacy_pct: vec![50], ..with(Subdomains::Quarantine) };
    let (texts, _) = climb("none", &policy);
    let wanted = [
        "quarantine; sp=reject; t=y; pct=0",
        "quarantine; sp=quarantine; t=y; pct=50",
        "quarantine; sp=quarantine",
        "reject; sp=reject; t=y; pct=0",
        "reject; sp=quarantine; t=y; pct=50",
        "reject; sp=quarantine; np=reject",
    ];
    assert_eq!(texts, wanted);
}
