//! The one place that reads raw clocks.
//!
//! Everything that needs the time takes a [`Clock`]. Production gives it the system's; a test gives it a manual one and
//! moves it, so that retention, expiry and time-outs are proven without sleeping. It does not wake anybody: who waits for a time
//! polls it on a tick.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall time and monotonic time, either the system's or a test's. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started: Instant },
    Manual(Arc<ManualTime>),
}

#[derive(Debug)]
struct ManualTime {
    unix_ms: AtomicU64,
    uptime_ms: AtomicU64,
}

impl Clock {
    /// The system's clock; its monotonic part starts at zero now.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this crate is where raw clocks are read")]
    pub fn system() -> Self {
        Self(Source::System { started: Instant::now() })
    }

    /// A clock that stands at `unix_ms` until somebody calls [`Clock::advance`].
    #[must_use]
    pub fn manual(unix_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(ManualTime { unix_ms: unix_ms.into(), uptime_ms: 0.into() })))
    }

    /// Milliseconds since the Unix epoch. May step backwards with the system's clock.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this crate is where raw clocks are read")]
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Source::System { .. } => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            Source::Manual(time) => time.unix_ms.load(Ordering::SeqCst),
        }
    }

    /// Monotonic time since this clock (or the clock it was cloned from) was made.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        match &self.0 {
            Source::System { started } => started.elapsed(),
            Source::Manual(time) => Duration::from_millis(time.uptime_ms.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock and all its clones forward. A system clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(time) = &self.0 {
            let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            time.unix_ms.fetch_add(ms, Ordering::SeqCst);
            time.uptime_ms.fetch_add(ms, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_when_told_and_all_clones_with_it() {
        let clock = Clock::manual(1_000);
        let clone = clock.clone();
        assert_eq!((clone.unix_ms(), clone.uptime()), (1_000, Duration::ZERO));
        clock.advance(Duration::from_millis(250));
        assert_eq!((clone.unix_ms(), clone.uptime()), (1_250, Duration::from_millis(250)));
    }
}
