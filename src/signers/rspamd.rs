//! rspamd's dkim_signing with `key_table` and `signing_table`: OpenDKIM's two tables, watched by rspamd itself.
//!
//! rspamd can also take a `selector_map` and a `path_map`. They do not fit: a path_map holds one path for a domain, and
//! each key of ours has a path of its own, so that both maps would have to change in one instant. With a KeyTable the
//! new key is known, idle, before a single row of the SigningTable switches to it.
//!
//! What rspamd does otherwise than OpenDKIM:
//!
//! - There is no signal. Both files are watched, each worker watches for itself, and nothing says when one has read
//!   them; so a KeyTable that was written is given [`WATCH`] before anything may name its rows, and after a switch only
//!   the probe knows.
//! - A key that is missing or cannot be read, a row that names no key, a `check_pubkey` that is not satisfied: mail
//!   leaves **unsigned**, and only rspamd's log knows. The probe sees it as unsigned, and the old rows go back.
//! - Keys are cached by path and modification time, and an older file under the same path is not noticed. Our paths hold
//!   the key's fingerprint and are never written twice.
//! - It looks at no owner and no mode. Keys are held to OpenDKIM's rules all the same: what others can read is no secret.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use chrono::Utc;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::time::Time;

use super::contained::{Contained, NotMounted};
use super::milter::{self, Answer, Client, Socket};
use super::opendkim::tables::{KeyTable, Lookup, SigningTable, TableError};
use super::probe::{self, Probed};
use super::replace::{self, FileError};
use super::safekeys::{self, AccountError, Accounts, Identity, Problem};
use super::{KeyName, Loaded, LoadedKey, Rows, Signer, SignerError};
use crate::container::ContainerError;

/// What is configured about an rspamd. Its own configuration is spread over includes and Lua, and not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `key_table` of dkim_signing.
    pub key_table: PathBuf,
    /// `signing_table` of dkim_signing.
    pub signing_table: PathBuf,
    /// The milter of the proxy worker.
    pub socket: Socket,
    /// The SMTP client that a probe pretends to be: rspamd signs for local and authenticated ones.
    pub client: Client,
    /// Who rspamd runs as.
    pub user: String,
    /// The root directory whose etc/passwd and etc/group hold that user: `/` outside of containers.
    pub root: PathBuf,
    /// The container that it runs in: tables and socket are named as that sees them.
    pub container: Option<Contained>,
}

/// How many messages a probe asks about. Debian's package runs a handful of workers.
const ASKED: usize = 12;
/// The proxy worker's port as packages have it.
pub const MILTER_PORT: u16 = 11332;
/// The user of Debian's package.
pub const USER: &str = "_rspamd";
/// How long a changed table is given to be read by every worker: 50 ms where nothing else happens, and up to 4 s were
/// seen on a machine with ten times more to do than it can.
pub const WATCH: Duration = Duration::from_secs(5);

/// One rspamd.
#[derive(Debug)]
pub struct Rspamd {
    settings: Settings,
    accounts: Accounts,
    identity: Identity,
}

#[derive(Debug, thiserror::Error)]
pub enum RspamdError {
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
}

impl Rspamd {
    pub fn open(mut settings: Settings) -> Result<Rspamd, RspamdError> {
        let accounts = match &settings.container {
            Some(contained) => {
                settings.key_table = contained.here(&settings.key_table)?;
                settings.signing_table = contained.here(&settings.signing_table)?;
                settings.socket = contained.socket_here(settings.socket);
                contained.accounts()?
            }
            None => Accounts::read(&settings.root)?,
        };
        let identity = accounts.identity(&settings.user, None, &settings.root)?;
        Ok(Rspamd { settings, accounts, identity })
    }

    fn key_table(&self) -> Result<(KeyTable, Vec<u8>), RspamdError> {
        let path = &self.settings.key_table;
        let bytes = replace::read(path)?;
        let table = KeyTable::parse(&bytes).map_err(|source| RspamdError::Table { path: path.clone(), source })?;
        Ok((table, bytes))
    }

    fn signing_table(&self) -> Result<(SigningTable, Vec<u8>), RspamdError> {
        let bytes = replace::read(&self.settings.signing_table)?;
        // A map of globs, as `refile:` is.
        let table = SigningTable::parse(&bytes, Lookup::Pattern).map_err(|source| self.of_signing(source))?;
        Ok((table, bytes))
    }

    fn on_host(&self, path: &Path) -> Option<PathBuf> {
        self.settings.container.as_ref()?.mounts.on_host(path)
    }

    fn of_keys(&self, source: TableError) -> RspamdError {
        RspamdError::Table { path: self.settings.key_table.clone(), source }
    }

