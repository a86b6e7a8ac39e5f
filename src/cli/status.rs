use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::ReadState;
use super::shell::Shell;
use crate::report::status::StatusReport;

/// Show where every key stands, what comes next, when, and who must act
///
/// Told from the state alone: nobody is asked. The most urgent line comes first, the last line is the next command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl status
  dkimctl status example.com -v         with the keys that are gone
  dkimctl status --json | jq '.rows[] | select(.who == \"operator\")'")]
pub struct Args {
    /// The domains [default: all]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let state = ReadState::open(shell, &config)?;
    let mut report = StatusReport::new(shell.now());
    for settings in shell.settings(&config, &args.domains)? {
        let ledger = state.0.load(&settings.domain)?.ledger;
        report.add(&settings, &ledger, shell.global.verbose > 0);
    }
    shell.show(&report.finish())?;
    Ok(Exit::Ok)
}
