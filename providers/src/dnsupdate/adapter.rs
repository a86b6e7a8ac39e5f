//! Our trait over the crate's calls.

use std::fmt;
use std::time::Duration;

use dkimctl_state::name::Fqdn;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};
use tokio::runtime::{Builder, Runtime};

use super::hosts::Host;
use crate::http::Secret;
use crate::run::{self, Calls, Job, Sent};
use crate::{
    AtName, Caps, CompareAndSet, Descriptor, DnsProvider, Entry, Guarded, Op, Outcome, ProviderError, Zone,
};

pub static DESCRIPTOR: Descriptor = Descriptor {
    code: "dnsupdate",
    name: "Other hosts, through the crate dns-update",
    credentials: "the host's token, or its key and secret on two lines",
    least_rights: "whatever the host offers that is narrowest; most offer one token for everything",
    rights_template: "",
    docs: "https://docs.rs/dns-update",
};

pub struct Config {
    pub host: &'static Host,
    pub zones: Vec<Fqdn>,
    /// Of every record: the hosts do not say what stands there.
    pub ttl: u32,
    pub secret: Secret,
    /// Of one call.
    pub timeout: Duration,
}

pub struct DnsUpdate {
    config: Config,
    updater: DnsUpdater,
    runtime: Runtime,
}

impl DnsUpdate {
    pub fn new(config: Config) -> Result<Self, ProviderError> {
        let secrets: Vec<&str> =
            config.secret.expose().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if secrets.len() != config.host.secrets.len() {
            return Err(ProviderError::Auth(format!(
                "{} needs {} on {} line(s) of the secret, and {} came; nothing was asked",
                config.host.name,
                config.host.secrets.join(" and "),
                config.host.secrets.len(),
                secrets.len()
            )));
        }
        let timeout = Some(config.timeout);
        let made = match (config.host.code, secrets.as_slice()) {
            ("bunny", [key]) => DnsUpdater::new_bunny(key, timeout),
            ("desec", [token]) => DnsUpdater::new_desec(token, timeout),
            ("digitalocean", [token]) => DnsUpdater::new_digitalocean(token, timeout),
            ("gandi", [token]) => DnsUpdater::new_gandiv5(token, timeout),
            ("hetzner", [token]) => DnsUpdater::new_hetzner(token, timeout),
            ("linode", [token]) => DnsUpdater::new_linode(token, timeout),
            ("porkbun", [key, secret]) => DnsUpdater::new_porkbun(key, secret, timeout),
            ("vultr", [key]) => DnsUpdater::new_vultr(key, timeout),
            _ => Err(Error::Unsupported("no such host".to_owned())),
        };
        let updater = made.map_err(|error| refused(&config, &error))?;
        DnsUpdate::over(config, updater)
    }

    /// Over any host that the crate knows, for tests against real servers.
    pub fn over(config: Config, updater: DnsUpdater) -> Result<Self, ProviderError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ProviderError::Unreachable(error.to_string()))?;
        Ok(DnsUpdate { config, updater, runtime })
    }

    fn list(&self, zone: &Zone, name: &Fqdn, kind: DnsRecordType) -> Result<Vec<DnsRecord>, ProviderError> {
        match self.runtime.block_on(self.updater.list_rrset(name.as_str(), kind, zone.name.as_str())) {
            Ok(records) => Ok(records),
            Err(Error::NotFound) => Ok(Vec::new()),
            Err(Error::Unauthorized) => Err(self.unauthorized()),
            Err(error) => Err(ProviderError::Unreachable(self.said(&error))),
        }
    }

    fn unauthorized(&self) -> ProviderError {
        let name = self.config.host.name;
        ProviderError::Auth(format!(
            "{name} does not accept the credentials, so nothing was changed; make new ones there"
        ))
    }

    fn said(&self, error: &Error) -> String {
        said(&self.config, error)
    }
}

impl DnsProvider for DnsUpdate {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn caps(&self) -> Caps {
        Caps {
            min_ttl: self.config.host.min_ttl,
            max_text: self.config.host.max_text,
            max_batch: 1,
            atomic_batch: false,
            compare_and_set: CompareAndSet::LookAgain,
            rate: None,
        }
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        Ok(self.config.zones.iter().map(Zone::named).collect())
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        zone.holds(names)?;
        self.look(zone, names)
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        run::apply(self, zone, ops)
    }
}

