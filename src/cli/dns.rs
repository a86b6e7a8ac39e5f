use std::fmt::Write as _;

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::Store;
use serde::Serialize;

use super::error::{Error, Exit};
use super::machine::ReadState;
use super::shell::Shell;
use crate::report::{Paint, Report};

/// Show the records that dkimctl keeps
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(ShowArgs),
}

/// Print the records that ought to stand now, as a zone file has them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dns show example.com")]
struct ShowArgs {
    /// The domains [default: all]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let Command::Show(args) = args.command;
    let config = shell.config()?;
    let state = ReadState::open(shell, &config)?;
    let mut records = Records::default();
    for settings in shell.settings(&config, &args.domains)? {
        let ledger = state.0.load(&settings.domain)?.ledger;
        for (phase, key) in ledger.keys() {
            let text = match phase {
                Phase::Withdrawn | Phase::Gone => continue,
                Phase::Revoked => key.revocation(),
                _ => key.record(),
            };
            let quoted = text.quoted();
            records.records.push(Record {
                name: key.record_name(&ledger.domain),
                ttl: settings.ttl,
                text,
                quoted,
                phase,
            });
        }
    }
    shell.show(&records)?;
    Ok(Exit::Ok)
}

#[derive(Debug, Default, Serialize)]
struct Records {
    records: Vec<Record>,
}

#[derive(Debug, Serialize)]
struct Record {
    name: Fqdn,
    ttl: u32,
    text: TxtText,
    #[serde(skip)]
    quoted: String,
    phase: Phase,
}

impl Report for Records {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Record { name, ttl, quoted, phase, .. } in &self.records {
            let _ = writeln!(out, "{name}. {ttl} IN TXT {quoted} {}", paint.dim(format!("; {phase}")));
        }
        out
    }
}
