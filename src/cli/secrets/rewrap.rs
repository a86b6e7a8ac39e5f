use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::store::{Change, Event, Loaded, Store};

use super::{all, confirm, deliver, live, passphrase};
use crate::cli::drive::BATCH;
use crate::cli::error::{Error, Exit};
use crate::cli::machine::WriteState;
use crate::cli::shell::Shell;
use crate::report::secrets::{Resealed, RewrapReport};
use crate::sealing::{Identities, OpenError};
use crate::secrets::rewrap::{seal_beside, settle};
use crate::vault::AgeVault;

/// Seal every live key to the recipients that are configured now
///
/// After a recipient joined, left or was replaced in dkimctl.toml. The outboxes are written anew. Who left can still
/// open old copies, so rotate what was sealed to him. Interrupted at any instant, the same command goes on; keys that
/// are sealed so already are left alone.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl secrets rewrap --identity /etc/dkimctl/operator.identity
  dkimctl secrets rewrap --identity /media/stick/break-glass.age --yes")]
pub struct Args {
    /// What opens the blobs as they are: an identity, or one with a passphrase, which is asked for
    #[arg(long, value_name = "FILE")]
    identity: PathBuf,
    /// Read its passphrase from the first line of this file, mode 0600
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let mut state = WriteState::open(shell, &config, "secrets rewrap")?;
    let vault = AgeVault::open(&config.state, config.secrets.all_recipients()?)?;
    let loaded = all(&state.store)?;
    // What an earlier run began.
    settle(&vault, loaded.iter().flat_map(live).map(|key| (&key.fingerprint, &*key.blob_sha256)))?;

    let done = sealed_so_far(&state.store)?;
    let sealed_to = vault.sealed_to();
    let is_done =
        |key: &Fingerprint, sha256: &str| done.get(key).is_some_and(|(blob, to)| blob == sha256 && *to == sealed_to);
    let left = loaded.iter().flat_map(live).filter(|key| !is_done(&key.fingerprint, &key.blob_sha256)).count();
    let mut report = RewrapReport::new(vault.recipients());
    let identities = match left {
        0 => None,
        left => {
            let to = report.recipients.join("\n  ");
            confirm(shell, args.yes, format_args!("{left} keys are sealed again, to these and nobody else:\n  {to}"))?;
            Some(open(shell, &args.identity, args.passphrase_file.as_deref())?)
        }
    };
    for batch in loaded.chunks(BATCH) {
        let keys = || batch.iter().flat_map(live);
        let wanted: Vec<Fingerprint> =
            keys().filter(|key| !is_done(&key.fingerprint, &key.blob_sha256)).map(|key| key.fingerprint).collect();
        let mut sealed = BTreeMap::new();
        if let Some(identities) = identities.as_ref().filter(|_| !wanted.is_empty()) {
            sealed.extend(wanted.iter().copied().zip(seal_beside(&vault, identities, &wanted)?));
        }
        let blobs: BTreeMap<Fingerprint, String> =
            sealed.iter().filter_map(|(key, sealed)| Some((*key, sealed.as_ref().ok()?.blob_sha256.clone()))).collect();
        commit(shell, &mut state.store, batch, &blobs, &sealed_to)?;
        settle(&vault, blobs.iter().map(|(key, sha256)| (key, &**sha256)))?;
        for loaded in batch {
            report.keys.extend(
                live(loaded)
                    .map(|key| Resealed::new(loaded.ledger.domain.clone(), key, sealed.remove(&key.fingerprint))),
            );
        }
    }
    let hosts: Vec<_> = config.signers.keys().cloned().collect();
    report.outboxes = deliver::deliver(shell, &config, &mut state, &hosts)?;
    shell.show(&report)?;
    Ok(if report.is_complete() { Exit::Ok } else { Exit::Failed })
}

/// The newest sealing that the log has of each key, and to whom.
fn sealed_so_far(store: &dyn Store) -> Result<BTreeMap<Fingerprint, (String, String)>, Error> {
    let mut newest = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = store.events(None, after, BATCH)?;
        let Some(last) = page.last() else { return Ok(newest) };
        after = last.seq;
        for logged in page {
            if let Fact::Resealed { key, blob_sha256, sealed_to } = logged.event.fact {
                newest.insert(key, (blob_sha256, sealed_to));
            }
        }
    }
}

/// From here on the new blobs are those that count.
fn commit(
    shell: &Shell,
    store: &mut dyn Store,
    batch: &[Loaded],
    blobs: &BTreeMap<Fingerprint, String>,
    sealed_to: &str,
) -> Result<(), Error> {
    let (at, actor) = (shell.now(), shell.actor());
    let mut changes = Vec::new();
    for loaded in batch {
        let mut ledger = loaded.ledger.clone();
        let mut events = Vec::new();
        for key in live(loaded) {
            let Some(blob_sha256) = blobs.get(&key.fingerprint).cloned() else { continue };
            let fact = Fact::Resealed { key: key.fingerprint, blob_sha256, sealed_to: sealed_to.to_owned() };
            ledger.record(&fact, at).map_err(|error| Error::new(format!("{}: {error}", ledger.domain)))?;
            events.push(Event { at, actor: actor.clone(), fact });
        }
        if !events.is_empty() {
            changes.push(Change { ledger, revision: loaded.revision, wake: loaded.wake, events });
        }
    }
    if !changes.is_empty() {
        store.commit(&changes)?;
    }
    Ok(())
}

fn open(shell: &Shell, file: &Path, passphrase_file: Option<&Path>) -> Result<Identities, Error> {
    match Identities::from_file(file) {
        Err(OpenError::Encrypted(_)) => {
            let passphrase = passphrase::known(shell, passphrase_file, file)?;
            Ok(Identities::from_encrypted_file(file, &passphrase)?)
        }
        opened => Ok(opened?),
    }
}
