//! Properties of followers.

use std::sync::Arc;

use parking_lot::Mutex;
use towline_clock::Clock;
use towline_protocol::{Epoch, Position};

use super::{START_MS, Store, append, event, read, topic};
use crate::{Direction, Follower, Policies, Record, Start};

/// Writes down what it gets.
#[derive(Default)]
struct Notebook {
    seen: Mutex<Vec<(Epoch, Record)>>,
}

impl Notebook {
    fn seen(&self) -> Vec<(Epoch, Record)> {
        self.seen.lock().clone()
    }

    fn offsets(&self) -> Vec<u64> {
        self.seen().iter().map(|(_, record)| record.offset()).collect()
    }
}

impl Follower for Notebook {
    fn committed(&self, epoch: Epoch, records: &[Record]) {
        self.seen.lock().extend(records.iter().map(|record| (epoch, record.clone())));
    }

    fn reset(&self, _head: Position) {}
}

/// Everything after the returned head comes, in order, whatever is being appended meanwhile; everything up to it can be read.
pub async fn a_follower_gets_everything_from_its_head_on(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::system()).await;
    let (name, other) = (topic("user:1"), topic("user:2"));
    for round in 0..20_u64 {
        let call = |part: u64| {
            let events =
                (0..40).flat_map(|n| [event(&name, round * 1000 + part * 100 + n), event(&other, round * 1000 + part * 100 + n)]);
            events.map(|event| log.append(vec![event])).collect::<Vec<_>>()
        };
        let mut calls = call(0);
        let notebook = Arc::new(Notebook::default());
        let head = log.follow(&name, notebook.clone()).await.unwrap_or_else(|error| panic!("{error}"));
        calls.extend(call(1));
        for call in calls {
            assert!(call.await.is_ok());
        }
        let page = read(&*log, &name, Start::At(head), Direction::Forward, 1000).await;
        let seen = notebook.seen();
        assert_eq!(seen.iter().map(|(_, record)| record).collect::<Vec<_>>(), page.records.iter().collect::<Vec<_>>());
        assert!(seen.iter().all(|(epoch, _)| *epoch == head.epoch));
        let mut before = head.offset;
        for (_, record) in &seen {
            assert_eq!(record.prev(), before, "each says which it follows");
            before = record.offset();
        }
        assert!(seen.len() >= 40);
    }
    log.close().await;
}

/// Whoever published has its acknowledgement after the follower has the event.
pub async fn a_follower_is_served_before_the_publisher(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let name = topic("user:1");
    let notebook = Arc::new(Notebook::default());
    let head = log.follow(&name, notebook.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(head.offset, 0);
    for n in 0..50 {
        let answer = append(&*log, vec![event(&name, n)]).await[0];
        assert_eq!(answer.position.epoch, head.epoch, "the epoch that the follower was told");
        assert_eq!(notebook.offsets().last(), Some(&answer.position.offset));
        assert!(append(&*log, vec![event(&name, n)]).await[0].duplicate);
    }
    assert_eq!(notebook.offsets().len(), 50, "duplicates are not handed out");
    log.close().await;
}

/// The latest follower counts, and none after unfollow.
pub async fn one_follower_per_topic_and_none_after_unfollow(store: Arc<dyn Store>) {
    let log = store.open(Policies::default(), Clock::manual(START_MS)).await;
    let name = topic("user:1");
    let (first, second) = (Arc::new(Notebook::default()), Arc::new(Notebook::default()));
    let follow =
        async |notebook: &Arc<Notebook>| log.follow(&name, notebook.clone()).await.unwrap_or_else(|error| panic!("{error}"));
    follow(&first).await;
    append(&*log, vec![event(&name, 1)]).await;
    let head = follow(&second).await;
    append(&*log, vec![event(&name, 2)]).await;
    log.unfollow(&name);
    log.unfollow(&topic("user:never-followed"));
    append(&*log, vec![event(&name, 3)]).await;
    assert_eq!((first.offsets().len(), second.offsets().len()), (1, 1));
    assert!(second.offsets()[0] > head.offset);
    follow(&first).await;
    append(&*log, vec![event(&name, 4)]).await;
    assert_eq!(first.offsets().len(), 2);
    log.close().await;
}
