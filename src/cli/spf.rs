use std::net::{IpAddr, SocketAddr};

use clap::Subcommand;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::staging::evidence::Outcome;
use dkimctl_state::lifecycle::staging::ladder::Rung;
use dkimctl_state::lifecycle::staging::spf::{Ending, Goal, SpfFacts, SpfPolicy};
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::evidence::EvidenceStore as _;
use dkimctl_state::time::{Span, Time};

use super::error::{Error, Exit};
use super::machine::{self, ReadState, WriteState};
use super::shell::Shell;
use crate::config::Config;
use crate::dmarc::stage::rung_of;
use crate::observe::recursive::system_resolvers;
use crate::report::spf::{AdoptReport, Applied, ApplyReport, CheckReport, Checked, EvalReport};
use crate::spf::desired::Wanted;
use crate::spf::eval::{Session, check};
use crate::spf::flatten::flatten;
use crate::spf::lint::{Evidence, Severity, lint, lint_texts};
use crate::spf::publish::{self, Subject};
use crate::spf::resolver::Recursive;

/// Check, evaluate and stage SPF records
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(CheckArgs),
    Eval(EvalArgs),
    Apply(ApplyArgs),
    Adopt(AdoptArgs),
}

/// Find what is wrong with published records, branch by branch
///
/// Asks DNS only; needs no configuration when a domain is named. Ends with 3 if there is an error, with 4 if DNS did
/// not tell enough.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl spf check example.com
  dkimctl spf check example.com --flatten --json")]
struct CheckArgs {
    /// The domains [default: all that are configured]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<Fqdn>,
    /// The resolver to ask [default: the system's]
    #[arg(long, value_name = "HOST:PORT", value_parser = resolver)]
    resolver: Option<SocketAddr>,
    /// Show the record with its includes as addresses; a plan, nothing is written
    #[arg(long)]
    flatten: bool,
    /// The snapshot that a flattened record was made from; ends with 3 if it is another by now
    #[arg(long, value_name = "HASH", requires = "flatten")]
    expect: Option<String>,
}

/// Evaluate a session as a receiving host does (RFC 7208)
///
/// Needs no configuration and no state. Ends with 0 whatever the result is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl spf eval --ip 192.0.2.1 --mail-from user@example.com --helo mail.example.com
  dkimctl spf eval --ip 2001:db8::1 --mail-from '' --helo mail.example.com --resolver 127.0.0.1:5300 --json")]
struct EvalArgs {
    /// The address of the client
    #[arg(long, value_name = "IP")]
    ip: IpAddr,
    /// The argument of MAIL FROM; empty for a bounce
    #[arg(long, value_name = "ADDRESS", default_value = "", allow_hyphen_values = true)]
    mail_from: String,
    /// The argument of HELO or EHLO
    #[arg(long, value_name = "NAME", default_value = "", allow_hyphen_values = true)]
    helo: String,
    /// The host that checks, for the macro `r`
    #[arg(long, value_name = "NAME", default_value = "unknown")]
    receiver: String,
    /// The resolver to ask [default: the system's]
    #[arg(long, value_name = "HOST:PORT", value_parser = resolver)]
    resolver: Option<SocketAddr>,
}

/// Publish what the configuration means, one rung at a time
///
/// Adds the senders of `spf` in the configuration to what is published, and lets the ending climb from ?all to ~all.
/// Others' terms stay, and a record of others is not touched before `spf adopt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl spf apply example.com --dry-run
  dkimctl spf apply")]
struct ApplyArgs {
    /// The domains [default: all that have `spf` configured]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The resolver that includes are checked with [default: the system's]
    #[arg(long, value_name = "HOST:PORT", value_parser = resolver)]
    resolver: Option<SocketAddr>,
}

/// Agree that a published record may be edited
///
/// Shows the text and asks; the text and the consent are recorded. Nothing is written to DNS.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl spf adopt example.com
  dkimctl spf adopt example.com --yes --text 'v=spf1 mx ~all'")]
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
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.verb {
        Verb::Check(args) => run_check(shell, args),
        Verb::Eval(args) => run_eval(shell, args),
        Verb::Apply(args) => run_apply(shell, args),
        Verb::Adopt(args) => run_adopt(shell, args),
    }
}

