//! The configured DNS providers by name, with their zones listed once a run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use dkimctl_providers::{AtName, DnsProvider, Guarded, Outcome, ProviderError, Zone, zone_for};
use dkimctl_state::lifecycle::seen::View;
use dkimctl_state::name::{Fqdn, Label};
use dkimctl_state::time::Time;

/// Every provider that the configuration names.
pub struct Dns {
    providers: BTreeMap<Label, Box<dyn DnsProvider>>,
    zones: RefCell<BTreeMap<Label, Rc<Vec<Zone>>>>,
}

impl Dns {
    pub fn new(providers: BTreeMap<Label, Box<dyn DnsProvider>>) -> Self {
        Dns { providers, zones: RefCell::default() }
    }

    pub fn provider(&self, label: &Label) -> Result<&dyn DnsProvider, ProviderError> {
        self.providers.get(label).map(|p| &**p).ok_or_else(|| ProviderError::Rejected {
            code: "config".to_owned(),
            message: format!("no [provider.{label}] is configured"),
        })
    }

    /// The zone of a provider that holds `name`.
    pub fn zone(&self, label: &Label, name: &Fqdn) -> Result<Zone, ProviderError> {
        let known = self.zones.borrow().get(label).cloned();
        let zones = match known {
            Some(zones) => zones,
            None => {
                let listed = Rc::new(self.provider(label)?.zones()?);
                self.zones.borrow_mut().insert(label.clone(), Rc::clone(&listed));
                listed
            }
        };
        zone_for(&zones, name).cloned().ok_or_else(|| ProviderError::NoZone(name.clone()))
    }

    /// What stands at each name; one call a zone.
    pub fn observe(&self, label: &Label, names: &[Fqdn]) -> BTreeMap<Fqdn, Result<AtName, ProviderError>> {
        let mut found = BTreeMap::new();
        for (zone, names) in self.by_zone(label, names.iter().cloned(), |name| name, &mut found) {
            let Ok(provider) = self.provider(label) else { continue };
            match provider.observe(&zone, &names) {
                Ok(seen) => found.extend(names.into_iter().zip(seen.into_iter().map(Ok))),
                Err(error) => found.extend(names.into_iter().map(|name| (name, Err(error.clone())))),
            }
        }
        found
    }

    /// Performs the operations, packed per zone; one outcome for each name.
    pub fn apply(&self, label: &Label, ops: Vec<Guarded>) -> BTreeMap<Fqdn, Outcome> {
        let mut unplaced = BTreeMap::new();
        let mut outcomes = BTreeMap::new();
        for (zone, ops) in self.by_zone(label, ops.into_iter(), |op| op.op.name(), &mut unplaced) {
            let Ok(provider) = self.provider(label) else { continue };
            let results = provider.apply(&zone, &ops);
            outcomes.extend(ops.into_iter().map(|op| op.op.name().clone()).zip(results));
        }
        let refused =
            |(name, result): (Fqdn, Result<AtName, ProviderError>)| Some((name, Outcome::Rejected(result.err()?)));
        outcomes.extend(unplaced.into_iter().filter_map(refused));
        outcomes
    }

    /// The time by a provider's own clock, if any of these tells it.
    pub fn clock<'l>(&self, labels: impl IntoIterator<Item = &'l Label>) -> Option<Time> {
        labels.into_iter().filter_map(|label| self.providers.get(label)?.clock()).next()
    }

    /// Groups things by the zone that their name lies in; those without one go to `unplaced`.
    fn by_zone<T>(
        &self,
        label: &Label,
        things: impl Iterator<Item = T>,
        name: impl Fn(&T) -> &Fqdn,
        unplaced: &mut BTreeMap<Fqdn, Result<AtName, ProviderError>>,
    ) -> Vec<(Zone, Vec<T>)> {
        let mut grouped: BTreeMap<String, (Zone, Vec<T>)> = BTreeMap::new();
        for thing in things {
            match self.zone(label, name(&thing)) {
                Ok(zone) => grouped.entry(zone.id.clone()).or_insert_with(|| (zone, Vec::new())).1.push(thing),
                Err(error) => {
                    unplaced.insert(name(&thing).clone(), Err(error));
                }
            }
        }
        grouped.into_values().collect()
    }
}

/// A provider's answer in the planner's terms.
pub fn view_of(answer: &Result<AtName, ProviderError>) -> View {
    match answer {
        Ok(AtName::Absent) => View::Absent,
        Ok(AtName::Txt { ttl, entries }) => {
            View::Txt { ttl: *ttl, texts: entries.iter().map(|entry| entry.text.clone()).collect() }
        }
        Ok(AtName::Cname { target, .. }) => View::Cname { target: target.clone() },
        Ok(AtName::Unsupported(why)) => View::Unsupported(why.clone()),
        Err(error) => View::Unknown(error.to_string()),
    }
}
