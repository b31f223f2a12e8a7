//! A group commit in the making: events get their places, and their bytes, before anything is written.
//!
//! Nothing here changes what readers see; a batch that cannot be written is dropped, and is as if it had never been.

use bytes::{Bytes, BytesMut};
use hashbrown::HashMap;
use towline_log::{Appended, Durability, Position, Record};
use towline_protocol::Epoch;

use crate::append_queue::Job;
use crate::dedup::{FirstSeen, Key};
use crate::record_codec::{self, FIXED_BYTES, FRAME_HEAD_BYTES, Placement};
use crate::shared::Shared;

/// What records must know of the segment that they go to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SegmentTail {
    pub salt: u32,
    /// Up to here it is on the device.
    pub synced_to: u32,
}

/// A topic's part of a batch.
pub(crate) struct BatchTopic {
    pub id: usize,
    pub epoch: u64,
    pub durability: Durability,
    head: u64,
    pub placed: Vec<Placed>,
}

/// An event with its place.
pub(crate) struct Placed {
    pub offset: u64,
    pub ts_ms: u64,
    /// Where its record begins in the batch's bytes.
    pub start: usize,
    pub frame_bytes: usize,
    pub body_bytes: usize,
    id_len: u16,
    kind_len: u16,
    extras_len: u32,
    /// The record itself, in topics that live in memory.
    pub memory: Option<Record>,
}

/// Everything that one commit does.
pub(crate) struct Batch {
    pub topics: Vec<BatchTopic>,
    /// What goes to the segment.
    pub bytes: BytesMut,
    /// The answers, job by job.
    pub answers: Vec<Vec<Appended>>,
    pub ids: Vec<(Key, FirstSeen)>,
    pub ts_ms: u64,
    pub stored: u64,
    pub duplicates: u64,
    /// Some topic is promised a sync.
    pub must_sync: bool,
}

impl Batch {
    /// Places the events of all jobs. `bytes` is an empty buffer to reuse.
    pub fn place(shared: &Shared, jobs: &[Job], bytes: BytesMut, ts_ms: u64, into: SegmentTail) -> Self {
        let mut batch = Self {
            topics: Vec::new(),
            bytes,
            answers: Vec::with_capacity(jobs.len()),
            ids: Vec::new(),
            ts_ms,
            stored: 0,
            duplicates: 0,
            must_sync: false,
        };
        let of_event = batch.resolve_topics(shared, jobs);
        let keys: Vec<Key> =
            jobs.iter().flat_map(|job| &job.events).map(|event| shared.keying.key(event.topic.as_str(), &event.id)).collect();
        let known: Vec<Option<FirstSeen>> = {
            let dedup = shared.dedup.lock();
            keys.iter().map(|key| dedup.find(*key, ts_ms)).collect()
        };
        let mut in_batch: HashMap<Key, FirstSeen> = HashMap::with_capacity(keys.len());
        let mut at = 0;
        for job in jobs {
            let mut answer = Vec::with_capacity(job.events.len());
            let mut last_in_file = None;
            for event in &job.events {
                let topic = &mut batch.topics[of_event[at]];
                let epoch = Epoch(topic.epoch);
                let first = known[at].or_else(|| in_batch.get(&keys[at]).copied());
                if let Some(first) = first {
                    batch.duplicates += 1;
                    let position = Position { epoch, offset: first.offset };
                    answer.push(Appended { position, ts_ms: first.ts_ms, duplicate: true });
                    at += 1;
                    continue;
                }
                topic.head += 1;
                let offset = topic.head;
                let mut placed = Placed {
                    offset,
                    ts_ms,
                    start: batch.bytes.len(),
                    frame_bytes: 0,
                    body_bytes: event.body_bytes(),
                    // `record_codec::check` bounds these.
                    id_len: event.id.len() as u16,
                    kind_len: event.kind.len() as u16,
                    extras_len: event.extras.len() as u32,
                    memory: None,
                };
                if topic.durability == Durability::Memory {
                    placed.memory = Some(Record::from_event(event, offset, offset - 1, ts_ms));
                } else {
                    let relaxed = topic.durability == Durability::Relaxed;
                    batch.must_sync |= !relaxed;
                    let at = Placement { epoch: topic.epoch, offset, ts_ms, synced_to: into.synced_to, relaxed };
                    record_codec::encode(&mut batch.bytes, event, &at);
                    placed.frame_bytes = batch.bytes.len() - placed.start;
                    if let Some((start, end)) = last_in_file.replace((placed.start, batch.bytes.len())) {
                        record_codec::seal(&mut batch.bytes[start..end], into.salt, true);
                    }
                }
                topic.placed.push(placed);
                let first = FirstSeen { offset, ts_ms };
                in_batch.insert(keys[at], first);
                batch.ids.push((keys[at], first));
                batch.stored += 1;
                answer.push(Appended { position: Position { epoch, offset }, ts_ms, duplicate: false });
                at += 1;
            }
            if let Some((start, end)) = last_in_file {
                record_codec::seal(&mut batch.bytes[start..end], into.salt, false);
            }
            batch.answers.push(answer);
        }
        batch
    }

    /// Looks up the topics of all events, in one short hold of the index, and pins them there. Returns each event's topic.
    fn resolve_topics(&mut self, shared: &Shared, jobs: &[Job]) -> Vec<usize> {
        let mut of_event = Vec::with_capacity(jobs.iter().map(|job| job.events.len()).sum());
        let mut of_id: HashMap<usize, usize> = HashMap::new();
        let mut index = shared.index.lock();
        for event in jobs.iter().flat_map(|job| &job.events) {
            let id = index.find_or_insert(&event.topic);
            let topics = &mut self.topics;
            let slot = *of_id.entry(id).or_insert(topics.len());
            if slot == topics.len()
                && let Some(rule) = index.get(id).map(|topic| topic.rule)
            {
                let durability = index.policy(rule).durability;
                if let Some(topic) = index.get_mut(id) {
                    topic.pinned = true;
                    let (epoch, head) = (topic.epoch, topic.head);
                    topics.push(BatchTopic { id, epoch, durability, head, placed: Vec::new() });
                }
            }
            of_event.push(slot);
        }
        of_event
    }
}

impl BatchTopic {
    /// The records as a follower gets them. Copied: a slice would keep the whole batch, with what others wrote into it, in memory
    /// for as long as a quiet topic's window holds its one event.
    pub fn records(&self, bytes: &[u8]) -> Vec<Record> {
        self.placed
            .iter()
            .filter_map(|placed| match &placed.memory {
                Some(record) => Some(record.clone()),
                None => {
                    let end = placed.start + placed.frame_bytes;
                    let body = Bytes::copy_from_slice(&bytes[end - placed.body_bytes..end]);
                    debug_assert!(placed.frame_bytes >= FRAME_HEAD_BYTES + FIXED_BYTES);
                    let Placed { offset, ts_ms, id_len, kind_len, extras_len, .. } = *placed;
                    Record::new(offset, offset - 1, ts_ms, body, id_len, kind_len, extras_len)
                }
            })
            .collect()
    }
}
