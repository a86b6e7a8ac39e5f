use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::Store as _;

use super::error::{Error, Exit};
use super::machine::ReadState;
use super::record::resolver;
use super::shell::Shell;
use crate::config::error::nearest;
use crate::config::find::Surroundings;
use crate::config::{Config, find};
use crate::doctor;
use crate::doctor::catalog::{self, Check, Only, is_wanted};
use crate::doctor::container::Container;
use crate::doctor::engine::{Docker, Engine};
use crate::doctor::files::Files;
use crate::doctor::finding::Outcome;
use crate::doctor::memory::Memory;
use crate::doctor::patient::{Image, OurKey, Ours, Patient, Profile, Reach, Seen};
use crate::observe::resolv_conf::system_resolvers;
use crate::report::doctor::{
    DoctorReport, Look, NOTHING_TO_EXAMINE, NOTHING_TO_EXAMINE_HINT, github, gone, no_such_check, sarif,
};

mod logs;

/// Find what goes wrong with signed mail in containers
///
/// Looks at files, at a running container, at an image, at DNS, and says what was seen, why it matters, who must act
/// and how. What could not be looked at is `unknown`, and never a finding. Needs no configuration; with one, keys that
/// are found are told apart: ours and live, ours, somebody's.
///
/// Exits with 3 if a check failed, with 4 if none failed but some could not be checked. Warnings do not count, unless
/// `--strict` is given.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  dkimctl doctor                                       the Compose project in this directory
  dkimctl doctor --container mail                      and what really runs
  dkimctl doctor --image registry.example/mail:7 --only KEY
  dkimctl doctor --files . --offline --format github   in a pull request
  dkimctl doctor --container mail --changes            from cron: silent when nothing is new
  dkimctl explain RELAY001                             at length"
)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// A directory with Compose files, Dockerfiles, configuration [default: this one, if it has any]
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// An image, by its name or as a file that `docker save` wrote
    #[arg(long, value_name = "REF|TAR")]
    image: Option<String>,
    /// The container that sends the mail
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// The Compose service that sends the mail [default: what its image shows]
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// Only these groups or checks, such as NET,KEY002
    #[arg(long, value_name = "GROUP|ID", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these domains [default: all that are configured]
    #[arg(long = "domain", value_name = "DOMAIN")]
    domains: Vec<SigningDomain>,
    /// Show and count only what has changed since the last run; answers of DNS must be bad twice
    #[arg(long)]
    changes: bool,
    /// Let warnings count: exit with 3 for them too
    #[arg(long)]
    strict: bool,
    /// Whose rules the mail has to meet
    #[arg(long, value_name = "PROFILE", default_value = "transactional")]
    profile: Profile,
    /// Ask nothing over the network; what needs it is passed over
    #[arg(long)]
    offline: bool,
    /// The resolver to ask; several are asked in turn [default: those of [observe], or the system's]
    #[arg(long = "resolver", value_name = "HOST:PORT", value_parser = resolver)]
    resolvers: Vec<SocketAddr>,
    /// An address that mail leaves from, where it cannot be seen
    #[arg(long = "public-ip", value_name = "IP")]
    public: Vec<IpAddr>,
    /// A mail server whose port 25 is tried from where the mail leaves; no mail is sent [default: Google's]
    #[arg(long = "peer", value_name = "HOST")]
    peers: Vec<String>,
    /// A block list to ask, with --only NET008 [default: zen.spamhaus.org]
    #[arg(long = "blocklist", value_name = "ZONE")]
    blocklists: Vec<String>,
    /// Ask this server of yours to relay for strangers; it must be this machine, or at a --public-ip
    #[arg(long, value_name = "HOST[:PORT]")]
    probe_relay: Option<String>,
    /// For people, programs, GitHub's annotations, or code scanning
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Logs(logs::Args),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    /// The same as --json
    Json,
    Github,
    Sarif,
}

