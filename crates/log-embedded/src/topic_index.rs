//! What is kept in memory about one topic: its epoch and bounds, and where its records lie.
//!
//! Records are not indexed one by one. A *run* is a stretch of at most [`STRETCH_BYTES`] of a segment that holds consecutive
//! records of the topic, perhaps with other topics' records between; whoever reads walks the stretch. So the index costs 16 bytes
//! for each 32 KiB of a busy topic, and 16 bytes per record of a quiet one.

use std::collections::VecDeque;
use std::sync::Arc;

use towline_log::{Follower, Position, Record, TopicName};
use towline_protocol::Epoch;

use crate::checkpoint::TopicState;

/// How far a run reaches. Larger saves memory, smaller saves reading past other topics' records.
pub(crate) const STRETCH_BYTES: u32 = 32 * 1024;
/// A run's "segment" where its events were lost to damage. Segments are numbered from 1.
pub(crate) const LOST: u32 = 0;
/// More events than this are never retained in one topic: runs keep only the low half of an offset.
pub(crate) const EVENTS_RETAINED_MAX: u64 = u32::MAX as u64 - (1 << 20);

/// 16 bytes, because there may be one per event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Low half of the first record's offset.
    first_low: u32,
    segment: u32,
    /// Where the first record begins.
    position: u32,
    /// Bytes of the bodies of the run's records that are still retained.
    bytes: u32,
}

/// A run as readers use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Offset of the first record (it may already be trimmed).
    pub first: u64,
    /// One past the last record's offset.
    pub next: u64,
    pub segment: u32,
    pub position: u32,
    pub bytes: u32,
}

impl Span {
    pub fn count(&self) -> u64 {
        self.next - self.first
    }
}

/// What trimming took from a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub segment: u32,
    pub events: u64,
}

/// One topic. About 120 bytes, and its name.
pub(crate) struct TopicIndex {
    pub name: TopicName,
    pub epoch: u64,
    /// Records up to and including this offset are gone.
    pub floor: u64,
    pub head: u64,
    /// Bytes of all retained bodies.
    pub bytes: u64,
    runs: VecDeque<Run>,
    pub follower: Option<Arc<dyn Follower>>,
    /// The records themselves, for topics that live in memory only.
    #[allow(clippy::box_collection, reason = "24 bytes less in each of the many topics that do not live in memory")]
    pub memory: Option<Box<VecDeque<Record>>>,
    /// Which policy it has; see [`crate::index::Index::policy`].
    pub rule: u16,
    /// Its last record was acknowledged before it was synced.
    pub relaxed: bool,
    /// The writer has placed events that are not committed yet: the entry must stay.
    pub pinned: bool,
    holed: bool,
}

impl TopicIndex {
    pub fn new(name: TopicName, epoch: u64, rule: u16, in_memory: bool) -> Self {
        Self {
            name,
            epoch,
            floor: 0,
            head: 0,
            bytes: 0,
            runs: VecDeque::new(),
            follower: None,
            memory: in_memory.then(Box::default),
            rule,
            relaxed: false,
            pinned: false,
            holed: false,
        }
    }

    pub fn head_position(&self) -> Position {
        Position { epoch: Epoch(self.epoch), offset: self.head }
    }

    /// Whether forgetting the entry loses nothing.
    pub fn is_blank(&self, base_epoch: u64) -> bool {
        self.head == 0 && self.epoch == base_epoch && self.follower.is_none() && !self.pinned
    }

    /// What a checkpoint says of the topic, if it says anything.
    pub fn state(&self) -> Option<TopicState> {
        (self.head > 0 && self.memory.is_none()).then(|| TopicState {
            name: self.name.as_str().to_owned(),
            epoch: self.epoch,
            floor: self.floor,
            head: self.head,
            relaxed: self.relaxed,
            holes: self.holes().collect(),
        })
    }

    /// How many records are retained.
    pub fn events(&self) -> u64 {
        let lost: u64 = self.holes().map(|(first, last)| last - first.max(self.floor + 1) + 1).sum();
        self.head - self.floor - lost
    }

