//! The state and the world, made when a verb has work for them and not before.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use dkimctl_providers::{DnsProvider, ProviderError};
use dkimctl_state::lifecycle::seen::Seen;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::lifecycle::step::Step;
use dkimctl_state::name::{Fqdn, Label};
use dkimctl_state::store::Identity;
use dkimctl_state::store::lock::{Holder, Lock};
use dkimctl_state::store::sqlite::{Options, SqliteStore};
use dkimctl_state::time::{Span, Time};

use super::error::Error;
use super::local_host;
use super::progress::{Progress, Watched};
use super::shell::Shell;
use crate::clock::SystemClock;
use crate::config::{Config, Signer};
use crate::dns::{Build, Dns};
use crate::observe::Sweeper;
pub use crate::observe::configured::sweeper;
use crate::post::{Mailbox, Outboxes};
use crate::secrets::signed::SigningKey;
use crate::vault::AgeVault;
use crate::world::{self, World};

/// The state, to look at.
pub struct ReadState(pub SqliteStore);

/// The state, to change: nobody else does while this lives.
pub struct WriteState {
    pub store: SqliteStore,
    _lock: Lock,
}

impl ReadState {
    pub fn open(shell: &Shell, config: &Config) -> Result<Self, Error> {
        Ok(ReadState(SqliteStore::open(&config.state, &options(shell, Options::read_only()))?))
    }
}

impl WriteState {
    pub fn open(shell: &Shell, config: &Config, verb: &str) -> Result<Self, Error> {
        if !config.state.is_dir() {
            let missing = config.state.join(dkimctl_state::store::sqlite::FILE);
            return Err(dkimctl_state::store::StoreError::Missing { path: missing.display().to_string() }.into());
        }
        let lock = Lock::take(&config.state, &Holder::here(&format!("dkimctl {verb}"), shell.now()))?;
        let store = SqliteStore::open(&config.state, &options(shell, Options::read_write()))?;
        Ok(WriteState { store, _lock: lock })
    }
}

/// How the state is opened: it is remembered outside of it how far it had come.
pub fn options(shell: &Shell, access: Options) -> Options {
    let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = path("XDG_STATE_HOME").or_else(|| Some(path("HOME")?.join(".local/state")));
    let high_water = home.map(|home| home.join("dkimctl/high-water"));
    Options { high_water, allow_network: shell.global.allow_network_state, ..access }
}

/// Everything that a run acts through.
pub struct Machine<'c> {
    config: &'c Config,
    clock: SystemClock,
    vault: Watched,
    dns: Dns,
    sweeper: Box<dyn Sweeper>,
    key: SigningKey,
    identity: Identity,
}

impl<'c> Machine<'c> {
    /// For these domains: only their providers are made, and only those providers' secrets are read.
    pub fn new(
        config: &'c Config,
        settings: &[&Settings],
        identity: Identity,
        progress: &Progress,
    ) -> Result<Self, Error> {
        let vault = AgeVault::open(&config.state, config.secrets.all_recipients()?)?;
        Ok(Machine {
            config,
            clock: SystemClock,
            vault: Watched::new(vault, progress.clone()),
            dns: dns(config, settings)?,
            sweeper: sweeper(&config.observe),
            key: SigningKey::open_or_create(&config.secrets.manifest_key)?,
            identity,
        })
    }

    /// Acts. What was not believed on the way (a receipt with a wrong signature) comes back as sentences.
    pub fn act<T>(&self, act: impl FnOnce(&World<'_>) -> T) -> (T, Vec<String>) {
        let post = self.outboxes();
        let world =
            World { clock: &self.clock, vault: &self.vault, dns: &self.dns, sweeper: &*self.sweeper, post: &post };
        let came = act(&world);
        (came, post.complaints.into_inner())
    }

    /// The way to the mail hosts.
    pub fn outboxes(&self) -> Outboxes<'_> {
        let mailbox = |signer: &Signer| Mailbox {
            outbox: signer.outbox.clone(),
            receipts: signer.receipts.clone(),
            receipt_key: signer.receipt_key.clone(),
            here: signer.apply.clone().map(|file| {
                let act = move || local_host::apply(&file, false).map(drop).map_err(|error| error.message);
                Box::new(act) as Box<dyn Fn() -> Result<(), String>>
            }),
        };
        Outboxes {
            hosts: self.config.signers.iter().map(|(name, signer)| (name.clone(), mailbox(signer))).collect(),
            lineage: self.identity.lineage.to_string(),
            floor: self.identity.serial,
            key: &self.key,
            vault: &self.vault,
            clock: &self.clock,
            complaints: RefCell::default(),
        }
    }
}

/// The providers of these domains; the others are made when an alias leads to them.
pub fn dns(config: &Config, settings: &[&Settings]) -> Result<Dns, Error> {
    let wanted: BTreeSet<&Label> = settings.iter().flat_map(|settings| &settings.providers).collect();
    let mut built: BTreeMap<Label, Box<dyn DnsProvider>> = BTreeMap::new();
    for label in wanted {
        if let Some(provider) = config.providers.get(label) {
            let provider = provider.build().map_err(|error| {
                Error::from(error).hint(format!("see [provider.{label}] in {}", config.path.display()))
            })?;
            built.insert(label.clone(), provider);
        }
    }
    let others: Vec<_> = on_demand(config).filter(|(label, _)| !built.contains_key(label)).collect();
    Ok(Dns::new(built).and_others(others))
}

/// All providers, each made when it is asked: one that cannot be made ready is one that could not be asked.
pub fn dns_as_far_as_possible(config: &Config) -> Dns {
    Dns::default().and_others(on_demand(config))
}

fn on_demand(config: &Config) -> impl Iterator<Item = (Label, Build)> {
    config.providers.iter().map(|(label, provider)| {
        let provider = provider.clone();
        let build = move || provider.build().map_err(|error| ProviderError::Unreachable(error.to_string()));
        (label.clone(), Box::new(build) as Build)
    })
}

/// Looks at the world and changes nothing in it; needs no recipients, no vault and no lock.
pub struct Looker {
    dns: Dns,
    sweeper: Box<dyn Sweeper>,
}

impl Looker {
    pub fn new(config: &Config, settings: &[&Settings]) -> Result<Self, Error> {
        Ok(Looker { dns: dns(config, settings)?, sweeper: sweeper(&config.observe) })
    }

    /// What providers and name servers show at these names.
    pub fn look(&self, names: &BTreeMap<Fqdn, Vec<Label>>, at: Time, tolerance: Span) -> Seen {
        world::observe(&self.dns, &*self.sweeper, names, at, tolerance).0
    }

    /// Why these steps would be refused, whatever the moment.
    pub fn unfit(&self, steps: &[Step]) -> Option<String> {
        steps.iter().find_map(|step| world::unfit(&self.dns, step)).map(|error| error.to_string())
    }
}
