use std::net::SocketAddr;

use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::staging::course::Hold;
use dkimctl_state::lifecycle::staging::gates::State as Weighed;
use dkimctl_state::lifecycle::staging::ladder::Rung;
use dkimctl_state::lifecycle::staging::policy::StagingPolicy;
use dkimctl_state::lifecycle::staging::sources::{Network, NotOurs, Sender};
use dkimctl_state::lifecycle::staging::{Due, Move, StagingWait};
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dmarc::{DmarcRecord, Policy, ReportUri};
use dkimctl_state::record::txt::TxtText;

use super::super::error::{Error, Exit};
use super::super::machine::{self, ReadState, WriteState};
use super::super::shell::Shell;
use super::super::spf::asked;
use super::{
    AckArgs, AdoptArgs, AdvanceArgs, HoldArgs, Named, RollbackArgs, SourcesArgs, StatusArgs, named as named_source,
};
use crate::config::Config;
use crate::dmarc::publish::{PublishError, course};
use crate::dmarc::stage::{Spf, Stage, State};
use crate::dns::Dns;
use crate::report::dmarc::{AdoptReport, MoveReport, SourcesReport, Standing, StatusReport};
use crate::spf::lint::{Evidence, Severity, lint, networks};

/// What one domain's stage is made of.
struct Scene {
    settings: Settings,
    policy: StagingPolicy,
    dns: Dns,
}

impl Scene {
    fn new(shell: &Shell, config: &Config, domain: &SigningDomain) -> Result<Scene, Error> {
        let settings = shell.one(config, domain)?;
        let dns = machine::dns(config, &[&settings])?;
        Ok(Scene { policy: config.domains.dmarc(domain), settings, dns })
    }

    fn stage<'a>(&'a self, shell: &Shell, store: &'a mut dyn State, spf: Spf) -> Stage<'a> {
        let (settings, policy, dns) = (&self.settings, &self.policy, &self.dns);
        Stage { dns, store, settings, policy, spf, now: shell.now(), actor: shell.actor() }
    }

    /// What SPF says; where nobody can be asked, that is an error like any other.
    fn spf(&self, resolver: Option<SocketAddr>) -> Spf {
        let resolver = match asked(resolver) {
            Ok(resolver) => resolver,
            Err(error) => return Spf { networks: Vec::new(), errors: vec![error.message] },
        };
        let found = lint(&resolver, self.settings.domain.as_str(), Evidence::default());
        let errors =
            found.findings.iter().filter(|f| f.severity == Severity::Error).map(|f| format!("{}: {}", f.id, f.seen));
        let unknown = found.unknown.iter().map(|why| format!("SPF could not be checked: {why}"));
        let own = networks(&found.tree).into_iter().filter_map(|(ip, length)| Network::new(ip, length));
        Spf { networks: own.collect(), errors: errors.chain(unknown).collect() }
    }
}

/// The named domains; without a name, those whose record was adopted.
fn chosen(config: &Config, store: &dyn State, named: &[SigningDomain]) -> Result<Vec<SigningDomain>, Error> {
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    let mut chosen = Vec::new();
    for domain in config.domains.names() {
        if course(store, domain)?.now().is_some() {
            chosen.push(domain.clone());
        }
    }
    Ok(chosen)
}

pub fn status(shell: &Shell, args: StatusArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let mut state = ReadState::open(shell, &config)?;
    let mut report = StatusReport { domains: Vec::new() };
    for domain in chosen(&config, &state.0, &args.domains)? {
        let scene = Scene::new(shell, &config, &domain)?;
        let spf = scene.spf(args.resolver);
        let stage = scene.stage(shell, &mut state.0, spf);
        let gathered = stage.gather()?;
        report.domains.push(Standing::new(&gathered.course, stage.decide(&gathered)));
    }
    shell.show(&report)?;
    let weighed = |wanted| report.domains.iter().any(|d| d.due.verdict.as_ref().is_some_and(|v| v.state == wanted));
    Ok(match args.exit_code {
        true if weighed(Weighed::Blocked) => Exit::ChecksFailed,
        true if weighed(Weighed::Insufficient) => Exit::NotChecked,
        _ => Exit::Ok,
    })
}

