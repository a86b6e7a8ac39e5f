//! What providers hold, against the ledger: a record that is missing, one that was changed, a selector that nobody here
//! knows. Only what is missing is ever put back, and only when somebody says so.

use std::collections::{BTreeMap, BTreeSet};

use dkimctl_providers::{AtName, Guarded, Op, Outcome, ProviderError};
use dkimctl_state::lifecycle::ledger::{Key, Ledger, Phase};
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::{Fqdn, Label};
use dkimctl_state::record::dkim::Fingerprint;

use crate::dns::Dns;
use crate::observe::Sweeper;
use crate::report::verify::{Held, HeldRecord, Stranger};

/// One domain to be looked at.
pub struct Subject<'a> {
    pub settings: &'a Settings,
    pub ledger: &'a Ledger,
}

/// A record that is to be put back, and whose it is.
struct Repair {
    /// Its place in the report.
    at: usize,
    label: Label,
    guarded: Guarded,
}

/// What a repair wrote down needs: the key, and where its record is again.
pub type Restored = (dkimctl_state::name::SigningDomain, Fingerprint, Label);

/// Looks at every record that ought to stand, at every provider of its domain. With `repair`, what is missing is
/// written again where the name is still empty.
pub fn compare(
    dns: &Dns,
    sweeper: &dyn Sweeper,
    subjects: &[Subject<'_>],
    repair: bool,
) -> (Vec<HeldRecord>, Vec<Restored>) {
    let mut wanted: BTreeMap<&Label, Vec<(&Subject<'_>, Phase, &Key, Fqdn)>> = BTreeMap::new();
    for subject in subjects {
        for (phase, key) in subject.ledger.keys() {
            for label in subject.settings.providers.iter().filter(|label| is_due(phase, key, label)) {
                let name = key.record_name(&subject.ledger.domain);
                wanted.entry(label).or_default().push((subject, phase, key, name));
            }
        }
    }
    let (mut records, mut repairs, mut restored) = (Vec::new(), Vec::new(), Vec::new());
    for (label, keys) in wanted {
        let names: Vec<Fqdn> = keys.iter().map(|(.., name)| name.clone()).collect();
        let seen = dns.observe_at_home(label, &names, sweeper);
        for (subject, phase, key, name) in keys {
            let answer = seen.get(&name).cloned().unwrap_or_else(|| Err(ProviderError::NoZone(name.clone())));
            let held = judge(key, &answer);
            if let (Held::Missing, Ok(empty), true) = (&held, answer, repair) {
                let op = Op::Add { name: name.clone(), text: key.record(), ttl: subject.settings.ttl };
                let guarded = Guarded { op, seen: empty };
                repairs.push(Repair { at: records.len(), label: label.clone(), guarded });
                restored.push((records.len(), (subject.ledger.domain.clone(), key.fingerprint, label.clone())));
            }
            let (domain, provider) = (subject.ledger.domain.clone(), label.clone());
            records.push(HeldRecord { domain, selector: key.selector.clone(), phase, name, provider, held });
        }
    }
    perform(dns, repairs, &mut records);
    restored.retain(|(at, _)| records[*at].held == Held::Repaired);
    (records, restored.into_iter().map(|(_, restored)| restored).collect())
}

/// Whether the key's record has to be at this provider: that of a key of ours that signs or has signed at each of them;
/// that of one on its way, or one that was taken over, where it was seen already. A zone file need not hold what an
/// administrator wrote beside it.
fn is_due(phase: Phase, key: &Key, label: &Label) -> bool {
    match phase {
        Phase::Active | Phase::Retiring | Phase::Switching => {
            key.adopted_text.is_none() || key.record_at.contains_key(label)
        }
        Phase::Published | Phase::Propagated => key.record_at.contains_key(label),
        Phase::Sealed | Phase::Withdrawn | Phase::Gone | Phase::Revoked => false,
    }
}

fn judge(key: &Key, answer: &Result<AtName, ProviderError>) -> Held {
    match answer {
        Ok(AtName::Absent) => Held::Missing,
        Ok(at @ AtName::Txt { .. }) => {
            let texts: Vec<_> = at.texts().cloned().collect();
            if texts == [key.record()] { Held::Right } else { Held::Changed { texts } }
        }
        Ok(other) => Held::Unusable { why: crate::report::words::unusable(other) },
        Err(error) => Held::Unknown { why: error.to_string() },
    }
}

fn perform(dns: &Dns, repairs: Vec<Repair>, records: &mut [HeldRecord]) {
    let mut by_label: BTreeMap<Label, (Vec<usize>, Vec<Guarded>)> = BTreeMap::new();
    for Repair { at, label, guarded } in repairs {
        let of_label = by_label.entry(label).or_default();
        of_label.0.push(at);
        of_label.1.push(guarded);
    }
    for (label, (places, ops)) in by_label {
        for (at, outcome) in places.into_iter().zip(dns.apply(&label, ops)) {
            records[at].held = match outcome {
                Outcome::Applied(_) | Outcome::Already => Held::Repaired,
                Outcome::Conflict(now) => Held::Changed { texts: now.texts().cloned().collect() },
                Outcome::Rejected(error) => Held::NotRepaired { why: error.to_string() },
                Outcome::Unknown(why) => Held::NotRepaired { why },
                Outcome::NotTried => Held::NotRepaired { why: "something before it failed".to_owned() },
            };
        }
    }
}

/// The selectors below the domains' `_domainkey` that no ledger knows, where a provider can list its names. Each zone is
/// listed once.
pub fn strangers(dns: &Dns, subjects: &[Subject<'_>]) -> Vec<Stranger> {
    let mut listed: BTreeMap<(Label, String), Vec<Fqdn>> = BTreeMap::new();
    let mut found = Vec::new();
    for Subject { settings, ledger } in subjects {
        let ours: BTreeSet<Fqdn> = ledger.keys().map(|(_, key)| key.record_name(&ledger.domain)).collect();
        let Ok(below) = ledger.domain.as_fqdn().child("_domainkey") else { continue };
        for label in &settings.providers {
            // A domain whose names are aliases into a zone of ours has no zone here.
            let Ok(zone) = dns.zone(label, &below) else { continue };
            let names = listed.entry((label.clone(), zone.id.clone())).or_insert_with(|| {
                let listed = dns.provider(label).and_then(|provider| provider.list(&zone));
                listed.ok().flatten().unwrap_or_default()
            });
            let strange = names.iter().filter(|name| name.is_in(&below) && **name != below && !ours.contains(*name));
            found.extend(strange.map(|name| Stranger {
                domain: ledger.domain.clone(),
                name: name.clone(),
                provider: label.clone(),
            }));
        }
    }
    found
}
