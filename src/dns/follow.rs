//! Follows a record's name to the zone that is ours: through CNAMEs, and into delegated zones.
//!
//! Somebody who lets us keep his keys adds `s1._domainkey.customer CNAME s1.customer._dk.ours.example` once, or
//! delegates `_domainkey.customer` to servers of ours. Verifiers follow both (RFC 6376 section 3.6.2.2, RFC 1034
//! section 3.6.2), so the record is published where they end. Where they end outside of all zones that are configured
//! nothing is written, and the place is named.
//!
//! The first step is a provider's own answer where one holds the name, and the answer of the name's own servers where
//! none does. No resolver is asked.

use std::collections::{BTreeMap, BTreeSet};

use dkimctl_providers::{AtName, ProviderError, Zone};
use dkimctl_state::name::{Fqdn, Label};

use super::{Dns, Home};
use crate::observe::{LONGEST_CHAIN, Sweeper};
use crate::report::words;

/// What providers say, by the name that was asked for.
type Found = BTreeMap<Fqdn, Result<AtName, ProviderError>>;

/// A name on its way home.
struct Trail {
    name: Fqdn,
    /// How far it has come.
    at: Fqdn,
    visited: BTreeSet<Fqdn>,
    /// A zone that was found to be delegated: only zones in it can hold the record.
    cut: Option<Fqdn>,
    /// What is said of the name when nobody of ours holds its end.
    otherwise: Option<AtName>,
}

impl Dns {
    /// What stands where each name leads to. What is applied to it from now on is applied there.
    pub fn observe_at_home(&self, label: &Label, names: &[Fqdn], sweeper: &dyn Sweeper) -> Found {
        let mut found = Found::new();
        let mut trails: Vec<Trail> = names.iter().map(Trail::begin).collect();
        while !trails.is_empty() {
            let mut held: BTreeMap<(Label, String), (Zone, Vec<Trail>)> = BTreeMap::new();
            let mut outside = Vec::new();
            for trail in trails {
                match self.holder(label, &trail) {
                    Ok(Some((holder, zone))) => {
                        held.entry((holder, zone.id.clone())).or_insert_with(|| (zone, Vec::new())).1.push(trail);
                    }
                    Ok(None) => outside.push(trail),
                    Err(error) => drop(found.insert(trail.name, Err(error))),
                }
            }
            let mut next = Vec::new();
            for ((holder, _), (zone, inside)) in held {
                self.look(label, &holder, &zone, inside, &mut next, &mut found);
            }
            ask_servers(sweeper, outside, &mut next, &mut found);
            trails = next;
        }
        found
    }

    /// The provider and the zone in which a trail goes on. The name itself belongs to the domain's own provider; where
    /// it leads to may belong to any, the domain's own before others.
    fn holder(&self, label: &Label, trail: &Trail) -> Result<Option<(Label, Zone)>, ProviderError> {
        let fits = |zone: &Zone| trail.cut.as_ref().is_none_or(|cut| zone.name.is_in(cut));
        let zone_at = |label: &Label| match self.zone(label, &trail.at) {
            Ok(zone) => Ok(fits(&zone).then(|| (label.clone(), zone))),
            Err(ProviderError::NoZone(_)) => Ok(None),
            Err(error) => Err(error),
        };
        let own = zone_at(label)?;
        if own.is_some() || trail.otherwise.is_none() {
            return Ok(own);
        }
        let (mut best, mut trouble): (Option<(Label, Zone)>, _) = (None, None);
        for other in self.providers.keys().chain(self.others.keys()).filter(|other| *other != label) {
            match zone_at(other) {
                Ok(Some(place)) if best.as_ref().is_none_or(|(_, zone)| place.1.name.is_in(&zone.name)) => {
                    best = Some(place);
                }
                Ok(_) => {}
                Err(error) => trouble = Some(error),
            }
        }
        // Whoever could not be asked may be the one that holds it.
        match (best, trouble) {
            (None, Some(error)) => Err(error),
            (best, _) => Ok(best),
        }
    }

    fn look(
        &self,
        label: &Label,
        holder: &Label,
        zone: &Zone,
        inside: Vec<Trail>,
        next: &mut Vec<Trail>,
        found: &mut Found,
    ) {
        let places: Vec<Fqdn> = inside.iter().map(|trail| trail.at.clone()).collect();
        let seen = match self.provider(holder).and_then(|provider| provider.observe(zone, &places)) {
            Ok(seen) => seen,
            Err(error) => {
                found.extend(inside.into_iter().map(|trail| (trail.name, Err(error.clone()))));
                return;
            }
        };
        for (trail, at_name) in inside.into_iter().zip(seen) {
            match at_name {
                AtName::Cname { target, .. } => trail.on_to(target, next, found),
                AtName::Delegated { zone: ref cut, .. } if trail.cut.as_ref() != Some(cut) => {
                    next.push(Trail { cut: Some(cut.clone()), otherwise: Some(at_name), ..trail });
                }
                _ if trail.at == zone.name && trail.at != trail.name => {
                    found.insert(trail.name, Ok(AtName::Unsupported(words::alias_of_apex(&zone.name))));
                }
                at_name => {
                    let key = (label.clone(), trail.name.clone());
                    if trail.at == trail.name && holder == label {
                        self.homes.borrow_mut().remove(&key);
                    } else {
                        let home = Home { holder: holder.clone(), zone: zone.clone(), name: trail.at };
                        self.homes.borrow_mut().insert(key, home);
                    }
                    found.insert(trail.name, Ok(at_name));
                }
            }
        }
    }
}

/// Nobody of ours holds these: whether they lead further only their own servers know.
fn ask_servers(sweeper: &dyn Sweeper, outside: Vec<Trail>, next: &mut Vec<Trail>, found: &mut Found) {
    if outside.is_empty() {
        return;
    }
    let places: Vec<Fqdn> = outside.iter().map(|trail| trail.at.clone()).collect();
    for (trail, alias) in outside.into_iter().zip(sweeper.aliases(&places)) {
        match (alias, trail.otherwise.clone()) {
            (Ok(Some(target)), _) => trail.on_to(target, next, found),
            (Ok(None), Some(otherwise)) => drop(found.insert(trail.name, Ok(otherwise))),
            (Ok(None), None) => drop(found.insert(trail.name.clone(), Err(ProviderError::NoZone(trail.name)))),
            // It may still lead back to us: what is not known is no refusal.
            (Err(why), otherwise) => {
                let why = match otherwise {
                    Some(otherwise) => words::leads_on_unknown(&otherwise, &why),
                    None => words::no_zone_and_unknown(&trail.at, &why),
                };
                found.insert(trail.name, Err(ProviderError::Unreachable(why)));
            }
        }
    }
}

impl Trail {
    fn begin(name: &Fqdn) -> Trail {
        let visited = BTreeSet::from([name.clone()]);
        Trail { name: name.clone(), at: name.clone(), visited, cut: None, otherwise: None }
    }

    /// One alias further, unless the chain is longer than a resolver would follow it, or bites its own tail.
    fn on_to(mut self, target: Fqdn, next: &mut Vec<Trail>, found: &mut Found) {
        let looped = !self.visited.insert(target.clone());
        if looped || self.visited.len() > LONGEST_CHAIN {
            found.insert(self.name, Ok(AtName::Unsupported(words::endless_alias(&target, looped))));
            return;
        }
        let otherwise = Some(AtName::Cname { target: target.clone(), ttl: 0 });
        next.push(Trail { at: target, cut: None, otherwise, ..self });
    }
}
