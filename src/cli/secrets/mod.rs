//! Where private keys rest, and how they travel. [`write`] is for CI and needs neither configuration nor state; the
//! others look after the vault of the secure host.

mod write;

use super::error::{Error, Exit};
use super::shell::Shell;

/// Deliver private keys to signers, and look after those that are sealed
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Write(write::Args),
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.command {
        Command::Write(args) => write::run(shell, args),
    }
}
