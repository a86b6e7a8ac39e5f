//! OpenDKIM 2.11: two tables, a signal, and a milter socket.

use std::path::{Path, PathBuf};

use chrono::Utc;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::time::Time;

pub mod conf;
mod lines;
pub mod reload;
pub mod tables;

use self::conf::{Conf, ConfError, Finding, Severity, TableFile};
use self::reload::{Reload, ReloadError};
use self::tables::{KeyTable, SigningTable, TableError};
use super::contained::{Contained, NotMounted};
use super::milter::{self, Client, Socket};
use super::probe::{self, Probed};
use super::replace::{self, FileError};
use super::safekeys::{self, AccountError, Accounts, Identity, Problem};
use super::{KeyName, Loaded, LoadedKey, Rows, Signer, SignerError};
use crate::container::ContainerError;

/// What is configured about an OpenDKIM; everything else is read from its own configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `/etc/opendkim.conf`.
    pub conf: PathBuf,
    pub reload: Reload,
    /// Where to reach it, if not where its own `Socket` says: a published port of a container, for example.
    pub socket: Option<Socket>,
    /// The SMTP client that a probe pretends to be.
    pub client: Client,
    /// The root directory whose etc/passwd and etc/group hold the signer's user: `/` outside of containers.
    pub root: PathBuf,
    /// The container that it runs in, and where this host has what is mounted into it.
    pub container: Option<Contained>,
}