fn run_check(shell: &Shell, args: CheckArgs) -> Result<Exit, Error> {
    let resolver = asked(args.resolver)?;
    let domains = match args.domains.as_slice() {
        [] => shell.config()?.domains.names().map(|name| name.as_fqdn().clone()).collect(),
        named => named.to_vec(),
    };
    let mut report = CheckReport { domains: Vec::new() };
    let mut stale = false;
    for domain in &domains {
        let looked = lint(&resolver, domain.as_str(), Evidence::default());
        let flat = match args.flatten.then(|| flatten(&resolver, domain.as_str())) {
            Some(Ok(flat)) => Some(flat),
            Some(Err(why)) => {
                shell.warn(format_args!("{domain}: cannot be flattened: {why}"));
                None
            }
            None => None,
        };
        if let (Some(expected), Some(flat)) = (&args.expect, &flat)
            && *expected != flat.snapshot
        {
            shell.warn(format_args!("{domain}: what the flattened record was made from has changed; make it again"));
            stale = true;
        }
        report.domains.push(Checked::new(looked, flat));
    }
    shell.show(&report)?;
    let unknown = report.domains.iter().any(|checked| !checked.unknown.is_empty())
        || args.expect.is_some() && report.domains.iter().any(|checked| checked.flat.is_none());
    Ok(match report.domains.iter().any(Checked::has_errors) || stale {
        true => Exit::ChecksFailed,
        false if unknown => Exit::NotChecked,
        false => Exit::Ok,
    })
}

fn run_eval(shell: &Shell, args: EvalArgs) -> Result<Exit, Error> {
    let session =
        Session { ip: args.ip, helo: args.helo, mail_from: args.mail_from, receiver: args.receiver, now: shell.now() };
    let found = check(&asked(args.resolver)?, &session);
    shell.show(&EvalReport::new(found, shell.global.verbose > 0))?;
    Ok(Exit::Ok)
}

