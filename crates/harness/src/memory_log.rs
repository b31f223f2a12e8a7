//! An event log in memory that does what a test tells it: number sparsely, trim, lose its history.
//!
//! It passes the conformance suite like any engine, so what works over it relies on the contract and not on the embedded engine.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;

use parking_lot::Mutex;
use towline_clock::Clock;
use towline_log::{
    AppendError, Appended, Bounds, Direction, Epoch, EventLog, Follower, Gap, GapReason, Health, LogFuture, LogStats, NewEvent,
    Offset, Page, Policies, Position, Read, ReadError, Record, Retention, Start, TopicName,
};

/// The log. Cheap to clone; clones are the same log.
#[derive(Clone)]
pub struct MemoryLog {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    policies: Policies,
    stride: Offset,
    /// Lock order: this lock, then a follower's own.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    topics: HashMap<TopicName, TopicLog>,
    epochs: u64,
    closed: bool,
    stats: LogStats,
}

struct TopicLog {
    epoch: Epoch,
    floor: Offset,
    head: Offset,
    last_ts_ms: u64,
    records: Vec<Record>,
    known: HashMap<Box<str>, Appended>,
    follower: Option<Arc<dyn Follower>>,
}

impl MemoryLog {
    /// An empty log that counts 1, 2, 3 and keeps everything.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self::with(clock, Policies::default(), 1)
    }

    /// An empty log whose offsets are `stride` apart, as those of engines that number all topics together may be.
    #[must_use]
    pub fn with(clock: Clock, policies: Policies, stride: Offset) -> Self {
        Self { inner: Arc::new(Inner { clock, policies, stride: stride.max(1), state: Mutex::default() }) }
    }

    /// Keeps the newest `events` of a topic and trims the others.
    pub fn trim(&self, topic: &TopicName, events: usize) {
        let mut state = self.inner.state.lock();
        if let Some(log) = state.topics.get_mut(topic) {
            let gone = log.records.len().saturating_sub(events);
            let trimmed = log.trim(gone);
            state.stats.trimmed_total += trimmed;
        }
    }

    /// Loses a topic's history: what comes next stands in a new epoch, and the follower is told.
    pub fn reset(&self, topic: &TopicName) {
        let mut state = self.inner.state.lock();
        let fresh = state.fresh_topic();
        let Some(log) = state.topics.get_mut(topic) else { return };
        let follower = log.follower.take();
        let last_ts_ms = log.last_ts_ms;
        *log = TopicLog { follower: follower.clone(), last_ts_ms, ..fresh };
        if let Some(follower) = follower {
            follower.reset(Position { epoch: log.epoch, offset: 0 });
        }
    }

    /// Acts on the policies' retention, with the clock's time.
    pub fn retain(&self) {
        let now_ms = self.inner.clock.unix_ms();
        let mut state = self.inner.state.lock();
        let State { topics, stats, .. } = &mut *state;
        for (topic, log) in topics {
            stats.trimmed_total += log.retain(self.inner.policies.of(topic.as_str()).retention, now_ms);
        }
    }
}

impl State {
    fn fresh_topic(&mut self) -> TopicLog {
        self.epochs += 1;
        TopicLog {
            epoch: Epoch(0x00e0_0000 + self.epochs),
            floor: 0,
            head: 0,
            last_ts_ms: 0,
            records: Vec::new(),
            known: HashMap::new(),
            follower: None,
        }
    }

    fn topic(&mut self, name: &TopicName) -> &mut TopicLog {
        if !self.topics.contains_key(name) {
            let fresh = self.fresh_topic();
            self.topics.insert(name.clone(), fresh);
        }
        self.topics.get_mut(name).expect("it was just put there")
    }
}

impl TopicLog {
    fn trim(&mut self, count: usize) -> u64 {
        if let Some(last) = self.records.drain(..count).next_back() {
            self.floor = last.offset();
        }
        count as u64
    }

    /// Says how many records went.
    fn retain(&mut self, retention: Retention, now_ms: u64) -> u64 {
        let Retention { age_max, events_max, bytes_max } = retention;
        let oldest_ms = age_max.map_or(0, |age| now_ms.saturating_sub(age.as_millis() as u64));
        let mut gone = self.records.partition_point(|record| record.ts_ms() < oldest_ms);
        let events_max = events_max.map_or(usize::MAX, |most| most as usize);
        gone = gone.max(self.records.len().saturating_sub(events_max));
        let mut room = bytes_max.unwrap_or(u64::MAX);
        let fits = self.records.iter().rev().take_while(|record| {
            let size = record.body().len() as u64;
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        });
        gone = gone.max(self.records.len() - fits.count());
        self.trim(gone)
    }

    fn append(&mut self, event: &NewEvent, stride: Offset, now_ms: u64, window_ms: u64) -> Appended {
        self.last_ts_ms = self.last_ts_ms.max(now_ms);
        let ts_ms = self.last_ts_ms;
        if let Some(first) = self.known.get(&event.id)
            && ts_ms.saturating_sub(first.ts_ms) <= window_ms
        {
            return Appended { duplicate: true, ..*first };
        }
        let record = Record::from_event(event, self.head + stride, self.head, ts_ms);
        self.head = record.offset();
        self.records.push(record);
        let position = Position { epoch: self.epoch, offset: self.head };
        let appended = Appended { position, ts_ms, duplicate: false };
        self.known.insert(event.id.clone(), appended);
        appended
    }

