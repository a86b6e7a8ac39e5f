use std::collections::BTreeMap;
use std::net::SocketAddr;

use dkimctl_state::lifecycle::staging::course::Hold;
use dkimctl_state::lifecycle::staging::gates::State as Weighed;
use dkimctl_state::lifecycle::staging::ladder::Rung;
use dkimctl_state::lifecycle::staging::policy::StagingPolicy;
use dkimctl_state::lifecycle::staging::sources::{Network, NotOurs, Sender};
use dkimctl_state::lifecycle::staging::{Due, Move, StagingWait};
use dkimctl_state::name::{Fqdn, Label, SigningDomain};
use dkimctl_state::record::dmarc::{DmarcRecord, Policy, ReportUri, read};
use dkimctl_state::record::lint::Severity;
use dkimctl_state::record::txt::TxtText;

use super::super::error::{Error, Exit};
use super::super::machine::{self, ReadState, WriteState};
use super::super::record::{Desk, asked, consent};
use super::super::shell::Shell;
use super::{
    AckArgs, AdoptArgs, AdvanceArgs, HoldArgs, Named, RollbackArgs, SourcesArgs, StatusArgs, check,
    named as named_source,
};
use crate::config::Config;
use crate::dmarc::authorization::{self, Acting, Hosts};
use crate::dmarc::publish::{PublishError, course, due, wake};
use crate::dmarc::stage::{Records, Stage, State, switching};
use crate::dns::Dns;
use crate::report::dmarc::{AdoptReport, MoveReport, SourcesReport, Standing, StatusReport, leave_text};
use crate::spf::lint::{Evidence, lint, networks};

/// What one domain's stage is made of.
struct Scene {
    desk: Desk,
    policy: StagingPolicy,
}

impl Scene {
    fn new(shell: &Shell, config: &Config, domain: &SigningDomain) -> Result<Scene, Error> {
        Ok(Scene { desk: Desk::new(shell, config, domain)?, policy: config.domains.dmarc(domain) })
    }

    fn stage<'a>(&'a self, shell: &Shell, store: &'a mut dyn State, records: Records) -> Stage<'a> {
        let Desk { settings, dns, servers } = &self.desk;
        let (policy, servers) = (&self.policy, &**servers);
        Stage { dns, store, servers, settings, policy, records, now: shell.now(), actor: shell.actor() }
    }

    /// What resolvers show; where nobody can be asked, that is an error like any other.
    fn records(&self, resolver: Option<SocketAddr>) -> Records {
        let resolver = match asked(resolver) {
            Ok(resolver) => resolver,
            Err(error) => return Records { spf_errors: vec![error.message], ..Records::default() },
        };
        let domain = self.desk.settings.domain.as_fqdn();
        let spf = lint(&resolver, domain.as_str(), Evidence::default());
        let errors =
            spf.findings.iter().filter(|f| f.severity == Severity::Error).map(|f| format!("{}: {}", f.id, f.seen));
        let unknown = spf.unknown.iter().map(|why| format!("SPF could not be checked: {why}"));
        let own = networks(&spf.tree).into_iter().filter_map(|(ip, length)| Network::new(ip, length));
        let dmarc = check::look(&resolver, domain).findings;
        Records {
            networks: own.collect(),
            spf_errors: errors.chain(unknown).collect(),
            dmarc_errors: dmarc.into_iter().filter(|f| f.severity == Severity::Error).map(|f| f.seen).collect(),
        }
    }
}

/// Brings the leaves to send reports elsewhere to what the record that stands needs.
fn leaves(shell: &Shell, config: &Config, scene: &Scene, store: &mut dyn State) -> Result<(), Error> {
    let settings = &scene.desk.settings;
    let record = course(store, &settings.domain)?.record();
    let holders = holders(config, scene, store, record.as_ref())?;
    let (ours, dns) = &holders;
    let by = shell.actor();
    let acting = Acting { by: &by, now: shell.now(), ttl: settings.ttl };
    let holding = |host: &Fqdn| ours.get(host).cloned().unwrap_or_default();
    let hosts = Hosts { dns, servers: &*scene.desk.servers };
    for changed in authorization::ensure(hosts, store, &settings.domain, record.as_ref(), &holding, &acting)? {
        shell.say(leave_text(&settings.domain, &changed));
    }
    Ok(())
}

