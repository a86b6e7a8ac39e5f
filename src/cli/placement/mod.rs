use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;

use super::error::{Error, Exit};
use super::shell::Shell;
use crate::placement::probe::Token;

mod read;
mod send;

/// Send probes to seed mailboxes, and read where they ended up
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Send(SendArgs),
    Read(ReadArgs),
}

/// Submit a probe to every seed mailbox, by the path that real mail takes
///
/// The submission server and the seeds stand in [placement] of the configuration. Each probe carries a token, which is
/// remembered, so that `placement read` finds it. Ends with 3 if the server refuses a probe.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl placement send
  dkimctl placement send --seed gmail --seed outlook
  dkimctl placement send -q && sleep 60 && dkimctl placement read")]
struct SendArgs {
    /// Only these seeds
    #[arg(long, value_name = "NAME")]
    seed: Vec<String>,
}

/// Read messages: folder, SPF, DKIM with our selector, DMARC, PTR and HELO as the provider saw them, TLS
///
/// Without a path the seed mailboxes are read by IMAP, INBOX and junk, for the last probe. A path is a message, an mbox, a
/// maildir or a directory; `-` is standard input, and needs no configuration. Only what the mailbox provider itself
/// wrote is believed; results that somebody else wrote under its name are shown as forged. Ends with 3 if something is
/// wrong with a message, with 4 if something could not be seen.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl placement read                           the last probe, in every seed mailbox
  dkimctl placement read --wait 2m                 wait until it is there
  dkimctl placement read --seed outlook < mail.eml
  dkimctl placement read saved.mbox --json")]
struct ReadArgs {
    /// Messages, mbox files, maildirs, directories; - for standard input
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only this seed; with paths: the seed that the messages are of
    #[arg(long, value_name = "NAME")]
    seed: Option<String>,
    /// The probe to look for [default: the last one that was sent]
    #[arg(long, value_name = "TOKEN", value_parser = token, conflicts_with = "paths")]
    token: Option<Token>,
    /// Wait so long for probes that are still on their way
    #[arg(long, value_name = "TIME", value_parser = patience, conflicts_with = "paths")]
    wait: Option<Duration>,
    /// Keep nothing, and compare with nothing
    #[arg(long)]
    dry_run: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.verb {
        Verb::Send(args) => send::run(shell, args),
        Verb::Read(args) => read::run(shell, args),
    }
}

fn token(text: &str) -> Result<Token, String> {
    Token::parse(text).ok_or_else(|| "a token has 26 letters and digits; `dkimctl placement send` prints it".to_owned())
}

fn patience(text: &str) -> Result<Duration, String> {
    let span = text.parse::<dkimctl_state::time::Span>().map_err(|error| error.to_string())?;
    Ok(Duration::from_secs(span.as_secs()))
}
