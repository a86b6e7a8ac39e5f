use std::fmt::Write as _;
use std::path::PathBuf;

use dkimctl_state::store::backup::FOLDER;
use serde::Serialize;

use super::error::{Error, Exit};
use super::machine::ReadState;
use super::shell::Shell;
use crate::report::{Paint, Report};

/// Look after the state: export, backup, verify
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the state as sorted JSON lines without secrets, for diffs and reviews
    #[command(after_help = "Examples:\n  dkimctl state export > state.jsonl")]
    Export,
    /// Copy the state, with its checksum; safe while others use it
    #[command(after_help = "Examples:\n  dkimctl state backup --to /srv/backup\n  sha256sum -c dkimctl-42.db.sha256")]
    Backup {
        /// The directory for the copy [default: backup/ in the state's directory]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Check that the state is whole: every page, every document, the chain of events
    #[command(after_help = "Examples:\n  dkimctl state verify || dkimctl state backup --to /srv/evidence")]
    Verify,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let config = shell.config()?;
    let store = ReadState::open(shell, &config)?.0;
    match args.command {
        Command::Export => {
            let mut lines = Vec::new();
            store.export(&mut lines)?;
            shell.print_bytes(&lines)?;
        }
        Command::Backup { to } => {
            let made = store.backup(&to.unwrap_or_else(|| config.state.join(FOLDER)))?;
            shell.show(&Backup { path: made.path, sha256: made.sha256, serial: made.serial })?;
        }
        Command::Verify => {
            let found = store.verify()?;
            let findings: Vec<String> = found.findings.iter().map(ToString::to_string).collect();
            let whole = found.is_whole();
            shell.show(&Verified { domains: found.domains, keys: found.keys, events: found.events, findings })?;
            return Ok(if whole { Exit::Ok } else { Exit::ChecksFailed });
        }
    }
    Ok(Exit::Ok)
}

#[derive(Debug, Serialize)]
struct Backup {
    path: PathBuf,
    sha256: String,
    serial: u64,
}

impl Report for Backup {
    fn text(&self, _: Paint) -> String {
        format!("{} (serial {})\n", self.path.display(), self.serial)
    }
}

#[derive(Debug, Serialize)]
struct Verified {
    domains: u64,
    keys: u64,
    events: u64,
    findings: Vec<String>,
}

impl Report for Verified {
    fn text(&self, paint: Paint) -> String {
        let Verified { domains, keys, events, findings } = self;
        let mut out = String::new();
        for finding in findings {
            let _ = writeln!(out, "{} {finding}", paint.red("FAIL"));
        }
        if findings.is_empty() {
            let _ = writeln!(out, "{} domains={domains} keys={keys} events={events}", paint.green("ok"));
        }
        out
    }
}
