//! How a fact changes the ledger. A fact is recorded after its effect was seen to hold, dated then, and never changed.
//!
//! [`Ledger::record`] refuses a fact that does not fit the phase its key is in: what cannot have happened is not
//! written down. Facts that arrive twice (a receipt imported again, a re-run after a kill) change nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ledger::*;
use super::request::{Hold, Intent, Request};
use crate::name::{Label, Selector};
use crate::record::dkim::{Algorithm, Fingerprint};
use crate::time::Time;

/// Something that happened. `at` is kept by the event that carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact {
    /// An operator asked for something.
    Asked {
        algorithm: Algorithm,
        request: Request,
    },
    /// What was asked is done, or cannot be done any more.
    Answered {
        algorithm: Algorithm,
    },
    Held {
        hold: Hold,
    },
    Released,
    /// A key was made, sealed, and its blob read back.
    Sealed {
        key: Key,
    },
    /// A key that already signs was taken over, private half and record verified against each other.
    Adopted {
        key: Key,
    },
    /// The name's answers may be cached for so long.
    Carried {
        selector: Selector,
        maxima: Maxima,
    },
    /// The provider was seen to hold the record.
    Written {
        key: Fingerprint,
        provider: Label,
    },
    /// The first sweep in a row in which every server had the record.
    SweptClean {
        key: Fingerprint,
    },
    /// A second one, long enough after the first: every server has it since then, every machine behind one included.
    SeenEverywhere {
        key: Fingerprint,
        since: Time,
    },
    /// A server did not have it.
    Missed {
        key: Fingerprint,
        server: String,
    },
    /// The host proved to hold the private half.
    Delivered {
        key: Fingerprint,
        host: Label,
    },
    /// Intent: from now on any host may sign with the key.
    Committed {
        key: Fingerprint,
    },
    /// The host's probe showed a right signature by the key.
    Signing {
        key: Fingerprint,
        host: Label,
    },
    /// The host's probe was wrong, or an operator wants to go back.
    Refused {
        key: Fingerprint,
        host: Option<Label>,
        why: String,
    },
    /// The host proved to sign with the old key again.
    TurnedBack {
        key: Fingerprint,
        host: Label,
    },
    /// Every host signs with the old key again; the new one waits.
    Parked {
        key: Fingerprint,
    },
    /// Every host signs with the key.
    Activated {
        key: Fingerprint,
    },
    /// A key that never came to sign, or may have in a failed attempt, is given up.
    Abandoned {
        key: Fingerprint,
    },
    /// A stopped key is to sign again.
    Recalled {
        key: Fingerprint,
    },
    /// Somebody of ours was seen to use a stopped key.
    Used {
        key: Fingerprint,
        seen: Time,
        by: String,
    },
    /// The host proved to have destroyed its copy.
    Wiped {
        key: Fingerprint,
        host: Label,
    },
    /// Our copy is about to be sealed to other recipients: from now on this blob is the one that counts.
    Resealed {
        key: Fingerprint,
        blob_sha256: String,
        /// SHA-256 of the recipients, so that a second run knows what the first one did.
        sealed_to: String,
    },
    /// Our sealed copy was destroyed.
    Shredded {
        key: Fingerprint,
    },
    /// The private half is known to others, and nobody of ours signs with it.
    Condemned {
        key: Fingerprint,
    },
    /// The provider was seen to hold the revocation.
    Emptied {
        key: Fingerprint,
        provider: Label,
    },
    /// Intent: the record is being removed.
    Withdrawing {
        key: Fingerprint,
    },
    /// The provider was seen not to hold the record any more.
    Removed {
        key: Fingerprint,
        provider: Label,
    },
    /// No server has it any more.
    Unserved {
        key: Fingerprint,
    },
    /// A server has it again after all.
    Resurfaced {
        key: Fingerprint,
        server: String,
    },
    /// No cache can have it any more.
    Hidden {
        key: Fingerprint,
    },
}

/// A fact that cannot have happened, as far as the ledger knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Impossible {
    #[error("no key {0:?} is in the ledger")]
    NoSuchKey(Fingerprint),
    #[error("the key {key:?} is {phase}, which does not allow `{fact}`")]
    WrongPhase { key: Fingerprint, phase: Phase, fact: &'static str },
    #[error("the key {0:?} has had a life already; a key lives once")]
    KeyReused(Fingerprint),
    #[error("selector {selector} already belongs to a key that is {phase}")]
    SelectorTaken { selector: Selector, phase: Phase },
    #[error("another key is already on its way or active")]
    LineBusy,
}

