use dkimctl_state::lifecycle::ledger::{Line, Phase};
use dkimctl_state::lifecycle::request::Intent;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::WriteState;
use super::shell::Shell;
use super::{drive, request};
use crate::report::run::RunReport;

/// Go back to the previous key, or give up a rotation that has not ended
///
/// Possible while the previous private key is kept: 72 hours by default (`rollback_grace`).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl rollback example.com --reason \"the new key breaks at a receiver\"")]
pub struct Args {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// Why; goes to the log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let settings = shell.one(&config, &args.domain)?;
    let mut state = WriteState::open(shell, &config, "rollback")?;
    let ledger = state.store.load(&args.domain)?.ledger;
    let lines = ledger.lines.iter().filter(|(_, line)| has_way_back(line));
    let facts: Vec<_> =
        lines.map(|(algorithm, _)| request::asked(shell, *algorithm, Intent::Rollback, &args.reason)).collect();
    if facts.is_empty() {
        let sentence = format!("{} has no earlier key left to go back to", args.domain);
        return Err(Error::new(sentence).hint(format!("dkimctl rotate {}", args.domain)));
    }
    request::commit(shell, &mut state.store, &args.domain, facts)?;
    let mut report = RunReport::default();
    drive::once(shell, &config, &mut state, &[settings], &mut report)?;
    drive::tell(shell, &report)
}

/// A rotation that has not ended, or a retiring key whose private half is kept.
fn has_way_back(line: &Line) -> bool {
    let kept = |(phase, key): (Phase, &dkimctl_state::lifecycle::ledger::Key)| {
        phase == Phase::Retiring && key.shredded.is_none() && key.wiped.is_empty()
    };
    line.incoming.is_some() || line.keys().any(kept)
}
