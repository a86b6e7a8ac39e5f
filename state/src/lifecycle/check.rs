//! The rules as sentences, checked apart from the planner before anything takes effect.
//!
//! [`super::rotation::due`] decides when a step is due; this file knows only why a step would be wrong. Whoever
//! changes one is contradicted by the other, and the simulator by both.

use super::fact::Fact;
use super::ledger::*;
use super::rotation::Now;
use super::seen::{Verdict, View, Witness, keys_in};
use super::step::Step;
use crate::record::dkim::Fingerprint;

/// What must always be true. Each can be switched off by a test, which then shows the message that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    EveryServer,
    TwoSweeps,
    Caches,
    FreshLook,
    HoldBeforeUse,
    CommitFirst,
    EveryHostProves,
    Grace,
    Window,
    StillUsed,
    FreeSlot,
    SavedMaxima,
    UnknownIsNotMissing,
    OursOnly,
    ReadBack,
    TwoClocks,
}

impl Rule {
    pub const ALL: [Rule; 16] = [
        Rule::EveryServer,
        Rule::TwoSweeps,
        Rule::Caches,
        Rule::FreshLook,
        Rule::HoldBeforeUse,
        Rule::CommitFirst,
        Rule::EveryHostProves,
        Rule::Grace,
        Rule::Window,
        Rule::StillUsed,
        Rule::FreeSlot,
        Rule::SavedMaxima,
        Rule::UnknownIsNotMissing,
        Rule::OursOnly,
        Rule::ReadBack,
        Rule::TwoClocks,
    ];

    pub fn sentence(self) -> &'static str {
        match self {
            Rule::EveryServer => "a key signs only after every address of every name server served its record",
            Rule::TwoSweeps => "every server was asked twice, some time apart",
            Rule::Caches => "a key signs only when no cache can still deny its record",
            Rule::FreshLook => "the record is looked at again in the run that switches",
            Rule::HoldBeforeUse => "a host is told to sign with a key only after it proved to hold it",
            Rule::CommitFirst => "that a key may sign is written down before a table changes",
            Rule::EveryHostProves => "a key has stopped signing only when every host proved to sign with its successor",
            Rule::Grace => "a private key is destroyed only after its grace, and never while it may sign",
            Rule::Window => "a record is removed only when no mail that needs it can be under way",
            Rule::StillUsed => "a key that is still used keeps its record",
            Rule::FreeSlot => "a selector gets a new key only when no server and no cache has an older one",
            Rule::SavedMaxima => "waits follow the longest TTL that a name ever carried",
            Rule::UnknownIsNotMissing => "what could not be asked is not taken for an answer",
            Rule::OursOnly => "only a value whose key is in the ledger is changed or removed",
            Rule::ReadBack => "a write counts when it was read back",
            Rule::TwoClocks => "nothing is dated, signs, is destroyed or removed while another clock disagrees",
        }
    }
}

/// A step that would break a rule. It is not performed; the domain stops, and the others go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused, because {}", rule.sentence())]
pub struct Broken {
    pub rule: Rule,
}

