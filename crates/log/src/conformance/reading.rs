//! Properties of reads.

use std::sync::Arc;
use std::time::Duration;

use towline_clock::Clock;
use towline_protocol::{Epoch, NewEvent, Position, TopicName};

use super::model::Model;
use super::{START_MS, Store, append, event, read, topic};
use crate::{Direction, EventLog, GapReason, Policies, Read, Start};

/// A topic among others, with a second between its events.
async fn filled(store: &Arc<dyn Store>, events: u64) -> (Arc<dyn EventLog>, TopicName, Model) {
    let clock = Clock::manual(START_MS);
    let log = store.open(Policies::default(), clock.clone()).await;
    let (name, other) = (topic("user:1"), topic("user:10"));
    let mut model = Model::default();
    for n in 0..events {
        let mut batch = vec![event(&name, n)];
        batch.extend((0..n % 4).map(|k| event(&other, n * 4 + k)));
        model.appended(&batch, &append(&*log, batch.clone()).await);
        clock.advance(Duration::from_secs(1));
    }
    (log, name, model)
}

async fn checked(log: &dyn EventLog, model: &Model, read: Read) -> crate::Page {
    let page = log.read(read.clone()).await.unwrap_or_else(|error| panic!("{read:?}: {error}"));
    model.check(&read, &page).unwrap_or_else(|what| panic!("{what}"));
    page
}

/// Pages of any size, in both directions, give every event once and in order.
pub async fn pages_cover_a_topic_exactly(store: Arc<dyn Store>) {
    let (log, name, model) = filled(&store, 100).await;
    for events_max in [1, 2, 7, 99, 100, 101, usize::MAX] {
        model.check_all(&*log, events_max).await;
    }
    for direction in [Direction::Forward, Direction::Backward] {
        for bytes_max in [0, 1, 500, 5_000] {
            let start = if direction == Direction::Forward { Start::Earliest } else { Start::Latest };
            let mut read = Read { topic: name.clone(), start, direction, events_max: 1000, bytes_max };
            let mut seen = 0;
            loop {
                let page = checked(&*log, &model, read.clone()).await;
                seen += page.records.len();
                read.start = Start::At(page.to_position());
                if page.complete {
                    break;
                }
            }
            assert_eq!(seen, 100);
        }
    }
    log.close().await;
}

/// A topic that was never written to reads as empty and complete, and its position stays good once it is written to.
pub async fn an_unknown_topic_is_empty(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let name = topic("user:nobody");
    let mut positions = Vec::new();
    for start in [Start::Earliest, Start::Latest, Start::Time(START_MS), Start::Time(0)] {
        let page = read(&*log, &name, start, Direction::Forward, 10).await;
        assert!(page.records.is_empty() && page.complete && page.gap.is_none() && page.head == 0);
        assert!(read(&*log, &name, Start::Latest, Direction::Backward, 10).await.complete);
        positions.push(page.to_position());
    }
    append(&*log, vec![event(&name, 1)]).await;
    for position in positions {
        let page = read(&*log, &name, Start::At(position), Direction::Forward, 10).await;
        assert_eq!((page.records.len(), page.gap), (1, None));
    }
    log.close().await;
}

/// From an event's id on, or back from it.
pub async fn reading_starts_at_an_id(store: Arc<dyn Store>) {
    let (log, name, model) = filled(&store, 60).await;
    for n in [0, 1, 30, 59] {
        for direction in [Direction::Forward, Direction::Backward] {
            let start = Start::Id(event(&name, n).id);
            checked(&*log, &model, Read { topic: name.clone(), start, direction, events_max: 9, bytes_max: 1 << 20 }).await;
        }
    }
    // Ids of the kind that carry a time, where that time is right and where it is not.
    let mut model = model;
    for id in [towline_protocol::event::new_event_id(), "00000000-0000-7000-8000-000000000000".into()] {
        let carried = NewEvent { id: id.clone(), ..event(&name, 1000) };
        model.appended(std::slice::from_ref(&carried), &append(&*log, vec![carried.clone()]).await);
        let start = Start::Id(id);
        let direction = Direction::Backward;
        checked(&*log, &model, Read { topic: name.clone(), start, direction, events_max: 9, bytes_max: 1 << 20 }).await;
    }
    log.close().await;
}

