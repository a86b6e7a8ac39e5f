//! `[provider.NAME]`: typed when the file is read, built when there is work for it. Only then is its secret read.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dkimctl_providers::cloudflare::{self, Cloudflare};
use dkimctl_providers::dnsupdate;
use dkimctl_providers::manual::{self, Manual};
use dkimctl_providers::memory::Memory;
use dkimctl_providers::powerdns::{self, PowerDns};
use dkimctl_providers::rfc2136::{self, Rfc2136};
use dkimctl_providers::route53::{self, Route53};
use dkimctl_providers::zonefile::{self, ZoneFile};
use dkimctl_providers::{Descriptor, DnsProvider, ProviderError, Secret};
use dkimctl_state::name::{Fqdn, Label};
use zeroize::Zeroizing;

use super::error::{ConfigError, Mistake, Source};
use super::meant::{no_kind, span};
use super::written::{self, Text};
use crate::clock::{Clock, SystemClock};
use crate::files;
use crate::keygen::KeyKind;

/// A DNS host as configured.
#[derive(Debug, Clone)]
pub enum Provider {
    /// Forgets everything when the process ends: for trying things out.
    Memory {
        zones: Vec<Fqdn>,
    },
    Rfc2136 {
        server: String,
        zones: Vec<Fqdn>,
        key_name: Fqdn,
        algorithm: String,
        secret: SecretSource,
        timeout: Duration,
    },
    ZoneFile(zonefile::Config),
    Cloudflare {
        secret: SecretSource,
        endpoint: Option<String>,
        /// Operations in one batch, when the zone's plan does not tell.
        batch: Option<usize>,
        /// Beside new records; empty for none.
        comment: Option<String>,
        timeout: Duration,
    },
    PowerDns {
        url: String,
        server: String,
        secret: SecretSource,
        timeout: Duration,
    },
    Route53(route53::Config),
    Manual(manual::Config),
    DnsUpdate {
        host: &'static dnsupdate::hosts::Host,
        zones: Vec<Fqdn>,
        ttl: u32,
        secret: SecretSource,
        timeout: Duration,
    },
}

/// Where a provider's secret is read from, when it is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    File(PathBuf),
    /// A name in `$CREDENTIALS_DIRECTORY` (systemd.exec(5), LoadCredential=).
    Credential(String),
    Env(String),
}

/// Why a provider could not be made ready. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum ProviderBuildError {
    #[error(transparent)]
    File(#[from] files::FileError),
    #[error("{0}")]
    NoSecret(String),
    #[error(transparent)]
    Key(#[from] rfc2136::KeyError),
    #[error(transparent)]
    Host(#[from] ProviderError),
    #[error(
        "this program was built without the hosts of `type = \"dnsupdate\"`; build it with `cargo build --release \
         --features dns-update`, or use `type = \"manual\"` and `dkimctl dns export`"
    )]
    NotBuilt,
}