fn run_apply(shell: &Shell, args: ApplyArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let resolver = asked(args.resolver)?;
    let chosen: Vec<(Settings, Wanted)> = shell
        .settings(&config, &args.domains)?
        .into_iter()
        .filter_map(|settings| config.domains.spf(&settings.domain).map(|wanted| (settings, wanted)))
        .collect();
    if let Some(domain) = args.domains.iter().find(|domain| config.domains.spf(domain).is_none()) {
        return Err(without_spf(&config, domain));
    }
    let mut state =
        if args.dry_run { State::Read(ReadState::open(shell, &config)?) } else { State::write(shell, &config)? };
    let mut report = ApplyReport { domains: Vec::new() };
    let mut failed = false;
    for (settings, wanted) in &chosen {
        match apply_one(shell, &config, &mut state, settings, wanted, &resolver) {
            Ok(applied) => report.domains.push(applied),
            Err(error) => {
                shell.error(&error.message, &error.hints);
                failed = true;
            }
        }
    }
    shell.show(&report)?;
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

fn apply_one(
    shell: &Shell,
    config: &Config,
    state: &mut State,
    settings: &Settings,
    wanted: &Wanted,
    resolver: &Recursive,
) -> Result<Applied, Error> {
    let dns = machine::dns(config, &[settings])?;
    let domain = settings.domain.as_fqdn().clone();
    let subject = Subject { domain, providers: &settings.providers, wanted, ttl: settings.ttl };
    let now = shell.now();
    let looked = publish::look(&dns, &subject)?;
    let stands: Vec<(TxtText, Vec<usize>)> = looked.text.iter().map(|text| (text.clone(), Vec::new())).collect();
    let before = lint_texts(resolver, subject.domain.as_str(), &stands, Evidence::default());
    let facts = SpfFacts {
        ending: Ending::Nothing,
        since: None,
        goal: wanted.goal,
        sound: before.is_sound(),
        ..state.evidence(settings, now)?
    };
    let plan = publish::plan(&dns, state.store(), &subject, facts, &SpfPolicy::default(), now)?;
    let changes = !plan.changes.is_empty();
    let mut applied = Applied {
        domain: subject.domain.to_string(),
        old: plan.old.as_ref().map(ToString::to_string),
        new: plan.new.to_string(),
        changes,
        written: false,
        wait: plan.wait.as_ref().map(ToString::to_string),
    };
    if let Some(wait) = &plan.wait {
        shell.say_more(format_args!("{}: {wait}", subject.domain));
    }
    if changes {
        let after =
            lint_texts(resolver, subject.domain.as_str(), &[(plan.new.clone(), Vec::new())], Evidence::default());
        let worse = after.findings.iter().find(|finding| {
            finding.severity == Severity::Error && before.findings.iter().all(|seen| seen.id != finding.id)
        });
        if let Some(finding) = worse {
            let message =
                format!("{}: not written, for it would break {}: {}", subject.domain, finding.id, finding.seen);
            return Err(Error::new(message).hint(finding.fix.clone()));
        }
        if let Some(why) = after.unknown.first() {
            let message =
                format!("{}: not written, because the new record could not be checked: {why}", subject.domain);
            return Err(Error::new(message).hint("run the command again when DNS answers"));
        }
    }
    if let State::Write(state) = state {
        applied.written = publish::apply(&dns, &mut state.store, &subject, plan, now)?;
    }
    Ok(applied)
}

fn run_adopt(shell: &Shell, args: AdoptArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let settings = shell.one(&config, &args.domain)?;
    let wanted = config.domains.spf(&args.domain).unwrap_or_default();
    let dns = machine::dns(&config, &[&settings])?;
    let domain = settings.domain.as_fqdn().clone();
    let subject = Subject { domain, providers: &settings.providers, wanted: &wanted, ttl: settings.ttl };
    let nothing = || publish::PublishError::NothingToAdopt { domain: subject.domain.clone() };
    let seen = publish::look(&dns, &subject)?.text.ok_or_else(nothing)?;
    shell.say(format_args!("{} shows\n  {seen}", subject.domain));
    let shown = args.text.map_or(seen, TxtText::from);
    if !args.yes {
        if !shell.is_interactive() {
            return Err(Error::usage("nobody is there to agree").hint("add --yes, and --text with the text you saw"));
        }
        if shell.ask("May dkimctl edit this record from now on? Type yes:")? != "yes" {
            return Err(Error::new("nothing was adopted"));
        }
    }
    let mut state = WriteState::open(shell, &config, "spf adopt")?;
    publish::adopt(&dns, &mut state.store, &subject, &shown, &shell.actor(), shell.now())?;
    shell.show(&AdoptReport { domain: subject.domain.to_string(), text: shown.to_string() })?;
    Ok(Exit::Ok)
}

/// The state, as far as it is needed.
enum State {
    Read(ReadState),
    Write(WriteState),
}

impl State {
    fn write(shell: &Shell, config: &Config) -> Result<Self, Error> {
        Ok(State::Write(WriteState::open(shell, config, "spf apply")?))
    }

    /// What the DMARC reports of the last 30 days say; nothing where there are none.
    fn evidence(&self, settings: &Settings, now: Time) -> Result<SpfFacts, Error> {
        let domain = settings.domain.as_fqdn();
        let since = now - Span::days(30);
        let rows = match self {
            State::Read(state) => state.0.rows(domain, since)?,
            State::Write(state) => state.store.rows(domain, since)?,
        };
        let count = |wanted: fn(&Outcome) -> bool| {
            let counted: u64 = rows.iter().filter(|row| wanted(&row.outcome)).map(|row| row.count).sum();
            (!rows.is_empty()).then_some(counted)
        };
        let course = crate::dmarc::publish::course(self.store(), &settings.domain);
        let stands = course.ok().and_then(|course| course.trail.last().cloned());
        let rejects = stands.filter(|stood| rung_of(&stood.text) == Some(Rung::Reject));
        Ok(SpfFacts {
            ending: Ending::Nothing,
            since: None,
            goal: Goal::Soft,
            sound: false,
            reject_since: rejects.map(|stood| stood.since),
            dkim_only: count(|outcome| outcome.dkim && !outcome.spf),
            passing: count(|outcome| outcome.dkim || outcome.spf),
        })
    }

    fn store(&self) -> &dyn dkimctl_state::store::Store {
        match self {
            State::Read(state) => &state.0,
            State::Write(state) => &state.store,
        }
    }
}

fn without_spf(config: &Config, domain: &SigningDomain) -> Error {
    Error::usage(format!("{domain} has no `spf` in {}", config.path.display()))
        .hint("add one, for example: spf = { relays = [\"ses\"], addresses = [\"192.0.2.1\"] }")
}

/// The resolver that was named, or the system's first.
pub(super) fn asked(named: Option<SocketAddr>) -> Result<Recursive, Error> {
    let server = named.or_else(|| system_resolvers().into_iter().next());
    server
        .map(Recursive::new)
        .ok_or_else(|| Error::usage("/etc/resolv.conf names no resolver").hint("name one: --resolver 192.0.2.53:53"))
}

/// An address with or without a port, or a host's name with one.
pub(super) fn resolver(text: &str) -> Result<SocketAddr, String> {
    use std::net::ToSocketAddrs;
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Ok((ip, 53).into());
    }
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found = text.to_socket_addrs().map_err(|error| format!("no resolver is found there: {error}"))?;
    found.into_iter().next().ok_or_else(|| "no address is found for it".to_owned())
}
