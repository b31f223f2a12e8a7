//! One event, seen through every door and route: the same id, the same position, the same content.

use serde_json::{Value, json};
use towline_harness::{Gateway, PATIENCE, Packet};

// proves: A4, A7, B1, B2, B5, B10, C1
#[tokio::test]
async fn every_door_shows_the_same_event() {
    let gateway = Gateway::start().await;
    let token = gateway.token("alice").mint();
    let mut native = gateway.connect("alice").await;
    native.subscribe(json!(["user:alice"])).await;
    let mut feed = gateway.feed("alice").token(&token).open().await;
    let mut hub = gateway.hub().token(&token).open().await;
    hub.expect("welcome", PATIENCE).await;
    let mut unified = gateway.unified().token(&token).open().await;
    unified.expect("connection_established", PATIENCE).await;
    let mut stream = gateway.stream("/api/v1/stream?topics=user:alice", &token, None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;

    let event = json!({
        "topic": "user:alice", "type": "agent.step_completed", "title": "Déjà vu", "severity": "info", "agent_type": "writer",
        "data": {"text": "line\nbreak \u{2028} and \u{1F600}", "n": 9_007_199_254_740_991_u64, "f": 0.1, "empty": {}},
    });
    let (_, answer) = gateway.post_events("", &event.to_string()).await;
    let stored = &answer["results"][0];

    let get = |target: &'static str| gateway.get(target, &token);
    let live = [
        native.expect("agent.step_completed", PATIENCE).await.json().clone(),
        feed.expect("agent.step_completed", PATIENCE).await.json().clone(),
        stream.expect("agent.step_completed", PATIENCE).await.json().clone(),
        hub.expect("agent.step_completed", PATIENCE).await.json().clone(),
        unified_as_others(unified.expect("agent.step_completed", PATIENCE).await.json()),
    ];
    let stored_views = [
        get("/api/ws/replay?topic=user:alice").await.1["events"][0].clone(),
        get("/api/v1/agents/events").await.1["events"][0].clone(),
        get("/api/v1/agents/activity").await.1["activities"][0].clone(),
    ];
    for view in live.iter().chain(&stored_views) {
        for member in ["id", "epoch", "offset", "topic"] {
            assert_eq!(view[member], stored[member], "{member} in {view}");
        }
        for member in ["type", "data", "title", "severity", "agent_type"] {
            assert_eq!(view[member], event[member], "{member} in {view}");
        }
    }
    let [native, feed, stream, hub, unified] = &live;
    let [replay, events, activity] = &stored_views;
    assert!(native == stream && native == hub && native == replay, "one envelope");
    assert_eq!(unified["timestamp"], native["ts"]);
    assert!(feed == events && feed == activity, "one feed event");
    assert_eq!(stored["status"], Value::from("stored"));
}

/// The unified door's event with its payload where the others have it.
fn unified_as_others(event: &Value) -> Value {
    let mut event = event.clone();
    event["data"] = event["payload"].take();
    event
}

/// Where a client stands does not depend on the door through which it came: what one saw last, any other continues after.
// proves: B2, B5, C3
#[tokio::test]
async fn any_door_continues_where_another_stopped() {
    let gateway = Gateway::start().await;
    let token = gateway.token("alice").mint();
    let mut seen: Vec<Packet> = Vec::new();
    let mut native = gateway.connect("alice").await;
    native.subscribe(json!(["user:alice"])).await;
    let mut feed = gateway.feed("alice").token(&token).open().await;
    let mut hub = gateway.hub().token(&token).open().await;
    hub.expect("welcome", PATIENCE).await;
    let mut unified = gateway.unified().token(&token).open().await;
    unified.expect("connection_established", PATIENCE).await;
    let mut stream = gateway.stream("/api/v1/stream?topics=user:alice", &token, None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    gateway.publish("user:alice", "first", json!({})).await;
    seen.push(native.expect("first", PATIENCE).await);
    seen.push(feed.expect("first", PATIENCE).await);
    seen.push(hub.expect("first", PATIENCE).await);
    seen.push(unified.expect("first", PATIENCE).await);
    seen.push(stream.expect("first", PATIENCE).await);
    drop((native, feed, hub, unified, stream));

    let missed = gateway.publish_numbered("user:alice", 0, 3).await;
    let missed: Vec<&str> = missed.iter().map(|at| &*at.id).collect();
    let ids = |packets: &[Packet]| packets.iter().map(|packet| packet.id().to_owned()).collect::<Vec<_>>();
    for last in &seen {
        for after in [last.id().to_owned(), last.position().unwrap().to_string()] {
            let mut feed = gateway.feed("alice").token(&token).parameter("after", &after).open().await;
            assert_eq!(ids(&feed.expect_events(3).await), missed, "feed after {after}");
            let mut hub = gateway.hub().token(&token).parameter("after", &after).open().await;
            hub.expect("welcome", PATIENCE).await;
            assert_eq!(ids(&hub.expect_events(3).await), missed, "hub after {after}");
            let mut unified = gateway.unified().token(&token).parameter("after", &after).open().await;
            unified.expect("connection_established", PATIENCE).await;
            assert_eq!(ids(&unified.expect_events(3).await), missed, "unified after {after}");
            let target = format!("/api/v1/stream?topics=user:alice&after={after}");
            let mut stream = gateway.stream(&target, &token, None).await.ok().unwrap();
            stream.expect("welcome", PATIENCE).await;
            assert_eq!(ids(&stream.expect_events(3).await), missed, "stream after {after}");
            let (_, page) = gateway.get(&format!("/api/ws/replay?topic=user:alice&after={after}"), &token).await;
            let page: Vec<&str> = page["events"].as_array().unwrap().iter().map(|event| event["id"].as_str().unwrap()).collect();
            assert_eq!(page, missed, "REST after {after}");
        }
        for from in [json!({"id": last.id()}), json!(last.position())] {
            let mut native = gateway.connect("alice").await;
            native.subscribe(json!([{"topic": "user:alice", "from": from}])).await;
            assert_eq!(ids(&native.expect_events(3).await), missed, "native from {from}");
        }
    }
}
