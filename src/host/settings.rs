//! `host.toml`: what a mail host knows of itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dkimctl_state::name::{Label, NameError};
use serde::Deserialize;
use toml::Spanned;

use super::evidence::Sources;
use super::targets::{self, ComposeSettings, TARGETS};
use crate::config::error::Source;
use crate::config::meant::{Reader, no_kind, span};
use crate::config::written::{Observe as WrittenObserve, Text};
use crate::config::{ConfigError, Mistake, Observe};
use crate::container::{Container, Mount, Mounts, Which};
use crate::files::Owner;
use crate::secrets::signed::VerifyKey;
use crate::signers::contained::Contained as InContainer;
use crate::signers::milter::{Client, Socket};
use crate::signers::opendkim::{self, reload::Reload};
use crate::signers::{self, KINDS, rspamd};

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
    pub signer: signers::Settings,
    /// How keys come to the signer.
    pub target: targets::Settings,
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
    container: Option<Spanned<Contained>>,
    target: Option<Spanned<Target>>,
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
    /// OpenDKIM's configuration.
    conf: Option<Text>,
    /// rspamd's tables, and who it runs as.
    key_table: Option<Text>,
    signing_table: Option<Text>,
    user: Option<Text>,
    socket: Option<Text>,
    reload: Option<Vec<String>>,
    reload_timeout: Option<Text>,
    settle: Option<Text>,
    client_address: Option<Text>,
    client_name: Option<Text>,
    timeout: Option<Text>,
    root: Option<Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contained {
    name: Option<Text>,
    service: Option<Text>,
    engine: Option<Vec<String>>,
    #[serde(default)]
    mounts: BTreeMap<Text, Text>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    #[serde(rename = "type")]
    kind: Text,
    file: Option<Text>,
    service: Option<Text>,
    up: Option<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Evidence {
    queue: Option<Vec<String>>,
    log: Option<Text>,
}

impl HostSettings {
    pub fn load(path: &Path) -> Result<HostSettings, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::whole(path, Mistake::opening(&error, "dkimctl host init")))?;
        Self::parse(path, &text)
    }

    /// Reads a text that stands in `path`: relative paths in it are relative to that file.
    pub fn parse(path: &Path, text: &str) -> Result<HostSettings, ConfigError> {
        let source = Source { file: path, text };
        let file: File = toml::from_str(text).map_err(|error| source.refused(&error))?;
        let reader = Reader { source: &source, here: path.parent().unwrap_or(Path::new(".")) };
        let other = |text: &Text, why: String| source.at(text.span(), Mistake::Other(why));
        let signer = file.signer.get_ref();
        if !KINDS.contains(&signer.kind.get_ref().as_str()) {
            return Err(no_kind(&source, &signer.kind, "signer", &KINDS));
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
        let container = file.container.as_ref().map(|container| contained(&reader, container)).transpose()?;
        let target = match &file.target {
            Some(written) => target(&reader, written, container.as_ref())?,
            None => targets::Settings::default(),
        };
        let reload = match (&signer.reload, &container) {
            (Some(argv), _) => Reload::Command { argv: argv.clone(), timeout: lasting(&signer.reload_timeout, 30)? },
            (None, Some(contained)) => Reload::Container(contained.container.clone()),
            (None, None) => Reload::Signal,
        };
        let socket = signer
            .socket
            .as_ref()
            .map(|text| text.get_ref().parse::<Socket>().map_err(|error| other(text, error.to_string())));
        let address = signer.client_address.as_ref().map(|text| {
            let wrong = |_| other(text, format!("`{}` is no address", text.get_ref()));
            text.get_ref().parse().map_err(wrong)
        });
        let client = Client {
            host: signer.client_name.as_ref().map_or("localhost".to_owned(), |text| text.get_ref().clone()),
            address: address.transpose()?.unwrap_or(std::net::Ipv4Addr::LOCALHOST.into()),
            timeout: lasting(&signer.timeout, 10)?,
        };
        let root = signer.root.as_ref().map_or_else(|| "/".into(), |root| reader.path(root));
        let settle = lasting(&signer.settle, 10)?;
        let kind = &signer.kind;
        let needed = |key: &Option<Text>, name: &str| match key {
            Some(path) => Ok(reader.path(path)),
            None => Err(other(kind, format!("a signer of type {} needs `{name}`", kind.get_ref()))),
        };
        let foreign = |key: &Option<Text>, name: &str| match key {
            Some(text) => Err(other(text, format!("`{name}` is not for a signer of type {}", kind.get_ref()))),
            None => Ok(()),
        };
        let signer = if kind.get_ref() == "rspamd" {
            foreign(&signer.conf, "conf")?;
            foreign(&signer.reload_timeout, "reload_timeout")?;
            if signer.reload.is_some() {
                return Err(other(kind, "rspamd watches its tables, so there is no `reload`".to_owned()));
            }
            let standard = Socket::Inet { host: "127.0.0.1".to_owned(), port: rspamd::MILTER_PORT };
            signers::Settings::Rspamd(rspamd::Settings {
                key_table: needed(&signer.key_table, "key_table")?,
                signing_table: needed(&signer.signing_table, "signing_table")?,
                socket: socket.transpose()?.unwrap_or(standard),
                client,
                user: signer.user.as_ref().map_or(rspamd::USER.to_owned(), |user| user.get_ref().clone()),
                root,
                container,
            })
        } else {
            foreign(&signer.key_table, "key_table")?;
            foreign(&signer.signing_table, "signing_table")?;
            foreign(&signer.user, "user")?;
            signers::Settings::OpenDkim(opendkim::Settings {
                conf: needed(&signer.conf, "conf")?,
                reload,
                socket: socket.transpose()?,
                client,
                root,
                container,
            })
        };
        Ok(HostSettings {
            name,
            outbox: reader.path(&file.outbox),
            receipts: reader.path(&file.receipts),
            manifest_key: manifest_key.map_err(|error| other(&file.manifest_key, error.to_string()))?,
            identity: reader.path(&file.identity),
            keys: plain(&reader.path(&file.keys)),
            owner: owner.transpose()?,
            mode: mode.transpose()?.unwrap_or(0o400),
            state: reader.path(&file.state),
            signer,
            target,
            settle,
            observe: reader.observe(&file.observe)?,
            evidence: Sources {
                queue: file.evidence.queue.clone(),
                log: file.evidence.log.as_ref().map(|log| reader.path(log)),
            },
        })
    }
}

