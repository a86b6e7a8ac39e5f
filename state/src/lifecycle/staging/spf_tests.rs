use super::*;

const DAY: i64 = 86_400;

fn facts(ending: Ending) -> SpfFacts {
    let since = Some(Time::from_unix(0));
    SpfFacts { ending, since, goal: Goal::Soft, sound: true, reject_since: None, dkim_only: None, passing: None }
}

fn step(facts: SpfFacts, day: i64) -> SpfStep {
    spf_ladder(&facts, &SpfPolicy::default(), Time::from_unix(day * DAY))
}

#[test]
fn a_sending_domain_ends_at_softfail() {
    assert_eq!(step(facts(Ending::Nothing), 0), SpfStep::Move(Rung::Neutral));
    assert_eq!(step(facts(Ending::All(Qualifier::Pass)), 0), SpfStep::Move(Rung::Neutral));
    let neutral = facts(Ending::All(Qualifier::Neutral));
    assert_eq!(step(neutral, 13), SpfStep::Wait(SpfWait::Stay { until: Time::from_unix(14 * DAY) }));
    assert_eq!(step(SpfFacts { sound: false, ..neutral }, 14), SpfStep::Wait(SpfWait::Unsound));
    assert_eq!(step(SpfFacts { since: None, ..neutral }, 14), SpfStep::Wait(SpfWait::SinceUnknown));
    assert_eq!(step(neutral, 14), SpfStep::Move(Rung::Soft));
    assert_eq!(step(facts(Ending::All(Qualifier::SoftFail)), 1000), SpfStep::Done);
    // What is stricter already is left alone.
    assert_eq!(step(facts(Ending::All(Qualifier::Fail)), 0), SpfStep::Done);
    assert_eq!(step(facts(Ending::Elsewhere), 0), SpfStep::Wait(SpfWait::Elsewhere));
}

#[test]
fn hardfail_only_where_reports_show_that_nothing_is_lost() {
    let soft = SpfFacts { goal: Goal::Hard, ..facts(Ending::All(Qualifier::SoftFail)) };
    assert_eq!(step(soft, 100), SpfStep::Wait(SpfWait::NoReject));
    let reject = SpfFacts { reject_since: Some(Time::from_unix(0)), ..soft };
    assert_eq!(step(reject, 29), SpfStep::Wait(SpfWait::RejectTooYoung { until: Time::from_unix(30 * DAY) }));
    assert_eq!(step(reject, 30), SpfStep::Wait(SpfWait::NoReports));
    assert_eq!(step(SpfFacts { dkim_only: Some(3), ..reject }, 30), SpfStep::Wait(SpfWait::WouldLose(3)));
    assert_eq!(step(SpfFacts { dkim_only: Some(0), ..reject }, 30), SpfStep::Move(Rung::Hard));
    assert_eq!(step(SpfFacts { sound: false, dkim_only: Some(0), ..reject }, 30), SpfStep::Wait(SpfWait::Unsound));
}

#[test]
fn a_parked_domain_is_closed_at_once_unless_it_sends() {
    let parked = SpfFacts { goal: Goal::Parked, ..facts(Ending::Nothing) };
    assert_eq!(step(parked, 0), SpfStep::Move(Rung::Hard));
    assert_eq!(step(SpfFacts { passing: Some(7), ..parked }, 0), SpfStep::Wait(SpfWait::NotParked(7)));
    assert_eq!(step(SpfFacts { ending: Ending::All(Qualifier::Fail), ..parked }, 0), SpfStep::Done);
}
