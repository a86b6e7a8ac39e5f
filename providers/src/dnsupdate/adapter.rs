//! Our trait over the crate's calls.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dkimctl_state::name::Fqdn;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};
use tokio::runtime::{Builder, Runtime};

use super::DESCRIPTOR;
use super::hosts::Host;
use crate::http::Secret;
use crate::run::{self, Calls, Job, Sent};
use crate::{AtName, Caps, CompareAndSet, Descriptor, DnsProvider, Entry, Guarded, Op, Outcome, ProviderError, Zone};

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
    /// The zones that the host has shown to be its own.
    shown: Mutex<BTreeSet<Fqdn>>,
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
        Ok(DnsUpdate { config, updater, runtime, shown: Mutex::default() })
    }

    /// What the host lists at a name. A zone that it has not is never read as an empty one.
    fn list(&self, zone: &Zone, name: &Fqdn, kind: DnsRecordType) -> Result<Vec<DnsRecord>, ProviderError> {
        let listed = self.listed(zone, name, kind)?;
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if listed.is_empty() && self.config.host.hides_absence && !shown.contains(&zone.name) {
            // Every zone has name servers, and the host shows them if the zone is its own.
            if self.listed(zone, &zone.name, DnsRecordType::NS)?.is_empty() {
                return Err(self.no_such_zone(zone));
            }
            shown.insert(zone.name.clone());
        }
        Ok(listed)
    }

    fn listed(&self, zone: &Zone, name: &Fqdn, kind: DnsRecordType) -> Result<Vec<DnsRecord>, ProviderError> {
        let listed = self.runtime.block_on(self.updater.list_rrset(name.as_str(), kind, zone.name.as_str()));
        listed.map_err(|error| self.why(zone, &error))
    }

    fn why(&self, zone: &Zone, error: &Error) -> ProviderError {
        match meaning(error) {
            Meaning::Credentials => self.unauthorized(),
            Meaning::NoZone => self.no_such_zone(zone),
            Meaning::Busy => ProviderError::RateLimited { after: None },
            Meaning::Refused => refused(&self.config, error),
            Meaning::Unclear => ProviderError::Unreachable(self.said(error)),
        }
    }

    fn no_such_zone(&self, zone: &Zone) -> ProviderError {
        let (name, zone) = (self.config.host.name, &zone.name);
        ProviderError::Rejected {
            code: "no zone".to_owned(),
            message: format!("{name} shows these credentials no zone `{zone}`, so nothing was asked or changed there"),
        }
    }

    /// Sets the whole name.
    fn set(&self, zone: &Zone, name: &Fqdn, at: &AtName) -> Result<(), Error> {
        let texts = at.texts().map(|text| DnsRecord::TXT(text.to_str_lossy().into_owned())).collect();
        let (ttl, kind) = (self.config.ttl, DnsRecordType::TXT);
        self.runtime.block_on(self.updater.set_rrset(name.as_str(), kind, ttl, texts, zone.name.as_str()))
    }

    /// Some hosts are asked to delete before they are asked to create. Was the second refused, then the name is empty,
    /// and a key that signs has no record: what stood there goes back. An error is a sentence of what stands there now.
    fn put_back(&self, zone: &Zone, job: &Job) -> Result<(), String> {
        let texts = || -> Result<usize, String> {
            let now = self.look(zone, std::slice::from_ref(job.name())).map_err(|error| error.to_string())?;
            Ok(now[0].texts().count())
        };
        if job.now.texts().count() == 0 || texts()? > 0 {
            return Ok(());
        }
        let put = self.set(zone, job.name(), &job.now).map_err(|error| self.said(&error));
        match put.and_then(|()| texts()) {
            Ok(1..) => Ok(()),
            Ok(0) => Err("the old value was entered again and is not shown".to_owned()),
            Err(why) => Err(format!("the old value could not be entered again: {why}")),
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
        if !text.as_bytes().iter().all(|octet| matches!(octet, b' '..=b'~') && !matches!(octet, b'"' | b'\\')) {
            let name = host.name;
            let sentence =
                format!("a quote, a backslash or an octet beyond ASCII may not come through {name} unharmed");
            return reject("characters", sentence);
        }
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
        let Err(error) = self.set(zone, job.name(), &job.after) else { return Sent::Done(None) };
        let meaning = meaning(&error);
        if meaning == Meaning::Unclear {
            return Sent::Unknown(self.said(&error));
        }
        if let Err(empty) = self.put_back(zone, job) {
            return Sent::Unknown(format!("{}; `{}` has no value now: {empty}", self.said(&error), job.name()));
        }
        let why = self.why(zone, &error);
        if meaning == Meaning::Refused { Sent::Refused(why) } else { Sent::Fatal(why) }
    }
}

/// What an error of the crate says of the call. It has words only; those of a host's answer begin with the HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Credentials,
    NoZone,
    /// The crate has asked four times, and waited as long as it was told to.
    Busy,
    Refused,
    /// No answer, or one that proves nothing: what was to be done may have been done.
    Unclear,
}

fn meaning(error: &Error) -> Meaning {
    match error {
        Error::Unauthorized => Meaning::Credentials,
        Error::NotFound => Meaning::NoZone,
        Error::BadRequest | Error::Response(_) | Error::Unsupported(_) | Error::InvalidRegion => Meaning::Refused,
        Error::Api(said) => {
            let status = said.strip_prefix("HTTP ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
            match status {
                Some(403) => Meaning::Credentials,
                Some(429 | 503) => Meaning::Busy,
                Some(500..) => Meaning::Unclear,
                None if said.starts_with("Failed to ") => Meaning::Unclear,
                None if said.ends_with(" not found") => Meaning::NoZone,
                Some(_) | None => Meaning::Refused,
            }
        }
        _ => Meaning::Unclear,
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

#[cfg(test)]
#[path = "adapter_tests.rs"]
mod tests;
