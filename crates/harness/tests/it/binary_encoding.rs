//! `towline.v1+msgpack`: the native door's messages in MessagePack, member for member.

use serde_json::{Value, json};
use towline_client::{Client, Encoding, Settings, StartRequest, Update};
use towline_harness::{Gateway, PATIENCE, SERVICE_KEY, Socket};

async fn open(gateway: &Gateway, token: impl Into<String>) -> Socket {
    let mut socket = gateway.native_binary().bearer(token).open().await;
    assert_eq!(socket.headers()["sec-websocket-protocol"], "towline.v1+msgpack");
    socket.expect("welcome", PATIENCE).await;
    socket
}

// proves: C14
#[tokio::test]
async fn both_encodings_say_the_same_of_the_same_event() {
    let gateway = Gateway::start().await;
    let mut binary = open(&gateway, gateway.token("alice")).await;
    let mut text = gateway.connect("alice").await;
    for socket in [&mut binary, &mut text] {
        socket.subscribe(json!(["user:alice"])).await;
    }
    let event = json!({
        "topic": "user:alice", "type": "approval.new", "id": "mine-1", "title": "Déjà \"vu\"", "severity": "action_required",
        "data": {
            "most": u64::MAX, "least": i64::MIN, "safe": 9_007_199_254_740_991_u64, "float": 0.1, "whole": 5.0, "none": null,
            "text": "line\nbreak \u{2028} and \u{1F600}", "": [[], {}, [true, false]], "many": (0..40).collect::<Vec<_>>(),
        },
    });
    gateway.post_events("", &event.to_string()).await;
    let one = binary.expect("approval.new", PATIENCE).await;
    let other = text.expect("approval.new", PATIENCE).await;
    assert_eq!(one.json(), other.json());
    for member in ["id", "data", "title", "severity"] {
        assert_eq!(one[member], event[member], "{member}");
    }
}

// proves: C14
#[tokio::test]
async fn every_request_is_taken_and_answered_in_binary() {
    let gateway = Gateway::start().await;
    let mut service = open(&gateway, SERVICE_KEY).await;
    service.subscribe(json!(["a", {"topic": "b", "from": "earliest"}])).await;
    let data = json!({"n": u64::MAX, "f": 0.1, "s": "\u{1}é"});
    let ack = service
        .request("publish", json!({"events": [{"topic": "a", "type": "x", "data": data}, {"topic": "no way", "type": "x"}]}));
    let ack = ack.await;
    assert_eq!(
        (&ack["data"]["results"][0]["status"], &ack["data"]["results"][1]["status"]),
        (&json!("stored"), &json!("refused"))
    );
    assert_eq!(service.expect("x", PATIENCE).await.data(), &data, "the published value comes back as it was");
    assert_eq!(service.request("unsubscribe", json!({"topics": ["b"]})).await["data"]["topics"], json!(["b"]));
    assert_eq!(service.request("auth", json!({"token": SERVICE_KEY})).await.kind(), "auth_ack");
    assert_eq!(service.request("ping", json!({})).await.kind(), "pong");
    let error = service.request("dance", json!({})).await;
    assert_eq!(error["data"]["code"], "INVALID_MESSAGE_TYPE");
    service.close().await;
    gateway.expect_idle().await;
}

/// From the window and from the log: both are encoded for the one who asks.
// proves: C14
#[tokio::test]
async fn history_is_replayed_in_binary_from_the_log_and_the_window() {
    let gateway = Gateway::builder().config(|config| config.sockets.window_events = 10).start().await;
    let mut watching = open(&gateway, SERVICE_KEY).await;
    watching.subscribe(json!(["a"])).await;
    gateway.publish_numbered("a", 0, 200).await;
    watching.expect_events(200).await;
    let mut late = open(&gateway, SERVICE_KEY).await;
    late.subscribe(json!([{"topic": "a", "from": "earliest"}])).await;
    let events = late.expect_events(200).await;
    let numbers: Vec<_> = events.iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    let caught_up = late.expect("caught_up", PATIENCE).await;
    assert_eq!((&caught_up["data"]["replayed"], &caught_up["data"]["offset"]), (&json!(200), &json!(200)));
}

