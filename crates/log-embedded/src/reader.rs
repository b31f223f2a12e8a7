//! Pages: what to read is decided under the index's lock, the reading happens outside it.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use towline_log::{Bounds, Direction, Gap, GapReason, Offset, Page, Position, Read, ReadError, Record, Start, TopicName};

use crate::anchor::{self, Anchor};
use crate::index::Index;
use crate::search;
use crate::shared::Shared;
use crate::span_reader::{SpanReader, Stretch, WalkError, plan_ahead};
use crate::topic_index::{LOST, TopicIndex};

/// One page has at most this many records, whatever was asked for: replay is unbounded by its number of pages, not by their size.
const PAGE_EVENTS_MAX: usize = 16_384;
/// One page stops after this many bytes of bodies.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How often a page is planned again because retention removed a segment meanwhile.
const ATTEMPTS_MAX: usize = 8;

/// What a page may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimits {
    pub events: usize,
    pub bytes: usize,
}

/// A page that begins somewhere, and the disk reads that will fill it.
pub(crate) struct Plan {
    pub bounds: Bounds,
    from: Offset,
    gap: Option<Gap>,
    source: Source,
}

enum Source {
    Nothing,
    Memory(Vec<Record>),
    Disk(Vec<Stretch>),
}

/// Answers at once what needs no disk, or says that the disk is needed.
pub(crate) fn read_without_disk(shared: &Shared, read: &Read) -> Option<Page> {
    let anchor = Anchor::of(&read.start)?;
    let plan = Plan::make(&shared.index.lock(), &read.topic, anchor, read.direction, limits(read));
    match plan.source {
        Source::Disk(_) => None,
        Source::Nothing | Source::Memory(_) => plan.fill(shared, read).ok(),
    }
}

/// Reads one page. Blocks on the disk.
pub(crate) fn read(shared: &Shared, read: &Read) -> Result<Page, ReadError> {
    for _ in 0..ATTEMPTS_MAX {
        match try_read(shared, read) {
            Ok(page) => return Ok(page),
            Err(WalkError::Removed) => {}
            Err(WalkError::Read(error)) => return Err(error),
        }
    }
    Err(ReadError::Failed(
        "segments that the index knows are not there: was a file removed by hand? Restart to have the log verified".into(),
    ))
}

fn try_read(shared: &Shared, read: &Read) -> Result<Page, WalkError> {
    let anchor = match &read.start {
        Start::Id(id) => Anchor::Id(search::find_id(shared, &read.topic, id)?),
        Start::Time(ts_ms) => Anchor::Time(search::first_at_or_after(shared, &read.topic, *ts_ms)?),
        Start::At(position) => Anchor::At(*position),
        Start::Earliest => Anchor::Earliest,
        Start::Latest => Anchor::Latest,
    };
    let plan = Plan::make(&shared.index.lock(), &read.topic, anchor, read.direction, limits(read));
    plan.fill(shared, read)
}

fn limits(read: &Read) -> PageLimits {
    PageLimits { events: read.events_max.clamp(1, PAGE_EVENTS_MAX), bytes: read.bytes_max.clamp(1, PAGE_BYTES_MAX) }
}

impl Plan {
    fn make(index: &Index, topic: &TopicName, anchor: Anchor, direction: Direction, limits: PageLimits) -> Self {
        let bounds = index.bounds(topic.as_str());
        let (from, gap) = anchor::begin(anchor, direction, &bounds);
        let mut plan = Self { bounds, from, gap, source: Source::Nothing };
        if let Some(topic) = index.find(topic.as_str()).and_then(|id| index.get(id)) {
            match direction {
                Direction::Forward => plan.plan_forward(index, topic, limits),
                Direction::Backward => plan.plan_backward(index, topic, limits),
            }
        }
        plan
    }

    fn plan_forward(&mut self, index: &Index, topic: &TopicIndex, limits: PageLimits) {
        if let Some(records) = &topic.memory {
            let start = records.partition_point(|record| record.offset() <= self.from);
            self.source = Source::Memory(within(records.range(start..), limits));
            return;
        }
        let Some(mut at) = topic.run_of(self.from + 1) else { return };
        while topic.span(at).segment == LOST {
            // A hole is followed by a record: damage at a topic's end leaves no hole, it only changes the epoch.
            self.step_over(topic.span(at).next - 1);
            at += 1;
            if at == topic.runs() {
                return;
            }
        }
        let mut stretches = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        while at < topic.runs() && events < limits.events as u64 && bytes < limits.bytes as u64 {
            let span = topic.span(at);
            if span.segment == LOST {
                // The next page begins at the hole, and says so.
                break;
            }
            if !stretches.is_empty() || span.first > self.from {
                events += span.count();
                bytes += u64::from(span.bytes);
            }
            stretches.extend(stretch(index, span));
            at += 1;
        }
        self.source = Source::Disk(stretches);
    }

