//! What one user may have and send, over all doors, sockets and reactor threads.

use std::time::Duration;

use serde_json::json;
use towline_client::{Client, StartRequest, StopReason, Update};
use towline_harness::{Gateway, GatewayBuilder, PATIENCE, SERVICE_KEY, Socket, client_frame, eventually};

fn connections(most: u32) -> GatewayBuilder {
    Gateway::builder().config(move |config| config.users.connections_max = most)
}

/// The clock stands until it is moved, and silence is no reason to end.
fn messages(most: u32) -> GatewayBuilder {
    Gateway::builder().manual_clock().config(move |config| {
        config.users.messages_per_minute_max = most;
        config.sockets.idle_timeout = Duration::from_secs(100_000);
        config.sockets.heartbeat_interval = Duration::from_secs(50_000);
    })
}

async fn expect_superseded(socket: &mut Socket) {
    let (code, reason) = socket.expect_close(PATIENCE).await;
    assert_eq!((code, reason.contains("oldest")), (4409, true), "{reason}");
}

// proves: C6
#[tokio::test]
async fn the_sixth_tab_costs_the_oldest_and_nobody_else() {
    let gateway = connections(5).config(|config| config.sockets.workers = 3).start().await;
    let mut tabs = Vec::new();
    for _ in 0..5 {
        tabs.push(gateway.connect("alice").await);
    }
    let mut bob = gateway.connect("bob").await;
    tabs.push(gateway.feed("alice").bearer(gateway.token("alice")).open().await);
    expect_superseded(&mut tabs.remove(0)).await;
    tabs.push(gateway.connect("alice").await);
    expect_superseded(&mut tabs.remove(0)).await;
    for tab in tabs.iter_mut().chain([&mut bob]) {
        tab.expect_quiet().await;
    }
    assert_eq!(gateway.metric("towline_superseded_total").await, 2.0);
    assert_eq!(gateway.metric("towline_closes_total{code=\"4409\"}").await, 2.0);
    assert_eq!(gateway.metric("towline_connections_per_user_bucket{le=\"1.0\"}").await, 2.0);
    assert_eq!(gateway.metric("towline_connections_per_user_count").await, 8.0);
    drop((tabs, bob));
    gateway.expect_idle().await;
}

// proves: C6
#[tokio::test]
async fn clients_that_reconnect_by_themselves_do_not_evict_each_other_for_ever() {
    let gateway = connections(1).start().await;
    let url = gateway.url("");
    let follow = || {
        let client = Client::builder(url.clone()).token(gateway.token("alice").mint()).build().unwrap();
        client.subscribe([("user:alice", StartRequest::Latest)]).unwrap()
    };
    let mut first = follow();
    let counted = || async { gateway.server().shared().metrics.subscriptions.get() == 1 };
    eventually("the first one follows", counted).await;
    let mut second = follow();
    let stopped = loop {
        match tokio::time::timeout(PATIENCE, first.next()).await.expect("it is told").expect("it says why it ends") {
            Update::Stopped(reason) => break reason,
            _ => continue,
        }
    };
    assert!(matches!(stopped, StopReason::Closed { code: 4409, .. }), "{stopped:?}");
    gateway.publish("user:alice", "x", json!({})).await;
    eventually("the second one follows", counted).await;
    gateway.publish("user:alice", "x", json!({})).await;
    while !matches!(second.next().await.unwrap(), Update::Event(_)) {}
    assert_eq!(gateway.metric("towline_superseded_total").await, 1.0);
}

// proves: C6
#[tokio::test]
async fn services_have_as_many_connections_as_they_like() {
    let gateway = connections(1).start().await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(gateway.connect_with(SERVICE_KEY).await);
    }
    for socket in &mut sockets {
        socket.expect_quiet().await;
    }
    drop(sockets);
    gateway.expect_idle().await;
}

// proves: C6
#[tokio::test]
async fn event_streams_count_and_are_refused_where_a_socket_would_push_another_out() {
    let gateway = connections(2).start().await;
    let open = || gateway.stream("/api/v1/stream?topics=user:alice", gateway.token("alice"), None);
    let mut oldest = open().await.ok().unwrap();
    oldest.expect("welcome", PATIENCE).await;
    let mut stream = open().await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    // A browser opens a stream again that ended, and gives up only on an error status: refused, they cannot fight.
    let (status, body) = open().await.err().unwrap();
    assert!(status == 429 && body.contains("TOO_MANY_CONNECTIONS"), "{status} {body}");
    let mut socket = gateway.connect("alice").await;
    let last = oldest.until_end().await.pop().unwrap();
    assert_eq!((last.kind(), &last["data"]["code"]), ("error", &json!("TOO_MANY_CONNECTIONS")), "{}", last.text());
    assert_eq!(open().await.err().unwrap().0, 429);
    gateway.publish("user:alice", "x", json!({})).await;
    stream.expect("x", PATIENCE).await;
    socket.expect_quiet().await;
    drop((oldest, stream, socket));
    gateway.expect_idle().await;
}

