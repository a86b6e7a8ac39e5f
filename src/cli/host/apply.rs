use std::path::PathBuf;

use std::fmt::Write as _;

use dkimctl_state::name::SigningDomain;
use serde::Serialize;

use crate::cli::error::{Error, Exit};
use crate::cli::local_host;
use crate::cli::shell::Shell;
use crate::host::order::Verdict;
use crate::report::{Paint, Report};

/// Verify the manifest, write keys, edit tables, reload, probe, and leave a signed receipt
///
/// Run it on the mail host, from a timer. It needs no DNS rights and no state of the secure host.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl host apply --host /etc/dkimctl/host.toml
  dkimctl host apply --retry            a key that was refused is tried once more")]
pub struct Args {
    /// What this host knows of itself
    #[arg(long, value_name = "FILE", default_value = "/etc/dkimctl/host.toml")]
    host: PathBuf,
    /// Try keys that were refused once more
    #[arg(long)]
    retry: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    let applied = local_host::apply(&args.host, args.retry)?;
    for why in &applied.unknown {
        shell.warn(why);
    }
    let mut report = ApplyReport { serial: applied.serial, writes: applied.report.writes, ..ApplyReport::default() };
    for done in &applied.report.domains {
        let lines = done.signing.iter().map(|seen| match &seen.verdict {
            Verdict::Right { fingerprint } => {
                (Standing::Right, format!("signs with {} ({})", fingerprint.short(), seen.algorithm))
            }
            Verdict::Wrong { what: seen, rolled_back: true } => {
                (Standing::Wrong, format!("{seen}; the old rows stand again"))
            }
            Verdict::Wrong { what: seen, rolled_back: false } => (Standing::Wrong, seen.clone()),
            Verdict::Unknown { why } => (Standing::Unknown, format!("not known: {why}")),
        });
        let problem = done.problem.iter().map(|problem| (Standing::Wrong, problem.clone()));
        report.domains.extend(lines.chain(problem).map(|(standing, said)| Line {
            domain: done.domain.clone(),
            standing,
            said,
        }));
    }
    let worst = report.domains.iter().map(|line| line.standing).max();
    if report.writes > 0 || worst > Some(Standing::Right) || shell.global.json || shell.global.verbose > 0 {
        shell.show(&report)?;
    }
    if worst == Some(Standing::Wrong) {
        let again = format!("mend that, then: dkimctl host apply --host {}", args.host.display());
        shell.error("what FAIL stands before was not done; what was in use stays in use", &[again]);
    }
    Ok(match worst {
        Some(Standing::Wrong) => Exit::ChecksFailed,
        Some(Standing::Unknown) => Exit::NotChecked,
        Some(Standing::Right) | None => Exit::Ok,
    })
}

#[derive(Debug, Default, Serialize)]
struct ApplyReport {
    serial: u64,
    /// Files that were written or removed.
    writes: usize,
    domains: Vec<Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    domain: SigningDomain,
    standing: Standing,
    said: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    Right,
    Unknown,
    Wrong,
}

impl Report for ApplyReport {
    fn text(&self, paint: Paint) -> String {
        let mut out = String::new();
        for Line { domain, standing, said } in &self.domains {
            let mark = match standing {
                Standing::Right => paint.green("ok   "),
                Standing::Unknown => paint.yellow("?    "),
                Standing::Wrong => paint.red("FAIL "),
            };
            let _ = writeln!(out, "{mark}{domain} {said}");
        }
        out
    }
}
