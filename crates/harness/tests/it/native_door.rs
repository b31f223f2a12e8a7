//! The native door: requests, their one answer each, and what it refuses.

use serde_json::{Value, json};
use towline_harness::{Gateway, GatewayBuilder, PATIENCE, Packet, SERVICE_KEY, is_envelope};

// proves: B1, B7
#[tokio::test]
async fn a_subscriber_gets_events_as_envelopes() {
    a_subscriber_gets_events_as_envelopes_over(Gateway::builder()).await;
}

pub(crate) async fn a_subscriber_gets_events_as_envelopes_over(builder: GatewayBuilder) {
    let gateway = builder.start().await;
    let mut alice = gateway.native().bearer(gateway.token("alice").org("acme")).open().await;
    assert_eq!(alice.headers()["sec-websocket-protocol"], "towline.v1");
    let welcome = alice.expect("welcome", PATIENCE).await;
    assert_eq!(welcome.topic(), "$connection");
    assert_eq!((&welcome["data"]["user_id"], &welcome["data"]["topics"]), (&json!("alice"), &json!([])));
    assert_eq!(welcome["data"]["limits"]["topics_max"], 200);

    let ack = alice.subscribe(json!(["user:alice", "org:acme"])).await;
    assert_eq!(ack["data"]["errors"], json!([]));
    let stored = gateway.publish("user:alice", "agent.step_completed", json!({"step": 1})).await;
    let packet = alice.expect("agent.step_completed", PATIENCE).await;
    is_envelope(&packet).unwrap();
    assert_eq!((packet.id(), packet.topic(), packet.data()), (&*stored.id, "user:alice", &json!({"step": 1})));
    assert_eq!(packet.position().map(|at| (at.epoch, at.offset)), Some((stored.epoch, stored.offset)));
    assert_eq!(packet["ts"], json!(stored.ts));

    gateway.publish("org:acme", "x", json!({})).await;
    assert_eq!(alice.expect("x", PATIENCE).await.topic(), "org:acme");
    alice.close().await;
    gateway.expect_idle().await;
}

#[tokio::test]
async fn attributes_travel_unchanged() {
    let gateway = Gateway::start().await;
    let mut alice = gateway.connect("alice").await;
    alice.subscribe(json!(["user:alice"])).await;
    let event = json!({
        "topic": "user:alice", "type": "approval.new", "id": "mine-1", "data": [1, {"é": "\u{1F600}\n"}, null],
        "title": "Sign \"this\"", "severity": "action_required", "agent_type": "writer", "run_id": "r-1",
        "correlation_id": "c-1", "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "new_field": {"x": 1},
    });
    let (status, answer) = gateway.post_events("", &event.to_string()).await;
    assert_eq!((status, &answer["results"][0]["id"]), (200, &json!("mine-1")));
    let packet = alice.expect("approval.new", PATIENCE).await;
    for member in ["id", "data", "title", "severity", "agent_type", "run_id", "correlation_id", "traceparent"] {
        assert_eq!(packet[member], event[member], "{member}");
    }
    assert!(packet.json().get("new_field").is_none(), "only what is known is carried");
}

