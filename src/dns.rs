//! The configured DNS providers by name, with their zones listed once a run.
//!
//! A record's name is not always where its record lies: a selector may be an alias, or in a delegated zone. [`follow`]
//! finds its home; whatever is written to such a name is written there.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use dkimctl_providers::{AtName, ChangeId, DnsProvider, Guarded, Op, Outcome, ProviderError, Zone, zone_for};
use dkimctl_state::lifecycle::seen::View;
use dkimctl_state::name::{Fqdn, Label};
use dkimctl_state::time::Time;

mod follow;

/// Every provider that the domains of a run name, and those that an alias of theirs may lead to.
#[derive(Default)]
pub struct Dns {
    providers: BTreeMap<Label, Box<dyn DnsProvider>>,
    others: BTreeMap<Label, Other>,
    zones: RefCell<BTreeMap<Label, Result<Rc<Vec<Zone>>, ProviderError>>>,
    homes: RefCell<BTreeMap<(Label, Fqdn), Home>>,
    unsettled: RefCell<Vec<Unsettled>>,
}

/// A change that its host has taken and may not have performed yet.
struct Unsettled {
    holder: Label,
    zone: Zone,
    change: ChangeId,
    names: Vec<Fqdn>,
}

/// Makes a provider ready; its secret is read only then.
pub type Build = Box<dyn Fn() -> Result<Box<dyn DnsProvider>, ProviderError>>;

/// A provider that is made when an alias leads to where it might be responsible.
struct Other {
    build: Build,
    built: OnceCell<Result<Box<dyn DnsProvider>, ProviderError>>,
}

/// Where the record of a name lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Home {
    holder: Label,
    zone: Zone,
    name: Fqdn,
}

impl Dns {
    pub fn new(providers: BTreeMap<Label, Box<dyn DnsProvider>>) -> Self {
        Dns { providers, ..Dns::default() }
    }

    /// And these, where an alias or a delegation may lead.
    pub fn and_others(mut self, others: impl IntoIterator<Item = (Label, Build)>) -> Self {
        let other = |(label, build)| (label, Other { build, built: OnceCell::new() });
        self.others.extend(others.into_iter().map(other));
        self
    }

    pub fn provider(&self, label: &Label) -> Result<&dyn DnsProvider, ProviderError> {
        if let Some(provider) = self.providers.get(label) {
            return Ok(&**provider);
        }
        match self.others.get(label).map(|other| other.built.get_or_init(|| (other.build)())) {
            Some(Ok(provider)) => Ok(&**provider),
            Some(Err(error)) => Err(error.clone()),
            None => Err(ProviderError::Rejected {
                code: "config".to_owned(),
                message: format!("no [provider.{label}] is configured"),
            }),
        }
    }

    /// The zones of a provider, listed once: whoever could not list them is not asked again for each name.
    pub fn zones(&self, label: &Label) -> Result<Rc<Vec<Zone>>, ProviderError> {
        let known = self.zones.borrow().get(label).cloned();
        known.unwrap_or_else(|| {
            let listed = self.provider(label).and_then(DnsProvider::zones).map(Rc::new);
            self.zones.borrow_mut().insert(label.clone(), listed.clone());
            listed
        })
    }

    /// The zone of a provider that holds `name`.
    pub fn zone(&self, label: &Label, name: &Fqdn) -> Result<Zone, ProviderError> {
        zone_for(&self.zones(label)?, name).cloned().ok_or_else(|| ProviderError::NoZone(name.clone()))
    }

    /// What stands at each of these very names, at this provider; one call a zone. Aliases are shown, not followed.
    pub fn observe(&self, label: &Label, names: &[Fqdn]) -> BTreeMap<Fqdn, Result<AtName, ProviderError>> {
        let mut found = BTreeMap::new();
        let mut inside: BTreeMap<String, (Zone, Vec<Fqdn>)> = BTreeMap::new();
        for name in names {
            match self.zone(label, name) {
                Ok(zone) => inside.entry(zone.id.clone()).or_insert_with(|| (zone, vec![])).1.push(name.clone()),
                Err(error) => drop(found.insert(name.clone(), Err(error))),
            }
        }
        for (zone, names) in inside.into_values() {
            match self.provider(label).and_then(|provider| provider.observe(&zone, &names)) {
                Ok(seen) => found.extend(names.into_iter().zip(seen.into_iter().map(Ok))),
                Err(error) => found.extend(names.into_iter().map(|name| (name, Err(error.clone())))),
            }
        }
        found
    }