impl Ledger {
    /// Applies `fact`, which was seen to hold at `at`.
    pub fn record(&mut self, fact: &Fact, at: Time) -> Result<(), Impossible> {
        match fact {
            Fact::Asked { algorithm, request } => {
                self.lines.entry(*algorithm).or_default().request = Some(request.clone());
            }
            Fact::Answered { algorithm } => self.lines.entry(*algorithm).or_default().request = None,
            Fact::Held { hold } => self.hold = Some(hold.clone()),
            Fact::Released => self.hold = None,
            Fact::Carried { selector, maxima } => {
                let known = self.maxima.entry(selector.clone()).or_default();
                known.ttl = known.ttl.max(maxima.ttl);
                known.cname = known.cname.max(maxima.cname);
                known.negative = known.negative.max(maxima.negative);
            }
            Fact::Sealed { key } => {
                let line = self.room_for(key)?;
                if line.incoming.is_some() {
                    return Err(Impossible::LineBusy);
                }
                line.incoming = Some(Incoming::Sealed(Sealed { key: key.clone() }));
            }
            Fact::Adopted { key } => {
                let line = self.room_for(key)?;
                if line.active.is_some() {
                    return Err(Impossible::LineBusy);
                }
                line.active = Some(Active { key: key.clone(), seen: at, since: at, signing: BTreeMap::new() });
            }
            about_a_key => {
                self.line_of(about_a_key.key().expect("every other fact names a key"))?.record(about_a_key, at)?
            }
        }
        self.newest = self.newest.max(Some(at));
        Ok(())
    }

    fn room_for(&mut self, key: &Key) -> Result<&mut Line, Impossible> {
        for (phase, other) in self.keys() {
            if other.fingerprint == key.fingerprint {
                return Err(Impossible::KeyReused(key.fingerprint));
            }
            if other.selector == key.selector && phase != Phase::Gone {
                return Err(Impossible::SelectorTaken { selector: key.selector.clone(), phase });
            }
        }
        Ok(self.lines.entry(key.algorithm).or_default())
    }

    fn line_of(&mut self, key: &Fingerprint) -> Result<&mut Line, Impossible> {
        let holds = |line: &Line| line.keys().any(|(_, k)| k.fingerprint == *key);
        self.lines.values_mut().find(|line| holds(line)).ok_or(Impossible::NoSuchKey(*key))
    }
}

impl Line {
    fn record(&mut self, fact: &Fact, at: Time) -> Result<(), Impossible> {
        match fact {
            Fact::Written { key, provider } => {
                if let Some(sealed) = self.incoming.take_if(|i| i.is(key) && i.phase() == Phase::Sealed) {
                    let key = sealed.into_key();
                    self.incoming = Some(Incoming::Published(Published { key, first_clean: None, tried: None }));
                }
                self.key_mut(key)?.record_at.entry(provider.clone()).or_insert(at);
            }
            Fact::Removed { key, provider } => {
                self.key_mut(key)?.record_at.remove(provider);
            }
            Fact::Delivered { key, host } => {
                let key = self.key_mut(key)?;
                key.wiped.remove(host);
                key.delivered.entry(host.clone()).or_insert(at);
            }
            Fact::Wiped { key, host } => {
                let key = self.key_mut(key)?;
                key.delivered.remove(host);
                key.wiped.entry(host.clone()).or_insert(at);
            }
            Fact::Resealed { key, blob_sha256, .. } => {
                let phase = self.keys().find(|(_, k)| k.fingerprint == *key).map_or(Phase::Gone, |(phase, _)| phase);
                let known = self.key_mut(key)?;
                if known.shredded.is_some() {
                    return Err(Impossible::WrongPhase { key: *key, phase, fact: "resealed" });
                }
                known.blob_sha256.clone_from(blob_sha256);
            }
            Fact::Shredded { key } => {
                self.key_mut(key)?.shredded.get_or_insert(at);
            }
            Fact::Emptied { key, provider } => match self.outgoing_mut(key)? {
                Outgoing::Revoked(revoked) => {
                    revoked.emptied.entry(provider.clone()).or_insert(at);
                }
                other => return Err(other.refuse("emptied")),
            },
            Fact::SweptClean { .. } | Fact::SeenEverywhere { .. } | Fact::Missed { .. } => {
                self.record_sweep(fact, at)?
            }
            Fact::Committed { .. }
            | Fact::Signing { .. }
            | Fact::Refused { .. }
            | Fact::TurnedBack { .. }
            | Fact::Parked { .. }
            | Fact::Activated { .. } => self.record_switch(fact, at)?,
            _ => self.record_leaving(fact, at)?,
        }
        Ok(())
    }

