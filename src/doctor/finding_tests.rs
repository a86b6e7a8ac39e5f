use super::*;

fn said(text: &str) -> Said {
    Said { evidence: text.to_owned(), fix: "mend it".to_owned() }
}

fn all(_: &Check) -> bool {
    true
}

fn evidence(findings: Findings, looked_inside: bool) -> Vec<(String, Outcome)> {
    findings.settled(&all, looked_inside).into_iter().map(|finding| (finding.evidence, finding.result)).collect()
}

#[test]
fn the_higher_tier_has_the_last_word() {
    let mut findings = Findings::default();
    findings.found("HELO001", Tier::Files, "HELO", said("written"));
    findings.ok("HELO001", Tier::Effective, "HELO", "in force");
    assert_eq!(evidence(findings, true), [("in force".to_owned(), Outcome::Ok)]);
}

#[test]
fn what_is_not_known_takes_nothing_back() {
    let mut findings = Findings::default();
    findings.found("HELO001", Tier::Files, "HELO", said("written"));
    findings.unknown("HELO001", Tier::Effective, "HELO", said("no container"));
    findings.skip("HELO001", "HELO", "offline");
    assert_eq!(evidence(findings, false), [("written".to_owned(), Outcome::Fail)]);
}

#[test]
fn different_things_do_not_override_each_other() {
    let mut findings = Findings::default();
    findings.found("NET002", Tier::Effective, "192.0.2.1", said("none"));
    findings.ok("NET002", Tier::Observed, "2001:db8::1", "there");
    assert_eq!(evidence(findings, true).len(), 2);
}

#[test]
fn files_alone_prove_no_error_where_the_container_was_looked_at() {
    let settle = |id: &'static str, looked_inside| {
        let mut findings = Findings::default();
        findings.found(id, Tier::Files, "it", said("written"));
        findings.settled(&all, looked_inside).remove(0).result
    };
    assert_eq!(settle("RELAY001", true), Outcome::Warn);
    assert_eq!(settle("RELAY001", false), Outcome::Fail);
    assert_eq!(settle("KEY002", true), Outcome::Fail, "a key in a Dockerfile is one, whatever runs");
}

#[test]
fn findings_come_in_the_order_of_the_catalogue_and_once() {
    let mut findings = Findings::default();
    findings.found("PF003", Tier::Files, "a", said("a"));
    findings.found("NET002", Tier::Files, "b", said("b"));
    findings.found("PF003", Tier::Files, "a", said("a"));
    let ids: Vec<&str> = findings.settled(&all, false).iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["NET002", "PF003"]);
}

#[test]
fn the_weight_decides_the_result() {
    let mut findings = Findings::default();
    let finding = findings.found("QUEUE001", Tier::Files, "queue", said("none"));
    assert_eq!(finding.weighing(Severity::Info).result, Outcome::Warn);
    assert_eq!(finding.weighing(Severity::Critical).result, Outcome::Fail);
    let unknown = findings.unknown("QUEUE001", Tier::Files, "queue", said("?"));
    assert_eq!(unknown.weighing(Severity::Critical).result, Outcome::Unknown);
}
