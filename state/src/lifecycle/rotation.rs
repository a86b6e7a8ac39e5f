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
use super::seen::{Seen, Verdict, View, keys_in};
use super::settings::Settings;
use super::step::Step;
use super::wait::{SlotTaken, Wait};
use crate::name::{Fqdn, Label, Selector};
use crate::record::dkim::Algorithm;
use crate::time::{Span, Time};

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
                Some((by, until)) => taken.push(SlotTaken { selector, by, until }),
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
        let (old, new) = (key.record(), key.revocation());
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
                    let old = view.texts().contains(&old).then(|| old.clone());
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

    /// Looks at the record of the incoming key. `None` when the look itself must be written down first.
    fn sweep(&mut self, now: Now<'_>, key: &Key, was_clean: bool) -> Option<bool> {
        let name = key.record_name(&now.ledger.domain);
        let Some(sweep) = now.seen.sweep(&name) else {
            self.waits.push(Wait::Unknown { name, whom: Vec::new() });
            return Some(false);
        };
        if let Some(maxima) = now.grown_maxima(&key.selector) {
            let selector = key.selector.clone();
            self.steps.push(Step::Record(Fact::Carried { selector, maxima }));
            return None;
        }
        if let Some(provider) = now.altered_at(key) {
            // What a provider holds is what its servers will serve, however clean they still look.
            if was_clean {
                let (key, server) = (key.fingerprint, provider.to_string());
                self.steps.push(Step::Record(Fact::Missed { key, server }));
                return None;
            }
            return Some(false);
        }
        let verdict = sweep.verdict(&key.record());
        if let (Verdict::Missing { .. } | Verdict::Conflict { .. }, true) = (&verdict, was_clean)
            && !now.holds(Rule::EveryServer, false)
        {
            let server = match &verdict {
                Verdict::Missing { servers } => servers.join(", "),
                Verdict::Conflict { server, .. } => server.clone(),
                _ => String::new(),
            };
            self.steps.push(Step::Record(Fact::Missed { key: key.fingerprint, server }));
            return None;
        }
        let selector = key.selector.clone();
        match verdict {
            Verdict::Match => return Some(true),
            Verdict::Missing { servers } => {
                let some_server_has_it = servers.len() < sweep.answers.len();
                if now.holds(Rule::EveryServer, false) && some_server_has_it {
                    return Some(true);
                }
                self.waits.push(Wait::Propagation { selector, lacking: servers });
            }
            Verdict::Conflict { server, texts } => self.waits.push(Wait::Foreign { name, at: server, texts }),
            Verdict::Unknown { servers } => {
                if now.holds(Rule::UnknownIsNotMissing, false) {
                    return Some(true);
                }
                self.waits.push(Wait::Unknown { name, whom: servers });
            }
        }
        Some(false)
    }

    /// Whether every provider said what it holds: one that did not may have lost the record a moment ago.
    fn providers_answer(&mut self, now: Now<'_>, key: &Key) -> bool {
        let name = key.record_name(&now.ledger.domain);
        let views = now.settings.providers.iter().map(|provider| (provider, now.seen.view(&name, provider)));
        let mute: Vec<_> = views.filter(|(_, view)| matches!(view, None | Some(View::Unknown(_)))).collect();
        self.waits.extend(mute.iter().map(|(provider, view)| now.not_usable(&name, provider, *view)));
        now.holds(Rule::UnknownIsNotMissing, mute.is_empty())
    }

    /// Looks at a record that must not change, and says so when it did.
    fn watch(&mut self, now: Now<'_>, key: &Key) {
        let name = key.record_name(&now.ledger.domain);
        if let Some(maxima) = now.grown_maxima(&key.selector) {
            self.steps.push(Step::Record(Fact::Carried { selector: key.selector.clone(), maxima }));
        }
        match now.seen.sweep(&name).map(|sweep| sweep.verdict(&key.record())) {
            Some(Verdict::Missing { servers }) => {
                self.waits.push(Wait::RecordLost { selector: key.selector.clone(), lacking: servers });
            }
            Some(Verdict::Conflict { server, texts }) => self.waits.push(Wait::Foreign { name, at: server, texts }),
            Some(Verdict::Match | Verdict::Unknown { .. }) | None => {}
        }
    }
}

impl<'a> Now<'a> {
    fn holds(&self, rule: Rule, satisfied: bool) -> bool {
        self.settings.policy.holds(rule, satisfied)
    }

    /// How long after `seen` a cache may still deny the record. After a compromise without the added safety.
    fn cache_time(&self, selector: &Selector, emergency: bool) -> Span {
        let policy = &self.settings.policy;
        let safety = if emergency { Span::ZERO } else { policy.publish_safety };
        self.ledger.maxima(selector).longest(policy) + safety
    }

