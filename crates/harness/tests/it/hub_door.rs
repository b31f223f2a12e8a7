//! The topic hub: requests in both of their forms, one answer each, and nobody else's topics.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Gateway, Handshake, PAGE, PATIENCE, Packet, Socket};

fn door(gateway: &Gateway, user: &str) -> Handshake {
    gateway.hub().token(gateway.token(user).topics(["thread:*"]))
}

async fn connect(gateway: &Gateway, user: &str) -> Socket {
    let mut socket = door(gateway, user).open().await;
    let welcome = socket.expect("welcome", PATIENCE).await;
    assert_eq!(welcome["data"]["topics"], json!([format!("user:{user}")]));
    socket
}

/// The request flat and in an envelope, as the hub's own clients sent both.
fn both(kind: &str, members: &Value) -> [Value; 2] {
    let mut flat = members.clone();
    flat["type"] = kind.into();
    [flat, json!({"v": 1, "id": "packet", "topic": "system", "ts": 1, "type": kind, "data": members})]
}

fn answers(packet: &Packet) -> [&Value; 3] {
    [&packet["message_id"], &packet["correlation_id"], &packet["data"]["message_id"]]
}

// proves: B2
#[tokio::test]
async fn requests_in_both_forms_do_what_they_say_and_get_one_answer() {
    let gateway = Gateway::start().await;
    let mut alice = connect(&gateway, "alice").await;
    for (n, subscribe) in both("subscribe", &json!({"topics": ["thread:1", "system"], "message_id": "s"})).into_iter().enumerate()
    {
        alice.send(subscribe).await;
        let ack = alice.expect("subscribe_ack", PATIENCE).await;
        assert_eq!((&ack["data"]["topics"], answers(&ack)), (&json!(["thread:1", "system"]), [&json!("s"); 3]));
        gateway.publish("thread:1", "thread_message_created", json!({"n": n})).await;
        let event = alice.expect("thread_message_created", PATIENCE).await;
        assert_eq!((&event["topic"], &event["data"]["n"]), (&json!("thread:1"), &json!(n)));

        // An unsubscribe in either form really unsubscribes.
        let unsubscribe = both("unsubscribe", &json!({"topics": ["thread:1", "system"], "message_id": "u"}))[n].clone();
        alice.send(unsubscribe).await;
        let ack = alice.expect("unsubscribe_ack", PATIENCE).await;
        assert_eq!((&ack["data"]["topics"], answers(&ack)), (&json!(["thread:1", "system"]), [&json!("u"); 3]));
        gateway.publish("thread:1", "thread_message_created", json!({})).await;
        alice.expect_quiet().await;
    }
    // Its own topic is still followed, without ever having been asked for.
    gateway.publish("user:alice", "x", json!({})).await;
    alice.expect("x", PATIENCE).await;
    alice.close().await;
    gateway.expect_idle().await;
}

// proves: B2
#[tokio::test]
async fn refusals_name_their_reason_and_what_was_allowed_is_followed() {
    let gateway = Gateway::start().await;
    let mut alice = connect(&gateway, "alice").await;
    for (request, kind, code, topics) in [
        (json!({"type": "subscribe", "topics": ["user:bob"]}), "subscribe_error", "FORBIDDEN", json!(["user:bob"])),
        (
            json!({"type": "subscribe", "topics": ["agent:7", "ops:events"]}),
            "subscribe_error",
            "FORBIDDEN",
            json!(["agent:7", "ops:events"]),
        ),
        (json!({"type": "subscribe", "topics": ["no way"]}), "subscribe_error", "INVALID_FORMAT", json!(["no way"])),
        (json!({"type": "subscribe", "topics": "system"}), "subscribe_error", "INVALID_FORMAT", json!([])),
        (json!({"type": "subscribe", "topics": []}), "subscribe_error", "INVALID_FORMAT", json!([])),
        (json!({"type": "unsubscribe", "topics": ["thread:9"]}), "unsubscribe_error", "NOT_FOUND", json!(["thread:9"])),
        (json!({"type": "unsubscribe"}), "unsubscribe_error", "INVALID_FORMAT", json!([])),
        (json!({"type": "publish", "data": {"topic": "system", "type": "x"}}), "error", "INVALID_MESSAGE_TYPE", json!([])),
    ] {
        let mut named = request.clone();
        named["message_id"] = "m".into();
        alice.send(named).await;
        let answer = alice.expect(kind, PATIENCE).await;
        assert_eq!((&answer["data"]["error_code"], &answer["data"]["topics"]), (&json!(code), &topics), "{request}");
        assert_eq!(answers(&answer), [&json!("m"); 3]);
        assert!(answer["data"]["error"].as_str().is_some_and(|text| !text.is_empty()));
    }
    alice.send(json!({"type": "subscribe", "topics": ["user:bob", "thread:1"], "message_id": "m"})).await;
    let ack = alice.expect("subscribe_ack", PATIENCE).await;
    assert_eq!(ack["data"]["topics"], json!(["thread:1"]));
    assert_eq!(
        (&ack["data"]["errors"][0]["topic"], &ack["data"]["errors"][0]["error_code"]),
        (&json!("user:bob"), &json!("FORBIDDEN"))
    );
    alice.send_text("nonsense").await;
    assert_eq!(alice.expect("error", PATIENCE).await["data"]["error_code"], "JSON_PARSE_ERROR");
    // Nobody else's events, and the connection is open.
    for topic in ["user:bob", "agent:7", "ops:events"] {
        gateway.publish(topic, "secret", json!({})).await;
    }
    gateway.publish("thread:1", "x", json!({})).await;
    alice.expect("x", PATIENCE).await;
    alice.expect_quiet().await;
}