impl Provider {
    pub fn descriptor(&self) -> &'static Descriptor {
        match self {
            Provider::Memory { .. } => &dkimctl_providers::memory::DESCRIPTOR,
            Provider::Rfc2136 { .. } => &rfc2136::DESCRIPTOR,
            Provider::ZoneFile(_) => &zonefile::DESCRIPTOR,
            Provider::Cloudflare { .. } => &cloudflare::DESCRIPTOR,
            Provider::PowerDns { .. } => &powerdns::DESCRIPTOR,
            Provider::Route53(_) => &route53::DESCRIPTOR,
            Provider::Manual(_) => &manual::DESCRIPTOR,
            Provider::DnsUpdate { .. } => &dnsupdate::DESCRIPTOR,
        }
    }

    /// The smallest TTL that the host takes, in seconds.
    pub fn min_ttl(&self) -> u32 {
        match self {
            Provider::Memory { .. } => Memory::new(&[], 0, || SystemClock.now()).caps().min_ttl,
            Provider::ZoneFile(config) => ZoneFile::new(config.clone()).caps().min_ttl,
            // Its capabilities do not depend on its key, which is not read for this.
            Provider::Rfc2136 { .. } | Provider::PowerDns { .. } | Provider::Route53(_) | Provider::Manual(_) => 0,
            Provider::Cloudflare { .. } => cloudflare::MIN_TTL,
            Provider::DnsUpdate { host, .. } => host.min_ttl,
        }
    }

    /// Why the host's records cannot have this TTL.
    pub(super) fn against_ttl(&self, label: &Label, ttl: u32) -> Option<Mistake> {
        let (least, provider) = (self.min_ttl(), label.to_string());
        match self {
            _ if ttl < least => Some(Mistake::TtlTooLow { ttl, least, provider }),
            Provider::DnsUpdate { ttl: fixed, .. } if ttl != *fixed => {
                Some(Mistake::TtlFixed { ttl, fixed: *fixed, provider })
            }
            _ => None,
        }
    }

    /// Why the host cannot hold the record of a key of this size, before there is one.
    pub(super) fn against_key(&self, label: &Label, bits: u16) -> Option<Mistake> {
        let Provider::DnsUpdate { host, .. } = self else { return None };
        let (octets, most) = (KeyKind::Rsa { bits }.record_octets(), host.max_text);
        (octets > most).then(|| Mistake::TextTooLong { bits, octets, most, provider: label.to_string() })
    }

    /// The files in which the provider keeps records, by zone.
    pub fn files(&self) -> &[(Fqdn, PathBuf)] {
        match self {
            Provider::ZoneFile(config) => &config.zones,
            _ => &[],
        }
    }

    /// The zones that are written down; hosts that list theirs have none here.
    pub fn zones(&self) -> Vec<&Fqdn> {
        match self {
            Provider::Memory { zones } | Provider::Rfc2136 { zones, .. } | Provider::DnsUpdate { zones, .. } => {
                zones.iter().collect()
            }
            Provider::Manual(config) => config.zones.iter().collect(),
            Provider::ZoneFile(config) => config.zones.iter().map(|(zone, _)| zone).collect(),
            Provider::Cloudflare { .. } | Provider::PowerDns { .. } | Provider::Route53(_) => Vec::new(),
        }
    }

    /// The host itself, its secret read.
    pub fn build(&self) -> Result<Box<dyn DnsProvider>, ProviderBuildError> {
        Ok(match self {
            Provider::Memory { zones } => Box::new(Memory::new(zones, 0, || SystemClock.now())),
            Provider::ZoneFile(config) => Box::new(ZoneFile::new(config.clone())),
            Provider::Rfc2136 { server, zones, key_name, algorithm, secret, timeout } => {
                let secret = secret.read()?;
                let key = rfc2136::Key::new(key_name.clone(), algorithm, secret.trim())?;
                let (server, zones, timeout) = (server.clone(), zones.clone(), *timeout);
                Box::new(Rfc2136::new(rfc2136::Config { server, zones, key, timeout }))
            }
            Provider::Cloudflare { secret, endpoint, batch, comment, timeout } => {
                let mut config = cloudflare::Config::new(Secret::new(&secret.read()?));
                config.api = endpoint.clone().unwrap_or(config.api);
                config.comment = comment.clone().or(config.comment).filter(|comment| !comment.is_empty());
                (config.batch, config.timeout) = (*batch, *timeout);
                Box::new(Cloudflare::new(config)?)
            }
            Provider::PowerDns { url, server, secret, timeout } => {
                let (url, server, timeout) = (url.clone(), server.clone(), *timeout);
                let key = Secret::new(&secret.read()?);
                Box::new(PowerDns::new(powerdns::Config { url, server, key, timeout })?)
            }
            Provider::Route53(config) => Box::new(Route53::new(config.clone())?),
            Provider::Manual(config) => Box::new(Manual::new(config.clone(), Box::new(tell))),
            #[cfg(not(feature = "dns-update"))]
            Provider::DnsUpdate { .. } => return Err(ProviderBuildError::NotBuilt),
            #[cfg(feature = "dns-update")]
            Provider::DnsUpdate { host, zones, ttl, secret, timeout } => {
                let (zones, secret) = (zones.clone(), Secret::new(&secret.read()?));
                let config = dnsupdate::Config { host, zones, ttl: *ttl, secret, timeout: *timeout };
                Box::new(dnsupdate::DnsUpdate::new(config)?)
            }
        })
    }

    pub(super) fn read(
        source: &Source<'_>,
        here: &Path,
        label: &Label,
        table: &written::Provider,
        whole: Range<usize>,
    ) -> Result<Provider, ConfigError> {
        let reader = Reader { source, here, table, name: format!("[provider.{label}]"), whole };
        for (key, literal) in [("secret", &table.secret), ("token", &table.token), ("password", &table.password)] {
            if let Some(literal) = literal {
                return Err(source.at(literal.span(), Mistake::LiteralSecret(key)));
            }
        }
        let kind = table.kind.as_ref().ok_or_else(|| reader.missing("type"))?;
        match kind.get_ref().as_str() {
            "memory" => {
                reader.only(&["zones"])?;
                Ok(Provider::Memory { zones: reader.zones()? })
            }
            "rfc2136" => reader.rfc2136(),
            "zonefile" => reader.zonefile(),
            "cloudflare" => reader.cloudflare(),
            "powerdns" => reader.powerdns(),
            "route53" => reader.route53(),
            "manual" => reader.manual(),
            "dnsupdate" => reader.dnsupdate(),
            _ => {
                let mut known: Vec<&str> = dkimctl_providers::all().iter().map(|host| host.code).collect();
                if !known.contains(&"dnsupdate") {
                    known.push("dnsupdate");
                }
                Err(no_kind(source, kind, "type of provider", &known))
            }
        }
    }
}

