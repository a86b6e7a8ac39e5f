use dkimctl_state::lifecycle::ledger::{Key, Phase};
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::{ReadState, sweeper};
use super::shell::Shell;
use crate::report::verify::{Finding, Outcome, Record, VerifyReport};

/// Compare the live records with the state
///
/// Every address of every authoritative name server is asked for every record that ought to stand. Exits with 3 if one
/// is wrong, with 4 if none is wrong but some server could not be asked: unknown is never taken for missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl verify
  dkimctl verify example.com --json")]
pub struct Args {
    /// The domains [default: all]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let state = ReadState::open(shell, &config)?;
    let mut report = VerifyReport::default();
    let mut wanted = Vec::new();
    for settings in shell.settings(&config, &args.domains)? {
        let ledger = state.0.load(&settings.domain)?.ledger;
        for (phase, key) in ledger.keys() {
            if let Some(text) = standing(phase, key) {
                let name = key.record_name(&ledger.domain);
                wanted.push((ledger.domain.clone(), key.selector.clone(), phase, name, text));
            }
        }
    }
    let names: Vec<_> = wanted.iter().map(|(.., name, _)| name.clone()).collect();
    let sweeps = if names.is_empty() { Vec::new() } else { sweeper(&config.observe).sweep(&names, shell.now()) };
    for ((domain, selector, phase, name, text), sweep) in wanted.into_iter().zip(sweeps) {
        let finding = Finding::of(phase, &text, &sweep);
        report.records.push(Record { domain, selector, phase, name, finding });
    }
    shell.show(&report)?;
    if report.records.is_empty() && !shell.global.json {
        shell.say("no record is ours yet");
    }
    Ok(match report.outcome() {
        Outcome::Right => Exit::Ok,
        Outcome::Wrong => Exit::ChecksFailed,
        Outcome::NotChecked => Exit::NotChecked,
    })
}

/// What the record of a key in this phase ought to say; `None` where there ought to be none.
fn standing(phase: Phase, key: &Key) -> Option<TxtText> {
    match phase {
        Phase::Sealed | Phase::Withdrawn | Phase::Gone => None,
        Phase::Revoked => Some(key.revocation()),
        Phase::Published | Phase::Propagated | Phase::Switching | Phase::Active | Phase::Retiring => Some(key.record()),
    }
}
