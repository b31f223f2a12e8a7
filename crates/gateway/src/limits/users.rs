//! The open connections of each user, over all doors and reactor threads: who has one too many loses the oldest.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use towline_sockets::ConnectionId;

/// Reactor threads come here when a connection opens or ends, and should seldom wait for each other.
const SHARDS: usize = 16;

/// A connection among those of all reactor threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserConnection {
    /// The thread's number.
    pub gate: u16,
    /// Which of its connections.
    pub id: ConnectionId,
}

/// Who is connected how often. Holds what is open and nothing else, so it is bounded by `sockets.connections_max`; 32 bytes for each.
#[derive(Debug)]
pub struct UserConnections<C> {
    shards: Vec<Mutex<Shard<C>>>,
    /// Users are known by a hash: two of a million share one with a probability of one in forty million, and would share their
    /// limit then. Nobody can choose a name to that end, because the hash has a secret key.
    keys: RandomState,
    /// Numbers the connections in the order in which they came.
    next: AtomicU64,
    connections_max: usize,
}

/// By user and age, so that a user's connections stand together, the oldest first.
type Shard<C> = BTreeMap<(u64, u64), C>;

/// What became of a user's connections with one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened<C> {
    /// The oldest, which is to be closed and counts no more.
    pub superseded: Option<C>,
    /// How many the user has now.
    pub connections: usize,
}

impl<C: Copy + PartialEq> UserConnections<C> {
    /// Nobody is connected.
    #[must_use]
    pub fn new(connections_max: u32) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            keys: RandomState::new(),
            next: AtomicU64::new(0),
            connections_max: connections_max as usize,
        }
    }

    /// Counts a connection in. Call [`UserConnections::close`] once when it has ended, superseded or not.
    pub fn open(&self, user: &str, connection: C) -> Opened<C> {
        let (key, shard) = self.of(user);
        let mut shard = shard.lock();
        shard.insert((key, self.next.fetch_add(1, Ordering::Relaxed)), connection);
        let mut connections = shard.range((key, 0)..=(key, u64::MAX)).count();
        let mut superseded = None;
        if connections > self.connections_max
            && let Some(oldest) = shard.range((key, 0)..=(key, u64::MAX)).next().map(|(place, _)| *place)
        {
            superseded = shard.remove(&oldest);
            connections -= 1;
        }
        Opened { superseded, connections }
    }

    /// Whether one more connection would cost the oldest.
    #[must_use]
    pub fn is_full(&self, user: &str) -> bool {
        let (key, shard) = self.of(user);
        shard.lock().range((key, 0)..=(key, u64::MAX)).count() >= self.connections_max
    }

    /// Counts a connection out, if it is still counted.
    pub fn close(&self, user: &str, connection: C) {
        let (key, shard) = self.of(user);
        let mut shard = shard.lock();
        let place = shard.range((key, 0)..=(key, u64::MAX)).find(|(_, open)| **open == connection).map(|(place, _)| *place);
        if let Some(place) = place {
            shard.remove(&place);
        }
    }

    /// How many connections are counted, of all users.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn of(&self, user: &str) -> (u64, &Mutex<Shard<C>>) {
        let key = self.keys.hash_one(user);
        // The upper bits, because the lower ones order the shard's tree.
        (key, &self.shards[(key >> 60) as usize % SHARDS])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, VecDeque};

    use super::*;

    // proves: C6
    #[test]
    fn one_too_many_costs_the_oldest() {
        let users = UserConnections::new(2);
        assert_eq!(users.open("alice", 1), Opened { superseded: None, connections: 1 });
        assert_eq!(users.open("alice", 2), Opened { superseded: None, connections: 2 });
        assert!(users.is_full("alice") && !users.is_full("bob"));
        assert_eq!(users.open("bob", 3), Opened { superseded: None, connections: 1 });
        assert_eq!(users.open("alice", 4), Opened { superseded: Some(1), connections: 2 });
        users.close("alice", 1);
        assert_eq!(users.connections(), 3, "who was superseded counts no more when it ends");
        users.close("alice", 4);
        assert_eq!(users.open("alice", 5), Opened { superseded: None, connections: 2 });
        assert_eq!(users.open("alice", 6), Opened { superseded: Some(2), connections: 2 });
        for (user, connection) in [("alice", 5), ("alice", 6), ("bob", 3), ("bob", 3), ("nobody", 9)] {
            users.close(user, connection);
        }
        assert_eq!(users.connections(), 0);
    }

    // proves: C6
    #[test]
    fn whatever_order_connections_come_and_go_in_the_count_is_that_of_what_is_open() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let users = UserConnections::new(3);
        let mut open: HashMap<usize, VecDeque<u32>> = HashMap::new();
        for connection in 0..20_000 {
            let user = random.usize(..50);
            let mine = open.entry(user).or_default();
            let name = format!("user-{user}");
            if random.bool() || mine.is_empty() {
                mine.push_back(connection);
                let expected = (mine.len() > 3).then(|| mine.pop_front()).flatten();
                assert_eq!(users.open(&name, connection), Opened { superseded: expected, connections: mine.len() });
            } else {
                let gone = mine.remove(random.usize(..mine.len())).unwrap();
                users.close(&name, gone);
            }
        }
        assert_eq!(users.connections(), open.values().map(VecDeque::len).sum::<usize>());
        for (user, connections) in open {
            connections.into_iter().for_each(|connection| users.close(&format!("user-{user}"), connection));
        }
        assert_eq!(users.connections(), 0);
    }
}
