//! The engine's figures.

use std::sync::atomic::{AtomicU64, Ordering};

use towline_log::LogStats;

/// Counters that threads add to; each is read on its own, so a snapshot may be torn between them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub appended: AtomicU64,
    pub duplicates: AtomicU64,
    pub refused: AtomicU64,
    pub commits: AtomicU64,
    pub syncs: AtomicU64,
    pub sync_micros: AtomicU64,
    pub trimmed: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

impl Counters {
    /// The counters; what the index knows is left at zero.
    pub fn snapshot(&self) -> LogStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        LogStats {
            appended_total: read(&self.appended),
            duplicates_total: read(&self.duplicates),
            refused_total: read(&self.refused),
            commits_total: read(&self.commits),
            syncs_total: read(&self.syncs),
            sync_micros_total: read(&self.sync_micros),
            trimmed_total: read(&self.trimmed),
            ..LogStats::default()
        }
    }
}
