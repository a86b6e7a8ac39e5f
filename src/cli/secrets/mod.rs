//! Where private keys rest, and how they travel. [`write`] is for CI and needs neither configuration nor state; the
//! others look after the vault of the secure host.

mod deliver;
mod identity;
mod list;
mod orphans;
mod passphrase;
mod rewrap;
mod write;

use dkimctl_state::lifecycle::ledger::{Key, Phase};
use dkimctl_state::store::{Loaded, Store, StoreError};

use super::drive;
use super::error::{Error, Exit};
use super::shell::Shell;

/// Deliver private keys to signers, and look after those that are sealed
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant)] // made once, from the command line
enum Command {
    Write(write::Args),
    List(list::Args),
    Rewrap(rewrap::Args),
    Deliver(deliver::Args),
    Identity(identity::Args),
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.command {
        Command::Write(args) => write::run(shell, args),
        Command::List(args) => list::run(shell, args),
        Command::Rewrap(args) => rewrap::run(shell, args),
        Command::Deliver(args) => deliver::run(shell, args),
        Command::Identity(args) => identity::run(shell, args),
    }
}

/// Every domain that the state knows, whether or not it is configured any more.
fn all(store: &dyn Store) -> Result<Vec<Loaded>, StoreError> {
    let mut all: Vec<Loaded> = Vec::new();
    loop {
        let page = store.domains(all.last().map(|loaded| &loaded.ledger.domain), drive::BATCH)?;
        if page.is_empty() {
            return Ok(all);
        }
        for domain in page {
            all.push(store.load(&domain)?);
        }
    }
}

/// The keys whose sealed private half has to be there.
fn live(loaded: &Loaded) -> impl Iterator<Item = &Key> {
    let keys = loaded.ledger.keys().filter(|(phase, key)| *phase != Phase::Gone && key.shredded.is_none());
    keys.map(|(_, key)| key)
}

/// States what is about to happen, and has it confirmed.
fn confirm(shell: &Shell, yes: bool, what: impl std::fmt::Display) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    shell.say(what);
    if !shell.is_interactive() {
        return Err(Error::usage("nobody is here to confirm it").hint("add --yes if it is meant"));
    }
    match shell.ask("type yes to go on:")? == "yes" {
        true => Ok(()),
        false => Err(Error::new("not confirmed; nothing was done")),
    }
}
