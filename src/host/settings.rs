//! `host.toml`: what a mail host knows of itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use dkimctl_state::name::{Label, NameError};
use serde::Deserialize;
use toml::Spanned;

use super::evidence::Sources;
use crate::config::error::Source;
use crate::config::meant::{Reader, no_kind, span};
use crate::config::written::{Observe as WrittenObserve, Text};
use crate::config::{ConfigError, Mistake, Observe};
use crate::files::Owner;
use crate::secrets::signed::VerifyKey;
use crate::signers::milter::{Client, Socket};
use crate::signers::opendkim::{self, reload::Reload};

/// One mail host.
#[derive(Debug, Clone)]
pub struct HostSettings {
    pub name: Label,
    pub outbox: PathBuf,
    pub receipts: PathBuf,
    /// The secure host's key, pinned by `host init`.
    pub manifest_key: VerifyKey,
    /// The age identity that opens this host's blobs.
    pub identity: PathBuf,
    /// Where keys are written, a directory a domain below it.
    pub keys: PathBuf,
    /// `uid:gid` of the key files; the signer's own user if it is not set.
    pub owner: Option<Owner>,
    pub mode: u32,
    /// Where this host remembers what it has done: journal, last manifest, the key of its receipts.
    pub state: PathBuf,
    pub signer: opendkim::Settings,
    /// How long an answer from before a reload is asked for again.
    pub settle: Duration,
    pub observe: Observe,
    pub evidence: Sources,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    host: Text,
    outbox: Text,
    receipts: Text,
    manifest_key: Text,
    identity: Text,
    keys: Text,
    owner: Option<Text>,
    mode: Option<Text>,
    state: Text,
    signer: Spanned<Signer>,
    #[serde(default)]
    observe: WrittenObserve,
    #[serde(default)]
    evidence: Evidence,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signer {
    #[serde(rename = "type")]
    kind: Text,
    conf: Text,
    socket: Option<Text>,
    reload: Option<Vec<String>>,
    reload_timeout: Option<Text>,
    settle: Option<Text>,
    client_address: Option<Text>,
    client_name: Option<Text>,
    timeout: Option<Text>,
    root: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    queue: Option<Vec<String>>,
    log: Option<Text>,
}

/// The kinds of signers there are; a new one is one file and one word here.
const SIGNERS: [&str; 1] = ["opendkim"];

impl HostSettings {
    pub fn load(path: &Path) -> Result<HostSettings, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::whole(path, Mistake::Unreadable(error.to_string())))?;
        Self::parse(path, &text)
    }

    /// Reads a text that stands in `path`: relative paths in it are relative to that file.
    pub fn parse(path: &Path, text: &str) -> Result<HostSettings, ConfigError> {
        let source = Source { file: path, text };
        let file: File = toml::from_str(text).map_err(|error| source.refused(&error))?;
        let reader = Reader { source: &source, here: path.parent().unwrap_or(Path::new(".")) };
        let other = |text: &Text, why: String| source.at(text.span(), Mistake::Other(why));
        let signer = file.signer.get_ref();
        if !SIGNERS.contains(&signer.kind.get_ref().as_str()) {
            return Err(no_kind(&source, &signer.kind, "signer", &SIGNERS));
        }
        let name = file.host.get_ref().parse().map_err(|e: NameError| source.at(file.host.span(), e))?;
        let manifest_key = file.manifest_key.get_ref().parse::<VerifyKey>();
        let owner = file.owner.as_ref().map(|text| text.get_ref().parse().map_err(|why| other(text, why)));
        let mode = file.mode.as_ref().map(|text| {
            let octal = u32::from_str_radix(text.get_ref().trim_start_matches("0o"), 8);
            // Whatever others may read is refused by OpenDKIM, for every message.
            octal.ok().filter(|mode| mode & !0o660 == 0 && *mode != 0).ok_or_else(|| {
                other(text, format!("`{}` is no mode for a key; write \"0400\" or \"0440\"", text.get_ref()))
            })
        });
        let lasting = |text: &Option<Text>, default| match text {
            Some(text) => span(&source, text).map(|span| Duration::from_secs(span.as_secs())),
            None => Ok(Duration::from_secs(default)),
        };
        let reload = match &signer.reload {
            Some(argv) => Reload::Command { argv: argv.clone(), timeout: lasting(&signer.reload_timeout, 30)? },
            None => Reload::Signal,
        };
        let socket = signer
            .socket
            .as_ref()
            .map(|text| text.get_ref().parse::<Socket>().map_err(|error| other(text, error.to_string())));
        let address = signer.client_address.as_ref().map(|text| {
            let wrong = |_| other(text, format!("`{}` is no address", text.get_ref()));
            text.get_ref().parse().map_err(wrong)
        });
        Ok(HostSettings {
            name,
            outbox: reader.path(&file.outbox),
            receipts: reader.path(&file.receipts),
            manifest_key: manifest_key.map_err(|error| other(&file.manifest_key, error.to_string()))?,
            identity: reader.path(&file.identity),
            keys: reader.path(&file.keys),
            owner: owner.transpose()?,
            mode: mode.transpose()?.unwrap_or(0o400),
            state: reader.path(&file.state),
            signer: opendkim::Settings {
                conf: reader.path(&signer.conf),
                reload,
                socket: socket.transpose()?,
                client: Client {
                    host: signer.client_name.as_ref().map_or("localhost".to_owned(), |text| text.get_ref().clone()),
                    address: address.transpose()?.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()),
                    timeout: lasting(&signer.timeout, 10)?,
                },
                root: signer.root.as_ref().map_or_else(|| "/".into(), |root| reader.path(root)),
            },
            settle: lasting(&signer.settle, 10)?,
            observe: reader.observe(&file.observe)?,
            evidence: Sources {
                queue: file.evidence.queue.clone(),
                log: file.evidence.log.as_ref().map(|log| reader.path(log)),
            },
        })
    }
}
