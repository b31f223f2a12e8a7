//! A moment on both clocks: wall time for what people read, monotonic time for what runs out.

use std::time::Duration;

use towline_clock::Clock;

/// When something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds since the Unix epoch; may step backwards.
    pub unix_ms: u64,
    /// Monotonic time of this process.
    pub uptime: Duration,
}

impl Moment {
    /// Now.
    #[must_use]
    pub fn of(clock: &Clock) -> Self {
        Self { unix_ms: clock.unix_ms(), uptime: clock.uptime() }
    }

    pub(crate) fn uptime_ms(self) -> u64 {
        u64::try_from(self.uptime.as_millis()).unwrap_or(u64::MAX)
    }
}