    /// Sweeps of the incoming key's record.
    fn record_sweep(&mut self, fact: &Fact, at: Time) -> Result<(), Impossible> {
        let incoming = self.incoming.take();
        let (next, outcome) = match (incoming, fact) {
            (Some(Incoming::Published(mut p)), Fact::SweptClean { key }) if p.key.fingerprint == *key => {
                p.first_clean.get_or_insert(at);
                (Some(Incoming::Published(p)), Ok(()))
            }
            (Some(Incoming::Published(p)), Fact::SeenEverywhere { key, since }) if p.key.fingerprint == *key => {
                let Published { key, tried, .. } = p;
                (Some(Incoming::Propagated(Propagated { key, seen: *since, tried })), Ok(()))
            }
            (Some(Incoming::Published(mut p)), Fact::Missed { key, .. }) if p.key.fingerprint == *key => {
                p.first_clean = None;
                (Some(Incoming::Published(p)), Ok(()))
            }
            // Whoever asked the server that lost it holds a denial now: the wait begins anew.
            (Some(Incoming::Propagated(p)), Fact::Missed { key, .. }) if p.key.fingerprint == *key => {
                let Propagated { key, tried, .. } = p;
                (Some(Incoming::Published(Published { key, first_clean: None, tried })), Ok(()))
            }
            (other, fact) => {
                let key = *fact.key().expect("a sweep is of a key");
                let phase = other.as_ref().map(Incoming::phase).unwrap_or(Phase::Gone);
                (other, Err(Impossible::WrongPhase { key, phase, fact: "swept" }))
            }
        };
        self.incoming = next;
        outcome
    }

    /// From the intent to sign with the incoming key to its being active, or parked again.
    fn record_switch(&mut self, fact: &Fact, at: Time) -> Result<(), Impossible> {
        if let Fact::Signing { key, host } = fact
            && let Some(active) = self.active.as_mut().filter(|a| a.key.fingerprint == *key)
        {
            active.signing.entry(host.clone()).or_insert(at);
            return Ok(());
        }
        let wrong = |line: &Line, fact: &Fact, name| {
            let key = *fact.key().expect("a switch is of a key");
            let phase = line.keys().find(|(_, k)| k.fingerprint == key).map_or(Phase::Gone, |(phase, _)| phase);
            Err(Impossible::WrongPhase { key, phase, fact: name })
        };
        if let Fact::Committed { key } = fact {
            return match self.incoming.take_if(|i| i.is(key) && i.phase() == Phase::Propagated) {
                Some(Incoming::Propagated(Propagated { key, seen, .. })) => {
                    self.incoming = Some(Incoming::Switching(Switching {
                        key,
                        seen,
                        committed: at,
                        signing: BTreeMap::new(),
                        refused: None,
                        turned_back: BTreeMap::new(),
                    }));
                    Ok(())
                }
                _ => wrong(self, fact, "committed"),
            };
        }
        let key = fact.key().expect("a switch is of a key");
        let Some(Incoming::Switching(mut switching)) =
            self.incoming.take_if(|i| i.is(key) && i.phase() == Phase::Switching)
        else {
            return wrong(self, fact, "switched");
        };
        match fact {
            Fact::Signing { host, .. } if switching.refused.is_none() => {
                switching.signing.entry(host.clone()).or_insert(at);
            }
            Fact::Refused { host, why, .. } => {
                let refusal = Refusal { at, host: host.clone(), why: why.clone() };
                switching.refused.get_or_insert(refusal);
            }
            Fact::TurnedBack { host, .. } => {
                switching.turned_back.entry(host.clone()).or_insert(at);
            }
            Fact::Parked { .. } => {
                let Switching { key, seen, committed, .. } = switching;
                self.incoming = Some(Incoming::Propagated(Propagated { key, seen, tried: Some(committed) }));
                return Ok(());
            }
            Fact::Activated { .. } => {
                self.activate(switching, at);
                return Ok(());
            }
            _ => {}
        }
        self.incoming = Some(Incoming::Switching(switching));
        Ok(())
    }

