use std::net::{IpAddr, SocketAddr};

use clap::Subcommand;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::staging::evidence::Outcome;
use dkimctl_state::lifecycle::staging::ladder::Rung;
use dkimctl_state::lifecycle::staging::spf::{Ending, Goal, SpfFacts, SpfPolicy, SpfWait};
use dkimctl_state::name::{Fqdn, SigningDomain};
use dkimctl_state::record::lint::Severity;
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::store::evidence::EvidenceStore as _;
use dkimctl_state::time::{Span, Time};

use super::error::{Error, Exit};
use super::machine::{ReadState, WriteState};
use super::record::{Desk, asked, consent, resolver};
use super::shell::Shell;
use crate::config::Config;
use crate::dmarc::stage::{rung_of, switching};
use crate::guarded::{Kind, served};
use crate::observe::Sweeper;
use crate::report::spf::{AdoptReport, Applied, ApplyReport, CheckReport, Checked, EvalReport};
use crate::spf::desired::Wanted;
use crate::spf::eval::{Session, check};
use crate::spf::flatten::flatten;
use crate::spf::lint::{Evidence, Report as LintReport, lint, lint_texts};
use crate::spf::publish::{self, Plan, Subject};
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
    Rollback(RollbackArgs),
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
/// Others' terms stay, and a record of others is not touched before `spf adopt`. Ends with 5 if a change has to wait.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl spf apply example.com --dry-run
  dkimctl spf apply
  dkimctl spf apply example.com --resume      after a rollback")]
