use std::collections::BTreeMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use dkimctl_state::lifecycle::ledger::{Ledger, Phase};
use dkimctl_state::name::SigningDomain;
use dkimctl_state::store::{Store, StoreError};

use super::super::error::{Error, Exit, Kind};
use super::super::machine::{ReadState, WriteState};
use super::super::shell::Shell;
use super::ReadArgs;
use super::send::wanted;
use crate::config::find::Surroundings;
use crate::config::placement::Seed;
use crate::config::{Config, find};
use crate::mail::header;
use crate::placement::evidence::{self, Evidence, Whose};
use crate::placement::imap;
use crate::placement::journal::{self, Summary};
use crate::placement::meaning::{self, Outcome};
use crate::placement::messages::{self, Message};
use crate::placement::probe::Token;
use crate::report::placement::{Covered, Mailbox, Missing, ReadReport, Round};

/// How often a mailbox is looked into while a probe is on its way.
const BETWEEN_LOOKS: Duration = Duration::from_secs(3);

pub fn run(shell: &Shell, args: ReadArgs) -> Result<Exit, Error> {
    let around = Surroundings { variable: None, ..Surroundings::of_this_process() };
    let piped = if args.paths.is_empty() && args.seed.is_some() { piped() } else { Vec::new() };
    let has_input = !args.paths.is_empty() || !piped.is_empty();
    // A message that is handed over can be read anywhere; mailboxes and keys stand in the configuration.
    let configured = shell.global.config.is_some() || find(None, &around).is_ok();
    let config = if configured || !has_input { Some(shell.config()?) } else { None };
    let known = Known::load(shell, config.as_ref())?;
    let mut reader = Reader { known: &known, now: shell.now(), report: ReadReport::default(), seen: BTreeMap::new() };
    match &config {
        Some(config) if !has_input => reader.mailboxes(config, &args)?,
        _ => reader.files(config.as_ref(), &args, piped)?,
    }
    if let Some(config) = &config {
        reader.coverage(config);
    }
    let Reader { report, seen, .. } = reader;
    if let Some(config) = config.as_ref().filter(|_| !args.dry_run && known.has_state && !seen.is_empty()) {
        match WriteState::open(shell, config, "placement read") {
            Ok(mut state) => journal::remember_last(&mut state.store, seen)?,
            Err(error) if error.kind == Kind::Locked => {
                shell.warn(format_args!("{}, so this run is not remembered", error.message));
            }
            Err(error) => return Err(error),
        }
    }
    shell.show(&report)?;
    let worst = report.mailboxes.iter().map(|mailbox| mailbox.meaning.outcome).max();
    Ok(match worst {
        Some(Outcome::Failed) => Exit::ChecksFailed,
        Some(Outcome::Ok) if report.missing.is_empty() => Exit::Ok,
        _ => Exit::NotChecked,
    })
}

/// What somebody feeds to `--seed NAME` (`< mail.eml`); nothing where standard input is empty, as in cron.
fn piped() -> Vec<messages::Found> {
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::FileTypeExt as _;
    let Ok(input) = io::stdin().as_fd().try_clone_to_owned() else { return Vec::new() };
    let Ok(seen) = std::fs::File::from(input).metadata() else { return Vec::new() };
    if !seen.is_file() && !seen.file_type().is_fifo() {
        return Vec::new();
    }
    let found = messages::stream("-", io::stdin().lock());
    if found.iter().any(Result::is_ok) { found } else { Vec::new() }
}

/// What the state knows: our keys, the probes that were sent, what was seen last.
#[derive(Default)]
struct Known {
    has_state: bool,
    keys: BTreeMap<(String, String), Phase>,
    domains: Vec<String>,
    sent: Vec<journal::Sent>,
    last: BTreeMap<String, Summary>,
}

impl Known {
    fn load(shell: &Shell, config: Option<&Config>) -> Result<Known, Error> {
        let Some(config) = config else { return Ok(Known::default()) };
        let state = match ReadState::open(shell, config) {
            Ok(state) => state.0,
            Err(error) if !config.state.exists() => {
                shell.warn(format_args!("{}; keys are not compared, nothing is remembered", error.message));
                return Ok(Known::default());
            }
            Err(error) => return Err(error),
        };
        let mut known = Known { has_state: true, ..Known::default() };
        known.sent = journal::sent(&state)?;
        known.last = journal::last(&state)?;
        for domain in config.domains.names() {
            known.domain(&state, domain)?;
        }
        Ok(known)
    }

    fn domain(&mut self, state: &dyn Store, domain: &SigningDomain) -> Result<(), StoreError> {
        let ledger: Ledger = state.load(domain)?.ledger;
        self.domains.push(domain.to_string());
        for (phase, key) in ledger.keys() {
            self.keys.insert((domain.to_string(), key.selector.to_string()), phase);
        }
        Ok(())
    }

    /// Whose key it is; nothing is said of domains that the ledger has no key of.
    fn whose(&self, domain: &str, selector: &str) -> Option<Whose> {
        if !self.keys.keys().any(|(known, _)| known == domain) {
            return (!self.keys.is_empty()).then_some(Whose::Others);
        }
        Some(match self.keys.get(&(domain.to_owned(), selector.to_owned())) {
            Some(Phase::Active | Phase::Switching) => Whose::Active,
            Some(_) => Whose::Idle,
            None => Whose::Foreign,
        })
    }
}

struct Reader<'a> {
    known: &'a Known,
    now: dkimctl_state::time::Time,
    report: ReadReport,
    seen: BTreeMap<String, Summary>,
}

