//! Messages of each user within a minute that slides.
//!
//! The minute is counted in slots of five seconds, and a message counts until its whole slot is a minute ago: in no sixty seconds are
//! there more than allowed, and a message stops counting after 60 to 65 seconds.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use parking_lot::Mutex;

const SLOT_MS: u64 = 5_000;
/// A minute's slots and the one that has just begun.
const SLOTS: usize = 13;
/// Users that may be counted at once; only those who sent something within the last minute are. About 50 bytes each.
const USERS_MAX: usize = 1 << 20;
const SHARDS: usize = 16;

/// Counts messages by user.
#[derive(Debug)]
pub struct MessageRate {
    per_minute_max: u32,
    /// A user's hash chooses the shard; its key is secret, so nobody can crowd one.
    keys: RandomState,
    shards: Vec<Mutex<Shard>>,
    users_per_shard_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    users: HashMap<Box<str>, Recent>,
    /// The slot in which those were last removed who had sent nothing for a minute.
    swept: u64,
}

/// How many messages a user sent in which of the last slots.
#[derive(Debug)]
struct Recent {
    counts: [u16; SLOTS],
    /// The slot of the last message, in slots since the clock's beginning.
    last: u64,
}

impl MessageRate {
    /// Nobody has sent anything. At most [`u16::MAX`] messages a minute.
    #[must_use]
    pub fn new(per_minute_max: u32) -> Self {
        Self::with_users_max(per_minute_max, USERS_MAX)
    }

    fn with_users_max(per_minute_max: u32, users_max: usize) -> Self {
        Self {
            per_minute_max: per_minute_max.min(u32::from(u16::MAX)),
            keys: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            users_per_shard_max: users_max.div_ceil(SHARDS),
        }
    }

    /// How many messages a user may send.
    #[must_use]
    pub fn per_minute_max(&self) -> u32 {
        self.per_minute_max
    }

    /// Counts one message at an uptime.
    ///
    /// # Errors
    /// How long to wait until one may be sent. What was refused does not count: who waits gets through.
    pub fn take(&self, user: &str, now: Duration) -> Result<(), Duration> {
        let now_ms = now.as_millis() as u64;
        let slot = now_ms / SLOT_MS;
        let mut shard = self.shards[self.keys.hash_one(user) as usize % SHARDS].lock();
        if slot >= shard.swept + SLOTS as u64 {
            shard.sweep(slot);
        }
        if let Some(recent) = shard.users.get_mut(user) {
            return recent.take(slot, self.per_minute_max).map_err(|end| until(end, now_ms));
        }
        if shard.users.len() >= self.users_per_shard_max {
            if shard.swept < slot {
                shard.sweep(slot);
            }
            // Nobody's count is dropped for a newcomer's: that would be a way to get rid of one's own.
            if shard.users.len() >= self.users_per_shard_max {
                return Err(until(slot + 1, now_ms));
            }
        }
        let mut recent = Recent { counts: [0; SLOTS], last: slot };
        let taken = recent.take(slot, self.per_minute_max).map_err(|end| until(end, now_ms));
        shard.users.insert(user.into(), recent);
        taken
    }
}

fn until(slot: u64, now_ms: u64) -> Duration {
    Duration::from_millis((slot * SLOT_MS).saturating_sub(now_ms))
}

impl Shard {
    /// Removes those who have sent nothing for a minute: no count is in what they had.
    fn sweep(&mut self, slot: u64) {
        self.swept = slot;
        self.users.retain(|_, recent| recent.last + SLOTS as u64 > slot);
    }
}

impl Recent {
    /// Counts a message, or says in which slot one may be sent again.
    fn take(&mut self, slot: u64, most: u32) -> Result<(), u64> {
        // Uptime does not run backwards, but two threads may come here in the other order.
        let slot = slot.max(self.last);
        for gone in (self.last + 1..=slot).take(SLOTS) {
            self.counts[gone as usize % SLOTS] = 0;
        }
        self.last = slot;
        let mut counted: u32 = self.counts.iter().map(|count| u32::from(*count)).sum();
        if counted < most {
            self.counts[slot as usize % SLOTS] += 1;
            return Ok(());
        }
        let first = slot.saturating_sub(SLOTS as u64 - 1);
        for old in first..=slot {
            counted -= u32::from(self.counts[old as usize % SLOTS]);
            if counted < most {
                return Err(old + SLOTS as u64);
            }
        }
        Err(slot + SLOTS as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    // proves: C7
    #[test]
    fn a_message_counts_for_a_minute_and_at_most_one_slot_more() {
        let rate = MessageRate::new(3);
        let at = |ms: u64| rate.take("alice", Duration::from_millis(ms));
        assert_eq!((at(4_999), at(5_000), at(9_999)), (Ok(()), Ok(()), Ok(())));
        // The first one's slot ended at 5 s, so it counts up to 65 s.
        assert_eq!(at(10_000), Err(Duration::from_millis(55_000)));
        assert_eq!(rate.take("bob", 10 * SECOND), Ok(()), "each user has a count");
        assert_eq!(at(64_999), Err(Duration::from_millis(1)));
        assert_eq!(at(65_000), Ok(()));
        // The other two go together at 70 s.
        assert_eq!(at(65_000), Err(Duration::from_millis(5_000)));
        assert_eq!((at(70_000), at(70_000)), (Ok(()), Ok(())));
        assert_eq!(at(70_000), Err(Duration::from_millis(60_000)));
        assert_eq!(at(3_600_000), Ok(()), "after an hour nothing counts");
    }

    // proves: C7
    #[test]
    fn no_minute_ever_has_more_than_allowed_and_who_waits_as_told_gets_through() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for most in [1, 7, 60] {
            let rate = MessageRate::new(most);
            let (mut now_ms, mut taken) = (0_u64, VecDeque::new());
            for _ in 0..20_000 {
                now_ms += random.u64(..3_000) * u64::from(random.u8(..10) == 0);
                let told = rate.take("alice", Duration::from_millis(now_ms));
                while taken.front().is_some_and(|sent| sent + 60_000 <= now_ms) {
                    taken.pop_front();
                }
                match told {
                    Ok(()) => {
                        taken.push_back(now_ms);
                        assert!(taken.len() <= most as usize, "{} messages in a minute, seed {seed}", taken.len());
                    }
                    Err(wait) => {
                        assert!(wait > Duration::ZERO && wait <= 65 * SECOND, "{wait:?}");
                        if random.bool() {
                            now_ms += wait.as_millis() as u64;
                            assert_eq!(rate.take("alice", Duration::from_millis(now_ms)), Ok(()), "seed {seed}");
                            taken.push_back(now_ms);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_full_table_forgets_nobody_who_counts_and_everybody_who_does_not() {
        let rate = MessageRate::with_users_max(1, 64);
        assert_eq!(rate.take("alice", SECOND), Ok(()));
        let crowd = (0..10_000).filter(|n| rate.take(&format!("u{n}"), SECOND).is_ok()).count();
        assert!((10..=64).contains(&crowd), "{crowd}");
        assert!(rate.take("alice", 2 * SECOND).is_err(), "a crowd does not clear a count");
        let users: usize = rate.shards.iter().map(|shard| shard.lock().users.len()).sum();
        assert!(users <= 64, "{users}");
        // When their minute is over they make room.
        assert_eq!(rate.take("newcomer", 66 * SECOND), Ok(()));
        let later = (0..10_000).filter(|n| rate.take(&format!("v{n}"), 66 * SECOND).is_ok()).count();
        assert!(later > 10, "{later}");
    }
}