/// One OpenDKIM.
#[derive(Debug)]
pub struct OpenDkim {
    settings: Settings,
    conf: Conf,
    keys: TableFile,
    signing: TableFile,
    socket: Socket,
    accounts: Accounts,
    identity: Identity,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenDkimError {
    #[error(transparent)]
    Conf(#[from] ConfError),
    #[error("{0}; nothing is switched on this host before that is corrected")]
    Blocked(Finding),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    NotMounted(#[from] NotMounted),
    #[error(transparent)]
    Container(#[from] ContainerError),
    #[error("{path}: {source}")]
    Table { path: PathBuf, source: TableError },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Reload(#[from] ReloadError),
}

/// A table, the octets it was read from, and where they stand.
struct Read<T> {
    table: T,
    bytes: Vec<u8>,
}

impl OpenDkim {
    /// Reads the configuration; refuses one that no rotation can work with.
    pub fn open(settings: Settings) -> Result<OpenDkim, OpenDkimError> {
        let conf = Conf::read(&settings.conf)?;
        if let Some(block) = conf.findings().into_iter().find(|finding| finding.severity == Severity::Blocks) {
            return Err(OpenDkimError::Blocked(block));
        }
        let accounts = match &settings.container {
            Some(contained) => contained.accounts()?,
            None => Accounts::read(&settings.root)?,
        };
        // Without `UserID`, OpenDKIM stays who started it: root, as far as anybody can tell from here.
        let identity = accounts.identity(conf.user().unwrap_or("root"), conf.group(), &settings.root)?;
        let (mut keys, mut signing) = (conf.key_table()?, conf.signing_table()?);
        let socket = match (&settings.socket, conf.socket()) {
            (Some(socket), _) => socket.clone(),
            (None, socket) => settings.socket_here(socket?),
        };
        for table in [&mut keys, &mut signing] {
            table.path = settings.here(&table.path)?;
        }
        Ok(OpenDkim { keys, signing, settings, conf, socket, accounts, identity })
    }

    /// Who opens the keys: what they are to belong to.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What in the configuration and the tables contradicts a rotation, the worst first.
    pub fn findings(&self) -> Result<Vec<Finding>, OpenDkimError> {
        let mut findings = self.conf.findings();
        findings.extend(self.signing_table()?.table.dead_wildcards().into_iter().map(|line| {
            Finding {
                severity: Severity::Warning,
                at: format!("{} line {line}", self.signing.path.display()),
                text:
                    "a wildcard in a `file:` table is literal and matches nothing, so that mail leaves unsigned; write \
                   `SigningTable refile:`"
                        .into(),
            }
        }));
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(findings)
    }

    /// What loading and switching would change: each table's path and the lines that go and come. Nothing is written.
    pub fn preview(
        &self,
        load: &[LoadedKey],
        sign: &[(SigningDomain, Vec<KeyName>)],
    ) -> Result<Vec<(PathBuf, Vec<String>)>, OpenDkimError> {
        let (mut keys, mut signing) = (self.key_table()?, self.signing_table()?);
        keys.table.add(&self.settings.as_seen(load)).map_err(|source| self.keys.error(source))?;
        self.point(&mut signing.table, sign, &keys.table)?;
        let new_signing = match sign {
            [] => signing.bytes.clone(),
            _ => signing.table.to_bytes().map_err(|source| self.signing.error(source))?,
        };
        let changes = [
            (self.keys.path.clone(), tables::diff(&keys.bytes, &keys.table.to_bytes())),
            (self.signing.path.clone(), tables::diff(&signing.bytes, &new_signing)),
        ];
        Ok(changes.into_iter().filter(|(_, diff)| !diff.is_empty()).collect())
    }

    fn add(&self, load: &[LoadedKey]) -> Result<bool, OpenDkimError> {
        let mut keys = self.key_table()?;
        keys.table.add(&self.settings.as_seen(load)).map_err(|source| self.keys.error(source))?;
        Ok(replace::replace(&self.keys.path, &keys.bytes, &keys.table.to_bytes())?)
    }

    fn switch(&self, domains: &[(SigningDomain, Vec<KeyName>)]) -> Result<bool, OpenDkimError> {
        let (keys, mut signing) = (self.key_table()?, self.signing_table()?);
        self.point(&mut signing.table, domains, &keys.table)?;
        let new = signing.table.to_bytes().map_err(|source| self.signing.error(source))?;
        Ok(replace::replace(&self.signing.path, &signing.bytes, &new)?)
    }

    fn remove(&self, names: &[KeyName]) -> Result<bool, OpenDkimError> {
        let (mut keys, signing) = (self.key_table()?, self.signing_table()?);
        keys.table.remove(names, &signing.table).map_err(|source| self.keys.error(source))?;
        Ok(replace::replace(&self.keys.path, &keys.bytes, &keys.table.to_bytes())?)
    }

    fn mapping(&self) -> Result<Rows, OpenDkimError> {
        let (keys, signing) = (self.key_table()?.table, self.signing_table()?.table);
        let loaded = keys.rows().map(|row| {
            let loaded = Loaded {
                domain: row.domain.parse().ok(),
                selector: row.selector.parse().ok(),
                // What is not mounted is known by the container's own name for it.
                path: row.path.map(|path| self.settings.here(path).unwrap_or_else(|_| path.to_owned())),
            };
            (KeyName::new(row.name), loaded)
        });
        Ok(Rows { loaded: loaded.collect(), signing: signing.signing(&keys) })
    }

    fn point(
        &self,
        signing: &mut SigningTable,
        domains: &[(SigningDomain, Vec<KeyName>)],
        keys: &KeyTable,
    ) -> Result<(), OpenDkimError> {
        let multiple = self.conf.flag("MultipleSignatures", false);
        signing.point(domains, keys, multiple).map_err(|source| self.signing.error(source))
    }

    fn key_table(&self) -> Result<Read<KeyTable>, OpenDkimError> {
        let bytes = replace::read(&self.keys.path)?;
        let table = KeyTable::parse(&bytes).map_err(|source| self.keys.error(source))?;
        Ok(Read { table, bytes })
    }

    fn signing_table(&self) -> Result<Read<SigningTable>, OpenDkimError> {
        let bytes = replace::read(&self.signing.path)?;
        let table = SigningTable::parse(&bytes, self.signing.lookup).map_err(|source| self.signing.error(source))?;
        Ok(Read { table, bytes })
    }
}

impl Signer for OpenDkim {
    fn name(&self) -> &'static str {
        "opendkim"
    }

    fn key_owner(&self) -> Option<(u32, u32)> {
        Some((self.identity.uid, *self.identity.gids.first()?))
    }

    fn rows(&self) -> Result<Rows, SignerError> {
        self.mapping().map_err(SignerError::new)
    }

    fn load(&self, keys: &[LoadedKey]) -> Result<bool, SignerError> {
        self.add(keys).map_err(SignerError::new)
    }

    fn sign_with(&self, domains: &[(SigningDomain, Vec<KeyName>)]) -> Result<bool, SignerError> {
        self.switch(domains).map_err(SignerError::new)
    }

    fn unload(&self, keys: &[KeyName]) -> Result<bool, SignerError> {
        self.remove(keys).map_err(SignerError::new)
    }

    fn reload(&self) -> Result<(), SignerError> {
        self.settings.reload.run(&self.settings.conf).map_err(SignerError::new)
    }

    fn probe(&self, domain: &SigningDomain) -> Probed {
        let message = probe::message(domain, Time::from_unix(Utc::now().timestamp()));
        let answer = milter::submit(&self.socket, &self.settings.client, &message);
        Probed { message, answer }
    }

    fn accepts(&self, path: &Path) -> Result<(), Vec<Problem>> {
        match &self.settings.container {
            Some(contained) => contained.accepts(path, &self.identity, &self.accounts),
            None => safekeys::accepts(path, &self.identity, &self.accounts),
        }
    }
}

impl Settings {
    /// The path on this host of what the signer calls `path`.
    fn here(&self, path: &Path) -> Result<PathBuf, OpenDkimError> {
        let Some(contained) = &self.container else { return Ok(path.to_owned()) };
        Ok(contained.here(path)?)
    }

    fn socket_here(&self, socket: Socket) -> Socket {
        match &self.container {
            Some(contained) => contained.socket_here(socket),
            None => socket,
        }
    }

    /// The keys, under the paths that the signer sees.
    fn as_seen(&self, keys: &[LoadedKey]) -> Vec<LoadedKey> {
        self.container.as_ref().map_or_else(|| keys.to_vec(), |contained| contained.as_seen(keys))
    }
}

impl TableFile {
    fn error(&self, source: TableError) -> OpenDkimError {
        OpenDkimError::Table { path: self.path.clone(), source }
    }
}
