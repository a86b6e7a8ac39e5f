//! The host's side on this machine: `host apply`, and the secure host's own signer.

use std::path::Path;

use super::error::Error;
use super::machine::sweeper;
use crate::clock::SystemClock;
use crate::files::Owner;
use crate::host::run::{self, Applied, DeliveredKey};
use crate::host::settings::HostSettings;
use crate::signers::Signer;

/// Reads the outbox that `host.toml` names, carries it out, leaves a receipt. `retry` tries a refused key once more.
pub fn apply(file: &Path, retry: bool) -> Result<Applied, Error> {
    let settings = HostSettings::load(file)?;
    let (signer, owner) = signer(&settings)?;
    let sweeper = sweeper(&settings.observe);
    Ok(run::run(&settings, &*signer, owner, &*sweeper, &SystemClock, retry)?)
}

/// Puts the keys of the outbox where the signer opens them, and does no more.
pub fn deliver_keys(file: &Path) -> Result<Vec<DeliveredKey>, Error> {
    let settings = HostSettings::load(file)?;
    let (_, owner) = signer(&settings)?;
    Ok(run::deliver_keys(&settings, owner, &SystemClock)?)
}

/// The signer, and whose the keys are to be.
fn signer(settings: &HostSettings) -> Result<(Box<dyn Signer>, Option<Owner>), Error> {
    let signer = settings.signer.open().map_err(|error| Error::new(error.to_string()))?;
    let owner = signer.key_owner().map(|(uid, gid)| Owner { uid, gid });
    Ok((signer, owner))
}