    /// Why the host that holds the name could never hold what this is to write; nobody is asked.
    pub fn objection(&self, label: &Label, op: &Op) -> Option<ProviderError> {
        let (Op::Add { name, text, .. } | Op::Replace { name, new: text, .. }) = op else { return None };
        let holder = self.home(label, name).map_or_else(|_| label.clone(), |home| home.holder);
        let (octets, most) = (text.as_bytes().len(), self.provider(&holder).ok()?.caps().max_text);
        (octets > most).then(|| ProviderError::Rejected {
            code: "too long".to_owned(),
            message: crate::report::words::too_long(name, octets, &holder, most),
        })
    }

    /// Performs the operations, packed per zone, each where its name was found to lead; same order, same length.
    pub fn apply(&self, label: &Label, ops: Vec<Guarded>) -> Vec<Outcome> {
        let mut outcomes = vec![Outcome::NotTried; ops.len()];
        let names: Vec<Fqdn> = ops.iter().map(|guarded| guarded.op.name().clone()).collect();
        let mut packed: BTreeMap<(Label, String), (Zone, Vec<usize>, Vec<Guarded>)> = BTreeMap::new();
        for (index, Guarded { op, seen }) in ops.into_iter().enumerate() {
            match self.home(label, op.name()) {
                Ok(Home { holder, zone, name }) => {
                    let pack = packed.entry((holder, zone.id.clone())).or_insert_with(|| (zone, vec![], vec![]));
                    pack.1.push(index);
                    pack.2.push(Guarded { op: op.at(name), seen });
                }
                Err(error) => outcomes[index] = Outcome::Rejected(error),
            }
        }
        for ((holder, _), (zone, indexes, ops)) in packed {
            let results = match self.provider(&holder) {
                Ok(provider) => provider.apply(&zone, &ops),
                Err(error) => vec![Outcome::Rejected(error); ops.len()],
            };
            self.note_unsettled(&holder, &zone, &indexes, &names, &results);
            indexes.into_iter().zip(results).for_each(|(index, outcome)| outcomes[index] = outcome);
        }
        outcomes
    }

    fn note_unsettled(&self, holder: &Label, zone: &Zone, indexes: &[usize], names: &[Fqdn], results: &[Outcome]) {
        let mut changed: BTreeMap<&str, Vec<Fqdn>> = BTreeMap::new();
        for (index, outcome) in indexes.iter().zip(results) {
            if let Outcome::Applied(Some(ChangeId(change))) = outcome {
                changed.entry(change).or_default().push(names[*index].clone());
            }
        }
        self.unsettled.borrow_mut().extend(changed.into_iter().map(|(change, names)| Unsettled {
            holder: holder.clone(),
            zone: zone.clone(),
            change: ChangeId(change.to_owned()),
            names,
        }));
    }

    /// The names whose last change in this run the host has not performed yet (Route 53: PENDING), with the reason.
    pub fn unsettled(&self) -> BTreeMap<Fqdn, (Label, String)> {
        let mut waiting = BTreeMap::new();
        self.unsettled.borrow_mut().retain(|Unsettled { holder, zone, change, names }| {
            let why = match self.provider(holder).and_then(|provider| provider.settled(zone, change)) {
                Ok(true) => return false,
                Ok(false) => crate::report::words::not_settled(),
                Err(error) => error.to_string(),
            };
            waiting.extend(names.iter().map(|name| (name.clone(), (holder.clone(), why.clone()))));
            true
        });
        waiting
    }

    /// The time by a provider's own clock, if any of these tells it.
    pub fn clock<'l>(&self, labels: impl IntoIterator<Item = &'l Label>) -> Option<Time> {
        labels.into_iter().filter_map(|label| self.providers.get(label)?.clock()).next()
    }

    /// Where a name was last found to lead; the name itself if it was never followed.
    fn home(&self, label: &Label, name: &Fqdn) -> Result<Home, ProviderError> {
        match self.homes.borrow().get(&(label.clone(), name.clone())) {
            Some(home) => Ok(home.clone()),
            None => Ok(Home { holder: label.clone(), zone: self.zone(label, name)?, name: name.clone() }),
        }
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
        Ok(AtName::Delegated { zone, server }) => View::Unsupported(crate::report::words::delegated(zone, server)),
        Ok(AtName::Unsupported(why)) => View::Unsupported(why.clone()),
        Err(error) => View::Unknown(error.to_string()),
    }
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