#[tokio::test]
async fn the_client_s_order_of_subprotocols_decides() {
    let gateway = Gateway::start().await;
    for (offered, chosen) in [
        (["towline.v1", "towline.v1+msgpack"], "towline.v1"),
        (["towline.v1+msgpack", "towline.v1"], "towline.v1+msgpack"),
        (["towline.v9", "towline.v1+msgpack"], "towline.v1+msgpack"),
    ] {
        let handshake = towline_harness::Handshake::new(gateway.address(), "/ws").bearer(gateway.token("alice"));
        let mut socket = handshake.protocol(offered[0]).protocol(offered[1]).open().await;
        assert_eq!(socket.headers()["sec-websocket-protocol"], chosen);
        socket.expect("welcome", PATIENCE).await;
    }
    let handshake = towline_harness::Handshake::new(gateway.address(), "/ws").bearer(gateway.token("alice"));
    let refused = handshake.protocol("towline.v1+cbor").try_open().await.err().unwrap();
    assert!(refused.status == 400 && refused.body.contains("`towline.v1` or `towline.v1+msgpack`"), "{}", refused.body);
}

#[tokio::test]
async fn text_is_taken_too_and_answered_in_binary() {
    let gateway = Gateway::start().await;
    let mut alice = open(&gateway, gateway.token("alice")).await;
    alice.send_text(r#"{"id":"t","type":"ping"}"#).await;
    // The socket fails on anything but binary.
    assert_eq!(alice.expect("pong", PATIENCE).await.correlation_id(), Some("t"));
}

// proves: B3
#[tokio::test]
async fn what_is_no_messagepack_is_answered_and_the_connection_stays_open() {
    let gateway = Gateway::builder().config(|config| config.sockets.message_bytes_max = 2_000).start().await;
    let mut alice = open(&gateway, gateway.token("alice")).await;
    let controls = rmp_serde::to_vec(&json!({"type": "ping", "pad": "\u{1}".repeat(500)})).unwrap();
    assert!(controls.len() < 2_000);
    for (bytes, code, word) in [
        (&b""[..], "JSON_PARSE_ERROR", "ends within"),
        (b"{\"type\":\"ping\"}", "JSON_PARSE_ERROR", "follow"),
        (b"\x81\xa4type\xa4pin", "JSON_PARSE_ERROR", "ends within"),
        (b"\x82\xa4type\xa4ping\xa4type\xa4pong", "JSON_PARSE_ERROR", "same key"),
        (b"\x81\xa4data\xc4\x01x", "JSON_PARSE_ERROR", "no JSON form"),
        (b"\x80", "MISSING_TYPE_FIELD", "type"),
        (b"\x07", "INVALID_FORMAT", "object"),
        (&[0x91; 1_000], "JSON_PARSE_ERROR", "deeper"),
        (&controls, "MESSAGE_TOO_LARGE", "as JSON"),
    ] {
        alice.send_binary(bytes).await;
        let error = alice.expect("error", PATIENCE).await;
        assert_eq!(error["data"]["code"], code, "{bytes:?}");
        assert!(error["data"]["message"].as_str().unwrap().contains(word), "{}", error.text());
    }
    assert_eq!(alice.request("ping", Value::Null).await.kind(), "pong");
}

// proves: C14
#[tokio::test]
async fn the_rust_client_speaks_it_where_it_is_told_to() {
    let gateway = Gateway::start().await;
    let data = json!({"n": u64::MAX, "f": 0.1, "s": "é"});
    let stored = gateway.publish("a", "x", data.clone()).await;
    let settings = Settings { encoding: Encoding::MessagePack, ..Settings::default() };
    let client = Client::builder(gateway.url("")).token(SERVICE_KEY).settings(settings).build().unwrap();
    let mut watching = client.subscribe([("a", StartRequest::Earliest)]).unwrap();
    let event = loop {
        match tokio::time::timeout(PATIENCE, watching.next()).await.unwrap().unwrap() {
            Update::Event(event) => break event,
            Update::Connected { .. } | Update::Subscribed { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((&*event.id, event.data::<Value>().unwrap()), (&*stored.id, data));
    assert_eq!(gateway.metric("towline_connections{door=\"native\"}").await, 1.0, "no second connection was needed");
}