impl SecretSource {
    /// Reads the secret. A file that others can read is refused.
    pub fn read(&self) -> Result<Zeroizing<String>, ProviderBuildError> {
        match self {
            SecretSource::File(path) => read_text(path),
            SecretSource::Credential(name) => {
                let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    ProviderBuildError::NoSecret(format!(
                        "the credential `{name}` is not there, because $CREDENTIALS_DIRECTORY is not set; run this \
                         from a systemd unit with LoadCredential={name}:PATH"
                    ))
                })?;
                read_text(&Path::new(&directory).join(name))
            }
            SecretSource::Env(name) => std::env::var(name).map(Zeroizing::new).map_err(|_| {
                ProviderBuildError::NoSecret(format!("the environment has no `{name}`, where the secret is to stand"))
            }),
        }
    }
}

fn read_text(path: &Path) -> Result<Zeroizing<String>, ProviderBuildError> {
    let bytes = files::read_private(path)?;
    let text = std::str::from_utf8(&bytes).map(|text| Zeroizing::new(text.to_owned()));
    text.map_err(|_| ProviderBuildError::NoSecret(format!("{}: it is not text", path.display())))
}

fn plain(text: &Option<Text>) -> Option<String> {
    text.as_ref().map(|text| text.get_ref().clone())
}

/// What the operator is to do, past everything else that is printed.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

struct Reader<'a> {
    source: &'a Source<'a>,
    here: &'a Path,
    table: &'a written::Provider,
    name: String,
    whole: Range<usize>,
}