pub fn run(shell: &Shell, args: Args) -> Result<Exit, Error> {
    if let Some(Verb::Logs(args)) = args.verb {
        return logs::run(shell, args);
    }
    let only: Vec<Only> = args.only.iter().map(|text| chosen(text)).collect::<Result<_, _>>()?;
    let wanted = |check: &Check| is_wanted(&only, check);
    let patient = patient(shell, &args)?;
    let mut checks = doctor::examine(&patient, &wanted);
    if args.changes {
        let directory = memory_directory(&patient)?;
        let mut memory = Memory::load(&directory);
        checks = memory.changes(&subject(&args), checks, &wanted, &gone);
        memory.save(&directory)?;
    }
    let look = Look {
        verbose: shell.global.verbose > 0,
        quiet: shell.global.quiet,
        changes: args.changes,
        unicode: speaks_unicode(),
    };
    let report = DoctorReport { checks, look };
    match args.format {
        Format::Human => shell.show(&report)?,
        Format::Json => shell.print(&crate::report::Report::json(&report))?,
        Format::Github => shell.print(&github::annotations(&report))?,
        Format::Sarif => shell.print(&sarif::document(&report))?,
    }
    Ok(exit(&report, args.strict))
}

/// Failed checks come before unknown ones: 4 means that nothing is known to be wrong.
fn exit(report: &DoctorReport, strict: bool) -> Exit {
    let warned = || {
        report
            .checks
            .iter()
            .any(|finding| finding.result == Outcome::Warn && finding.severity > crate::doctor::finding::Severity::Info)
    };
    if report.has(Outcome::Fail) || strict && warned() {
        Exit::ChecksFailed
    } else if report.has(Outcome::Unknown) {
        Exit::NotChecked
    } else {
        Exit::Ok
    }
}

fn chosen(text: &str) -> Result<Only, Error> {
    let groups = catalog::Group::ALL.iter().map(|group| group.prefix());
    Only::parse(text).ok_or_else(|| unheard_of(text, groups))
}

/// A check by its id, as people type it.
pub(super) fn check_named(text: &str) -> Result<&'static Check, Error> {
    catalog::find(text).ok_or_else(|| unheard_of(text, []))
}

fn unheard_of(text: &str, groups: impl IntoIterator<Item = &'static str>) -> Error {
    let names = catalog::CHECKS.iter().map(|check| check.id).chain(groups);
    let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
    let nearest = nearest(text, names.iter().map(String::as_str)).map(|name| name.to_ascii_uppercase());
    Error::usage(no_such_check(text, nearest.as_deref())).hint("dkimctl explain lists them")
}

/// Everything that was named, as far as it can be reached.
fn patient(shell: &Shell, args: &Args) -> Result<Patient, Error> {
    let engine: Arc<dyn Engine> = Arc::new(Docker::default());
    let files = match &args.files {
        Some(directory) => Some(open(directory)?),
        None if args.image.is_some() && args.container.is_none() => None,
        None => Files::is_project(Path::new(".")).then(|| open(Path::new("."))).transpose()?,
    };
    let container = match &args.container {
        None => Reach::NotAsked,
        Some(name) => match Container::open(engine.clone(), name) {
            Ok(container) => Reach::There(container),
            Err(error) => Reach::Failed(error.to_string()),
        },
    };
    let image = args.image.as_ref().map(|image| match Path::new(image).is_file() {
        true => Image::Archive(image.into()),
        false => Image::Named(image.clone()),
    });
    let ours = ours(shell, args)?;
    let nothing = files.is_none()
        && image.is_none()
        && matches!(container, Reach::NotAsked)
        && args.public.is_empty()
        && args.probe_relay.is_none();
    if nothing && ours.config.is_none() && args.domains.is_empty() {
        return Err(Error::usage(NOTHING_TO_EXAMINE).hint(NOTHING_TO_EXAMINE_HINT));
    }
    let mut resolvers = args.resolvers.clone();
    if resolvers.is_empty() {
        resolvers.extend(ours.config.iter().flat_map(|config| config.observe.recursives.clone()));
    }
    if resolvers.is_empty() {
        resolvers = system_resolvers();
    }
    Ok(Patient {
        files,
        container,
        image,
        engine,
        ours,
        service: args.service.clone(),
        domains: args.domains.clone(),
        resolvers,
        public: args.public.clone(),
        peers: if args.peers.is_empty() { Patient::default().peers } else { args.peers.clone() },
        blocklists: blocklists(args),
        probe_relay: args.probe_relay.clone(),
        profile: args.profile,
        offline: args.offline,
        now: shell.now(),
        seen: Seen::default(),
    })
}