/// Whatever way connections end, what is counted is what is open.
// proves: C6
#[tokio::test]
async fn random_lives_leave_no_count_behind() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let gateway = connections(3).config(|config| config.sockets.workers = 3).start().await;
    let mut sockets: Vec<Socket> = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..200 {
        let user = format!("user-{}", random.u8(..4));
        let token = gateway.token(&user).mint();
        match random.u8(..7) {
            0 => sockets.push(gateway.connect_with(token).await),
            1 => sockets.push(gateway.feed(&user).token(token).open().await),
            2 => streams.extend(gateway.stream(&format!("/api/v1/stream?topics=user:{user}"), token, None).await.ok()),
            3 if !sockets.is_empty() => sockets.swap_remove(random.usize(..sockets.len())).close().await,
            4 if !sockets.is_empty() => drop(sockets.swap_remove(random.usize(..sockets.len()))),
            5 if !streams.is_empty() => drop(streams.swap_remove(random.usize(..streams.len()))),
            _ => {
                let mut raw = gateway.raw().await;
                raw.upgrade("/ws", &format!("Sec-WebSocket-Protocol: towline.v1\r\nAuthorization: Bearer {token}\r\n")).await;
                let last_words = match random.u8(..3) {
                    // A frame against the rules, half a frame, and a farewell that nobody waits for.
                    0 => client_frame(0x83, b"{}", Some([1, 2, 3, 4])),
                    1 => client_frame(0x81, &[b'x'; 100], Some([1, 2, 3, 4]))[..50].to_vec(),
                    _ => client_frame(0x88, &1000_u16.to_be_bytes(), Some([1, 2, 3, 4])),
                };
                let _ = raw.send(&last_words).await;
            }
        }
        let counted = gateway.server().shared().limits.users.connections();
        assert!(counted <= 4 * 3, "{counted} connections of 4 users, seed {seed}");
    }
    drop((sockets, streams));
    gateway.expect_idle().await;
}

// proves: C7
#[tokio::test]
async fn messages_past_the_limit_are_answered_with_when_to_try_again() {
    let gateway = messages(3).start().await;
    let publishing = gateway.token("alice").publishes(["user:alice"]).mint();
    let mut one = gateway.connect_with(publishing.clone()).await;
    let mut two = gateway.connect("alice").await;
    one.subscribe(json!(["user:alice"])).await;
    two.subscribe(json!(["user:alice"])).await;
    let (status, _) = gateway.post_events_as(&publishing, "", "application/json", r#"{"topic":"user:alice","type":"a"}"#).await;
    assert_eq!(status, 200);
    for socket in [&mut one, &mut two] {
        socket.expect("a", PATIENCE).await;
        let refused = socket.request("publish", json!({"topic": "user:alice", "type": "b"})).await;
        let error = &refused["data"];
        assert_eq!((refused.kind(), &error["code"], &error["retryable"]), ("error", &json!("RATE_LIMITED"), &json!(true)));
        assert_eq!(error["retry_after_ms"], 65_000, "{}", refused.text());
        // What keeps the connection alive is not counted.
        assert_eq!(socket.request("ping", json!({})).await.kind(), "pong");
        assert_eq!(socket.request("auth", json!({"token": publishing})).await.kind(), "auth_ack");
    }
    let url = gateway.url("/api/v1/events");
    let body = r#"{"topic":"user:alice","type":"b"}"#;
    let request = gateway.http().post(url).bearer_auth(&publishing).header("content-type", "application/json").body(body);
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "65"));
    let answer: serde_json::Value = answer.json().await.unwrap();
    assert_eq!((&answer["error"]["code"], &answer["error"]["retry_after_ms"]), (&json!("RATE_LIMITED"), &json!(65_000)));
    // Others are not held up, and services not at all.
    let mut bob = gateway.connect("bob").await;
    bob.subscribe(json!(["user:bob"])).await;
    for _ in 0..5 {
        gateway.publish("user:bob", "c", json!({})).await;
        bob.expect("c", PATIENCE).await;
    }
    assert_eq!(gateway.metric("towline_refused_total{reason=\"user_messages\"}").await, 3.0);
    // Who waits as told gets through, and nothing of what was refused was stored.
    gateway.clock().advance(Duration::from_millis(64_999));
    assert_eq!(one.request("publish", json!({"topic": "user:alice", "type": "b"})).await["data"]["retry_after_ms"], 1);
    gateway.clock().advance(Duration::from_millis(1));
    assert_eq!(one.request("publish", json!({"topic": "user:alice", "type": "d"})).await.kind(), "publish_ack");
    assert_eq!(two.next(PATIENCE).await.unwrap().kind(), "d");
}

// proves: C4, C7
#[tokio::test]
async fn who_does_not_wait_is_closed_in_the_end() {
    let gateway = messages(1).config(|config| config.sockets.errors_max = 5).start().await;
    let mut socket = gateway.connect("alice").await;
    for n in 0..10 {
        socket.send(json!({"type": "unsubscribe", "id": format!("{n}"), "data": {"topics": ["a"]}})).await;
    }
    let (packets, (code, _)) = socket.until_close().await;
    let refused = packets.iter().filter(|packet| packet["data"]["code"] == "RATE_LIMITED").count();
    assert_eq!((code, refused), (4429, 6));
}