    /// First and last offset of what was lost to damage and not trimmed since.
    pub fn holes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let count = if self.holed { self.runs.len() } else { 0 };
        (0..count).map(|at| self.span(at)).filter(|span| span.segment == LOST).map(|span| (span.first, span.next - 1))
    }

    /// Takes the next record, which lies at `position` of `segment`. `frame_bytes` is its size there.
    pub fn push(&mut self, segment: u32, position: u32, frame_bytes: usize, body_bytes: usize) {
        self.head += 1;
        // Records are bounded far below 4 GiB.
        let body = body_bytes as u32;
        self.bytes += u64::from(body);
        if let Some(last) = self.runs.back_mut()
            && last.segment == segment
            && position as usize + frame_bytes - last.position as usize <= STRETCH_BYTES as usize
        {
            last.bytes += body;
            return;
        }
        self.runs.push_back(Run { first_low: self.head as u32, segment, position, bytes: body });
    }

    /// Takes a record of a topic that lives in memory.
    pub fn push_memory(&mut self, record: Record) {
        self.head = record.offset();
        self.bytes += record.body().len() as u64;
        if let Some(records) = &mut self.memory {
            records.push_back(record);
        }
    }

    /// Notes that the events up to `last` are lost.
    pub fn push_hole(&mut self, last: u64) {
        let first = self.head + 1;
        self.head = last;
        if self.runs.is_empty() {
            self.floor = last;
            return;
        }
        self.runs.push_back(Run { first_low: first as u32, segment: LOST, position: 0, bytes: 0 });
        self.holed = true;
    }

    /// Sets the bounds of a topic whose records are all gone.
    pub fn set_empty_at(&mut self, head: u64) {
        self.runs.clear();
        self.bytes = 0;
        self.floor = head;
        self.head = head;
    }

    fn full(&self, low: u32) -> u64 {
        self.head - u64::from((self.head as u32).wrapping_sub(low))
    }

    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    pub fn span(&self, at: usize) -> Span {
        let run = self.runs[at];
        let next = self.runs.get(at + 1).map_or(self.head + 1, |next| self.full(next.first_low));
        Span { first: self.full(run.first_low), next, segment: run.segment, position: run.position, bytes: run.bytes }
    }

    /// Which run holds a retained offset.
    pub fn run_of(&self, offset: u64) -> Option<usize> {
        if offset <= self.floor || offset > self.head {
            return None;
        }
        self.runs.partition_point(|run| self.full(run.first_low) <= offset).checked_sub(1)
    }

    /// Advances the floor to `floor` and tells `cut` what was taken from which segment. Returns how many records went.
    pub fn trim_to(&mut self, floor: u64, mut cut: impl FnMut(Cut)) -> u64 {
        let floor = floor.min(self.head);
        let mut trimmed = 0;
        if let Some(records) = &mut self.memory {
            while records.front().is_some_and(|record| record.offset() <= floor) {
                if let Some(record) = records.pop_front() {
                    self.bytes -= record.body().len() as u64;
                    trimmed += 1;
                }
            }
            self.floor = self.floor.max(floor);
            return trimmed;
        }
        while self.floor < floor {
            let Some(front) = (!self.runs.is_empty()).then(|| self.span(0)) else {
                self.floor = floor;
                break;
            };
            let left = front.next - 1 - self.floor;
            let taken = left.min(floor - self.floor);
            self.floor += taken;
            // A run's bytes go in proportion where only a part of it goes: exact again once it is gone.
            let bytes = if taken == left { front.bytes } else { (u64::from(front.bytes) * taken / left) as u32 };
            self.bytes -= u64::from(bytes);
            if taken == left {
                self.runs.pop_front();
            } else if let Some(run) = self.runs.front_mut() {
                run.bytes -= bytes;
            }
            if front.segment != LOST {
                trimmed += taken;
                cut(Cut { segment: front.segment, events: taken });
            }
        }
        if self.runs.is_empty() {
            // What grew by bursts must not stay reserved in a quiet topic.
            self.runs = VecDeque::new();
            self.holed = false;
        }
        trimmed
    }

    /// The floor that a limit on bytes asks for.
    pub fn floor_for_bytes(&self, bytes_max: u64) -> u64 {
        let mut over = self.bytes.saturating_sub(bytes_max);
        if over == 0 {
            return self.floor;
        }
        if let Some(records) = &self.memory {
            for record in records.iter() {
                if over == 0 {
                    return record.offset() - 1;
                }
                over = over.saturating_sub(record.body().len() as u64);
            }
            return self.head;
        }
        let mut floor = self.floor;
        for at in 0..self.runs.len() {
            let span = self.span(at);
            let left = span.next - 1 - floor;
            if u64::from(span.bytes) > over {
                return floor + (left * over).div_ceil(u64::from(span.bytes)).min(left);
            }
            over -= u64::from(span.bytes);
            floor += left;
            if over == 0 {
                break;
            }
        }
        floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> TopicIndex {
        TopicIndex::new(TopicName::new("t").unwrap(), 1, 0, false)
    }

    /// A million topics cost 200 MB with their names and table entries; see the fields before letting it grow.
    #[test]
    fn a_topic_is_small() {
        assert!(size_of::<TopicIndex>() <= 128 && size_of::<Run>() == 16);
    }

    #[test]
    fn neighbours_share_a_run_and_distant_records_do_not() {
        let mut topic = topic();
        for n in 0..10 {
            topic.push(1, 40 + n * 100, 100, 60);
        }
        topic.push(1, 40 + STRETCH_BYTES, 100, 60);
        topic.push(2, 40, 100, 60);
        assert_eq!(topic.runs(), 3);
        assert_eq!((topic.span(0).first, topic.span(0).next, topic.span(0).bytes), (1, 11, 600));
        assert_eq!((topic.span(2).first, topic.span(2).next), (12, 13));
        assert_eq!((topic.run_of(10), topic.run_of(11), topic.run_of(12), topic.run_of(13)), (Some(0), Some(1), Some(2), None));
    }

    #[test]
    fn trimming_accounts_for_every_event_and_byte() {
        let mut topic = topic();
        for n in 0..20 {
            topic.push(1 + n / 7, 40 + n * 100, 100, 60);
        }
        topic.push_hole(25);
        topic.push(4, 40, 100, 60);
        assert_eq!((topic.head, topic.events(), topic.holes().collect::<Vec<_>>()), (26, 21, vec![(21, 25)]));
        let (mut cuts, mut trimmed) = (0, 0);
        for floor in 1..=26 {
            trimmed += topic.trim_to(floor, |cut| cuts += cut.events);
            assert_eq!(topic.floor, floor);
        }
        assert_eq!((trimmed, cuts, topic.bytes, topic.events(), topic.runs()), (21, 21, 0, 0, 0));
        topic.push(5, 40, 100, 60);
        assert_eq!((topic.events(), topic.run_of(27)), (1, Some(0)));
    }

    #[test]
    fn a_byte_limit_trims_no_more_than_needed() {
        let mut topic = topic();
        for n in 0..100 {
            topic.push(1, 40 + n * 1000, 1000, 900);
        }
        let floor = topic.floor_for_bytes(9_000);
        assert_eq!(floor, 90);
        topic.trim_to(floor, |_| {});
        assert_eq!(topic.bytes, 9_000);
        assert_eq!(topic.floor_for_bytes(9_000), 90);
    }

    #[test]
    fn offsets_beyond_32_bits_are_kept_whole() {
        let mut topic = topic();
        topic.set_empty_at(u64::from(u32::MAX) - 2);
        for n in 0..6 {
            topic.push(1, 40 + n * STRETCH_BYTES, 100, 60);
        }
        let firsts: Vec<_> = (0..6).map(|at| topic.span(at).first).collect();
        let start = u64::from(u32::MAX) - 1;
        assert_eq!(firsts, (start..start + 6).collect::<Vec<_>>());
    }
}
