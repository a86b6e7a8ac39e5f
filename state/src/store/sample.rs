//! Ledgers to test with.

use std::collections::BTreeMap;

use super::{Change, Event, Store};
use crate::lifecycle::fact::Fact;
use crate::lifecycle::ledger::{Key, Maxima};
use crate::name::{Label, SigningDomain};
use crate::record::dkim::{Algorithm, PublicKey};
use crate::time::{Span, Time};

/// 2026-11-22T09:30:00Z
pub const T0: Time = Time::from_unix(1_795_339_800);

pub fn domain(n: u32) -> SigningDomain {
    format!("d{n:06}.example").parse().unwrap()
}

pub fn label(text: &str) -> Label {
    text.parse().unwrap()
}

/// A key of its own for every number; as long as an RSA key of 2048 bits.
pub fn key(n: u32, selector: &str) -> Key {
    let public = PublicKey::from_bytes(n.to_be_bytes().repeat(74)[..294].to_vec());
    Key {
        fingerprint: public.fingerprint(),
        selector: selector.parse().unwrap(),
        algorithm: Algorithm::Rsa,
        public,
        sealed: T0,
        adopted_text: None,
        blob_sha256: "0".repeat(64),
        record_at: BTreeMap::new(),
        delivered: BTreeMap::new(),
        wiped: BTreeMap::new(),
        shredded: None,
    }
}

/// What `facts` make of the domain as it is stored, a minute apart, and a wake-up time.
pub fn change(store: &dyn Store, domain: &SigningDomain, facts: Vec<Fact>, wake: Option<Time>) -> Change {
    let loaded = store.load(domain).unwrap();
    let mut ledger = loaded.ledger;
    let mut at = ledger.newest.unwrap_or(T0);
    let mut events = Vec::new();
    for fact in facts {
        at = at + Span::minutes(1);
        ledger.record(&fact, at).unwrap();
        events.push(Event { at, actor: "cron".to_owned(), fact });
    }
    Change { ledger, revision: loaded.revision, wake, events }
}

/// From nothing to a key that signs.
pub fn to_active(n: u32, selector: &str) -> Vec<Fact> {
    let key = key(n, selector);
    let fingerprint = key.fingerprint;
    let maxima = Maxima { ttl: 3600, negative: Some(300), cname: 0 };
    vec![
        Fact::Sealed { key },
        Fact::Carried { selector: selector.parse().unwrap(), maxima },
        Fact::Written { key: fingerprint, provider: label("route53") },
        Fact::SweptClean { key: fingerprint },
        Fact::SeenEverywhere { key: fingerprint, since: T0 },
        Fact::Delivered { key: fingerprint, host: label("mx1") },
        Fact::Committed { key: fingerprint },
        Fact::Signing { key: fingerprint, host: label("mx1") },
        Fact::Activated { key: fingerprint },
    ]
}