/// The providers of ours that hold the zones of the hosts that have reports sent to: those of a configured domain above
/// the host, or the domain's own.
fn holders(
    config: &Config,
    scene: &Scene,
    store: &dyn State,
    record: Option<&DmarcRecord>,
) -> Result<(BTreeMap<Fqdn, Vec<Label>>, Dns), Error> {
    let settings = &scene.desk.settings;
    let mut needed = settings.clone();
    let mut ours = BTreeMap::new();
    let hosts = record.map(|record| authorization::needed(settings.domain.as_fqdn(), record)).unwrap_or_default();
    for host in hosts.into_values() {
        let above = std::iter::successors(Some(host.clone()), Fqdn::parent);
        let configured = above.filter_map(|name| config.settings(&name.as_str().parse().ok()?)).next();
        let own = || settings.providers.iter().filter(|label| scene.desk.dns.zone(label, &host).is_ok()).cloned();
        let labels: Vec<Label> = configured.map_or_else(|| own().collect(), |settings| settings.providers);
        needed.providers.extend(labels.iter().cloned());
        ours.insert(host, labels);
    }
    // What was given once may have to be taken back elsewhere.
    let kept = authorization::kept(store, &settings.domain)?;
    needed.providers.extend(kept.ours.into_values().flat_map(|leave| leave.providers));
    Ok((ours, machine::dns(config, &[&needed])?))
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
        let records = scene.records(args.resolver);
        let stage = scene.stage(shell, &mut state.0, records);
        let mut gathered = stage.gather()?;
        gathered.served(stage.served(&gathered.course));
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
    let mut report = MoveReport { moves: Vec::new() };
    // Nothing due: no lock, no question, no write.
    if args.domains.is_empty() && due(&ReadState::open(shell, &config)?.0, shell.now(), 1)?.is_empty() {
        if shell.global.json {
            shell.show(&report)?;
        }
        return Ok(Exit::Ok);
    }
    let mut state = WriteState::open(shell, &config, "dmarc advance")?;
    let chosen = match args.domains.as_slice() {
        [] => due(&state.store, shell.now(), usize::MAX)?,
        named => named.to_vec(),
    };
    let mut failed = false;
    for domain in chosen {
        match one(shell, &config, &domain, &mut state.store, args.resolver) {
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
                shell.error(&error.message, &error.hints);
                failed = true;
            }
        }
    }
    if !report.moves.is_empty() || shell.global.json {
        shell.show(&report)?;
    }
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

/// One domain; when it is looked at again is written down.
fn one(
    shell: &Shell,
    config: &Config,
    domain: &SigningDomain,
    store: &mut dyn State,
    resolver: Option<SocketAddr>,
) -> Result<Due, Error> {
    if !config.domains.contains(domain) {
        // It was taken out of the configuration: nobody's business any more until it is adopted again.
        wake(store, domain, None)?;
    }
    let scene = Scene::new(shell, config, domain)?;
    let due = weigh(shell, &scene, store, resolver)?;
    if due.rung.is_some() {
        leaves(shell, config, &scene, store)?;
    }
    wake(store, domain, due.rung.map(|_| due.wake(shell.now())))?;
    if let Move::Write { .. } = due.what {
        late(shell, &scene, store)?;
    }
    Ok(due)
}

/// A server that does not show a new record yet is said.
fn late(shell: &Shell, scene: &Scene, store: &mut dyn State) -> Result<(), Error> {
    let domain = &scene.desk.settings.domain;
    let course = course(store, domain)?;
    match scene.stage(shell, store, Records::default()).served(&course) {
        Some(served) if !served.everywhere() => shell.warn(format_args!("{domain}: the new record is {served}")),
        _ => {}
    }
    Ok(())
}

/// Records are looked up only where they can matter: not before the time has come, unless a policy is enforced.
fn weigh(
    shell: &Shell,
    scene: &Scene,
    store: &mut dyn State,
    resolver: Option<SocketAddr>,
) -> Result<Due, PublishError> {
    let stage = scene.stage(shell, &mut *store, Records::default());
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
    let records = scene.records(resolver);
    scene.stage(shell, store, records).advance()
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
    let mut stage = scene.stage(shell, &mut state.store, Records::default());
    match stage.rollback(&args.reason)? {
        Some(rung) => {
            late(shell, &scene, &mut state.store)?;
            leaves(shell, &config, &scene, &mut state.store)?;
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
    let records = scene.records(args.resolver);
    let sources = scene.stage(shell, &mut state.0, records).sources(args.days)?;
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
    scene.stage(shell, &mut state.store, Records::default()).note(change)?;
    Ok(())
}

pub fn adopt(shell: &Shell, args: AdoptArgs) -> Result<Exit, Error> {
    let config = shell.config()?;
    let scene = Scene::new(shell, &config, &args.domain)?;
    let mut state = WriteState::open(shell, &config, "dmarc adopt")?;
    let domain = &args.domain;
    let mut stage = scene.stage(shell, &mut state.store, Records::default());
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
    let selector = switching(&stage.store.load(domain)?.ledger);
    if let (Some(selector), Some(_)) = (selector, &first) {
        return Err(Error::new(format!("{domain}: a key is being switched ({selector}); one thing at a time"))
            .hint(format!("dkimctl status {domain} says when that is over")));
    }
    let record = first.as_ref().or(seen.as_ref()).and_then(|text| read(text).0);
    for (name, host) in record.iter().flat_map(|record| authorization::needed(domain.as_fqdn(), record)) {
        shell
            .say(format_args!("reports go to {host}, which has to say so at {name}; where that zone is ours, it will"));
    }
    consent(shell, args.yes)?;
    let course = stage.adopt(seen, first)?;
    leaves(shell, &config, &scene, &mut state.store)?;
    let text = course.now().map(|stood| stood.text.to_string()).unwrap_or_default();
    shell.show(&AdoptReport { domain: domain.to_string(), text, rung: course.rung() })?;
    Ok(Exit::Ok)
}
