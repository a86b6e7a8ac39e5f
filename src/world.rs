//! Everything outside, and the only match from a step to its effect. It chooses nothing: whatever a step does stands
//! in the step.

use std::collections::{BTreeMap, BTreeSet};

use dkimctl_providers::{AtName, Guarded, Op, Outcome, ProviderError};
use dkimctl_state::lifecycle::check::Rule;
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key, Ledger};
use dkimctl_state::lifecycle::seen::{Answer, Seen, ServerAnswer, View, Witness};
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::step::{Step, Wave};
use dkimctl_state::name::{Fqdn, Label};
use dkimctl_state::record::dkim::Algorithm;
use dkimctl_state::time::{Span, Time};

use crate::clock::Clock;
use crate::dns::{Dns, view_of};
use crate::keygen::KeyKind;
use crate::observe::Sweeper;
use crate::post::Post;
use crate::vault::{NewKey, Vault};

/// The ports through which everything acts.
pub struct World<'a> {
    pub clock: &'a dyn Clock,
    pub vault: &'a dyn Vault,
    pub dns: &'a Dns,
    pub sweeper: &'a dyn Sweeper,
    pub post: &'a dyn Post,
}

/// One domain while it is being worked on.
pub struct Subject<'a> {
    pub settings: &'a Settings,
    pub ledger: Ledger,
    pub seen: Seen,
}

