//! People: what they ask for, and what they do to the zone and to the machine.
//!
//! Whoever deletes the record of the key that signs breaks mail himself. So people only edit what a correct program
//! survives: names of which no message under way has need, and they leave a value of theirs until it was seen.

use std::rc::Rc;

use dkimctl::advance::Run;
use dkimctl_providers::{AtName, Entry};
use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::{Key, Line, Outgoing, Phase};
use dkimctl_state::lifecycle::request::Intent;
use dkimctl_state::lifecycle::wait::Wait;
use dkimctl_state::name::{Fqdn, Selector};

use crate::schedule::Event;
use crate::sim::Sim;
use crate::store::Kept;
use crate::tally::Group;

/// A value of somebody else.
const FOREIGN: &str = "v=DKIM1; k=rsa; p=Rk9SRUlHTg==";

#[derive(Default)]
pub struct People {
    copy: Option<Kept>,
    /// The state that was replaced by an older copy.
    pub newest: Option<Kept>,
    /// Foreign values: provider, name, since when.
    foreign: Vec<(usize, Fqdn, i64)>,
    /// When the last run that looked at everything began, and what it complained of.
    looked: i64,
    complained: Vec<Fqdn>,
}

impl People {
    /// A run came to its end.
    pub fn saw(&mut self, began: i64, run: &Run) {
        self.looked = began;
        self.complained.clear();
        for (domain, wait) in run.waits.iter().flat_map(|(domain, waits)| waits.iter().map(move |wait| (domain, wait)))
        {
            match wait {
                Wait::Foreign { name, .. } => self.complained.push(name.clone()),
                Wait::Slots { taken, .. } => {
                    let standing = taken.iter().filter(|slot| !slot.ours);
                    self.complained.extend(standing.map(|slot| slot.selector.record_name(domain)));
                }
                _ => {}
            }
        }
    }

    pub fn act(&mut self, sim: &Rc<Sim>, event: Event) {
        let line = sim.line();
        let done = match event {
            // Nobody knows what is safe to edit while the state is an old one.
            _ if sim.kept.borrow().is_older() && event != Event::Set => false,
            Event::Rollback | Event::Revoke | Event::RevokeOld | Event::Retire | Event::Hold | Event::Release => {
                sim.skew.get() == 0 && ask(sim, &line, event)
            }
            Event::DeleteComing | Event::AddBeside | Event::ChangeTtl => self.edit_coming(sim, &line, event),
            Event::Reanimate => reanimate(sim, &line),
            Event::Squat => self.squat(sim),
            Event::Jump(seconds) => jump(sim, seconds),
            Event::Set => {
                sim.skew.set(0);
                true
            }
            Event::Copy => {
                self.copy = Some(sim.kept.borrow().clone());
                true
            }
            Event::PutBack => self.put_back(sim),
        };
        if done {
            sim.say(|| format!("{event:?}"));
            sim.tally.borrow_mut().hit(Group::Misfortune, event.name());
        }
    }

    /// Takes foreign values away that were seen and complained of, on every server.
    pub fn repair(&mut self, sim: &Sim) {
        let lags = sim.schedule.addresses.iter().flat_map(|address| &address.lags);
        let lag = lags.map(|lag| lag.as_secs() as i64).max().unwrap_or(0);
        if self.newest.is_some() && sim.kept.borrow().is_older() && sim.roll(2) == 0 {
            *sim.kept.borrow_mut() = self.newest.take().expect("it was kept when it was replaced");
        }
        let (looked, complained) = (self.looked, &self.complained);
        self.foreign.retain(|(provider, name, since)| {
            let seen = complained.contains(name) && looked >= since + lag;
            if seen {
                let memory = &sim.providers[*provider];
                let rest = match memory.at(name) {
                    AtName::Txt { ttl, mut entries } => {
                        entries.retain(|entry| entry.text.as_bytes() != FOREIGN.as_bytes());
                        if entries.is_empty() { AtName::Absent } else { AtName::Txt { ttl, entries } }
                    }
                    other => other,
                };
                edit(sim, *provider, name, rest);
            }
            !seen
        });
    }

    fn edit_coming(&mut self, sim: &Sim, line: &Line, event: Event) -> bool {
        let Some((key, name)) = coming(sim, line) else { return false };
        let provider = sim.roll(sim.providers.len() as u64) as usize;
        let AtName::Txt { ttl, mut entries } = sim.providers[provider].at(&name) else { return false };
        if entries.len() != 1 || entries[0].text != key.record() {
            return false;
        }
        let after = match event {
            Event::DeleteComing => AtName::Absent,
            Event::AddBeside => {
                self.foreign.push((provider, name.clone(), sim.truth()));
                entries.push(Entry::new(FOREIGN.into()));
                AtName::Txt { ttl: if sim.roll(3) == 0 { 86_400 } else { ttl }, entries }
            }
            _ => AtName::Txt { ttl: if ttl == 60 { 86_400 } else { 60 }, entries },
        };
        edit(sim, provider, &name, after);
        true
    }

