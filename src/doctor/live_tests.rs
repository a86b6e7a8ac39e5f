use super::*;
use crate::doctor::catalog::Group;
use crate::doctor::examine;
use crate::doctor::finding::{Finding, Outcome};

/// The groups of this file; KEY and RELAY have other checks too.
const GROUPS: [Group; 7] = [Group::Net, Group::Ip6, Group::Helo, Group::Dkim, Group::Spf, Group::Dmarc, Group::Sys];

fn examined(patient: &Patient) -> Vec<Finding> {
    examine(patient, &|check| GROUPS.contains(&check.group) || check.id == "KEY003")
}

fn results(patient: &Patient) -> Vec<(&'static str, Outcome)> {
    examined(patient).into_iter().map(|finding| (finding.id, finding.result)).collect()
}

fn named(count: usize) -> Vec<SigningDomain> {
    (0..count).map(|number| format!("d{number}.example").parse().unwrap()).collect()
}

#[test]
fn whoever_is_offline_asks_nothing() {
    let patient = Patient {
        offline: true,
        public: vec!["192.0.2.1".parse().unwrap()],
        domains: named(1),
        probe_relay: Some("192.0.2.1:25".into()),
        ..Patient::default()
    };
    let found = results(&patient);
    assert!(found.iter().all(|(_, result)| *result == Outcome::Skip), "{found:?}");
    for id in ["NET001", "IP6001", "DKIM001", "SPF001", "DMARC001", "SYS001"] {
        assert!(found.iter().any(|(found, _)| *found == id), "{id} does not say why it was passed over");
    }
}

#[test]
fn what_nobody_named_is_passed_over_and_not_unknown() {
    let found = results(&Patient::default());
    assert!(found.iter().all(|(_, result)| *result == Outcome::Skip), "{found:?}");
}

#[test]
fn a_container_that_cannot_be_reached_leaves_everything_unknown() {
    let patient = Patient { container: Reach::Failed("no such container".into()), ..Patient::default() };
    let found = examined(&patient);
    for id in ["NET001", "IP6001", "HELO002", "KEY003", "DKIM005", "SYS001"] {
        let unknown = |finding: &&Finding| finding.id == id && finding.result == Outcome::Unknown;
        let finding = found.iter().find(unknown).unwrap_or_else(|| panic!("{id} among {found:#?}"));
        assert!(finding.evidence.contains("no such container"), "{}", finding.evidence);
    }
    assert!(found.iter().all(|finding| !finding.result.is_bad()));
}

#[test]
fn a_fleet_is_not_asked_for_in_one_run() {
    // Without a resolver a question would be unknown; nothing is asked at all.
    let patient = Patient { domains: named(MOST_DOMAINS + 1), ..Patient::default() };
    let of_dns = |found: Vec<(&'static str, Outcome)>| {
        found.into_iter().filter(|(id, _)| ["SPF001", "DMARC001"].contains(id)).map(|(_, result)| result).collect()
    };
    let found: Vec<Outcome> = of_dns(results(&patient));
    assert_eq!(found, [Outcome::Skip, Outcome::Skip]);
    let found: Vec<Outcome> = of_dns(results(&Patient { domains: named(1), ..Patient::default() }));
    assert_eq!(found, [Outcome::Unknown, Outcome::Unknown]);
}
