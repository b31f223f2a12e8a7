//! How fast one publisher may publish, and one connection may subscribe.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Clock, Gateway, PATIENCE, SERVICE_KEY};

const NDJSON: &str = "application/x-ndjson";

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{{\"topic\":\"t\",\"type\":\"x\",\"data\":{n}}}\n")).collect()
}

fn array(count: usize) -> String {
    Value::from((0..count).map(|n| json!({"topic": "t", "type": "x", "data": n})).collect::<Vec<_>>()).to_string()
}

#[tokio::test]
async fn a_publisher_past_its_rate_is_told_when_to_come_back_on_every_way() {
    let gateway = Gateway::builder().manual_clock().config(|config| {
        config.publish.events_per_second_max = Some(10);
        config.publish.events_burst = 20;
        config.sockets.errors_max = 3;
    });
    let gateway = gateway.start().await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    let event = json!({"topic": "t", "type": "x"});
    // Over the burst at once: taken, and paid for afterwards.
    let (status, answer) = gateway.post_events("", &array(30)).await;
    assert_eq!((status, &answer["stored"]), (200, &json!(30)));
    let url = gateway.url("/api/v1/events");
    let request = gateway.http().post(url).bearer_auth(SERVICE_KEY).header("content-type", "application/json").body(array(1));
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (429, "2"));
    // The same key on a socket; more refusals than errors are allowed do not end a publisher.
    for _ in 0..10 {
        let refused = service.request("publish", event.clone()).await;
        assert_eq!((&refused["data"]["code"], &refused["data"]["retry_after_ms"]), (&json!("RATE_LIMITED"), &json!(1_100)));
    }
    // Somebody else has a rate of their own.
    let mut user = gateway.connect_with(gateway.token("alice").publishes(["t"])).await;
    assert_eq!(user.request("publish", event.clone()).await.kind(), "publish_ack");
    gateway.clock().advance(Duration::from_millis(1_100));
    assert_eq!(service.request("publish", event.clone()).await.kind(), "publish_ack");
    assert_eq!(service.request("publish", event).await["data"]["retry_after_ms"], 100);
    assert_eq!(gateway.metric("towline_refused_total{reason=\"publish_rate\"}").await, 12.0);
    let (_, page) = gateway.get("/api/ws/replay?topic=t&limit=1000", SERVICE_KEY).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 32, "what was refused is not stored, and the rest is");
}

#[tokio::test]
async fn a_stream_past_its_rate_is_read_more_slowly_and_loses_nothing() {
    let gateway = Gateway::builder().config(|config| {
        config.publish.events_per_second_max = Some(200);
        config.publish.events_burst = 1;
    });
    let gateway = gateway.start().await;
    let began = Clock::system();
    for _ in 0..2 {
        let (status, answer) = gateway.post_events_as(SERVICE_KEY, "", NDJSON, &lines(100)).await;
        assert_eq!((status, &answer["stored"]), (200, &json!(100)));
    }
    // The second one was not begun before the first one's hundred events were paid for.
    assert!(began.uptime() >= Duration::from_millis(490), "{:?}", began.uptime());
}

#[tokio::test]
async fn a_connection_may_ask_for_so_many_topics_a_second() {
    let gateway = Gateway::builder().manual_clock().config(|config| {
        config.sockets.subscriptions_per_second_max = 3;
        config.sockets.idle_timeout = Duration::from_secs(1_000);
    });
    let gateway = gateway.start().await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    service.subscribe(json!(["a", "b"])).await;
    service.subscribe(json!(["c", "d"])).await;
    let refused = service.request("subscribe", json!({"topics": ["e"]})).await;
    assert_eq!((&refused["data"]["code"], &refused["data"]["retry_after_ms"]), (&json!("RATE_LIMITED"), &json!(1_000)));
    // Another connection is not concerned, and what is followed goes on.
    gateway.connect_with(SERVICE_KEY).await.subscribe(json!(["e"])).await;
    gateway.publish("d", "x", json!({})).await;
    service.expect("x", PATIENCE).await;
    gateway.clock().advance(Duration::from_secs(1));
    service.subscribe(json!(["e"])).await;
}
