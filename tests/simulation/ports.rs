//! The ports of the real loop, each with its boundaries, over the simulated world.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use dkimctl::clock::Clock;
use dkimctl::dns::Dns;
use dkimctl::keygen::PrivateKey;
use dkimctl::observe::Sweeper;
use dkimctl::vault::{NewKey, SealedKey, Vault, VaultError};
use dkimctl_providers::memory::{Memory, Served};
use dkimctl_providers::{AtName, Caps, Descriptor, DnsProvider, Entry, Guarded, Op, Outcome, ProviderError, Zone};
use dkimctl_state::lifecycle::seen::{Answer, ServerAnswer, Sweep};
use dkimctl_state::name::Fqdn;
use dkimctl_state::record::dkim::{Algorithm, Fingerprint, PublicKey};
use dkimctl_state::time::Time;

use crate::seeded::Seeded;
use crate::sim::{Sim, here};
use crate::tally::{Edge, Group};

/// One process's ports.
pub struct Ports(pub Rc<Sim>);

impl Clock for Ports {
    fn now(&self) -> Time {
        self.0.machine()
    }
}

impl Vault for Ports {
    fn create_watched(&self, wanted: &[NewKey], done: &(dyn Fn(usize) + Sync)) -> Vec<Result<SealedKey, VaultError>> {
        let sim = &self.0;
        sim.edge(Edge::CreateBefore);
        let make = |new: &NewKey| {
            let mut octets = vec![0_u8; 24];
            let mut dice = sim.dice.borrow_mut();
            octets.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.next().to_be_bytes()));
            let public = PublicKey::from_bytes(octets);
            sim.blobs.borrow_mut().insert(public.fingerprint(), new.selector.to_string());
            sim.say(|| format!("  made {public} for {}", new.selector));
            Ok(SealedKey { public, algorithm: Algorithm::Rsa, recipients: 2, blob_sha256: "00".to_owned() })
        };
        let made = wanted.iter().map(make).collect();
        done(wanted.len());
        sim.edge(Edge::CreateAfter);
        made
    }

    fn adopt(&self, _key: &PrivateKey) -> Result<SealedKey, VaultError> {
        Err(VaultError::NoRecipients)
    }

    fn shred(&self, key: &Fingerprint) -> Result<(), VaultError> {
        self.0.edge(Edge::ShredBefore);
        self.0.blobs.borrow_mut().remove(key);
        self.0.edge(Edge::ShredAfter);
        Ok(())
    }

    fn blob(&self, key: &Fingerprint) -> Result<Vec<u8>, VaultError> {
        match self.0.blobs.borrow().contains_key(key) {
            true => Ok(Vec::new()),
            false => Err(VaultError::Missing { key: *key, path: PathBuf::from("blobs") }),
        }
    }
}

impl Sweeper for Ports {
    fn sweep(&self, names: &[Fqdn], at: Time) -> Vec<Sweep> {
        let sim = &self.0;
        sim.edge(Edge::SweepBefore);
        let sweeps = names.iter().map(|name| sim.sweep(name, at)).collect();
        sim.pass(1);
        sim.edge(Edge::SweepAfter);
        sweeps
    }
}

impl Sim {
    fn sweep(&self, name: &Fqdn, at: Time) -> Sweep {
        let truth = Time::from_unix(self.truth());
        let run = self.run.get();
        let quiet =
            |silent: Option<(u64, u64)>| silent.is_some_and(|(from, to)| from <= run && run < to) && !self.calm.get();
        let turn = {
            let mut turns = self.turns.borrow_mut();
            let turn = turns.entry(name.clone()).or_default();
            // Two looks meet two machines: a question without an answer is no look.
            *turn += u64::from(!self.schedule.addresses.iter().any(|address| quiet(address.silent)));
            *turn
        };
        let mut answers = Vec::new();
        let mut machine = vec![0; self.providers.len()];
        for (number, address) in self.schedule.addresses.iter().enumerate() {
            let behind = address.lags.len() as u64;
            let asked = machine[address.provider] + (turn % behind) as usize;
            machine[address.provider] += behind as usize;
            let silent = quiet(address.silent);
            let answer = match self.providers[address.provider].answer(asked, name, truth) {
                _ if silent => {
                    self.tally.borrow_mut().hit(Group::Misfortune, "a server was silent");
                    Answer::Unknown("timeout".to_owned())
                }
                _ if self.seeded == Seeded::ProviderForServers => answer_of(self.providers[address.provider].at(name)),
                Served::Answer { at, .. } => answer_of(at),
                Served::Silent => Answer::Unknown("timeout".to_owned()),
            };
            answers.push(ServerAnswer { server: format!("ns{number}"), answer });
            if self.seeded == Seeded::OneServer {
                break;
            }
        }
        let negative_ttl = match self.seeded {
            Seeded::DenialsForgotten => Some(0),
            _ => self.schedule.soa_readable.then_some(self.schedule.soa_minimum),
        };
        Sweep { at, answers, negative_ttl, cname: None }
    }
}