/// `[container]`: which one, and what this host has of what it sees.
fn contained(reader: &Reader<'_>, written: &Spanned<Contained>) -> Result<InContainer, ConfigError> {
    let at = |span, why: &str| reader.source.at(span, Mistake::Other(why.to_owned()));
    let container = written.get_ref();
    let which = match (&container.name, &container.service) {
        (Some(name), None) => Which::Name(name.get_ref().clone()),
        (None, Some(service)) => Which::Service(service.get_ref().clone()),
        _ => return Err(at(written.span(), "write either `name`, of a container, or `service`, of a Swarm")),
    };
    let engine = container.engine.clone().unwrap_or_else(|| vec!["docker".to_owned()]);
    if engine.is_empty() {
        return Err(at(written.span(), "`engine` is empty; write [\"docker\"]"));
    }
    let mut mounts = Vec::new();
    for (inside, host) in &container.mounts {
        if !Path::new(inside.get_ref()).is_absolute() {
            return Err(at(inside.span(), "the container's path has to begin with `/`"));
        }
        mounts.push(Mount { container: inside.get_ref().into(), host: plain(&reader.path(host)) });
    }
    Ok(InContainer { container: Container { engine, which }, mounts: Mounts(mounts) })
}

/// `[target]`: how keys come to the signer, and what that way needs.
fn target(
    reader: &Reader<'_>,
    written: &Spanned<Target>,
    container: Option<&InContainer>,
) -> Result<targets::Settings, ConfigError> {
    let source = reader.source;
    let Target { kind, file, service, up } = written.get_ref();
    let named = TARGETS.iter().find(|target| target.name == kind.get_ref());
    let target = *named.ok_or_else(|| no_kind(source, kind, "target", &TARGETS.map(|target| target.name)))?;
    let refused = |why: String| source.at(written.span(), Mistake::Other(why));
    if target.needs_container && container.is_none() {
        return Err(refused(format!("keys come to a container by `{}`: name it in [container]", target.name)));
    }
    let is_service = container.is_some_and(|contained| matches!(contained.container.which, Which::Service(_)));
    if target.name == "swarm" && !is_service {
        return Err(refused("Swarm secrets belong to a service: write `service` in [container]".to_owned()));
    }
    let compose = match (target.name, file, service, up) {
        ("compose", Some(file), Some(service), Some(up)) => Some(ComposeSettings {
            file: plain(&reader.path(file)),
            service: service.get_ref().clone(),
            up: up.clone(),
        }),
        ("compose", ..) => {
            let needs = "`compose` needs `file`, which is written, `service`, the signer's, and `up`, the command that makes \
                         it anew";
            return Err(refused(needs.to_owned()));
        }
        (_, None, None, None) => None,
        _ => return Err(refused(format!("`file`, `service` and `up` mean nothing to `{}`", target.name))),
    };
    Ok(targets::Settings { target, compose })
}

/// `/srv/mail/host/../keys` is `/srv/mail/keys`: paths are compared with each other, and none of them need be there.
fn plain(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if out.file_name().is_some() => drop(out.pop()),
            std::path::Component::CurDir => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
