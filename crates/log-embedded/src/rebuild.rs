//! Rebuilds topics from records in the order in which they lie on disk, and keeps account of what cannot be proven.
//!
//! After damage, a topic is proven unharmed by its next record following its last one, or by a clean checkpoint that names the same
//! head. Every other topic may have lost its end: it begins a new epoch.

use std::sync::Arc;

use hashbrown::HashMap;
use towline_log::{Policies, TopicName};

use crate::checkpoint::{Checkpoint, TopicState};
use crate::dedup::{Dedup, FirstSeen, Keying};
use crate::index::{Index, SegmentState};
use crate::record_codec::Frame;
use crate::recovery_report::RecoveryReport;

/// What is noted of a topic while its records come by.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// How many damaged places had been seen when its latest record came.
    damage_seen: u32,
    /// Events are missing, or came twice.
    broken: bool,
}

/// A record that waits for the rest of its call.
struct Waiting {
    segment: u32,
    position: u32,
    frame_bytes: usize,
    body_bytes: usize,
    epoch: u64,
    offset: u64,
    ts_ms: u64,
    relaxed: bool,
    topic: String,
    id: String,
}

/// The index as it grows.
pub(crate) struct Rebuild {
    pub index: Index,
    pub dedup: Dedup,
    pub last_epoch: u64,
    pub last_ts_ms: u64,
    now_ms: u64,
    dedup_window_ms: u64,
    keying: Keying,
    known: HashMap<String, TopicState>,
    standings: Vec<Standing>,
    damage_seen: u32,
    /// Topics on disk whose policy now keeps them in memory.
    left_disk: bool,
    waiting: Vec<Waiting>,
}

/// What recovery knew before it read the segments.
pub(crate) struct Before<'a> {
    /// None: it is lost, and with it every epoch.
    pub checkpoint: Option<&'a Checkpoint>,
    /// The machine was restarted without a clean close: what was not synced may be gone without a trace.
    pub unsynced_lost: bool,
    /// The epoch for everything that begins anew.
    pub fresh_epoch: u64,
}

impl Rebuild {
    pub fn new(policies: &Arc<Policies>, checkpoint: Option<&Checkpoint>, keying: Keying, now_ms: u64) -> Self {
        let base_epoch = checkpoint.map_or(0, |checkpoint| checkpoint.base_epoch);
        let mut rebuild = Self {
            index: Index::new(policies.clone(), base_epoch, 0),
            dedup: Dedup::new(policies.dedup_window, policies.dedup_ids_max),
            last_epoch: checkpoint.map_or(0, |checkpoint| checkpoint.last_epoch),
            last_ts_ms: checkpoint.map_or(0, |checkpoint| checkpoint.last_ts_ms),
            now_ms,
            dedup_window_ms: u64::try_from(policies.dedup_window.as_millis()).unwrap_or(u64::MAX),
            keying,
            known: HashMap::new(),
            standings: Vec::new(),
            damage_seen: 0,
            left_disk: false,
            waiting: Vec::new(),
        };
        for state in checkpoint.iter().flat_map(|checkpoint| &checkpoint.topics) {
            let Ok(name) = TopicName::new(&state.name) else { continue };
            let Some(id) = rebuild.topic(&name, state.epoch) else { continue };
            if let Some(topic) = rebuild.index.get_mut(id) {
                topic.set_empty_at(state.floor);
                topic.relaxed = state.relaxed;
            }
            rebuild.known.insert(state.name.clone(), state.clone());
        }
        rebuild
    }

    /// The topic's id, or `None` if it now lives in memory.
    fn topic(&mut self, name: &TopicName, epoch: u64) -> Option<usize> {
        if let Some(id) = self.index.find(name.as_str()) {
            return self.index.get(id).is_some_and(|topic| topic.memory.is_none()).then_some(id);
        }
        let id = self.index.find_or_insert(name);
        let topic = self.index.get_mut(id)?;
        if topic.memory.is_some() {
            self.left_disk = true;
            return None;
        }
        topic.epoch = epoch;
        if self.standings.len() <= id {
            self.standings.resize(id + 1, Standing::default());
        }
        // A topic that first shows up behind damage begins at offset 1, or its beginning is missed then.
        self.standings[id].damage_seen = self.damage_seen;
        Some(id)
    }

    pub fn begin_segment(&mut self, seq: u32) {
        self.index.segments.insert(seq, SegmentState::empty());
    }

    pub fn end_segment(&mut self, seq: u32, end: u32) {
        if let Some(segment) = self.index.segments.get_mut(&seq) {
            segment.end = end;
        }
    }

    /// Where the call begins that has not ended yet.
    pub fn unfinished_call(&self) -> Option<u32> {
        self.waiting.first().map(|record| record.position)
    }

