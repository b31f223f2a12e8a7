//! Ids that were appended lately, so that an id appended again is recognised. Bounded by time and by count.

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use hashbrown::HashTable;

/// What one insert forgets: more than it adds, so that nothing piles up, and few, so that no commit pays for a quiet hour.
const EXPIRED_PER_INSERT: usize = 4;
/// Tables that grow apart from each other: one that doubles rehashes a 64th of the ids, and not all of them in the middle of some commit.
const SHARDS: usize = 64;

/// Stands for (topic, id). 128 bits under a random key: that two ids meet by chance, or by a publisher's intent, is not to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64, u64);

/// Makes keys; its secret lives as long as the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keying(RandomState, RandomState);

impl Keying {
    pub fn key(&self, topic: &str, id: &str) -> Key {
        let half = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(topic.as_bytes());
            // A byte that neither may contain.
            hasher.write_u8(0);
            hasher.write(id.as_bytes());
            hasher.finish()
        };
        Key(half(&self.0), half(&self.1))
    }
}

/// Where an id was stored first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FirstSeen {
    pub offset: u64,
    pub ts_ms: u64,
}

/// The ids of the window. 32 bytes each in the table and 24 in the order.
#[derive(Debug)]
pub(crate) struct Dedup {
    seen: Box<[HashTable<(Key, FirstSeen)>]>,
    /// Every sighting in its order, with its time. An id seen again after the window stands here twice until its first sighting goes.
    order: VecDeque<(Key, u64)>,
    window_ms: u64,
    ids_max: usize,
}

impl Dedup {
    pub fn new(window: Duration, ids_max: usize) -> Self {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        let seen = (0..SHARDS).map(|_| HashTable::new()).collect();
        Self { seen, order: VecDeque::new(), window_ms, ids_max }
    }

    /// The first sighting, if it is inside the window at `now_ms`.
    pub fn find(&self, key: Key, now_ms: u64) -> Option<FirstSeen> {
        let (_, first) = self.seen[shard(key)].find(key.0, |(other, _)| *other == key)?;
        (first.ts_ms.saturating_add(self.window_ms) > now_ms).then_some(*first)
    }

    /// Remembers an id, and forgets what is too old or too much. Times must not decrease from call to call.
    pub fn insert(&mut self, key: Key, first: FirstSeen) {
        self.expire(first.ts_ms, EXPIRED_PER_INSERT);
        if self.ids_max == 0 || self.window_ms == 0 {
            return;
        }
        if self.order.len() >= self.ids_max
            && let Some((oldest, ts_ms)) = self.order.pop_front()
        {
            self.forget(oldest, ts_ms);
        }
        match self.seen[shard(key)].find_mut(key.0, |(other, _)| *other == key) {
            Some(slot) => slot.1 = first,
            None => {
                self.seen[shard(key)].insert_unique(key.0, (key, first), |(key, _)| key.0);
            }
        }
        self.order.push_back((key, first.ts_ms));
    }

    /// Forgets at most `count` ids that left the window, and returns how many those were.
    pub fn expire(&mut self, now_ms: u64, count: usize) -> usize {
        let mut expired = 0;
        while expired < count
            && let Some((oldest, ts_ms)) = self.order.front().copied()
            && ts_ms.saturating_add(self.window_ms) <= now_ms
        {
            self.order.pop_front();
            self.forget(oldest, ts_ms);
            expired += 1;
        }
        expired
    }

    /// Forgets an id unless it was seen again since `ts_ms`.
    fn forget(&mut self, key: Key, ts_ms: u64) {
        if let Ok(entry) = self.seen[shard(key)].find_entry(key.0, |(other, first)| *other == key && first.ts_ms == ts_ms) {
            entry.remove();
        }
    }
}

/// The tables place by the key's first half, so the second chooses among them.
fn shard(key: Key) -> usize {
    key.1 as usize % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_remembered_for_the_window_and_the_oldest_go_first() {
        let keying = Keying::default();
        let mut dedup = Dedup::new(Duration::from_millis(100), 3);
        let key = |n: u64| keying.key("t", &n.to_string());
        for n in 0..4 {
            dedup.insert(key(n), FirstSeen { offset: n + 1, ts_ms: n });
        }
        assert_eq!(dedup.find(key(0), 4), None, "one too many: the oldest is forgotten");
        assert_eq!(dedup.find(key(1), 4), Some(FirstSeen { offset: 2, ts_ms: 1 }));
        assert_eq!(dedup.find(key(1), 101), None, "out of the window");
        assert_ne!(keying.key("a", "bc"), keying.key("ab", "c"));
        assert_eq!((dedup.expire(1_000, 2), dedup.expire(1_000, 2)), (2, 1));
        assert!(dedup.seen.iter().all(HashTable::is_empty) && dedup.order.is_empty());
    }

    #[test]
    fn an_id_seen_again_after_the_window_is_remembered_anew_and_holds_nobody_up() {
        let keying = Keying::default();
        let mut dedup = Dedup::new(Duration::from_millis(100), 100);
        let key = |n: u64| keying.key("t", &n.to_string());
        for n in 0..20 {
            dedup.insert(key(n), FirstSeen { offset: n + 1, ts_ms: 0 });
        }
        // The last of them comes again while the others are not all forgotten yet.
        let again = FirstSeen { offset: 99, ts_ms: 150 };
        dedup.insert(key(19), again);
        assert_eq!((dedup.find(key(19), 160), dedup.order.len()), (Some(again), 17));
        assert_eq!((dedup.expire(160, 100), dedup.find(key(19), 160), dedup.order.len()), (16, Some(again), 1));
        assert_eq!((dedup.expire(250, 100), dedup.find(key(19), 250), dedup.order.len()), (1, None, 0));
        assert!(dedup.seen.iter().all(HashTable::is_empty));
    }
}