impl Reader<'_> {
    fn rfc2136(&self) -> Result<Provider, ConfigError> {
        self.only(&[
            "server",
            "zones",
            "key_name",
            "algorithm",
            "secret_file",
            "secret_credential",
            "secret_env",
            "timeout",
        ])?;
        let key_name = self.need(&self.table.key_name, "key_name")?;
        let algorithm = match &self.table.algorithm {
            Some(text) => {
                let parsed = text.get_ref().parse::<rfc2136::Algorithm>();
                parsed.map_err(|error| self.source.at(text.span(), Mistake::Other(error.to_string())))?;
                text.get_ref().clone()
            }
            None => "hmac-sha256".to_owned(),
        };
        Ok(Provider::Rfc2136 {
            server: self.need(&self.table.server, "server")?.get_ref().clone(),
            zones: self.zones()?,
            key_name: self.name(key_name)?,
            algorithm,
            secret: self.secret()?,
            timeout: self.duration(&self.table.timeout, 5)?,
        })
    }

    fn zonefile(&self) -> Result<Provider, ConfigError> {
        self.only(&["files", "default_ttl", "reload", "reload_timeout"])?;
        let files = self.table.files.as_ref().ok_or_else(|| self.missing("files"))?;
        let mut zones = Vec::new();
        for (zone, path) in files.get_ref() {
            zones.push((self.name(zone)?, self.here.join(path.get_ref())));
        }
        Ok(Provider::ZoneFile(zonefile::Config {
            zones,
            default_ttl: self.table.default_ttl.as_ref().map_or(3600, |ttl| *ttl.get_ref()),
            reload: self.table.reload.as_ref().map(|list| list.get_ref().clone()).unwrap_or_default(),
            reload_timeout: self.duration(&self.table.reload_timeout, 30)?,
        }))
    }

    fn cloudflare(&self) -> Result<Provider, ConfigError> {
        self.only(&["secret_file", "secret_credential", "secret_env", "timeout", "endpoint", "batch", "comment"])?;
        Ok(Provider::Cloudflare {
            secret: self.secret()?,
            endpoint: plain(&self.table.endpoint),
            batch: self.table.batch.as_ref().map(|batch| *batch.get_ref() as usize),
            comment: plain(&self.table.comment),
            timeout: self.duration(&self.table.timeout, 30)?,
        })
    }

    fn powerdns(&self) -> Result<Provider, ConfigError> {
        self.only(&["url", "server", "secret_file", "secret_credential", "secret_env", "timeout"])?;
        Ok(Provider::PowerDns {
            url: self.need(&self.table.url, "url")?.get_ref().clone(),
            server: plain(&self.table.server).unwrap_or_else(|| "localhost".to_owned()),
            secret: self.secret()?,
            timeout: self.duration(&self.table.timeout, 30)?,
        })
    }

    fn route53(&self) -> Result<Provider, ConfigError> {
        self.only(&["profile", "zone_ids", "endpoint"])?;
        Ok(Provider::Route53(route53::Config {
            endpoint: plain(&self.table.endpoint),
            profile: plain(&self.table.profile),
            zone_ids: self.table.zone_ids.as_ref().map(|ids| ids.get_ref().clone()).unwrap_or_default(),
            ..route53::Config::default()
        }))
    }

    fn manual(&self) -> Result<Provider, ConfigError> {
        self.only(&["zones", "nameservers", "patience", "timeout"])?;
        let servers = self.table.nameservers.as_ref().ok_or_else(|| self.missing("nameservers"))?;
        Ok(Provider::Manual(manual::Config {
            zones: self.zones()?,
            servers: servers.get_ref().clone(),
            patience: self.duration(&self.table.patience, 0)?,
            timeout: self.duration(&self.table.timeout, 2)?,
        }))
    }

    fn dnsupdate(&self) -> Result<Provider, ConfigError> {
        self.only(&["server", "zones", "default_ttl", "secret_file", "secret_credential", "secret_env", "timeout"])?;
        let server = self.need(&self.table.server, "server")?;
        let known: Vec<&str> = dnsupdate::hosts::HOSTS.iter().map(|host| host.code).collect();
        let host = dnsupdate::hosts::host(server.get_ref());
        Ok(Provider::DnsUpdate {
            host: host.ok_or_else(|| no_kind(self.source, server, "host", &known))?,
            zones: self.zones()?,
            ttl: self.table.default_ttl.as_ref().map_or(3600, |ttl| *ttl.get_ref()),
            secret: self.secret()?,
            timeout: self.duration(&self.table.timeout, 30)?,
        })
    }

    fn secret(&self) -> Result<SecretSource, ConfigError> {
        let table = self.table;
        let sources: Vec<SecretSource> = [
            table.secret_file.as_ref().map(|path| SecretSource::File(self.here.join(path.get_ref()))),
            table.secret_credential.as_ref().map(|name| SecretSource::Credential(name.get_ref().clone())),
            table.secret_env.as_ref().map(|name| SecretSource::Env(name.get_ref().clone())),
        ]
        .into_iter()
        .flatten()
        .collect();
        match <[SecretSource; 1]>::try_from(sources) {
            Ok([one]) => Ok(one),
            Err(other) => Err(self.source.at(self.whole.clone(), Mistake::SecretSources(other.len()))),
        }
    }

    fn zones(&self) -> Result<Vec<Fqdn>, ConfigError> {
        let zones = self.table.zones.as_ref().ok_or_else(|| self.missing("zones"))?;
        zones.get_ref().iter().map(|zone| self.name(zone)).collect()
    }

    fn name(&self, text: &Text) -> Result<Fqdn, ConfigError> {
        text.get_ref().parse().map_err(|error: dkimctl_state::name::NameError| self.source.at(text.span(), error))
    }

    fn duration(&self, text: &Option<Text>, default_seconds: u64) -> Result<Duration, ConfigError> {
        let seconds = text.as_ref().map(|text| span(self.source, text)).transpose()?;
        Ok(Duration::from_secs(seconds.map_or(default_seconds, |span| span.as_secs())))
    }

    fn need<'t>(&self, text: &'t Option<Text>, key: &'static str) -> Result<&'t Text, ConfigError> {
        text.as_ref().ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &'static str) -> ConfigError {
        self.source.at(self.whole.clone(), Mistake::Missing { table: self.name.clone(), key })
    }

    /// Refuses the keys of other types of provider.
    fn only(&self, allowed: &[&str]) -> Result<(), ConfigError> {
        let table = self.table;
        let text = |key, text: &Option<Text>| text.as_ref().map(|text| (key, text.span()));
        let set = [
            text("server", &table.server),
            table.zones.as_ref().map(|zones| ("zones", zones.span())),
            table.files.as_ref().map(|files| ("files", files.span())),
            text("key_name", &table.key_name),
            text("algorithm", &table.algorithm),
            text("secret_file", &table.secret_file),
            text("secret_credential", &table.secret_credential),
            text("secret_env", &table.secret_env),
            text("timeout", &table.timeout),
            text("url", &table.url),
            text("endpoint", &table.endpoint),
            text("profile", &table.profile),
            table.zone_ids.as_ref().map(|ids| ("zone_ids", ids.span())),
            table.batch.as_ref().map(|batch| ("batch", batch.span())),
            text("comment", &table.comment),
            table.nameservers.as_ref().map(|servers| ("nameservers", servers.span())),
            text("patience", &table.patience),
            table.default_ttl.as_ref().map(|ttl| ("default_ttl", ttl.span())),
            table.reload.as_ref().map(|reload| ("reload", reload.span())),
            text("reload_timeout", &table.reload_timeout),
        ];
        match set.into_iter().flatten().find(|(key, _)| !allowed.contains(key)) {
            Some((key, span)) => Err(self.source.at(span, Mistake::Misplaced { table: self.name.clone(), key })),
            None => Ok(()),
        }
    }
}
