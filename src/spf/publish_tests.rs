use std::collections::BTreeMap;
use std::sync::Arc;

use dkimctl_providers::memory::{Faults, Memory};
use dkimctl_providers::{AtName, DnsProvider};
use dkimctl_state::lifecycle::staging::spf::{Ending, Goal};
use dkimctl_state::store::memory::MemoryStore;

use super::*;

struct Stage {
    host: Arc<Memory>,
    dns: Dns,
    store: MemoryStore,
    labels: Vec<Label>,
    wanted: Wanted,
    domain: Fqdn,
}

const DAY: i64 = 86_400;

impl Stage {
    fn new(texts: &[&str]) -> Stage {
        let domain: Fqdn = "example.com".parse().unwrap();
        let host = Arc::new(Memory::new(std::slice::from_ref(&domain), 7, || Time::from_unix(0)));
        if !texts.is_empty() {
            host.edit_txt(&domain, 1800, texts);
        }
        let label: Label = "here".parse().unwrap();
        let provider: Box<dyn DnsProvider> = Box::new(Arc::clone(&host));
        Stage {
            host,
            dns: Dns::new(BTreeMap::from([(label.clone(), provider)])),
            store: MemoryStore::new(uuid()),
            labels: vec![label],
            wanted: toml::from_str("addresses = [\"192.0.2.1\"]").unwrap(),
            domain,
        }
    }

    fn subject<'s>(labels: &'s [Label], wanted: &'s Wanted, domain: &Fqdn) -> Subject<'s> {
        Subject { domain: domain.clone(), providers: labels, wanted, ttl: 3600 }
    }

    fn plan(&self, day: i64) -> Result<Plan, PublishError> {
        let facts = SpfFacts {
            ending: Ending::Nothing,
            since: None,
            goal: Goal::Soft,
            sound: true,
            reject_since: None,
            dkim_only: None,
            passing: None,
        };
        let subject = Self::subject(&self.labels, &self.wanted, &self.domain);
        plan(&self.dns, &self.store, &subject, facts, &SpfPolicy::default(), Time::from_unix(day * DAY))
    }

    fn apply(&mut self, day: i64) -> Result<bool, PublishError> {
        let planned = self.plan(day)?;
        self.perform(planned, day)
    }

    fn perform(&mut self, planned: Plan, day: i64) -> Result<bool, PublishError> {
        let subject = Self::subject(&self.labels, &self.wanted, &self.domain);
        apply(&self.dns, &mut self.store, &subject, planned, "alice", Time::from_unix(day * DAY))
    }

    fn adopt(&mut self, shown: &str) -> Result<Document, PublishError> {
        let subject = Self::subject(&self.labels, &self.wanted, &self.domain);
        adopt(&self.dns, &mut self.store, &subject, &shown.into(), "alice", Time::from_unix(0))
    }

    fn texts(&self) -> Vec<String> {
        let mut texts: Vec<String> = self.host.at(&self.domain).texts().map(ToString::to_string).collect();
        texts.sort();
        texts
    }
}

fn uuid() -> uuid::Uuid {
    uuid::Uuid::nil()
}

#[test]
fn a_new_record_climbs_from_neutral_to_softfail() {
    let mut stage = Stage::new(&["google-site-verification=1"]);
    assert!(stage.apply(0).unwrap());
    assert_eq!(stage.texts(), ["google-site-verification=1", "v=spf1 ip4:192.0.2.1 ?all"]);
    let writes = stage.host.calls().writes;
    assert!(!stage.apply(1).unwrap());
    assert!(matches!(stage.plan(13).unwrap().wait, Some(SpfWait::Stay { .. })));
    assert_eq!(stage.host.calls().writes, writes, "twice is once");
    assert!(stage.apply(14).unwrap());
    assert_eq!(stage.texts(), ["google-site-verification=1", "v=spf1 ip4:192.0.2.1 ~all"]);
    assert!(!stage.apply(400).unwrap());
}

#[test]
fn what_is_not_ours_is_adopted_first() {
    let mut stage = Stage::new(&["v=spf1 include:x.test ~all", "token"]);
    assert!(matches!(stage.apply(0), Err(PublishError::NotOurs { .. })));
    assert!(matches!(stage.adopt("v=spf1 ~all"), Err(PublishError::NotWhatWasSeen { .. })));
    assert!(matches!(stage.apply(0), Err(PublishError::NotOurs { .. })));
    stage.adopt("v=spf1 include:x.test ~all").unwrap();
    assert!(stage.apply(0).unwrap());
    assert_eq!(stage.texts(), ["token", "v=spf1 include:x.test ip4:192.0.2.1 ~all"]);
    // What was added by us goes again; what was there before stays.
    stage.wanted = Wanted::default();
    assert!(stage.apply(1).unwrap());
    assert_eq!(stage.texts(), ["token", "v=spf1 include:x.test ~all"]);
    // Somebody edits by hand: that is theirs again.
    stage.wanted = toml::from_str("mx = true").unwrap();
    stage.host.edit_txt(&stage.domain, 1800, &["v=spf1 include:y.test ~all", "token"]);
    assert!(matches!(stage.apply(2), Err(PublishError::NotOurs { .. })));
    assert_eq!(stage.texts(), ["token", "v=spf1 include:y.test ~all"]);
}

