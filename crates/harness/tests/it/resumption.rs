//! Where a subscription starts: at a position, an id, a time, the earliest or the latest event; and what is said where history is missing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Clock, Gateway, GatewayBuilder, MemoryLog, PATIENCE, Packet, Socket, eventually};
use towline_log::{Policies, TopicName};
use towline_protocol::Position;
use towline_protocol::message::StoredAt;

fn at(stored: &StoredAt) -> Value {
    json!({"epoch": stored.epoch, "offset": stored.offset})
}

fn numbers(packets: &[Packet]) -> Vec<u64> {
    packets.iter().map(|packet| packet["data"]["n"].as_u64().unwrap()).collect()
}

async fn subscribe_from(socket: &mut Socket, topic: &str, from: Value) -> Packet {
    socket.subscribe(json!([{"topic": topic, "from": from}])).await
}

#[tokio::test]
async fn every_start_finds_its_place() {
    let gateway = Gateway::builder().manual_clock().start().await;
    let before_ms = gateway.clock().unix_ms();
    let mut stored = gateway.publish_numbered("user:alice", 0, 10).await;
    gateway.clock().advance(Duration::from_secs(10));
    stored.extend(gateway.publish_numbered("user:alice", 10, 10).await);
    let second = (before_ms + 10_000) as f64 / 1000.0;

    for (from, first) in [
        (json!("earliest"), 0),
        (json!("latest"), 20),
        (at(&stored[6]), 7),
        (json!(format!("{}-{}", stored[6].epoch, stored[6].offset)), 7),
        (json!({"epoch": stored[0].epoch, "offset": 0}), 0),
        (at(&stored[19]), 20),
        (json!({"id": stored[3].id}), 4),
        (json!({"ts": second}), 10),
        (json!({"ts": second - 5.0}), 10),
        (json!({"ts": before_ms}), 0),
        (json!({"ts": second + 1.0}), 20),
    ] {
        let mut alice = gateway.connect("alice").await;
        let ack = subscribe_from(&mut alice, "user:alice", from.clone()).await;
        let answer = &ack["data"]["subscriptions"][0];
        let begins = if first == 0 { 0 } else { stored[first - 1].offset };
        assert_eq!(answer["from"], json!({"epoch": stored[0].epoch, "offset": begins}), "{from}");
        assert_eq!((&answer["to"], &answer["complete"]), (&at(&stored[19]), &json!(true)), "{from}");
        assert_eq!(answer.get("gap"), None);
        let replayed = alice.expect_events(20 - first).await;
        assert_eq!(numbers(&replayed), (first as u64..20).collect::<Vec<_>>(), "{from}");
        let ids: Vec<&str> = replayed.iter().map(Packet::id).collect();
        assert_eq!(ids, stored[first..].iter().map(|one| &*one.id).collect::<Vec<_>>(), "{from}");
        if first < 20 {
            let caught_up = alice.expect("caught_up", PATIENCE).await;
            assert_eq!(caught_up["data"]["replayed"], 20 - first, "{from}");
            assert_eq!(caught_up["data"]["offset"], stored[19].offset);
        }
        alice.expect_quiet().await;
        alice.close().await;
    }
    gateway.expect_idle().await;
}

#[tokio::test]
async fn a_topic_nobody_wrote_to_is_empty_and_then_live() {
    let gateway = Gateway::start().await;
    for (user, from) in [("ann", json!("earliest")), ("ben", json!("latest")), ("cem", json!({"ts": 1}))] {
        let topic = format!("user:{user}");
        let mut alice = gateway.connect(user).await;
        let ack = subscribe_from(&mut alice, &topic, from).await;
        let answer = &ack["data"]["subscriptions"][0];
        assert_eq!((&answer["complete"], &answer["from"]), (&json!(true), &answer["to"]));
        let before = answer["to"]["offset"].as_u64().unwrap();
        gateway.publish(&topic, "x", json!({})).await;
        assert_eq!(alice.expect("x", PATIENCE).await.position().unwrap().offset, before + 1);
    }
}

/// More history than any window, page or buffer holds, and then live, without a seam.
#[tokio::test]
async fn a_replay_of_any_length_joins_the_live_events() {
    a_replay_of_any_length_joins_the_live_events_over(Gateway::builder()).await;
}