/// Whether `step` may be performed now.
pub fn check(now: Now<'_>, step: &Step) -> Result<(), Broken> {
    let must = |rule: Rule, holds: bool| match now.settings.policy.holds(rule, holds) {
        true => Ok(()),
        false => Err(Broken { rule }),
    };
    let phase = |key: &Fingerprint| now.ledger.key(key).map(|(phase, _)| phase);
    let clocks = !matches!(now.seen.clock, Witness::Disagrees(_));
    match step {
        Step::Generate { selector, .. } => {
            let taken = now.ledger.keys().any(|(phase, key)| key.selector == *selector && phase != Phase::Gone);
            must(Rule::FreeSlot, !taken)
        }
        Step::Publish { key, seen, text, .. } => {
            let alone = match seen {
                View::Absent => true,
                View::Txt { texts, .. } => texts.iter().all(|t| t == text),
                _ => false,
            };
            must(Rule::OursOnly, alone && phase(key).is_some_and(|p| p < Phase::Active))
        }
        Step::Switch { key, .. } => {
            must(Rule::CommitFirst, phase(key).is_some_and(|p| matches!(p, Phase::Switching | Phase::Active)))
        }
        Step::Record(Fact::Committed { key }) => {
            let Some((_, record)) = now.ledger.key(key) else {
                return Err(Broken { rule: Rule::OursOnly });
            };
            let name = record.record_name(&now.ledger.domain);
            let exact = [record.record()];
            let shown = |provider| now.seen.view(&name, provider).is_some_and(|view| view.texts() == exact);
            must(Rule::FreshLook, now.settings.providers.iter().all(shown))?;
            let sweep = now.seen.sweep(&name);
            let verdict = sweep.map(|sweep| sweep.verdict(&record.record()));
            let unknown = matches!(verdict, Some(Verdict::Unknown { .. }));
            must(Rule::UnknownIsNotMissing, !unknown)?;
            if !unknown {
                let lenient = now.settings.policy.holds(Rule::EveryServer, false);
                must(Rule::FreshLook, lenient || verdict == Some(Verdict::Match))?;
            }
            let caches = now.ledger.maxima(&record.selector).longest(&now.settings.policy);
            let seen = now.ledger.lines.values().find_map(|line| match &line.incoming {
                Some(Incoming::Propagated(p)) if p.key.fingerprint == *key => Some(p.seen),
                _ => None,
            });
            must(Rule::Caches, seen.is_some_and(|seen| now.at >= seen + caches))?;
            must(Rule::HoldBeforeUse, now.settings.hosts.iter().all(|h| record.delivered.contains_key(h)))?;
            must(Rule::TwoClocks, clocks)
        }
        Step::Record(Fact::Activated { key }) => {
            let all = now.ledger.lines.values().any(|line| match &line.incoming {
                Some(Incoming::Switching(s)) => {
                    s.key.fingerprint == *key && now.settings.hosts.iter().all(|h| s.signing.contains_key(h))
                }
                _ => false,
            });
            must(Rule::EveryHostProves, all)
        }
        Step::Record(Fact::Withdrawing { key }) => {
            must(Rule::Window, window_over(now, key))?;
            must(Rule::TwoClocks, clocks)
        }
        Step::Wipe { key, .. } | Step::Shred { key } => {
            must(Rule::Grace, grace_over(now, key))?;
            must(Rule::TwoClocks, clocks || phase(key) != Some(Phase::Retiring))
        }
        Step::Empty { key, seen, .. } => {
            let alone = keys_in(seen.texts()).iter().all(|other| other == key);
            must(Rule::OursOnly, alone && phase(key) == Some(Phase::Revoked))
        }
        Step::Withdraw { key, text, .. } => {
            let Some((phase, record)) = now.ledger.key(key) else {
                return Err(Broken { rule: Rule::OursOnly });
            };
            let ours = *text == record.revocation() || keys_in(std::slice::from_ref(text)).contains(key);
            must(Rule::OursOnly, ours)?;
            must(Rule::Window, phase == Phase::Withdrawn)
        }
        Step::Record(_) | Step::Deliver { .. } | Step::TurnBack { .. } => Ok(()),
    }
}

fn window_over(now: Now<'_>, key: &Fingerprint) -> bool {
    let policy = &now.settings.policy;
    now.ledger.lines.values().flat_map(|line| &line.outgoing).any(|outgoing| match outgoing {
        Outgoing::Retiring(r) => r.key.fingerprint == *key && now.at >= r.stopped + policy.window,
        Outgoing::Revoked(r) => r.key.fingerprint == *key && now.at >= r.since + policy.revoked_retention,
        _ => false,
    })
}

fn grace_over(now: Now<'_>, key: &Fingerprint) -> bool {
    let outgoing = now.ledger.lines.values().flat_map(|line| &line.outgoing).find(|o| o.key().fingerprint == *key);
    match outgoing {
        Some(Outgoing::Retiring(r)) => now.at >= r.stopped + now.settings.policy.rollback_grace,
        Some(_) => true,
        None => false,
    }
}
