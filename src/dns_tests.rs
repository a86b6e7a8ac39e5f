//! Names that lead elsewhere, at providers in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dkimctl_providers::memory::Memory;
use dkimctl_providers::{Caps, Descriptor, Op};
use dkimctl_state::lifecycle::seen::Sweep;

use super::*;
use crate::observe::Sweeper;

const NAME: &str = "s1._domainkey.customer.example";
const HOME: &str = "s1.customer.example._dk.ours.example";

fn fqdn(text: &str) -> Fqdn {
    text.parse().unwrap()
}

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

/// A provider whose changes settle when the test says so.
struct Slow(Arc<Memory>, Arc<AtomicBool>);

impl DnsProvider for Slow {
    fn descriptor(&self) -> &'static Descriptor {
        self.0.descriptor()
    }

    fn caps(&self) -> Caps {
        self.0.caps()
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        self.0.zones()
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        self.0.observe(zone, names)
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        self.0.apply(zone, ops)
    }

    fn settled(&self, _: &Zone, _: &ChangeId) -> Result<bool, ProviderError> {
        Ok(self.1.load(Ordering::SeqCst))
    }
}

/// What the name servers of zones that are not ours say.
#[derive(Default)]
struct Servers(BTreeMap<Fqdn, Result<Option<Fqdn>, String>>);

impl Sweeper for Servers {
    fn sweep(&self, _: &[Fqdn], _: Time) -> Vec<Sweep> {
        unreachable!("only aliases are asked for")
    }

    fn aliases(&self, names: &[Fqdn]) -> Vec<Result<Option<Fqdn>, String>> {
        names.iter().map(|name| self.0.get(name).cloned().unwrap_or(Ok(None))).collect()
    }
}

impl Servers {
    fn alias(mut self, name: &str, target: &str) -> Self {
        self.0.insert(fqdn(name), Ok(Some(fqdn(target))));
        self
    }
}

struct Bench {
    ours: Arc<Memory>,
    other: Arc<Memory>,
    settled: Arc<AtomicBool>,
    dns: Dns,
}

/// The domain's provider `ours` holds these zones; `other` is configured as well.
fn bench(zones: &[&str], of_other: &[&str]) -> Bench {
    let memory = |zones: &[&str]| {
        let zones: Vec<Fqdn> = zones.iter().map(|zone| fqdn(zone)).collect();
        Arc::new(Memory::new(&zones, 1, || Time::from_unix(1_800_000_000)))
    };
    let (ours, other) = (memory(zones), memory(of_other));
    let settled = Arc::new(AtomicBool::new(true));
    let (late, of_late) = (other.clone(), settled.clone());
    let build: Build = Box::new(move || Ok(Box::new(Slow(late.clone(), of_late.clone()))));
    let own: Box<dyn DnsProvider> = Box::new(Slow(ours.clone(), settled.clone()));
    Bench { dns: Dns::new([(label("ours"), own)].into()).and_others([(label("other"), build)]), ours, other, settled }
}

impl Bench {
    fn see(&self, name: &str, servers: &Servers) -> Result<AtName, ProviderError> {
        self.dns.observe_at_home(&label("ours"), &[fqdn(name)], servers).remove(&fqdn(name)).unwrap()
    }

    fn add(&self, name: &str) -> Outcome {
        let op = Op::Add { name: fqdn(name), text: "key".into(), ttl: 300 };
        self.dns.apply(&label("ours"), vec![Guarded { op, seen: AtName::Absent }]).remove(0)
    }
}

fn alias_at(memory: &Memory, name: &str, target: &str) {
    memory.edit(&fqdn(name), AtName::Cname { target: fqdn(target), ttl: 300 });
}

#[test]
fn an_alias_in_a_foreign_zone_leads_to_a_zone_of_ours() {
    let bench = bench(&["ours.example"], &[]);
    let servers = Servers::default().alias(NAME, HOME);
    assert_eq!(bench.see(NAME, &servers), Ok(AtName::Absent));
    assert!(matches!(bench.add(NAME), Outcome::Applied(_)));
    assert_eq!(bench.ours.at(&fqdn(HOME)).texts().count(), 1, "published where verifiers end");
    assert_eq!(bench.see(NAME, &servers).unwrap().texts().count(), 1, "and seen there under the name itself");
}

#[test]
fn an_alias_that_a_provider_shows_leads_to_another_provider() {
    let bench = bench(&["customer.example"], &["ours.example"]);
    alias_at(&bench.ours, NAME, "via.customer.example");
    alias_at(&bench.ours, "via.customer.example", HOME);
    assert_eq!(bench.see(NAME, &Servers::default()), Ok(AtName::Absent));
    assert!(matches!(bench.add(NAME), Outcome::Applied(_)));
    assert_eq!(bench.other.at(&fqdn(HOME)).texts().count(), 1);
    assert_eq!(bench.ours.calls().writes, 0);
}

#[test]
fn an_alias_that_was_taken_away_leads_nowhere_any_more() {
    let bench = bench(&["customer.example"], &["ours.example"]);
    alias_at(&bench.ours, NAME, HOME);
    bench.see(NAME, &Servers::default()).unwrap();
    bench.ours.edit(&fqdn(NAME), AtName::Absent);
    bench.see(NAME, &Servers::default()).unwrap();
    bench.add(NAME);
    assert_eq!((bench.ours.calls().writes, bench.other.calls().writes), (1, 0));
}

