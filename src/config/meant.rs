//! `dkimctl.toml` as it is meant: defaults filled in, names parsed, paths joined, contradictions refused.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use dkimctl_state::lifecycle::policy::Policy;
use dkimctl_state::lifecycle::settings::Settings;
use dkimctl_state::name::{Fqdn, Label, NameError, SigningDomain};
use dkimctl_state::time::Span;
use toml::Spanned;

use super::domains::{Domains, Known};
use super::error::{ConfigError, Mistake, Source};
use super::fleet::Fleet;
use super::placement::Placement;
use super::providers::Provider;
use super::written::{self, Text};
use crate::sealing::{Recipient, recipients_in};
use crate::secrets::signed::VerifyKey;

/// Everything that is configured.
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The directory of state, sealed keys and lock.
    pub state: PathBuf,
    pub domains: Domains,
    pub providers: BTreeMap<Label, Provider>,
    pub signers: BTreeMap<Label, Signer>,
    pub secrets: Secrets,
    pub observe: Observe,
    pub reports: written::Reports,
    pub fleet: Fleet,
    /// What domains without a policy of their own follow.
    pub policy: Policy,
    pub placement: Placement,
}

/// A mail host: where its orders go, and where its proofs come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    pub outbox: PathBuf,
    pub receipts: PathBuf,
    /// The key that its receipts are signed with, once it is known.
    pub receipt_key: Option<VerifyKey>,
    /// The host's own `host.toml`, when the host is this machine.
    pub apply: Option<PathBuf>,
}

/// To whom keys are sealed, and what manifests are signed with.
pub struct Secrets {
    pub recipients: Vec<Recipient>,
    /// Files with further recipients; read by [`Secrets::all_recipients`].
    pub recipients_files: Vec<PathBuf>,
    pub manifest_key: PathBuf,
}

/// How published records are observed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observe {
    /// Servers to ask for every zone without an entry in `zones`, instead of those that the delegation names.
    pub nameservers: Vec<SocketAddr>,
    pub zones: BTreeMap<Fqdn, Vec<SocketAddr>>,
    /// The resolvers that find the name servers; those of the system when empty.
    pub recursives: Vec<SocketAddr>,
    pub ipv4: bool,
    pub ipv6: bool,
}

impl Config {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::whole(path, Mistake::opening(&error, "dkimctl init")))?;
        Self::parse(path, &text)
    }

    /// Reads a text that stands in `path`: relative paths in it are relative to that file.
    pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
        let source = Source { file: path, text };
        let written: written::File = toml::from_str(text).map_err(|error| source.refused(&error))?;
        let here = path.parent().unwrap_or(Path::new("."));
        let reader = Reader { source: &source, here };
        let policy = policy(&source, Policy::default(), &written.policy)?;
        let state = written.state.as_ref().map_or_else(|| here.join("state"), |dir| reader.path(dir));

        let providers = reader.named(&written.provider, |label, table| {
            Provider::read(&source, here, label, table.get_ref(), table.span())
        })?;
        let signers = reader.named(&written.signer, |label, table| reader.signer(label, table))?;
        let known = Known { providers: &providers, signers: &signers, policy: &policy };
        let domains_file = written.domains_file.as_ref().map(|file| (reader.path(file), file.span()));
        let domains = Domains::read(&source, &written, domains_file, &known)?;
        let secrets = reader.secrets(&written.secrets, &state)?;
        let observe = reader.observe(&written.observe)?;
        let placement = written.placement.as_ref().map(|table| Placement::read(&source, here, table));
        let placement = placement.transpose()?.unwrap_or_default();
        let fleet = Fleet::read(&source, &written.fleet)?;
        Ok(Config {
            path: path.to_owned(),
            state,
            domains,
            providers,
            signers,
            secrets,
            observe,
            reports: written.reports,
            fleet,
            placement,
            policy,
        })
    }

    /// What is configured for a domain; `None` if it is not configured.
    pub fn settings(&self, domain: &SigningDomain) -> Option<Settings> {
        self.domains.settings(domain)
    }
}

impl Secrets {
    /// The recipients, those in files included. Read when a key is made, so that CI needs no such file.
    pub fn all_recipients(&self) -> Result<Vec<Recipient>, ConfigError> {
        let mut all = self.recipients.clone();
        for file in &self.recipients_files {
            let text = std::fs::read_to_string(file)
                .map_err(|error| ConfigError::whole(file, Mistake::Unreadable(error.to_string())))?;
            all.extend(recipients_in(&text).map_err(|error| ConfigError::whole(file, error))?);
        }
        Ok(all)
    }
}

/// What most tables need to be understood.
pub(crate) struct Reader<'a> {
    pub source: &'a Source<'a>,
    pub here: &'a Path,
}