#[test]
fn what_cannot_be_edited_is_refused() {
    let mut two = Stage::new(&["v=spf1 -all", "v=spf1 ~all"]);
    assert!(matches!(two.apply(0), Err(PublishError::Several { .. })));
    assert!(matches!(two.adopt("v=spf1 -all"), Err(PublishError::Several { .. })));
    let mut none = Stage::new(&[]);
    assert!(matches!(none.adopt("v=spf1 -all"), Err(PublishError::NothingToAdopt { .. })));
    let broken = Stage::new(&["v=spf1 ip4:1 ~all"]);
    assert!(matches!(broken.plan(0), Err(PublishError::Broken { .. })));
    let alias = Stage::new(&[]);
    alias.host.edit(&alias.domain, AtName::Cname { target: "x.test".parse().unwrap(), ttl: 60 });
    assert!(matches!(alias.plan(0), Err(PublishError::Unsupported { .. })));
}

#[test]
fn a_change_between_look_and_write_is_not_overwritten() {
    let mut stage = Stage::new(&["v=spf1 mx ~all"]);
    stage.adopt("v=spf1 mx ~all").unwrap();
    let planned = stage.plan(0).unwrap();
    stage.host.edit_txt(&stage.domain, 1800, &["v=spf1 mx a ~all"]);
    assert!(matches!(stage.perform(planned, 0), Err(PublishError::Changed { .. })));
    assert_eq!(stage.texts(), ["v=spf1 mx a ~all"]);
}

#[test]
fn a_lost_answer_and_a_false_ok_are_repaired_by_running_again() {
    for faults in [
        Faults { done_but_unknown: 1000, ..Faults::default() },
        Faults { ok_but_not_done: 1000, ..Faults::default() },
        Faults { lost: 1000, ..Faults::default() },
    ] {
        let mut stage = Stage::new(&["v=spf1 mx ~all", "token"]);
        stage.adopt("v=spf1 mx ~all").unwrap();
        stage.host.set_faults(faults);
        assert!(stage.apply(0).is_err(), "{faults:?}");
        stage.host.set_faults(Faults::default());
        stage.apply(0).unwrap();
        assert_eq!(stage.texts(), ["token", "v=spf1 mx ip4:192.0.2.1 ~all"], "{faults:?}");
        // And it is known as ours.
        stage.wanted = Wanted::default();
        assert!(stage.apply(1).unwrap());
        assert_eq!(stage.texts(), ["token", "v=spf1 mx ~all"]);
    }
}

#[test]
fn a_step_back_restores_the_text_and_stays_there_until_somebody_says_so() {
    let mut stage = Stage::new(&["v=spf1  MX ~all", "token"]);
    stage.adopt("v=spf1  MX ~all").unwrap();
    assert!(stage.apply(0).unwrap());
    let subject = Stage::subject(&stage.labels, &stage.wanted, &stage.domain);
    let at = Time::from_unix(DAY);
    let back = rollback(&stage.dns, &mut stage.store, &subject, "it fails", "bob", at).unwrap();
    assert_eq!(back.to_string(), "v=spf1  MX ~all");
    assert_eq!(stage.texts(), ["token", "v=spf1  MX ~all"], "to the octet");
    let again = rollback(&stage.dns, &mut stage.store, &subject, "it fails", "bob", at);
    assert!(matches!(again, Err(PublishError::NothingBefore { .. })), "{again:?}");

    assert!(!stage.apply(2).unwrap());
    let wait = stage.plan(2).unwrap().wait;
    assert!(matches!(&wait, Some(SpfWait::RolledBack { by, .. }) if by == "bob"), "{wait:?}");
    resume(&mut stage.store, &stage.domain).unwrap();
    assert!(stage.apply(3).unwrap());
    assert_eq!(stage.texts(), ["token", "v=spf1 mx ip4:192.0.2.1 ~all"]);
}

#[test]
fn what_reached_one_of_two_providers_is_finished_or_taken_back() {
    for back in [false, true] {
        let mut stage = Stage::new(&["v=spf1 mx ~all"]);
        let other = Arc::new(Memory::new(std::slice::from_ref(&stage.domain), 8, || Time::from_unix(0)));
        other.edit_txt(&stage.domain, 300, &["v=spf1 mx ~all", "other token"]);
        let labels: Vec<Label> = ["here", "there"].map(|label| label.parse().unwrap()).to_vec();
        let hosts = [Arc::clone(&stage.host), Arc::clone(&other)];
        let boxed = hosts.map(|host| Box::new(host) as Box<dyn DnsProvider>);
        stage.dns = Dns::new(labels.iter().cloned().zip(boxed).collect());
        stage.labels = labels;
        stage.adopt("v=spf1 mx ~all").unwrap();
        other.set_faults(Faults { lost: 1000, ..Faults::default() });
        assert!(stage.apply(0).is_err());
        other.set_faults(Faults::default());
        assert_eq!(stage.texts(), ["v=spf1 mx ip4:192.0.2.1 ~all"], "only one has it");
        let there = || {
            let mut texts: Vec<String> = other.at(&stage.domain).texts().map(ToString::to_string).collect();
            texts.sort();
            texts
        };
        if back {
            let subject = Stage::subject(&stage.labels, &stage.wanted, &stage.domain);
            rollback(&stage.dns, &mut stage.store, &subject, "half", "bob", Time::from_unix(DAY)).unwrap();
            assert_eq!(there(), ["other token", "v=spf1 mx ~all"]);
            assert_eq!(stage.texts(), ["v=spf1 mx ~all"]);
        } else {
            let planned = stage.plan(1).unwrap();
            let subject = Stage::subject(&stage.labels, &stage.wanted, &stage.domain);
            apply(&stage.dns, &mut stage.store, &subject, planned, "alice", Time::from_unix(DAY)).unwrap();
            assert_eq!(there(), ["other token", "v=spf1 mx ip4:192.0.2.1 ~all"]);
            assert_eq!(stage.texts(), ["v=spf1 mx ip4:192.0.2.1 ~all"]);
        }
    }
}
