//! The one place that asks what time it is.

use dkimctl_state::time::Time;

pub trait Clock {
    fn now(&self) -> Time;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Time::from_unix(chrono::Utc::now().timestamp())
    }
}