    fn activate(&mut self, switching: Switching, at: Time) {
        let Switching { key, seen, signing, .. } = switching;
        let request = self.request.take();
        if let Some(Active { key: old, seen: old_seen, .. }) =
            self.active.replace(Active { key, seen, since: at, signing })
        {
            let revoked = matches!(&request, Some(r) if r.intent == Intent::Revoke { key: old.fingerprint });
            self.outgoing.push(if revoked {
                Outgoing::Revoked(Revoked { key: old, since: at, emptied: BTreeMap::new() })
            } else {
                Outgoing::Retiring(Retiring { key: old, seen: Some(old_seen), stopped: at, last_use: None })
            });
        }
    }

    /// Keys that leave, and keys that come back.
    fn record_leaving(&mut self, fact: &Fact, at: Time) -> Result<(), Impossible> {
        let key = *fact.key().expect("every fact that reaches a line names a key");
        if let Fact::Abandoned { .. } = fact {
            let incoming = self.incoming.take_if(|i| i.is(&key) && i.phase() != Phase::Switching);
            let incoming = incoming.ok_or(Impossible::NoSuchKey(key))?;
            let next = match incoming.tried() {
                // It may have signed: its mail gets the whole window.
                Some(_) => {
                    Outgoing::Retiring(Retiring { key: incoming.into_key(), seen: None, stopped: at, last_use: None })
                }
                None => Outgoing::Withdrawn(Withdrawn { key: incoming.into_key(), since: at, gone: None }),
            };
            self.outgoing.push(next);
            return Ok(());
        }
        let index = self.outgoing.iter().position(|o| o.key().fingerprint == key).ok_or(Impossible::NoSuchKey(key))?;
        let next = match (self.outgoing[index].clone(), fact) {
            (Outgoing::Retiring(r), Fact::Recalled { .. }) => {
                if self.incoming.is_some() {
                    return Err(Impossible::LineBusy);
                }
                self.outgoing.remove(index);
                self.request = None;
                let tried = Some(r.stopped);
                // Its record never went, so nobody has to wait for it again: `due` still asks every server first.
                self.incoming = Some(match r.seen {
                    Some(seen) => Incoming::Propagated(Propagated { key: r.key, seen, tried }),
                    None => Incoming::Published(Published { key: r.key, first_clean: None, tried }),
                });
                return Ok(());
            }
            (Outgoing::Retiring(mut r), Fact::Used { seen, by, .. }) => {
                if r.last_use.as_ref().is_none_or(|known| known.at < *seen) && *seen > r.stopped {
                    r.last_use = Some(Use { at: *seen, by: by.clone() });
                }
                Outgoing::Retiring(r)
            }
            // Somebody may still be seen after the record went; there is nothing left to wait for.
            (other, Fact::Used { .. }) => other,
            (Outgoing::Retiring(Retiring { key, .. }), Fact::Condemned { .. }) => {
                Outgoing::Revoked(Revoked { key, since: at, emptied: BTreeMap::new() })
            }
            (Outgoing::Withdrawn(Withdrawn { key, .. }), Fact::Condemned { .. }) => {
                Outgoing::Revoked(Revoked { key, since: at, emptied: BTreeMap::new() })
            }
            (Outgoing::Retiring(Retiring { key, .. }), Fact::Withdrawing { .. })
            | (Outgoing::Revoked(Revoked { key, .. }), Fact::Withdrawing { .. }) => {
                Outgoing::Withdrawn(Withdrawn { key, since: at, gone: None })
            }
            (Outgoing::Withdrawn(mut w), Fact::Unserved { .. }) => {
                w.gone.get_or_insert(at);
                Outgoing::Withdrawn(w)
            }
            (Outgoing::Withdrawn(w), Fact::Resurfaced { .. }) => Outgoing::Withdrawn(Withdrawn { gone: None, ..w }),
            (Outgoing::Gone(Gone { key, .. }), Fact::Resurfaced { .. }) => {
                Outgoing::Withdrawn(Withdrawn { key, since: at, gone: None })
            }
            (Outgoing::Withdrawn(Withdrawn { key, .. }), Fact::Hidden { .. }) => {
                Outgoing::Gone(Gone { key, hidden: at })
            }
            (other, _) => return Err(other.refuse("left")),
        };
        self.outgoing[index] = next;
        Ok(())
    }

