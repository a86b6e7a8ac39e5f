//! A key's whole life on one page.
//!
//! | phase      | private key                | TXT record                       | signers            | leaves when |
//! |------------|----------------------------|----------------------------------|--------------------|-------------|
//! | sealed     | age blob, read back        | absent                           | -                  | a provider was seen to hold the record |
//! | published  | sealed                     | rumoured: written, not everywhere| -                  | two clean sweeps, `sweep_gap` apart, of every server |
//! | propagated | delivered to every host    | on every server since `seen`     | loaded, idle       | `seen` + longest TTL + `publish_safety`, and a fresh clean sweep |
//! | switching  | delivered                  | omnipresent                      | may sign           | every host's probe showed a right signature |
//! | active     | delivered                  | omnipresent                      | sign               | a successor is active |
//! | retiring   | kept `rollback_grace`      | omnipresent                      | must not sign      | `stopped` + `window`, later if somebody still uses it |
//! | withdrawn  | destroyed                  | removed, caches may have it      | -                  | gone from every server, + longest TTL + `propagation` |
//! | gone       | destroyed                  | hidden                           | -                  | never: the selector is free, the key is not |
//! | revoked    | destroyed at once          | `p=` empty                       | must not sign      | `revoked_retention`, then withdrawn |
//!
//! [`due`] has the same rows in the same order. It decides, and [`super::plan`] orders; nobody else does either.

use super::check::Rule;
use super::fact::Fact;
use super::ledger::*;
use super::request::{Hold, Intent, Request};
use super::seen::{Seen, View, keys_in};
use super::settings::Settings;
use super::step::Step;
use super::wait::{SlotTaken, Wait};
use crate::name::Label;
use crate::record::dkim::Algorithm;
use crate::record::txt::TxtText;
use crate::time::Time;

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    pub settings: &'a Settings,
    pub ledger: &'a Ledger,
    pub seen: &'a Seen,
    pub at: Time,
}

/// What is to be done for one line, and what is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    pub steps: Vec<Step>,
    pub waits: Vec<Wait>,
}

/// What one line needs now.
pub fn due(now: Now<'_>, algorithm: Algorithm, line: &Line) -> Due {
    let mut due = Due::default();
    due.obey(now, algorithm, line);
    match &line.incoming {
        None => due.begin(now, algorithm, line),
        Some(Incoming::Sealed(Sealed { key })) => due.publish(now, key),
        Some(Incoming::Published(p)) => due.spread(now, p),
        Some(Incoming::Propagated(p)) => due.make_ready(now, line, p),
        Some(Incoming::Switching(s)) => due.switch(now, s),
    }
    if let Some(active) = &line.active {
        due.keep(now, active);
    }
    for outgoing in &line.outgoing {
        match outgoing {
            Outgoing::Retiring(r) => due.retire(now, line, r),
            Outgoing::Withdrawn(w) => due.withdraw(now, w),
            Outgoing::Gone(g) => due.bury(now, g),
            Outgoing::Revoked(r) => due.revoke(now, r),
        }
    }
    due
}