/// Why a step did not take effect.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    #[error("{0}")]
    Dns(#[from] ProviderError),
    #[error("the value at {name} changed after it was looked at ({}); nothing was written", show(.seen))]
    Changed { name: Fqdn, seen: View },
    #[error("{name}: it is not known whether the change happened ({why}); the next run looks before it does anything")]
    Unknown { name: Fqdn, why: String },
    #[error("{0}: not tried, because something before it failed")]
    NotTried(Fqdn),
    #[error("{0}")]
    Vault(String),
    #[error("{0}")]
    Host(String),
    #[error("{0}")]
    Rule(#[from] dkimctl_state::lifecycle::check::Broken),
}

impl Failure {
    /// Nothing went wrong: somebody was told what to enter, and has not done it yet.
    pub fn waits_for_a_person(&self) -> bool {
        matches!(self, Failure::Dns(ProviderError::ByHand(_)))
    }
}

/// What became of one step: the facts it led to, or why not.
pub type Effect = Result<Vec<Fact>, Failure>;

impl World<'_> {
    /// Looks at every name: each provider's view, and a sweep of every authoritative server.
    pub fn observe(&self, names: &BTreeMap<Fqdn, Vec<Label>>, at: Time, tolerance: Span) -> (Seen, Raw) {
        observe(self.dns, self.sweeper, names, at, tolerance)
    }

    /// Performs one wave: steps of one kind, of many domains, together.
    pub fn perform(&self, subjects: &[Subject<'_>], raw: &Raw, wave: Wave, steps: &[(usize, Step)]) -> Vec<Effect> {
        match wave {
            Wave::Record => steps.iter().map(|(_, step)| Ok(recorded(step))).collect(),
            Wave::Generate => self.generate(subjects, steps),
            Wave::Publish | Wave::Withdraw => self.change_dns(subjects, raw, steps),
            Wave::Hosts => self.instruct(subjects, steps),
            Wave::Shred => steps.iter().map(|(_, step)| self.shred(step)).collect(),
        }
    }

    fn generate(&self, subjects: &[Subject<'_>], steps: &[(usize, Step)]) -> Vec<Effect> {
        let wanted: Vec<NewKey> = steps
            .iter()
            .filter_map(|(subject, step)| match step {
                Step::Generate { algorithm, selector } => Some(NewKey {
                    domain: subjects[*subject].ledger.domain.clone(),
                    selector: selector.clone(),
                    kind: match algorithm {
                        Algorithm::Rsa => KeyKind::Rsa { bits: subjects[*subject].settings.rsa_bits },
                        Algorithm::Ed25519 => KeyKind::Ed25519,
                    },
                }),
                _ => None,
            })
            .collect();
        let sealed = self.vault.create(&wanted);
        let at = self.clock.now();
        wanted
            .into_iter()
            .zip(sealed)
            .map(|(new, sealed)| {
                let sealed = sealed.map_err(|error| Failure::Vault(error.to_string()))?;
                Ok(vec![Fact::Sealed {
                    key: Key {
                        fingerprint: sealed.public.fingerprint(),
                        selector: new.selector,
                        algorithm: sealed.algorithm,
                        public: sealed.public,
                        sealed: at,
                        adopted_text: None,
                        blob_sha256: sealed.blob_sha256,
                        record_at: BTreeMap::new(),
                        delivered: BTreeMap::new(),
                        wiped: BTreeMap::new(),
                        shredded: None,
                    },
                }])
            })
            .collect()
    }

    /// One packed call per provider and zone. The facts come from looking again, not from the answers.
    fn change_dns(&self, subjects: &[Subject<'_>], raw: &Raw, steps: &[(usize, Step)]) -> Vec<Effect> {
        let mut effects: Vec<Option<Effect>> = steps.iter().map(|_| None).collect();
        let mut by_provider: BTreeMap<&Label, Vec<(usize, Guarded)>> = BTreeMap::new();
        // If one provider could never hold a record of a domain, then none is to have it.
        let unfit: BTreeMap<usize, ProviderError> =
            steps.iter().filter_map(|(subject, step)| Some((*subject, unfit(self.dns, step)?))).collect();
        for (index, (subject, step)) in steps.iter().enumerate() {
            let Some((provider, op)) = operation(step) else { continue };
            if let Some(error) = unfit.get(subject) {
                effects[index] = Some(Err(error.clone().into()));
                continue;
            }
            match raw.0.get(&(provider.clone(), op.name().clone())) {
                Some(seen) => {
                    by_provider.entry(provider).or_default().push((index, Guarded { op, seen: seen.clone() }));
                }
                None => effects[index] = Some(Err(Failure::NotTried(op.name().clone()))),
            }
        }
        for (provider, guarded) in by_provider {
            let (indexes, ops): (Vec<usize>, Vec<Guarded>) = guarded.into_iter().unzip();
            let names: Vec<Fqdn> = ops.iter().map(|guarded| guarded.op.name().clone()).collect();
            let outcomes = self.dns.apply(provider, ops);
            for ((index, name), outcome) in indexes.into_iter().zip(names).zip(outcomes) {
                let (subject, step) = &steps[index];
                let trusting = subjects[*subject].settings.policy.suspended == Some(Rule::ReadBack);
                effects[index] = Some(match outcome {
                    Outcome::Applied(_) | Outcome::Already if trusting => Ok(believed(step, self.clock.now())),
                    Outcome::Applied(_) | Outcome::Already => Ok(Vec::new()),
                    Outcome::Conflict(at_name) => Err(Failure::Changed { name, seen: view_of(&Ok(at_name)) }),
                    Outcome::Rejected(error) => Err(error.into()),
                    Outcome::NotTried => Err(Failure::NotTried(name)),
                    Outcome::Unknown(why) => Err(Failure::Unknown { name, why }),
                });
            }
        }
        effects.into_iter().map(|effect| effect.unwrap_or(Ok(Vec::new()))).collect()
    }

    /// One new manifest per host, whatever the number of domains. The facts are what the host proved.
    fn instruct(&self, subjects: &[Subject<'_>], steps: &[(usize, Step)]) -> Vec<Effect> {
        let mut by_host: BTreeMap<&Label, Vec<usize>> = BTreeMap::new();
        for (index, (_, step)) in steps.iter().enumerate() {
            if let Step::Deliver { host, .. }
            | Step::Switch { host, .. }
            | Step::TurnBack { host, .. }
            | Step::Wipe { host, .. } = step
            {
                by_host.entry(host).or_default().push(index);
            }
        }
        let mut effects: Vec<Effect> = steps.iter().map(|_| Ok(Vec::new())).collect();
        for (host, indexes) in by_host {
            let mut concerned: Vec<usize> = indexes.iter().map(|index| steps[*index].0).collect();
            concerned.dedup();
            let wipes = |subject: usize| {
                let wiped = steps.iter().filter(move |(s, _)| *s == subject).filter_map(|(_, step)| match step {
                    Step::Wipe { key, host: at } if at == host => Some(*key),
                    _ => None,
                });
                wiped.collect::<Vec<_>>()
            };
            let orders: Vec<_> = concerned.iter().map(|s| (&subjects[*s].ledger, wipes(*s))).collect();
            match self.post.instruct(host, &orders) {
                Ok(mut proved) => {
                    for index in indexes {
                        let domain = &subjects[steps[index].0].ledger.domain;
                        effects[index] = Ok(proved.remove(domain).unwrap_or_default());
                    }
                }
                Err(error) => indexes.iter().for_each(|index| effects[*index] = Err(Failure::Host(error.to_string()))),
            }
        }
        effects
    }

    fn shred(&self, step: &Step) -> Effect {
        let Step::Shred { key } = step else { return Ok(Vec::new()) };
        self.vault.shred(key).map_err(|error| Failure::Vault(error.to_string()))?;
        Ok(vec![Fact::Shredded { key: *key }])
    }
}

/// [`World::observe`], for those who only look.
pub fn observe(
    dns: &Dns,
    sweeper: &dyn Sweeper,
    names: &BTreeMap<Fqdn, Vec<Label>>,
    at: Time,
    tolerance: Span,
) -> (Seen, Raw) {
    let labels: BTreeSet<_> = names.values().flatten().collect();
    let mut seen = Seen { clock: witness(dns, labels, at, tolerance), ..Seen::default() };
    let mut raw = Raw::default();
    let mut by_provider: BTreeMap<&Label, Vec<Fqdn>> = BTreeMap::new();
    for (name, providers) in names {
        for provider in providers {
            by_provider.entry(provider).or_default().push(name.clone());
        }
    }
    for (provider, names) in by_provider {
        for (name, answer) in dns.observe_at_home(provider, &names, sweeper) {
            let entry = seen.names.entry(name.clone()).or_default();
            entry.at_provider.insert(provider.clone(), view_of(&answer));
            if let Ok(at_name) = answer {
                raw.0.insert((provider.clone(), name), at_name);
            }
        }
    }
    let wanted: Vec<Fqdn> = names.keys().cloned().collect();
    for (name, sweep) in wanted.iter().zip(sweeper.sweep(&wanted, at)) {
        seen.names.entry(name.clone()).or_default().sweep = Some(sweep);
    }
    // An address may be many machines: the host itself knows whether all of its servers have the change.
    for (name, (label, why)) in dns.unsettled() {
        if let Some(sweep) = seen.names.get_mut(&name).and_then(|seen| seen.sweep.as_mut()) {
            let server = crate::report::words::servers_of(&label);
            sweep.answers.push(ServerAnswer { server, answer: Answer::Unknown(why) });
        }
    }
    (seen, raw)
}

/// What the clocks of these providers say of ours, as far as they were heard.
pub fn witness<'l>(dns: &Dns, labels: impl IntoIterator<Item = &'l Label>, at: Time, tolerance: Span) -> Witness {
    match dns.clock(labels) {
        None => Witness::Unknown,
        Some(other) if at.since(other).max(other.since(at)) <= tolerance => Witness::Agrees,
        Some(other) => Witness::Disagrees(other),
    }
}

/// What the providers returned, in their own form, for the guards of the operations that follow.
#[derive(Default)]
pub struct Raw(BTreeMap<(Label, Fqdn), AtName>);

impl Raw {
    pub fn extend(&mut self, other: Raw) {
        self.0.extend(other.0);
    }
}

fn recorded(step: &Step) -> Vec<Fact> {
    match step {
        Step::Record(fact) => vec![fact.clone()],
        _ => Vec::new(),
    }
}

fn operation(step: &Step) -> Option<(&Label, Op)> {
    Some(match step {
        Step::Publish { provider, name, text, ttl, seen, .. } => {
            let (name, ttl, old) = (name.clone(), *ttl, text.clone());
            let op = match seen {
                View::Txt { .. } => Op::Replace { name, old, new: text.clone(), ttl },
                _ => Op::Add { name, text: text.clone(), ttl },
            };
            (provider, op)
        }
        Step::Empty { provider, name, old, new, ttl, .. } => {
            let (name, new, ttl) = (name.clone(), new.clone(), *ttl);
            let op = match old {
                Some(old) => Op::Replace { name, old: old.clone(), new, ttl },
                None => Op::Add { name, text: new, ttl },
            };
            (provider, op)
        }
        Step::Withdraw { provider, name, text, .. } => {
            (provider, Op::Remove { name: name.clone(), text: text.clone() })
        }
        _ => return None,
    })
}

/// Why the host of this change could never make it; nobody is asked.
pub fn unfit(dns: &Dns, step: &Step) -> Option<ProviderError> {
    let (provider, op) = operation(step)?;
    dns.objection(provider, &op)
}

/// What a careless program would write down after an OK; used only by the test that shows why not.
fn believed(step: &Step, since: Time) -> Vec<Fact> {
    match step {
        Step::Publish { key, provider, .. } => {
            let (key, provider) = (*key, provider.clone());
            vec![Fact::Written { key, provider }, Fact::SeenEverywhere { key, since }]
        }
        _ => Vec::new(),
    }
}

fn show(view: &View) -> String {
    match view {
        View::Absent => "it is empty now".to_owned(),
        View::Txt { texts, .. } => {
            let texts: Vec<String> = texts.iter().map(|text| format!("now {text}")).collect();
            texts.join("; ")
        }
        View::Cname { target } => format!("now an alias of {target}"),
        View::Unsupported(why) | View::Unknown(why) => why.clone(),
    }
}

#[cfg(test)]
#[path = "world_tests.rs"]
mod tests;
