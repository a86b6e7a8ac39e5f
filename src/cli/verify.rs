use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key, Ledger, Phase};
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::Store;

use super::error::{Error, Exit};
use super::machine::{self, ReadState, WriteState, sweeper};
use super::request;
use super::shell::Shell;
use crate::config::Config;
use crate::drift;
use crate::observe::Sweeper;
use crate::report::verify::{Finding, Outcome, Record, VerifyReport};

/// Compare the live records with the state
///
/// Every address of every authoritative name server is asked for every record that ought to stand, and so is every
/// provider that holds one. Exits with 3 if one is wrong, with 4 if none is wrong but somebody could not be asked: unknown
/// is never taken for missing. Selectors that nobody here knows are named, where a provider can list its names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl verify
  dkimctl verify example.com --json
  dkimctl verify --repair               write again what is missing at a provider; what was changed stays")]
pub struct Args {
    /// The domains [default: all]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// Write again what is missing at a provider
    #[arg(long, conflicts_with = "servers_only")]
    repair: bool,
    /// Ask the name servers only: needs no credentials
    #[arg(long)]
    servers_only: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let state = ReadState::open(shell, &config)?;
    let mut report = VerifyReport::default();
    let mut wanted = Vec::new();
    let mut domains = Vec::new();
    for settings in shell.settings(&config, &args.domains)? {
        let ledger = state.0.load(&settings.domain)?.ledger;
        for (phase, key) in ledger.keys() {
            if let Some(text) = standing(phase, key) {
                let name = key.record_name(&ledger.domain);
                wanted.push((ledger.domain.clone(), key.selector.clone(), phase, name, text));
            }
        }
        if ledger.keys().next().is_some() {
            domains.push((settings, ledger));
        }
    }
    let names: Vec<_> = wanted.iter().map(|(.., name, _)| name.clone()).collect();
    let sweeper = sweeper(&config.observe);
    if !args.servers_only && !domains.is_empty() {
        let repair = args.repair.then(|| WriteState::open(shell, &config, "verify --repair")).transpose()?;
        at_providers(shell, &config, &*sweeper, &domains, repair, &mut report)?;
    }
    let sweeps = if names.is_empty() { Vec::new() } else { sweeper.sweep(&names, shell.now()) };
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

/// What the providers hold. Whoever repairs has the state to himself meanwhile.
fn at_providers(
    shell: &Shell,
    config: &Config,
    sweeper: &dyn Sweeper,
    domains: &[(Settings, Ledger)],
    repair: Option<WriteState>,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let dns = machine::dns_as_far_as_possible(config);
    let subjects: Vec<_> = domains.iter().map(|(settings, ledger)| drift::Subject { settings, ledger }).collect();
    let (held, restored) = drift::compare(&dns, sweeper, &subjects, repair.is_some());
    report.providers = held;
    report.unknown_selectors = drift::strangers(&dns, &subjects);
    if let Some(mut state) = repair {
        for (domain, key, provider) in restored {
            request::commit(shell, &mut state.store, &domain, vec![Fact::Written { key, provider }])?;
        }
    }
    Ok(())
}

/// What the record of a key in this phase ought to say; `None` where there ought to be none.
fn standing(phase: Phase, key: &Key) -> Option<TxtText> {
    match phase {
        Phase::Sealed | Phase::Withdrawn | Phase::Gone => None,
        Phase::Revoked => Some(key.revocation()),
        Phase::Published | Phase::Propagated | Phase::Switching | Phase::Active | Phase::Retiring => Some(key.record()),
    }
}
