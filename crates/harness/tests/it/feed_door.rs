//! The activity feed: one user's own stream, in its own dialect.

use serde_json::json;
use towline_harness::{Gateway, PAGE, PATIENCE, SERVICE_KEY};

// proves: A1, A2
#[tokio::test]
async fn a_user_gets_their_own_events_at_once() {
    let gateway = Gateway::start().await;
    let mut feed = gateway.feed("alice").token(gateway.token("alice")).open().await;
    // Subscribed by the time the handshake is answered: nothing that is published now can be missed, nor needs a request.
    let event = json!({
        "topic": "user:alice", "type": "agent.step_completed", "data": {"action": "searched", "confidence": 0.9},
        "title": "Searched", "severity": "warning", "agent_type": "research",
    });
    let (_, answer) = gateway.post_events("", &event.to_string()).await;
    let packet = feed.expect("agent.step_completed", PATIENCE).await;
    for member in ["type", "data", "topic", "title", "severity", "agent_type"] {
        assert_eq!(packet[member], event[member], "{member}");
    }
    let id = &answer["results"][0]["id"];
    assert_eq!((&packet["id"], &packet["event_id"]), (id, id));
    assert!(packet["timestamp"].as_str().unwrap().ends_with('Z'));
    assert_eq!(packet.json().get("v"), None, "this is not envelope v1");
}

// proves: A2
#[tokio::test]
async fn any_event_type_passes() {
    let gateway = Gateway::start().await;
    let mut feed = gateway.feed("alice").token(gateway.token("alice")).open().await;
    for kind in [
        "agent.started",
        "agent.paused",
        "agent.completed",
        "agent.error",
        "agent.research.completed",
        "approval.new",
        "system.brake.activated",
        "system.briefing.ready",
        "interview_prep.briefing_ready",
        "x",
        "ping.pong",
    ] {
        gateway.publish("user:alice", kind, json!({"of": kind})).await;
        assert_eq!(feed.expect(kind, PATIENCE).await["data"]["of"], kind);
    }
}

// proves: A1
#[tokio::test]
async fn another_users_feed_is_refused() {
    let gateway = Gateway::start().await;
    let refused = gateway.feed("bob").token(gateway.token("alice")).try_open().await.err().unwrap();
    assert_eq!(refused.status, 403, "{}", refused.body);
    assert!(refused.body.contains("FORBIDDEN"));
    // A browser cannot read that status, so it is told on the socket, before anything else.
    let mut page = gateway.feed("bob").token(gateway.token("alice")).origin(PAGE).open().await;
    let (code, reason) = page.expect_close(PATIENCE).await;
    assert_eq!(code, 4403);
    assert!(reason.contains("another user"), "{reason}");
    // Neither a service nor a token with a grant for that topic is that user.
    for token in [SERVICE_KEY.to_owned(), gateway.token("alice").topics(["user:*"]).mint()] {
        assert_eq!(gateway.feed("bob").bearer(token).try_open().await.err().unwrap().status, 403);
    }
    gateway.expect_idle().await;
}

#[tokio::test]
async fn odd_user_ids_are_the_same_user_or_refused() {
    let gateway = Gateway::start().await;
    // The path is decoded before it is compared.
    let mut feed = gateway.feed("auth0%7C42").token(gateway.token("auth0|42")).open().await;
    gateway.publish("user:auth0|42", "x", json!({})).await;
    feed.expect("x", PATIENCE).await;
    for path in ["ALICE", "alice%20", "alice%00", "..%2Falice", "alice,bob", "*"] {
        let refused = gateway.feed(path).token(gateway.token("alice")).try_open().await.err().unwrap();
        assert!([400, 403, 404].contains(&refused.status), "{path}: {}", refused.status);
    }
}

