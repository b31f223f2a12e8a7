//! What the end of a token means for an open socket: a warning before it, a fresh token without a seam, a close after it.

use std::time::Duration;

use serde_json::json;
use towline_harness::{Gateway, PATIENCE, SERVICE_KEY};

/// The clock stands until it is moved, and a silent client is not what is looked at here.
async fn gateway() -> Gateway {
    let patient = Duration::from_secs(100_000);
    let quiet = move |config: &mut towline::Config| {
        config.sockets.idle_timeout = patient;
        config.sockets.heartbeat_interval = patient / 2;
    };
    Gateway::builder().manual_clock().config(quiet).start().await
}

#[tokio::test]
async fn a_socket_is_warned_and_then_closed_with_4401() {
    let gateway = gateway().await;
    let token = gateway.token("alice").ttl(Duration::from_secs(300)).mint();
    let mut native = gateway.connect_with(token.clone()).await;
    let mut feed = gateway.feed("alice").token(token.clone()).open().await;
    let mut stream = gateway.stream("/api/v1/stream?topics=user:alice", token, None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    gateway.clock().advance(Duration::from_secs(250));
    for socket in [&mut native, &mut feed] {
        let warning = socket.expect("auth_expiring", PATIENCE).await;
        assert!((1..=60).contains(&warning["data"]["seconds_left"].as_u64().unwrap()), "{}", warning.text());
    }
    stream.expect("auth_expiring", PATIENCE).await;
    // Warned once, and open until the end.
    native.expect_quiet().await;
    gateway.publish("user:alice", "x", json!({})).await;
    feed.expect("x", PATIENCE).await;
    stream.expect("x", PATIENCE).await;
    gateway.clock().advance(Duration::from_secs(120));
    for socket in [&mut native, &mut feed] {
        let (code, reason) = socket.expect_close(PATIENCE).await;
        assert_eq!((code, reason.contains("expired")), (4401, true), "{reason}");
    }
    stream.until_end().await;
    gateway.expect_idle().await;
}

/// A fresh token in the middle of a busy stream: no event is lost or doubled, and the old end no longer counts.
#[tokio::test]
async fn a_fresh_token_keeps_the_cursors() {
    let gateway = gateway().await;
    let mut alice = gateway.connect_with(gateway.token("alice").ttl(Duration::from_secs(90))).await;
    alice.subscribe(json!([{"topic": "user:alice", "from": "earliest"}])).await;
    gateway.publish_numbered("user:alice", 0, 50).await;
    gateway.clock().advance(Duration::from_secs(60));
    let fresh = gateway.token("alice").ttl(Duration::from_secs(3600)).mint();
    let publishing = async {
        for n in 0..20 {
            gateway.publish_numbered("user:alice", 50 + n * 5, 5).await;
        }
    };
    let refreshing = async {
        alice.send(json!({"id": "fresh", "type": "auth", "data": {"token": fresh}})).await;
        let (mut numbers, mut kinds) = (Vec::new(), Vec::new());
        while numbers.len() < 150 {
            let packet = alice.next(PATIENCE).await.unwrap();
            match packet["data"]["n"].as_u64() {
                Some(n) => numbers.push(n),
                None => kinds.push(packet.kind().to_owned()),
            }
        }
        (numbers, kinds)
    };
    let ((), (numbers, kinds)) = tokio::join!(publishing, refreshing);
    assert_eq!(numbers, (0..150).collect::<Vec<_>>());
    assert!(kinds.contains(&"auth_ack".to_owned()), "{kinds:?}");
    // Long after the first token's end.
    gateway.clock().advance(Duration::from_secs(600));
    gateway.publish_numbered("user:alice", 150, 1).await;
    alice.expect_events(1).await;
}

#[tokio::test]
async fn a_fresh_token_must_be_good_and_the_same_persons() {
    let gateway = gateway().await;
    let mut alice = gateway.connect_with(gateway.token("alice").ttl(Duration::from_secs(300))).await;
    alice.subscribe(json!(["user:alice"])).await;
    for (token, code) in [
        (gateway.token("bob").mint(), "FORBIDDEN"),
        (SERVICE_KEY.to_owned(), "FORBIDDEN"),
        (gateway.token("alice").expired_for(Duration::from_secs(3600)).mint(), "TOKEN_EXPIRED"),
        ("nonsense".to_owned(), "INVALID_TOKEN"),
    ] {
        let error = alice.request("auth", json!({"token": token})).await;
        assert_eq!((error.kind(), &error["data"]["code"]), ("error", &json!(code)));
    }
    // Nothing has changed: the cursors stand and the first token's end counts.
    gateway.publish("user:alice", "x", json!({})).await;
    alice.expect("x", PATIENCE).await;
    gateway.clock().advance(Duration::from_secs(400));
    assert_eq!(alice.until_close().await.1.0, 4401);
}

#[tokio::test]
async fn topics_that_the_fresh_token_no_longer_grants_are_left() {
    let gateway = gateway().await;
    let mut alice = gateway.connect_with(gateway.token("alice").topics(["thread:1", "thread:2"])).await;
    alice.subscribe(json!(["user:alice", "thread:1", "thread:2"])).await;
    let ack = alice.request("auth", json!({"token": gateway.token("alice").topics(["thread:2"]).mint()})).await;
    assert_eq!(ack.kind(), "auth_ack");
    let error = alice.expect("error", PATIENCE).await;
    assert_eq!(error["data"]["code"], "FORBIDDEN");
    assert!(error["data"]["message"].as_str().unwrap().contains("thread:1"));
    for topic in ["thread:1", "thread:2", "user:alice"] {
        gateway.publish(topic, "x", json!({})).await;
    }
    assert_eq!(alice.expect("x", PATIENCE).await.topic(), "thread:2");
    assert_eq!(alice.expect("x", PATIENCE).await.topic(), "user:alice");
    alice.expect_quiet().await;
}