#[tokio::test]
async fn every_request_has_one_answer_that_names_it() {
    let gateway = Gateway::start().await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    let ack = service.request("subscribe", json!({"topics": ["a", {"topic": "b"}, "a"]})).await;
    assert_eq!(topics_of(&ack), ["a", "b"], "a topic named twice is one");

    let ack = service.request("publish", json!({"topic": "c", "type": "x"})).await;
    assert_eq!((ack.kind(), &ack["data"]["results"][0]["status"]), ("publish_ack", &json!("stored")));
    let events = json!([{"topic": "c", "type": "x", "id": "same"}, {"topic": "c", "type": "x", "id": "same"}, {"topic": "no way", "type": "x"}]);
    let ack = service.request("publish", json!({"events": events})).await;
    let statuses: Vec<&Value> = ack["data"]["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, ["stored", "duplicate", "refused"]);
    assert_eq!(ack["data"]["results"][2]["error"]["code"], "INVALID_TOPIC");

    let ack = service.request("unsubscribe", json!({"topics": ["a", "never"]})).await;
    assert_eq!((ack.kind(), &ack["data"]["topics"]), ("unsubscribe_ack", &json!(["a"])));
    assert_eq!(ack["data"]["errors"][0]["code"], "NOT_FOUND");

    let pong = service.request("ping", json!({})).await;
    assert_eq!((pong.kind(), pong.topic()), ("pong", "$connection"));

    let ack = service.request("auth", json!({"token": SERVICE_KEY})).await;
    assert_eq!((ack.kind(), ack["data"].get("expires_at")), ("auth_ack", None));

    // What is no longer followed is no longer delivered, what is still followed is.
    gateway.publish("a", "x", json!({})).await;
    gateway.publish("b", "x", json!({})).await;
    assert_eq!(service.expect("x", PATIENCE).await.topic(), "b");
    service.expect_quiet().await;
    service.close().await;
    gateway.expect_idle().await;
}

/// Requests sent at once are answered in their order, and a subscription delivers behind its answer.
#[tokio::test]
async fn answers_keep_the_order_of_the_requests() {
    let gateway = Gateway::start().await;
    let history = gateway.publish_numbered("a", 0, 50).await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    for n in 0..20 {
        let (kind, data) = match n % 4 {
            0 => ("subscribe", json!({"topics": [{"topic": "a", "from": "earliest"}]})),
            1 => ("ping", json!({})),
            2 => ("unsubscribe", json!({"topics": ["a"]})),
            _ => ("auth", json!({"token": SERVICE_KEY})),
        };
        service.send(json!({"id": format!("m{n}"), "type": kind, "data": data})).await;
    }
    let mut answered = Vec::new();
    let mut subscribed = false;
    while answered.len() < 20 {
        let packet = service.next(PATIENCE).await.unwrap();
        match packet.kind() {
            "subscribe_ack" => subscribed = true,
            "unsubscribe_ack" => subscribed = false,
            "test.numbered" => {
                assert!(subscribed, "{}", service.transcript());
                continue;
            }
            "caught_up" => continue,
            _ => {}
        }
        answered.push(packet.correlation_id().unwrap().to_owned());
    }
    assert_eq!(answered, (0..20).map(|n| format!("m{n}")).collect::<Vec<_>>());
    assert_eq!(history.len(), 50);
}

#[tokio::test]
async fn what_is_not_understood_is_answered_and_named() {
    let gateway = Gateway::start().await;
    let mut alice = gateway.connect("alice").await;
    for (text, code, word) in [
        ("nonsense", "JSON_PARSE_ERROR", "JSON"),
        ("{\"type\":", "JSON_PARSE_ERROR", "JSON"),
        ("[]", "INVALID_FORMAT", "object"),
        (r#"{"id":"q"}"#, "MISSING_TYPE_FIELD", "type"),
        (r#"{"id":"q","type":7}"#, "INVALID_TYPE_FIELD", "string"),
        (r#"{"id":"q","type":"dance"}"#, "INVALID_MESSAGE_TYPE", "dance"),
        (r#"{"id":"q","type":"subscribe","data":{"topics":"user:alice"}}"#, "INVALID_FORMAT", "topics"),
        (r#"{"id":"q","type":"subscribe","data":{"topics":[]}}"#, "TOO_MANY_TOPICS", "topics"),
        (r#"{"id":"q","type":"publish","data":{"events":[]}}"#, "INVALID_FORMAT", "events"),
        (r#"{"id":"q","type":"auth","data":{"token":"nonsense"}}"#, "INVALID_TOKEN", "JWT"),
    ] {
        alice.send_text(text).await;
        let error = alice.expect("error", PATIENCE).await;
        let (data, answers) = (&error["data"], error.correlation_id());
        assert_eq!((&data["code"], answers), (&json!(code), text.contains("\"q\"").then_some("q")), "{text}");
        assert!(data["message"].as_str().unwrap().contains(word), "{text}: {data}");
        assert_eq!(data["retryable"], false);
    }
    // Still open, and unknown fields change nothing.
    alice.send(json!({"v": 1, "id": "s", "ts": 0, "topic": "x", "type": "subscribe", "more": [1], "data": {"topics": ["user:alice"], "x": 1}})).await;
    assert_eq!(topics_of(&alice.expect("subscribe_ack", PATIENCE).await), ["user:alice"]);
}

// proves: B3
#[tokio::test]
async fn a_binary_message_closes_with_1003() {
    let gateway = Gateway::start().await;
    let mut alice = gateway.connect("alice").await;
    alice.send_binary(b"{\"type\":\"ping\"}").await;
    let (code, reason) = alice.expect_close(PATIENCE).await;
    assert_eq!(code, 1003);
    assert!(reason.contains("text"), "{reason}");
    gateway.expect_idle().await;
}

// proves: B3
#[tokio::test]
async fn errors_past_a_limit_close_with_4429_and_fewer_do_not() {
    let gateway = Gateway::builder().manual_clock().config(|config| config.sockets.errors_max = 5).start().await;
    let mut alice = gateway.connect("alice").await;
    for _ in 0..5 {
        alice.send_text("nonsense").await;
        alice.expect("error", PATIENCE).await;
    }
    // A minute later the count begins again.
    gateway.clock().advance(std::time::Duration::from_secs(60));
    for _ in 0..5 {
        alice.send_text("nonsense").await;
        alice.expect("error", PATIENCE).await;
    }
    alice.expect_quiet().await;
    alice.send_text("nonsense").await;
    alice.expect("error", PATIENCE).await;
    assert_eq!(alice.expect_close(PATIENCE).await.0, 4429);
}

#[tokio::test]
async fn a_message_larger_than_allowed_closes_with_1009() {
    a_message_larger_than_allowed_closes_with_1009_over(Gateway::builder()).await;
}

pub(crate) async fn a_message_larger_than_allowed_closes_with_1009_over(builder: GatewayBuilder) {
    let gateway = builder.config(|config| config.sockets.message_bytes_max = 10_000).start().await;
    let mut alice = gateway.connect("alice").await;
    alice.send(json!({"type": "ping", "data": {"pad": "x".repeat(9_000)}})).await;
    alice.expect("pong", PATIENCE).await;
    alice.send(json!({"type": "ping", "data": {"pad": "x".repeat(10_000)}})).await;
    assert_eq!(alice.expect_close(PATIENCE).await.0, 1009);
}

#[tokio::test]
async fn a_connection_follows_a_bounded_number_of_topics() {
    let gateway = Gateway::builder().config(|config| config.sockets.topics_per_connection_max = 3).start().await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    let four = service.request("subscribe", json!({"topics": ["a", "b", "c", "d"]})).await;
    assert_eq!((four.kind(), &four["data"]["code"]), ("error", &json!("TOO_MANY_TOPICS")));
    service.subscribe(json!(["a", "b"])).await;
    let ack = service.request("subscribe", json!({"topics": ["c", "d"]})).await;
    assert_eq!((topics_of(&ack), &ack["data"]["errors"][0]["code"]), (vec!["c"], &json!("TOO_MANY_TOPICS")));
    // One that is followed already takes no further place; one that was given up makes room.
    assert_eq!(topics_of(&service.request("subscribe", json!({"topics": ["a"]})).await), ["a"]);
    service.request("unsubscribe", json!({"topics": ["b"]})).await;
    assert_eq!(topics_of(&service.request("subscribe", json!({"topics": ["d"]})).await), ["d"]);
}

/// On this path, who does not ask for the native protocol is a client of the unified door; a version that is not spoken is refused.
#[tokio::test]
async fn a_version_that_is_not_spoken_is_refused() {
    let gateway = Gateway::start().await;
    let handshake = gateway.unified().bearer(gateway.token("alice"));
    let refused = handshake.clone().protocol("towline.v9").try_open().await.err().unwrap();
    assert_eq!((refused.status, refused.body.contains("towline.v1")), (400, true));
    let mut socket = handshake.protocol("towline.v9").protocol("towline.v1").open().await;
    assert_eq!(socket.headers()["sec-websocket-protocol"], "towline.v1");
    socket.expect("welcome", PATIENCE).await;
}

/// A ping frame is answered by a pong frame with the same payload, and the peer's close is answered with its code.
#[tokio::test]
async fn control_frames_are_answered_by_the_book() {
    control_frames_are_answered_by_the_book_over(Gateway::builder()).await;
}

pub(crate) async fn control_frames_are_answered_by_the_book_over(builder: GatewayBuilder) {
    let gateway = builder.start().await;
    let mut raw = gateway.raw().await;
    raw.upgrade(
        "/ws",
        &format!("Sec-WebSocket-Protocol: towline.v1\r\nAuthorization: Bearer {}\r\n", gateway.token("alice").mint()),
    )
    .await;
    assert_eq!(raw.frame().await.unwrap().first_byte, 0x81, "welcome");
    raw.send_frame(0x89, b"are you there").await.unwrap();
    let pong = raw.frame().await.unwrap();
    assert_eq!((pong.first_byte, &*pong.payload), (0x8a, &b"are you there"[..]));
    // A message in three fragments with a ping between them.
    raw.send_frame(0x01, b"{\"id\":\"f\",").await.unwrap();
    raw.send_frame(0x00, b"\"type\":\"pi").await.unwrap();
    raw.send_frame(0x89, b"!").await.unwrap();
    raw.send_frame(0x80, b"ng\"}").await.unwrap();
    assert_eq!(raw.frame().await.unwrap().first_byte, 0x8a);
    let answer = Packet::new(String::from_utf8(raw.frame().await.unwrap().payload).unwrap()).unwrap();
    assert_eq!((answer.kind(), answer.correlation_id()), ("pong", Some("f")));
    raw.send_frame(0x88, &[0x0b, 0xb8]).await.unwrap();
    assert_eq!(raw.close_code().await, 3000);
    assert_eq!(raw.until_end().await, 0);
    drop(raw);
    gateway.expect_idle().await;
}

fn topics_of(ack: &Packet) -> Vec<&str> {
    ack["data"]["subscriptions"].as_array().unwrap().iter().map(|one| one["topic"].as_str().unwrap()).collect()
}