struct ApplyArgs {
    /// The domains [default: all that have `spf` configured]
    #[arg(value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// Show what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Go on after `spf rollback`
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,
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

/// Put back the record that stood before, to the octet, at once
///
/// Nothing is written after it until `spf apply --resume`: the configuration still asks for what was taken back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dkimctl spf rollback example.com --reason \"the newsletter fails\"")]
struct RollbackArgs {
    /// The domain
    #[arg(value_name = "DOMAIN")]
    domain: SigningDomain,
    /// Why; it stays in the log
    #[arg(long, value_name = "TEXT", default_value = "an operator asked to go back")]
    reason: String,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    match args.verb {
        Verb::Check(args) => run_check(shell, args),
        Verb::Eval(args) => run_eval(shell, args),
        Verb::Apply(args) => run_apply(shell, args),
        Verb::Adopt(args) => run_adopt(shell, args),
        Verb::Rollback(args) => run_rollback(shell, args),
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
        if let (true, State::Write(state)) = (args.resume, &mut state) {
            publish::resume(&mut state.store, settings.domain.as_fqdn())?;
        }
        match apply_one(shell, &config, &mut state, settings, wanted, &resolver) {
            Ok(applied) => report.domains.push(applied),
            Err(error) => {
                shell.error(&error.message, &error.hints);
                failed = true;
            }
        }
    }
    shell.show(&report)?;
    let waits = !args.dry_run && report.domains.iter().any(|applied| applied.changes && !applied.written);
    Ok(match failed {
        true => Exit::Failed,
        false if waits => Exit::Pending,
        false => Exit::Ok,
    })
}

fn apply_one(
    shell: &Shell,
    config: &Config,
    state: &mut State,
    settings: &Settings,
    wanted: &Wanted,
    resolver: &Recursive,
) -> Result<Applied, Error> {
    let Desk { dns, servers, .. } = Desk::of(config, settings.clone())?;
    let domain = settings.domain.as_fqdn().clone();
    let subject = Subject { domain, providers: &settings.providers, wanted, ttl: settings.ttl };
    let now = shell.now();
    let looked = publish::look(&dns, &subject)?;
    let stands: Vec<(TxtText, Vec<usize>)> =
        looked.texts.first().into_iter().flatten().map(|text| (text.clone(), Vec::new())).collect();
    let before = lint_texts(resolver, subject.domain.as_str(), &stands, Evidence::default());
    let facts = SpfFacts {
        ending: Ending::Nothing,
        since: None,
        goal: wanted.goal,
        sound: before.is_sound(),
        ..state.evidence(settings, now)?
    };
    let plan = publish::plan(&dns, state.store(), &subject, facts, &SpfPolicy::default(), now)?;
    let mut wait = plan.wait.clone();
    if plan.changes {
        unharmed(resolver, &subject, &before, &plan)?;
        wait = held_back(state, settings, &*servers, &subject, &plan, now)?.or(wait);
    }
    let mut applied = Applied {
        domain: subject.domain.to_string(),
        old: plan.old.as_ref().map(ToString::to_string),
        new: plan.new.to_string(),
        changes: plan.changes,
        written: false,
        wait: wait.as_ref().map(ToString::to_string),
    };
    match (&wait, plan.changes) {
        // Whoever typed it wants to know why nothing was done.
        (Some(wait), true) => shell.warn(format_args!("{}: not written: {wait}", subject.domain)),
        (Some(wait), false) => shell.say_more(format_args!("{}: {wait}", subject.domain)),
        (None, _) => {}
    }
    if let State::Write(state) = state
        && (wait.is_none() || !plan.changes)
    {
        let new = plan.new.clone();
        applied.written = publish::apply(&dns, &mut state.store, &subject, plan, &shell.actor(), now)?;
        if applied.written {
            let served = served(&*servers, Kind::Spf, &subject.domain, &new, now);
            if !served.everywhere() {
                shell.warn(format_args!("{}: the new record is {served}", subject.domain));
            }
        }
    }
    Ok(applied)
}

/// A new record that is worse than the old one, or that could not be checked, is not written.
fn unharmed(resolver: &Recursive, subject: &Subject<'_>, before: &LintReport, plan: &Plan) -> Result<(), Error> {
    let after = lint_texts(resolver, subject.domain.as_str(), &[(plan.new.clone(), Vec::new())], Evidence::default());
    let worse = after.findings.iter().find(|finding| {
        finding.severity == Severity::Error && before.findings.iter().all(|seen| seen.id != finding.id)
    });
    if let Some(finding) = worse {
        let message = format!("{}: not written, for it would break {}: {}", subject.domain, finding.id, finding.seen);
        return Err(Error::new(message).hint(finding.fix.clone()));
    }
    if let Some(why) = after.unknown.first() {
        let message = format!("{}: not written, because the new record could not be checked: {why}", subject.domain);
        return Err(Error::new(message).hint("run the command again when DNS answers"));
    }
    Ok(())
}

/// What a change that could be written waits for.
fn held_back(
    state: &State,
    settings: &Settings,
    servers: &dyn Sweeper,
    subject: &Subject<'_>,
    plan: &Plan,
    now: Time,
) -> Result<Option<SpfWait>, Error> {
    if let Some(selector) = switching(&state.store().load(&settings.domain)?.ledger) {
        return Ok(Some(SpfWait::KeySwitch(selector)));
    }
    if let (true, Some(old)) = (plan.climbs, &plan.old) {
        let served = served(servers, Kind::Spf, &subject.domain, old, now);
        return Ok((!served.everywhere()).then(|| SpfWait::Servers(served.to_string())));
    }
    Ok(None)
}

fn run_adopt(shell: &Shell, args: AdoptArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let Desk { settings, dns, .. } = Desk::new(shell, &config, &args.domain)?;
    let wanted = config.domains.spf(&args.domain).unwrap_or_default();
    let domain = settings.domain.as_fqdn().clone();
    let subject = Subject { domain, providers: &settings.providers, wanted: &wanted, ttl: settings.ttl };
    let nothing = || publish::PublishError::NothingToAdopt { domain: subject.domain.clone() };
    let seen = publish::look(&dns, &subject)?.agreed()?.ok_or_else(nothing)?;
    shell.say(format_args!("{} shows\n  {seen}", subject.domain));
    let shown = args.text.map_or(seen, TxtText::from);
    consent(shell, args.yes)?;
    let mut state = WriteState::open(shell, &config, "spf adopt")?;
    publish::adopt(&dns, &mut state.store, &subject, &shown, &shell.actor(), shell.now())?;
    shell.show(&AdoptReport { domain: subject.domain.to_string(), text: shown.to_string() })?;
    Ok(Exit::Ok)
}

fn run_rollback(shell: &Shell, args: RollbackArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let Desk { settings, dns, .. } = Desk::new(shell, &config, &args.domain)?;
    let wanted = config.domains.spf(&args.domain).unwrap_or_default();
    let domain = settings.domain.as_fqdn().clone();
    let subject = Subject { domain, providers: &settings.providers, wanted: &wanted, ttl: settings.ttl };
    let mut state = WriteState::open(shell, &config, "spf rollback")?;
    let old = publish::look(&dns, &subject)?.texts.into_iter().flatten().next();
    let new = publish::rollback(&dns, &mut state.store, &subject, &args.reason, &shell.actor(), shell.now())?;
    let applied = Applied {
        domain: subject.domain.to_string(),
        old: old.map(|text| text.to_string()),
        new: new.to_string(),
        changes: true,
        written: true,
        wait: None,
    };
    shell.show(&ApplyReport { domains: vec![applied] })?;
    shell.say(format_args!("nothing is written from now on; `dkimctl spf apply {} --resume` goes on", args.domain));
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
