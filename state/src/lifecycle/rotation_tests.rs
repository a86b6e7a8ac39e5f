//! One rotation after the other, by the clock: what is done, what is waited for.

use std::collections::BTreeMap;

use super::*;
use crate::lifecycle::plan::{Plan, names_to_see, plan};
use crate::lifecycle::policy::Policy;
use crate::lifecycle::seen::{Answer, SeenName, ServerAnswer, Sweep, Witness};
use crate::lifecycle::settings::{SlotPattern, Slots};
use crate::record::dkim::PublicKey;
use crate::record::txt::TxtText;

const START: Time = Time::from_unix(1_790_000_000);
const MINUTE: Span = Span::minutes(1);

/// A small world: two name servers that copy one provider, one host that does what it is told.
struct Page {
    settings: Settings,
    ledger: Ledger,
    at: Time,
    zone: BTreeMap<Fqdn, Vec<TxtText>>,
    /// What the second server has, when it lags.
    stale: Option<BTreeMap<Fqdn, Vec<TxtText>>>,
    /// What the provider has, when both servers lag.
    coming: Option<BTreeMap<Fqdn, Vec<TxtText>>>,
    /// The provider cannot be asked.
    blind: bool,
    host_refuses: Option<&'static str>,
    clock: Witness,
    ttl: u32,
    made: u8,
}

impl Page {
    fn new() -> Self {
        let domain: crate::name::SigningDomain = "example.com".parse().unwrap();
        let slot = |text| SlotPattern::parse(text).unwrap();
        let slots = Slots { regular: vec![slot("s1"), slot("s2")], spare: Some(slot("s3")) };
        Page {
            settings: Settings {
                domain: domain.clone(),
                slots: [(Algorithm::Rsa, slots)].into(),
                rsa_bits: 2048,
                ttl: 3600,
                providers: vec!["dns".parse().unwrap()],
                hosts: vec!["mail".parse().unwrap()],
                policy: Policy::default(),
            },
            ledger: Ledger::new(domain),
            at: START,
            zone: BTreeMap::new(),
            stale: None,
            coming: None,
            blind: false,
            host_refuses: None,
            clock: Witness::Unknown,
            ttl: 3600,
            made: 0,
        }
    }

    fn ask(&mut self, intent: Intent) {
        let request = Request { intent, asked: self.at, by: "operator".into(), reason: None };
        self.ledger.record(&Fact::Asked { algorithm: Algorithm::Rsa, request }, self.at).unwrap();
    }

    fn look(&self) -> Seen {
        let mut seen = Seen { clock: self.clock, ..Seen::default() };
        for name in names_to_see(&self.settings, &self.ledger, self.at) {
            let served = |zone: &BTreeMap<Fqdn, Vec<TxtText>>| match zone.get(&name) {
                Some(texts) if !texts.is_empty() => Answer::Txt { ttl: self.ttl, texts: texts.clone() },
                _ => Answer::Absent,
            };
            let view = match served(self.coming.as_ref().unwrap_or(&self.zone)) {
                Answer::Txt { ttl, texts } => View::Txt { ttl, texts },
                _ => View::Absent,
            };
            let view = if self.blind { View::Unknown("no answer".into()) } else { view };
            let second = self.stale.as_ref().unwrap_or(&self.zone);
            let answers = vec![
                ServerAnswer { server: "ns1".into(), answer: served(&self.zone) },
                ServerAnswer { server: "ns2".into(), answer: served(second) },
            ];
            let sweep = Sweep { at: self.at, answers, negative_ttl: Some(900), cname: None };
            let at_provider = [("dns".parse().unwrap(), view)].into();
            seen.names.insert(name, SeenName { at_provider, sweep: Some(sweep) });
        }
        seen
    }

    fn plan(&self) -> Plan {
        plan(Now { settings: &self.settings, ledger: &self.ledger, seen: &self.look(), at: self.at })
    }

