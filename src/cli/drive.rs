//! Runs the loop for a verb: in batches, once or until nothing is left to wait for, and tells what came of it.

use std::collections::BTreeSet;

use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::wait::Who;
use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::store::{Store, StoreError};
use dkimctl_state::time::Time;

use super::error::{Error, Exit};
use super::machine::{Machine, WriteState};
use super::progress::Progress;
use super::shell::Shell;
use crate::advance::advance;
use crate::config::Config;
use crate::receipts;
use crate::report::run::RunReport;
use crate::report::words::{self, Selectors};

/// Domains in one run of the loop: enough to keep every core and every packed call busy.
pub const BATCH: usize = 1000;

/// Advances these domains as far as they go now.
pub fn once(
    shell: &Shell,
    config: &Config,
    state: &mut WriteState,
    settings: &[Settings],
    report: &mut RunReport,
) -> Result<(), Error> {
    let progress = Progress::new(shell);
    let actor = shell.actor();
    for batch in settings.chunks(BATCH) {
        let batch: Vec<&Settings> = batch.iter().collect();
        let machine = Machine::new(config, &batch, state.store.identity()?, &progress)?;
        hear(config, &machine, state, &batch, &actor)?;
        let (run, complaints) = machine.act(|world| advance(world, &mut state.store, &batch, &actor, &progress));
        progress.clear();
        complaints.iter().for_each(|complaint| shell.warn(complaint));
        let selectors = selectors(&state.store, batch.iter().map(|settings| &settings.domain))?;
        report.add(run?, &selectors);
    }
    Ok(())
}

/// Takes in what the hosts have proved and seen, before anything is decided: whoever still uses an old key is heard
/// before its record goes.
fn hear(
    config: &Config,
    machine: &Machine<'_>,
    state: &mut WriteState,
    batch: &[&Settings],
    actor: &str,
) -> Result<(), Error> {
    let domains: BTreeSet<&SigningDomain> = batch.iter().map(|settings| &settings.domain).collect();
    let hosts: BTreeSet<&Label> = batch.iter().flat_map(|settings| &settings.hosts).collect();
    let outboxes = machine.outboxes();
    for host in hosts.into_iter().filter(|host| config.signers.contains_key(*host)) {
        receipts::import(&mut state.store, &outboxes, host, Some(&domains), actor)
            .map_err(|error| Error::new(error.to_string()))?;
    }
    Ok(())
}

/// Shows a report, and its failures as errors.
pub fn tell(shell: &Shell, report: &RunReport) -> Result<Exit, Error> {
    if !shell.global.quiet || shell.global.json {
        shell.show(report)?;
    }
    failures(shell, report)
}

/// As [`tell`], but not a word when nothing happened: cron's mail is for what did.
pub fn tell_changes(shell: &Shell, report: &RunReport) -> Result<Exit, Error> {
    if report.is_silent() && !shell.global.json && shell.global.verbose == 0 {
        return Ok(Exit::Ok);
    }
    tell(shell, report)
}

fn failures(shell: &Shell, report: &RunReport) -> Result<Exit, Error> {
    for failed in &report.failures {
        shell.error(format_args!("{}: {}", failed.domain, failed.sentence), std::slice::from_ref(&failed.hint));
    }
    Ok(if report.failures.is_empty() { Exit::Ok } else { Exit::Failed })
}

/// Advances, waits, advances again, until these domains wait for nothing that comes by itself. The state is free for
/// others while this sleeps, and an interrupt loses nothing.
pub fn until_settled(
    shell: &Shell,
    config: &Config,
    settings: &[Settings],
    verb: &str,
    settled: impl Fn(&dyn Store) -> Result<bool, StoreError>,
) -> Result<Exit, Error> {
    let progress = Progress::new(shell);
    loop {
        let mut report = RunReport::default();
        let mut state = WriteState::open(shell, config, verb)?;
        once(shell, config, &mut state, settings, &mut report)?;
        let exit = tell(shell, &report)?;
        let done = settled(&state.store)?;
        drop(state);
        if done {
            return Ok(exit);
        }
        let Some(wake) = report.wake else {
            return Ok(exit);
        };
        if report.waits.iter().any(|waiting| waiting.line.who == Who::Operator) {
            shell.say("waiting would not help: somebody has to decide first");
            return Ok(exit);
        }
        let mut what =
            report.waits.iter().filter(|w| w.line.until.is_none_or(|until| until <= wake)).map(|w| &w.line.sentence);
        let what = what.next_back().cloned().unwrap_or_else(|| "waiting".to_owned());
        shell.say(format_args!(
            "next look at {wake} ({}); it is safe to interrupt, `dkimctl advance` goes on",
            words::relative(wake, shell.now())
        ));
        progress.sleep(wake.max(soon(shell.now())), || shell.now(), &what);
    }
}

/// Whoever polls does not spin.
fn soon(now: Time) -> Time {
    now + dkimctl_state::time::Span::seconds(1)
}

/// The selectors of all keys of these domains.
pub fn selectors<'d>(
    store: &dyn Store,
    domains: impl Iterator<Item = &'d SigningDomain>,
) -> Result<Selectors, StoreError> {
    let mut selectors = Selectors::default();
    for domain in domains {
        selectors.add(&store.load(domain)?.ledger);
    }
    Ok(selectors)
}
