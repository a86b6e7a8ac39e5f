//! What is examined: whatever of it could be reached.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::name::{Selector, SigningDomain};
use dkimctl_state::record::dkim::{Algorithm, PublicKey};
use dkimctl_state::record::txt::TxtText;
use dkimctl_state::time::Time;

use super::container::Container;
use super::engine::{Docker, Engine};
use super::files::Files;
use super::net::{self, look::PEERS};
use super::postfix::effective::Effective;
use super::signer;
use super::written::Written;
use crate::config::Config;

/// The mail server, from every side that could be reached.
pub struct Patient {
    /// A directory with Compose files, Dockerfiles, configuration.
    pub files: Option<Files>,
    pub container: Reach<Container>,
    pub image: Option<Image>,
    /// The container engine, for images; [`Container`] has its own.
    pub engine: Arc<dyn Engine>,
    pub ours: Ours,
    /// The Compose service that is the mail server, if it was named.
    pub service: Option<String>,
    /// The domains to look at; all of ours when empty.
    pub domains: Vec<SigningDomain>,
    /// The recursive resolvers to ask, the first one first.
    pub resolvers: Vec<SocketAddr>,
    /// The addresses that mail is known to leave from, where they cannot be seen.
    pub public: Vec<IpAddr>,
    /// Mail servers whose port 25 is tried.
    pub peers: Vec<String>,
    /// Block lists to ask.
    pub blocklists: Vec<String>,
    /// A server of ours that is asked to relay for strangers.
    pub probe_relay: Option<String>,
    pub profile: Profile,
    /// Nothing is asked over the network.
    pub offline: bool,
    pub now: Time,
    pub seen: Seen,
}

/// What several checks look at: looked at once in a run, when the first of them wants to know.
#[derive(Default)]
pub struct Seen {
    written: OnceLock<Written>,
    postfix: OnceLock<Result<Option<Effective>, String>>,
    pub(super) way_out: OnceLock<net::Facts>,
    pub(super) signer: OnceLock<Option<Result<signer::Facts, String>>>,
}

/// Something that was named, and could be reached or not.
pub enum Reach<T> {
    NotAsked,
    /// Why it could not be reached.
    Failed(String),
    There(T),
}

/// An image, wherever it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// What `docker save` is to write.
    Named(String),
    /// What it wrote.
    Archive(PathBuf),
}

/// Whose rules are to be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Profile {
    /// A few messages to each provider: sign-ups, invoices
    #[default]
    Transactional,
    /// 5,000 messages a day and more to one provider
    Bulk,
}

/// What is configured, and which keys there are.
#[derive(Default)]
pub struct Ours {
    pub config: Option<Config>,
    pub keys: Vec<OurKey>,
    /// Why configuration or state could not be read, if they are there.
    pub unread: Option<String>,
}

/// The public half of a key, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurKey {
    pub domain: SigningDomain,
    pub selector: Selector,
    pub phase: Phase,
    pub algorithm: Algorithm,
    pub public: PublicKey,
    /// What its record ought to say.
    pub record: TxtText,
    /// When it is too old to go on signing.
    pub due: Time,
}

impl Default for Patient {
    fn default() -> Self {
        Patient {
            files: None,
            container: Reach::NotAsked,
            image: None,
            engine: Arc::new(Docker::default()),
            ours: Ours::default(),
            service: None,
            domains: Vec::new(),
            resolvers: Vec::new(),
            public: Vec::new(),
            peers: PEERS.map(String::from).to_vec(),
            blocklists: Vec::new(),
            probe_relay: None,
            profile: Profile::default(),
            offline: false,
            now: Time::from_unix(0),
            seen: Seen::default(),
        }
    }
}

impl<T> Reach<T> {
    pub fn there(&self) -> Option<&T> {
        match self {
            Reach::There(it) => Some(it),
            _ => None,
        }
    }
}

impl Patient {
    /// What stands in the files; nothing if there are none.
    pub fn written(&self) -> &Written {
        self.seen.written.get_or_init(|| match &self.files {
            Some(files) => Written::read(files, self.service.as_deref(), !self.offline),
            None => Written::default(),
        })
    }

    /// Postfix as it is in force in the container.
    ///
    /// `None`: there is no container, or no Postfix in it. An error is a sentence.
    pub fn postfix(&self) -> Result<Option<&Effective>, &str> {
        let asked = self.seen.postfix.get_or_init(|| match &self.container {
            Reach::NotAsked => Ok(None),
            Reach::Failed(why) => Err(why.clone()),
            Reach::There(container) => Effective::ask(container).map_err(|error| error.to_string()),
        });
        match asked {
            Ok(effective) => Ok(effective.as_ref()),
            Err(why) => Err(why),
        }
    }

    /// The signing domains to look at: those that were named, or those that are configured.
    pub fn signing_domains(&self) -> Vec<SigningDomain> {
        match &self.ours.config {
            Some(config) if self.domains.is_empty() => config.domains.names().cloned().collect(),
            _ => self.domains.clone(),
        }
    }
}

impl Ours {
    /// The key with this public half, if it is ours.
    pub fn key(&self, public: &PublicKey) -> Option<&OurKey> {
        self.keys.iter().find(|key| key.public == *public)
    }
}

impl OurKey {
    /// Whether receivers can find it in DNS by now, so that whoever has the private half can sign as the domain.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Published | Phase::Propagated | Phase::Switching | Phase::Active | Phase::Retiring)
    }
}
