//! The real binary is killed while publishers and subscribers run through the Rust client: what was acknowledged comes, in order, once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use towline_client::{Client, Position, Publish, PublishResult, Settings, StartRequest, Update};
use towline_harness::{Binary, PATIENCE, SERVICE_KEY, eventually};

const PUBLISHERS: usize = 4;
const EVENTS: usize = 150;
const KILLS: usize = 4;

fn client(binary: &Binary) -> Client {
    let settings = Settings {
        reconnect_delay: Duration::from_millis(20),
        reconnect_delay_max: Duration::from_millis(200),
        publish_patience: Duration::from_secs(60),
        ..Settings::default()
    };
    Client::builder(binary.url("")).token(SERVICE_KEY).settings(settings).build().unwrap()
}

/// What a subscriber saw: per publisher its numbers, and the positions in the order of delivery.
async fn watch(
    client: Client,
    topics: [&'static str; 2],
    from: StartRequest,
) -> (Vec<(usize, usize)>, HashMap<String, Vec<Position>>) {
    let mut watching = client.subscribe(topics.map(|topic| (topic, from.clone()))).unwrap();
    let mut seen = Vec::new();
    let mut positions: HashMap<String, Vec<Position>> = HashMap::new();
    while seen.len() < PUBLISHERS * EVENTS {
        let update = tokio::time::timeout(PATIENCE * 2, watching.next()).await.expect("nothing came").expect("it stopped");
        match update {
            Update::Event(event) => {
                let data: serde_json::Value = event.data().unwrap();
                seen.push((data["publisher"].as_u64().unwrap() as usize, data["n"].as_u64().unwrap() as usize));
                positions.entry(event.topic.to_string()).or_default().push(event.position);
            }
            Update::Gap(_) | Update::Hole(_) | Update::Stopped(_) | Update::Refused { .. } => panic!("{update:?}"),
            _ => {}
        }
    }
    (seen, positions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kills_in_order_and_once() {
    let topics = ["thread:1", "thread:2"];
    let mut binary = Binary::start(&[]).await;
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let watchers: Vec<_> = (0..3).map(|_| tokio::spawn(watch(client(&binary), topics, StartRequest::Earliest))).collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (client, acknowledged) = (client(&binary), Arc::clone(&acknowledged));
            tokio::spawn(async move {
                let mut stored = Vec::new();
                for n in 0..EVENTS {
                    let event = Publish::new(topics[publisher % 2], "step").data(json!({"publisher": publisher, "n": n}));
                    let result = client.publish([event]).await.unwrap().remove(0);
                    match result {
                        PublishResult::Stored(at) | PublishResult::Duplicate(at) => stored.push(at),
                        PublishResult::Refused { error, .. } => panic!("{error:?}"),
                    }
                    acknowledged.fetch_add(1, Ordering::SeqCst);
                }
                stored
            })
        })
        .collect();
    for kill in 1..=KILLS {
        // In the middle of the work, wherever that happens to be.
        eventually("publishing goes on", || async {
            acknowledged.load(Ordering::SeqCst) >= kill * PUBLISHERS * EVENTS / (KILLS + 1)
        })
        .await;
        binary.restart().await;
    }
    let mut stored = Vec::new();
    for publisher in publishers {
        stored.push(publisher.await.unwrap());
    }
    // A newcomer replays the same as those who were there all the time.
    let newcomer = tokio::spawn(watch(client(&binary), topics, StartRequest::Earliest));
    let mut orders = Vec::new();
    for watcher in watchers.into_iter().chain([newcomer]) {
        let (seen, positions) = watcher.await.unwrap();
        for publisher in 0..PUBLISHERS {
            let numbers: Vec<usize> = seen.iter().filter(|(by, _)| *by == publisher).map(|(_, n)| *n).collect();
            assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>(), "publisher {publisher}");
        }
        orders.push(positions);
    }
    assert!(orders.windows(2).all(|two| two[0] == two[1]), "all see one order");
    // Everything stands where its acknowledgement said.
    for at in stored.iter().flatten() {
        let position = Position { epoch: at.epoch, offset: at.offset };
        assert!(orders[0][&at.topic].contains(&position), "{position} of {} is gone", at.topic);
    }
    assert!(binary.output().matches("\"listening\"").count() > KILLS, "it was started {KILLS} times again");
}