// proves: A3
#[tokio::test]
async fn a_feed_resumes_where_it_was() {
    let gateway = Gateway::builder().manual_clock().start().await;
    let before_ms = gateway.clock().unix_ms();
    let stored = gateway.publish_numbered("user:alice", 0, 10).await;
    gateway.clock().advance(std::time::Duration::from_secs(5));
    gateway.publish_numbered("user:alice", 10, 5).await;
    let since = format!("{}", before_ms / 1000 + 5);
    let after_position = format!("{}-{}", stored[7].epoch, stored[7].offset);
    for (name, value, first) in [
        ("after", &after_position, 8_u64),
        ("after", &stored[7].id, 8),
        ("since", &since, 10),
        ("from", &"earliest".to_owned(), 0),
    ] {
        let mut feed = gateway.feed("alice").token(gateway.token("alice")).parameter(name, value).open().await;
        let events = feed.expect_events(15 - first as usize).await;
        let numbers: Vec<u64> = events.iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (first..15).collect::<Vec<_>>(), "{name}={value}");
        feed.expect_quiet().await;
    }
    let mut feed = gateway.feed("alice").token(gateway.token("alice")).parameter("after", "dead-3").open().await;
    let gap = feed.expect("gap", PATIENCE).await;
    assert_eq!((&gap["data"]["topic"], &gap["data"]["reason"]), (&json!("user:alice"), &json!("epoch_changed")));
    feed.expect_events(15).await;
    for (name, value) in [("since", "yesterday"), ("from", "somewhere")] {
        let refused = gateway.feed("alice").token(gateway.token("alice")).parameter(name, value).try_open().await.err().unwrap();
        assert_eq!((refused.status, refused.body.contains(name)), (400, true), "{}", refused.body);
    }
}

#[tokio::test]
async fn the_feed_takes_pings_and_tokens_and_declines_the_rest_by_name() {
    let gateway = Gateway::start().await;
    let mut feed = gateway.feed("alice").token(gateway.token("alice")).open().await;
    let pong = feed.request("ping", json!({})).await;
    assert_eq!(pong.kind(), "pong");
    let ack = feed.request("auth", json!({"token": gateway.token("alice").mint()})).await;
    assert_eq!(ack.kind(), "auth_ack");
    for kind in ["subscribe", "publish", "dance"] {
        let error = feed.request(kind, json!({"topics": ["user:bob"], "topic": "user:alice", "type": "x"})).await;
        assert_eq!((error.kind(), &error["data"]["code"]), ("error", &json!("INVALID_MESSAGE_TYPE")), "{kind}");
    }
    feed.send_binary(&[0, 1, 2]).await;
    assert_eq!(feed.expect_close(PATIENCE).await.0, 1003);
}

// proves: A10
#[tokio::test]
async fn development_mode_takes_the_user_from_the_address() {
    let gateway = Gateway::builder().development().start().await;
    let mut feed = gateway.feed("dev1").open().await;
    let (status, answer) = gateway.post_events_as("", "", "application/json", r#"{"topic":"user:dev1","type":"x"}"#).await;
    assert_eq!(status, 200, "{answer}");
    feed.expect("x", PATIENCE).await;
    let mut native = gateway.native().parameter("user_id", "dev1").open().await;
    assert_eq!(native.expect("welcome", PATIENCE).await["data"]["user_id"], "dev1");
    native.subscribe(json!(["user:dev1"])).await;
    // A page from elsewhere is not let in, and neither is a name that merely resolves to this machine.
    let page = gateway.feed("dev1").origin("https://evil.example").try_open().await.err().unwrap();
    assert_eq!(page.status, 403);
    // Also a page that is allowed elsewhere: here nothing but the address protects the server.
    let page = gateway.feed("dev1").origin(PAGE).open().await.expect_close(PATIENCE).await;
    assert_eq!(page.0, 4403);
    gateway.feed("dev1").origin("http://localhost:3000").open().await.expect_quiet().await;
    let mut raw = gateway.raw().await;
    raw.send(b"GET /api/v1/agents/events?user_id=dev1 HTTP/1.1\r\nHost: rebound.example\r\n\r\n").await.unwrap();
    assert_eq!(raw.response().await.status, 403);
}
