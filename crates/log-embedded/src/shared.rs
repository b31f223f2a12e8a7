//! What the engine's threads share.
//!
//! Locks: `upkeep` may be held while `index` or `dedup` is taken; no other two are ever held together, and none over an `.await`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::Semaphore;
use towline_clock::Clock;

use crate::append_queue::AppendQueue;
use crate::checkpoint::Checkpoint;
use crate::counters::Counters;
use crate::dedup::{Dedup, Keying};
use crate::files::Files;
use crate::index::Index;
use crate::options::Options;
use crate::segment_cache::SegmentCache;

/// Topics that are looked at while the index is locked once.
pub(crate) const TOPICS_PER_LOCK: usize = 1024;

/// What stays the same in all checkpoints of one opening.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub log_id: u64,
    pub last_epoch: u64,
    pub boot_id: String,
}

/// State of the upkeep.
#[derive(Debug, Default)]
pub(crate) struct UpkeepState {
    /// How many events had been trimmed when the last checkpoint was written.
    pub checkpoint_trimmed: u64,
    /// When the last checkpoint was written, by the clock's uptime.
    pub checkpoint_at: std::time::Duration,
    /// Set to end the upkeep thread.
    pub stop: bool,
}

/// See the module.
pub(crate) struct Shared {
    pub options: Options,
    pub files: Arc<dyn Files>,
    pub clock: Clock,
    pub identity: Identity,
    pub queue: AppendQueue,
    pub index: Mutex<Index>,
    pub dedup: Mutex<Dedup>,
    pub keying: Keying,
    pub counters: Counters,
    pub segments: SegmentCache,
    pub reads: Arc<Semaphore>,
    /// Reads from an id may look at a whole topic; they never take all of `reads`.
    pub searches: Arc<Semaphore>,
    /// The newest time given to an event: times never decrease in the whole log.
    pub last_ts_ms: AtomicU64,
    /// The last write found the disk full.
    pub full: AtomicBool,
    pub upkeep: Mutex<UpkeepState>,
    pub upkeep_wake: Condvar,
}

impl Shared {
    /// Writes a checkpoint of what is committed now. Whoever calls holds the upkeep lock, so that there is one at a time.
    /// `without` are segments about to be removed.
    pub fn checkpoint(&self, _upkeep: &mut UpkeepState, without: &[u32], clean: bool) -> io::Result<()> {
        let mut checkpoint = Checkpoint {
            log_id: self.identity.log_id,
            last_epoch: self.identity.last_epoch,
            last_ts_ms: self.last_ts_ms.load(Ordering::SeqCst),
            relaxed_in_use: self.options.relaxed_in_use(),
            clean,
            boot_id: self.identity.boot_id.clone(),
            ..Checkpoint::default()
        };
        let mut id = 0;
        loop {
            // Not one instant for all topics, and it need not be: floors and heads only grow, and what a later one adds is also in
            // the segments.
            let index = self.index.lock();
            let end = (id + TOPICS_PER_LOCK).min(index.ids_end());
            checkpoint.topics.extend((id..end).filter_map(|id| index.get(id)?.state()));
            id = end;
            if id >= index.ids_end() {
                checkpoint.base_epoch = index.base_epoch;
                let active = index.segments.keys().next_back().copied();
                for (seq, segment) in index.segments.iter().filter(|(seq, _)| !without.contains(seq)) {
                    let growing = Some(*seq) == active && !clean;
                    checkpoint.segments.push((*seq, if growing { 0 } else { segment.end }));
                }
                break;
            }
        }
        checkpoint.store(&*self.files)
    }
}
