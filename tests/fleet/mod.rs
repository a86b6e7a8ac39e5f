//! A fleet: the state of many domains, made through the library in batches, as tests and benchmarks want it.
#![allow(dead_code)] // each program uses a part

use std::collections::BTreeMap;
use std::path::Path;

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key, Ledger, Maxima};
use dkimctl_state::name::{Label, Selector, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::store::{Change, Event, Loaded, Store};
use dkimctl_state::time::{Span, Time};

/// Makes a state in which every domain has a key by each of these selectors, the last of which signs, and nothing is
/// due before `wake`.
pub fn build(state: &Path, domains: u32, selectors: &[&str], begun: Time, wake: Time) {
    let lineage = "6f1c3bd2-4d0a-4b43-9d9c-0c6f1d8a7e11".parse().expect("a lineage");
    let mut store = SqliteStore::create(state, lineage, &Options::read_write()).expect("create");
    let numbers: Vec<u32> = (0..domains).collect();
    for batch in numbers.chunks(5_000) {
        let change_of = |n: &u32| {
            let keys = selectors.iter().zip(0u32..);
            let facts = keys.flat_map(|(selector, k)| to_active(n * selectors.len() as u32 + k, selector, begun));
            let empty = Loaded { ledger: Ledger::new(domain(*n)), revision: 0, wake: None };
            change(empty, facts.collect(), begun, Some(wake))
        };
        let changes: Vec<Change> = batch.iter().map(change_of).collect();
        store.commit(&changes).expect("commit");
    }
}

/// These facts, a minute apart, as one change.
pub fn change(loaded: Loaded, facts: Vec<Fact>, begun: Time, wake: Option<Time>) -> Change {
    let mut ledger = loaded.ledger;
    let mut at = ledger.newest.unwrap_or(begun);
    let mut events = Vec::new();
    for fact in facts {
        at = at + Span::minutes(1);
        ledger.record(&fact, at).expect("a fact that can have happened");
        events.push(Event { at, actor: "cron".to_owned(), fact });
    }
    Change { ledger, revision: loaded.revision, wake, events }
}

/// What happens to a key until it signs.
fn to_active(n: u32, selector: &str, begun: Time) -> Vec<Fact> {
    // As long as an RSA key of 2048 bits, and another for every number.
    let public = PublicKey::from_bytes(n.to_be_bytes().repeat(74)[..294].to_vec());
    let fingerprint = public.fingerprint();
    let selector: Selector = selector.parse().expect("a selector");
    let key = Key {
        fingerprint,
        selector: selector.clone(),
        algorithm: Algorithm::Rsa,
        public,
        sealed: begun,
        adopted_text: None,
        blob_sha256: fingerprint.to_string(),
        record_at: BTreeMap::new(),
        delivered: BTreeMap::new(),
        wiped: BTreeMap::new(),
        shredded: None,
    };
    let host: Label = "mx1".parse().expect("a host");
    let provider = "route53".parse().expect("a provider");
    vec![
        Fact::Sealed { key },
        Fact::Carried { selector, maxima: Maxima { ttl: 3600, negative: Some(300), cname: 0 } },
        Fact::Written { key: fingerprint, provider },
        Fact::SweptClean { key: fingerprint },
        Fact::SeenEverywhere { key: fingerprint, since: begun },
        Fact::Delivered { key: fingerprint, host: host.clone() },
        Fact::Committed { key: fingerprint },
        Fact::Signing { key: fingerprint, host },
        Fact::Activated { key: fingerprint },
    ]
}

pub fn domain(n: u32) -> SigningDomain {
    format!("d{n:06}.example").parse().expect("a domain")
}

/// `dkimctl.toml` and the list of domains, for [`build`]'s state in the same directory.
pub fn configure(directory: &Path, domains: u32) {
    let names: String = (0..domains).map(|n| format!("{}\n", domain(n))).collect();
    let config = "domains_file = \"domains\"\n\
                  [defaults]\nprovider = \"route53\"\nsigner = \"mx1\"\n\
                  [provider.route53]\ntype = \"rfc2136\"\nserver = \"127.0.0.1:9\"\nzones = [\"example\"]\n\
                  key_name = \"dkimctl\"\nsecret_file = \"tsig\"\n\
                  [signer.mx1]\noutbox = \"outbox\"\nreceipts = \"receipts\"\n\
                  [secrets]\nrecipients_files = [\"recipients\"]\n";
    std::fs::write(directory.join("domains"), names).expect("the list is written");
    std::fs::write(directory.join("dkimctl.toml"), config).expect("the configuration is written");
}
