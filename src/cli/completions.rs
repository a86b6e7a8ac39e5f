use clap::CommandFactory as _;
use clap_complete::Shell as Kind;

use super::Cli;
use super::error::{Error, Exit};
use super::shell::Shell;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl completions bash > /etc/bash_completion.d/dkimctl
  dkimctl completions zsh > \"${fpath[1]}/_dkimctl\"")]
pub struct Args {
    shell: Kind,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "dkimctl", &mut script);
    shell.print_bytes(&script)?;
    Ok(Exit::Ok)
}
