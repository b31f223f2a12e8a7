//! The unified socket: its envelope, its system messages, its errors, and service discovery.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Gateway, PATIENCE, SERVICE_KEY, Socket};
use towline_log::AppendError;

async fn connect(gateway: &Gateway, user: &str) -> Socket {
    let mut socket = gateway.unified().token(gateway.token(user).topics(["thread:*"])).open().await;
    socket.expect("connection_established", PATIENCE).await;
    socket
}

// proves: C1, C3
#[tokio::test]
async fn a_client_is_greeted_with_what_is_in_force() {
    let gateway = Gateway::builder()
        .config(|config| {
            config.sockets.heartbeat_interval = Duration::from_secs(7);
            config.users.message_bytes_max = 5_000;
        })
        .start()
        .await;
    let token = gateway.token("alice");
    let mut alice = gateway.unified().protocol("chat.v2").token_protocol(token).open().await;
    assert_eq!(alice.headers()["sec-websocket-protocol"], "chat.v2", "the real subprotocol is echoed, never the token");
    let hello = alice.expect("connection_established", PATIENCE).await;
    let payload = &hello["payload"];
    assert_eq!((&payload["user_id"], &payload["topics"]), (&json!("alice"), &json!(["user:alice"])));
    assert!(payload["connection_id"].is_string() && payload["server_time"].is_number() && hello["timestamp"].is_number());
    assert_eq!(
        (&payload["limits"]["heartbeat_interval"], &payload["limits"]["max_message_size"]),
        (&json!(7_000), &json!(5_000))
    );
    assert_eq!(payload["features"]["auth_required"], true);

    let (status, offer) = gateway.get("/ws/config", "").await;
    let offer = &offer["websocket_config"];
    assert_eq!((status, &offer["version"], &offer["endpoints"]["websocket"]), (200, &json!("1.0"), &json!("/ws")));
    assert_eq!(offer["features"], payload["features"], "both say the same");
    for (name, value) in payload["limits"].as_object().unwrap() {
        assert_eq!(&offer["connection_limits"][name], value, "{name}");
    }
    assert!(!offer.to_string().contains("alice"), "nothing about anybody: {offer}");
}

// proves: C2
#[tokio::test]
async fn discovery_says_what_is_in_force() {
    let gateway = Gateway::builder()
        .config(|config| {
            config.users.connections_max = 3;
            config.users.messages_per_minute_max = 77;
        })
        .start()
        .await;
    let (_, offer) = gateway.get("/ws/config", "").await;
    let limits = &offer["websocket_config"]["connection_limits"];
    assert_eq!(
        (&limits["max_connections_per_user"], &limits["max_message_rate"], &limits["heartbeat_interval"]),
        (&json!(3), &json!(77), &json!(30_000))
    );
    let features = &offer["websocket_config"]["features"];
    for name in ["json_first", "auth_required", "heartbeat_supported", "reconnection_supported"] {
        assert_eq!(features[name], true, "{name}");
    }
    let open = Gateway::builder().development().start().await;
    assert_eq!(open.get("/ws/config", "").await.1["websocket_config"]["features"]["auth_required"], false);
}

// proves: C1, C3
#[tokio::test]
async fn agents_messages_come_with_their_own_type_and_position() {
    let gateway = Gateway::start().await;
    let mut alice = connect(&gateway, "alice").await;
    for kind in
        ["agent_started", "agent_thinking", "partial_result", "tool_executing", "tool_completed", "agent_completed", "x.y"]
    {
        let event = json!({"topic": "user:alice", "type": kind, "data": {"of": kind}, "correlation_id": "c1"});
        let (_, answer) = gateway.post_events("", &event.to_string()).await;
        let stored = &answer["results"][0];
        let packet = alice.expect(kind, PATIENCE).await;
        assert_eq!(
            (&packet["payload"]["of"], &packet["correlation_id"], &packet["id"]),
            (&json!(kind), &json!("c1"), &stored["id"])
        );
        assert_eq!(
            (&packet["timestamp"], &packet["topic"], &packet["offset"]),
            (&stored["ts"], &json!("user:alice"), &stored["offset"])
        );
    }
    alice.close().await;
    gateway.expect_idle().await;
}