    /// The unfinished call is torn off.
    pub fn drop_unfinished_call(&mut self) {
        self.waiting.clear();
    }

    /// Everything behind this point of the log may lack something before it.
    pub fn damage(&mut self, report: &mut RecoveryReport) {
        self.finish_call(report);
        self.damage_seen += 1;
    }

    /// Takes a record; those of one call are taken together.
    pub fn record(&mut self, segment: u32, position: u32, frame: &Frame<'_>, report: &mut RecoveryReport) {
        report.records += 1;
        self.waiting.push(Waiting {
            segment,
            position,
            frame_bytes: frame.frame_bytes,
            body_bytes: frame.body.len(),
            epoch: frame.epoch,
            offset: frame.offset,
            ts_ms: frame.ts_ms,
            relaxed: frame.relaxed,
            topic: frame.topic.to_owned(),
            id: String::from_utf8_lossy(frame.id()).into_owned(),
        });
        if !frame.continues {
            self.finish_call(report);
        }
    }

    fn finish_call(&mut self, report: &mut RecoveryReport) {
        for record in std::mem::take(&mut self.waiting) {
            self.take(&record, report);
        }
    }

    fn take(&mut self, record: &Waiting, report: &mut RecoveryReport) {
        self.last_ts_ms = self.last_ts_ms.max(record.ts_ms);
        self.last_epoch = self.last_epoch.max(record.epoch);
        let Ok(name) = TopicName::new(&record.topic) else { return };
        let Some(id) = self.topic(&name, record.epoch) else { return };
        if record.ts_ms.saturating_add(self.dedup_window_ms) > self.now_ms {
            let key = self.keying.key(name.as_str(), &record.id);
            self.dedup.insert(key, FirstSeen { offset: record.offset, ts_ms: record.ts_ms });
        }
        let standing = &mut self.standings[id];
        let Some(topic) = self.index.get_mut(id) else { return };
        if record.offset <= topic.floor && topic.head == topic.floor {
            standing.damage_seen = self.damage_seen;
            return;
        }
        // The index tells a topic's offsets apart by 32 bits. A jump beyond them was never written, whatever the checksum says.
        let jump = topic.runs() > 0 && record.offset.saturating_sub(topic.floor) > u32::MAX.into();
        if record.offset <= topic.head || jump {
            standing.broken = true;
            return;
        }
        if record.offset > topic.head + 1 {
            let (first, last) = (topic.head + 1, record.offset - 1);
            topic.push_hole(last);
            let told = |state: &TopicState| state.holes.iter().any(|hole| hole.0 <= first && hole.1 >= last);
            if !self.known.get(name.as_str()).is_some_and(told) {
                standing.broken = true;
                report.lose(name.as_str(), first, last);
            }
        }
        standing.damage_seen = self.damage_seen;
        topic.relaxed = record.relaxed;
        topic.push(record.segment, record.position, record.frame_bytes, record.body_bytes);
        if let Some(segment) = self.index.segments.get_mut(&record.segment) {
            segment.live += 1;
            segment.note(record.position, record.ts_ms);
        }
    }

    /// All records have come: decides epochs, and applies the limits of count and bytes.
    pub fn finish(&mut self, before: &Before<'_>, report: &mut RecoveryReport) {
        self.finish_call(report);
        let clean = before.checkpoint.is_some_and(|checkpoint| checkpoint.clean);
        for id in 0..self.index.ids_end() {
            let Some(topic) = self.index.get_mut(id).filter(|topic| topic.memory.is_none()) else { continue };
            let standing = self.standings.get(id).cloned().unwrap_or_default();
            let known_head = self.known.get(topic.name.as_str()).map(|state| state.head);
            let mut proven = !standing.broken
                && before.checkpoint.is_some()
                && (standing.damage_seen == self.damage_seen || (clean && known_head == Some(topic.head)))
                && !(before.unsynced_lost && topic.relaxed);
            if let Some(known_head) = known_head.filter(|known| *known > topic.head) {
                proven = false;
                report.lose(topic.name.as_str(), topic.head + 1, known_head);
                if topic.runs() == 0 {
                    topic.set_empty_at(known_head);
                }
            }
            if !proven {
                topic.epoch = before.fresh_epoch;
                report.epochs_changed += 1;
            }
            self.index.enforce_limits(id);
        }
        // A topic that nothing is left of must not come back under an epoch that clients know.
        let unknown_lost = before.checkpoint.is_none() || before.unsynced_lost || (self.damage_seen > 0 && !clean);
        if unknown_lost || self.left_disk {
            self.index.base_epoch = before.fresh_epoch;
        }
        self.index.memory_epoch = before.fresh_epoch;
        self.last_epoch = self.last_epoch.max(before.fresh_epoch);
        report.topics = self.index.topics() as u64;
    }
}
