//! Messages to the application: stored before they are acknowledged, once, in their user's inbox and in the topic of all inboxes.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Gateway, PATIENCE, Packet, SERVICE_KEY, Socket};

/// All that stands in a topic.
async fn history(gateway: &Gateway, topic: &str) -> Vec<Value> {
    let (status, page) = gateway.get(&format!("/api/ws/replay?topic={}", topic.replace('*', "%2A")), SERVICE_KEY).await;
    assert_eq!(status, 200, "{page}");
    page["events"].as_array().unwrap().clone()
}

async fn hub(gateway: &Gateway, user: &str) -> Socket {
    let mut socket = gateway.hub().token(gateway.token(user).org("acme")).open().await;
    socket.expect("welcome", PATIENCE).await;
    socket
}

async fn unified(gateway: &Gateway, user: &str) -> Socket {
    let mut socket = gateway.unified().token(gateway.token(user)).open().await;
    socket.expect("connection_established", PATIENCE).await;
    socket
}

// proves: C3, C9
#[tokio::test]
async fn every_door_puts_messages_into_the_same_inbox() {
    let gateway = Gateway::start().await;
    let mut native = gateway.connect_with(gateway.token("ann").org("acme")).await;
    let mut unified = unified(&gateway, "ann").await;
    let mut hub = hub(&gateway, "ann").await;

    let data = json!({"type": "user_message", "id": "m1", "thread_id": "t1", "correlation_id": "c1", "data": {"content": "one"}});
    let first = native.request("message", data.clone()).await;
    assert_eq!((first.kind(), &first["data"]["id"], &first["data"]["topic"]), ("message_ack", &json!("m1"), &json!("inbox:ann")));

    let message = json!({"type": "agent_request", "payload": {"content": "two", "thread_id": "t1"}, "correlation_id": "c2", "message_id": "m2"});
    unified.send(message).await;
    let second = unified.expect("message_ack", PATIENCE).await;
    assert_eq!((second.correlation_id(), &second["payload"]["id"]), (Some("c2"), &json!("m2")));

    hub.send(json!({"type": "send_message", "thread_id": "t1", "content": "three", "message_id": "message-of-ann-3"})).await;
    let third = hub.expect("message_ack", PATIENCE).await;
    assert_eq!((&third["message_id"], &third["data"]["id"]), (&json!("message-of-ann-3"), &json!("message-of-ann-3")));

    let (status, fourth) = gateway
        .post_text(
            "/api/v1/messages",
            gateway.token("ann"),
            r#"{"type":"user_message","id":"m4","correlation_id":"c4","data":{"content":"four"}}"#,
        )
        .await;
    assert_eq!((status, &fourth["id"], &fourth["correlation_id"]), (200, &json!("m4"), &json!("c4")));

    let inbox = history(&gateway, "inbox:ann").await;
    let all = history(&gateway, "inbox:*").await;
    let expected = [
        ("m1", "user_message", "native", Some("t1"), Some("c1"), "one", &first["data"]),
        ("m2", "agent_request", "unified", Some("t1"), Some("c2"), "two", &second["payload"]),
        ("message-of-ann-3", "send_message", "hub", Some("t1"), None, "three", &third["data"]),
        ("m4", "user_message", "rest", None, Some("c4"), "four", &fourth),
    ];
    assert_eq!((inbox.len(), all.len()), (4, 4));
    for ((event, copy), (id, kind, door, thread, correlation, content, ack)) in inbox.iter().zip(&all).zip(expected) {
        assert_eq!((&event["id"], &event["type"], &event["data"]["message_id"]), (&json!(id), &json!(kind), &json!(id)));
        assert_eq!((&event["offset"], &event["ts"]), (&ack["offset"], &ack["ts"]), "the acknowledgement says where it stands");
        assert_eq!((&event["data"]["user_id"], &event["data"]["door"]), (&json!("ann"), &json!(door)));
        assert_eq!(event["data"].get("thread_id"), thread.map(Value::from).as_ref());
        assert_eq!(event.get("correlation_id"), correlation.map(Value::from).as_ref());
        assert_eq!(event["data"]["payload"]["content"], content);
        assert_eq!(event["data"].get("connection_id").is_some(), door != "rest");
        assert_eq!((&copy["type"], &copy["data"]), (&event["type"], &event["data"]), "both are the same message");
        assert_ne!(copy["id"], event["id"]);
    }
    assert_eq!((&inbox[0]["data"]["org_id"], inbox[1]["data"].get("org_id")), (&json!("acme"), None));
}

// proves: C9
#[tokio::test]
async fn a_message_sent_again_is_acknowledged_again_and_stored_once() {
    let gateway = Gateway::start().await;
    let data = json!({"type": "user_message", "id": "same", "data": {"n": 1}});
    let mut ann = gateway.connect("ann").await;
    let first = ann.request("message", data.clone()).await;
    drop(ann);
    let mut ann = gateway.connect("ann").await;
    let again = ann.request("message", data.clone()).await;
    assert_eq!(first["data"], again["data"], "the same acknowledgement");
    // Another user may have chosen the same id.
    let mut ben = gateway.connect("ben").await;
    let other = ben.request("message", data).await;
    assert_eq!(other["data"]["topic"], "inbox:ben");
    assert_eq!((history(&gateway, "inbox:ann").await.len(), history(&gateway, "inbox:ben").await.len()), (1, 1));
    assert_eq!(history(&gateway, "inbox:*").await.len(), 2);
    // Without an id of the user's own there is nothing to know it by.
    for _ in 0..2 {
        ben.request("message", json!({"type": "x"})).await;
    }
    assert_eq!(history(&gateway, "inbox:ben").await.len(), 3);
}

