use std::path::PathBuf;

use clap::CommandFactory as _;

use super::Cli;
use super::error::{Error, Exit};
use super::shell::Shell;

/// Print the manual page, or write the pages of all commands into a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl man | man -l -
  dkimctl man --out /usr/local/share/man/man1")]
pub struct Args {
    /// Write dkimctl.1, dkimctl-rotate.1, ... there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    if let Some(dir) = args.out {
        clap_mangen::generate_to(Cli::command(), &dir)
            .map_err(|error| Error::new(format!("{}: {error}", dir.display())))?;
        return Ok(Exit::Ok);
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(Cli::command()).render(&mut page);
    rendered.map_err(|error| Error::new(error.to_string()))?;
    shell.print_bytes(&page)?;
    Ok(Exit::Ok)
}
