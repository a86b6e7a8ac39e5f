use dkimctl_state::name::Label;
use dkimctl_state::store::Store;

use super::drive;
use super::error::{Error, Exit};
use super::machine::{Machine, WriteState};
use super::progress::Progress;
use super::shell::Shell;
use crate::receipts;
use crate::report::words;

/// Take in what the mail hosts proved
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Import(ImportArgs),
}

/// Turn the receipts of mail hosts into facts; twice is once
///
/// `advance` does the same for domains that are due; this makes them due at once.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl receipt import
  dkimctl receipt import mail1 && dkimctl advance")]
struct ImportArgs {
    /// The hosts, as [signer.NAME] has them [default: all]
    #[arg(value_name = "HOST")]
    hosts: Vec<Label>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let Command::Import(args) = args.command;
    let config = shell.config()?;
    let mut state = WriteState::open(shell, &config, "receipt import")?;
    let machine = Machine::new(&config, &[], state.store.identity()?, &Progress::new(shell))?;
    let outboxes = machine.outboxes();
    let hosts = if args.hosts.is_empty() { config.signers.keys().cloned().collect() } else { args.hosts };
    for host in hosts {
        let imported = receipts::import(&mut state.store, &outboxes, &host, None, &shell.actor())
            .map_err(|error| Error::new(error.to_string()))?;
        for complaint in outboxes.complaints.take() {
            shell.warn(format_args!("{host}: {complaint}"));
        }
        if config.signers.get(&host).is_some_and(|signer| signer.receipt_key.is_none()) {
            shell.warn(format_args!("{host}: no `receipt_key` is pinned in [signer.{host}], so nothing is believed"));
        }
        let selectors = drive::selectors(&state.store, imported.facts.iter().map(|(domain, _)| domain))?;
        for (domain, fact) in &imported.facts {
            shell.print(&format!("{domain} {}\n", words::fact(fact, &selectors)))?;
        }
        shell.say_more(format_args!("{host}: {} receipts read", imported.receipts));
    }
    Ok(Exit::Ok)
}
