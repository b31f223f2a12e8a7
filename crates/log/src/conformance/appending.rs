//! Properties of appends.

use std::sync::Arc;
use std::time::Duration;

use towline_clock::Clock;

use super::model::Model;
use super::{START_MS, Store, append, event, read, topic};
use crate::{AppendError, Direction, Durability, Policies, Start, TopicPolicy};

/// Positions increase within a topic, in the order given and from call to call.
pub async fn answers_are_positions_in_order(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let name = topic("user:1");
    let mut model = Model::default();
    assert_eq!(append(&*log, Vec::new()).await, Vec::new());
    for call in 0..20 {
        let events: Vec<_> = (0..call).map(|n| event(&name, call * 100 + n)).collect();
        model.appended(&events, &append(&*log, events.clone()).await);
    }
    model.check_all(&*log, 7).await;
    log.close().await;
}

/// One call may concern several topics of different durability; each keeps its own order.
pub async fn a_call_may_span_topics(store: Arc<dyn Store>) {
    let policy = |durability| TopicPolicy { durability, ..TopicPolicy::default() };
    let rule = |pattern: &str, durability| {
        let pattern = towline_protocol::TopicPattern::new(pattern).unwrap_or_else(|error| panic!("{error}"));
        (pattern, policy(durability))
    };
    let rules = vec![rule("memory:*", Durability::Memory), rule("relaxed:*", Durability::Relaxed)];
    let log = store.open(Policies { rules, ..Policies::default() }, Clock::manual(START_MS)).await;
    let topics = [topic("memory:1"), topic("relaxed:1"), topic("durable:1")];
    let mut model = Model::default();
    for call in 0..30 {
        let events: Vec<_> = (0..10).map(|n| event(&topics[(call + n * n) as usize % 3], call * 10 + n)).collect();
        model.appended(&events, &append(&*log, events.clone()).await);
    }
    model.check_all(&*log, 7).await;
    log.close().await;
}

/// An id appended again, later or in the same call, gets the first position. Another topic may use the same id.
pub async fn an_id_is_stored_once(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let (name, other) = (topic("user:1"), topic("user:2"));
    let first = append(&*log, vec![event(&name, 1), event(&name, 2), event(&name, 1)]).await;
    assert!(!first[0].duplicate && !first[1].duplicate);
    assert_eq!((first[2].position, first[2].duplicate), (first[0].position, true));
    let again = append(&*log, vec![event(&name, 2), event(&name, 3)]).await;
    assert_eq!((again[0].position, again[0].duplicate, again[0].ts_ms), (first[1].position, true, first[1].ts_ms));
    assert!(!again[1].duplicate);
    let mut elsewhere = event(&other, 1);
    elsewhere.id = event(&name, 1).id;
    assert!(!append(&*log, vec![elsewhere]).await[0].duplicate);
    assert_eq!(read(&*log, &name, Start::Earliest, Direction::Forward, 10).await.records.len(), 3);
    log.close().await;
}

/// Of many concurrent appends of one id, one stores it and all name the same position.
pub async fn an_id_is_stored_once_however_many_publish_it_at_once(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let name = topic("user:1");
    for round in 0..20 {
        let calls: Vec<_> = (0..16).map(|_| log.append(vec![event(&name, round)])).collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.extend(call.await.unwrap_or_else(|error| panic!("refused: {error}")));
        }
        assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
        assert!(answers.iter().all(|answer| answer.position == answers[0].position));
    }
    assert_eq!(read(&*log, &name, Start::Earliest, Direction::Forward, 100).await.records.len(), 20);
    log.close().await;
}

/// After the window an id is new again.
pub async fn an_id_may_come_again_after_the_window(store: Arc<dyn Store>) {
    let clock = Clock::manual(START_MS);
    let policies = Policies { dedup_window: Duration::from_secs(60), ..Policies::default() };
    let log = store.open(policies, clock.clone()).await;
    let name = topic("user:1");
    let first = append(&*log, vec![event(&name, 1)]).await[0];
    clock.advance(Duration::from_secs(59));
    assert!(append(&*log, vec![event(&name, 1)]).await[0].duplicate);
    clock.advance(Duration::from_secs(2));
    let later = append(&*log, vec![event(&name, 1)]).await[0];
    assert!(!later.duplicate && later.position.offset > first.position.offset);
    log.close().await;
}

/// A read that begins after the acknowledgement sees the event.
pub async fn what_is_acknowledged_can_be_read(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let name = topic("user:1");
    for n in 0..50 {
        let answer = append(&*log, vec![event(&name, n)]).await[0];
        let page = read(&*log, &name, Start::Latest, Direction::Backward, 1).await;
        assert_eq!(page.records[0].offset(), answer.position.offset);
        let bounds = log.bounds(&name).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((bounds.head, bounds.epoch, bounds.events), (answer.position.offset, answer.position.epoch, n + 1));
    }
    log.close().await;
}

/// Closing finishes what was accepted, and refuses what comes later.
pub async fn a_closed_log_refuses(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let name = topic("user:1");
    let accepted: Vec<_> = (0..100).map(|n| log.append(vec![event(&name, n)])).collect();
    let closing = log.close();
    for call in accepted {
        assert!(call.await.is_ok(), "accepted before the close");
    }
    closing.await;
    log.close().await;
    assert!(matches!(log.append(vec![event(&name, 1000)]).await, Err(AppendError::Closed)));
    assert_ne!(log.health(), crate::Health::Ready);
}

/// Events, epochs and known ids are there again.
pub async fn a_closed_log_is_all_there_when_opened_again(store: Arc<dyn Store>) {
    if !store.keeps_events() {
        return;
    }
    let clock = Clock::manual(START_MS);
    let name = topic("user:1");
    let untouched = topic("user:never");
    let mut model = Model::default();
    let mut before = None;
    for round in 0..3 {
        let log = store.open(Policies::default(), clock.clone()).await;
        let unwritten = log.bounds(&untouched).await.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(*before.get_or_insert(unwritten), unwritten, "a position before the first event stays valid");
        model.check_all(&*log, 11).await;
        let events: Vec<_> = (0..40).map(|n| event(&name, round * 20 + n)).collect();
        let answers = append(&*log, events.clone()).await;
        let known = if round == 0 { 0 } else { 20 };
        assert_eq!(answers.iter().filter(|answer| answer.duplicate).count(), known, "ids are still known");
        model.appended(&events, &answers);
        log.close().await;
    }
}
