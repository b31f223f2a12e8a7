//! What an operator may set.

use std::time::Duration;

use towline_log::Policies;

/// Settings of the engine. The defaults suit a server with a few gigabytes of memory.
#[derive(Debug, Clone)]
pub struct Options {
    /// Durability, retention and dedup.
    pub policies: Policies,
    /// A segment is sealed once it has this many bytes. Retention frees space by whole segments, so a smaller one frees sooner and
    /// costs more files. 64 MiB by default; 4 KiB to 1 GiB are taken.
    pub segment_bytes_max: u32,
    /// Events that may wait to be written; more are refused as busy. Also the most that one call may append.
    pub append_queue_events_max: usize,
    /// Bytes that may wait to be written; more are refused as busy. Also the most that one call may append.
    pub append_queue_bytes_max: usize,
    /// The most that one group commit writes, unless a single call is larger. It bounds how long the first in line waits.
    pub batch_bytes_max: usize,
    /// How many reads may use the disk at once; more wait in line.
    pub reads_max: usize,
    /// How often age is looked at, and how often freed segments are removed.
    pub upkeep_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policies: Policies::default(),
            segment_bytes_max: 64 * 1024 * 1024,
            append_queue_events_max: 65_536,
            append_queue_bytes_max: 64 * 1024 * 1024,
            batch_bytes_max: 4 * 1024 * 1024,
            reads_max: 16,
            upkeep_interval: Duration::from_secs(2),
        }
    }
}

/// A position in a segment has 32 bits: the largest segment, and one largest call behind its limit, stay far below that.
const SEGMENT_BYTES_MAX: u32 = 1 << 30;
const CALL_BYTES_MAX: usize = 1 << 30;

impl Options {
    /// The same with every value brought into the range that the engine takes.
    pub(crate) fn bounded(mut self) -> Self {
        self.segment_bytes_max = self.segment_bytes_max.clamp(4096, SEGMENT_BYTES_MAX);
        self.append_queue_events_max = self.append_queue_events_max.max(1);
        self.append_queue_bytes_max = self.append_queue_bytes_max.clamp(4096, CALL_BYTES_MAX);
        self.batch_bytes_max = self.batch_bytes_max.clamp(1, CALL_BYTES_MAX);
        self.reads_max = self.reads_max.clamp(1, 512);
        self.upkeep_interval = self.upkeep_interval.max(Duration::from_millis(10));
        self
    }

    pub(crate) fn relaxed_in_use(&self) -> bool {
        use towline_log::Durability::Relaxed;
        let policies = &self.policies;
        policies.fallback.durability == Relaxed || policies.rules.iter().any(|(_, policy)| policy.durability == Relaxed)
    }
}
