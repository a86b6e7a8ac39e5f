use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Subcommand;
use dkimctl_state::lifecycle::staging::sources::{Cadence, Network};
use dkimctl_state::name::{Fqdn, SigningDomain};

use super::error::{Error, Exit};
use super::record::resolver;
use super::shell::Shell;

mod check;
mod ingest;
mod stage;

/// Read DMARC reports, and take the policy from none to reject on their evidence
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(CheckArgs),
    Ingest(IngestArgs),
    Status(StatusArgs),
    Advance(AdvanceArgs),
    Rollback(RollbackArgs),
    Hold(HoldArgs),
    Sources(SourcesArgs),
    Ack(AckArgs),
    Adopt(AdoptArgs),
}

/// Find what is wrong with published DMARC records
///
/// Asks DNS only; needs no configuration when a domain is named. Ends with 3 if there is an error, with 4 if DNS did
/// not tell enough.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dmarc check example.com")]
struct CheckArgs {
    /// The domains [default: all that are configured]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<Fqdn>,
    /// The resolver to ask [default: the system's]
    #[arg(long, value_name = "HOST:PORT", value_parser = resolver)]
    resolver: Option<SocketAddr>,
}

/// Take aggregate reports in: XML, gzip, zip, messages, mbox, maildir, directories, `-` for standard input
///
/// Every report is accounted for: ok, partial (with what could not be read), rejected, or duplicate. Files are trusted,
/// since you placed them; a report by mail advances a policy only if a DKIM signature of its reporter verifies. Without
/// a configuration reports are read and nothing is kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dmarc ingest /var/mail/dmarc
  dkimctl dmarc ingest reports/*.zip --json
  cat report.eml | dkimctl dmarc ingest -")]
struct IngestArgs {
    /// Files and directories
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Trust messages as files are trusted: you know where they come from
    #[arg(long)]
    trust_mail: bool,
    /// Believe this server's Authentication-Results: your own, which removes those that others wrote
    #[arg(long, value_name = "NAME")]
    authserv_id: Vec<String>,
    /// Read, and keep nothing
    #[arg(long)]
    dry_run: bool,
    /// The resolver that reporters' keys are looked up with [default: the system's]
    #[arg(long, value_name = "HOST:PORT", value_parser = resolver)]
    resolver: Option<SocketAddr>,
    /// Look up no keys: mail stays unverified
    #[arg(long)]
    offline: bool,
}

/// Show where each policy stands, what the reports say, and what the next rung waits for
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dmarc status example.com
  dkimctl dmarc status --exit-code      3 if a gate is blocked, 4 if evidence is missing")]
struct StatusArgs {
    /// The domains [default: all that were adopted]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// End with 3 if a gate is blocked, with 4 if evidence is missing
    #[arg(long)]
    exit_code: bool,
    /// The resolver that SPF is looked up with [default: the system's]
    #[arg(long, value_name = "HOST:PORT", value_parser = resolver)]
    resolver: Option<SocketAddr>,
}

/// Climb one rung where every gate is open, for cron: silent when nothing is due
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  17 6 * * * dkimctl dmarc ingest /var/mail/dmarc -q && dkimctl dmarc advance")]
struct AdvanceArgs {
    /// The domains [default: all that were adopted]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// The resolver that SPF is looked up with [default: the system's]
    #[arg(long, value_name = "HOST:PORT", value_parser = resolver)]
    resolver: Option<SocketAddr>,
}

/// Put back the record that stood before, to the octet, at once
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dmarc rollback example.com --reason \"the newsletter is quarantined\"")]
struct RollbackArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// Why; it stays in the log
    #[arg(long, value_name = "TEXT", default_value = "an operator asked to go back")]
    reason: String,
}

/// Keep a policy where it is, or let it go on
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dmarc hold example.com --reason \"quarter's end\"
  dkimctl dmarc hold example.com --release")]
struct HoldArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// Why
    #[arg(long, value_name = "TEXT", required_unless_present = "release")]
    reason: Option<String>,
    /// End the hold
    #[arg(long)]
    release: bool,
}

/// Show who sends: volume, DKIM, SPF, first and last seen
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dmarc sources example.com --days 30")]
struct SourcesArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// How far back
    #[arg(long, value_name = "N", default_value_t = 30)]
    days: u32,
    /// The resolver that SPF is looked up with [default: the system's]
    #[arg(long, value_name = "HOST:PORT", value_parser = resolver)]
    resolver: Option<SocketAddr>,
}

/// Say whose a source is: a sender of yours, or not yours
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dmarc ack example.com sendgrid.net --sender newsletter --selector s20 --cadence monthly
  dkimctl dmarc ack example.com 192.0.2.0/24 --sender printers
  dkimctl dmarc ack example.com example.net --not-ours --reason \"phishing, reported\"")]
struct AckArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// The domain that it authenticates as, or its address or network
    #[arg(value_name = "SOURCE")]
    source: String,
    /// It sends for you, under this name
    #[arg(long, value_name = "NAME", required_unless_present = "not_ours")]
    sender: Option<String>,
    /// A selector that it signs your domain with
    #[arg(long, value_name = "SELECTOR", requires = "sender")]
    selector: Vec<String>,
    /// How often it sends at least
    #[arg(long, value_name = "HOW", value_parser = cadence, default_value = "daily")]
    cadence: Cadence,
    /// It does not send for you
    #[arg(long, conflicts_with = "sender")]
    not_ours: bool,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Agree that a published record may be edited, or publish the first one
///
/// Shows the text and asks; the text and the consent are recorded. An existing record is not changed by it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl dmarc adopt example.com
  dkimctl dmarc adopt example.com --yes --text 'v=DMARC1; p=none; rua=mailto:dmarc@example.com'
  dkimctl dmarc adopt example.com --rua dmarc@example.com      where no record stands: p=none
  dkimctl dmarc adopt example.net --park                       a domain that sends no mail: p=reject")]
struct AdoptArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The text that was seen; refused if another stands there now
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Where reports of a first record go
    #[arg(long, value_name = "ADDRESS")]
    rua: Vec<String>,
    /// The domain sends no mail: publish p=reject at once; refused if reports show mail that passes
    #[arg(long)]
    park: bool,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.verb {
        Verb::Check(args) => check::run(shell, args),
        Verb::Ingest(args) => ingest::run(shell, args),
        Verb::Status(args) => stage::status(shell, args),
        Verb::Advance(args) => stage::advance(shell, args),
        Verb::Rollback(args) => stage::rollback(shell, args),
        Verb::Hold(args) => stage::hold(shell, args),
        Verb::Sources(args) => stage::sources(shell, args),
        Verb::Ack(args) => stage::ack(shell, args),
        Verb::Adopt(args) => stage::adopt(shell, args),
    }
}

fn cadence(text: &str) -> Result<Cadence, String> {
    match text {
        "daily" => Ok(Cadence::Daily),
        "weekly" => Ok(Cadence::Weekly),
        "monthly" => Ok(Cadence::Monthly),
        _ => Err(format!("`{text}` is not daily, weekly or monthly")),
    }
}

/// What a source is named by.
enum Named {
    Domain(Fqdn),
    Network(Network),
}

fn named(source: &str) -> Result<Named, Error> {
    if let Ok(network) = source.parse::<Network>() {
        return Ok(Named::Network(network));
    }
    let domain = source.parse::<Fqdn>();
    domain.map(Named::Domain).map_err(|error| {
        Error::usage(error.to_string())
            .hint("name a source as `dkimctl dmarc sources` shows it: a domain or an address")
    })
}