impl Reader<'_> {
    fn at_name(&self, text: &Text, error: NameError) -> ConfigError {
        self.source.at(text.span(), error)
    }

    pub fn path(&self, text: &Text) -> PathBuf {
        self.here.join(text.get_ref())
    }

    /// Reads a map of named tables.
    fn named<W, M>(
        &self,
        written: &BTreeMap<Text, Spanned<W>>,
        mut read: impl FnMut(&Label, &Spanned<W>) -> Result<M, ConfigError>,
    ) -> Result<BTreeMap<Label, M>, ConfigError> {
        let mut named = BTreeMap::new();
        for (name, table) in written {
            let label: Label = name.get_ref().parse().map_err(|error| self.at_name(name, error))?;
            let meant = read(&label, table)?;
            named.insert(label, meant);
        }
        Ok(named)
    }

    fn signer(&self, label: &Label, table: &Spanned<written::Signer>) -> Result<Signer, ConfigError> {
        let signer = table.get_ref();
        let missing = |key| self.source.at(table.span(), Mistake::Missing { table: format!("[signer.{label}]"), key });
        let receipt_key = signer.receipt_key.as_ref().map(|text| {
            let parsed = text.get_ref().parse::<VerifyKey>();
            parsed.map_err(|error| self.source.at(text.span(), Mistake::Other(error.to_string())))
        });
        Ok(Signer {
            outbox: signer.outbox.as_ref().map(|dir| self.path(dir)).ok_or_else(|| missing("outbox"))?,
            receipts: signer.receipts.as_ref().map(|dir| self.path(dir)).ok_or_else(|| missing("receipts"))?,
            receipt_key: receipt_key.transpose()?,
            apply: signer.apply.as_ref().map(|file| self.path(file)),
        })
    }

    fn secrets(&self, secrets: &written::Secrets, state: &Path) -> Result<Secrets, ConfigError> {
        let mut recipients = Vec::new();
        for text in secrets.recipients.iter().flatten() {
            let recipient = text.get_ref().parse::<Recipient>();
            recipients.push(recipient.map_err(|error| self.source.at(text.span(), error))?);
        }
        Ok(Secrets {
            recipients,
            recipients_files: secrets.recipients_files.iter().flatten().map(|file| self.path(file)).collect(),
            manifest_key: secrets.manifest_key.as_ref().map_or_else(|| state.join("manifest.key"), |f| self.path(f)),
        })
    }

    pub fn observe(&self, observe: &written::Observe) -> Result<Observe, ConfigError> {
        let mut zones = BTreeMap::new();
        for (name, servers) in &observe.zones {
            let zone: Fqdn = name.get_ref().parse().map_err(|error| self.at_name(name, error))?;
            zones.insert(zone, self.addresses(servers)?);
        }
        let mut families = (observe.families.is_none(), observe.families.is_none());
        for family in observe.families.iter().flatten() {
            match family.get_ref().as_str() {
                "ipv4" => families.0 = true,
                "ipv6" => families.1 = true,
                _ => return Err(no_kind(self.source, family, "address family", &["ipv4", "ipv6"])),
            }
        }
        Ok(Observe {
            nameservers: self.addresses(observe.nameservers.as_deref().unwrap_or_default())?,
            zones,
            recursives: self.addresses(observe.recursives.as_deref().unwrap_or_default())?,
            ipv4: families.0,
            ipv6: families.1,
        })
    }

    /// `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1` or `[2001:db8::1]:5353`.
    fn addresses(&self, texts: &[Text]) -> Result<Vec<SocketAddr>, ConfigError> {
        let read = |text: &Text| {
            let seen = text.get_ref();
            let whole = seen.parse::<SocketAddr>().ok();
            whole.or_else(|| Some(SocketAddr::new(seen.parse::<IpAddr>().ok()?, 53))).ok_or_else(|| {
                let sentence = format!("`{seen}` is no address; write 192.0.2.1, or [2001:db8::1]:5353 with a port");
                self.source.at(text.span(), Mistake::Other(sentence))
            })
        };
        texts.iter().map(read).collect()
    }
}

/// The policy that `written` makes of `base`.
pub(super) fn policy(source: &Source<'_>, base: Policy, written: &written::Policy) -> Result<Policy, ConfigError> {
    let mut policy = base;
    let set = |field: &mut Span, text: &Option<Text>| {
        if let Some(text) = text {
            *field = span(source, text)?;
        }
        Ok::<(), ConfigError>(())
    };
    set(&mut policy.window, &written.window)?;
    set(&mut policy.queue_lifetime, &written.queue_lifetime)?;
    set(&mut policy.retire_safety, &written.retire_safety)?;
    set(&mut policy.publish_safety, &written.publish_safety)?;
    set(&mut policy.sweep_gap, &written.sweep_gap)?;
    set(&mut policy.propagation, &written.propagation)?;
    set(&mut policy.negative_floor, &written.negative_floor)?;
    set(&mut policy.negative_unknown, &written.negative_unknown)?;
    set(&mut policy.rollback_grace, &written.rollback_grace)?;
    set(&mut policy.revoked_retention, &written.revoked_retention)?;
    set(&mut policy.key_age_notice, &written.key_age_notice)?;
    set(&mut policy.poll, &written.poll)?;
    set(&mut policy.clock_tolerance, &written.clock_tolerance)?;
    policy.lab = written.lab.unwrap_or(policy.lab);
    Ok(policy)
}

pub(crate) fn span(source: &Source<'_>, text: &Text) -> Result<Span, ConfigError> {
    text.get_ref().parse().map_err(|error: dkimctl_state::time::TimeError| source.at(text.span(), error))
}

pub(crate) fn no_kind(source: &Source<'_>, seen: &Text, what: &'static str, known: &[&str]) -> ConfigError {
    let nearest = super::error::nearest(seen.get_ref(), known.iter().copied());
    let known = known.iter().map(|&word| word.to_owned()).collect();
    source.at(seen.span(), Mistake::NoKind { what, seen: seen.get_ref().clone(), nearest, known })
}
