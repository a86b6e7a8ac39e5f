use std::collections::BTreeSet;

use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::Store;

use super::drive;
use super::error::{Error, Exit};
use super::machine::{ReadState, WriteState};
use super::rotate::{all, rotated};
use super::shell::Shell;
use crate::config::Config;
use crate::report::run::RunReport;

/// Do whatever is due, for cron: silent when nothing is
///
/// Without a domain it takes those whose time has come, from an index; with nothing due it asks nobody and writes
/// nothing. With a domain it looks at that one now.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  */5 * * * * dkimctl advance           in a crontab
  dkimctl advance example.com           look at one domain now
  dkimctl advance example.com --wait    stay until nothing is on its way; safe to interrupt")]
pub struct Args {
    /// The domains [default: those that are due]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// Stay until no key is on its way any more
    #[arg(long, requires = "domains")]
    wait: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    if args.domains.is_empty() {
        return due(shell, &config, "advance");
    }
    let settings = shell.settings(&config, &args.domains)?;
    if args.wait {
        let settled = |store: &dyn Store| all(store, &settings, rotated);
        return drive::until_settled(shell, &config, &settings, "advance --wait", settled);
    }
    let mut state = WriteState::open(shell, &config, "advance")?;
    let mut report = RunReport::default();
    drive::once(shell, &config, &mut state, &settings, &mut report)?;
    drive::tell(shell, &config, &report)
}

/// More domains than anybody has: what is due is one fleet, of which a few go first.
const FLEET: usize = 10_000_000;

/// Advances every domain whose time has come.
pub fn due(shell: &Shell, config: &Config, verb: &str) -> Result<Exit, Error> {
    let mut report = RunReport::default();
    if ReadState::open(shell, config)?.0.due(shell.now(), 1)?.is_empty() {
        return drive::tell_changes(shell, &report);
    }
    let mut state = WriteState::open(shell, config, verb)?;
    // Those that were taken are not taken again in this run, whatever became of them.
    let mut taken: BTreeSet<SigningDomain> = BTreeSet::new();
    let mut lost: Vec<SigningDomain> = Vec::new();
    loop {
        let mut due = state.store.due(shell.now(), FLEET)?;
        due.retain(|domain| !taken.contains(domain));
        if due.is_empty() {
            break;
        }
        let configured: Vec<Settings> = due.iter().filter_map(|domain| config.settings(domain)).collect();
        lost.extend(due.iter().filter(|domain| !config.domains.contains(domain)).cloned());
        taken.extend(due);
        drive::once(shell, config, &mut state, &configured, &mut report)?;
        if report.stopped.is_some() {
            break;
        }
    }
    let exit = drive::tell_changes(shell, &report)?;
    for domain in &lost {
        let sentence = format!("{domain} has keys in the state, but is not in {}", config.path.display());
        shell
            .error(sentence, &["add it again: its records are neither watched nor removed while it is missing".into()]);
    }
    Ok(if lost.is_empty() { exit } else { Exit::Failed })
}