pub fn advance(shell: &Shell, args: AdvanceArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let mut state = WriteState::open(shell, &config, "dmarc advance")?;
    let mut failed = false;
    let mut report = MoveReport { moves: Vec::new() };
    for domain in chosen(&config, &state.store, &args.domains)? {
        let scene = Scene::new(shell, &config, &domain)?;
        match one(shell, &scene, &mut state.store, args.resolver) {
            Ok(due) => {
                if let Move::Write { rung, to, why, .. } = &due.what {
                    report.moves.push((domain, *rung, to.to_string(), why.clone()));
                } else if let Some(why) = alarm(&due) {
                    shell.warn(format_args!("{domain}: {why}; `dkimctl dmarc rollback {domain}` goes back"));
                } else {
                    shell.say_more(format_args!("{domain}: stays; `dkimctl dmarc status {domain}` says why"));
                }
            }
            // One domain's trouble is its own.
            Err(error) => {
                shell.error(&error, &[]);
                failed = true;
            }
        }
    }
    if !report.moves.is_empty() || shell.global.json {
        shell.show(&report)?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

/// SPF is looked up only where it can matter: not before the time has come, unless a policy is enforced.
fn one(shell: &Shell, scene: &Scene, store: &mut dyn State, resolver: Option<SocketAddr>) -> Result<Due, PublishError> {
    let stage = scene.stage(shell, &mut *store, Spf::default());
    let gathered = stage.gather()?;
    let early = stage.decide(&gathered);
    let pending = gathered.course.pending.is_some();
    let too_early = early.waits.iter().any(|wait| match wait {
        StagingWait::Gates { closed, .. } => closed.contains(&"days"),
        StagingWait::Rehearsal { .. } | StagingWait::AtTheTop { .. } | StagingWait::NotAdopted => true,
        _ => false,
    });
    if too_early && !pending && !early.rung.is_some_and(Rung::enforces) {
        return Ok(early);
    }
    let spf = scene.spf(resolver);
    scene.stage(shell, store, spf).advance()
}

fn alarm(due: &Due) -> Option<&str> {
    due.waits.iter().find_map(|wait| match wait {
        StagingWait::Alarm { why } => Some(why.as_str()),
        _ => None,
    })
}

pub fn rollback(shell: &Shell, args: RollbackArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let scene = Scene::new(shell, &config, &args.domain)?;
    let mut state = WriteState::open(shell, &config, "dmarc rollback")?;
    let mut stage = scene.stage(shell, &mut state.store, Spf::default());
    match stage.rollback(&args.reason)? {
        Some(rung) => {
            let text = course(&state.store, &args.domain)?.now().map(|stood| stood.text.to_string());
            shell.show(&MoveReport { moves: vec![(args.domain, rung, text.unwrap_or_default(), args.reason)] })?;
            Ok(Exit::Ok)
        }
        None => Err(Error::new(format!("{}: there is no earlier record to go back to", args.domain))
            .hint("only what dkimctl wrote over is put back; `dkimctl dmarc status` shows what stands")),
    }
}

pub fn hold(shell: &Shell, args: HoldArgs) -> Result<Exit, Error> {
    let (since, by) = (shell.now(), shell.actor());
    let hold = args.reason.filter(|_| !args.release).map(|reason| Hold { since, by, reason });
    let held = hold.is_some();
    note(shell, &args.domain, "dmarc hold", |course| course.hold = hold)?;
    let domain = &args.domain;
    match held {
        true => shell.say(format_args!("{domain} stays where it is; `dkimctl dmarc hold {domain} --release` ends it")),
        false => shell.say(format_args!("{domain} goes on")),
    }
    Ok(Exit::Ok)
}

pub fn sources(shell: &Shell, args: SourcesArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let scene = Scene::new(shell, &config, &args.domain)?;
    let mut state = ReadState::open(shell, &config)?;
    let spf = scene.spf(args.resolver);
    let sources = scene.stage(shell, &mut state.0, spf).sources(args.days)?;
    shell.show(&SourcesReport { domain: args.domain.to_string(), days: args.days, sources })?;
    Ok(Exit::Ok)
}

pub fn ack(shell: &Shell, args: AckArgs) -> Result<Exit, Error> {
    let source = named_source(&args.source)?;
    let (at, by) = (shell.now(), shell.actor());
    let AckArgs { domain, source: text, sender, selector, cadence, reason, .. } = args;
    note(shell, &domain, "dmarc ack", |course| {
        course.not_ours.retain(|known| !known.source.eq_ignore_ascii_case(&text));
        let Some(name) = sender else {
            return course.not_ours.push(NotOurs { source: text, by, at, reason });
        };
        let index = course.senders.iter().position(|known| known.name == name).unwrap_or_else(|| {
            let (domains, selectors, networks) = (Vec::new(), Vec::new(), Vec::new());
            course.senders.push(Sender { name, domains, selectors, networks, cadence, since: at });
            course.senders.len() - 1
        });
        let sender = &mut course.senders[index];
        (sender.since, sender.cadence) = (at, cadence);
        sender.selectors.extend(selector);
        match source {
            Named::Domain(domain) => sender.domains.push(domain),
            Named::Network(network) => sender.networks.push(network),
        }
    })?;
    Ok(Exit::Ok)
}

fn note(
    shell: &Shell,
    domain: &SigningDomain,
    verb: &str,
    change: impl FnOnce(&mut dkimctl_state::lifecycle::staging::course::Course),
) -> Result<(), Error> {
    let config = shell.config()?;
    let scene = Scene::new(shell, &config, domain)?;
    let mut state = WriteState::open(shell, &config, verb)?;
    scene.stage(shell, &mut state.store, Spf::default()).note(change)?;
    Ok(())
}

pub fn adopt(shell: &Shell, args: AdoptArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let scene = Scene::new(shell, &config, &args.domain)?;
    let mut state = WriteState::open(shell, &config, "dmarc adopt")?;
    let domain = &args.domain;
    let mut stage = scene.stage(shell, &mut state.store, Spf::default());
    let look = stage.look()?;
    let seen = look.agreed()?;
    let stands = seen.as_ref().map_or("no DMARC record".to_owned(), |text| format!("\n  {text}"));
    shell.say(format_args!("{} shows {stands}", look.name));
    if let Some(text) = &args.text
        && seen != Some(TxtText::from(text.as_str()))
    {
        return Err(Error::new(format!(
            "{} does not show the text that was agreed to; nothing was adopted",
            look.name
        )));
    }
    let first = match (&seen, args.park) {
        (_, true) => {
            let text = stage.may_park()?.map_err(|why| Error::new(format!("{domain} cannot be parked: {why}")))?;
            Some(text)
        }
        (Some(_), false) => None,
        (None, false) if args.rua.is_empty() => {
            return Err(Error::usage(format!("{domain} has no DMARC record, so there is nothing to adopt"))
                .hint(format!("dkimctl dmarc adopt {domain} --rua dmarc@{domain} publishes p=none")));
        }
        (None, false) => {
            let aggregate = args.rua.iter().map(|address| ReportUri::mailto(address)).collect();
            let record = DmarcRecord { aggregate, ..DmarcRecord::with_policy(Policy::None) };
            let text = record.text();
            DmarcRecord::parse(&text).map_err(|fault| Error::usage(fault.to_string()))?;
            Some(text)
        }
    };
    if let Some(text) = &first {
        shell.say(format_args!("it becomes\n  {text}"));
    }
    if !args.yes {
        if !shell.is_interactive() {
            return Err(Error::usage("nobody is there to agree").hint("add --yes, and --text with the text you saw"));
        }
        if shell.ask("May dkimctl edit this record from now on? Type yes:")? != "yes" {
            return Err(Error::new("nothing was adopted"));
        }
    }
    let course = stage.adopt(seen, first)?;
    let text = course.now().map(|stood| stood.text.to_string()).unwrap_or_default();
    shell.show(&AdoptReport { domain: domain.to_string(), text, rung: course.rung() })?;
    Ok(Exit::Ok)
}