pub(crate) async fn a_replay_of_any_length_joins_the_live_events_over(builder: GatewayBuilder) {
    let gateway = builder
        .config(|config| {
            config.sockets.window_events = 50;
            config.sockets.catch_up_page_bytes = 16 * 1024;
        })
        .start()
        .await;
    let stored = gateway.publish_numbered("user:alice", 0, 5_000).await;
    let mut alice = gateway.connect("alice").await;
    let publishing = async {
        for n in 0..40 {
            gateway.publish_numbered("user:alice", 5_000 + n * 25, 25).await;
        }
    };
    let reading = async {
        subscribe_from(&mut alice, "user:alice", json!("earliest")).await;
        alice.expect_events(6_000).await
    };
    let ((), events) = tokio::join!(publishing, reading);
    assert_eq!(numbers(&events), (0..6_000).collect::<Vec<_>>());
    assert_eq!(events[4_999].id(), stored[4_999].id);
    assert!(gateway.metric("towline_catch_up_events_total").await >= 4_000.0);
}

/// A client that comes back with its last position misses nothing and sees nothing twice.
#[tokio::test]
async fn a_client_that_comes_back_goes_on_where_it_was() {
    let gateway = Gateway::start().await;
    let mut seen = Vec::new();
    let mut last: Option<Position> = None;
    for round in 0..10_usize {
        let mut alice = gateway.connect("alice").await;
        let from = last.map_or(json!("earliest"), |position| json!(position.to_string()));
        gateway.publish_numbered("user:alice", round * 10, 5).await;
        subscribe_from(&mut alice, "user:alice", from).await;
        gateway.publish_numbered("user:alice", round * 10 + 5, 5).await;
        // It leaves in the middle, having seen only some of them.
        let events = alice.expect_events(if round == 9 { 100 - seen.len() } else { 3 + round }).await;
        seen.extend(numbers(&events));
        last = alice.position("user:alice");
    }
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn subscribing_again_moves_the_cursor() {
    let gateway = Gateway::start().await;
    gateway.publish_numbered("user:alice", 0, 10).await;
    let mut alice = gateway.connect("alice").await;
    for _ in 0..3 {
        subscribe_from(&mut alice, "user:alice", json!("earliest")).await;
        assert_eq!(numbers(&alice.expect_events(10).await), (0..10).collect::<Vec<_>>());
        alice.expect("caught_up", PATIENCE).await;
    }
    gateway.publish_numbered("user:alice", 10, 1).await;
    assert_eq!(numbers(&alice.expect_events(1).await), [10]);
    alice.expect_quiet().await;
}

/// A log in memory, whose history can be cut and lost, with offsets that are not consecutive.
async fn over_memory(window_events: usize) -> (Gateway, MemoryLog) {
    let clock = Clock::system();
    let log = MemoryLog::with(clock.clone(), Policies::default(), 3);
    let gateway = Gateway::builder()
        .clock(clock)
        .log(Arc::new(log.clone()))
        .config(move |config| config.sockets.window_events = window_events)
        .start()
        .await;
    (gateway, log)
}

#[tokio::test]
async fn trimmed_history_is_a_gap_and_never_silence() {
    let (gateway, log) = over_memory(500).await;
    let topic = TopicName::new("user:alice").unwrap();
    let stored = gateway.publish_numbered("user:alice", 0, 20).await;
    log.trim(&topic, 8);
    let floor = json!({"epoch": stored[0].epoch, "offset": stored[11].offset});

    for (from, reason) in [
        (at(&stored[4]), Some("trimmed")),
        (json!({"epoch": stored[0].epoch, "offset": 0}), Some("trimmed")),
        (json!({"ts": 1}), Some("trimmed")),
        (json!({"id": stored[2].id}), Some("unknown_id")),
        (json!({"id": "never-published"}), Some("unknown_id")),
        (json!({"epoch": "dead", "offset": 4}), Some("epoch_changed")),
        (json!({"epoch": stored[0].epoch, "offset": 1_000_000}), Some("epoch_changed")),
        // Whoever asks for what there is misses nothing.
        (json!("earliest"), None),
        (at(&stored[11]), None),
    ] {
        let mut alice = gateway.connect("alice").await;
        let ack = subscribe_from(&mut alice, "user:alice", from.clone()).await;
        let answer = &ack["data"]["subscriptions"][0];
        assert_eq!(answer["complete"], reason.is_none(), "{from}");
        assert_eq!(answer["from"], floor, "{from}");
        if let Some(reason) = reason {
            assert_eq!((&answer["gap"]["reason"], &answer["gap"]["resume_after"]), (&json!(reason), &floor), "{from}");
            let requested = if from.get("offset").is_some() { from.clone() } else { Value::Null };
            assert_eq!(answer["gap"]["requested"], requested, "{from}");
        }
        assert_eq!(numbers(&alice.expect_events(8).await), (12..20).collect::<Vec<_>>(), "{from}");
    }
    assert!(gateway.metric("towline_gaps_total").await >= 7.0);
}

/// Retention overtakes a reader that is far behind: it is told where delivery goes on.
#[tokio::test]
async fn a_slow_reader_that_retention_overtakes_is_told() {
    let (gateway, log) = over_memory(4).await;
    let topic = TopicName::new("user:alice").unwrap();
    let token = gateway.token("alice").mint();
    let mut alice = gateway.native().bearer(token).receive_buffer(4096).open().await;
    alice.expect("welcome", PATIENCE).await;
    alice.subscribe(json!(["user:alice"])).await;
    // Far more than all buffers on the way hold.
    gateway.publish_padded("user:alice", 0, 2_000, 8_000).await;
    log.trim(&topic, 10);
    let mut seen = Vec::new();
    let mut gaps = Vec::new();
    while seen.last() != Some(&1_999) {
        let packet = alice.next(PATIENCE).await.unwrap_or_else(|| alice.transcript().fail("the end did not come"));
        match packet.kind() {
            "gap" => gaps.push(packet["data"].clone()),
            "caught_up" => {}
            _ => seen.extend(numbers(&[packet])),
        }
    }
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0]["reason"], "trimmed");
    let requested = gaps[0]["requested"]["offset"].as_u64().unwrap();
    assert_eq!(requested, (seen.len() as u64 - 10) * 3, "the gap begins where delivery had come to");
    assert_eq!(seen[seen.len() - 10..], (1_990..2_000).collect::<Vec<_>>());
}

