use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::ReadState;
use super::shell::Shell;
use crate::report::log::LogReport;
use crate::report::words::Selectors;

/// Show what happened, oldest first
///
/// The log is a chain of hashes: `dkimctl state verify` finds a line that was changed or taken out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl log
  dkimctl log example.com --json | jq '.events[] | select(.fact == \"activated\")'")]
pub struct Args {
    /// The domain [default: all]
    #[arg(value_name = "DOMAIN")]
    domain: Option<SigningDomain>,
    /// After this sequence number
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// At most so many lines
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let state = ReadState::open(shell, &config)?;
    let events = state.0.events(args.domain.as_ref(), args.after, args.limit)?;
    let mut selectors = Selectors::default();
    let domains: std::collections::BTreeSet<_> = events.iter().map(|logged| &logged.domain).collect();
    for domain in domains {
        selectors.add(&state.0.load(domain)?.ledger);
    }
    if events.len() == args.limit {
        let last = events.last().map_or(0, |logged| logged.seq);
        shell.say(format_args!("there is more: dkimctl log --after {last}"));
    }
    shell.show(&LogReport::new(events, &selectors))?;
    Ok(Exit::Ok)
}
