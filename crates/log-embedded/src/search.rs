//! Finds a record by time or by id. Each step looks one place up under the index's lock and reads it outside.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use towline_log::{Offset, Record, TopicName};

use crate::shared::Shared;
use crate::span_reader::{SpanReader, Stretch, WalkError, plan_ahead};
use crate::topic_index::{LOST, TopicIndex};

/// A publisher makes a UUIDv7 before it publishes: this much earlier, or (where clocks differ) later, the event is looked for first.
const ID_TIME_BEFORE_MS: u64 = 10_000;
const ID_TIME_AFTER_MS: u64 = 5 * 60_000;

/// Records in memory that are compared while the index is locked once.
const MEMORY_RECORDS_PER_LOCK: usize = 1024;

/// A place in a topic, looked up.
enum Place {
    /// The stretch that holds the offset.
    Stretch(Stretch),
    /// The offset is lost; history goes on after this one.
    LostUntil(Offset),
    /// The offset is no longer, or not yet, in the log.
    Outside,
}

fn place(shared: &Shared, topic: &TopicName, offset: Offset) -> Place {
    let index = shared.index.lock();
    let Some(entry) = index.find(topic.as_str()).and_then(|id| index.get(id)) else { return Place::Outside };
    let Some(at) = entry.run_of(offset) else { return Place::Outside };
    let span = entry.span(at);
    if span.segment == LOST {
        return Place::LostUntil(span.next - 1);
    }
    match index.segments.get(&span.segment) {
        Some(segment) => {
            let mut stretch = [Stretch { span, segment_end: segment.end, worth_until: 0 }];
            plan_ahead(&mut stretch, topic);
            Place::Stretch(stretch[0])
        }
        None => Place::Outside,
    }
}

/// Asks the records of a topic that lives in memory: `None` if it does not. For questions that are answered in microseconds.
fn in_memory<T>(shared: &Shared, topic: &TopicName, ask: impl FnOnce(&TopicIndex, &VecDeque<Record>) -> T) -> Option<T> {
    let index = shared.index.lock();
    let entry = index.find(topic.as_str()).and_then(|id| index.get(id))?;
    Some(ask(entry, entry.memory.as_ref()?))
}

