use super::error::{Error, Exit};
use super::shell::Shell;

mod delegate;
mod export;
mod providers;
mod show;

/// Show the records that dkimctl keeps
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(show::Args),
    Export(export::Args),
    Providers(providers::Args),
    Delegate(delegate::Args),
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.command {
        Command::Show(args) => show::run(shell, args),
        Command::Export(args) => export::run(shell, args),
        Command::Providers(args) => providers::run(shell, args),
        Command::Delegate(args) => delegate::run(shell, args),
    }
}