    /// Plans and performs until only waits remain; says what happened in a line each.
    fn advance(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        for _ in 0..40 {
            let Plan { steps, waits, .. } = self.plan();
            let Some(step) = steps.into_iter().next() else {
                told.extend(waits.iter().map(|wait| format!("wait {}", short(&format!("{wait:?}")))));
                return told;
            };
            let seen = self.look();
            let now = Now { settings: &self.settings, ledger: &self.ledger, seen: &seen, at: self.at };
            crate::lifecycle::check::check(now, &step).unwrap_or_else(|broken| panic!("{step:?}: {broken}"));
            told.push(short(&format!("{step:?}").replace("Record(", "")));
            if !self.perform(step) {
                told.extend(waits.iter().map(|wait| format!("wait {}", short(&format!("{wait:?}")))));
                return told;
            }
        }
        panic!("never rests: {told:#?}");
    }

    /// Whether the world answered.
    fn perform(&mut self, step: Step) -> bool {
        let fact = match step {
            Step::Record(fact) => fact,
            Step::Generate { algorithm, selector } => {
                self.made += 1;
                let public = PublicKey::from_bytes(vec![self.made; 40]);
                let fingerprint = public.fingerprint();
                let none = BTreeMap::new;
                Fact::Sealed {
                    key: Key {
                        fingerprint,
                        selector,
                        algorithm,
                        public,
                        sealed: self.at,
                        blob_sha256: "00".into(),
                        record_at: none(),
                        delivered: none(),
                        wiped: none(),
                        shredded: None,
                    },
                }
            }
            Step::Publish { name, text, .. } => return self.zone.insert(name, vec![text]).is_none(),
            Step::Empty { name, new, .. } => return self.zone.insert(name, vec![new]).is_some(),
            Step::Withdraw { name, text, .. } => {
                self.zone.get_mut(&name).unwrap().retain(|t| *t != text);
                return true;
            }
            Step::Deliver { key, host } => Fact::Delivered { key, host },
            Step::Switch { key, host } => match self.host_refuses.take() {
                Some(why) => Fact::Refused { key, host: Some(host), why: why.into() },
                None => Fact::Signing { key, host },
            },
            Step::TurnBack { key, host } => Fact::TurnedBack { key, host },
            Step::Wipe { key, host } => Fact::Wiped { key, host },
            Step::Shred { key } => Fact::Shredded { key },
        };
        self.ledger.record(&fact, self.at).unwrap();
        true
    }

    fn phases(&self) -> String {
        let phase = |(phase, key): (Phase, &Key)| format!("{} {phase}", key.selector);
        self.ledger.keys().map(phase).collect::<Vec<_>>().join(", ")
    }

    fn active(&self) -> Fingerprint {
        self.ledger.lines[&Algorithm::Rsa].active.as_ref().unwrap().key.fingerprint
    }

    /// From nothing to s1 active.
    fn with_s1() -> Self {
        let mut page = Page::new();
        page.ask(Intent::Rotate);
        page.advance();
        page.at = page.at + MINUTE;
        page.advance();
        page.at = page.at + Span::hours(2);
        page.advance();
        assert_eq!(page.phases(), "s1 active");
        page
    }
}

use crate::record::dkim::Fingerprint;

