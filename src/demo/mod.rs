//! The whole main job on embedded defaults, in an empty directory, with nothing installed.
//!
//! Every code path but the clock and the milter is the real one: SQLite, age, the zone file provider, sweeps of an
//! authoritative server on loopback, signed manifests and receipts, OpenDKIM's tables on disk, the loop. The clock is
//! moved by hand, and a message is signed in this process with whatever OpenDKIM's tables say.

use std::path::{Path, PathBuf};

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::ledger::Phase;
use dkimctl_state::lifecycle::request::{Intent, Request};
use dkimctl_state::lifecycle::wait::Wait;
use dkimctl_state::record::dkim::Algorithm;
use dkimctl_state::store::sqlite::SqliteStore;
use dkimctl_state::store::{Change, Event, Store, StoreError};
use dkimctl_state::time::Time;

use crate::advance::{Run, advance};
use crate::world::World;

mod place;
mod signer;

use place::Place;
pub use place::{DOMAIN, HOST};
pub use signer::Proof;

/// What the demonstration shows, as it happens.
#[derive(Debug, Clone)]
pub enum Shown {
    /// The operator typed this.
    Typed(&'static str),
    /// The clock was moved, and cron came by.
    Cron,
    Fact(Fact),
    /// Nothing more is due: why, and until when.
    Wait(Wait),
    /// A message was signed and verified with the key that the name server serves.
    Verified(Proof),
}

/// Why the demonstration did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("{0} exists already; remove it, or name another directory with --dir")]
    Exists(PathBuf),
    #[error("{path}: {why}")]
    Place { path: PathBuf, why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a step failed: {0}")]
    Step(String),
    #[error("it came to rest before its end: {0}")]
    Stuck(String),
    #[error("the message that was signed with {selector} does not verify: {why}")]
    Unverified { selector: String, why: String },
}

/// Plays it in `dir`, which must not exist, from `start` on, and tells `show` what happens and when.
pub fn play(dir: &Path, start: Time, show: &mut dyn FnMut(Time, Shown)) -> Result<(), DemoError> {
    let (place, store) = Place::make(dir, start)?;
    let mut demo = Demo { place, store, show };
    demo.rotate("dkimctl rotate example.com")?;
    demo.until("s1", Phase::Active)?;
    demo.verify("s1")?;
    demo.rotate("dkimctl rotate example.com")?;
    demo.until("s2", Phase::Active)?;
    demo.verify("s2")?;
    demo.until("s1", Phase::Gone)?;
    demo.verify("s2")
}

struct Demo<'a> {
    place: Place,
    store: SqliteStore,
    show: &'a mut dyn FnMut(Time, Shown),
}

impl Demo<'_> {
    fn rotate(&mut self, typed: &'static str) -> Result<(), DemoError> {
        let at = self.place.now();
        (self.show)(at, Shown::Typed(typed));
        let loaded = self.store.load(&self.place.settings.domain)?;
        let request = Request { intent: Intent::Rotate, asked: at, by: "operator".to_owned(), reason: None };
        let fact = Fact::Asked { algorithm: Algorithm::Rsa, request };
        let mut ledger = loaded.ledger;
        ledger.record(&fact, at).map_err(|why| DemoError::Stuck(why.to_string()))?;
        let events = vec![Event { at, actor: "operator".to_owned(), fact }];
        self.store.commit(&[Change { ledger, revision: loaded.revision, wake: Some(at), events }])?;
        self.advance().map(drop)
    }

    /// Moves the clock from one wake-up to the next until the key of `selector` is in `phase`.
    fn until(&mut self, selector: &str, phase: Phase) -> Result<(), DemoError> {
        // A rotation has about a dozen wake-ups.
        for _ in 0..100 {
            let ledger = self.store.load(&self.place.settings.domain)?.ledger;
            if ledger.keys().any(|(seen, key)| seen == phase && key.selector.as_str() == selector) {
                return Ok(());
            }
            let wake = self.store.next_wake()?;
            let wake = wake.ok_or_else(|| DemoError::Stuck(format!("{selector} never becomes {phase}")))?;
            if wake > self.place.now() {
                self.place.set_clock(wake);
                (self.show)(wake, Shown::Cron);
            }
            self.advance()?;
        }
        Err(DemoError::Stuck(format!("{selector} does not become {phase}")))
    }

    /// One run of the real loop.
    fn advance(&mut self) -> Result<(), DemoError> {
        let Run { done, waits, failures, .. } = {
            let place = &self.place;
            let post = place.outboxes(&self.store.identity()?);
            let world = World {
                clock: &place.clock,
                vault: &place.vault,
                dns: &place.dns,
                sweeper: &place.sweeper,
                post: &post,
            };
            let run = advance(&world, &mut self.store, &[&place.settings], "cron", &())?;
            if let Some(complaint) = post.complaints.borrow().first() {
                return Err(DemoError::Step(complaint.clone()));
            }
            run
        };
        for (_, at, fact) in done {
            (self.show)(at, Shown::Fact(fact));
        }
        if let Some((_, failure)) = failures.into_iter().next() {
            return Err(DemoError::Step(failure.to_string()));
        }
        let now = self.place.now();
        for wait in waits.into_values().flatten() {
            (self.show)(now, Shown::Wait(wait));
        }
        Ok(())
    }

    /// Signs a message with what the tables say, and verifies it with what the name server serves.
    fn verify(&mut self, selector: &str) -> Result<(), DemoError> {
        let proof = self.place.prove()?;
        if proof.selector != selector {
            let why = format!("it was signed with {}", proof.selector);
            return Err(DemoError::Unverified { selector: selector.to_owned(), why });
        }
        (self.show)(self.place.now(), Shown::Verified(proof));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_one_key_and_leaves_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("demo");
        let mut told = Vec::new();
        let played = play(&dir, Time::from_unix(1_790_000_000), &mut |at, shown| told.push((at, shown)));
        played.unwrap_or_else(|error| panic!("{error}\n{told:#?}"));
        let verified = |(_, shown): &&(Time, Shown)| matches!(shown, Shown::Verified(_));
        assert_eq!(told.iter().filter(verified).count(), 3);
        assert!(told.is_sorted_by_key(|(at, _)| *at), "time goes one way");
        let days = told.last().unwrap().0.since(told[0].0).as_secs() / 86_400;
        assert_eq!(days, 30, "the old record stays for its window");
        let zone = std::fs::read_to_string(dir.join("zone/example.com.zone")).unwrap();
        assert!(zone.contains("s2._domainkey") && !zone.contains("s1._domainkey"), "{zone}");
        let again = play(&dir, Time::from_unix(0), &mut |_, _| {});
        assert!(matches!(again, Err(DemoError::Exists(_))));
    }
}
