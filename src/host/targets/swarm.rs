//! Swarm secrets: one immutable secret for each key, named after it, on the signer's service.
//!
//! Every change of a service's secrets replaces its task, which is a restart of the mail host. So all keys that are not
//! there yet come in *one* update, ahead of their use, and a switch is an edit of the mounted tables that leaves the
//! task alone. An old secret goes when its key is to be destroyed, long after others sign. The default owner and mode of
//! a secret, root 0444, are refused by OpenDKIM: uid, gid and 0400 are always said.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Fingerprint;
use serde::Deserialize;

use super::exec::{Listing, sha256};
use super::{Delivery, Outcomes, Target, TargetError, below};
use crate::container::{Container, Which};
use crate::files::Owner;
use crate::host::order::{Delivered, KeyOrder, KeyStore, KeyStoreError};
use crate::secrets::manifest;
use crate::secrets::write::{file_name, open_key};

pub const TARGET: Target =
    Target { name: "swarm", needs_container: true, deliver: |delivery| Ok(Box::new(Secrets::deliver(delivery)?)) };

/// The labels by which a secret is known as ours.
const DOMAIN: &str = "dkimctl.domain";
const SELECTOR: &str = "dkimctl.selector";
const FINGERPRINT: &str = "dkimctl.fingerprint";

/// Docker's limit for a secret's name.
const LONGEST_NAME: usize = 64;

/// The secrets of one service.
struct Secrets<'a> {
    engine: Engine<'a>,
    there: Listing,
    outcomes: Outcomes,
}

