//! Sealed keys that belong to no key of the state.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use dkimctl_state::store::{Loaded, Store};
use dkimctl_state::time::Time;

use super::confirm;
use crate::cli::error::Error;
use crate::cli::shell::Shell;
use crate::config::Config;
use crate::report::secrets::Orphan;
use crate::secrets::outbox::Outbox;
use crate::vault::{AgeVault, blob_name};

/// Blobs that no ledger knows, and what speaks against removing each.
pub fn orphans(config: &Config, store: &dyn Store, vault: &AgeVault, loaded: &[Loaded]) -> Result<Vec<Orphan>, Error> {
    let known: BTreeSet<String> =
        loaded.iter().flat_map(|loaded| loaded.ledger.keys()).map(|(_, key)| blob_name(&key.fingerprint)).collect();
    // Of any state: the outbox may be all that is left of it.
    let outboxes = config.signers.values().filter_map(|signer| Outbox::open_unverified(&signer.outbox).ok());
    let ordered: BTreeSet<String> = outboxes
        .flat_map(|outbox| outbox.manifest.keys().map(|(_, key)| key.blob.clone()).collect::<Vec<_>>())
        .collect();
    let first = store.events(None, 0, 1)?.first().map(|logged| logged.event.at);
    let newest = loaded.iter().filter_map(|loaded| loaded.ledger.newest).max();
    let mut orphans = Vec::new();
    for blob in vault.names()?.into_iter().filter(|name| !known.contains(name)) {
        let path = vault.path().join(&blob);
        let made = path.metadata().and_then(|seen| seen.modified()).ok();
        let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok()).map(|age| age.as_secs() as i64);
        let kept = kept(ordered.contains(&blob), made.map(Time::from_unix), first, newest);
        orphans.push(Orphan { blob, path, kept: kept.map(str::to_owned), removed: false });
    }
    Ok(orphans)
}

/// Why an orphan is not removed. What a crash of this state left was made after its first event, and before its newest:
/// whatever is older belongs to another state, whatever is newer may belong to a copy of the state that is ahead.
fn kept(ordered: bool, made: Option<Time>, first: Option<Time>, newest: Option<Time>) -> Option<&'static str> {
    match (made, first, newest) {
        _ if ordered => Some("an outbox names it: another state may live by it"),
        (Some(made), Some(first), _) if made < first => Some("older than this state: it belongs to another one"),
        (Some(made), Some(_), Some(newest)) if made < newest => None,
        _ => Some("newer than all that this state knows: it may be of a copy that is ahead"),
    }
}

/// Destroys those that nothing speaks for.
pub fn remove(shell: &Shell, vault: &AgeVault, orphans: &mut [Orphan], yes: bool) -> Result<(), Error> {
    let count = orphans.iter().filter(|orphan| orphan.kept.is_none()).count();
    if count == 0 {
        return Ok(());
    }
    confirm(shell, yes, format_args!("{count} sealed keys that nobody knows are destroyed; it cannot be undone"))?;
    for orphan in orphans.iter_mut().filter(|orphan| orphan.kept.is_none()) {
        orphan.removed = vault.directory().shred(&orphan.blob)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_crash_of_this_state_left_is_removed() {
        let t = Time::from_unix;
        let (first, newest) = (Some(t(100)), Some(t(200)));
        assert_eq!(kept(false, Some(t(150)), first, newest), None);
        for (ordered, made, first) in [
            (true, Some(t(150)), first),
            (false, Some(t(99)), first),
            (false, Some(t(200)), first),
            (false, None, first),
            (false, Some(t(150)), None),
        ] {
            assert!(kept(ordered, made, first, newest).is_some(), "{ordered} {made:?} {first:?}");
        }
    }
}
