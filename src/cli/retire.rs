use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::request::Intent;
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::WriteState;
use super::shell::Shell;
use super::{advance, drive, request};
use crate::report::run::RunReport;

/// Destroy old private keys and remove old records whose time has come
///
/// The same loop as `advance`, by the name under which cron knows it. Nothing is removed before its window has passed.
/// With --overrule, a key that somebody was still seen to use is retired when its window has passed all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  17 * * * * dkimctl retire                                     in a crontab
  dkimctl retire example.com --selector s1 --overrule           it is known who still uses s1, and it may break")]
pub struct Args {
    /// The domain
    #[arg(value_name = "DOMAIN", requires = "selector")]
    domain: Option<SigningDomain>,
    /// The key, by its selector
    #[arg(long, value_name = "SELECTOR", requires = "overrule", requires = "domain")]
    selector: Option<Selector>,
    /// Do not keep it for those who still use it
    #[arg(long, requires = "selector")]
    overrule: bool,
    /// Why; goes to the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let (Some(domain), Some(selector)) = (&args.domain, &args.selector) else {
        return advance::due(shell, &config, "retire");
    };
    let settings = shell.one(&config, domain)?;
    let mut state = WriteState::open(shell, &config, "retire")?;
    let ledger = state.store.load(domain)?.ledger;
    let (phase, key) = request::key_of(&ledger, selector)?;
    if phase != Phase::Retiring {
        let sentence = format!("{selector} of {domain} is {phase}, and only a retiring key can be overruled");
        return Err(Error::usage(sentence).hint(format!("dkimctl status {domain}")));
    }
    let intent = Intent::Retire { key: key.fingerprint };
    let fact = request::asked(shell, key.algorithm, intent, &args.reason);
    request::commit(shell, &mut state.store, domain, vec![fact])?;
    let mut report = RunReport::default();
    drive::once(shell, &config, &mut state, &[settings], &mut report)?;
    drive::tell(shell, &report)
}
