use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::request::Intent;
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::WriteState;
use super::shell::Shell;
use super::{drive, request};
use crate::report::run::RunReport;

/// Declare a key known to others: switch to a new one, then empty its record
///
/// A key that signs is replaced first, with a shortened wait and by the spare selector if need be; the moment that no
/// host signs with it any more, `p=` is emptied. Mail that it signed and that is still under way then fails DKIM.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl revoke example.com --selector s1 --reason \"key file in a public image\"
  dkimctl revoke example.com --selector s1 --yes        in a script")]
pub struct Args {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// The key, by its selector
    #[arg(long, value_name = "SELECTOR")]
    selector: Selector,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Why; goes to the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let settings = shell.one(&config, &args.domain)?;
    let mut state = WriteState::open(shell, &config, "revoke")?;
    let ledger = state.store.load(&args.domain)?.ledger;
    let (phase, key) = request::key_of(&ledger, &args.selector)?;
    if phase == Phase::Revoked {
        return Err(Error::usage(format!("{} of {} is revoked already", args.selector, args.domain)));
    }
    confirm(shell, &args, phase)?;
    let intent = Intent::Revoke { key: key.fingerprint };
    let fact = request::asked(shell, key.algorithm, intent, &args.reason);
    request::commit(shell, &mut state.store, &args.domain, vec![fact])?;
    let mut report = RunReport::default();
    drive::once(shell, &config, &mut state, &[settings], &mut report)?;
    drive::tell(shell, &report)
}

/// States the price and has the selector typed.
fn confirm(shell: &Shell, args: &Args, phase: Phase) -> Result<(), Error> {
    let Args { domain, selector, .. } = args;
    if args.yes {
        return Ok(());
    }
    let price = match phase {
        Phase::Active | Phase::Switching | Phase::Retiring => {
            "mail that it signed and that is still under way will fail DKIM, and with it DMARC unless SPF aligns"
        }
        _ => "it has signed nothing yet, so no mail is lost",
    };
    shell.say(format_args!("revoking {selector} of {domain} ({phase}): {price}. It cannot be undone."));
    if !shell.is_interactive() {
        return Err(Error::usage("nobody is here to confirm it").hint("add --yes if it is meant"));
    }
    match shell.ask(&format!("type the selector ({selector}) to go on:"))? == selector.as_str() {
        true => Ok(()),
        false => Err(Error::new("not confirmed; nothing was done")),
    }
}