    /// A selector that no key has is used for something else.
    fn squat(&mut self, sim: &Sim) -> bool {
        let selector: Selector = ["s1", "s2", "s3"][sim.roll(3) as usize].parse().unwrap();
        let ledger = sim.ledger();
        let name = selector.record_name(&ledger.domain);
        let provider = sim.roll(sim.providers.len() as u64) as usize;
        let taken = ledger.keys().any(|(phase, key)| key.selector == selector && phase != Phase::Gone);
        if taken || sim.providers[provider].at(&name) != AtName::Absent {
            return false;
        }
        let ttl = [300, 3600, 86_400][sim.roll(3) as usize];
        edit(sim, provider, &name, AtName::Txt { ttl, entries: vec![Entry::new(FOREIGN.into())] });
        self.foreign.push((provider, name, sim.truth()));
        true
    }

    fn put_back(&mut self, sim: &Sim) -> bool {
        let Some(copy) = self.copy.take().filter(|copy| copy.serial < sim.kept.borrow().serial) else { return false };
        self.newest = Some(sim.kept.borrow().clone());
        sim.kept.borrow_mut().put_back(&copy, sim.schedule.insists);
        true
    }
}

fn ask(sim: &Rc<Sim>, line: &Line, event: Event) -> bool {
    let leaving = line.outgoing.iter().find(|o| !matches!(o, Outgoing::Gone(_))).map(Outgoing::key);
    match (event, &line.active, leaving) {
        (Event::Rollback, ..) if line.incoming.is_some() || leaving.is_some() => sim.ask(Intent::Rollback),
        (Event::Revoke, Some(active), _) => revoke(sim, &active.key),
        (Event::RevokeOld, _, Some(old)) => revoke(sim, old),
        (Event::Retire, _, Some(old)) => {
            // He was told that somebody still signs with it.
            sim.mail.borrow_mut().revoked(&old.public.to_string(), sim.truth());
            sim.ask(Intent::Retire { key: old.fingerprint });
        }
        (Event::Hold, ..) => sim.hold(),
        (Event::Release, ..) if sim.ledger().hold.is_some() => sim.record(Fact::Released),
        _ => return false,
    }
    true
}

fn revoke(sim: &Rc<Sim>, key: &Key) {
    sim.mail.borrow_mut().revoked(&key.public.to_string(), sim.truth());
    sim.ask(Intent::Revoke { key: key.fingerprint });
}

/// The key on its way whose record no message needs yet.
fn coming<'l>(sim: &Sim, line: &'l Line) -> Option<(&'l Key, Fqdn)> {
    let incoming = line.incoming.as_ref().filter(|incoming| incoming.tried().is_none())?;
    let key = incoming.key();
    matches!(incoming.phase(), Phase::Published | Phase::Propagated)
        .then(|| (key, key.record_name(&sim.settings.domain)))
}

/// The record of a key that is gone comes back.
fn reanimate(sim: &Sim, line: &Line) -> bool {
    let Some(gone) = line.outgoing.iter().find(|o| matches!(o, Outgoing::Gone(_))).map(Outgoing::key) else {
        return false;
    };
    let name = gone.record_name(&sim.settings.domain);
    let needed = line.keys().any(|(phase, key)| {
        key.selector == gone.selector && phase != Phase::Gone && coming(sim, line).is_none_or(|(c, _)| c != key)
    });
    if needed {
        return false;
    }
    let provider = sim.roll(sim.providers.len() as u64) as usize;
    let (ttl, mut entries) = match sim.providers[provider].at(&name) {
        AtName::Txt { ttl, entries } => (ttl, entries),
        _ => (sim.schedule.ttl, Vec::new()),
    };
    entries.push(Entry::new(gone.record()));
    edit(sim, provider, &name, AtName::Txt { ttl, entries });
    true
}

/// The clock is wrong, in a way that can be noticed.
fn jump(sim: &Sim, seconds: i64) -> bool {
    let newest = sim.ledger().newest.map_or(0, |newest| newest.unix());
    let noticed = sim.schedule.witness || (seconds < 0 && sim.truth() + seconds < newest - 600);
    if noticed {
        sim.skew.set(seconds);
    }
    noticed
}

fn edit(sim: &Sim, provider: usize, name: &Fqdn, at: AtName) {
    sim.say(|| format!("somebody makes {name} {at:?}"));
    sim.providers[provider].edit(name, at);
    sim.zone_changed(provider, name);
}
