//! The index of the whole log: topics by name, and segments with how much of them is still alive.
//!
//! It is behind one lock that is held for microseconds: never over a read or write of a file.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;
use towline_log::{Bounds, Durability, Policies, TopicName, TopicPolicy};
use towline_protocol::Epoch;

use crate::segment::HEADER_BYTES;
use crate::topic_index::{Cut, EVENTS_RETAINED_MAX, TopicIndex};

/// One note of the time per so many bytes of a segment, so that age finds its place without reading.
const MARK_BYTES: u32 = 64 * 1024;
/// The rule number of topics that no rule matches.
const FALLBACK: u16 = u16::MAX;

/// What is known of a segment.
#[derive(Debug, Default)]
pub(crate) struct SegmentState {
    /// Bytes that are committed; a reader goes no further.
    pub end: u32,
    /// Records that are still retained.
    pub live: u64,
    /// Time of the newest record.
    pub newest_ms: u64,
    /// (position, time of the record there), ascending.
    marks: Vec<(u32, u64)>,
}

impl SegmentState {
    /// A segment with nothing in it but its header.
    pub fn empty() -> Self {
        Self { end: HEADER_BYTES, ..Self::default() }
    }

    pub fn note(&mut self, position: u32, ts_ms: u64) {
        self.newest_ms = self.newest_ms.max(ts_ms);
        if self.marks.last().is_none_or(|(last, _)| position - last >= MARK_BYTES) {
            self.marks.push((position, ts_ms));
        }
    }

    /// No record at or before `position` is newer than this.
    pub fn newest_until(&self, position: u32) -> u64 {
        let at = self.marks.partition_point(|(mark, _)| *mark <= position);
        self.marks.get(at).map_or(self.newest_ms, |(_, ts)| *ts)
    }

    /// No record at or behind `position` is older than this.
    pub fn oldest_from(&self, position: u32) -> u64 {
        let at = self.marks.partition_point(|(mark, _)| *mark <= position);
        at.checked_sub(1).map_or(0, |at| self.marks[at].1)
    }
}

/// Topics and segments.
pub(crate) struct Index {
    topics: Slab<Box<TopicIndex>>,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
    policies: Arc<Policies>,
    pub segments: BTreeMap<u32, SegmentState>,
    /// The epoch of topics that were never written to.
    pub base_epoch: u64,
    /// The epoch of topics that live in memory: new with every opening.
    pub memory_epoch: u64,
}

impl Index {
    pub fn new(policies: Arc<Policies>, base_epoch: u64, memory_epoch: u64) -> Self {
        Self {
            topics: Slab::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            policies,
            segments: BTreeMap::new(),
            base_epoch,
            memory_epoch,
        }
    }

    pub fn policy(&self, rule: u16) -> TopicPolicy {
        self.policies.rules.get(usize::from(rule)).map_or(self.policies.fallback, |(_, policy)| *policy)
    }

    fn rule_of(&self, topic: &str) -> u16 {
        let found = self.policies.rules.iter().position(|(pattern, _)| pattern.matches(topic));
        found.and_then(|at| u16::try_from(at).ok()).unwrap_or(FALLBACK)
    }

    pub fn find(&self, topic: &str) -> Option<usize> {
        let hash = self.hasher.hash_one(topic);
        self.by_name.find(hash, |id| self.topics[*id as usize].name.as_str() == topic).map(|id| *id as usize)
    }

    pub fn find_or_insert(&mut self, topic: &TopicName) -> usize {
        if let Some(id) = self.find(topic.as_str()) {
            return id;
        }
        let rule = self.rule_of(topic.as_str());
        let in_memory = self.policy(rule).durability == Durability::Memory;
        let epoch = if in_memory { self.memory_epoch } else { self.base_epoch };
        let id = self.topics.insert(Box::new(TopicIndex::new(topic.clone(), epoch, rule, in_memory)));
        let hash = self.hasher.hash_one(topic.as_str());
        let (topics, hasher) = (&self.topics, &self.hasher);
        // A slab of boxes reaches memory's end long before 4 billion topics.
        self.by_name.insert_unique(hash, id as u32, |id| hasher.hash_one(topics[*id as usize].name.as_str()));
        id
    }

    pub fn get(&self, id: usize) -> Option<&TopicIndex> {
        self.topics.get(id).map(|topic| &**topic)
    }

    pub fn get_mut(&mut self, id: usize) -> Option<&mut TopicIndex> {
        self.topics.get_mut(id).map(|topic| &mut **topic)
    }

    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// Every id is below this.
    pub fn ids_end(&self) -> usize {
        self.topics.capacity()
    }

    /// Forgets a topic that nobody follows and that was never written to.
    pub fn forget_if_blank(&mut self, id: usize) {
        let Some(topic) = self.topics.get(id) else { return };
        let base = if topic.memory.is_some() { self.memory_epoch } else { self.base_epoch };
        if !topic.is_blank(base) {
            return;
        }
        let hash = self.hasher.hash_one(topic.name.as_str());
        if let Ok(entry) = self.by_name.find_entry(hash, |other| *other as usize == id) {
            entry.remove();
        }
        self.topics.remove(id);
    }

    /// Lets go of all followers: whoever holds the log and follows it would otherwise keep itself alive.
    pub fn drop_followers(&mut self) {
        for (_, topic) in &mut self.topics {
            topic.follower = None;
        }
    }

    /// What the log holds of a topic, known or not.
    pub fn bounds(&self, topic: &str) -> Bounds {
        match self.find(topic).and_then(|id| self.get(id)) {
            Some(topic) => Bounds {
                epoch: Epoch(topic.epoch),
                floor: topic.floor,
                head: topic.head,
                events: topic.events(),
                bytes: topic.bytes,
            },
            None => {
                let in_memory = self.policy(self.rule_of(topic)).durability == Durability::Memory;
                let epoch = Epoch(if in_memory { self.memory_epoch } else { self.base_epoch });
                Bounds { epoch, floor: 0, head: 0, events: 0, bytes: 0 }
            }
        }
    }

    /// Advances a topic's floor, and returns how many records went.
    pub fn trim(&mut self, id: usize, floor: u64) -> u64 {
        let Some(topic) = self.topics.get_mut(id) else { return 0 };
        let segments = &mut self.segments;
        topic.trim_to(floor, |Cut { segment, events }| {
            if let Some(segment) = segments.get_mut(&segment) {
                segment.live = segment.live.saturating_sub(events);
            }
        })
    }

    /// Trims a topic to its limits of count and bytes. The newest record stays whatever its size: an append that is
    /// acknowledged and gone at once would help nobody.
    pub fn enforce_limits(&mut self, id: usize) -> u64 {
        let Some(topic) = self.topics.get(id) else { return 0 };
        let retention = self.policy(topic.rule).retention;
        let events_max = retention.events_max.unwrap_or(u64::MAX).min(EVENTS_RETAINED_MAX);
        let mut floor = topic.head.saturating_sub(events_max).max(topic.floor);
        if let Some(bytes_max) = retention.bytes_max {
            floor = floor.max(topic.floor_for_bytes(bytes_max));
        }
        let floor = floor.min(topic.head.saturating_sub(1));
        if floor > topic.floor { self.trim(id, floor) } else { 0 }
    }
}
