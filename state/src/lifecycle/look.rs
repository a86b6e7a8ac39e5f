//! Looks: what a sweep and the providers' views mean for a key, and how long what was seen may be cached.
//!
//! [`super::rotation::due`] asks these questions; the answers are here, so that its page stays one.

use super::check::Rule;
use super::fact::Fact;
use super::ledger::*;
use super::request::{Intent, Request};
use super::rotation::{Due, Now};
use super::seen::{Verdict, View};
use super::settings::Settings;
use super::step::Step;
use super::wait::Wait;
use crate::name::{Fqdn, Label, Selector};
use crate::time::{Span, Time};

impl Due {
    /// Looks at the record of the incoming key. `None` when the look itself must be written down first.
    pub(super) fn sweep(&mut self, now: Now<'_>, key: &Key, was_clean: bool) -> Option<bool> {
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
    pub(super) fn providers_answer(&mut self, now: Now<'_>, key: &Key) -> bool {
        let name = key.record_name(&now.ledger.domain);
        let views = now.settings.providers.iter().map(|provider| (provider, now.seen.view(&name, provider)));
        let mute: Vec<_> = views.filter(|(_, view)| matches!(view, None | Some(View::Unknown(_)))).collect();
        self.waits.extend(mute.iter().map(|(provider, view)| now.not_usable(&name, provider, *view)));
        now.holds(Rule::UnknownIsNotMissing, mute.is_empty())
    }

    /// Looks at a record that must not change, and says so when it did.
    pub(super) fn watch(&mut self, now: Now<'_>, key: &Key) {
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
    pub(super) fn holds(&self, rule: Rule, satisfied: bool) -> bool {
        self.settings.policy.holds(rule, satisfied)
    }

    /// How long after `seen` a cache may still deny the record. After a compromise without the added safety.
    pub(super) fn cache_time(&self, selector: &Selector, emergency: bool) -> Span {
        let policy = &self.settings.policy;
        let safety = if emergency { Span::ZERO } else { policy.publish_safety };
        self.ledger.maxima(selector).longest(policy) + safety
    }

    /// Until when the record of a stopped key is needed, and who was seen to use the key after it stopped.
    pub(super) fn needed_until<'r>(&self, line: &Line, retiring: &'r Retiring) -> (Time, Option<&'r Use>) {
        let Retiring { key, stopped, last_use, .. } = retiring;
        let overruled = matches!(&line.request, Some(r) if r.intent == Intent::Retire { key: key.fingerprint });
        let used = last_use.as_ref().filter(|u| !overruled && !self.holds(Rule::StillUsed, u.at <= *stopped));
        let window = self.settings.policy.window.max(self.ledger.maxima(&key.selector).positive());
        (used.map_or(*stopped, |u| u.at) + window, used)
    }

    /// When no cache can have a removed record any more; `None` while a server has it.
    pub(super) fn hidden_at(&self, withdrawn: &Withdrawn) -> Option<Time> {
        let policy = &self.settings.policy;
        let caches = self.ledger.maxima(&withdrawn.key.selector).longest(policy);
        Some(withdrawn.gone? + caches + policy.propagation)
    }

    /// Who has a selector now, and until when; `None` when it is free in the ledger and in the DNS.
    pub(super) fn occupant(&self, selector: &Selector) -> Option<(String, Option<Time>)> {
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
                Some(View::Txt { texts, .. }) => {
                    let seen: Vec<String> = texts.iter().map(|text| text.beginning()).collect();
                    return Some((format!("{} at {provider}, which is not ours", seen.join(" and ")), None));
                }
                Some(View::Cname { target }) => {
                    return Some((format!("an alias of {target}, which lies in no zone of ours"), None));
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
    pub(super) fn altered_at(&self, key: &Key) -> Option<&Label> {
        let name = key.record_name(&self.ledger.domain);
        let altered = |provider: &&Label| match self.seen.view(&name, provider) {
            None | Some(View::Unknown(_)) => false,
            Some(view) => view.texts() != std::slice::from_ref(&key.record()),
        };
        self.settings.providers.iter().find(altered)
    }

    pub(super) fn publication(&self, key: &Key, provider: &Label, seen: &View) -> Step {
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
    pub(super) fn not_usable(&self, name: &Fqdn, provider: &Label, view: Option<&View>) -> Wait {
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
    pub(super) fn stands(&self, selector: &Selector) -> bool {
        let name = selector.record_name(&self.ledger.domain);
        self.ttl_at_providers(&name) > 0 || self.seen.sweep(&name).is_some_and(|sweep| sweep.ttl() > 0)
    }

    /// The largest TTL that any provider shows on a name's TXT records, in seconds.
    pub(super) fn ttl_at_providers(&self, name: &Fqdn) -> u32 {
        let ttl = |provider| match self.seen.view(name, provider) {
            Some(View::Txt { ttl, .. }) => *ttl,
            _ => 0,
        };
        self.settings.providers.iter().map(ttl).max().unwrap_or(0)
    }

    /// The maxima of a selector, if the last sweep showed larger ones than were known.
    pub(super) fn grown_maxima(&self, selector: &Selector) -> Option<Maxima> {
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
    pub(super) fn in_emergency(&self) -> bool {
        let active = self.active.as_ref().map(|a| a.key.fingerprint);
        matches!(&self.request, Some(Request { intent: Intent::Revoke { key }, .. }) if Some(*key) == active)
    }
}

impl Key {
    pub(super) fn held_by_all(&self, settings: &Settings) -> bool {
        self.shredded.is_none()
            && settings.hosts.iter().all(|h| self.delivered.contains_key(h) && !self.wiped.contains_key(h))
    }

    pub(super) fn destroyed(&self, settings: &Settings) -> bool {
        self.shredded.is_some() && settings.hosts.iter().all(|h| self.wiped.contains_key(h))
    }
}