impl Due {
    /// Requests that change the course of keys that exist already.
    fn obey(&mut self, now: Now<'_>, algorithm: Algorithm, line: &Line) {
        let Some(Request { intent, .. }) = &line.request else {
            return;
        };
        let retiring = || line.outgoing.iter().rev().find(|o| o.phase() == Phase::Retiring).map(Outgoing::key);
        match (intent, &line.incoming) {
            (Intent::Rollback, Some(Incoming::Switching(s))) if s.refused.is_none() => {
                let why = "an operator asked to go back".to_owned();
                self.steps.push(Step::Record(Fact::Refused { key: s.key.fingerprint, host: None, why }));
            }
            (Intent::Rollback, Some(Incoming::Switching(_))) => {}
            (Intent::Rollback, Some(incoming)) => {
                self.steps.push(Step::Record(Fact::Abandoned { key: incoming.key().fingerprint }));
                self.steps.push(Step::Record(Fact::Answered { algorithm }));
            }
            (Intent::Rollback, None) => match retiring().filter(|key| key.held_by_all(now.settings)) {
                Some(key) => self.steps.push(Step::Record(Fact::Recalled { key: key.fingerprint })),
                None => self.waits.push(Wait::NoWayBack),
            },
            (Intent::Revoke { key }, incoming) => {
                if let Some(incoming) = incoming.as_ref().filter(|i| i.key().fingerprint == *key) {
                    match incoming {
                        Incoming::Switching(s) if s.refused.is_none() => {
                            let why = "the key is known to others".to_owned();
                            self.steps.push(Step::Record(Fact::Refused { key: *key, host: None, why }));
                        }
                        Incoming::Switching(_) => {}
                        _ => self.steps.push(Step::Record(Fact::Abandoned { key: *key })),
                    }
                } else if line.outgoing.iter().any(|o| o.key().fingerprint == *key) {
                    let stopped = |o: &&Outgoing| matches!(o.phase(), Phase::Retiring | Phase::Withdrawn);
                    // An old record that somebody put back goes anyway, and a gravestone beside the selector's new key
                    // would be the end of that one.
                    let alone = |o: &&Outgoing| {
                        line.keys().filter(|(p, k)| k.selector == o.key().selector && *p != Phase::Gone).count() == 1
                    };
                    if line.outgoing.iter().filter(stopped).filter(alone).any(|o| o.key().fingerprint == *key) {
                        self.steps.push(Step::Record(Fact::Condemned { key: *key }));
                    }
                    self.steps.push(Step::Record(Fact::Answered { algorithm }));
                }
            }
            (Intent::Retire { key }, _) => {
                let waiting = |o: &Outgoing| o.key().fingerprint == *key && o.phase() == Phase::Retiring;
                if !line.outgoing.iter().any(waiting) {
                    self.steps.push(Step::Record(Fact::Answered { algorithm }));
                }
            }
            (Intent::Rotate, _) => {}
        }
    }

    /// No key is on its way: begin with one if it was asked for and a slot is free.
    fn begin(&mut self, now: Now<'_>, algorithm: Algorithm, line: &Line) {
        let emergency = match line.request.as_ref().map(|r| &r.intent) {
            Some(Intent::Rotate) => false,
            Some(Intent::Revoke { key }) if line.active.as_ref().is_some_and(|a| a.key.fingerprint == *key) => true,
            Some(_) => return,
            None if line.active.is_none() => return self.waits.push(Wait::NeverAsked),
            None => return,
        };
        let candidates = now.settings.candidates(algorithm, emergency, now.at);
        // Whoever has a selector's name now leaves his answers in caches when he goes.
        for selector in candidates.iter().filter(|selector| now.stands(selector)) {
            if let Some(maxima) = now.grown_maxima(selector) {
                self.steps.push(Step::Record(Fact::Carried { selector: selector.clone(), maxima }));
            }
        }
        let mut taken = Vec::new();
        for selector in candidates {
            match now.occupant(&selector) {
                None => {
                    return self.steps.push(Step::Generate { algorithm, selector });
                }
                Some((by, until)) => {
                    let ours = now.ledger.keys().any(|(phase, key)| key.selector == selector && phase != Phase::Gone);
                    taken.push(SlotTaken { selector, by, ours, until });
                }
            }
        }
        let until = taken.iter().filter_map(|slot| slot.until).min();
        self.waits.push(Wait::Slots { taken, until });
    }

    /// sealed -> published: the record at every provider.
    fn publish(&mut self, now: Now<'_>, key: &Key) {
        let name = key.record_name(&now.ledger.domain);
        let text = key.record();
        for provider in &now.settings.providers {
            let view = now.seen.view(&name, provider);
            let written = |view: &View| view.texts() == std::slice::from_ref(&text);
            match view {
                Some(view) if written(view) => {
                    if !key.record_at.contains_key(provider) {
                        let (key, provider) = (key.fingerprint, provider.clone());
                        self.steps.push(Step::Record(Fact::Written { key, provider }));
                    }
                    // The same text under another TTL is ours to set right.
                    if let View::Txt { ttl, .. } = view
                        && *ttl != now.settings.ttl
                    {
                        self.steps.push(now.publication(key, provider, view));
                    }
                }
                Some(view @ View::Absent) => self.steps.push(now.publication(key, provider, view)),
                Some(View::Txt { texts, .. }) => {
                    let texts = texts.iter().filter(|t| **t != text).cloned().collect();
                    self.waits.push(Wait::Foreign { name: name.clone(), at: provider.to_string(), texts });
                }
                other => self.waits.push(now.not_usable(&name, provider, other)),
            }
        }
    }

