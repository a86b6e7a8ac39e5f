use super::*;
use crate::doctor::finding::{Findings, Said, Tier};

fn all(_: &Check) -> bool {
    true
}

fn bad(id: &'static str) -> Vec<Finding> {
    with(|findings| {
        findings.found(id, Tier::Effective, "it", Said { evidence: "bad".into(), fix: String::new() });
    })
}

fn well(id: &'static str) -> Vec<Finding> {
    with(|findings| findings.ok(id, Tier::Effective, "it", "well"))
}

fn unknown(id: &'static str) -> Vec<Finding> {
    with(|findings| {
        findings.unknown(id, Tier::Effective, "it", Said { evidence: "?".into(), fix: String::new() });
    })
}

fn with(leave: impl FnOnce(&mut Findings)) -> Vec<Finding> {
    let mut findings = Findings::default();
    leave(&mut findings);
    findings.settled(&all, false)
}

/// The results that each run tells of, one run after the other.
fn told(runs: impl IntoIterator<Item = Vec<Finding>>) -> Vec<Vec<Outcome>> {
    let mut memory = Memory::default();
    let mut tell = |found| memory.changes("mail", found, &all, &|| "gone".to_owned());
    runs.into_iter().map(|found| tell(found).iter().map(|finding| finding.result).collect()).collect()
}

use Outcome::{Fail, Ok as Well, Unknown};

#[test]
fn a_problem_is_told_once_and_so_is_its_end() {
    let runs = [bad("PF002"), bad("PF002"), well("PF002"), well("PF002"), bad("PF002")];
    assert_eq!(told(runs), [vec![Fail], vec![], vec![Well], vec![], vec![Fail]]);
}

#[test]
fn what_flickers_must_be_bad_twice() {
    let runs =
        [well("NET002"), bad("NET002"), well("NET002"), bad("NET002"), bad("NET002"), bad("NET002"), well("NET002")];
    assert_eq!(told(runs), [vec![], vec![], vec![], vec![], vec![Fail], vec![], vec![Well]]);
}

#[test]
fn a_first_run_tells_what_is_bad_and_no_more() {
    assert_eq!(told([well("PF002")]), [vec![]]);
    assert_eq!(told([bad("PF002")]), [vec![Fail]]);
    assert_eq!(told([bad("NET002"), bad("NET002")]), [vec![], vec![Fail]], "even the first time, DNS is asked twice");
}

#[test]
fn not_knowing_is_no_change() {
    let runs = [bad("PF002"), unknown("PF002"), bad("PF002"), well("PF002"), unknown("PF002")];
    assert_eq!(told(runs), [vec![Fail], vec![], vec![], vec![Well], vec![]]);
    assert_eq!(told([unknown("PF002"), unknown("PF002")]), [vec![Unknown], vec![]]);
}

#[test]
fn a_problem_that_vanishes_is_told_as_gone() {
    assert_eq!(told([bad("KEY002"), vec![]]), [vec![Fail], vec![Well]]);
    assert_eq!(told([well("KEY002"), vec![]]), [vec![], vec![]]);
}

#[test]
fn what_was_not_asked_for_this_time_is_kept() {
    let mut memory = Memory::default();
    let gone = || "gone".to_owned();
    memory.changes("mail", bad("KEY002"), &all, &gone);
    assert!(memory.changes("mail", vec![], &|check| check.id == "PF002", &gone).is_empty());
    assert!(memory.changes("mail", bad("KEY002"), &all, &gone).is_empty());
}

#[test]
fn two_patients_are_two() {
    let mut memory = Memory::default();
    let gone = || "gone".to_owned();
    assert_eq!(memory.changes("a", bad("KEY002"), &all, &gone).len(), 1);
    assert_eq!(memory.changes("b", bad("KEY002"), &all, &gone).len(), 1);
}

#[test]
fn a_memory_survives_the_disk_and_a_damaged_one_is_none() {
    let directory = tempfile::tempdir().unwrap();
    let mut memory = Memory::load(directory.path());
    assert_eq!(memory, Memory::default());
    memory.changes("mail", bad("KEY002"), &all, &|| "gone".to_owned());
    memory.save(directory.path()).unwrap();
    assert_eq!(Memory::load(directory.path()), memory);
    std::fs::write(directory.path().join(FILE), "{").unwrap();
    assert_eq!(Memory::load(directory.path()), Memory::default());
}