/// A log that loses continuity under open subscriptions says so to each of them, and new events follow.
#[tokio::test]
async fn a_lost_history_is_a_gap_on_open_sockets_too() {
    let (gateway, log) = over_memory(500).await;
    let topic = TopicName::new("user:alice").unwrap();
    let before = gateway.publish_numbered("user:alice", 0, 3).await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let mut alice = gateway.connect("alice").await;
        subscribe_from(&mut alice, "user:alice", json!("earliest")).await;
        alice.expect_events(3).await;
        alice.expect("caught_up", PATIENCE).await;
        sockets.push(alice);
    }
    log.reset(&topic);
    let after = gateway.publish_numbered("user:alice", 3, 2).await;
    assert_ne!(after[0].epoch, before[0].epoch);
    for alice in &mut sockets {
        let gap = alice.expect("gap", PATIENCE).await;
        assert_eq!((gap.topic(), &gap["data"]["reason"]), ("user:alice", &json!("epoch_changed")));
        assert_eq!(gap["data"]["requested"], at(&before[2]));
        assert_eq!(numbers(&alice.expect_events(2).await), [3, 4]);
    }
    // And to whoever comes back with a position of the old one.
    let mut late = gateway.connect("alice").await;
    let ack = subscribe_from(&mut late, "user:alice", at(&before[2])).await;
    assert_eq!(ack["data"]["subscriptions"][0]["gap"]["reason"], "epoch_changed");
    assert_eq!(numbers(&late.expect_events(2).await), [3, 4]);
}

/// The history changes between the log's answer to a subscribe and the cursor's seat: the answer would be about events that are no more.
#[tokio::test]
async fn a_history_lost_while_subscribing_is_never_mistaken_for_the_new_one() {
    let (gateway, log) = over_memory(1).await;
    let gateway = &gateway;
    let stored = gateway.publish_numbered("user:alice", 0, 5).await;
    // Both on one worker or each on its own: the second meets a topic that is known there, or is the first to watch it.
    let mut watching = Vec::new();
    for _ in 0..2 {
        let mut socket = gateway.connect("alice").await;
        socket.subscribe(json!(["user:alice"])).await;
        watching.push(socket);
    }
    let mut late = gateway.connect("alice").await;
    gateway.faults().hold_reads();
    let reads = gateway.faults().reads();
    late.send(json!({"id": "late", "type": "subscribe", "data": {"topics": [{"topic": "user:alice", "from": at(&stored[1])}]}}))
        .await;
    eventually("the log was asked", || async { gateway.faults().reads() > reads }).await;
    log.reset(&TopicName::new("user:alice").unwrap());
    gateway.publish_numbered("user:alice", 5, 4).await;
    for socket in &mut watching {
        socket.expect("gap", PATIENCE).await;
    }
    gateway.faults().release_reads();
    for socket in &mut watching {
        assert_eq!(numbers(&socket.expect_events(4).await), [5, 6, 7, 8]);
    }
    let (code, reason) = late.expect_close(PATIENCE).await;
    assert_eq!((code, reason.contains("history")), (1011, true), "{reason}");
    let mut again = gateway.connect("alice").await;
    let ack = subscribe_from(&mut again, "user:alice", at(&stored[1])).await;
    assert_eq!(ack["data"]["subscriptions"][0]["gap"]["reason"], "epoch_changed");
    assert_eq!(numbers(&again.expect_events(4).await), [5, 6, 7, 8]);
}
