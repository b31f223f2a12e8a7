//! What a topic's events are promised: how durable, and for how long.

use std::time::Duration;

use towline_protocol::TopicPattern;

/// What holds before an append is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// On the device: survives a power failure. Many appends share one sync.
    #[default]
    Fsync,
    /// With the operating system: survives a kill of the process; synced within the policies' `relaxed_sync_interval`.
    Relaxed,
    /// In memory only: gone with the process, and then the epoch changes.
    Memory,
}

/// How much of a topic is kept. Whatever limit is reached first trims the oldest events; `None` sets no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events older than this go.
    pub age_max: Option<Duration>,
    /// More events than this and the oldest go.
    pub events_max: Option<u64>,
    /// More bytes of event bodies than this and the oldest go.
    pub bytes_max: Option<u64>,
}

impl Default for Retention {
    /// Seven days, a million events, 1 GiB per topic: enough for a long week-end, bounded for a topic that runs away.
    fn default() -> Self {
        Self { age_max: Some(Duration::from_secs(7 * 24 * 3600)), events_max: Some(1_000_000), bytes_max: Some(1 << 30) }
    }
}

/// Durability and retention of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicPolicy {
    /// What holds before an append is acknowledged.
    pub durability: Durability,
    /// How much is kept.
    pub retention: Retention,
}

/// The policies of all topics, and what holds for the log as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// The first pattern that matches a topic decides.
    pub rules: Vec<(TopicPattern, TopicPolicy)>,
    /// For topics that no rule matches.
    pub fallback: TopicPolicy,
    /// How long an id is remembered for dedup.
    pub dedup_window: Duration,
    /// How many ids are remembered at most, over all topics: about 80 bytes each. The oldest are forgotten first.
    pub dedup_ids_max: usize,
    /// The longest time that a relaxed append may wait for its sync.
    pub relaxed_sync_interval: Duration,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            fallback: TopicPolicy::default(),
            dedup_window: Duration::from_secs(10 * 60),
            dedup_ids_max: 1_000_000,
            relaxed_sync_interval: Duration::from_millis(200),
        }
    }
}

impl Policies {
    /// The policy of a topic.
    #[must_use]
    pub fn of(&self, topic: &str) -> TopicPolicy {
        self.rules.iter().find(|(pattern, _)| pattern.matches(topic)).map_or(self.fallback, |(_, policy)| *policy)
    }
}
