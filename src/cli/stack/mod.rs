use super::error::{Error, Exit};
use super::shell::Shell;

mod init;

/// Write a mail host for containers: Postfix and a signer, ready for rotation
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant)] // made once, from the command line
enum Command {
    Init(init::Args),
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.command {
        Command::Init(args) => init::run(shell, args),
    }
}
