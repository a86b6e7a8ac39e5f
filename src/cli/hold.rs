use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::request::Hold;
use dkimctl_state::name::SigningDomain;

use super::error::{Error, Exit};
use super::machine::WriteState;
use super::request;
use super::shell::Shell;

/// Stop everything for a domain until it is released
///
/// Keys keep signing and records stay. Only a switch that failed is still turned back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl hold example.com --reason \"moving the zone to another host this week\"")]
pub struct Args {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// Why; everybody who meets the hold reads it
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    shell.one(&config, &args.domain)?;
    let mut state = WriteState::open(shell, &config, "hold")?;
    let hold = Hold { since: shell.now(), by: shell.actor(), reason: args.reason };
    request::commit(shell, &mut state.store, &args.domain, vec![Fact::Held { hold }])?;
    shell.say(format_args!("{} is held; dkimctl release {} ends it", args.domain, args.domain));
    Ok(Exit::Ok)
}
