//! A rate for each of any number of keys in fixed memory: no table that strangers could fill, nothing to evict.
//!
//! A count–min sketch (Cormode and Muthukrishnan 2005) of token buckets (the generic cell rate algorithm, ITU-T I.371). Each key has a
//! cell in each of four rows, chosen by a secret hash, and what it has used is the least that its cells say. Keys that share a
//! cell can only make it say more: so whatever others do, nobody's count is lost or reset. That somebody is refused for what others
//! used takes others at their limit in all four of its cells: with a thousand of those at once, one key in seventy thousand.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::time::Duration;

use parking_lot::Mutex;

const ROWS: usize = 4;
/// 4 x 16,384 cells of 8 bytes: 512 KiB.
const WIDTH: usize = 1 << 14;

/// How often each key may do something.
#[derive(Debug)]
pub struct Rate {
    /// Nanoseconds that one use costs.
    interval: u64,
    /// Nanoseconds that may be used ahead of time.
    burst: u64,
    keys: RandomState,
    /// Until when, in nanoseconds of uptime, what has been used is paid for.
    cells: Mutex<Vec<u64>>,
}

impl Rate {
    /// `per_second` uses on average, and up to `burst` at once. Both at least 1.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = 1_000_000_000 / u64::from(per_second.max(1));
        Self {
            interval,
            burst: interval * u64::from(burst.max(1)),
            keys: RandomState::new(),
            cells: Mutex::new(vec![0; ROWS * WIDTH]),
        }
    }

    /// Uses `cost` at an uptime. Who has anything left may use more than that and waits longer afterwards, so that nothing is too
    /// large to be ever done.
    ///
    /// # Errors
    /// How long to wait until there is something left; nothing was used.
    pub fn take(&self, key: impl Hash, cost: u32, now: Duration) -> Result<(), Duration> {
        self.spend(key, cost, now, false).map(|_| ())
    }

    /// Uses `cost` whether there is something left or not, and says how long to wait until there is.
    pub fn charge(&self, key: impl Hash, cost: u32, now: Duration) -> Duration {
        self.spend(key, cost, now, true).unwrap_or_default()
    }

    /// Spends and says how long to wait afterwards, or does not and says how long to wait before.
    fn spend(&self, key: impl Hash, cost: u32, now: Duration, in_debt: bool) -> Result<Duration, Duration> {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2);
        let hash = self.keys.hash_one(key);
        // Four independent numbers below 2^14 from one of 64 bits.
        let cell = |row: usize| row * WIDTH + (hash >> (16 * row)) as usize % WIDTH;
        let mut cells = self.cells.lock();
        let paid_until = (0..ROWS).map(|row| cells[cell(row)]).min().unwrap_or(0);
        let wait =
            |paid_until: u64| Duration::from_nanos((paid_until + self.interval).saturating_sub(self.burst).saturating_sub(now));
        if !in_debt && wait(paid_until) > Duration::ZERO {
            return Err(wait(paid_until));
        }
        let paid_until = paid_until.max(now) + self.interval * u64::from(cost);
        for row in 0..ROWS {
            let cell = &mut cells[cell(row)];
            *cell = (*cell).max(paid_until);
        }
        Ok(wait(paid_until))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate::new(10, 3);
        let at = |ms: u64| rate.take("alice", 1, Duration::from_millis(ms));
        assert_eq!((at(0), at(0), at(0)), (Ok(()), Ok(()), Ok(())));
        assert_eq!(at(0), Err(Duration::from_millis(100)));
        assert_eq!(at(99), Err(Duration::from_millis(1)));
        assert_eq!(at(100), Ok(()));
        assert_eq!(at(100), Err(Duration::from_millis(100)));
        assert_eq!((at(10_000), at(10_000), at(10_000), at(10_000).is_err()), (Ok(()), Ok(()), Ok(()), true));
    }

    #[test]
    fn what_is_larger_than_the_burst_is_paid_for_afterwards() {
        let rate = Rate::new(100, 50);
        assert_eq!(rate.take("service", 1_000, SECOND), Ok(()));
        assert_eq!(rate.take("service", 1, SECOND), Err(Duration::from_millis(9_510)));
        assert_eq!(rate.charge("service", 0, SECOND), Duration::from_millis(9_510), "to ask costs nothing");
        assert_eq!(rate.take("service", 1_000, SECOND + Duration::from_millis(9_510)), Ok(()));
        assert_eq!(rate.charge("stream", 149, SECOND), SECOND);
        assert_eq!(rate.charge("stream", 100, SECOND), 2 * SECOND, "a stream is held up and not refused");
    }

    /// Whatever a crowd of others does, a key never gets more than it would alone.
    #[test]
    fn nobody_can_reset_a_count() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (rate, mut alone) = (Rate::new(5, 4), HashMap::<u32, Rate>::new());
        let mut now = Duration::ZERO;
        for _ in 0..20_000 {
            now += Duration::from_micros(random.u64(..2_000));
            // Few with a history, and a crowd that comes once.
            let key = if random.bool() { random.u32(..8) } else { random.u32(8..) };
            let told = rate.take(key, 1, now);
            if key < 8 {
                let exact = alone.entry(key).or_insert_with(|| Rate::new(5, 4)).take(key, 1, now);
                assert!(told.is_err() || exact.is_ok(), "{key} was let through beyond its rate, seed {seed}");
            }
        }
    }

    #[test]
    fn a_thousand_at_their_limit_do_not_refuse_the_others() {
        let rate = Rate::new(1, 5);
        for attacker in 0..1_000_u32 {
            while rate.take(("attacker", attacker), 1, SECOND).is_ok() {}
        }
        let refused = (0..10_000_u32).filter(|honest| rate.take(("honest", honest), 1, SECOND).is_err()).count();
        assert!(refused < 20, "{refused} of 10,000 honest ones were refused");
    }
}
