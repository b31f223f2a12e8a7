//! How long to wait before the next attempt. A value with no clock and no timer: the caller waits.

use std::time::Duration;

/// Doubling delays with jitter: 1 s, 2 s, 4 s, 8 s … up to a ceiling, each lengthened by up to 10 %, so that clients which lost the same
/// server do not come back in the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    ceiling: Duration,
    attempt: u32,
    jitter: fastrand::Rng,
}

impl Backoff {
    /// The first delay of [`Backoff::default`].
    pub const BASE: Duration = Duration::from_secs(1);
    /// The longest delay of [`Backoff::default`], before jitter.
    pub const CEILING: Duration = Duration::from_secs(30);

    /// Delays from `base` to `ceiling`. The same `seed` gives the same jitter.
    #[must_use]
    pub fn new(base: Duration, ceiling: Duration, seed: u64) -> Self {
        Self { base, ceiling, attempt: 0, jitter: fastrand::Rng::with_seed(seed) }
    }

    /// The delay before the next attempt: `min(base * 2^n, ceiling)` for the n-th call since the last reset, plus up to 10 %.
    pub fn next_delay(&mut self) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(self.attempt));
        self.attempt = self.attempt.saturating_add(1);
        let plain = doubled.min(self.ceiling);
        plain.saturating_add(plain.mul_f64(0.1 * self.jitter.f64()))
    }

    /// How many delays were given since the last reset.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempt
    }

    /// Begins again with the shortest delay: call it after success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new(Self::BASE, Self::CEILING, fastrand::u64(..))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // proves: A3
    #[test]
    fn delays_double_to_the_ceiling_and_reset_begins_again() {
        let mut backoff = Backoff::default();
        for round in 0..2 {
            for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
                let delay = backoff.next_delay().as_secs_f64();
                assert!((f64::from(seconds)..=f64::from(seconds) * 1.1).contains(&delay), "round {round}: {seconds}: {delay}");
            }
            assert_eq!(backoff.attempts(), 8);
            backoff.reset();
        }
    }

    proptest! {
        // proves: A3
        #[test]
        fn every_delay_stays_between_its_plain_value_and_a_tenth_more(
            base_ms in 0_u64..10_000, factor in 1_u32..1_000, seed: u64, attempts in 1_usize..200, reset_at in 0_usize..200,
        ) {
            let base = Duration::from_millis(base_ms);
            let ceiling = base * factor;
            let mut backoff = Backoff::new(base, ceiling, seed);
            let mut plain = base;
            for attempt in 0..attempts {
                if attempt == reset_at {
                    backoff.reset();
                    plain = base;
                }
                let delay = backoff.next_delay();
                prop_assert!(delay >= plain, "attempt {}: {:?} < {:?}", attempt, delay, plain);
                prop_assert!(delay <= plain.mul_f64(1.1) + Duration::from_nanos(1));
                plain = (plain * 2).min(ceiling);
            }
        }

        #[test]
        fn the_largest_durations_do_not_overflow(seed: u64) {
            let mut backoff = Backoff::new(Duration::MAX, Duration::from_secs(30), seed);
            for _ in 0..100 {
                prop_assert!(backoff.next_delay() <= Duration::from_secs(33));
            }
        }
    }
}
