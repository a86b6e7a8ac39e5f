//! Progress for a person who watches; nothing at all anywhere else.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use dkimctl_state::lifecycle::fact::Fact;
use dkimctl_state::lifecycle::step::Wave;
use dkimctl_state::name::SigningDomain;
use dkimctl_state::record::dkim::Fingerprint;
use dkimctl_state::time::{Span, Time};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::shell::Shell;
use crate::advance::Watcher;
use crate::keygen::PrivateKey;
use crate::report::words;
use crate::vault::{AgeVault, NewKey, SealedKey, Vault, VaultError};

/// A bar on standard error, if that is a terminal.
#[derive(Clone)]
pub struct Progress(ProgressBar);

impl Progress {
    pub fn new(shell: &Shell) -> Self {
        let quiet = shell.global.quiet || shell.global.json || !std::io::stderr().is_terminal();
        let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(None, target);
        let line = "{prefix}{spinner} {msg} {wide_bar} {pos}/{len}";
        bar.set_style(ProgressStyle::with_template(line).expect("a constant"));
        Progress(bar)
    }

    /// How far a fleet has come.
    pub fn of_fleet(&self, sentence: String) {
        self.0.set_prefix(format!("{sentence}; "));
    }

    pub fn clear(&self) {
        self.0.finish_and_clear();
    }

    /// Sleeps until `until` in short steps, so that it can be interrupted at any time.
    pub fn sleep(&self, until: Time, now: impl Fn() -> Time, what: &str) {
        let begun = now();
        let whole = until.since(begun).as_secs();
        self.0.reset();
        self.0.set_length(whole);
        self.0.set_style(ProgressStyle::with_template("{spinner} {msg} {wide_bar}").expect("a constant"));
        while now() < until {
            let left = until.since(now());
            self.0.set_position(whole.saturating_sub(left.as_secs()));
            self.0.set_message(format!("{what}: {} left", words::length(Span::seconds(left.as_secs()))));
            std::thread::sleep(Duration::from_millis(250));
        }
        self.clear();
    }
}

/// How far a fleet has come, and how long the rest will take at the pace so far.
pub struct FleetPace {
    domains: usize,
    waves: usize,
    begun: Instant,
}

impl FleetPace {
    pub fn new(domains: usize, waves: usize) -> Self {
        FleetPace { domains, waves, begun: Instant::now() }
    }

    /// Nothing for one domain alone.
    pub fn sentence(&self, wave: usize, done: usize) -> Option<String> {
        (self.domains > 1).then(|| {
            let left = self.begun.elapsed().checked_div(done as u32).map(|each| each * (self.domains - done) as u32);
            words::fleet((wave + 1, self.waves), (done, self.domains), left.map(|left| Span::seconds(left.as_secs())))
        })
    }
}

impl Watcher for Progress {
    fn wave(&self, wave: Wave, steps: usize) {
        self.0.reset();
        self.0.set_length(steps as u64);
        self.0.set_message(words::wave(wave, steps));
        self.0.enable_steady_tick(Duration::from_millis(120));
    }

    fn fact(&self, domain: &SigningDomain, _fact: &Fact) {
        self.0.set_message(domain.to_string());
    }
}

/// A vault that shows how many keys are made.
pub struct Watched {
    vault: AgeVault,
    progress: Progress,
}

impl Watched {
    pub fn new(vault: AgeVault, progress: Progress) -> Self {
        Watched { vault, progress }
    }
}

impl Vault for Watched {
    fn create(&self, wanted: &[NewKey]) -> Vec<Result<SealedKey, VaultError>> {
        self.vault.create_watched(wanted, &|made| self.progress.0.set_position(made as u64))
    }

    fn create_watched(&self, wanted: &[NewKey], done: &(dyn Fn(usize) + Sync)) -> Vec<Result<SealedKey, VaultError>> {
        self.vault.create_watched(wanted, done)
    }

    fn adopt(&self, key: &PrivateKey) -> Result<SealedKey, VaultError> {
        self.vault.adopt(key)
    }

    fn shred(&self, key: &Fingerprint) -> Result<(), VaultError> {
        self.vault.shred(key)
    }

    fn blob(&self, key: &Fingerprint) -> Result<Vec<u8>, VaultError> {
        self.vault.blob(key)
    }
}