#[test]
fn an_alias_to_nobody_we_know_is_named() {
    let bench = bench(&["customer.example"], &["ours.example"]);
    let servers = Servers::default().alias("s1.elsewhere.test", "s1.farther.test");
    alias_at(&bench.ours, NAME, "s1.elsewhere.test");
    let seen = bench.see(NAME, &servers);
    assert!(matches!(&seen, Ok(AtName::Cname { target, .. }) if target.as_str() == "s1.farther.test"), "{seen:?}");
    assert_ne!(bench.add(NAME), Outcome::Applied(None));
}

#[test]
fn a_loop_and_an_endless_chain_are_said_to_be_so() {
    let bench = bench(&["customer.example"], &[]);
    alias_at(&bench.ours, NAME, "a.customer.example");
    alias_at(&bench.ours, "a.customer.example", NAME);
    let seen = bench.see(NAME, &Servers::default());
    assert!(matches!(&seen, Ok(AtName::Unsupported(why)) if why.contains("leads back to")), "{seen:?}");
    for n in 0..12 {
        alias_at(&bench.ours, &format!("n{n}.customer.example"), &format!("n{}.customer.example", n + 1));
    }
    let seen = bench.see("n0.customer.example", &Servers::default());
    assert!(matches!(&seen, Ok(AtName::Unsupported(why)) if why.contains("longer than resolvers")), "{seen:?}");
}

#[test]
fn the_apex_of_a_zone_is_nobodys_selector() {
    let bench = bench(&["customer.example", "ours.example"], &[]);
    alias_at(&bench.ours, NAME, "ours.example");
    let seen = bench.see(NAME, &Servers::default());
    assert!(matches!(&seen, Ok(AtName::Unsupported(why)) if why.contains("itself")), "{seen:?}");
}

#[test]
fn a_delegated_zone_is_found_at_the_provider_that_holds_it() {
    let bench = bench(&["customer.example"], &["_domainkey.customer.example"]);
    let (zone, server) = (fqdn("_domainkey.customer.example"), "ns.ours.example.".to_owned());
    bench.ours.edit(&fqdn(NAME), AtName::Delegated { zone, server });
    // The domain's own provider shows the cut; what it shows otherwise is not asked again.
    assert_eq!(bench.see(NAME, &Servers::default()), Ok(AtName::Absent));
    assert!(matches!(bench.add(NAME), Outcome::Applied(_)));
    assert_eq!(bench.other.at(&fqdn(NAME)).texts().count(), 1);
}

#[test]
fn a_delegation_to_nobody_we_know_is_named() {
    let bench = bench(&["customer.example"], &["unrelated.example"]);
    let (zone, server) = (fqdn("_domainkey.customer.example"), "ns.elsewhere.test.".to_owned());
    bench.ours.edit(&fqdn(NAME), AtName::Delegated { zone, server });
    let View::Unsupported(why) = view_of(&bench.see(NAME, &Servers::default())) else { panic!() };
    assert!(why.contains("delegated to ns.elsewhere.test,"), "{why}");
}

#[test]
fn what_cannot_be_asked_is_unknown_and_not_elsewhere() {
    let bench = bench(&["ours.example"], &[]);
    let mut servers = Servers::default();
    servers.0.insert(fqdn(NAME), Err("no answer".to_owned()));
    let error = bench.see(NAME, &servers).unwrap_err();
    assert!(matches!(&error, ProviderError::Unreachable(why) if why.contains("no answer")), "{error}");
    assert_eq!(bench.see("other.example", &servers), Err(ProviderError::NoZone(fqdn("other.example"))));
}

#[test]
fn a_zone_that_might_hold_the_target_but_cannot_be_listed_is_no_refusal() {
    let providers: BTreeMap<Label, Box<dyn DnsProvider>> = BTreeMap::new();
    let broken: Build = Box::new(|| Err(ProviderError::Unreachable("its secret is away".to_owned())));
    let dns = Dns::new(providers).and_others([(label("broken"), broken)]);
    let servers = Servers::default().alias(NAME, HOME);
    let mut seen = dns.observe_at_home(&label("missing"), &[fqdn(NAME)], &servers);
    assert!(seen.remove(&fqdn(NAME)).unwrap().is_err());
}

#[test]
fn a_change_that_is_pending_keeps_its_name_waiting() {
    let bench = bench(&["customer.example"], &[]);
    bench.settled.store(false, Ordering::SeqCst);
    bench.add(NAME);
    let waiting = bench.dns.unsettled();
    assert_eq!(waiting.keys().collect::<Vec<_>>(), [&fqdn(NAME)]);
    bench.settled.store(true, Ordering::SeqCst);
    assert!(bench.dns.unsettled().is_empty());
    bench.settled.store(false, Ordering::SeqCst);
    assert!(bench.dns.unsettled().is_empty(), "settled is settled, and not asked for again");
}

#[test]
fn two_operations_at_one_name_have_an_outcome_each() {
    let bench = bench(&["customer.example"], &[]);
    let add = |text: &str| Op::Add { name: fqdn(NAME), text: text.into(), ttl: 300 };
    let elsewhere = Op::Add { name: fqdn("x.nobody.test"), text: "x".into(), ttl: 300 };
    let ops = [add("a"), elsewhere, add("b")].map(|op| Guarded { op, seen: AtName::Absent });
    let outcomes = bench.dns.apply(&label("ours"), ops.to_vec());
    assert!(
        matches!(
            &outcomes[..],
            [Outcome::Applied(_), Outcome::Rejected(ProviderError::NoZone(_)), Outcome::Conflict(_)]
        ),
        "{outcomes:?}"
    );
}
