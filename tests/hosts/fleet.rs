//! A fleet at one account: a few domains go first, too many failures stop the rest, and nothing is done twice.

use std::fs;
use std::time::{Duration, Instant};

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key, Ledger};
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::store::{Loaded, Store as _};
use dkimctl_state::time::Time;

use crate::fleet_state;
use crate::lab::{Lab, Plan};
use crate::servers::CloudflareFake;
use crate::servers::proxy::{Proxy, http_change};

/// In waves of 1, 1, 12 and the rest.
const DOMAINS: u32 = 120;

fn domain(n: u32) -> SigningDomain {
    fleet_state::domain(n)
}

struct Fleet {
    fake: CloudflareFake,
    proxy: Proxy,
    lab: Lab,
}

impl Fleet {
    /// Every domain has a key that is sealed and is to be published, and a zone of its own.
    fn start() -> Fleet {
        let names: Vec<String> = (0..DOMAINS).map(|n| domain(n).to_string()).collect();
        let fake = CloudflareFake::start(names.iter().map(String::as_str));
        let proxy = Proxy::before(fake.address(), http_change);
        let providers = format!(
            "[provider.host]\ntype = \"cloudflare\"\nendpoint = \"http://{}/client/v4\"\nsecret_file = \"cloudflare.token\"\n",
            proxy.address
        );
        let observe = "nameservers = [\"127.0.0.1:9\"]";
        let provider = "provider = \"host\"";
        let lab = Lab::new(&Plan { domain: &names[0], provider, providers: &providers, observe, signs: false });
        fs::write(lab.path("domains"), names[1..].join("\n")).unwrap();
        let config = fs::read_to_string(lab.path("dkimctl.toml")).unwrap();
        let defaults = "[defaults]\nprovider = \"host\"\nsigner = \"here\"\nttl = 60\n";
        fs::write(lab.path("dkimctl.toml"), format!("domains_file = \"domains\"\n{defaults}{config}")).unwrap();
        seal_all(&lab);
        Fleet { fake, proxy, lab }
    }

    fn published(&self) -> usize {
        self.fake.state().records.values().map(Vec::len).sum()
    }

    fn zone_lists(&self) -> usize {
        self.fake.state().log.iter().filter(|line| line.starts_with("GET /client/v4/zones?")).count()
    }

    /// Zones that take no more records.
    fn fill(&self, numbers: impl IntoIterator<Item = usize>) {
        let mut state = self.fake.state();
        numbers.into_iter().for_each(|n| state.zones[n].quota = 0);
    }

    fn empty_all(&self) {
        self.fake.state().zones.iter_mut().for_each(|zone| zone.quota = 1000);
    }

    /// Whoever failed is tried again a second later.
    fn advance(&self) -> (String, Option<i32>) {
        std::thread::sleep(Duration::from_millis(1100));
        self.lab.run(&["advance", "--verbose"])
    }
}

/// A sealed key of each domain; all are due.
fn seal_all(lab: &Lab) {
    let mut store = SqliteStore::open(&lab.path("state"), &Options::read_write()).unwrap();
    let begun = Time::from_unix(1_790_000_000);
    let change = |n: u32| {
        let public = PublicKey::from_bytes(n.to_be_bytes().repeat(74)[..294].to_vec());
        let fingerprint = public.fingerprint();
        let key = Key {
            fingerprint,
            selector: "s1".parse().unwrap(),
            algorithm: Algorithm::Rsa,
            public,
            sealed: begun,
            adopted_text: None,
            blob_sha256: fingerprint.to_string(),
            record_at: Default::default(),
            delivered: Default::default(),
            wiped: Default::default(),
            shredded: None,
        };
        let empty = Loaded { ledger: Ledger::new(domain(n)), revision: 0, wake: None };
        fleet_state::change(empty, vec![Fact::Sealed { key }], begun, Some(begun))
    };
    store.commit(&(0..DOMAINS).map(change).collect::<Vec<_>>()).unwrap();
}

#[test]
fn a_fleet_is_published_once_with_its_zones_listed_once() {
    let fleet = Fleet::start();
    let (said, code) = fleet.advance();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((fleet.published(), fleet.fake.writes()), (120, 120), "one change a zone");
    assert_eq!(fleet.zone_lists(), 3, "three pages, once for all waves");
    for wave in ["wave 1 of 4: 0 of 120", "wave 2 of 4: 1 of 120", "wave 3 of 4: 2 of 120", "wave 4 of 4: 14 of 120"] {
        assert!(said.contains(wave), "{wave}: {said}");
    }
    assert!(said.contains("domains done, about "), "{said}");
    fleet.advance();
    assert_eq!(fleet.fake.writes(), 120, "those that are right are left alone");
}

#[test]
fn the_first_domain_alone_meets_what_is_wrong_with_all() {
    let fleet = Fleet::start();
    fleet.fill(0..120);
    let (said, code) = fleet.advance();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stopped in wave 1 of 4: 1 of 1 domains failed") && said.contains("the other 119"), "{said}");
    assert_eq!((fleet.published(), fleet.fake.writes()), (0, 1), "one call, and no more");
    assert!(said.contains("dkimctl hold "), "{said}");

    fleet.empty_all();
    let (said, code) = fleet.advance();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((fleet.published(), fleet.fake.writes()), (120, 121));
}

#[test]
fn too_many_failures_in_a_wave_stop_the_next_one_and_few_do_not() {
    let fleet = Fleet::start();
    // One of the twelve of the third wave is more than 5 %; with a budget of 10 % it would not be.
    fleet.fill([5]);
    let (said, code) = fleet.advance();
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("stopped in wave 3 of 4: 1 of 14 domains failed"), "{said}");
    assert_eq!(fleet.published(), 13);
    // The one that fails has its turn after the others now, and is one of many.
    let (said, code) = fleet.advance();
    assert_eq!(code, Some(1), "its failure is told: {said}");
    assert_eq!(fleet.published(), 119, "{said}");
    fleet.empty_all();
    fleet.advance();
    assert_eq!(fleet.published(), 120);
}

#[test]
fn a_run_that_is_killed_in_the_middle_goes_on_without_repeating_a_call() {
    let fleet = Fleet::start();
    std::thread::sleep(Duration::from_millis(1100));
    let mut child = fleet.lab.spawn(&["advance"]);
    let deadline = Instant::now() + Duration::from_secs(120);
    while fleet.proxy.changes() < 50 {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    fleet.proxy.arm();
    while !fleet.proxy.holds_an_answer() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fleet.proxy.disarm();
    let before = fleet.fake.writes();
    assert!((50..120).contains(&before), "{before} calls");
    let (said, code) = fleet.advance();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((fleet.published(), fleet.fake.writes()), (120, 120), "no call was made twice");
}
