//! Writes down what an operator asks. From then on the loop obeys it, whoever runs it.

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key, Ledger, Phase};
use dkimctl_state::lifecycle::request::{Intent, Request};
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::Algorithm;
use dkimctl_state::store::{Change, Event, Store};

use super::error::Error;
use super::shell::Shell;

/// Asks for `intent` in one line of a domain.
pub fn asked(shell: &Shell, algorithm: Algorithm, intent: Intent, reason: &Option<String>) -> Fact {
    let request = Request { intent, asked: shell.now(), by: shell.actor(), reason: reason.clone() };
    Fact::Asked { algorithm, request }
}

/// Commits facts about one domain, which is planned again at once.
pub fn commit(shell: &Shell, store: &mut dyn Store, domain: &SigningDomain, facts: Vec<Fact>) -> Result<(), Error> {
    commit_all(shell, store, vec![(domain.clone(), facts)])
}

/// Commits facts about many domains in one transaction.
pub fn commit_all(shell: &Shell, store: &mut dyn Store, facts: Vec<(SigningDomain, Vec<Fact>)>) -> Result<(), Error> {
    let (at, actor) = (shell.now(), shell.actor());
    let mut changes = Vec::new();
    for (domain, facts) in facts.into_iter().filter(|(_, facts)| !facts.is_empty()) {
        let loaded = store.load(&domain)?;
        let mut ledger = loaded.ledger;
        for fact in &facts {
            ledger.record(fact, at).map_err(|error| Error::new(format!("{domain}: {error}")))?;
        }
        let events = facts.into_iter().map(|fact| Event { at, actor: actor.clone(), fact }).collect();
        changes.push(Change { ledger, revision: loaded.revision, wake: Some(at), events });
    }
    if !changes.is_empty() {
        store.commit(&changes)?;
    }
    Ok(())
}

/// The living key of a selector.
pub fn key_of<'l>(ledger: &'l Ledger, selector: &Selector) -> Result<(Phase, &'l Key), Error> {
    let living = || ledger.keys().filter(|(phase, _)| *phase != Phase::Gone);
    living().find(|(_, key)| key.selector == *selector).ok_or_else(|| {
        let known: Vec<String> = living().map(|(phase, key)| format!("{} ({phase})", key.selector)).collect();
        let known = if known.is_empty() { "it has no key".to_owned() } else { known.join(", ") };
        Error::usage(format!("{} has no key with the selector {selector}: {known}", ledger.domain))
            .hint(format!("dkimctl status {}", ledger.domain))
    })
}
