use std::fmt::Write as _;

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::Store;
use serde::Serialize;

use crate::cli::error::{Error, Exit};
use crate::cli::machine::ReadState;
use crate::cli::shell::Shell;
use crate::config::Config;
use crate::report::{Paint, Report};

/// Print the records that ought to stand now, as a zone file has them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dns show example.com")]
pub struct Args {
    /// The domains [default: all]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let state = ReadState::open(shell, &config)?;
    let records = Records { records: standing(shell, &config, &state, &args.domains)? };
    shell.show(&records)?;
    Ok(Exit::Ok)
}

/// The records that ought to stand now.
pub(super) fn standing(
    shell: &Shell,
    config: &Config,
    state: &ReadState,
    domains: &[SigningDomain],
) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for settings in shell.settings(config, domains)? {
        let ledger = state.0.load(&settings.domain)?.ledger;
        for (phase, key) in ledger.keys() {
            let text = match phase {
                Phase::Withdrawn | Phase::Gone => continue,
                Phase::Revoked => key.revocation(),
                _ => key.record(),
            };
            let (name, quoted) = (key.record_name(&ledger.domain), text.quoted());
            records.push(Record { name, ttl: settings.ttl, text, quoted, phase });
        }
    }
    Ok(records)
}

#[derive(Debug, Default, Serialize)]
struct Records {
    records: Vec<Record>,
}

#[derive(Debug, Serialize)]
pub(super) struct Record {
    pub name: Fqdn,
    pub ttl: u32,
    pub text: TxtText,
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
