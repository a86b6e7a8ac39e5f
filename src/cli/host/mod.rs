use super::error::{Error, Exit};
use super::shell::Shell;

mod apply;
mod init;

/// The mail host's side: carry out what lies in the outbox
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant)] // made once, from the command line
enum Command {
    Init(init::Args),
    Apply(apply::Args),
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.command {
        Command::Init(args) => init::run(shell, args),
        Command::Apply(args) => apply::run(shell, args),
    }
}
