//! Runs the loop for a verb: in batches, once or until nothing is left to wait for, and tells what came of it.

use std::collections::BTreeSet;

use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::wait::{Wait, Who};
use dkimctl_state::name::{Label, SigningDomain};
use dkimctl_state::store::{Store, StoreError};
use dkimctl_state::time::Time;

use super::error::{Error, Exit};
use super::machine::{Machine, WriteState};
use super::progress::{FleetPace, Progress};
use super::shell::Shell;
use crate::advance::advance;
use crate::config::Config;
use crate::receipts;
use crate::report::hints;
use crate::report::run::{RunReport, Stopped};
use crate::report::words::{self, Selectors};

/// Domains in one run of the loop: enough to keep every core and every packed call busy.
pub const BATCH: usize = 1000;

/// Advances these domains as far as they go now: a few first, and the others if those did not fail. Providers, their
/// zones and their paces are the same for all of them.
pub fn once(
    shell: &Shell,
    config: &Config,
    state: &mut WriteState,
    settings: &[Settings],
    report: &mut RunReport,
) -> Result<(), Error> {
    let progress = Progress::new(shell);
    let actor = shell.actor();
    let all: Vec<&Settings> = settings.iter().collect();
    if all.is_empty() {
        return Ok(());
    }
    let machine = Machine::new(config, &all, state.store.identity()?, &progress)?;
    let waves = config.fleet.waves(all.len());
    let pace = FleetPace::new(all.len(), waves.len());
    for (number, wave) in waves.iter().enumerate() {
        let (mut tried, mut failed) = (0, BTreeSet::new());
        for batch in all[wave.clone()].chunks(BATCH) {
            if let Some(sentence) = pace.sentence(number, wave.start + tried) {
                shell.say_more(&sentence);
                progress.of_fleet(sentence);
            }
            hear(config, &machine, state, batch, &actor)?;
            let (run, complaints) = machine.act(|world| advance(world, &mut state.store, batch, &actor, &progress));
            progress.clear();
            complaints.iter().for_each(|complaint| shell.warn(complaint));
            let selectors = selectors(&state.store, batch.iter().map(|settings| &settings.domain))?;
            let run = run?;
            tried += batch.len();
            failed.extend(run.failed_domains().cloned());
            report.add(run, &selectors);
            let left = all.len() - wave.start - tried;
            if left > 0 && config.fleet.is_too_much(failed.len(), wave.len()) {
                report.stopped = Some(Stopped {
                    wave: number + 1,
                    of: waves.len(),
                    tried: wave.start + tried,
                    failed: failed.into_iter().collect(),
                    left,
                });
                return Ok(());
            }
        }
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

/// Shows a report, and as errors its failures and what keeps these domains from going on.
pub fn tell(shell: &Shell, config: &Config, report: &RunReport) -> Result<Exit, Error> {
    if !shell.global.quiet || shell.global.json {
        shell.show(report)?;
    }
    let failed = failures(shell, report)?;
    let mut worst = Exit::Ok;
    for waiting in &report.waits {
        let Some(exit) = stuck(config, &waiting.line.detail) else { continue };
        let hint = hints::stuck(&waiting.line.detail, &waiting.domain);
        shell.error(format_args!("{}: {}", waiting.domain, waiting.line.sentence), &[hint]);
        if worst != Exit::Failed {
            worst = exit;
        }
    }
    Ok(if failed == Exit::Ok { worst } else { failed })
}

/// Whoever named a domain is told at once that it goes no further until somebody acts. Cron is not: it would say so
/// every time.
fn stuck(config: &Config, wait: &Wait) -> Option<Exit> {
    match wait {
        Wait::Slots { taken, until: None } => taken.iter().any(|slot| !slot.ours).then_some(Exit::Failed),
        Wait::Foreign { .. }
        | Wait::Alias { .. }
        | Wait::Unsupported { .. }
        | Wait::RecordLost { .. }
        | Wait::ClockBehind { .. }
        | Wait::ClockDisagrees { .. } => Some(Exit::Failed),
        // That a name server is silent is the world's affair; that a provider is may be ours.
        Wait::Unknown { whom, .. } => {
            let is_provider =
                |who: &String| config.providers.keys().any(|label| who.split(' ').next() == Some(label.as_str()));
            whom.iter().any(is_provider).then_some(Exit::NotChecked)
        }
        _ => None,
    }
}

/// As [`tell`], but not a word when nothing happened: cron's mail is for what did.
pub fn tell_changes(shell: &Shell, report: &RunReport) -> Result<Exit, Error> {
    if report.is_silent() && !shell.global.json && shell.global.verbose == 0 {
        return Ok(Exit::Ok);
    }
    shell.show(report)?;
    failures(shell, report)
}

fn failures(shell: &Shell, report: &RunReport) -> Result<Exit, Error> {
    for failed in &report.failures {
        shell.error(format_args!("{}: {}", failed.domain, failed.sentence), std::slice::from_ref(&failed.hint));
    }
    if let Some(stopped) = &report.stopped {
        shell.error(stopped.sentence(), &[stopped.hint()]);
    }
    Ok(if report.failures.is_empty() && report.stopped.is_none() { Exit::Ok } else { Exit::Failed })
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
        let exit = tell(shell, config, &report)?;
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
