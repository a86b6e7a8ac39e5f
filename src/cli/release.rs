use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::WriteState;
use super::request;
use super::shell::Shell;

/// End a hold; the next `advance` goes on where it stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl release example.com")]
pub struct Args {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    shell.one(&config, &args.domain)?;
    let mut state = WriteState::open(shell, &config, "release")?;
    if state.store.load(&args.domain)?.ledger.hold.is_none() {
        shell.say(format_args!("{} is not held", args.domain));
        return Ok(Exit::Ok);
    }
    request::commit(shell, &mut state.store, &args.domain, vec![Fact::Released])?;
    shell.say(format_args!("{} is released; dkimctl advance goes on", args.domain));
    Ok(Exit::Ok)
}
