//! rspamd's dkim_signing with `key_table` and `signing_table`: OpenDKIM's two tables, watched by rspamd itself.
//!
//! rspamd can also take a `selector_map` and a `path_map`. They do not fit: a path_map holds one path for a domain, and
//! each key of ours has a path of its own, so that both maps would have to change in one instant. With a KeyTable the
//! new key is known, idle, before a single row of the SigningTable switches to it.
//!
//! What rspamd does otherwise than OpenDKIM:
//!
//! - There is no signal. Both files are watched, each worker watches for itself, and nothing says when one has read
//!   them; so a KeyTable that was written is given [`WATCH`] before anything may name its rows, a switch is given as much
//!   before it is probed, and only the probe knows.
//! - A worker begins with the tables that the main process read when rspamd itself was started, and watches for changes
//!   after its own beginning. One that is born late, or in place of one that died, signs with yesterday's tables, or not
//!   at all, until a file changes again (lib/maps/map.c, `rspamd_map_preload` and `rspamd_map_watch`; 3.4 and later).
//!   So "reload" puts both tables in place once more, with the same text; every run that sees a wrong answer does it.
//! - A key that is missing or cannot be read, a row that names no key, a `check_pubkey` that is not satisfied: mail
//!   leaves **unsigned**, and only rspamd's log knows. The probe sees it as unsigned, and the old rows go back.
//! - Keys are cached by path and modification time, and an older file under the same path is not noticed. Our paths hold
//!   the key's fingerprint and are never written twice.
//! - A row of either table is looked for inside of what is asked: `*@example.com` signs mail of example.com.au too, with
//!   the wrong key and whatever row stands first (rspamd issues 5806 and 6125). Two such domains are not put side by side.
//! - It looks at no owner and no mode. Keys are held to OpenDKIM's rules all the same: what others can read is no secret.

use std::panic::resume_unwind;
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
pub const ASKED: usize = 12;
/// The proxy worker's port as packages have it.
pub const MILTER_PORT: u16 = 11332;
/// The user of Debian's package.
pub const USER: &str = "_rspamd";
/// How long a changed table is given to be read by every worker. One of them waits for up to two seconds by design
/// (lib/maps/map.c, `rspamd_map_schedule_periodic`), and up to 4 s were seen on a machine with ten times more to do than
/// it can.
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
    #[error(
        "rspamd would take the row of {short} for mail of {long} too, since the one begins as the other does: they cannot \
         sign side by side on one rspamd; let another host or OpenDKIM sign for one of them"
    )]
    Shadowed { short: SigningDomain, long: SigningDomain },
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
        let before = shadowed(&signing, &keys);
        signing.point(domains, &keys, false).map_err(|source| self.of_signing(source))?;
        if let Some((short, long)) = shadowed(&signing, &keys).into_iter().find(|pair| !before.contains(pair)) {
            return Err(RspamdError::Shadowed { short, long });
        }
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

    /// The tables are watched, yet a worker can have missed a change: both are there anew. Keys come first, so that no
    /// row is read before the key that it names. Then every worker is given its time: which of them answers a probe is
    /// chance, and on a busy machine one can answer them all while another still has the old rows.
    fn reload(&self) -> Result<(), SignerError> {
        for table in [&self.settings.key_table, &self.settings.signing_table] {
            replace::renew(table).map_err(SignerError::new)?;
        }
        thread::sleep(WATCH);
        Ok(())
    }

    /// Every worker reads the tables in its own time, and which worker answers is chance: what counts is what the last
    /// of them does, so several messages are handed in, and an answer that the tables do not ask for is the one that is
    /// shown. All at once: one after the other, the first idle worker would answer all of them.
    fn probe(&self, domain: &SigningDomain) -> Probed {
        let message = probe::message(domain, Time::from_unix(Utc::now().timestamp()));
        let ask = || milter::submit(&self.settings.socket, &self.settings.client, &message);
        let mut answers: Vec<Answer> = thread::scope(|scope| {
            let asked: Vec<_> = (0..ASKED).map(|_| scope.spawn(ask)).collect();
            asked.into_iter().map(|answer| answer.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let seen = |answer: &Answer| match answer {
            Answer::Passed(added) => Some(probe::selectors(added, &message, domain)),
            _ => None,
        };
        let seen: Vec<Option<Vec<String>>> = answers.iter().map(seen).collect();
        // The tables are read, all rows of them, only where the workers do not agree.
        let shown = match seen.iter().all(|one| *one == seen[0]) {
            true => 0,
            false => {
                let wanted = self.selectors(domain);
                let as_wanted = |seen: &Option<Vec<String>>| seen.iter().flatten().any(|one| wanted.contains(one));
                seen.iter().position(|seen| !as_wanted(seen)).unwrap_or(0)
            }
        };
        Probed { message, answer: answers.swap_remove(shown) }
    }

    fn accepts(&self, path: &Path) -> Result<(), Vec<Problem>> {
        let accepted = match &self.settings.container {
            Some(contained) => contained.accepts(path, &self.identity, &self.accounts),
            None => safekeys::accepts(path, &self.identity, &self.accounts),
        };
        accepted.map_err(|problems| problems.into_iter().map(|problem| Problem { costs: COSTS, ..problem }).collect())
    }
}

/// Each domain with a row that rspamd finds for mail of another domain as well, and that other domain.
pub fn shadowed(signing: &SigningTable, keys: &KeyTable) -> Vec<(SigningDomain, SigningDomain)> {
    let rows = signing.signing(keys);
    // In order, whatever begins with a domain stands right behind it.
    let mut begins: Vec<&SigningDomain> = Vec::new();
    let mut pairs = Vec::new();
    for domain in rows.keys() {
        while begins.last().is_some_and(|short| !domain.as_str().starts_with(short.as_str())) {
            begins.pop();
        }
        pairs.extend(begins.last().map(|&short| (short.clone(), domain.clone())));
        begins.push(domain);
    }
    pairs
}

/// What a key that is not kept as it should be costs with rspamd.
const COSTS: &str = "mail could leave unsigned, or others could read the key";
