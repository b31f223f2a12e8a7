//! Retention by age, removal of segments with nothing alive in them, and checkpoints: everything that may take its time, on its own thread.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::counters::add;
use crate::index::Index;
use crate::segment;
use crate::shared::{Shared, TOPICS_PER_LOCK};
use crate::span_reader::{SpanReader, Stretch, WalkError, plan_ahead};
use crate::topic_index::{LOST, STRETCH_BYTES, TopicIndex};

/// Floors that moved are written down at least this often, even where no segment is freed.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);

/// Ids that are forgotten while the dedup is locked once.
const IDS_PER_LOCK: usize = 1024;
/// Runs that are trimmed while the index is locked once.
const RUNS_PER_LOCK: usize = 4096;

/// What a look at a topic's oldest runs leaves to do.
enum Left {
    Nothing,
    /// There were too many for one hold of the lock.
    More,
    /// The next run is partly too old, as far as can be told without reading it.
    Reading,
}

/// Runs until told to stop.
pub(crate) fn run(shared: &Shared) {
    loop {
        {
            let mut upkeep = shared.upkeep.lock();
            if !upkeep.stop {
                shared.upkeep_wake.wait_for(&mut upkeep, shared.options.upkeep_interval);
            }
            if upkeep.stop {
                return;
            }
        }
        if let Err(error) = once(shared) {
            tracing::warn!(%error, "the log's upkeep failed and will be tried again; no segment was removed");
        }
    }
}

/// One round: trims by age, then removes what is dead.
pub(crate) fn once(shared: &Shared) -> io::Result<()> {
    let mut upkeep = shared.upkeep.lock();
    if upkeep.stop {
        return Ok(());
    }
    trim_by_age(shared);
    let now_ms = shared.clock.unix_ms();
    while shared.dedup.lock().expire(now_ms, IDS_PER_LOCK) == IDS_PER_LOCK {}
    let dead: Vec<u32> = {
        let index = shared.index.lock();
        let active = index.segments.keys().next_back().copied();
        index.segments.iter().filter(|(seq, state)| state.live == 0 && Some(**seq) != active).map(|(seq, _)| *seq).collect()
    };
    let trimmed = shared.counters.trimmed.load(Ordering::Relaxed);
    let waited = shared.clock.uptime().saturating_sub(upkeep.checkpoint_at);
    if dead.is_empty() && (trimmed == upkeep.checkpoint_trimmed || waited < CHECKPOINT_INTERVAL) {
        return Ok(());
    }
    // The floors must be on the device before the records that they speak of go.
    shared.checkpoint(&mut upkeep, &dead, false)?;
    upkeep.checkpoint_at = shared.clock.uptime();
    upkeep.checkpoint_trimmed = trimmed;
    for seq in dead {
        shared.index.lock().segments.remove(&seq);
        shared.segments.forget(seq);
        shared.files.remove(&segment::file_name(seq))?;
        tracing::debug!(segment = seq, "removed a segment without live records");
    }
    Ok(())
}

fn trim_by_age(shared: &Shared) {
    let now_ms = shared.clock.unix_ms();
    let mut id = 0;
    loop {
        let mut unfinished = Vec::new();
        let done = {
            let mut index = shared.index.lock();
            let end = (id + TOPICS_PER_LOCK).min(index.ids_end());
            for id in id..end {
                let Some(cutoff_ms) = cutoff(&index, id, now_ms) else { continue };
                let (trimmed, left) = trim_surely(&mut index, id, cutoff_ms);
                add(&shared.counters.trimmed, trimmed);
                if !matches!(left, Left::Nothing) {
                    unfinished.push((id, cutoff_ms, left));
                }
            }
            id = end;
            id >= index.ids_end()
        };
        for (id, cutoff_ms, mut left) in unfinished {
            while matches!(left, Left::More) {
                let trimmed;
                (trimmed, left) = trim_surely(&mut shared.index.lock(), id, cutoff_ms);
                add(&shared.counters.trimmed, trimmed);
            }
            if matches!(left, Left::Reading) {
                add(&shared.counters.trimmed, trim_by_reading(shared, id, cutoff_ms));
            }
        }
        if done {
            return;
        }
    }
}

/// Events before this time are too old.
fn cutoff(index: &Index, id: usize, now_ms: u64) -> Option<u64> {
    let topic = index.get(id)?;
    if topic.floor == topic.head {
        return None;
    }
    let age_max = index.policy(topic.rule).retention.age_max?;
    now_ms.checked_sub(u64::try_from(age_max.as_millis()).unwrap_or(u64::MAX))
}

/// Trims what is too old by the segments' notes of time, and says how many events went and what is left to do.
fn trim_surely(index: &mut Index, id: usize, cutoff_ms: u64) -> (u64, Left) {
    let Some(topic) = index.get(id) else { return (0, Left::Nothing) };
    let mut floor = topic.floor;
    let mut left = Left::Nothing;
    if let Some(records) = &topic.memory {
        let old = records.partition_point(|record| record.ts_ms() < cutoff_ms);
        floor = old.checked_sub(1).and_then(|last| records.get(last)).map_or(floor, |record| record.offset());
        return (index.trim(id, floor), left);
    }
    for at in 0..topic.runs() {
        let span = topic.span(at);
        if span.segment == LOST {
            continue;
        }
        let Some(segment) = index.segments.get(&span.segment) else { break };
        if at >= RUNS_PER_LOCK && floor > topic.floor {
            left = Left::More;
            break;
        }
        if segment.newest_until(span.position.saturating_add(STRETCH_BYTES)) < cutoff_ms {
            floor = span.next - 1;
            continue;
        }
        if segment.oldest_from(span.position) < cutoff_ms {
            left = Left::Reading;
        }
        break;
    }
    (index.trim(id, floor), left)
}

/// Reads the oldest stretch to see which of its events are too old.
fn trim_by_reading(shared: &Shared, id: usize, cutoff_ms: u64) -> u64 {
    let mut trimmed = 0;
    loop {
        let front = {
            let index = shared.index.lock();
            index.get(id).and_then(|topic| Some((topic.name.clone(), oldest_stretch(&index, topic)?)))
        };
        let Some((name, stretch)) = front else { return trimmed };
        let mut stretch = [stretch];
        plan_ahead(&mut stretch, &name);
        let mut floor = None;
        let walked = SpanReader::new(shared, &name).walk(&stretch[0], |record| {
            if record.ts_ms() >= cutoff_ms {
                return ControlFlow::Break(());
            }
            floor = Some(record.offset());
            ControlFlow::Continue(())
        });
        // Only this thread removes segments, so "removed" does not happen; damage was logged, and stays until a restart repairs it.
        if let Err(WalkError::Read(_) | WalkError::Removed) = walked {
            return trimmed;
        }
        let mut index = shared.index.lock();
        let same = index.get(id).is_some_and(|topic| topic.name == name);
        let Some(floor) = floor.filter(|_| same) else { return trimmed };
        trimmed += index.trim(id, floor);
        if floor + 1 < stretch[0].span.next {
            return trimmed;
        }
    }
}

fn oldest_stretch(index: &Index, topic: &TopicIndex) -> Option<Stretch> {
    let span = (0..topic.runs()).map(|at| topic.span(at)).find(|span| span.segment != LOST)?;
    let segment_end = index.segments.get(&span.segment)?.end;
    Some(Stretch { span, segment_end, worth_until: 0 })
}