    /// published -> propagated: two clean sweeps of every server.
    fn spread(&mut self, now: Now<'_>, published: &Published) {
        let key = &published.key;
        self.publish(now, key);
        let written_everywhere = now.settings.providers.iter().all(|p| key.record_at.contains_key(p));
        let Some(clean) = self.sweep(now, key, published.first_clean.is_some()) else {
            return;
        };
        if !clean || !written_everywhere {
            return;
        }
        let fingerprint = key.fingerprint;
        // An address may be many machines: what the second look met may be younger than the first look.
        let since = now.at;
        let first = match published.first_clean {
            None if now.holds(Rule::TwoSweeps, false) => now.at,
            None => {
                return self.steps.push(Step::Record(Fact::SweptClean { key: fingerprint }));
            }
            Some(first) => first,
        };
        let until = first + now.settings.policy.sweep_gap;
        if now.holds(Rule::TwoSweeps, now.at >= until) {
            self.steps.push(Step::Record(Fact::SeenEverywhere { key: fingerprint, since }));
        } else {
            self.waits.push(Wait::SecondSweep { selector: key.selector.clone(), until });
        }
    }

    /// propagated -> switching: delivered, caches waited out, and a fresh look.
    fn make_ready(&mut self, now: Now<'_>, line: &Line, propagated: &Propagated) {
        let key = &propagated.key;
        let selector = || key.selector.clone();
        let clean = if now.holds(Rule::FreshLook, false) {
            true
        } else {
            match self.sweep(now, key, true) {
                Some(clean) => clean && self.providers_answer(now, key),
                None => return,
            }
        };
        let lacking: Vec<_> = now.settings.hosts.iter().filter(|h| !key.delivered.contains_key(*h)).cloned().collect();
        for host in &lacking {
            self.steps.push(Step::Deliver { key: key.fingerprint, host: host.clone() });
            self.waits.push(Wait::Delivery { selector: selector(), host: host.clone() });
        }
        let until = propagated.seen + now.cache_time(&key.selector, line.in_emergency());
        let waited = now.holds(Rule::Caches, now.at >= until);
        if !waited {
            self.waits.push(Wait::Caches { selector: selector(), until });
        }
        let delivered = now.holds(Rule::HoldBeforeUse, lacking.is_empty());
        if waited && delivered && clean {
            self.steps.push(Step::Record(Fact::Committed { key: key.fingerprint }));
        }
    }

    /// switching -> active: every host proves it; or back, if one proved something else.
    fn switch(&mut self, now: Now<'_>, switching: &Switching) {
        let key = &switching.key;
        let selector = || key.selector.clone();
        if let Some(refusal) = &switching.refused {
            let mut back = true;
            for host in now.settings.hosts.iter().filter(|h| !switching.turned_back.contains_key(*h)) {
                back = false;
                self.steps.push(Step::TurnBack { key: key.fingerprint, host: host.clone() });
                self.waits.push(Wait::TurnBack { selector: selector(), host: host.clone() });
            }
            if back {
                if let Some(host) = &refusal.host {
                    // Nobody knows why yet, so nothing is tried again before a person has looked.
                    let reason = format!("{host} did not sign with {}: {}", key.selector, refusal.why);
                    let hold = Hold { since: now.at, by: "dkimctl".to_owned(), reason };
                    self.steps.push(Step::Record(Fact::Held { hold }));
                }
                self.steps.push(Step::Record(Fact::Parked { key: key.fingerprint }));
            }
            return;
        }
        let mut signing = 0;
        for host in &now.settings.hosts {
            if switching.signing.contains_key(host) {
                signing += 1;
            } else {
                self.steps.push(Step::Switch { key: key.fingerprint, host: host.clone() });
                self.waits.push(Wait::Switch { selector: selector(), host: host.clone() });
            }
        }
        if now.holds(Rule::EveryHostProves, signing == now.settings.hosts.len()) {
            self.steps.push(Step::Record(Fact::Activated { key: key.fingerprint }));
        }
    }

