//! Properties of retention.

use std::sync::Arc;
use std::time::Duration;

use towline_clock::Clock;
use towline_protocol::{Position, TopicName};

use super::model::Model;
use super::{START_MS, Store, append, event, read, topic};
use crate::{Bounds, Direction, EventLog, GapReason, Policies, Retention, Start, TopicPolicy};

fn keeping(retention: Retention) -> Policies {
    Policies { fallback: TopicPolicy { retention, ..TopicPolicy::default() }, ..Policies::default() }
}

const ALL: Retention = Retention { age_max: None, events_max: None, bytes_max: None };

async fn bounds(log: &dyn EventLog, topic: &TopicName) -> Bounds {
    log.bounds(topic).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Appends `count` events, one second apart.
async fn fill(log: &dyn EventLog, clock: &Clock, name: &TopicName, first: u64, count: u64, model: &mut Model) {
    for n in first..first + count {
        let events = vec![event(name, n)];
        model.appended(&events, &append(log, events.clone()).await);
        clock.advance(Duration::from_secs(1));
    }
}

/// Whoever asks for what went is told so, and gets what is left.
async fn check_gap(log: &dyn EventLog, name: &TopicName, model: &mut Model) {
    for name in model.topics.keys().cloned().collect::<Vec<_>>() {
        model.trimmed(&name, &bounds(log, &name).await);
    }
    let now = bounds(log, name).await;
    model.check_all(log, 7).await;
    let start = Start::At(Position { epoch: now.epoch, offset: 0 });
    let page = read(log, name, start, Direction::Forward, 1000).await;
    let gap = page.gap.unwrap_or_else(|| panic!("no gap after trimming to {}", now.floor));
    assert_eq!((gap.reason, gap.resume_after.offset), (GapReason::Trimmed, now.floor));
    assert_eq!(page.records.len() as u64, now.events);
}

/// By count. An engine may keep more for a while, never less.
pub async fn events_beyond_the_count_go(store: Arc<dyn Store>) {
    let clock = Clock::manual(START_MS);
    let log = store.open(keeping(Retention { events_max: Some(20), ..ALL }), clock.clone()).await;
    let name = topic("user:1");
    let mut model = Model::default();
    fill(&*log, &clock, &name, 0, 20, &mut model).await;
    assert_eq!(bounds(&*log, &name).await.floor, 0, "nothing is trimmed at the limit");
    fill(&*log, &clock, &name, 20, 33, &mut model).await;
    store.retain().await;
    assert_eq!(bounds(&*log, &name).await.events, 20);
    check_gap(&*log, &name, &mut model).await;
    assert!(log.stats().trimmed_total >= 33);
    log.close().await;
}

/// By bytes of bodies: within the limit afterwards, and the newest stay.
pub async fn events_beyond_the_bytes_go(store: Arc<dyn Store>) {
    let clock = Clock::manual(START_MS);
    let log = store.open(keeping(Retention { bytes_max: Some(4_000), ..ALL }), clock.clone()).await;
    let name = topic("user:1");
    let mut model = Model::default();
    fill(&*log, &clock, &name, 0, 60, &mut model).await;
    store.retain().await;
    let now = bounds(&*log, &name).await;
    assert!(now.bytes <= 4_000 && now.events >= 5, "{now:?}");
    check_gap(&*log, &name, &mut model).await;
    log.close().await;
}

/// By age, to the event.
pub async fn events_beyond_the_age_go(store: Arc<dyn Store>) {
    let clock = Clock::manual(START_MS);
    let log = store.open(keeping(Retention { age_max: Some(Duration::from_secs(30)), ..ALL }), clock.clone()).await;
    let (name, quiet) = (topic("user:1"), topic("user:2"));
    let mut model = Model::default();
    fill(&*log, &clock, &quiet, 0, 5, &mut model).await;
    fill(&*log, &clock, &name, 0, 50, &mut model).await;
    store.retain().await;
    let now = bounds(&*log, &name).await;
    assert_eq!((now.events, now.head), (30, model.topics[&name].head()), "those of the last 30 seconds");
    check_gap(&*log, &name, &mut model).await;
    let empty = bounds(&*log, &quiet).await;
    assert_eq!((empty.events, empty.floor), (0, empty.head), "a quiet topic ages too");
    check_gap(&*log, &quiet, &mut model).await;
    log.close().await;
}

/// Floors and heads survive a restart, and what is appended next goes on from there.
pub async fn what_went_stays_gone(store: Arc<dyn Store>) {
    if !store.keeps_events() {
        return;
    }
    let clock = Clock::manual(START_MS);
    let name = topic("user:1");
    let quiet = topic("user:2");
    let mut model = Model::default();
    for round in 0..4 {
        let retention = Retention { events_max: Some(10), age_max: Some(Duration::from_secs(60)), ..ALL };
        let log = store.open(keeping(retention), clock.clone()).await;
        if round == 0 {
            fill(&*log, &clock, &quiet, 0, 5, &mut model).await;
        }
        fill(&*log, &clock, &name, round * 25, 25, &mut model).await;
        store.retain().await;
        check_gap(&*log, &name, &mut model).await;
        let without_bytes = |bounds: Bounds| Bounds { bytes: 0, ..bounds };
        let at_end = [bounds(&*log, &name).await, bounds(&*log, &quiet).await].map(without_bytes);
        log.close().await;
        let log = store.open(keeping(retention), clock.clone()).await;
        let again = [bounds(&*log, &name).await, bounds(&*log, &quiet).await].map(without_bytes);
        assert_eq!(again, at_end);
        check_gap(&*log, &name, &mut model).await;
        log.close().await;
    }
    let log = store.open(keeping(ALL), clock.clone()).await;
    model.trimmed(&quiet, &bounds(&*log, &quiet).await);
    fill(&*log, &clock, &quiet, 1_000, 3, &mut model).await;
    model.check_all(&*log, 7).await;
    log.close().await;
}