    fn key_mut(&mut self, wanted: &Fingerprint) -> Result<&mut Key, Impossible> {
        let incoming = self.incoming.iter_mut().map(Incoming::key_mut);
        let active = self.active.iter_mut().map(|a| &mut a.key);
        let outgoing = self.outgoing.iter_mut().map(Outgoing::key_mut);
        let mut keys = incoming.chain(active).chain(outgoing);
        keys.find(|key| key.fingerprint == *wanted).ok_or(Impossible::NoSuchKey(*wanted))
    }

    fn outgoing_mut(&mut self, wanted: &Fingerprint) -> Result<&mut Outgoing, Impossible> {
        let found = self.outgoing.iter_mut().find(|o| o.key().fingerprint == *wanted);
        found.ok_or(Impossible::NoSuchKey(*wanted))
    }
}

impl Incoming {
    fn is(&self, key: &Fingerprint) -> bool {
        self.key().fingerprint == *key
    }

    /// Since when signers may have used the key in an attempt that was turned back.
    pub fn tried(&self) -> Option<Time> {
        match self {
            Incoming::Sealed(_) => None,
            Incoming::Published(p) => p.tried,
            Incoming::Propagated(p) => p.tried,
            Incoming::Switching(s) => Some(s.committed),
        }
    }

    fn into_key(self) -> Key {
        match self {
            Incoming::Sealed(s) => s.key,
            Incoming::Published(p) => p.key,
            Incoming::Propagated(p) => p.key,
            Incoming::Switching(s) => s.key,
        }
    }

    fn key_mut(&mut self) -> &mut Key {
        match self {
            Incoming::Sealed(s) => &mut s.key,
            Incoming::Published(p) => &mut p.key,
            Incoming::Propagated(p) => &mut p.key,
            Incoming::Switching(s) => &mut s.key,
        }
    }
}

impl Outgoing {
    fn key_mut(&mut self) -> &mut Key {
        match self {
            Outgoing::Retiring(r) => &mut r.key,
            Outgoing::Withdrawn(w) => &mut w.key,
            Outgoing::Gone(g) => &mut g.key,
            Outgoing::Revoked(r) => &mut r.key,
        }
    }

    fn refuse(&self, fact: &'static str) -> Impossible {
        Impossible::WrongPhase { key: self.key().fingerprint, phase: self.phase(), fact }
    }
}

impl Fact {
    /// The key that the fact is about.
    pub fn key(&self) -> Option<&Fingerprint> {
        match self {
            Fact::Asked { .. } | Fact::Answered { .. } | Fact::Held { .. } | Fact::Released | Fact::Carried { .. } => {
                None
            }
            Fact::Sealed { key } | Fact::Adopted { key } => Some(&key.fingerprint),
            Fact::Written { key, .. }
            | Fact::SweptClean { key }
            | Fact::SeenEverywhere { key, .. }
            | Fact::Missed { key, .. }
            | Fact::Delivered { key, .. }
            | Fact::Committed { key }
            | Fact::Signing { key, .. }
            | Fact::Refused { key, .. }
            | Fact::TurnedBack { key, .. }
            | Fact::Parked { key }
            | Fact::Activated { key }
            | Fact::Abandoned { key }
            | Fact::Recalled { key }
            | Fact::Used { key, .. }
            | Fact::Wiped { key, .. }
            | Fact::Resealed { key, .. }
            | Fact::Shredded { key }
            | Fact::Condemned { key }
            | Fact::Emptied { key, .. }
            | Fact::Withdrawing { key }
            | Fact::Removed { key, .. }
            | Fact::Unserved { key }
            | Fact::Resurfaced { key, .. }
            | Fact::Hidden { key } => Some(key),
        }
    }
}

#[cfg(test)]
#[path = "fact_tests.rs"]
mod tests;