impl Reader<'_> {
    fn files(&mut self, config: Option<&Config>, args: &ReadArgs, piped: Vec<messages::Found>) -> Result<(), Error> {
        let seeds = config.map(|config| config.placement.seeds.as_slice()).unwrap_or_default();
        let mut read = piped;
        for path in &args.paths {
            match path.as_os_str() == "-" {
                true => read.extend(messages::stream("-", io::stdin().lock())),
                false => read.extend(messages::at(path)),
            }
        }
        if read.is_empty() {
            return Err(Error::new("there is no message in what was given"));
        }
        for found in read {
            match found {
                Ok(message) => {
                    let named = args.seed.clone();
                    let mailbox = named.or_else(|| addressed(seeds, &message).map(|seed| seed.name.clone()));
                    self.message(mailbox, message);
                }
                Err(error) => self.report.missing.push(Missing { mailbox: error.name, why: error.why }),
            }
        }
        Ok(())
    }

    fn message(&mut self, mailbox: Option<String>, message: Message) {
        let Message { name, folder, header } = message;
        let mut evidence = evidence::of(&header, &|domain, selector| self.known.whose(domain, selector));
        // A folder that was looked into is known better than one that a field speaks of.
        if let Some(folder) = folder {
            evidence.folder = Some(evidence::named_folder(&folder));
        }
        let meaning = meaning::of(&evidence);
        let mut changed = Vec::new();
        if let Some(mailbox) = &mailbox {
            let summary = Summary::of(&evidence, &meaning, self.now);
            changed = self.known.last.get(mailbox).map(|before| summary.changes_since(before)).unwrap_or_default();
            self.seen.insert(mailbox.clone(), summary);
        }
        let mailbox = mailbox.unwrap_or_else(|| name.clone());
        self.report.mailboxes.push(Mailbox::new(mailbox, name, evidence, meaning, changed));
    }

    fn mailboxes(&mut self, config: &Config, args: &ReadArgs) -> Result<(), Error> {
        let seeds = wanted(&config.placement.seeds, args.seed.as_slice())?;
        if seeds.is_empty() {
            return Err(Error::new(format!("{} has no [[placement.seed]] to look into", config.path.display()))
                .hint("dkimctl placement read FILE reads a message that was saved"));
        }
        let last = self.known.sent.last().map(|round| round.token.clone());
        let token = args.token.clone().or(last).ok_or_else(|| {
            Error::new("no probe was sent yet, so there is none to look for").hint("dkimctl placement send")
        })?;
        self.report.round = Some(Round::new(token.clone(), &self.known.sent));
        let deadline = Instant::now() + args.wait.unwrap_or_default();
        let mut open: Vec<&Seed> = seeds;
        loop {
            let mut missing = Vec::new();
            let mut again = Vec::new();
            for seed in open {
                match look(seed, &token) {
                    Look::Found(messages) => {
                        messages.into_iter().for_each(|message| self.message(Some(seed.name.clone()), message));
                    }
                    Look::NotYet(why) => {
                        missing.push(why);
                        again.push(seed);
                    }
                    Look::Never(why) => self.report.missing.push(why),
                }
            }
            if again.is_empty() || Instant::now() >= deadline {
                self.report.missing.extend(missing);
                return Ok(());
            }
            open = again;
            thread::sleep(BETWEEN_LOOKS.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    /// Which of the wanted families were seen.
    fn coverage(&mut self, config: &Config) {
        let seen: Vec<_> = self.report.mailboxes.iter().map(|mailbox| family(config, mailbox)).collect();
        let state = |family: &crate::placement::family::Family| match () {
            () if seen.contains(family) => "seen",
            () if config.placement.seeds.iter().any(|seed| seed.family == *family) => "not seen",
            () => "no seed",
        };
        let covered = |family: &crate::placement::family::Family| Covered { family: *family, state: state(family) };
        self.report.coverage = config.placement.families.iter().map(covered).collect();
    }
}

/// The family that a seed is said to be of, or else what the message shows.
fn family(config: &Config, mailbox: &Mailbox) -> crate::placement::family::Family {
    let Evidence { family, .. } = mailbox.evidence;
    config.placement.seed(&mailbox.mailbox).map_or(family, |seed| seed.family)
}

enum Look {
    Found(Vec<Message>),
    NotYet(Missing),
    Never(Missing),
}

fn look(seed: &Seed, token: &Token) -> Look {
    let Some((account, secret)) = &seed.imap else { return Look::Never(Missing::by_hand(&seed.name)) };
    let secret = match secret.read() {
        Ok(secret) => secret,
        Err(why) => return Look::Never(Missing::no_secret(&seed.name, why)),
    };
    match imap::read(account, secret.trim(), token) {
        Ok(messages) if messages.is_empty() => Look::NotYet(Missing::not_found(&seed.name)),
        Ok(messages) => Look::Found(messages),
        Err(error) => Look::Never(Missing::unreachable(&seed.name, &error)),
    }
}

/// The seed that a message was delivered to.
fn addressed<'s>(seeds: &'s [Seed], message: &Message) -> Option<&'s Seed> {
    let fields = header::fields(&message.header);
    let named = ["Delivered-To", "X-Original-To", "Envelope-To", "X-Apparently-To", "To"];
    named.iter().filter_map(|name| header::first(&fields, name)).find_map(|value| {
        let value = value.to_ascii_lowercase();
        seeds.iter().find(|seed| value.contains(&seed.address.to_ascii_lowercase()))
    })
}
