//! Sockets that do not read: others are not delayed, memory does not grow, and whoever reads again gets everything.

use std::time::Duration;

use serde_json::json;
use towline_harness::{Binary, Gateway, GatewayBuilder, PATIENCE, Packet, SERVICE_KEY, Socket, eventually};

/// What the kernel takes for a reader that does not read; the rest is the server's affair.
const SMALL: u32 = 4096;

fn numbers(packets: &[Packet]) -> Vec<u64> {
    packets.iter().map(|packet| packet["data"]["n"].as_u64().unwrap()).collect()
}

async fn slow_reader(endpoint: &towline_harness::Endpoint, topic: &str) -> Socket {
    let mut socket = endpoint.native().bearer(SERVICE_KEY).receive_buffer(SMALL).open().await;
    socket.expect("welcome", PATIENCE).await;
    socket.subscribe(json!([topic])).await;
    socket
}

// proves: B4
#[tokio::test]
async fn a_slow_reader_delays_nobody_and_gets_everything_in_the_end() {
    a_slow_reader_delays_nobody_and_gets_everything_in_the_end_over(Gateway::builder()).await;
}

pub(crate) async fn a_slow_reader_delays_nobody_and_gets_everything_in_the_end_over(builder: GatewayBuilder) {
    let gateway = builder.config(|config| config.sockets.window_events = 50).start().await;
    let mut slow = Vec::new();
    let mut quick = Vec::new();
    for _ in 0..4 {
        slow.push(slow_reader(&gateway, "a").await);
        let mut socket = gateway.connect_with(SERVICE_KEY).await;
        socket.subscribe(json!(["a"])).await;
        quick.push(socket);
    }
    for first in (0..2_000).step_by(50) {
        gateway.publish_padded("a", first, 50, 4_000).await;
        // While the slow ones are stuck, each of the others gets every event.
        for socket in &mut quick {
            assert_eq!(numbers(&socket.expect_events(50).await), (first as u64..first as u64 + 50).collect::<Vec<_>>());
        }
    }
    let transition = |to: &str| format!("towline_subscription_transitions_total{{to=\"{to}\"}}");
    assert_eq!(gateway.metric(&transition("lagging")).await, 4.0);
    let behind = |state: &str| format!("towline_subscriptions_behind{{state=\"{state}\"}}");
    assert_eq!(gateway.metric(&behind("lagging")).await, 4.0);
    for socket in &mut slow {
        let events = socket.expect_events(2_000).await;
        assert_eq!(numbers(&events), (0..2_000).collect::<Vec<_>>());
    }
    assert_eq!(gateway.metric(&transition("catching_up")).await, 4.0);
    eventually("they are back at the window", || async { gateway.metric(&transition("rejoined")).await >= 4.0 }).await;
    // And live again.
    for state in ["lagging", "catching_up"] {
        assert_eq!(gateway.metric(&behind(state)).await, 0.0);
    }
    gateway.publish_numbered("a", 2_000, 1).await;
    for socket in slow.iter_mut().chain(&mut quick) {
        assert_eq!(numbers(&socket.expect_events(1).await), [2_000]);
    }
    assert_eq!(gateway.metric("towline_gaps_total").await, 0.0);
    drop((slow, quick));
    gateway.expect_idle().await;
}

/// Requests of a slow reader are answered in their place among the events, and its other topics are served too.
// proves: B4
#[tokio::test]
async fn a_slow_readers_answers_and_other_topics_are_not_lost() {
    a_slow_readers_answers_and_other_topics_are_not_lost_over(Gateway::builder()).await;
}

pub(crate) async fn a_slow_readers_answers_and_other_topics_are_not_lost_over(builder: GatewayBuilder) {
    let gateway = builder.config(|config| config.sockets.window_events = 10).start().await;
    let mut slow = slow_reader(&gateway, "a").await;
    slow.subscribe(json!(["b", "c"])).await;
    for topic in ["a", "b", "c"] {
        gateway.publish_padded(topic, 0, 700, 4_000).await;
    }
    slow.send(json!({"id": "late", "type": "ping"})).await;
    let mut last = std::collections::HashMap::from([("a", None), ("b", None), ("c", None)]);
    let mut answered = false;
    while !answered || last.values().any(|last| *last != Some(699)) {
        let packet = slow.next(PATIENCE).await.unwrap_or_else(|| slow.transcript().fail(format_args!("{last:?}")));
        match packet.kind() {
            "pong" => answered = true,
            "caught_up" => {}
            _ => {
                let (topic, n) = (packet.topic().to_owned(), packet["data"]["n"].as_u64());
                let last = last.get_mut(&*topic).unwrap();
                assert_eq!(n, Some(last.map_or(0, |last| last + 1)), "{topic}");
                *last = n;
            }
        }
    }
}

// proves: B4
#[tokio::test]
async fn a_reader_that_is_stuck_for_30_s_is_closed_with_4410_and_resumes() {
    a_reader_that_is_stuck_for_30_s_is_closed_with_4410_and_resumes_over(Gateway::builder()).await;
}

pub(crate) async fn a_reader_that_is_stuck_for_30_s_is_closed_with_4410_and_resumes_over(builder: GatewayBuilder) {
    let gateway = builder.manual_clock().start().await;
    let mut slow = slow_reader(&gateway, "a").await;
    gateway.publish_padded("a", 0, 2_000, 4_000).await;
    let metrics = gateway.server().shared().metrics.clone();
    eventually("the socket is full", || async { metrics.lagging.get() + metrics.catching_up.get() > 0 }).await;
    gateway.clock().advance(Duration::from_secs(29));
    gateway.connect("other").await.expect_quiet().await;
    assert_eq!(metrics.stalled.get(), 0);
    gateway.clock().advance(Duration::from_secs(2));
    eventually("the socket is closed", || async { metrics.stalled.get() == 1 }).await;
    let (packets, (code, _)) = slow.until_close().await;
    assert_eq!(code, 4410, "the code reaches a reader that reads again");
    let seen = packets.len();
    assert!(seen < 2_000);
    let position = slow.position("a").unwrap();
    drop(slow);
    let mut again = gateway.connect_with(SERVICE_KEY).await;
    again.subscribe(json!([{"topic": "a", "from": position.to_string()}])).await;
    assert_eq!(numbers(&again.expect_events(2_000 - seen).await), (seen as u64..2_000).collect::<Vec<_>>());
    drop(again);
    gateway.expect_idle().await;
}

/// Fifty readers that never read, and far more data than they may make the server hold.
// proves: B4
#[tokio::test]
async fn memory_does_not_grow_with_what_is_not_read() {
    const MIB: u64 = 1 << 20;
    let binary = Binary::start(&[("TOWLINE_LOG_DURABILITY", "relaxed")]).await;
    let mut quick = binary.connect_with(SERVICE_KEY).await;
    quick.subscribe(json!(["a"])).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        slow.push(slow_reader(&binary, "a").await);
    }
    // What the server needs for such traffic at all.
    binary.publish_padded("a", 0, 1_000, 8_000).await;
    quick.expect_events(1_000).await;
    let before = binary.resident_bytes();
    let mut most = before;
    for first in (1_000..6_000).step_by(500) {
        binary.publish_padded("a", first, 500, 8_000).await;
        assert_eq!(numbers(&quick.expect_events(500).await)[0], first as u64);
        most = most.max(binary.resident_bytes());
    }
    let grown = (most - before) / MIB;
    println!("40 MiB for each of 50 readers that do not read: the server grew by {grown} MiB from {} MiB", before / MIB);
    assert!(grown < 64, "the server grew by {grown} MiB");
}