// proves: C9
#[tokio::test]
async fn nothing_is_acknowledged_that_is_not_stored() {
    let gateway = Gateway::start().await;
    let mut ann = gateway.connect("ann").await;
    gateway.faults().acknowledge_after(Duration::from_secs(3_600));
    ann.send(json!({"id": "m", "type": "message", "data": {"type": "user_message"}})).await;
    ann.expect_quiet().await;
    gateway.faults().acknowledge_after(Duration::ZERO);
}

// proves: C8
#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_the_next_one_is_taken() {
    let gateway = Gateway::start().await;
    let mut unified = unified(&gateway, "ann").await;
    let message =
        |bytes: usize| json!({"type": "user_message", "payload": {"content": "x".repeat(bytes)}, "correlation_id": "q"});
    unified.send(message(11_000)).await;
    let error = unified.expect("error", PATIENCE).await;
    assert_eq!((&error["payload"]["code"], error.correlation_id()), (&json!("MESSAGE_TOO_LARGE"), Some("q")));
    assert!(error["payload"]["error"].as_str().unwrap().contains("10240"), "{}", error.text());
    unified.send(message(9_000)).await;
    unified.expect("message_ack", PATIENCE).await;

    let mut native = gateway.connect("ann").await;
    let refused = native.request("message", json!({"type": "x", "data": "x".repeat(11_000)})).await;
    assert_eq!((refused.kind(), &refused["data"]["code"]), ("error", &json!("MESSAGE_TOO_LARGE")));
    let body = json!({"type": "x", "data": "x".repeat(11_000)}).to_string();
    let (status, answer) = gateway.post_text("/api/v1/messages", gateway.token("ann"), &body).await;
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("MESSAGE_TOO_LARGE")));
    assert!(answer["error"]["message"].as_str().unwrap().contains("10240"));
    assert_eq!(history(&gateway, "inbox:*").await.len(), 1);
}

// proves: C9
#[tokio::test]
async fn an_inbox_is_read_by_its_user_and_by_services_and_written_by_nobody() {
    let gateway = Gateway::start().await;
    let mut ann = gateway.connect_with(gateway.token("ann").publishes(["*"])).await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    ann.subscribe(json!(["inbox:ann"])).await;
    service.subscribe(json!(["inbox:*"])).await;
    let ack = ann.request("subscribe", json!({"topics": ["inbox:ben", "inbox:*"]})).await;
    assert_eq!(
        ack["data"]["errors"].as_array().unwrap().iter().map(|one| &one["code"]).collect::<Vec<_>>(),
        ["FORBIDDEN", "FORBIDDEN"]
    );
    ann.request("message", json!({"type": "user_message", "id": "m1"})).await;
    assert_eq!(ann.expect("user_message", PATIENCE).await.id(), "m1");
    assert_eq!(service.expect("user_message", PATIENCE).await["data"]["message_id"], "m1");

    for topic in ["inbox:ann", "inbox:ben", "inbox:*"] {
        for socket in [&mut ann, &mut service] {
            let ack = socket.request("publish", json!({"topic": topic, "type": "forged"})).await;
            assert_eq!(ack["data"]["results"][0]["error"]["code"], "FORBIDDEN", "{topic}: {}", ack.text());
        }
        let (status, _) = gateway.post_events("", &json!({"topic": topic, "type": "forged"}).to_string()).await;
        assert_eq!(status, 403);
    }
    assert_eq!(history(&gateway, "inbox:*").await.len(), 1);
}

// proves: C3
#[tokio::test]
async fn a_service_sends_no_messages_and_who_is_nobody_sends_none() {
    let gateway = Gateway::start().await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    let refused = service.request("message", json!({"type": "x"})).await;
    assert_eq!((refused.kind(), &refused["data"]["code"]), ("error", &json!("FORBIDDEN")));
    assert!(refused["data"]["message"].as_str().unwrap().contains("service"));
    let (status, answer) = gateway.post_text("/api/v1/messages", SERVICE_KEY, r#"{"type":"x"}"#).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("FORBIDDEN")));
    assert_eq!(gateway.post_text("/api/v1/messages", "", r#"{"type":"x"}"#).await.0, 401);
    for (body, code) in
        [("", "JSON_PARSE_ERROR"), ("[]", "INVALID_FORMAT"), ("{}", "INVALID_FORMAT"), (r#"{"type":"a b"}"#, "INVALID_FORMAT")]
    {
        let (status, answer) = gateway.post_text("/api/v1/messages", gateway.token("ann"), body).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!(code)), "{body}");
    }
}

/// Messages in a pipeline: each has its own answer, and the inbox has them in the order in which they were sent.
// proves: C3
#[tokio::test]
async fn messages_in_a_pipeline_keep_their_order() {
    let gateway = Gateway::start().await;
    let mut ann = unified(&gateway, "ann").await;
    for n in 0..100 {
        ann.send(json!({"type": "user_message", "payload": {"n": n}, "correlation_id": n.to_string()})).await;
    }
    let mut answered: Vec<usize> = Vec::new();
    while answered.len() < 100 {
        let ack: Packet = ann.expect("message_ack", PATIENCE).await;
        answered.push(ack.correlation_id().unwrap().parse().unwrap());
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..100).collect::<Vec<_>>());
    let inbox = history(&gateway, "inbox:ann").await;
    let stored: Vec<u64> = inbox.iter().map(|event| event["data"]["payload"]["n"].as_u64().unwrap()).collect();
    assert_eq!(stored, (0..100).collect::<Vec<_>>());
}
