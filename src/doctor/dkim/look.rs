//! Gathers what the servers say of the keys in use, and what the signer does.

use std::thread;

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::name::{Fqdn, Selector, SigningDomain};
use dkimctl_state::time::Time;

use super::{Facts, Key, Probe};
use crate::doctor::inside::Inside;
use crate::doctor::patient::OurKey;
use crate::doctor::signer::{self, Facts as Signer, Kind};
use crate::observe::Sweeper;
use crate::signers::milter::Client;
use crate::signers::probe::{self, Expected, KeyLookup, Verdict};
use crate::signers::rspamd::ASKED;

/// Keys of ours that DNS has to show: those that sign, and those whose mail is still under way.
fn counts(phase: Phase) -> bool {
    matches!(phase, Phase::Switching | Phase::Active | Phase::Retiring)
}

pub fn look(
    ours: &[OurKey],
    wanted: &[SigningDomain],
    signer: Option<&Signer>,
    sweeper: &dyn Sweeper,
    now: Time,
) -> Facts {
    let is_wanted = |domain: &SigningDomain| wanted.is_empty() || wanted.contains(domain);
    let mut keys: Vec<Key> = Vec::new();
    let blank =
        || dkimctl_state::lifecycle::seen::Sweep { at: now, answers: Vec::new(), negative_ttl: None, cname: None };
    for key in ours.iter().filter(|key| counts(key.phase) && is_wanted(&key.domain)) {
        keys.push(Key {
            domain: key.domain.clone(),
            selector: key.selector.clone(),
            phase: Some(key.phase),
            public: Some(key.public.clone()),
            record: Some(key.record.clone()),
            due: Some(key.due),
            sweep: blank(),
        });
    }
    for (domain, selectors) in signing(signer).filter(|(domain, _)| is_wanted(domain)) {
        for selector in selectors {
            if keys.iter().all(|key| key.domain != *domain || key.selector != *selector) {
                keys.push(Key {
                    domain: domain.clone(),
                    selector: selector.clone(),
                    phase: None,
                    public: None,
                    record: None,
                    due: None,
                    sweep: blank(),
                });
            }
        }
    }
    let names: Vec<Fqdn> = keys.iter().map(|key| key.selector.record_name(&key.domain)).collect();
    for (key, sweep) in keys.iter_mut().zip(sweeper.sweep(&names, now)) {
        key.sweep = sweep;
    }
    Facts { keys, probes: Vec::new(), sha1: signer.is_some_and(|signer| signer.sha1), now: Some(now) }
}

/// Asks the signer for a signature of each domain that it signs for, and verifies it with what the servers show.
pub fn probe(facts: &mut Facts, inside: &Inside, signer: &Signer, client: &Client, now: Time) {
    let lookup = |name: &Fqdn| {
        let key = facts.keys.iter().find(|key| key.selector.record_name(&key.domain) == *name);
        key.map_or_else(|| KeyLookup::Unknown(format!("{name} was not asked for")), |key| KeyLookup::of(&key.sweep))
    };
    let asked = signing(Some(signer)).filter(|(domain, _)| facts.keys.iter().any(|key| key.domain == **domain));
    let mut probes = Vec::new();
    for (domain, selectors) in asked {
        let expected: Vec<Expected> =
            selectors.iter().map(|selector| Expected { selector: selector.clone(), key: None }).collect();
        let verdict = match &signer.socket {
            Err(why) => Verdict::Unknown { why: why.clone() },
            Ok(socket) => {
                let ask =
                    || probe::judge(&signer::probe(inside, socket, client, domain, now), domain, &expected, &lookup);
                worst(match signer.kind {
                    Kind::OpenDkim => ask(),
                    // Each of its workers reads the tables for itself, and mail meets any of them: all at once, or the
                    // first idle one would answer every time.
                    Kind::Rspamd => thread::scope(|scope| {
                        let asked: Vec<_> = (0..ASKED).map(|_| scope.spawn(ask)).collect();
                        asked
                            .into_iter()
                            .flat_map(|verdicts| verdicts.join().expect("a probe does not panic"))
                            .collect()
                    }),
                })
            }
        };
        probes.push(Probe { domain: domain.clone(), verdict });
    }
    facts.probes = probes;
}

fn signing(signer: Option<&Signer>) -> impl Iterator<Item = (&SigningDomain, &Vec<Selector>)> {
    signer.into_iter().flat_map(|signer| signer.signing.iter().map(|(domain, selectors)| (domain, selectors)))
}

/// One word for a domain: what is wrong comes before what is not known.
fn worst(verdicts: Vec<Verdict>) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Wrong { .. } => 2,
        Verdict::Unknown { .. } => 1,
        Verdict::Right => 0,
    };
    let nothing = Verdict::Unknown { why: "no key of the domain is known to sign".into() };
    verdicts.into_iter().max_by_key(rank).unwrap_or(nothing)
}
