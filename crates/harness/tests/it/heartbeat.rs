//! Silence: a ping after 30 s, the end after 60 s, and neither for who is alive. The clock is the test's.

use std::time::Duration;

use serde_json::json;
use towline_harness::{Gateway, GatewayBuilder, PATIENCE, eventually};

async fn gateway(builder: GatewayBuilder) -> Gateway {
    builder.manual_clock().start().await
}

async fn pings(gateway: &Gateway) -> u64 {
    gateway.server().shared().metrics.heartbeats.get()
}

// proves: B3
#[tokio::test]
async fn a_silent_socket_is_pinged_and_then_closed_with_4408() {
    a_silent_socket_is_pinged_and_then_closed_with_4408_over(Gateway::builder()).await;
}

pub(crate) async fn a_silent_socket_is_pinged_and_then_closed_with_4408_over(builder: GatewayBuilder) {
    let gateway = gateway(builder).await;
    let token = gateway.token("alice").mint();
    let mut native = gateway.raw().await;
    native.upgrade(&format!("/ws?token={token}"), "Sec-WebSocket-Protocol: towline.v1\r\n").await;
    let mut feed = gateway.raw().await;
    feed.upgrade(&format!("/api/v1/ws/agents/alice?token={token}"), "").await;
    assert_eq!(native.frame().await.unwrap().first_byte, 0x81, "welcome");
    let metrics = gateway.server().shared().metrics.clone();
    // The feed says no welcome: its silence counts from when it was taken over, not from the 101.
    eventually("the feed is open", || async { metrics.connections("feed").get() == 1 }).await;

    gateway.clock().advance(Duration::from_secs(31));
    // The native door's page code gets a message it can see; both get the frame that libraries answer.
    assert_eq!(native.frame().await.unwrap().first_byte, 0x89);
    let message = native.frame().await.unwrap();
    assert!(message.first_byte == 0x81 && message.payload.windows(13).any(|part| part == b"\"type\":\"ping\""));
    assert_eq!(feed.frame().await.unwrap().first_byte, 0x89);

    // Neither answers.
    gateway.clock().advance(Duration::from_secs(30));
    for socket in [&mut native, &mut feed] {
        assert_eq!(socket.close_code().await, 4408);
    }
    drop((native, feed));
    gateway.expect_idle().await;
    assert_eq!(gateway.metric("towline_closes_total{code=\"4408\"}").await, 2.0);
}

// proves: B3
#[tokio::test]
async fn who_answers_lives() {
    let gateway = gateway(Gateway::builder()).await;
    let mut by_frame = gateway.feed("alice").token(gateway.token("alice")).open().await;
    let mut by_message = gateway.connect("bob").await;
    let mut stream = gateway.stream("/api/v1/stream?topics=user:alice", gateway.token("alice"), None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    for round in 1..=3 {
        let before = pings(&gateway).await;
        gateway.clock().advance(Duration::from_secs(31));
        eventually("all three are pinged", || async { pings(&gateway).await >= before + 3 }).await;
        // A library answers the frame while it reads; a page's code answers the message and may say what it saw last.
        by_frame.expect_quiet().await;
        by_message.send(json!({"type": "pong", "data": {"last_seen": {"user:bob": "some-id"}}})).await;
        by_message.send(json!({"type": "pong", "data": {"last_seen": "some-id"}})).await;
        by_message.expect_quiet().await;
        // An event stream is one way: a comment keeps it awake, and nothing is expected back.
        stream.expect_comment(PATIENCE).await;
        assert_eq!(gateway.metric("towline_closes_total{code=\"4408\"}").await, 0.0, "round {round}");
    }
    gateway.publish("user:alice", "x", json!({})).await;
    by_frame.expect("x", PATIENCE).await;
    stream.expect("x", PATIENCE).await;
}

/// A silent client gets one ping, not one a second.
#[tokio::test]
async fn a_ping_is_not_repeated_before_its_time() {
    let gateway = gateway(Gateway::builder()).await;
    let mut alice = gateway.raw().await;
    alice.upgrade(&format!("/ws?token={}", gateway.token("alice").mint()), "Sec-WebSocket-Protocol: towline.v1\r\n").await;
    let mut bob = gateway.connect("bob").await;
    gateway.clock().advance(Duration::from_secs(31));
    eventually("both are pinged", || async { pings(&gateway).await == 2 }).await;
    // Each second more is looked at; nobody else becomes due, and who answered begins anew.
    bob.expect_quiet().await;
    for _ in 0..4 {
        gateway.clock().advance(Duration::from_secs(5));
        bob.expect_quiet().await;
    }
    gateway.clock().advance(Duration::from_secs(10));
    // Alice has been silent for 61 s, bob for 10.
    assert_eq!(alice.close_code().await, 4408);
    bob.expect_quiet().await;
    assert_eq!(pings(&gateway).await, 2);
}