    fn plan_backward(&mut self, index: &Index, topic: &TopicIndex, limits: PageLimits) {
        if let Some(records) = &topic.memory {
            let end = records.partition_point(|record| record.offset() < self.from);
            self.source = Source::Memory(within(records.range(..end).rev(), limits));
            return;
        }
        let Some(mut at) = topic.run_of(self.from - 1) else { return };
        while topic.span(at).segment == LOST {
            self.step_over(topic.span(at).first);
            let Some(before) = at.checked_sub(1) else { return };
            at = before;
        }
        let mut stretches = Vec::new();
        let (mut events, mut bytes) = (0, 0);
        loop {
            let span = topic.span(at);
            if span.segment == LOST {
                break;
            }
            if !stretches.is_empty() || span.next <= self.from {
                events += span.count();
                bytes += u64::from(span.bytes);
            }
            stretches.extend(stretch(index, span));
            let Some(before) = at.checked_sub(1) else { break };
            at = before;
            if events >= limits.events as u64 || bytes >= limits.bytes as u64 {
                break;
            }
        }
        self.source = Source::Disk(stretches);
    }

    /// The page begins behind lost events, and says so.
    fn step_over(&mut self, from: Offset) {
        let requested = Some(Position { epoch: self.bounds.epoch, offset: self.from });
        let resume_after = Position { epoch: self.bounds.epoch, offset: from };
        self.gap = Some(Gap { reason: GapReason::Damaged, requested, resume_after });
        self.from = from;
    }

    fn fill(self, shared: &Shared, read: &Read) -> Result<Page, WalkError> {
        let limits = limits(read);
        let records = match self.source {
            Source::Nothing => Vec::new(),
            Source::Memory(records) => records,
            Source::Disk(stretches) => match read.direction {
                Direction::Forward => forward(shared, &read.topic, stretches, self.from, limits)?,
                Direction::Backward => backward(shared, &read.topic, &stretches, self.bounds.floor, self.from, limits)?,
            },
        };
        let Bounds { epoch, floor, head, .. } = self.bounds;
        let to = records.last().map_or(self.from, Record::offset);
        let complete = match read.direction {
            Direction::Forward => to == head,
            Direction::Backward => to <= floor + 1,
        };
        Ok(Page { epoch, records, from: self.from, to, head, complete, gap: self.gap })
    }
}

fn stretch(index: &Index, span: crate::topic_index::Span) -> Option<Stretch> {
    let segment_end = index.segments.get(&span.segment)?.end;
    Some(Stretch { span, segment_end, worth_until: 0 })
}

/// The first records of an iterator that a page may hold.
fn within<'a>(records: impl Iterator<Item = &'a Record>, limits: PageLimits) -> Vec<Record> {
    let mut bytes = 0;
    let mut taken = Vec::new();
    for record in records {
        if taken.len() >= limits.events || (bytes >= limits.bytes && !taken.is_empty()) {
            break;
        }
        bytes += record.body().len();
        taken.push(record.clone());
    }
    taken
}

fn forward(
    shared: &Shared,
    topic: &TopicName,
    mut stretches: Vec<Stretch>,
    from: Offset,
    limits: PageLimits,
) -> Result<Vec<Record>, WalkError> {
    plan_ahead(&mut stretches, topic);
    let mut reader = SpanReader::new(shared, topic);
    let mut records = Vec::with_capacity(limits.events.min(1024));
    let mut bytes = 0;
    for stretch in &stretches {
        let mut full = false;
        reader.walk(stretch, |record| {
            if record.offset() > from {
                bytes += record.body().len();
                records.push(record);
                full = records.len() >= limits.events || bytes >= limits.bytes;
            }
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if full {
            break;
        }
    }
    Ok(records)
}

fn backward(
    shared: &Shared,
    topic: &TopicName,
    newest_first: &[Stretch],
    floor: Offset,
    from: Offset,
    limits: PageLimits,
) -> Result<Vec<Record>, WalkError> {
    let mut reader = SpanReader::new(shared, topic);
    let mut records = Vec::new();
    let mut bytes = 0;
    for stretch in newest_first {
        let mut stretch = [*stretch];
        plan_ahead(&mut stretch, topic);
        let mut oldest_first = VecDeque::new();
        reader.walk(&stretch[0], |record| {
            if record.offset() >= from {
                return ControlFlow::Break(());
            }
            if record.offset() > floor {
                oldest_first.push_back(record);
                if oldest_first.len() > limits.events {
                    oldest_first.pop_front();
                }
            }
            ControlFlow::Continue(())
        })?;
        while let Some(record) = oldest_first.pop_back() {
            bytes += record.body().len();
            records.push(record);
            if records.len() >= limits.events || bytes >= limits.bytes {
                return Ok(records);
            }
        }
    }
    Ok(records)
}