    /// Where a page begins, and the gap before it.
    fn begin(&self, start: &Start, forward: bool) -> (Offset, Option<Gap>) {
        let (floor, head, epoch) = (self.floor, self.head, self.epoch);
        let oldest = if forward { floor } else { floor + 1 };
        let newest = if forward { head } else { head + 1 };
        let open_end = if forward { floor } else { head + 1 };
        let gap =
            |reason, requested, from| (from, Some(Gap { reason, requested, resume_after: Position { epoch, offset: from } }));
        match start {
            Start::Earliest => (oldest, None),
            Start::Latest => (newest, None),
            Start::At(position) if position.epoch != epoch || position.offset > newest => {
                gap(GapReason::EpochChanged, Some(*position), open_end)
            }
            Start::At(position) if position.offset < oldest && floor > 0 => gap(GapReason::Trimmed, Some(*position), oldest),
            Start::At(position) => (position.offset.max(oldest), None),
            Start::Id(id) => match self.records.iter().rev().find(|record| record.id() == &**id) {
                Some(record) => (record.offset(), None),
                None => gap(GapReason::UnknownId, None, open_end),
            },
            Start::Time(ts_ms) => {
                let at = self.records.partition_point(|record| record.ts_ms() < *ts_ms);
                let from = match (self.records.get(at), forward) {
                    (Some(first), true) => first.prev().max(floor),
                    (Some(first), false) => first.offset(),
                    (None, _) => newest,
                };
                if at == 0 && floor > 0 && forward { gap(GapReason::Trimmed, None, from) } else { (from, None) }
            }
        }
    }

    fn read(&self, read: &Read) -> Page {
        let forward = read.direction == Direction::Forward;
        let (from, gap) = self.begin(&read.start, forward);
        let wanted: Box<dyn Iterator<Item = &Record> + '_> = if forward {
            Box::new(self.records.iter().filter(move |record| record.offset() > from))
        } else {
            Box::new(self.records.iter().rev().filter(move |record| record.offset() < from))
        };
        let mut bytes = 0;
        let mut records: Vec<Record> = Vec::new();
        for record in wanted.take(read.events_max.max(1)) {
            bytes += record.body().len();
            records.push(record.clone());
            if bytes >= read.bytes_max {
                break;
            }
        }
        let to = records.last().map_or(from, Record::offset);
        let left = if forward {
            self.records.last().is_some_and(|last| last.offset() > to)
        } else {
            self.records.first().is_some_and(|first| first.offset() < to)
        };
        Page { epoch: self.epoch, records, from, to, head: self.head, complete: !left, gap }
    }
}

impl EventLog for MemoryLog {
    fn append(&self, events: Vec<NewEvent>) -> LogFuture<Result<Vec<Appended>, AppendError>> {
        let now_ms = self.inner.clock.unix_ms();
        let window_ms = self.inner.policies.dedup_window.as_millis() as u64;
        let mut state = self.inner.state.lock();
        if state.closed {
            state.stats.refused_total += 1;
            return Box::pin(ready(Err(AppendError::Closed)));
        }
        let mut before: HashMap<TopicName, usize> = HashMap::new();
        let mut answers = Vec::with_capacity(events.len());
        for event in &events {
            let log = state.topic(&event.topic);
            before.entry(event.topic.clone()).or_insert(log.records.len());
            let appended = log.append(event, self.inner.stride, now_ms, window_ms);
            state.stats.appended_total += u64::from(!appended.duplicate);
            state.stats.duplicates_total += u64::from(appended.duplicate);
            answers.push(appended);
        }
        state.stats.commits_total += 1;
        for (topic, first_new) in before {
            let log = state.topic(&topic);
            if let Some(follower) = &log.follower
                && first_new < log.records.len()
            {
                follower.committed(log.epoch, &log.records[first_new..]);
            }
            let trimmed = log.retain(self.inner.policies.of(topic.as_str()).retention, now_ms);
            state.stats.trimmed_total += trimmed;
        }
        Box::pin(ready(Ok(answers)))
    }

    fn read(&self, read: Read) -> LogFuture<Result<Page, ReadError>> {
        let page = self.inner.state.lock().topic(&read.topic).read(&read);
        Box::pin(ready(Ok(page)))
    }

    fn bounds(&self, topic: &TopicName) -> LogFuture<Result<Bounds, ReadError>> {
        let mut state = self.inner.state.lock();
        let log = state.topic(topic);
        let bytes = log.records.iter().map(|record| record.body().len() as u64).sum();
        let bounds = Bounds { epoch: log.epoch, floor: log.floor, head: log.head, events: log.records.len() as u64, bytes };
        Box::pin(ready(Ok(bounds)))
    }

    fn follow(&self, topic: &TopicName, follower: Arc<dyn Follower>) -> LogFuture<Result<Position, ReadError>> {
        let mut state = self.inner.state.lock();
        let log = state.topic(topic);
        log.follower = Some(follower);
        let head = Position { epoch: log.epoch, offset: log.head };
        Box::pin(ready(Ok(head)))
    }

    fn unfollow(&self, topic: &TopicName) {
        self.inner.state.lock().topic(topic).follower = None;
    }

    fn health(&self) -> Health {
        if self.inner.state.lock().closed { Health::Refusing("the log is closed".into()) } else { Health::Ready }
    }

    fn stats(&self) -> LogStats {
        let state = self.inner.state.lock();
        LogStats { topics: state.topics.len() as u64, ..state.stats }
    }

    fn close(&self) -> LogFuture<()> {
        self.inner.state.lock().closed = true;
        Box::pin(ready(()))
    }
}
