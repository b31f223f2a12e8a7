//! Leaving in good order: clients are told to come back, what is under way is answered, and the process ends in a bounded time.

use std::time::Duration;

use serde_json::json;
use towline_harness::{Binary, Gateway, GatewayBuilder, PATIENCE, SERVICE_KEY};

#[tokio::test]
async fn sigterm_sends_everybody_away_and_ends_in_order() {
    let mut binary = Binary::start(&[("TOWLINE_DRAIN_WINDOW", "200ms"), ("TOWLINE_DRAIN_TIMEOUT", "5s")]).await;
    let mut native = binary.connect("alice").await;
    native.subscribe(json!(["user:alice"])).await;
    let mut feed = binary.feed("alice").token(binary.token("alice")).open().await;
    let mut stream = binary.stream("/api/v1/stream?topics=user:alice", binary.token("alice"), None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    let stored = binary.publish("user:alice", "x", json!({})).await;
    native.expect("x", PATIENCE).await;
    feed.expect("x", PATIENCE).await;
    stream.expect("x", PATIENCE).await;

    binary.terminate();
    let reconnect = native.expect("reconnect", PATIENCE).await;
    assert!(reconnect["data"]["retry_after_ms"].as_u64().unwrap() > 0);
    assert_eq!(native.expect_close(PATIENCE).await.0, 1012);
    assert_eq!(feed.expect_close(PATIENCE).await.0, 1012);
    assert!(stream.until_end().await.is_empty());
    assert!(stream.retry_ms().is_some(), "a stream says `retry:`");
    // Nobody is told that it is ready any more: it answers 503, or no longer listens.
    let ready = binary.http().get(binary.url("/readyz")).send().await;
    assert!(ready.is_err() || ready.is_ok_and(|answer| answer.status() == 503));
    drop((native, feed, stream));
    let status = binary.ended().await;
    assert!(status.success(), "{status}: {}", binary.output());
    assert!(binary.output().contains("ended in order"));

    // The next one has it all.
    binary.restart().await;
    let mut again = binary.connect("alice").await;
    again.subscribe(json!([{"topic": "user:alice", "from": "earliest"}])).await;
    assert_eq!(again.expect("x", PATIENCE).await.id(), stored.id);
}

/// A client that ignores all this does not hold the process up.
#[tokio::test]
async fn whoever_stays_is_cut_off() {
    let mut binary = Binary::start(&[("TOWLINE_DRAIN_WINDOW", "0s"), ("TOWLINE_DRAIN_TIMEOUT", "1s")]).await;
    let mut deaf = binary.native().bearer(SERVICE_KEY).receive_buffer(4096).open().await;
    deaf.expect("welcome", PATIENCE).await;
    deaf.subscribe(json!(["a"])).await;
    binary.publish_padded("a", 0, 2_000, 4_000).await;
    let mut silent = binary.raw().await;
    silent.send(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    binary.terminate();
    let status = binary.ended().await;
    assert!(status.code().is_some(), "{status}");
    assert!(silent.until_end().await == 0);
}

#[tokio::test]
async fn what_is_under_way_is_answered() {
    what_is_under_way_is_answered_over(Gateway::builder()).await;
}

pub(crate) async fn what_is_under_way_is_answered_over(builder: GatewayBuilder) {
    let mut gateway = builder.config(|config| config.drain.window = Duration::ZERO).start().await;
    gateway.faults().acknowledge_after(Duration::from_millis(300));
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    service.send(json!({"id": "p", "type": "publish", "data": {"topic": "a", "type": "x", "id": "by-socket"}})).await;
    let request = gateway.http().post(gateway.url("/api/v1/events")).bearer_auth(SERVICE_KEY);
    let request = tokio::spawn(request.body(r#"{"topic":"a","type":"x","id":"by-rest"}"#).send());
    let faults = gateway.faults().clone();
    towline_harness::eventually("both are being stored", || async { faults.appends() == 2 }).await;
    let answering = async {
        // First the answer, then the way out.
        let ack = service.expect("publish_ack", PATIENCE).await;
        assert_eq!((ack.correlation_id(), &ack["data"]["results"][0]["status"]), (Some("p"), &json!("stored")));
        service.expect("reconnect", PATIENCE).await;
        assert_eq!(service.expect_close(PATIENCE).await.0, 1012);
        drop(service);
        let answer = request.await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(answer["stored"], 1);
    };
    tokio::join!(gateway.drain(), answering);
    assert_ne!(gateway.log().health(), towline_log::Health::Ready, "the log is closed");
}

#[tokio::test]
async fn a_draining_server_is_not_ready_and_takes_nobody_new() {
    let gateway = Gateway::start().await;
    let mut kept = gateway.raw().await;
    kept.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(kept.response().await.status, 200);
    gateway.server().shared().begin_drain();
    kept.send(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = kept.response().await;
    assert_eq!((answer.status, answer.body.contains("draining")), (503, true));
    kept.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(kept.response().await.status, 200);
    let refused = gateway.native().bearer(SERVICE_KEY).try_open().await.err().unwrap();
    assert_eq!(refused.status, 503);
    let (status, _) = gateway.stream("/api/v1/stream?topics=a", SERVICE_KEY, None).await.err().unwrap();
    assert_eq!(status, 503);
}

/// Neither a connection that waits for its next request nor one that never said a word.
#[tokio::test]
async fn idle_connections_do_not_hold_a_drain_up() {
    idle_connections_do_not_hold_a_drain_up_over(Gateway::builder()).await;
}

pub(crate) async fn idle_connections_do_not_hold_a_drain_up_over(builder: GatewayBuilder) {
    let an_hour = Duration::from_secs(3_600);
    let change = move |config: &mut towline::Config| {
        config.drain.window = Duration::ZERO;
        config.drain.timeout = an_hour;
        config.sockets.handshake_timeout = an_hour;
        config.rest.keep_alive_timeout = an_hour;
    };
    let mut gateway = builder.config(change).start().await;
    let mut kept = gateway.raw().await;
    kept.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(kept.response().await.status, 200);
    let mut mute = gateway.raw().await;
    towline_harness::eventually("both are accepted", || async { gateway.server().open_connections() == 2 }).await;
    assert_eq!(gateway.metric("towline_handshakes_pending").await, 1.0);
    tokio::time::timeout(PATIENCE, gateway.drain()).await.expect("the drain waits for somebody idle");
    assert_eq!((kept.until_end().await, mute.until_end().await), (0, 0));
}
