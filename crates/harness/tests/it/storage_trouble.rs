//! A log that refuses or fails: publishers are told what to do, readiness says so, and everything goes on when it is over.

use std::time::Duration;

use serde_json::json;
use towline_harness::{Gateway, PATIENCE, SERVICE_KEY, eventually};
use towline_log::{AppendError, ReadError};

#[tokio::test]
async fn a_full_disk_is_507_and_loses_nothing() {
    let gateway = Gateway::start().await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    service.subscribe(json!(["a"])).await;
    gateway.publish_numbered("a", 0, 3).await;
    service.expect_events(3).await;

    gateway.faults().refuse_appends(Some(AppendError::Full));
    let url = gateway.url("/api/v1/events");
    let answer = gateway.http().post(url).bearer_auth(SERVICE_KEY).body(r#"{"topic":"a","type":"x"}"#).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (507, true));
    assert!(answer.text().await.unwrap().contains("STORAGE_FULL"));
    let ack = service.request("publish", json!({"topic": "a", "type": "x"})).await;
    let error = &ack["data"]["results"][0]["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("STORAGE_FULL"), &json!(true)));
    let (status, ready) = gateway.get("/readyz", "").await;
    assert_eq!((status, ready["reason"].as_str().unwrap().contains("disk is full")), (503, true), "{ready}");
    assert_eq!(gateway.get("/livez", "").await.0, 200, "a restart frees no disk");
    // Reading goes on.
    let (_, page) = gateway.get("/api/ws/replay?topic=a", SERVICE_KEY).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 3);

    gateway.faults().refuse_appends(None);
    gateway.publish_numbered("a", 3, 2).await;
    service.expect_events(2).await;
    assert_eq!(gateway.get("/readyz", "").await.0, 200);
    assert_eq!(gateway.metric("towline_errors_total{code=\"STORAGE_FULL\"}").await, 2.0);
}

#[tokio::test]
async fn each_trouble_has_its_status() {
    let gateway = Gateway::start().await;
    for (error, status, code) in [
        (AppendError::Busy, 503, "UNAVAILABLE"),
        (AppendError::Failed("secret path /dev/x".into()), 503, "STORAGE_FAILED"),
        (AppendError::Closed, 503, "UNAVAILABLE"),
        (AppendError::Invalid("too large".into()), 413, "MESSAGE_TOO_LARGE"),
    ] {
        gateway.faults().refuse_appends(Some(error));
        let (got, answer) = gateway.post_events("", r#"{"topic":"a","type":"x"}"#).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{answer}");
        assert!(!answer.to_string().contains("/dev/x"), "the device's own words stay with the operator");
    }
}

#[tokio::test]
async fn a_log_that_cannot_be_read_is_said_and_not_guessed() {
    let gateway = Gateway::builder().config(|config| config.sockets.window_events = 2).start().await;
    gateway.publish_numbered("a", 0, 20).await;
    let mut live = gateway.connect_with(SERVICE_KEY).await;
    live.subscribe(json!(["a"])).await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    gateway.faults().fail_reads(Some(ReadError::Failed("secret path /dev/x".into())));
    let ack = service.request("subscribe", json!({"topics": [{"topic": "a", "from": "earliest"}, "b"]})).await;
    let errors = ack["data"]["errors"].as_array().unwrap();
    assert!(errors.iter().all(|error| error["code"] == "STORAGE_FAILED") && !ack.text().contains("/dev/x"), "{}", ack.text());
    assert_eq!(gateway.get("/api/ws/replay?topic=a", SERVICE_KEY).await.0, 503);
    // Who is at the head needs no reads.
    gateway.publish_numbered("a", 20, 1).await;
    assert_eq!(live.expect_events(1).await[0]["data"]["n"], 20);

    gateway.faults().fail_reads(None);
    service.subscribe(json!([{"topic": "a", "from": "earliest"}])).await;
    service.expect_events(21).await;
}

/// A reader that is behind when the log fails is closed with a resumable code, and finds everything when it comes back.
#[tokio::test]
async fn a_failed_catch_up_closes_with_1011_and_can_be_resumed() {
    let gateway = Gateway::builder().config(|config| config.sockets.window_events = 2).start().await;
    gateway.publish_padded("a", 0, 2_000, 4_000).await;
    let mut service = gateway.native().bearer(SERVICE_KEY).receive_buffer(4096).open().await;
    service.expect("welcome", PATIENCE).await;
    service.send(json!({"id": "s", "type": "subscribe", "data": {"topics": [{"topic": "a", "from": "earliest"}]}})).await;
    let metrics = gateway.server().shared().metrics.clone();
    eventually("the catch-up has begun", || async { metrics.catch_up_events.get() > 0 }).await;
    // It does not read, so most pages are still to be read when the log begins to fail.
    gateway.faults().fail_reads(Some(ReadError::Failed("broken".into())));
    let (packets, (code, _)) = service.until_close().await;
    assert_eq!(code, 1011);
    assert_eq!(packets.last().unwrap()["data"]["code"], "STORAGE_FAILED");
    let events = packets.iter().filter(|packet| packet.position().is_some()).count();
    assert!((1..2_000).contains(&events));
    gateway.faults().fail_reads(None);
    let position = service.position("a").unwrap();
    let mut again = gateway.connect_with(SERVICE_KEY).await;
    again.subscribe(json!([{"topic": "a", "from": position.to_string()}])).await;
    again.expect_events(2_000 - events).await;
    again.expect("caught_up", PATIENCE).await;
    again.expect_quiet().await;
}

/// A slow device delays the acknowledgement and nothing else.
#[tokio::test]
async fn others_are_served_while_an_append_waits() {
    let gateway = Gateway::start().await;
    gateway.faults().acknowledge_after(Duration::from_millis(200));
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    for n in 0..5 {
        service.send(json!({"id": format!("p{n}"), "type": "publish", "data": {"topic": "a", "type": "x"}})).await;
    }
    service.send(json!({"id": "ping", "type": "ping"})).await;
    assert_eq!(service.expect("pong", PATIENCE).await.correlation_id(), Some("ping"));
    for n in 0..5 {
        let ack = service.expect("publish_ack", PATIENCE).await;
        assert_eq!(ack.correlation_id(), Some(&*format!("p{n}")));
        assert_eq!(ack["data"]["results"][0]["offset"], n + 1, "stored in the order sent");
    }
}
