//! How fast one account may be asked: a token bucket, and what the host itself says about waiting.
//!
//! A host's limit is counted per account, so all calls of one provider go through one [`Pace`]. Time and sleep come
//! from [`Timer`], so tests wait for nothing.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::{ProviderError, Rate};

/// The longest wait that a run sits out. Cloudflare blocks for five minutes; whoever asks for hours means a daily
/// quota, and then the run stops and the next one goes on from there.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// How often in a row a host may ask to wait before we stop asking.
const REFUSALS: u32 = 8;

/// A clock that only runs, and a sleep.
pub trait Timer: Send + Sync {
    /// Since any fixed point.
    fn now(&self) -> Duration;
    fn sleep(&self, time: Duration);
}

/// The machine's own.
#[derive(Debug)]
pub struct SystemTimer(Instant);

impl Default for SystemTimer {
    fn default() -> Self {
        SystemTimer(Instant::now())
    }
}

impl Timer for SystemTimer {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

pub struct Pace {
    timer: Box<dyn Timer>,
    rate: Option<Rate>,
    state: Mutex<State>,
}

struct State {
    /// Calls that may be made at once.
    tokens: f64,
    filled: Duration,
    /// The host asked us to be silent until then.
    not_before: Duration,
    refused_in_a_row: u32,
}

impl Pace {
    /// `rate.calls` at once, refilled evenly over `rate.per`.
    pub fn new(rate: Option<Rate>, timer: Box<dyn Timer>) -> Self {
        let tokens = rate.map_or(0.0, |rate| f64::from(rate.calls));
        let filled = timer.now();
        let state = State { tokens, filled, not_before: Duration::ZERO, refused_in_a_row: 0 };
        Pace { timer, rate, state: Mutex::new(state) }
    }

    /// Waits until the next call may be made.
    pub fn wait(&self) {
        let wait = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let now = self.timer.now();
            let asked = state.not_before.saturating_sub(now);
            asked.max(state.take(self.rate, now))
        };
        if !wait.is_zero() {
            self.timer.sleep(wait);
        }
    }

    /// The call was answered.
    pub fn answered(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).refused_in_a_row = 0;
    }

    /// The host has nothing left for us for this long, though it answered (`Ratelimit: ...;r=0;t=30`).
    pub fn hold(&self, time: Duration) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.not_before = state.not_before.max(self.timer.now() + time.min(PATIENCE));
    }

    /// The host turned a call away, with or without saying for how long. Returns an error when it is not worth
    /// waiting; otherwise the next [`Pace::wait`] waits.
    pub fn refused(&self, after: Option<Duration>) -> Result<(), ProviderError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.refused_in_a_row += 1;
        let own = Duration::from_secs(1 << state.refused_in_a_row.min(6));
        let wait = after.unwrap_or(own);
        if wait > PATIENCE || state.refused_in_a_row > REFUSALS {
            state.refused_in_a_row = 0;
            return Err(ProviderError::RateLimited { after });
        }
        state.not_before = self.timer.now() + wait;
        Ok(())
    }
}

impl State {
    /// Takes one token, and says how long to wait for it.
    fn take(&mut self, rate: Option<Rate>, now: Duration) -> Duration {
        let Some(rate) = rate.filter(|rate| rate.calls > 0 && !rate.per.is_zero()) else { return Duration::ZERO };
        let per_second = f64::from(rate.calls) / rate.per.as_secs_f64();
        let since = now.saturating_sub(self.filled).as_secs_f64();
        self.tokens = (self.tokens + since * per_second).min(f64::from(rate.calls)) - 1.0;
        self.filled = now;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / per_second) }
    }
}

impl fmt::Debug for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pace").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
