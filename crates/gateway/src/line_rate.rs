//! How many lines of one kind go into the process's log in a second. It decides, and writes nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use towline_clock::Clock;

/// Bounds lines up to a rate at which they cost less than the work that they tell of.
#[derive(Debug)]
pub struct LineRate {
    per_second_max: u32,
    /// The second, and above its 32 low bits how many lines it had: one word, so that no lock is needed.
    used: AtomicU64,
}

impl LineRate {
    /// At most so many lines in a second.
    #[must_use]
    pub fn new(per_second_max: u32) -> Self {
        Self { per_second_max, used: AtomicU64::new(0) }
    }

    /// Takes a line of the current second. None: it has no more. Else how many an earlier second had to leave out.
    pub fn take(&self, clock: &Clock) -> Option<u64> {
        let second = clock.uptime().as_secs() & u64::from(u32::MAX);
        let per_second_max = u64::from(self.per_second_max);
        let before = self.used.load(Ordering::Relaxed);
        let (then, used) = (before & u64::from(u32::MAX), before >> 32);
        if then == second {
            let now = (used.saturating_add(1).min(u64::from(u32::MAX)) << 32) | second;
            // A lost race costs one line's count, which is not worth a loop on a hot path.
            let _ = self.used.compare_exchange_weak(before, now, Ordering::Relaxed, Ordering::Relaxed);
            return (used < per_second_max).then_some(0);
        }
        if per_second_max == 0 {
            return None;
        }
        let won = self.used.compare_exchange(before, (1 << 32) | second, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        Some(if won { used.saturating_sub(per_second_max) } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_second_has_its_lines_and_the_next_one_says_what_was_left_out() {
        let clock = Clock::manual(0);
        let rate = LineRate::new(2);
        let taken: Vec<_> = (0..5).map(|_| rate.take(&clock)).collect();
        assert_eq!(taken, [Some(0), Some(0), None, None, None]);
        clock.advance(Duration::from_secs(1));
        assert_eq!(rate.take(&clock), Some(3));
        assert_eq!(rate.take(&clock), Some(0));
        assert_eq!(rate.take(&clock), None);
        assert_eq!(LineRate::new(0).take(&clock), None);
    }
}
