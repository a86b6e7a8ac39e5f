//! `receipt import`: what the mail hosts proved becomes facts.

use std::collections::BTreeSet;

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::store::{Change, Event, Store, StoreError};

use crate::post::{Outboxes, PostError, proved};

/// What an import changed.
#[derive(Debug, Default)]
pub struct Imported {
    /// How many receipts were read and believed.
    pub receipts: usize,
    pub facts: Vec<(SigningDomain, Fact)>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the receipts of a host, for `only` these domains or for all. A domain that something was proved about is due at once. Twice is once.
pub fn import(
    store: &mut dyn Store,
    outboxes: &Outboxes<'_>,
    host: &Label,
    only: Option<&BTreeSet<&SigningDomain>>,
    actor: &str,
) -> Result<Imported, ImportError> {
    let mailbox = outboxes.hosts.get(host).ok_or_else(|| PostError::NoSuchHost(host.clone()))?;
    let receipts = outboxes.receipts(host, mailbox)?;
    let mut imported = Imported { receipts: receipts.len(), facts: Vec::new() };
    let mut changes = Vec::new();
    for order in outboxes.orders(mailbox) {
        if only.is_some_and(|only| !only.contains(&order.domain)) {
            continue;
        }
        let loaded = store.load(&order.domain)?;
        let at = outboxes.clock.now();
        let mut ledger = loaded.ledger.clone();
        let mut events = Vec::new();
        for fact in proved(host, &loaded.ledger, &order, &receipts) {
            let before = ledger.clone();
            if ledger.record(&fact, at).is_ok() && !ledger.says_the_same(&before) {
                imported.facts.push((order.domain.clone(), fact.clone()));
                events.push(Event { at, actor: actor.to_owned(), fact });
            } else {
                ledger = before;
            }
        }
        if !events.is_empty() {
            changes.push(Change { ledger, revision: loaded.revision, wake: Some(at), events });
        }
    }
    store.commit(&changes)?;
    Ok(imported)
}