/// From the first event at or after a time on, or back from it.
pub async fn reading_starts_at_a_time(store: Arc<dyn Store>) {
    let (log, name, model) = filled(&store, 60).await;
    for ts_ms in [0, START_MS, START_MS + 1, START_MS + 29_999, START_MS + 30_000, START_MS + 59_000, START_MS + 59_001, u64::MAX]
    {
        for direction in [Direction::Forward, Direction::Backward] {
            let start = Start::Time(ts_ms);
            checked(&*log, &model, Read { topic: name.clone(), start, direction, events_max: 9, bytes_max: 1 << 20 }).await;
        }
    }
    log.close().await;
}

/// Another epoch, a position beyond the head and an unknown id are answered with a gap and with what there is.
pub async fn what_cannot_be_given_is_a_gap(store: Arc<dyn Store>) {
    let (log, name, model) = filled(&store, 20).await;
    let head = log.bounds(&name).await.unwrap_or_else(|error| panic!("{error}"));
    let position = |epoch, offset| Start::At(Position { epoch, offset });
    let other = Epoch(head.epoch.0 ^ 1);
    for (start, reason) in [
        (position(other, 5), GapReason::EpochChanged),
        (position(other, 0), GapReason::EpochChanged),
        (position(head.epoch, head.head + 1), GapReason::EpochChanged),
        (position(head.epoch, u64::MAX), GapReason::EpochChanged),
        (Start::Id("no such id".into()), GapReason::UnknownId),
        (Start::Id("01890a5d-ac96-774b-bcce-b302099a8057".into()), GapReason::UnknownId),
    ] {
        let direction = Direction::Forward;
        let read = Read { topic: name.clone(), start: start.clone(), direction, events_max: 100, bytes_max: 1 << 20 };
        let page = checked(&*log, &model, read).await;
        let gap = page.gap.unwrap_or_else(|| panic!("{start:?}: no gap"));
        assert_eq!((gap.reason, gap.resume_after.epoch, page.records.len()), (reason, head.epoch, 20));
        if let Start::At(asked) = start {
            assert_eq!(gap.requested, Some(asked));
        }
    }
    log.close().await;
}

/// A page has at least one event if there is one, however large.
pub async fn an_event_larger_than_a_page_is_still_given(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let name = topic("user:1");
    let mut model = Model::default();
    let large = |n| NewEvent { data: format!("\"{}\"", "y".repeat(300_000)).into_bytes().into(), ..event(&name, n) };
    let events = vec![event(&name, 1), large(2), event(&name, 3), large(4)];
    model.appended(&events, &append(&*log, events.clone()).await);
    for (start, direction) in [(Start::Earliest, Direction::Forward), (Start::Latest, Direction::Backward)] {
        let mut read = Read { topic: name.clone(), start, direction, events_max: 10, bytes_max: 1000 };
        let mut pages = 0;
        loop {
            let page = checked(&*log, &model, read.clone()).await;
            pages += 1;
            read.start = Start::At(page.to_position());
            if page.complete {
                break;
            }
        }
        assert!(pages > 1);
    }
    log.close().await;
}

/// No cap: a replay of thousands of events arrives whole, while as many are appended.
pub async fn a_long_replay_keeps_up_with_appends(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::system()).await;
    let (name, other) = (topic("user:1"), topic("user:2"));
    let mut expected = 0;
    for call in 0..100 {
        expected += append(&*log, (0..100).map(|n| event(&name, call * 100 + n)).collect()).await.len();
    }
    let mut page = read(&*log, &name, Start::Earliest, Direction::Forward, 500).await;
    let mut seen = 0;
    let mut last = 0;
    let mut appended = 0;
    loop {
        for record in &page.records {
            assert_eq!(record.prev(), last, "no hole and no repetition");
            last = record.offset();
        }
        seen += page.records.len();
        if page.complete {
            break;
        }
        if appended < 10 {
            let more = (0..100).map(|n| event(if n % 2 == 0 { &name } else { &other }, 1_000_000 + appended * 100 + n));
            append(&*log, more.collect()).await;
            expected += 50;
            appended += 1;
        }
        page = read(&*log, &name, Start::At(page.to_position()), Direction::Forward, 500).await;
    }
    assert_eq!((seen, last), (expected, page.head));
    log.close().await;
}