fn answer_of(at: AtName) -> Answer {
    match at {
        AtName::Txt { ttl, entries } => {
            Answer::Txt { ttl, texts: entries.into_iter().map(|entry| entry.text).collect() }
        }
        _ => Answer::Absent,
    }
}

/// The configured providers, as one process opens them.
pub fn dns(sim: &Sim) -> Dns {
    let wires = sim.settings.providers.iter().zip(&sim.providers).enumerate().map(|(index, (label, memory))| {
        let wire = Wire { index, memory: Arc::clone(memory) };
        (label.clone(), Box::new(wire) as Box<dyn DnsProvider>)
    });
    Dns::new(wires.collect())
}

/// The provider's API on the wire.
struct Wire {
    index: usize,
    memory: Arc<Memory>,
}

impl DnsProvider for Wire {
    fn descriptor(&self) -> &'static Descriptor {
        self.memory.descriptor()
    }

    fn caps(&self) -> Caps {
        self.memory.caps()
    }

    fn zones(&self) -> Result<Vec<Zone>, ProviderError> {
        self.memory.zones()
    }

    fn observe(&self, zone: &Zone, names: &[Fqdn]) -> Result<Vec<AtName>, ProviderError> {
        let sim = here();
        sim.edge(Edge::LookBefore);
        let seen = self.memory.observe(zone, names);
        if let Err(error) = &seen {
            sim.misfortune(error);
        }
        sim.edge(Edge::LookAfter);
        seen
    }

    fn apply(&self, zone: &Zone, ops: &[Guarded]) -> Vec<Outcome> {
        let sim = here();
        sim.edge(Edge::ApplyBefore);
        sim.pass(1);
        let outcomes = match sim.seeded {
            Seeded::Unguarded => ops.iter().map(|guarded| self.overwrite(&guarded.op)).collect(),
            _ => self.memory.apply(zone, ops),
        };
        for (guarded, outcome) in ops.iter().zip(&outcomes) {
            sim.say(|| format!("  {:?} -> {outcome:?}", guarded.op));
            sim.zone_changed(self.index, guarded.op.name());
            let done = guarded.op.holds_in(&self.memory.at(guarded.op.name()));
            let mut tally = sim.tally.borrow_mut();
            match outcome {
                Outcome::Applied(_) if !done => tally.hit(Group::Misfortune, "the API said OK and did nothing"),
                Outcome::Unknown(_) if done => tally.hit(Group::Misfortune, "the API did it and did not say so"),
                Outcome::Unknown(_) => tally.hit(Group::Misfortune, "the API lost a change"),
                Outcome::NotTried => tally.hit(Group::Misfortune, "a batch ended in its middle"),
                Outcome::Conflict(_) => tally.hit(Group::Misfortune, "a guard held: the value had changed"),
                Outcome::Rejected(error) => {
                    drop(tally);
                    sim.misfortune(error);
                }
                Outcome::Applied(_) | Outcome::Already => {}
            }
        }
        sim.edge(Edge::ApplyAfter);
        outcomes
    }

    fn clock(&self) -> Option<Time> {
        here().schedule.witness.then(|| self.memory.clock()).flatten()
    }
}

impl Wire {
    /// What a program does that sets and deletes whole names.
    fn overwrite(&self, op: &Op) -> Outcome {
        let at = match op {
            Op::Add { text, ttl, .. } | Op::Replace { new: text, ttl, .. } => {
                AtName::Txt { ttl: *ttl, entries: vec![Entry::new(text.clone())] }
            }
            Op::Remove { .. } => AtName::Absent,
        };
        self.memory.edit(op.name(), at);
        Outcome::Applied(None)
    }
}

impl Sim {
    fn misfortune(&self, error: &ProviderError) {
        let what = match error {
            ProviderError::RateLimited { .. } => "the API asked to wait",
            ProviderError::Unreachable(_) => "the API was out of reach",
            _ => "the API refused",
        };
        self.tally.borrow_mut().hit(Group::Misfortune, what);
    }
}