// proves: B2
#[tokio::test]
async fn administrators_may_follow_the_operators_topic() {
    let gateway = Gateway::start().await;
    let mut root =
        gateway.hub().token(gateway.token("root").topics(["ops:events"])).parameter("initial_topics", "ops:events").open().await;
    root.expect("welcome", PATIENCE).await;
    assert_eq!(root.expect("subscribe_ack", PATIENCE).await["data"]["topics"], json!(["ops:events"]));
    gateway.publish("ops:events", "deployed", json!({})).await;
    root.expect("deployed", PATIENCE).await;
}

// proves: B2
#[tokio::test]
async fn initial_topics_are_followed_from_the_handshake_on_and_refusals_are_told() {
    let gateway = Gateway::start().await;
    let mut alice = door(&gateway, "alice")
        .parameter("initial_topics", "thread:1,user:bob,%20system,user:alice,no%20way,thread:1")
        .open()
        .await;
    // Published once the handshake is answered and before anything is read: it cannot be missed.
    gateway.publish("thread:1", "first", json!({})).await;
    gateway.publish("user:alice", "second", json!({})).await;
    let welcome = alice.expect("welcome", PATIENCE).await;
    assert_eq!(welcome["data"]["topics"], json!([]), "the user's own topic was asked for by name");
    let ack = alice.expect("subscribe_ack", PATIENCE).await;
    assert_eq!(ack["data"]["topics"], json!(["thread:1", "system", "user:alice"]));
    let refused: Vec<_> =
        ack["data"]["errors"].as_array().unwrap().iter().map(|one| (&one["topic"], &one["error_code"])).collect();
    assert_eq!(refused, [(&json!("user:bob"), &json!("FORBIDDEN")), (&json!("no way"), &json!("INVALID_FORMAT"))]);
    let mut kinds: Vec<String> = alice.expect_events(2).await.iter().map(|event| event.kind().to_owned()).collect();
    kinds.sort();
    assert_eq!(kinds, ["first", "second"]);

    let mut bob = door(&gateway, "bob").parameter("initial_topics", "user:alice").open().await;
    bob.expect("welcome", PATIENCE).await;
    assert_eq!(bob.expect("subscribe_error", PATIENCE).await["data"]["error_code"], "FORBIDDEN");
    bob.expect_quiet().await;
    let many: Vec<String> = (0..201).map(|n| format!("thread:{n}")).collect();
    let refused = door(&gateway, "bob").parameter("initial_topics", &many.join(",")).try_open().await.err().unwrap();
    assert_eq!((refused.status, refused.body.contains("TOO_MANY_TOPICS")), (400, true));
}

/// A client may ask for what it follows already, as the hub's own clients did after every connection: nothing is skipped or repeated.
// proves: B2
#[tokio::test]
async fn nothing_is_lost_between_subscribing_and_the_first_read() {
    let gateway = Gateway::start().await;
    let mut alice = door(&gateway, "alice").open().await;
    // All of it at once, and nothing is read meanwhile.
    for n in 0..20 {
        gateway.publish("user:alice", "x", json!({"n": n})).await;
        alice.send(json!({"type": "subscribe", "topics": ["user:alice"], "message_id": format!("s{n}")})).await;
    }
    alice.expect("welcome", PATIENCE).await;
    let (mut events, mut acks) = (Vec::new(), Vec::new());
    while events.len() + acks.len() < 40 {
        let packet = alice.next(PATIENCE).await.unwrap();
        match packet.kind() {
            "x" => events.push(packet["data"]["n"].as_u64().unwrap()),
            "subscribe_ack" => acks.push(packet["message_id"].as_str().unwrap().to_owned()),
            _ => {}
        }
    }
    assert_eq!(events, (0..20).collect::<Vec<_>>());
    assert_eq!(acks, (0..20).map(|n| format!("s{n}")).collect::<Vec<_>>());
}