/// The first word of a debug form.
fn short(debug: &str) -> String {
    debug.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[test]
fn a_domain_that_nobody_started_rests() {
    let mut page = Page::new();
    assert_eq!(page.advance(), ["wait NeverAsked"]);
    assert_eq!(page.plan().wake, None);
}

#[test]
fn a_rotation_by_the_clock() {
    let mut page = Page::with_s1();
    page.ask(Intent::Rotate);
    assert_eq!(page.advance(), ["Generate", "Publish", "Written", "Carried", "SweptClean", "wait SecondSweep"]);
    page.at = page.at + MINUTE;
    assert_eq!(page.advance(), ["SeenEverywhere", "Deliver", "wait Caches"]);
    // One hour of TTL and one of safety, from the second clean sweep: the first may have met another machine.
    page.at = page.at + Span::hours(2);
    assert_eq!(page.advance(), ["Committed", "Switch", "Activated", "wait Grace", "wait Window"]);
    assert_eq!(page.phases(), "s2 active, s1 retiring");
    page.at = page.at + Span::hours(72);
    assert_eq!(page.advance(), ["Wipe", "Shred", "wait Window"]);
    page.at = page.at + Span::days(26);
    assert_eq!(page.advance(), ["wait Window"]);
    page.at = page.at + Span::days(1);
    assert_eq!(page.advance(), ["Withdrawing", "Withdraw", "Removed", "Unserved", "wait OldCaches"]);
    page.at = page.at + Span::hours(1) + Span::minutes(5);
    assert_eq!(page.advance(), ["Hidden"]);
    assert_eq!(page.phases(), "s2 active, s1 gone");
    assert_eq!(page.plan().wake, None);
}

#[test]
fn a_lagging_server_starts_the_wait_anew() {
    let mut page = Page::with_s1();
    page.stale = Some(page.zone.clone());
    page.ask(Intent::Rotate);
    assert_eq!(page.advance(), ["Generate", "Publish", "Written", "Carried", "wait Propagation"]);
    page.at = page.at + Span::days(1);
    page.stale = None;
    assert_eq!(page.advance(), ["SweptClean", "wait SecondSweep"]);
    page.at = page.at + MINUTE;
    page.stale = Some(BTreeMap::new());
    assert_eq!(page.advance()[..1], ["Missed"]);
}

#[test]
fn a_record_that_its_provider_lost_counts_as_lost_before_the_servers_know() {
    let mut page = Page::with_s1();
    page.ask(Intent::Rotate);
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(2);
    page.coming = Some(BTreeMap::new());
    assert_eq!(page.advance()[..2], ["Missed", "Publish"]);
    assert_eq!(page.phases(), "s2 published, s1 active");
}

#[test]
fn a_provider_that_cannot_be_asked_stops_the_switch() {
    let mut page = Page::with_s1();
    page.ask(Intent::Rotate);
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(2);
    page.blind = true;
    assert_eq!(page.advance(), ["wait Unknown"]);
    page.blind = false;
    assert_eq!(page.advance()[0], "Committed");
}

#[test]
fn a_wrong_probe_turns_back_and_holds() {
    let mut page = Page::with_s1();
    page.ask(Intent::Rotate);
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(2);
    page.host_refuses = Some("it signed with s1");
    assert_eq!(page.advance(), ["Committed", "Switch", "TurnBack", "Held", "Parked", "wait Held"]);
    assert_eq!(page.phases(), "s2 propagated, s1 active");
    page.ledger.record(&Fact::Released, page.at).unwrap();
    assert_eq!(page.advance()[..3], ["Committed", "Switch", "Activated"]);
}

#[test]
fn rollback_within_the_grace_needs_no_wait() {
    let mut page = Page::with_s1();
    page.ask(Intent::Rotate);
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(2);
    page.advance();
    page.at = page.at + Span::hours(1);
    page.ask(Intent::Rollback);
    assert_eq!(page.advance()[..4], ["Recalled", "Committed", "Switch", "Activated"]);
    assert_eq!(page.phases(), "s1 active, s2 retiring");
}

#[test]
fn a_compromise_switches_first_and_then_empties() {
    let mut page = Page::with_s1();
    let leaked = page.active();
    page.ask(Intent::Revoke { key: leaked });
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(1);
    let told = page.advance();
    assert_eq!(told[..6], ["Committed", "Switch", "Activated", "Wipe", "Shred", "Empty"]);
    assert_eq!(page.phases(), "s2 active, s1 revoked");
    let name: Fqdn = "s1._domainkey.example.com".parse().unwrap();
    assert_eq!(page.zone[&name], [TxtText::from("v=DKIM1; k=rsa; p=")]);
    // Both regular slots are taken, and the spare one serves a second emergency.
    let second = page.active();
    page.ask(Intent::Revoke { key: second });
    page.advance();
    assert!(page.phases().starts_with("s3 published, s2 active"), "{}", page.phases());
}

#[test]
fn a_third_rotation_waits_for_a_slot() {
    let mut page = Page::with_s1();
    page.ask(Intent::Rotate);
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(2);
    page.advance();
    page.ask(Intent::Rotate);
    assert_eq!(page.advance(), ["wait Slots", "wait Grace", "wait Window"]);
}

#[test]
fn a_key_that_is_still_used_keeps_its_record() {
    let mut page = Page::with_s1();
    let old = page.active();
    page.ask(Intent::Rotate);
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(2);
    page.advance();
    page.at = page.at + Span::days(20);
    let used = Fact::Used { key: old, seen: page.at, by: "mail: the log".into() };
    page.ledger.record(&used, page.at).unwrap();
    page.at = page.at + Span::days(15);
    assert!(page.advance().contains(&"wait StillUsed".to_owned()));
    // Whoever wants its selector waits as long.
    page.ask(Intent::Rotate);
    assert_eq!(page.plan().wake, Some(page.at + Span::days(15)));
    page.ledger.record(&Fact::Answered { algorithm: Algorithm::Rsa }, page.at).unwrap();
    page.at = page.at + Span::days(15);
    assert!(page.advance().contains(&"Withdraw".to_owned()));
}

#[test]
fn clocks_that_disagree_stop_the_switch() {
    let mut page = Page::with_s1();
    page.ask(Intent::Rotate);
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(2);
    page.clock = Witness::Disagrees(START);
    assert_eq!(page.advance(), ["wait ClockDisagrees"]);
    page.clock = Witness::Agrees;
    assert_eq!(page.advance()[0], "Committed");
}

#[test]
fn a_clock_that_another_contradicts_dates_nothing() {
    let mut page = Page::with_s1();
    page.ask(Intent::Rotate);
    page.advance();
    // The wait would begin in the past, or every later run would stand before the newest fact.
    page.at = page.at + Span::days(40);
    page.clock = Witness::Disagrees(START);
    assert_eq!(page.advance(), ["wait ClockDisagrees"]);
    page.at = page.at - Span::days(40) + MINUTE;
    page.clock = Witness::Agrees;
    assert_eq!(page.advance()[0], "SeenEverywhere");
}

#[test]
fn a_clock_behind_the_newest_fact_stops_everything() {
    let mut page = Page::with_s1();
    page.at = page.at - Span::days(1);
    page.ask(Intent::Rotate);
    assert_eq!(page.advance(), ["wait ClockBehind"]);
}

#[test]
fn a_foreign_value_is_not_touched() {
    let mut page = Page::with_s1();
    page.zone.insert("s2._domainkey.example.com".parse().unwrap(), vec!["v=DKIM1; p=QUJD".into()]);
    page.ask(Intent::Rotate);
    assert_eq!(page.advance(), ["Carried", "wait Slots"]);
}

#[test]
fn whoever_had_the_selector_before_is_waited_for_in_caches() {
    let mut page = Page::with_s1();
    let name: Fqdn = "s2._domainkey.example.com".parse().unwrap();
    page.ttl = 86_400;
    page.zone.insert(name.clone(), vec!["v=DKIM1; p=QUJD".into()]);
    page.ask(Intent::Rotate);
    assert_eq!(page.advance(), ["Carried", "Carried", "wait Slots"]);
    page.ttl = 3600;
    page.zone.remove(&name);
    page.advance();
    page.at = page.at + MINUTE;
    page.advance();
    page.at = page.at + Span::hours(24);
    assert_eq!(page.advance(), ["wait Caches"]);
    page.at = page.at + Span::hours(1);
    assert_eq!(page.advance()[0], "Committed");
}

#[test]
fn a_key_that_came_back_beside_its_successor_gets_no_gravestone() {
    let mut page = Page::with_s1();
    let first = page.active();
    for _ in 0..2 {
        page.ask(Intent::Rotate);
        page.advance();
        page.advance();
        page.at = page.at + MINUTE;
        page.advance();
        page.at = page.at + Span::hours(2);
        page.advance();
        page.at = page.at + Span::days(30);
        page.advance();
        page.at = page.at + Span::hours(2);
        page.advance();
    }
    assert_eq!(page.phases(), "s1 active, s1 gone, s2 gone");
    let name: Fqdn = "s1._domainkey.example.com".parse().unwrap();
    let old = page.ledger.key(&first).unwrap().1.record();
    page.zone.get_mut(&name).unwrap().push(old);
    page.ask(Intent::Revoke { key: first });
    page.advance();
    assert_eq!(page.phases(), "s1 active, s1 withdrawn, s2 gone");
    assert_eq!(page.zone[&name], [page.ledger.key(&page.active()).unwrap().1.record()]);
}