    fn of_signing(&self, source: TableError) -> RspamdError {
        RspamdError::Table { path: self.settings.signing_table.clone(), source }
    }

    fn add(&self, load: &[LoadedKey]) -> Result<bool, RspamdError> {
        let (mut keys, bytes) = self.key_table()?;
        let load = self.settings.container.as_ref().map_or_else(|| load.to_vec(), |contained| contained.as_seen(load));
        keys.add(&load).map_err(|source| self.of_keys(source))?;
        let wrote = replace::replace(&self.settings.key_table, &bytes, &keys.to_bytes())?;
        if wrote {
            // A row of the SigningTable that a worker reads before its key is known leaves mail unsigned.
            thread::sleep(WATCH);
        }
        Ok(wrote)
    }

    fn switch(&self, domains: &[(SigningDomain, Vec<KeyName>)]) -> Result<bool, RspamdError> {
        let ((keys, _), (mut signing, bytes)) = (self.key_table()?, self.signing_table()?);
        // One signature for a message: the first row that fits.
        signing.point(domains, &keys, false).map_err(|source| self.of_signing(source))?;
        let new = signing.to_bytes().map_err(|source| self.of_signing(source))?;
        Ok(replace::replace(&self.settings.signing_table, &bytes, &new)?)
    }

    fn remove(&self, names: &[KeyName]) -> Result<bool, RspamdError> {
        let ((mut keys, bytes), (signing, _)) = (self.key_table()?, self.signing_table()?);
        keys.remove(names, &signing).map_err(|source| self.of_keys(source))?;
        Ok(replace::replace(&self.settings.key_table, &bytes, &keys.to_bytes())?)
    }

    /// The selectors that the tables name for a domain; none if they cannot be read.
    fn selectors(&self, domain: &SigningDomain) -> Vec<String> {
        let Ok(rows) = self.mapping() else { return Vec::new() };
        let names = rows.signing(domain).iter().filter_map(|name| rows.loaded.get(name));
        names.filter_map(|loaded| Some(loaded.selector.as_ref()?.to_string())).collect()
    }

    fn mapping(&self) -> Result<Rows, RspamdError> {
        let ((keys, _), (signing, _)) = (self.key_table()?, self.signing_table()?);
        let loaded = keys.rows().map(|row| {
            let loaded = Loaded {
                domain: row.domain.parse().ok(),
                selector: row.selector.parse().ok(),
                // What is not mounted is known by the container's own name for it.
                path: row.path.map(|path| self.on_host(path).unwrap_or_else(|| path.to_owned())),
            };
            (KeyName::new(row.name), loaded)
        });
        Ok(Rows { loaded: loaded.collect(), signing: signing.signing(&keys) })
    }
}

impl Signer for Rspamd {
    fn name(&self) -> &'static str {
        "rspamd"
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

    /// Nothing to tell: the tables are watched.
    fn reload(&self) -> Result<(), SignerError> {
        Ok(())
    }

    /// Every worker reads the tables in its own time, and which worker answers is chance: what counts is what the last
    /// of them does, so several are asked, and an answer that the tables do not ask for is the one that is shown.
    fn probe(&self, domain: &SigningDomain) -> Probed {
        let wanted = self.selectors(domain);
        let ask = || {
            let message = probe::message(domain, Time::from_unix(Utc::now().timestamp()));
            let answer = milter::submit(&self.settings.socket, &self.settings.client, &message);
            Probed { message, answer }
        };
        let mut probed = ask();
        for _ in 1..ASKED {
            if !signed_with(&probed.answer, &wanted) {
                break;
            }
            probed = ask();
        }
        probed
    }

    fn accepts(&self, path: &Path) -> Result<(), Vec<Problem>> {
        let accepted = match &self.settings.container {
            Some(contained) => contained.accepts(path, &self.identity, &self.accounts),
            None => safekeys::accepts(path, &self.identity, &self.accounts),
        };
        accepted.map_err(|problems| problems.into_iter().map(|problem| Problem { costs: COSTS, ..problem }).collect())
    }
}

/// Whether a signature with one of these selectors was added (RFC 6376 section 3.5).
fn signed_with(answer: &Answer, selectors: &[String]) -> bool {
    let Answer::Passed(headers) = answer else { return false };
    let signatures = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("DKIM-Signature"));
    let mut tags = signatures.flat_map(|header| header.value.split(';').filter_map(|tag| tag.trim().split_once('=')));
    tags.any(|(name, value)| name.trim() == "s" && selectors.iter().any(|selector| selector == value.trim()))
}

/// What a key that is not kept as it should be costs with rspamd.
const COSTS: &str = "mail could leave unsigned, or others could read the key";
