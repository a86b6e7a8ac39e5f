use std::path::{Path, PathBuf};

use dkimctl_state::lifecycle::ledger::Ledger;
use dkimctl_state::name::Label;
use dkimctl_state::store::Store as _;

use super::{all, live};
use crate::cli::drive;
use crate::cli::error::{Error, Exit};
use crate::cli::local_host;
use crate::cli::machine::{Machine, WriteState};
use crate::cli::progress::Progress;
use crate::cli::shell::Shell;
use crate::config::Config;
use crate::receipts;
use crate::report::secrets::put::PutReport;
use crate::report::secrets::{DeliverReport, Delivered};
use crate::report::words;
use crate::secrets::rewrap;
use crate::vault::AgeVault;

/// Write the outboxes of mail hosts anew, after one was lost; twice is once
///
/// What a host is to hold, sign with and destroy is a function of the state. A host that is this machine also carries
/// it out at once. A second run writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl secrets deliver
  dkimctl secrets deliver mail --json
  dkimctl secrets deliver --host /etc/dkimctl/host.toml     on the mail host, when its container starts")]
pub struct Args {
    /// The hosts, as [signer.NAME] has them [default: all]
    #[arg(value_name = "HOST")]
    hosts: Vec<Label>,
    /// On the mail host itself: put the keys of its outbox where its signer opens them, and do no more
    ///
    /// A start hook for keys that a container has in memory only (`[target] type = "exec"`).
    #[arg(long, value_name = "FILE", conflicts_with = "hosts")]
    host: Option<PathBuf>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    if let Some(file) = &args.host {
        return to_signer(shell, file);
    }
    let config = shell.config()?;
    let mut state = WriteState::open(shell, &config, "secrets deliver")?;
    let vault = AgeVault::open(&config.state, config.secrets.all_recipients()?)?;
    let loaded = all(&state.store)?;
    // Blobs of a `rewrap` that was interrupted: outboxes take those that the state knows.
    let known = loaded.iter().flat_map(live).map(|key| (&key.fingerprint, &*key.blob_sha256));
    rewrap::settle(&vault, known)?;
    let hosts = if args.hosts.is_empty() { config.signers.keys().cloned().collect() } else { args.hosts };
    let report = deliver(shell, &config, &mut state, &hosts)?;
    shell.show(&report)?;
    Ok(if report.is_complete() { Exit::Ok } else { Exit::Failed })
}

/// The mail host's side: the keys of its outbox, to its own signer.
fn to_signer(shell: &Shell, file: &Path) -> Result<Exit, Error> {
    let report = PutReport::new(local_host::deliver_keys(file)?);
    if shell.global.json || shell.global.verbose > 0 || !report.is_quiet() {
        shell.show(&report)?;
    }
    Ok(if report.is_complete() { Exit::Ok } else { Exit::Failed })
}

/// Writes the outboxes of these hosts from the ledgers as they are now.
pub fn deliver(
    shell: &Shell,
    config: &Config,
    state: &mut WriteState,
    hosts: &[Label],
) -> Result<DeliverReport, Error> {
    let machine = Machine::new(config, &[], state.store.identity()?, &Progress::new(shell))?;
    let mut outboxes = machine.outboxes();
    let mut report = DeliverReport::default();
    for host in hosts {
        let mailbox = outboxes.hosts.get(host).ok_or_else(|| unknown(config, host))?;
        // A host that answered a later manifest than a lost outbox lets us remember would refuse an earlier one.
        let answered = outboxes.receipts(host, mailbox).map_err(|error| Error::new(error.to_string()))?;
        let answered = answered.iter().map(|receipt| receipt.manifest_serial).max();
        outboxes.floor = outboxes.floor.max(answered.unwrap_or(0));
        let ledgers = ledgers(config, state, host)?;
        let change = outboxes.deliver(host, &ledgers);
        let mut delivered = Delivered::new(host.clone(), change);
        if outboxes.hosts.get(host).is_some_and(|mailbox| mailbox.here.is_some()) && delivered.problem.is_none() {
            let imported = receipts::import(&mut state.store, &outboxes, host, None, &shell.actor())
                .map_err(|error| Error::new(error.to_string()))?;
            let selectors = drive::selectors(&state.store, imported.facts.iter().map(|(domain, _)| domain))?;
            let said = |(domain, fact): &(_, _)| format!("{domain} {}", words::fact(fact, &selectors));
            delivered.proved = imported.facts.iter().map(said).collect();
        }
        report.hosts.push(delivered);
    }
    for complaint in outboxes.complaints.take() {
        shell.warn(complaint);
    }
    Ok(report)
}

/// The domains that a host signs for, with a key to speak of.
fn ledgers(config: &Config, state: &WriteState, host: &Label) -> Result<Vec<Ledger>, Error> {
    let mut ledgers = Vec::new();
    for settings in config.domains.names().filter_map(|name| config.settings(name)) {
        if settings.hosts.contains(host) {
            let ledger = state.store.load(&settings.domain)?.ledger;
            if ledger.keys().next().is_some() {
                ledgers.push(ledger);
            }
        }
    }
    Ok(ledgers)
}

fn unknown(config: &Config, host: &Label) -> Error {
    let known: Vec<String> = config.signers.keys().map(ToString::to_string).collect();
    Error::usage(format!("no [signer.{host}] is configured in {}", config.path.display()))
        .hint(format!("configured: {}", known.join(", ")))
}
