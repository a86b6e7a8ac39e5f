use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::Store;

use super::all;
use super::orphans::{orphans, remove};
use crate::cli::error::{Error, Exit};
use crate::cli::machine::{ReadState, WriteState};
use crate::cli::shell::Shell;
use crate::config::Config;
use crate::report::secrets::{ListReport, Listed};
use crate::vault::AgeVault;

/// Show every private key: whether it lies sealed here, and which hosts proved to hold it or to have destroyed it
///
/// Exits with 3 if the sealed half of a live key is missing or changed. A blob that no key of the state belongs to is
/// an orphan: of a run that crashed before its key was recorded, or of another state.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl secrets list
  dkimctl secrets list example.com --json
  dkimctl secrets list --remove-orphans")]
pub struct Args {
    /// The domains [default: all, and orphans]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// Destroy orphans that a crash of this state left; others stay, and why is said
    #[arg(long, conflicts_with = "domains")]
    remove_orphans: bool,
    /// Do not ask
    #[arg(long, requires = "remove_orphans")]
    yes: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let vault = || AgeVault::open(&config.state, Vec::new());
    let report = if args.remove_orphans {
        // Nobody seals a key between this look and the end.
        let state = WriteState::open(shell, &config, "secrets list --remove-orphans")?;
        let vault = vault()?;
        let mut report = look(shell, &config, &state.store, &vault, &args.domains)?;
        remove(shell, &vault, &mut report.orphans, args.yes)?;
        report
    } else {
        let state = ReadState::open(shell, &config)?;
        look(shell, &config, &state.0, &vault()?, &args.domains)?
    };
    shell.show(&report)?;
    Ok(if report.is_whole() { Exit::Ok } else { Exit::ChecksFailed })
}

fn look(
    shell: &Shell,
    config: &Config,
    store: &dyn Store,
    vault: &AgeVault,
    domains: &[SigningDomain],
) -> Result<ListReport, Error> {
    let loaded = match domains {
        [] => all(store)?,
        some => some.iter().map(|domain| store.load(domain)).collect::<Result<_, _>>()?,
    };
    let mut report = ListReport::default();
    for loaded in &loaded {
        for (phase, key) in loaded.ledger.keys() {
            if phase != Phase::Gone || shell.global.verbose > 0 {
                let held = vault.holds(&key.fingerprint, &key.blob_sha256)?;
                report.keys.push(Listed::new(loaded.ledger.domain.clone(), phase, key, held));
            }
        }
    }
    if domains.is_empty() {
        report.orphans = orphans(config, store, vault, &loaded)?;
    }
    Ok(report)
}