    /// active: every host signs with it, and its record stays where it is.
    fn keep(&mut self, now: Now<'_>, active: &Active) {
        let key = &active.key;
        self.watch(now, key);
        for host in now.settings.hosts.iter().filter(|h| !active.signing.contains_key(*h)) {
            // A host that was added later, or a key that was adopted.
            let selector = key.selector.clone();
            self.steps.push(Step::Switch { key: key.fingerprint, host: host.clone() });
            self.waits.push(Wait::Switch { selector, host: host.clone() });
        }
    }

    /// retiring -> withdrawn: the private half goes after the grace, the record after the window.
    fn retire(&mut self, now: Now<'_>, line: &Line, retiring: &Retiring) {
        let Retiring { key, stopped, .. } = retiring;
        let policy = &now.settings.policy;
        let selector = || key.selector.clone();

        let grace = *stopped + policy.rollback_grace;
        if now.holds(Rule::Grace, now.at >= grace) {
            if !key.destroyed(now.settings) {
                self.destroy(now, key);
            }
        } else {
            self.waits.push(Wait::Grace { selector: selector(), until: grace });
        }

        let (until, used) = now.needed_until(line, retiring);
        if !now.holds(Rule::Window, now.at >= until) {
            self.watch(now, key);
            self.waits.push(match used {
                Some(u) if now.at >= *stopped + policy.window + policy.window => {
                    Wait::StillUsedTooLong { selector: selector(), by: u.by.clone(), at: u.at }
                }
                Some(u) => Wait::StillUsed { selector: selector(), by: u.by.clone(), at: u.at, until },
                None => Wait::Window { selector: selector(), until },
            });
        } else {
            self.steps.push(Step::Record(Fact::Withdrawing { key: key.fingerprint }));
        }
    }

    /// withdrawn -> gone: removed at every provider, gone from every server, forgotten by every cache.
    fn withdraw(&mut self, now: Now<'_>, withdrawn: &Withdrawn) {
        let Withdrawn { key, gone, .. } = withdrawn;
        self.destroy(now, key);
        if !self.remove(now, key) {
            return;
        }
        let name = key.record_name(&now.ledger.domain);
        let Some(sweep) = now.seen.sweep(&name) else {
            return self.waits.push(Wait::Unknown { name, whom: Vec::new() });
        };
        let (serving, unknown) = sweep.still_serving(key);
        let fingerprint = key.fingerprint;
        if let Some(server) = serving.first() {
            if gone.is_some() {
                let server = server.clone();
                self.steps.push(Step::Record(Fact::Resurfaced { key: fingerprint, server }));
            }
            return self.waits.push(Wait::Removal { selector: key.selector.clone(), serving });
        }
        if !now.holds(Rule::UnknownIsNotMissing, unknown.is_empty() && sweep.complete()) {
            return self.waits.push(Wait::Unknown { name, whom: unknown });
        }
        let Some(gone) = gone else {
            return self.steps.push(Step::Record(Fact::Unserved { key: fingerprint }));
        };
        let until = now.hidden_at(withdrawn).unwrap_or(*gone);
        if !now.holds(Rule::FreeSlot, now.at >= until) {
            self.waits.push(Wait::OldCaches { selector: key.selector.clone(), until });
        } else {
            self.steps.push(Step::Record(Fact::Hidden { key: fingerprint }));
        }
    }

