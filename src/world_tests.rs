//! What a wave does to DNS, at providers in memory.

use std::sync::Arc;

use dkimctl_providers::memory::Memory;
use dkimctl_providers::{Caps, Descriptor, DnsProvider, Zone};
use dkimctl_state::lifecycle::policy::Policy;
use dkimctl_state::lifecycle::seen::Sweep;
use dkimctl_state::record::dkim::{Fingerprint, PublicKey};
use dkimctl_state::record::txt::TxtText;

use super::*;
use crate::clock::SystemClock;
use crate::keygen::PrivateKey;
use crate::post::{PostError, Proofs};
use crate::vault::{SealedKey, VaultError};

/// A host with less room than others.
struct Small(Arc<Memory>);

impl DnsProvider for Small {
    fn descriptor(&self) -> &'static Descriptor {
        self.0.descriptor()
    }

    fn caps(&self) -> Caps {
        Caps { max_text: 500, ..self.0.caps() }
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
}

/// Whoever is not asked here.
struct Nobody;

impl Vault for Nobody {
    fn create_watched(&self, _: &[NewKey], _: &(dyn Fn(usize) + Sync)) -> Vec<Result<SealedKey, VaultError>> {
        unreachable!()
    }

    fn adopt(&self, _: &PrivateKey) -> Result<SealedKey, VaultError> {
        unreachable!()
    }

    fn shred(&self, _: &Fingerprint) -> Result<(), VaultError> {
        unreachable!()
    }

    fn blob(&self, _: &Fingerprint) -> Result<Vec<u8>, VaultError> {
        unreachable!()
    }
}

impl Post for Nobody {
    fn instruct(&self, _: &Label, _: &[(&Ledger, Vec<Fingerprint>)]) -> Result<Proofs, PostError> {
        unreachable!()
    }
}

impl Sweeper for Nobody {
    fn sweep(&self, names: &[Fqdn], at: Time) -> Vec<Sweep> {
        names.iter().map(|_| Sweep { at, answers: vec![], negative_ttl: None, cname: None }).collect()
    }
}

/// Publishes these texts, a domain each, at a large and at a small host; what became of it at each, domain by domain.
fn publish(texts: &[TxtText]) -> (Vec<Effect>, [Arc<Memory>; 2]) {
    let at = Time::from_unix(1_800_000_000);
    let domains: Vec<_> = (0..texts.len()).map(|n| format!("d{n}.example")).collect();
    let zones: Vec<Fqdn> = domains.iter().map(|domain| domain.parse().unwrap()).collect();
    let hosts = [1, 2].map(|seed| Arc::new(Memory::new(&zones, seed, move || at)));
    let labels = ["large", "small"].map(|label| label.parse::<Label>().unwrap());
    let (large, small): (Box<dyn DnsProvider>, Box<dyn DnsProvider>) =
        (Box::new(hosts[0].clone()), Box::new(Small(hosts[1].clone())));
    let dns = Dns::new(labels.iter().cloned().zip([large, small]).collect());
    let names: Vec<Fqdn> = domains.iter().map(|domain| format!("s1._domainkey.{domain}").parse().unwrap()).collect();
    let wanted = names.iter().map(|name| (name.clone(), labels.to_vec())).collect();
    let (_, raw) = observe(&dns, &Nobody, &wanted, at, Span::seconds(60));
    let settings: Vec<Settings> = domains
        .iter()
        .map(|domain| Settings {
            domain: domain.parse().unwrap(),
            slots: BTreeMap::new(),
            rsa_bits: 2048,
            ttl: 300,
            providers: labels.to_vec(),
            hosts: vec![],
            policy: Policy::default(),
        })
        .collect();
    let ledger = |settings: &Settings| Ledger::new(settings.domain.clone());
    let subject = |settings| Subject { ledger: ledger(settings), settings, seen: Seen::default() };
    let subjects: Vec<Subject<'_>> = settings.iter().map(subject).collect();
    let steps: Vec<(usize, Step)> = labels
        .iter()
        .flat_map(|provider| {
            names.iter().zip(texts).enumerate().map(|(index, (name, text))| {
                let (provider, name, text) = (provider.clone(), name.clone(), text.clone());
                let key = PublicKey::from_bytes([0; 32]).fingerprint();
                (index, Step::Publish { key, provider, name, text, ttl: 300, seen: View::Absent })
            })
        })
        .collect();
    let world = World { clock: &SystemClock, vault: &Nobody, dns: &dns, sweeper: &Nobody, post: &Nobody };
    (world.perform(&subjects, &raw, Wave::Publish, &steps), hosts)
}

#[test]
fn a_record_that_one_provider_cannot_hold_is_published_at_none() {
    let record = |octets| PublicKey::from_bytes(vec![0; octets]).record(Algorithm::Rsa);
    let (effects, hosts) = publish(&[record(550), record(294)]);
    for refused in [&effects[0], &effects[2]] {
        let said = refused.as_ref().unwrap_err().to_string();
        assert!(said.contains("764 octets, and small holds texts of 500 at most"), "{said}");
        assert!(said.contains("`rsa_bits = 2048`"), "{said}");
    }
    assert!(effects[1].is_ok() && effects[3].is_ok(), "the other domain goes on");
    for host in hosts {
        assert_eq!(host.at(&"s1._domainkey.d0.example".parse().unwrap()), AtName::Absent);
        assert_eq!(host.at(&"s1._domainkey.d1.example".parse().unwrap()).texts().count(), 1);
    }
}

/// One customer's web form is no reason to stop a fleet.
#[test]
fn a_record_that_nobody_has_entered_yet_is_told_and_does_not_count_as_a_failure() {
    let failure = |domain: &str, error| (domain.parse().unwrap(), Failure::Dns(error));
    let failures = vec![
        failure("by-hand.example", ProviderError::ByHand("not yet".into())),
        failure("broken.example", ProviderError::Unreachable("no answer".into())),
    ];
    let run = crate::advance::Run { failures, ..Default::default() };
    assert_eq!(run.failed_domains().map(|domain| domain.as_str()).collect::<Vec<_>>(), ["broken.example"]);
}
