//! One event, seen through every door and route: the same id, the same position, the same content.

use serde_json::{Value, json};
use towline_harness::{Gateway, PATIENCE};

// proves: A4, A7, B1, B5, B10
#[tokio::test]
async fn every_door_shows_the_same_event() {
    let gateway = Gateway::start().await;
    let token = gateway.token("alice").mint();
    let mut native = gateway.connect("alice").await;
    native.subscribe(json!(["user:alice"])).await;
    let mut feed = gateway.feed("alice").token(&token).open().await;
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
    let [native, feed, stream] = &live;
    let [replay, events, activity] = &stored_views;
    assert!(native == stream && native == replay, "one envelope");
    assert!(feed == events && feed == activity, "one feed event");
    assert_eq!(stored["status"], Value::from("stored"));
}