    /// Until when the record of a stopped key is needed, and who was seen to use the key after it stopped.
    fn needed_until<'r>(&self, line: &Line, retiring: &'r Retiring) -> (Time, Option<&'r Use>) {
        let Retiring { key, stopped, last_use, .. } = retiring;
        let overruled = matches!(&line.request, Some(r) if r.intent == Intent::Retire { key: key.fingerprint });
        let used = last_use.as_ref().filter(|u| !overruled && !self.holds(Rule::StillUsed, u.at <= *stopped));
        let window = self.settings.policy.window.max(self.ledger.maxima(&key.selector).positive());
        (used.map_or(*stopped, |u| u.at) + window, used)
    }

    /// When no cache can have a removed record any more; `None` while a server has it.
    fn hidden_at(&self, withdrawn: &Withdrawn) -> Option<Time> {
        let policy = &self.settings.policy;
        let caches = self.ledger.maxima(&withdrawn.key.selector).longest(policy);
        Some(withdrawn.gone? + caches + policy.propagation)
    }

    /// Who has a selector now, and until when; `None` when it is free in the ledger and in the DNS.
    fn occupant(&self, selector: &Selector) -> Option<(String, Option<Time>)> {
        if !selector.fits(&self.ledger.domain) {
            return Some(("its record name would be longer than 253 octets".to_owned(), None));
        }
        let policy = &self.settings.policy;
        let key_here = |(phase, key): &(Phase, &Key)| key.selector == *selector && *phase != Phase::Gone;
        if let Some((phase, _)) = self.ledger.keys().find(key_here)
            && !self.holds(Rule::FreeSlot, phase == Phase::Gone)
        {
            let outgoing = |line: &'a Line| line.outgoing.iter().map(move |outgoing| (line, outgoing));
            let until = self.ledger.lines.values().flat_map(outgoing).find_map(|(line, outgoing)| match outgoing {
                Outgoing::Retiring(r) if r.key.selector == *selector => Some(self.needed_until(line, r).0),
                Outgoing::Revoked(r) if r.key.selector == *selector => Some(r.since + policy.revoked_retention),
                Outgoing::Withdrawn(w) if w.key.selector == *selector => self.hidden_at(w),
                _ => None,
            });
            return Some((format!("a key that is {phase}"), until));
        }
        let name = selector.record_name(&self.ledger.domain);
        for provider in &self.settings.providers {
            match self.seen.view(&name, provider) {
                Some(View::Absent) => {}
                // A value left by a key of ours that is gone: `plan` has it removed first.
                Some(View::Txt { .. }) => {
                    return Some((format!("a record that stands at {provider}"), None));
                }
                Some(View::Cname { target }) => {
                    return Some((format!("an alias of {target}"), None));
                }
                Some(View::Unsupported(why)) => return Some((why.clone(), None)),
                Some(View::Unknown(why)) => {
                    return Some((format!("{provider} could not be asked: {why}"), None));
                }
                None => return Some((format!("{provider} was not asked"), None)),
            }
        }
        None
    }

    /// A provider that was seen to hold anything but exactly this key's record.
    fn altered_at(&self, key: &Key) -> Option<&Label> {
        let name = key.record_name(&self.ledger.domain);
        let altered = |provider: &&Label| match self.seen.view(&name, provider) {
            None | Some(View::Unknown(_)) => false,
            Some(view) => view.texts() != std::slice::from_ref(&key.record()),
        };
        self.settings.providers.iter().find(altered)
    }

    fn publication(&self, key: &Key, provider: &Label, seen: &View) -> Step {
        Step::Publish {
            key: key.fingerprint,
            provider: provider.clone(),
            name: key.record_name(&self.ledger.domain),
            text: key.record(),
            ttl: self.settings.ttl,
            seen: seen.clone(),
        }
    }

    /// Why nothing can be written to a name now.
    fn not_usable(&self, name: &Fqdn, provider: &Label, view: Option<&View>) -> Wait {
        let name = name.clone();
        match view {
            Some(View::Cname { target }) => Wait::Alias { name, target: target.clone() },
            Some(View::Unsupported(why)) => Wait::Unsupported { name, why: why.clone() },
            Some(View::Unknown(why)) => Wait::Unknown { name, whom: vec![format!("{provider} ({why})")] },
            Some(View::Txt { texts, .. }) => Wait::Foreign { name, at: provider.to_string(), texts: texts.clone() },
            Some(View::Absent) | None => Wait::Unknown { name, whom: vec![provider.to_string()] },
        }
    }

    /// Whether anybody was seen to have something at a selector's name.
    fn stands(&self, selector: &Selector) -> bool {
        let name = selector.record_name(&self.ledger.domain);
        self.ttl_at_providers(&name) > 0 || self.seen.sweep(&name).is_some_and(|sweep| sweep.ttl() > 0)
    }

    /// The largest TTL that any provider shows on a name's TXT records, in seconds.
    fn ttl_at_providers(&self, name: &Fqdn) -> u32 {
        let ttl = |provider| match self.seen.view(name, provider) {
            Some(View::Txt { ttl, .. }) => *ttl,
            _ => 0,
        };
        self.settings.providers.iter().map(ttl).max().unwrap_or(0)
    }

    /// The maxima of a selector, if the last sweep showed larger ones than were known.
    fn grown_maxima(&self, selector: &Selector) -> Option<Maxima> {
        let name = selector.record_name(&self.ledger.domain);
        let sweep = self.seen.sweep(&name)?;
        let known = self.ledger.maxima(selector);
        let maxima = Maxima {
            ttl: known.ttl.max(sweep.ttl()).max(self.ttl_at_providers(&name)),
            negative: known.negative.max(sweep.negative_ttl),
            cname: known.cname.max(sweep.cname.as_ref().map_or(0, |(_, ttl)| *ttl)),
        };
        (maxima != known && !self.holds(Rule::SavedMaxima, false)).then_some(maxima)
    }
}

impl Line {
    /// A new key is on its way because the active one is known to others.
    fn in_emergency(&self) -> bool {
        let active = self.active.as_ref().map(|a| a.key.fingerprint);
        matches!(&self.request, Some(Request { intent: Intent::Revoke { key }, .. }) if Some(*key) == active)
    }
}

impl Key {
    fn held_by_all(&self, settings: &Settings) -> bool {
        self.shredded.is_none()
            && settings.hosts.iter().all(|h| self.delivered.contains_key(h) && !self.wiped.contains_key(h))
    }

    fn destroyed(&self, settings: &Settings) -> bool {
        self.shredded.is_some() && settings.hosts.iter().all(|h| self.wiped.contains_key(h))
    }
}

#[cfg(test)]
#[path = "rotation_tests.rs"]
mod tests;