/// What the engine is asked for.
struct Engine<'a> {
    container: &'a Container,
    service: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secret {
    spec: SecretSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecretSpec {
    name: String,
    labels: Option<BTreeMap<String, String>>,
}

/// A key that is not on the service yet.
struct New {
    domain: SigningDomain,
    key: Fingerprint,
    name: String,
    path: PathBuf,
    hash: Option<String>,
}

impl<'a> Secrets<'a> {
    fn deliver(delivery: &Delivery<'a>) -> Result<Self, TargetError> {
        let (container, user, dir) = (delivery.container(), delivery.user(), &delivery.settings.keys);
        let Which::Service(service) = &container.which else {
            unreachable!("host.toml is refused without the service's name")
        };
        let engine = Engine { container, service };
        let known = engine.secrets()?;
        let attached = engine.attached()?;
        let mut outcomes = Outcomes::default();
        let (mut new, mut old) = (Vec::new(), Vec::new());
        for (order, key) in delivery.outbox.manifest.keys() {
            let entry = New {
                domain: order.domain.clone(),
                key: key.fingerprint,
                name: secret_name(key),
                path: below(dir, &order.domain, &file_name(key)),
                hash: None,
            };
            match engine.ensure(delivery, &known, entry, key) {
                Ok(entry) if attached.contains(&entry.name) => old.push(entry),
                Ok(entry) => new.push(entry),
                Err(error) => outcomes.set(&order.domain, key.fingerprint, Err(error.to_string())),
            }
        }
        if !new.is_empty() {
            engine.attach(&new, delivery.owner().unwrap_or(Owner { uid: 0, gid: 0 }))?;
        }
        let there = Listing::read(container, &user, dir)?;
        let fresh = new.iter().map(|entry| (entry, true));
        for (entry, wrote) in fresh.chain(old.iter().map(|entry| (entry, false))) {
            let outcome = match (there.hash(&entry.path), &entry.hash) {
                (Some(seen), Some(hash)) if seen != hash => {
                    Err(format!("the secret {} reads back differently: it is not used", entry.name))
                }
                (Some(_), _) => Ok(Delivered { path: entry.path.clone(), wrote }),
                (None, _) => Err(format!("{} cannot be read by the signer's user {user}", entry.path.display())),
            };
            outcomes.set(&entry.domain, entry.key, outcome);
        }
        Ok(Secrets { engine, there, outcomes })
    }
}

impl Engine<'_> {
    /// Every secret that carries our label.
    fn secrets(&self) -> Result<BTreeMap<String, String>, TargetError> {
        let filter = format!("label={FINGERPRINT}");
        let ids = self.container.docker("listing secrets", &["secret", "ls", "-q", "--filter", &filter], None)?;
        let ids = String::from_utf8_lossy(&ids).into_owned();
        let mut arguments = vec!["secret", "inspect"];
        arguments.extend(ids.lines());
        if arguments.len() == 2 {
            return Ok(BTreeMap::new());
        }
        let json = self.container.docker("looking at secrets", &arguments, None)?;
        let secrets: Vec<Secret> = serde_json::from_slice(&json)
            .map_err(|error| TargetError::Strange { command: "docker secret inspect", why: error.to_string() })?;
        let named = |secret: Secret| {
            let fingerprint = secret.spec.labels.unwrap_or_default().remove(FINGERPRINT).unwrap_or_default();
            (secret.spec.name, fingerprint)
        };
        Ok(secrets.into_iter().map(named).collect())
    }

    /// The names of the secrets that the service has.
    fn attached(&self) -> Result<Vec<String>, TargetError> {
        let format = "{{range .Spec.TaskTemplate.ContainerSpec.Secrets}}{{println .SecretName}}{{end}}";
        let inspect = ["service", "inspect", "--format", format, self.service];
        let names = self.container.docker("looking at the service", &inspect, None)?;
        Ok(String::from_utf8_lossy(&names).lines().filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// Makes the secret of a key if there is none. One of the same name that is not this key is not touched.
    fn ensure(
        &self,
        delivery: &Delivery<'_>,
        known: &BTreeMap<String, String>,
        entry: New,
        key: &manifest::KeyOrder,
    ) -> Result<New, TargetError> {
        let fingerprint = key.fingerprint.to_string();
        match known.get(&entry.name) {
            Some(seen) if *seen == fingerprint => return Ok(entry),
            Some(_) => {
                let why = format!("{} is the secret of another key", entry.name);
                return Err(TargetError::Strange { command: "docker secret inspect", why });
            }
            None => {}
        }
        let opened = open_key(delivery.outbox, key, delivery.identities)?;
        let labels = [
            format!("{DOMAIN}={}", entry.domain),
            format!("{SELECTOR}={}", key.selector),
            format!("{FINGERPRINT}={fingerprint}"),
        ];
        let mut create = vec!["secret", "create"];
        for label in &labels {
            create.extend(["--label", label]);
        }
        create.extend([&*entry.name, "-"]);
        match self.container.docker("making a secret", &create, Some(opened.pem().as_bytes())) {
            Ok(_) => {}
            // Somebody was as fast: what matters is whether it is this key.
            Err(_) if self.secrets()?.get(&entry.name) == Some(&fingerprint) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(New { hash: Some(sha256(opened.pem())), ..entry })
    }

    /// Gives the service all of them in one update, and waits until its task has come back.
    fn attach(&self, new: &[New], owner: Owner) -> Result<(), TargetError> {
        let Owner { uid, gid } = owner;
        let secret = |entry: &New| {
            format!("source={},target={},uid={uid},gid={gid},mode=0400", entry.name, entry.path.display())
        };
        let secrets: Vec<String> = new.iter().map(secret).collect();
        let mut update = vec!["service", "update", "--quiet", "--detach=false"];
        for secret in &secrets {
            update.extend(["--secret-add", secret]);
        }
        update.push(self.service);
        self.container.docker("adding secrets to the service", &update, None)?;
        Ok(())
    }
}

impl KeyStore for Secrets<'_> {
    fn deliver(&self, domain: &SigningDomain, key: &KeyOrder) -> Result<Delivered, KeyStoreError> {
        self.outcomes.of(domain, key)
    }

    fn locate(&self, domain: &SigningDomain, key: Fingerprint) -> Result<Option<PathBuf>, KeyStoreError> {
        Ok(self.there.locate(domain, key))
    }

    /// A secret that a service has cannot be removed, so the service loses it first.
    fn destroy(&self, _: &SigningDomain, key: Fingerprint) -> Result<bool, KeyStoreError> {
        let fingerprint = key.to_string();
        let known = self.engine.secrets().map_err(KeyStoreError::new)?;
        let ours = known.iter().find(|(_, seen)| **seen == fingerprint).map(|(name, _)| name.as_str());
        let Some(name) = ours else { return Ok(false) };
        let attached = self.engine.attached().map_err(KeyStoreError::new)?;
        let docker = |doing, arguments: &[&str]| {
            self.engine.container.docker(doing, arguments, None).map_err(KeyStoreError::new)
        };
        if attached.iter().any(|attached| attached == name) {
            let update = ["service", "update", "--quiet", "--detach=false", "--secret-rm", name, self.engine.service];
            docker("taking a secret from the service", &update)?;
        }
        docker("removing a secret", &["secret", "rm", name])?;
        Ok(true)
    }
}

/// `dkim-s2-1a2b3c4d`: the id makes it the only one, the selector is for people.
fn secret_name(key: &manifest::KeyOrder) -> String {
    let name = format!("dkim-{}-{}", key.selector.as_str().replace('.', "-"), key.fingerprint.short());
    match name.len() <= LONGEST_NAME {
        true => name,
        false => format!("dkim-{}", key.fingerprint.short()),
    }
}
