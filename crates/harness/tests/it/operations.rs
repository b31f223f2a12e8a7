//! What an operator sees: metrics by their names and without people in them, and logs that lead from an id to a request and keep secrets.

use serde_json::json;
use towline_harness::{Binary, Gateway, JWT_SECRET, PAGE, PATIENCE, SERVICE_KEY};

// proves: B9
#[tokio::test]
async fn metrics_have_their_names_and_no_people_in_their_labels() {
    let gateway = Gateway::start().await;
    let token = gateway.token("zebra-user").org("zebra-org").mint();
    let mut native = gateway.connect_with(token.clone()).await;
    native.subscribe(json!(["user:zebra-user", "org:zebra-org"])).await;
    let mut feed = gateway.feed("zebra-user").token(&token).open().await;
    gateway.publish("user:zebra-user", "zebra.type", json!({"zebra": 1})).await;
    native.expect("zebra.type", PATIENCE).await;
    feed.expect("zebra.type", PATIENCE).await;
    native.request("zebra-request", json!({})).await;
    gateway.get("/api/v1/zebra-path", &token).await;
    gateway.get("/api/v1/agents/events?user_id=zebra-other", &token).await;
    gateway.http().request("ZEBRA".parse().unwrap(), gateway.url("/livez")).send().await.unwrap();
    let text = gateway.metrics().await;
    for name in [
        "ws_connected_total 2",
        "towline_connections{door=\"native\"} 1",
        "towline_connections{door=\"feed\"} 1",
        "towline_subscriptions 3",
        "towline_errors_total{code=\"INVALID_MESSAGE_TYPE\"} 1",
        "towline_publish_results_total{status=\"stored\"} 1",
        "towline_log_appended_total 1",
        "towline_subscription_transitions_total{to=\"lagging\"} 0",
        "towline_handshakes_total{door=\"native\",outcome=\"accepted\"} 1",
    ] {
        assert!(text.lines().any(|line| line == name), "{name} is missing in\n{text}");
    }
    for name in [
        "ws_sent_bytes_total",
        "ws_received_bytes_total",
        "towline_append_seconds_bucket",
        "towline_replay_events_count",
        "towline_catch_up_events_total",
        "towline_frames_delivered_total",
        "towline_http_requests_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ] {
        assert!(text.contains(name) || name == "{name} is missing in\n{text}");
    }
    assert!(!text.to_lowercase().contains("zebra"), "a client's own word is in\n{text}");
    assert!(gateway.metric("ws_sent_bytes_total").await > 100.0);
    native.close().await;
    feed.close().await;
    gateway.expect_idle().await;
    assert_eq!(gateway.metric("towline_connections{door=\"native\"}").await, 0.0);
    assert_eq!(gateway.metric("towline_closes_total{code=\"1000\"}").await, 2.0);
}

// proves: B9
#[tokio::test]
async fn bytes_and_handshakes_are_counted() {
    let gateway = Gateway::start().await;
    let mut native = gateway.connect("alice").await;
    native.subscribe(json!(["user:alice"])).await;
    native.request("dance", json!({})).await;
    let mut stream = gateway.stream("/api/v1/stream?topics=user:alice", gateway.token("alice"), None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    gateway.publish("user:alice", "x", json!({})).await;
    native.expect("x", PATIENCE).await;
    assert_eq!(gateway.get("/api/v1/agents/events", "not-a-credential").await.0, 401);
    let received = gateway.metric("ws_received_bytes_total").await;
    assert!(received > 40.0, "two messages were sent, and {received} bytes read");
    assert_eq!(gateway.metric("towline_handshake_seconds_count").await, 2.0);
    native.close().await;
    drop(stream);
    gateway.expect_idle().await;
}

// proves: B1, B9
#[tokio::test]
async fn logs_lead_from_an_id_to_its_line_and_hold_neither_tokens_nor_payloads() {
    let binary = Binary::start(&[("TOWLINE_LOG", "debug")]).await;
    let token = binary.token("alice").mint();
    let mut native = binary.native().token(&token).open().await;
    native.expect("welcome", PATIENCE).await;
    native.subscribe(json!(["user:alice"])).await;
    let mut feed = binary.feed("alice").token(&token).origin(PAGE).open().await;
    let mut page = binary.feed("alice").token("bad.CANARY-TOKEN.x").origin(PAGE).open().await;
    assert_eq!(page.expect_close(PATIENCE).await.0, 4401);
    let mut by_protocol = binary.native().token_protocol(&token).open().await;
    by_protocol.expect("welcome", PATIENCE).await;
    let stored = binary.publish("user:alice", "x", json!({"text": "CANARY-PAYLOAD"})).await;
    native.expect("x", PATIENCE).await;
    feed.expect("x", PATIENCE).await;
    // Everything that could be tempted to print what it was given.
    let error = native.request("dance", json!({"x": "CANARY-PAYLOAD"})).await;
    native.send_text("{\"CANARY-PAYLOAD\":").await;
    let not_json = native.expect("error", PATIENCE).await;
    native.request("auth", json!({"token": "bad.CANARY-TOKEN.x"})).await;
    native.request("auth", json!({"token": token})).await;
    binary.post_events("", r#"{"topic":"user:alice","type":"x","data":"CANARY-PAYLOAD""#).await;
    binary.post_events("", r#"{"topic":"CANARY PAYLOAD","type":"x","title":"CANARY-PAYLOAD"}"#).await;
    binary.get(&format!("/api/v1/agents/events?token={token}"), "").await;
    binary.get("/api/v1/agents/events?token=bad.CANARY-TOKEN.x", "").await;
    binary.get("/CANARY-TOKEN?token=CANARY-TOKEN", "").await;
    let _ = binary.stream(&format!("/api/v1/stream?topics=user:alice&token={token}"), "", None).await;
    native.close().await;
    feed.close().await;

    let output = binary.output();
    for id in [&*stored.id, error.id(), not_json.id()] {
        assert!(output.contains(&format!("\"trace_id\":\"{id}\"")), "{id} is not in\n{output}");
    }
    for secret in [SERVICE_KEY, JWT_SECRET, &token, "CANARY"] {
        assert!(!output.contains(secret), "{secret} is in\n{output}");
    }
    let signature = token.rsplit('.').next().unwrap();
    assert!(!output.contains(signature));
    for line in output.lines() {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(json["level"].is_string() && json["timestamp"].is_string(), "{line}");
    }
}