/// Offset of the first retained event at or after `ts_ms`; one past the head if there is none.
pub(crate) fn first_at_or_after(shared: &Shared, topic: &TopicName, ts_ms: u64) -> Result<Offset, WalkError> {
    let found = in_memory(shared, topic, |entry, records| {
        let at = records.partition_point(|record| record.ts_ms() < ts_ms);
        records.get(at).map_or(entry.head + 1, |record| record.offset())
    });
    if let Some(offset) = found {
        return Ok(offset);
    }
    let bounds = shared.index.lock().bounds(topic.as_str());
    let mut reader = SpanReader::new(shared, topic);
    // The answer lies in low..=high.
    let (mut low, mut high) = (bounds.floor + 1, bounds.head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let stretch = match place(shared, topic, middle) {
            Place::Stretch(stretch) => stretch,
            Place::LostUntil(last) if last + 1 < high => match place(shared, topic, last + 1) {
                Place::Stretch(stretch) => stretch,
                _ => return Err(WalkError::Removed),
            },
            // Everything from the middle up to `high` is lost.
            Place::LostUntil(_) => {
                high = middle;
                continue;
            }
            Place::Outside => return Err(WalkError::Removed),
        };
        let mut answer = None;
        let mut first = None;
        // Its first record decides where to go on, unless the answer can only be inside: then the whole stretch is looked at.
        let inside = stretch.span.first <= low;
        reader.walk(&stretch, |record| {
            first.get_or_insert(record.ts_ms());
            if record.offset() >= low && record.ts_ms() >= ts_ms {
                answer = Some(record.offset());
            }
            if answer.is_some() || !inside { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match (inside, answer) {
            (true, Some(offset)) => return Ok(offset),
            (true, None) => low = stretch.span.next,
            (false, _) if first.is_some_and(|first| first >= ts_ms) => high = stretch.span.first,
            (false, _) => low = stretch.span.first,
        }
    }
    Ok(high)
}

/// Offset of the retained event with this id.
pub(crate) fn find_id(shared: &Shared, topic: &TopicName, id: &str) -> Result<Option<Offset>, WalkError> {
    let bounds = shared.index.lock().bounds(topic.as_str());
    let recent = shared.dedup.lock().find(shared.keying.key(topic.as_str(), id), 0);
    if let Some(first) = recent {
        return Ok((first.offset > bounds.floor).then_some(first.offset));
    }
    if in_memory(shared, topic, |_, _| ()).is_some() {
        return Ok(scan_memory(shared, topic, id, bounds.head));
    }
    if let Some(made_ms) = uuid_v7_ms(id) {
        let from = first_at_or_after(shared, topic, made_ms.saturating_sub(ID_TIME_BEFORE_MS))?;
        let until_ms = made_ms.saturating_add(ID_TIME_AFTER_MS);
        if let Some(offset) = scan(shared, topic, id, from, until_ms)? {
            return Ok(Some(offset));
        }
    }
    scan_newest_first(shared, topic, id, bounds.floor, bounds.head)
}

/// Looks at what is in memory, newest first, a few records for each hold of the index's lock.
fn scan_memory(shared: &Shared, topic: &TopicName, id: &str, head: Offset) -> Option<Offset> {
    let mut before = head + 1;
    loop {
        let (found, looked_to) = in_memory(shared, topic, |_, records| {
            let end = records.partition_point(|record| record.offset() < before);
            let some = records.range(end.saturating_sub(MEMORY_RECORDS_PER_LOCK)..end);
            let found = some.clone().rev().find(|record| record.id() == id).map(Record::offset);
            (found, some.clone().next().map(Record::offset))
        })?;
        if found.is_some() {
            return found;
        }
        before = looked_to?;
    }
}

/// Looks from `from` on, until events are newer than `until_ms`.
fn scan(shared: &Shared, topic: &TopicName, id: &str, from: Offset, until_ms: u64) -> Result<Option<Offset>, WalkError> {
    let mut reader = SpanReader::new(shared, topic);
    let mut offset = from;
    loop {
        let stretch = match place(shared, topic, offset) {
            Place::Stretch(stretch) => stretch,
            Place::LostUntil(last) => {
                offset = last + 1;
                continue;
            }
            Place::Outside => return Ok(None),
        };
        let mut found = None;
        let mut over = false;
        reader.walk(&stretch, |record| {
            if record.id() == id {
                found = Some(record.offset());
            }
            over = record.ts_ms() > until_ms;
            if found.is_some() || over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if found.is_some() || over {
            return Ok(found.filter(|found| *found >= from));
        }
        offset = stretch.span.next;
    }
}

/// Looks at everything retained, one stretch after the other: what a reader asks for is more often new than old.
fn scan_newest_first(
    shared: &Shared,
    topic: &TopicName,
    id: &str,
    floor: Offset,
    head: Offset,
) -> Result<Option<Offset>, WalkError> {
    let mut reader = SpanReader::new(shared, topic);
    let mut offset = head;
    while offset > floor {
        let stretch = match place(shared, topic, offset) {
            Place::Stretch(stretch) => stretch,
            Place::LostUntil(_) => {
                offset -= 1;
                continue;
            }
            // Retention caught up with the scan.
            Place::Outside => break,
        };
        let mut found = None;
        reader.walk(&stretch, |record| {
            if record.id() == id {
                found = Some(record.offset());
            }
            ControlFlow::Continue(())
        })?;
        if let Some(found) = found {
            return Ok((found > floor).then_some(found));
        }
        offset = stretch.span.first.saturating_sub(1);
    }
    Ok(None)
}

/// The time inside a UUIDv7, or `None` for any other text.
fn uuid_v7_ms(id: &str) -> Option<u64> {
    let bytes = id.as_bytes();
    let shaped = bytes.len() == 36
        && bytes.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if !shaped || bytes[14] != b'7' {
        return None;
    }
    let high = u64::from_str_radix(id.get(..8)?, 16).ok()?;
    let low = u64::from_str_radix(id.get(9..13)?, 16).ok()?;
    Some(high << 16 | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_uuid_v7_and_of_nothing_else() {
        // RFC 9562, appendix A.6.
        assert_eq!(uuid_v7_ms("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), Some(0x017F_22E2_79B0));
        for other in [
            "",
            "919108f7-52d1-4320-9bac-f847db4148a8",
            "017F22E279B07CC398C4DC0C0C07398F",
            "017F22E2-79B0-7CC3-98C4-DC0C0C07398é",
        ] {
            assert_eq!(uuid_v7_ms(other), None);
        }
    }
}