impl Calls for DnsUpdate {
    fn look(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        let at = |name: &Fqdn| {
            let texts = self.list(zone, name, DnsRecordType::TXT)?;
            let text = |record: &DnsRecord| match record {
                DnsRecord::TXT(text) => Some(Entry::new(text.as_str().into())),
                _ => None,
            };
            let entries: Vec<Entry> = texts.iter().filter_map(text).collect();
            if !entries.is_empty() {
                return Ok(AtName::Txt { ttl: self.config.ttl, entries });
            }
            let alias = self.list(zone, name, DnsRecordType::CNAME)?;
            Ok(match alias.first() {
                Some(DnsRecord::CNAME(target)) => match target.parse() {
                    Ok(target) => AtName::Cname { target, ttl: self.config.ttl },
                    Err(_) => AtName::Unsupported(format!("the name is an alias of `{target}`")),
                },
                _ => AtName::Absent,
            })
        };
        names.iter().map(at).collect()
    }

    fn objection(&self, job: &Job) -> Option<ProviderError> {
        let reject = |code: &str, message: String| Some(ProviderError::Rejected { code: code.to_owned(), message });
        let Config { host, ttl: fixed, .. } = &self.config;
        let exclusive = job.name().labels().any(|label| matches!(label, "_domainkey" | "_dk"));
        if !exclusive || job.now.texts().count() > 1 || job.after.texts().count() > 1 {
            return reject(
                "shared name",
                format!(
                    "`{}` may hold values of others, and {} is only written where nothing but our own record stands; \
                     use `dkimctl dns export` for it",
                    job.name(),
                    host.name
                ),
            );
        }
        let (Op::Add { text, ttl, .. } | Op::Replace { new: text, ttl, .. }) = job.op() else { return None };
        if text.as_bytes().len() > host.max_text {
            let (most, length) = (host.max_text, text.as_bytes().len());
            return reject(
                "too long",
                format!("{} takes texts of {most} octets, and this one has {length}", host.name),
            );
        }
        if ttl != fixed {
            let sentence = format!(
                "{} does not tell TTLs, so all of its records have the provider's `default_ttl` ({fixed}), and this one \
                 is to have {ttl}; set `ttl = {fixed}` for its domains",
                host.name
            );
            return reject("ttl", sentence);
        }
        None
    }

    fn fit(&self, _jobs: &[Job]) -> usize {
        1
    }

    fn send(&self, zone: &Zone, jobs: &[Job]) -> Sent {
        let Some(job) = jobs.first() else { return Sent::Done(None) };
        let records: Vec<DnsRecord> =
            job.after.texts().map(|text| DnsRecord::TXT(text.to_str_lossy().into_owned())).collect();
        let (name, zone, ttl) = (job.name().as_str(), zone.name.as_str(), self.config.ttl);
        let sent = self.runtime.block_on(self.updater.set_rrset(name, DnsRecordType::TXT, ttl, records, zone));
        match sent {
            Ok(()) => Sent::Done(None),
            Err(Error::Unauthorized) => Sent::Fatal(self.unauthorized()),
            Err(
                error @ (Error::Api(_)
                | Error::BadRequest
                | Error::NotFound
                | Error::Serialize(_)
                | Error::Unsupported(_)
                | Error::InvalidRegion),
            ) => Sent::Refused(refused(&self.config, &error)),
            // Some hosts are asked to delete before they are asked to create, so the name may even be empty now.
            Err(error) => Sent::Unknown(self.said(&error)),
        }
    }
}

fn refused(config: &Config, error: &Error) -> ProviderError {
    ProviderError::Rejected { code: config.host.code.to_owned(), message: said(config, error) }
}

/// What the host said, without the secret.
fn said(config: &Config, error: &Error) -> String {
    let text = config.secret.expose().lines().filter(|line| !line.trim().is_empty());
    let said = text.fold(error.to_string(), |said, secret| said.replace(secret.trim(), "[secret]"));
    format!("{} said: {said}", config.host.name)
}

impl fmt::Debug for DnsUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DnsUpdate").field("host", &self.config.host.code).finish_non_exhaustive()
    }
}