/// What is published again and again while a client subscribes and unsubscribes: its answers come whole and in their order between the
/// events, and an event only while its topic is followed.
// proves: B2
#[tokio::test]
async fn answers_and_events_do_not_interleave_wrongly() {
    let gateway = Gateway::start().await;
    let mut alice = connect(&gateway, "alice").await;
    let publishing = async {
        for n in 0..60 {
            gateway.publish("thread:1", "x", json!({"n": n})).await;
        }
    };
    let asking = async {
        for n in 0..30 {
            let kind = if n % 2 == 0 { "subscribe" } else { "unsubscribe" };
            alice.send(json!({"type": kind, "topics": ["thread:1"], "message_id": n.to_string()})).await;
        }
        let (mut answered, mut followed) = (Vec::new(), false);
        while answered.len() < 30 {
            let packet = alice.next(PATIENCE).await.unwrap();
            match packet.kind() {
                "subscribe_ack" => followed = true,
                "unsubscribe_ack" => followed = false,
                _ => {
                    assert!(followed && packet.kind() == "x", "{}", alice.transcript());
                    continue;
                }
            }
            answered.push(packet["message_id"].as_str().unwrap().to_owned());
        }
        answered
    };
    let ((), answered) = tokio::join!(publishing, asking);
    assert_eq!(answered, (0..30).map(|n| n.to_string()).collect::<Vec<_>>());
}

// proves: B2, B5
#[tokio::test]
async fn a_client_resumes_by_position_id_or_query() {
    let gateway = Gateway::start().await;
    let stored = gateway.publish_numbered("thread:1", 0, 5).await;
    let own = gateway.publish_numbered("user:alice", 0, 3).await;
    let after_own = own[0].id.clone();
    let mut alice = door(&gateway, "alice").parameter("after", &after_own).open().await;
    alice.expect("welcome", PATIENCE).await;
    let missed = alice.expect_events(2).await;
    assert_eq!(missed.iter().map(Packet::id).collect::<Vec<_>>(), [&*own[1].id, &*own[2].id]);
    alice.expect("caught_up", PATIENCE).await;

    let from = json!({"epoch": stored[1].epoch, "offset": stored[1].offset});
    alice.send(json!({"type": "subscribe", "topics": [{"topic": "thread:1", "from": from}], "message_id": "s"})).await;
    let ack = alice.expect("subscribe_ack", PATIENCE).await;
    assert_eq!((&ack["data"]["subscriptions"][0]["from"], &ack["data"]["subscriptions"][0]["complete"]), (&from, &json!(true)));
    let missed = alice.expect_events(3).await;
    assert_eq!(missed.iter().map(Packet::id).collect::<Vec<_>>(), stored[2..].iter().map(|at| &*at.id).collect::<Vec<_>>());
}

// proves: B3, B5
#[tokio::test]
async fn a_silent_client_is_pinged_with_a_message_and_then_closed_with_4408() {
    let gateway = Gateway::builder().manual_clock().start().await;
    let mut raw = gateway.raw().await;
    raw.upgrade(&format!("/api/ws?token={}", gateway.token("alice").mint()), "").await;
    assert_eq!(raw.frame().await.unwrap().first_byte, 0x81, "welcome");
    gateway.clock().advance(Duration::from_secs(31));
    assert_eq!(raw.frame().await.unwrap().first_byte, 0x89);
    let ping = Packet::new(String::from_utf8(raw.frame().await.unwrap().payload).unwrap()).unwrap();
    assert_eq!((ping.kind(), &ping["v"]), ("ping", &json!(1)));
    // A pong that says what was seen last is a sign of life and gets no answer.
    raw.send_frame(0x81, br#"{"type":"pong","id":"0190ab12-3456-7890-abcd-ef0123456789"}"#).await.unwrap();
    raw.send_frame(0x81, br#"{"type":"ping","message_id":"p"}"#).await.unwrap();
    let pong = Packet::new(String::from_utf8(raw.frame().await.unwrap().payload).unwrap()).unwrap();
    assert_eq!((pong.kind(), &pong["message_id"]), ("pong", &json!("p")));
    gateway.clock().advance(Duration::from_secs(31));
    raw.frame().await.unwrap();
    gateway.clock().advance(Duration::from_secs(30));
    assert_eq!(raw.close_code().await, 4408);
}

// proves: B3
#[tokio::test]
async fn authentication_comes_first_and_a_binary_message_is_not_taken() {
    let gateway = Gateway::builder().manual_clock().start().await;
    assert_eq!(gateway.hub().try_open().await.err().unwrap().status, 401);
    let expired = gateway.token("alice").expired_for(Duration::from_secs(60)).mint();
    let mut page = gateway.hub().token(&expired).origin(PAGE).open().await;
    assert_eq!(page.expect_close(PATIENCE).await.0, 4401);

    let mut alice = gateway.hub().token(gateway.token("alice")).open().await;
    alice.expect("welcome", PATIENCE).await;
    alice.send_binary(b"x").await;
    assert_eq!(alice.expect_close(PATIENCE).await.0, 1003);
}
