//! The embedded log: how durable, how long, how much.

use std::time::Duration;

use crate::config::setting::Setting;
use crate::config::table::{MIB, millis, secs};
use towline_log::{Durability, Retention, TopicPolicy};
use towline_protocol::TopicPattern;

/// The embedded log: how durable, how long, how much.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A segment is closed and a new one begun at this size. Retention drops whole segments.
    pub segment_bytes: u32,
    /// Durability of topics that no entry of `topics` matches.
    pub durability: Durability,
    /// Retention of those topics.
    pub retention: Retention,
    /// The first pattern that matches a topic decides.
    pub topics: Vec<TopicRule>,
    /// How long an event's id is remembered, so that publishing it again stores nothing.
    pub dedup_window: Duration,
    /// How many ids are remembered at most; about 64 bytes each.
    pub dedup_ids_max: usize,
    /// The longest time that an append of a `relaxed` topic may wait for its sync.
    pub relaxed_sync_interval: Duration,
    /// Events that may wait to be written; more are refused as UNAVAILABLE. Also the most that one request may append.
    pub append_queue_events_max: usize,
    /// Bytes that may wait to be written; more are refused as UNAVAILABLE. Also the most that one request may append.
    pub append_queue_bytes_max: usize,
    /// Reads that may use the disk at once; more wait in line.
    pub reads_max: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        let towline_log_embedded::Options {
            policies,
            segment_bytes_max,
            append_queue_events_max,
            append_queue_bytes_max,
            reads_max,
            ..
        } = towline_log_embedded::Options::default();
        Self {
            segment_bytes: segment_bytes_max,
            append_queue_events_max,
            append_queue_bytes_max,
            reads_max,
            durability: Durability::default(),
            retention: Retention::default(),
            topics: Vec::new(),
            dedup_window: policies.dedup_window,
            dedup_ids_max: policies.dedup_ids_max,
            relaxed_sync_interval: policies.relaxed_sync_interval,
        }
    }
}

impl LogSettings {
    /// As the embedded engine takes it.
    #[must_use]
    pub fn options(&self) -> towline_log_embedded::Options {
        towline_log_embedded::Options {
            policies: self.policies(),
            segment_bytes_max: self.segment_bytes,
            append_queue_events_max: self.append_queue_events_max,
            append_queue_bytes_max: self.append_queue_bytes_max,
            reads_max: self.reads_max,
            ..towline_log_embedded::Options::default()
        }
    }

    /// As the log's engines take it.
    #[must_use]
    pub fn policies(&self) -> towline_log::Policies {
        let given = self.topics.iter().map(|rule| (rule.pattern.clone(), rule.policy));
        towline_log::Policies {
            rules: own_topics().chain(given).chain(dead_letters()).collect(),
            fallback: TopicPolicy { durability: self.durability, retention: self.retention },
            dedup_window: self.dedup_window,
            dedup_ids_max: self.dedup_ids_max,
            relaxed_sync_interval: self.relaxed_sync_interval,
        }
    }
}

/// What nobody may configure away: state of the server that must be there after a restart, however old it is.
fn own_topics() -> impl Iterator<Item = (TopicPattern, TopicPolicy)> {
    let everything = Retention { age_max: None, events_max: None, bytes_max: None };
    // The webhook's progress is upserts, of which only the newest counts.
    let upserts = Retention { events_max: Some(1_000), ..everything };
    let kept = [(crate::revocations::TOPIC, everything), ("towline:webhook", upserts)];
    kept.into_iter().filter_map(|(name, retention)| {
        Some((TopicPattern::new(name).ok()?, TopicPolicy { durability: Durability::Fsync, retention }))
    })
}

/// What dead letters have unless the configured rules say something else: a month, so that nobody has to redrive them over a week-end.
fn dead_letters() -> Option<(TopicPattern, TopicPolicy)> {
    let events_max = Some(2 * crate::webhook::LETTERS_MAX as u64);
    let retention = Retention { age_max: Some(Duration::from_secs(30 * 24 * 3600)), events_max, bytes_max: None };
    Some((TopicPattern::new("dead-letter:*").ok()?, TopicPolicy { durability: Durability::Fsync, retention }))
}

/// Durability and retention of the topics that a pattern matches: an entry of `[[log.topics]]`.
#[derive(Debug, Clone)]
pub struct TopicRule {
    /// Which topics.
    pub pattern: TopicPattern,
    /// What holds for them.
    pub policy: TopicPolicy,
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged(
            "log.segment_bytes",
            (64 << 10, 1 << 30),
            |c| &mut c.log.segment_bytes,
            "size at which a segment is closed; retention drops whole segments",
        ),
        Setting::new("log.durability", |c| &mut c.log.durability, "what holds before an event is acknowledged"),
        Setting::new("log.retention_age", |c| &mut c.log.retention.age_max, "events older than this go; none: no limit"),
        Setting::new("log.retention_events", |c| &mut c.log.retention.events_max, "events kept per topic; none: no limit"),
        Setting::new("log.retention_bytes", |c| &mut c.log.retention.bytes_max, "bytes kept per topic; none: no limit"),
        Setting::ranged("log.dedup_window", secs(0, 86_400), |c| &mut c.log.dedup_window, "how long event ids are remembered"),
        Setting::ranged(
            "log.dedup_ids_max",
            (0, 100_000_000),
            |c| &mut c.log.dedup_ids_max,
            "how many event ids are remembered; about 64 bytes each",
        ),
        Setting::ranged(
            "log.relaxed_sync_interval",
            millis(1, 60_000),
            |c| &mut c.log.relaxed_sync_interval,
            "longest wait of a relaxed append for its sync",
        ),
        Setting::ranged(
            "log.append_queue_events_max",
            (1_000, 10_000_000),
            |c| &mut c.log.append_queue_events_max,
            "events that may wait to be written",
        ),
        Setting::ranged(
            "log.append_queue_bytes_max",
            (MIB, 1 << 30),
            |c| &mut c.log.append_queue_bytes_max,
            "bytes that may wait to be written",
        ),
        Setting::ranged("log.reads_max", (1, 512), |c| &mut c.log.reads_max, "reads that may use the disk at once"),
    ]
}