// proves: C3, C14
#[tokio::test]
async fn rooms_are_followed_left_and_resumed() {
    let gateway = Gateway::start().await;
    let stored = gateway.publish_numbered("thread:1", 0, 3).await;
    let mut alice = connect(&gateway, "alice").await;
    let from = json!({"epoch": stored[0].epoch, "offset": stored[0].offset});
    let topics = json!([{"topic": "thread:1", "from": from}, "user:bob"]);
    alice.send(json!({"type": "subscribe", "payload": {"topics": topics}, "timestamp": 1, "correlation_id": "s"})).await;
    let ack = alice.expect("subscribe_ack", PATIENCE).await;
    assert_eq!((&ack["correlation_id"], &ack["payload"]["subscriptions"][0]["topic"]), (&json!("s"), &json!("thread:1")));
    assert_eq!(ack["payload"]["errors"][0]["code"], "FORBIDDEN");
    let missed = alice.expect_events(2).await;
    assert_eq!(missed.iter().map(|event| event["payload"]["n"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    alice.expect("caught_up", PATIENCE).await;
    alice.send(json!({"type": "unsubscribe", "payload": {"topics": ["thread:1"]}, "correlation_id": "u"})).await;
    assert_eq!(alice.expect("unsubscribe_ack", PATIENCE).await["payload"]["topics"], json!(["thread:1"]));
    gateway.publish("thread:1", "x", json!({})).await;
    alice.expect_quiet().await;

    // Its own topic goes on after the last event that an earlier connection saw.
    let own = gateway.publish_numbered("user:alice", 0, 2).await;
    let again = gateway.unified().token(gateway.token("alice")).parameter("after", &own[0].id);
    let mut again = again.open().await;
    again.expect("connection_established", PATIENCE).await;
    assert_eq!(again.expect("test.numbered", PATIENCE).await["id"], json!(own[1].id));
}

// proves: C3
#[tokio::test]
async fn a_quiet_client_gets_heartbeats_and_a_fresh_token_is_answered() {
    let gateway = Gateway::builder().manual_clock().start().await;
    let mut raw = gateway.raw().await;
    let token = gateway.token("alice").ttl(Duration::from_secs(45)).mint();
    raw.upgrade(&format!("/ws?token={token}"), "").await;
    let text = |frame: towline_harness::RawFrame| serde_json::from_slice::<Value>(&frame.payload).unwrap();
    assert_eq!(text(raw.frame().await.unwrap())["type"], "connection_established");
    // A token of 45 s is within the warning's time from the start.
    assert_eq!(text(raw.frame().await.unwrap())["type"], "auth_expiring");
    gateway.clock().advance(Duration::from_secs(31));
    assert_eq!(raw.frame().await.unwrap().first_byte, 0x89);
    let heartbeat = text(raw.frame().await.unwrap());
    assert_eq!((&heartbeat["type"], heartbeat["payload"]["server_time"].is_number()), (&json!("heartbeat"), true));
    let fresh = gateway.token("alice").mint();
    for (message, answer) in [
        (json!({"type": "heartbeat", "payload": {}}), None),
        (json!({"type": "pong"}), None),
        (json!({"type": "auth", "payload": {"token": fresh}, "correlation_id": "a"}), Some(("auth_ack", "a"))),
        (json!({"type": "ping", "correlation_id": "p"}), Some(("pong", "p"))),
    ] {
        raw.send_frame(0x81, message.to_string().as_bytes()).await.unwrap();
        if let Some((kind, id)) = answer {
            let packet = text(raw.frame().await.unwrap());
            assert_eq!((&packet["type"], &packet["correlation_id"]), (&json!(kind), &json!(id)));
        }
    }
}

// proves: C4
#[tokio::test]
async fn errors_have_the_contracts_form_and_leave_the_connection_open() {
    let limited =
        |config: &mut towline::Config| (config.users.message_bytes_max, config.users.messages_per_minute_max) = (1_000, 3);
    let gateway = Gateway::builder().manual_clock().config(limited).start().await;
    let mut alice = connect(&gateway, "alice").await;
    let bobs = gateway.token("bob").mint();
    let expired = gateway.token("alice").expired_for(Duration::from_secs(600)).mint();
    let auth = |token: &str| json!({"type": "auth", "payload": {"token": token}, "correlation_id": "q"}).to_string();
    let large = json!({"type": "user_message", "payload": {"content": "x".repeat(1_000)}, "correlation_id": "q"}).to_string();
    for (text, code, recoverable) in [
        ("", "EMPTY_MESSAGE", true),
        ("  ", "EMPTY_MESSAGE", true),
        ("nonsense", "JSON_PARSE_ERROR", true),
        (r#"{"payload":{},"correlation_id":"q"}"#, "MISSING_TYPE_FIELD", true),
        (r#"{"type":7,"correlation_id":"q"}"#, "INVALID_TYPE_FIELD", true),
        (r#"{"type":"agent_completed","correlation_id":"q"}"#, "INVALID_MESSAGE_TYPE", true),
        (r#"{"type":"two words","correlation_id":"q"}"#, "INVALID_MESSAGE_TYPE", true),
        (&large, "MESSAGE_TOO_LARGE", true),
        (&auth("nonsense"), "UNAUTHORIZED", false),
        (&auth(&bobs), "FORBIDDEN", false),
        (&auth(&expired), "TOKEN_EXPIRED", false),
    ] {
        alice.send_text(text).await;
        let error = alice.expect("error", PATIENCE).await;
        let payload = error["payload"].as_object().unwrap();
        let mut members: Vec<&String> = payload.keys().collect();
        members.sort();
        assert_eq!(members, ["code", "error", "help", "recoverable", "timestamp"], "{text}");
        assert_eq!((&payload["code"], &payload["recoverable"]), (&json!(code), &json!(recoverable)), "{text}");
        assert!(payload["timestamp"].is_number() && payload["help"].is_string());
        assert_eq!(error.correlation_id(), text.contains("\"q\"").then_some("q"), "{text}");
    }
    // One message was too large, and counted as one all the same.
    for answer in ["message_ack", "message_ack", "error"] {
        alice.send(json!({"type": "user_message", "payload": {}, "correlation_id": "q"})).await;
        let packet = alice.expect(answer, PATIENCE).await;
        assert!(answer != "error" || packet["payload"]["code"] == "RATE_LIMITED", "{}", packet.text());
    }
    alice.expect_quiet().await;
    // What ends a connection is repetition.
    for _ in 0..100 {
        alice.send_text("").await;
    }
    assert_eq!(alice.until_close().await.1.0, 4429);
}

// proves: C4
#[tokio::test]
async fn trouble_in_the_server_has_its_codes_too() {
    let gateway = Gateway::start().await;
    let mut alice = connect(&gateway, "alice").await;
    gateway.faults().refuse_appends(Some(AppendError::Failed("EIO".into())));
    alice.send(json!({"type": "user_message", "payload": {}, "correlation_id": "q"})).await;
    let error = alice.expect("error", PATIENCE).await;
    assert_eq!((&error["payload"]["code"], &error["payload"]["recoverable"]), (&json!("PROCESSING_ERROR"), &json!(true)));

    gateway.faults().refuse_appends(None);
    gateway.faults().forget_positions();
    alice.send(json!({"type": "user_message", "payload": {}, "correlation_id": "q"})).await;
    let error = alice.expect("error", PATIENCE).await;
    assert_eq!((&error["payload"]["code"], error.correlation_id()), (&json!("INTERNAL_ERROR"), Some("q")));
}

/// Between its expiry and the end of the connection, a token opens nothing.
// proves: C4
#[tokio::test]
async fn an_ended_token_asks_for_nothing_more() {
    let gateway = Gateway::builder().manual_clock().start().await;
    let token = gateway.token("alice").ttl(Duration::from_secs(120)).mint();
    let mut alice = gateway.unified().token(token).open().await;
    alice.expect("connection_established", PATIENCE).await;
    gateway.clock().advance(Duration::from_secs(3_600));
    alice.send(json!({"type": "subscribe", "payload": {"topics": ["system"]}})).await;
    let (packets, (code, _)) = alice.until_close().await;
    assert_eq!(code, 4401);
    assert!(packets.iter().all(|packet| packet.kind() != "subscribe_ack"), "{packets:?}");
}

#[tokio::test]
async fn a_service_has_no_topic_of_its_own_here() {
    let gateway = Gateway::start().await;
    let mut service = gateway.unified().bearer(SERVICE_KEY).open().await;
    assert_eq!(service.expect("connection_established", PATIENCE).await["payload"]["topics"], json!([]));
    service.send(json!({"type": "subscribe", "payload": {"topics": ["user:alice"]}})).await;
    service.expect("subscribe_ack", PATIENCE).await;
    gateway.publish("user:alice", "x", json!({})).await;
    service.expect("x", PATIENCE).await;
}
