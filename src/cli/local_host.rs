//! The host's side on this machine: `host apply`, and the secure host's own signer.

use std::path::Path;

use super::error::Error;
use super::machine::sweeper;
use crate::clock::SystemClock;
use crate::files::Owner;
use crate::host::run::{Applied, run};
use crate::host::settings::HostSettings;
use crate::signers::opendkim::OpenDkim;

/// Reads the outbox that `host.toml` names, carries it out, leaves a receipt. `retry` tries a refused key once more.
pub fn apply(file: &Path, retry: bool) -> Result<Applied, Error> {
    let settings = HostSettings::load(file)?;
    let signer = OpenDkim::open(settings.signer.clone()).map_err(|error| Error::new(error.to_string()))?;
    let user = signer.identity();
    let owner = user.gids.first().map(|gid| Owner { uid: user.uid, gid: *gid });
    let sweeper = sweeper(&settings.observe);
    Ok(run(&settings, &signer, owner, &*sweeper, &SystemClock, retry)?)
}