/// Lists are asked only when NET008 is named: their owners count questions, and some want to be paid.
fn blocklists(args: &Args) -> Vec<String> {
    match args.only.iter().any(|only| only.eq_ignore_ascii_case("NET008")) {
        true if args.blocklists.is_empty() => vec!["zen.spamhaus.org".to_owned()],
        true => args.blocklists.clone(),
        false => Vec::new(),
    }
}

fn open(directory: &Path) -> Result<Files, Error> {
    Files::open(directory).map_err(|error| {
        Error::new(format!("{} cannot be read: {error}", directory.display())).hint("name another: --files DIR")
    })
}

/// Configuration and keys, if there are any. A configuration that was named must be right; one that is merely there
/// and cannot be read leaves the rest of the examination alone.
fn ours(shell: &Shell, args: &Args) -> Result<Ours, Error> {
    let around = Surroundings { variable: None, ..Surroundings::of_this_process() };
    let Ok(path) = find(shell.global.config.as_deref(), &around) else { return Ok(Ours::default()) };
    let config = match Config::load(&path) {
        Ok(config) => config,
        Err(error) if shell.global.config.is_some() => return Err(error.into()),
        Err(error) => return Ok(Ours { unread: Some(error.to_string()), ..Ours::default() }),
    };
    let mut ours = Ours::default();
    match keys(shell, &config, &args.domains) {
        Ok(keys) => ours.keys = keys,
        Err(error) => ours.unread = Some(error.message),
    }
    ours.config = Some(config);
    Ok(ours)
}

fn keys(shell: &Shell, config: &Config, domains: &[SigningDomain]) -> Result<Vec<OurKey>, Error> {
    let state = ReadState::open(shell, config)?;
    let mut keys = Vec::new();
    let names: Vec<SigningDomain> = match domains {
        [] => config.domains.names().cloned().collect(),
        named => named.to_vec(),
    };
    for domain in names {
        let policy = config.settings(&domain).map_or_else(|| config.policy.clone(), |settings| settings.policy);
        for (phase, key) in state.0.load(&domain)?.ledger.keys() {
            keys.push(OurKey {
                domain: domain.clone(),
                selector: key.selector.clone(),
                phase,
                algorithm: key.algorithm,
                public: key.public.clone(),
                record: key.record(),
                due: key.sealed + policy.key_age_notice,
            });
        }
    }
    Ok(keys)
}

/// Where the last run is remembered: beside the state, or where a user's programs keep theirs.
fn memory_directory(patient: &Patient) -> Result<PathBuf, Error> {
    if let Some(config) = patient.ours.config.as_ref().filter(|config| config.state.is_dir()) {
        return Ok(config.state.clone());
    }
    let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("XDG_STATE_HOME").or_else(|| Some(path("HOME")?.join(".local/state")));
    let directory = home.map(|home| home.join("dkimctl"));
    let directory = directory.ok_or_else(|| {
        Error::new("there is no place to remember this run in: HOME is not set").hint("set XDG_STATE_HOME")
    })?;
    std::fs::create_dir_all(&directory)
        .map_err(|error| Error::new(format!("{} cannot be made: {error}", directory.display())))?;
    Ok(directory)
}

/// What was examined, so that two patients are not taken for one.
fn subject(args: &Args) -> String {
    let files = args.files.as_ref().map(|files| files.display().to_string());
    let parts = [("files", files), ("container", args.container.clone()), ("image", args.image.clone())];
    let named: Vec<String> =
        parts.into_iter().filter_map(|(what, name)| name.map(|name| format!("{what} {name}"))).collect();
    if named.is_empty() { std::env::current_dir().unwrap_or_default().display().to_string() } else { named.join(", ") }
}

fn speaks_unicode() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
