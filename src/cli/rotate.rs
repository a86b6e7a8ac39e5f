use dkimctl_state::lifecycle::ledger::Ledger;
use dkimctl_state::lifecycle::request::Intent;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::Store;

use super::drive::{self, BATCH};
use super::error::{Error, Exit};
use super::machine::WriteState;
use super::request;
use super::shell::Shell;
use crate::report::run::RunReport;

/// Make a new key and bring it to sign, by the whole safe path
///
/// A key is made, sealed and published; when every name server has shown it long enough, the mail hosts get it and
/// sign with it; the old key's record goes 30 days later. This command does what can be done now and says what it
/// waits for. `dkimctl advance`, from cron, does the rest.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl rotate example.com
  dkimctl rotate example.com --reason \"six months old\"
  dkimctl rotate example.com --wait     stay until the new key signs; safe to interrupt
  dkimctl rotate --all                  every configured domain")]
pub struct Args {
    /// The domains
    #[arg(required_unless_present = "all", value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// Every configured domain
    #[arg(long, conflicts_with = "domains")]
    all: bool,
    /// Stay until the new keys sign
    #[arg(long)]
    wait: bool,
    /// Why; goes to the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let settings = shell.settings(&config, &args.domains)?;
    let mut state = WriteState::open(shell, &config, "rotate")?;
    for batch in settings.chunks(BATCH) {
        let mut asked = Vec::new();
        for settings in batch {
            let ledger = state.store.load(&settings.domain)?.ledger;
            if let (Some(hold), false) = (&ledger.hold, args.all) {
                let sentence = format!("{} is held by {}: {}", settings.domain, hold.by, hold.reason);
                return Err(Error::new(sentence).hint(format!("dkimctl release {}", settings.domain)));
            }
            let free = settings.slots.keys().filter(|algorithm| {
                let line = ledger.lines.get(algorithm);
                line.is_none_or(|line| line.incoming.is_none() && line.request.is_none())
            });
            let facts: Vec<_> =
                free.map(|algorithm| request::asked(shell, *algorithm, Intent::Rotate, &args.reason)).collect();
            if facts.is_empty() {
                shell.say(format_args!("{}: a rotation is under way already; going on with it", settings.domain));
            }
            asked.push((settings.domain.clone(), facts));
        }
        request::commit_all(shell, &mut state.store, asked)?;
    }
    if args.wait {
        drop(state);
        return drive::until_settled(shell, &config, &settings, "rotate --wait", |store| {
            all(store, &settings, rotated)
        });
    }
    let mut report = RunReport::default();
    drive::once(shell, &config, &mut state, &settings, &mut report)?;
    drive::tell(shell, &report)
}

/// Whether nothing is on its way and nothing is asked.
pub fn rotated(ledger: &Ledger) -> bool {
    ledger.lines.values().all(|line| line.incoming.is_none() && line.request.is_none())
}

pub fn all(
    store: &dyn Store,
    settings: &[Settings],
    done: impl Fn(&Ledger) -> bool,
) -> Result<bool, dkimctl_state::store::StoreError> {
    for settings in settings {
        if !done(&store.load(&settings.domain)?.ledger) {
            return Ok(false);
        }
    }
    Ok(true)
}
