//! By hand: somebody reads the instructions and enters the record while we wait.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dkimctl_providers::export::{Format, Record, export};
use dkimctl_providers::manual::{Config, Manual};
use dkimctl_providers::pace::Timer;
use dkimctl_providers::{AtName, DnsProvider, Guarded, Op, Outcome, ProviderError};

use crate::hosts::{UpdateBench, key, rfc2136_at};
use crate::servers::{Bind, TestZone, servers_or_skip};
use crate::{ZONE, dkim};

/// A person: does what is to be done at the second time somebody waits.
struct Person {
    does: Box<dyn Fn() + Send + Sync>,
    waited: Arc<Mutex<u64>>,
}

impl Timer for Person {
    fn now(&self) -> Duration {
        Duration::from_secs(10 * *self.waited.lock().unwrap())
    }

    fn sleep(&self, _: Duration) {
        let mut waited = self.waited.lock().unwrap();
        *waited += 1;
        if *waited == 2 {
            (self.does)();
        }
    }
}

#[test]
fn what_is_printed_is_entered_and_then_seen() {
    if !servers_or_skip(&[Bind::PROGRAM, "nsupdate"]) {
        return;
    }
    let server = Bind::start(&[key()], &[TestZone::new(ZONE)]);
    let bench = UpdateBench { host: rfc2136_at(&server.address.to_string(), &key()), server: server.address };
    let name = format!("s1._domainkey.{ZONE}");
    let record = Record { name: name.parse().unwrap(), ttl: 300, text: dkim('A').into() };
    // What the person types is our own export.
    let script = export(Format::Nsupdate, &ZONE.parse().unwrap(), std::slice::from_ref(&record));
    let config = Config {
        zones: vec![ZONE.parse().unwrap()],
        servers: vec![server.address.to_string()],
        patience: Duration::ZERO,
        timeout: Duration::from_secs(1),
    };
    let said = Arc::new(Mutex::new(String::new()));
    let told = said.clone();
    let tell = move |text: &str| told.lock().unwrap().push_str(text);
    let op = Op::Add { name: record.name.clone(), text: record.text.clone(), ttl: 300 };
    let ops = [Guarded { op, seen: AtName::Absent }];

    let host = Manual::new(config.clone(), Box::new(tell.clone()));
    let zone = host.zones().unwrap().remove(0);
    let outcomes = host.apply(&zone, &ops);
    assert!(matches!(&outcomes[..], [Outcome::Rejected(ProviderError::ByHand(_))]));
    let words = said.lock().unwrap().clone();
    assert!(words.contains("name s1._domainkey, type TXT, TTL 300") && words.contains(&dkim('A')), "{words}");

    let waited = Arc::new(Mutex::new(0));
    let does = Box::new(move || bench.nsupdate(&script.replace("send\n", "")));
    let person = Person { does, waited: waited.clone() };
    let patient = Config { patience: Duration::from_secs(600), ..config };
    let host = Manual::with_timer(patient, Box::new(tell), Box::new(person));
    assert_eq!(host.apply(&zone, &ops), [Outcome::Applied(None)]);
    assert_eq!(*waited.lock().unwrap(), 2);
    assert_eq!(host.apply(&zone, &ops), [Outcome::Already]);
}