    /// revoked -> withdrawn: `p=` empty at once, the private half destroyed, the gravestone removed in the end.
    fn revoke(&mut self, now: Now<'_>, revoked: &Revoked) {
        let Revoked { key, since, emptied } = revoked;
        self.destroy(now, key);
        let name = key.record_name(&now.ledger.domain);
        let new = key.revocation();
        let is_ours = |text: &&TxtText| keys_in(std::slice::from_ref(*text)).contains(&key.fingerprint);
        for provider in &now.settings.providers {
            match now.seen.view(&name, provider) {
                Some(View::Txt { texts, .. }) if texts.contains(&new) => {
                    if !emptied.contains_key(provider) {
                        let (key, provider) = (key.fingerprint, provider.clone());
                        self.steps.push(Step::Record(Fact::Emptied { key, provider }));
                    }
                }
                Some(View::Txt { texts, .. }) if keys_in(texts).iter().any(|other| *other != key.fingerprint) => {
                    self.waits.push(now.not_usable(&name, provider, now.seen.view(&name, provider)));
                }
                Some(view @ (View::Absent | View::Txt { .. })) => {
                    let old = view.texts().iter().find(is_ours).cloned();
                    self.steps.push(Step::Empty {
                        key: key.fingerprint,
                        provider: provider.clone(),
                        name: name.clone(),
                        old,
                        new: new.clone(),
                        ttl: now.settings.ttl,
                        seen: view.clone(),
                    });
                }
                other => self.waits.push(now.not_usable(&name, provider, other)),
            }
        }
        let until = *since + now.settings.policy.revoked_retention;
        if now.at < until {
            self.waits.push(Wait::Gravestone { selector: key.selector.clone(), until });
        } else {
            self.steps.push(Step::Record(Fact::Withdrawing { key: key.fingerprint }));
        }
    }

    /// Removes the record, or the gravestone, wherever a provider shows it. Whether nothing is left.
    fn remove(&mut self, now: Now<'_>, key: &Key) -> bool {
        let name = key.record_name(&now.ledger.domain);
        let mut nothing_left = true;
        for provider in &now.settings.providers {
            let Some(view) = now.seen.view(&name, provider).filter(|v| !matches!(v, View::Unknown(_))) else {
                nothing_left = false;
                self.waits.push(now.not_usable(&name, provider, now.seen.view(&name, provider)));
                continue;
            };
            let ours = |text: &&_| {
                **text == key.revocation()
                    || keys_in(std::slice::from_ref(*text)).contains(&key.fingerprint)
                    || now.holds(Rule::OursOnly, false)
            };
            for text in view.texts().iter().filter(ours) {
                nothing_left = false;
                self.steps.push(Step::Withdraw {
                    key: key.fingerprint,
                    provider: provider.clone(),
                    name: name.clone(),
                    text: text.clone(),
                    seen: view.clone(),
                });
            }
            if key.record_at.contains_key(provider) && !view.texts().iter().any(|t| ours(&t)) {
                let (key, provider) = (key.fingerprint, provider.clone());
                self.steps.push(Step::Record(Fact::Removed { key, provider }));
            }
        }
        nothing_left
    }

    /// gone: it stays gone. Somebody may put an old record back, and caches then have it again.
    fn bury(&mut self, now: Now<'_>, gone: &Gone) {
        let key = &gone.key;
        let name = key.record_name(&now.ledger.domain);
        let ours = |view: &View| keys_in(view.texts()).contains(&key.fingerprint);
        let shows = |p: &&Label| now.seen.view(&name, p).is_some_and(ours);
        if let Some(provider) = now.settings.providers.iter().find(shows) {
            let server = provider.to_string();
            self.steps.push(Step::Record(Fact::Resurfaced { key: key.fingerprint, server }));
        }
    }

    /// Destroys the private half wherever it is.
    fn destroy(&mut self, now: Now<'_>, key: &Key) {
        let left: Vec<_> = now.settings.hosts.iter().filter(|h| !key.wiped.contains_key(*h)).cloned().collect();
        for host in left {
            self.steps.push(Step::Wipe { key: key.fingerprint, host: host.clone() });
            self.waits.push(Wait::Wipe { selector: key.selector.clone(), host });
        }
        if key.shredded.is_none() {
            self.steps.push(Step::Shred { key: key.fingerprint });
        }
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
