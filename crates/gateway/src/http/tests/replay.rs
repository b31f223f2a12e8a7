//! `GET /api/ws/replay`.

use serde_json::json;

use super::*;

// proves: B5
#[tokio::test]
async fn replay_goes_on_after_an_id_a_position_or_a_cursor() {
    let rest = Rest::new();
    let token = rest.token("1", &[]);
    // Ids that look like positions are ids.
    rest.publish("user:1", &["a", "e-1", "c", "d"]).await;
    let all = rest.get("/api/ws/replay", &token).await;
    assert_eq!(all.ids("events"), ["a", "e-1", "c", "d"]);
    let json = all.json();
    assert_eq!((&json["complete"], &json["from"]["offset"], &json["to"]["offset"]), (&json!(true), &json!(0), &json!(4)));
    let event = &json["events"][0];
    assert_eq!((&event["v"], &event["topic"], &event["offset"]), (&json!(1), &json!("user:1"), &json!(1)), "envelope v1");
    let epoch = event["epoch"].as_str().unwrap();
    assert_eq!(rest.get("/api/ws/replay?after=a", &token).await.ids("events"), ["e-1", "c", "d"]);
    assert_eq!(rest.get("/api/ws/replay?after=e-1", &token).await.ids("events"), ["c", "d"]);
    assert_eq!(rest.get(&format!("/api/ws/replay?after={epoch}-3"), &token).await.ids("events"), ["d"]);
    let page = rest.get("/api/ws/replay?after=a&limit=1", &token).await.json();
    assert_eq!((&page["events"][0]["id"], &page["complete"]), (&json!("e-1"), &json!(false)));
    let rest_of_it = rest.get(&format!("/api/ws/replay?after={}", page["cursor"].as_str().unwrap()), &token).await;
    assert_eq!(rest_of_it.ids("events"), ["c", "d"]);
}

#[tokio::test]
async fn what_cannot_be_given_is_a_gap_and_never_silence() {
    let rest = Rest::new();
    let token = rest.token("1", &[]);
    rest.publish("user:1", &["a", "b"]).await;
    let epoch = rest.get("/api/ws/replay", &token).await.json()["events"][0]["epoch"].as_str().unwrap().to_owned();
    for (after, reason) in
        [("unknown".to_owned(), "unknown_id"), ("77-1".to_owned(), "epoch_changed"), (format!("{epoch}-99"), "epoch_changed")]
    {
        let json = rest.get(&format!("/api/ws/replay?after={after}"), &token).await.json();
        assert_eq!(json["gap"]["reason"], reason, "{after}: {json}");
        assert!(json["gap"]["resume_after"]["epoch"].is_string());
    }
}

#[tokio::test]
async fn replay_asks_for_the_topics_grant() {
    let rest = Rest::new();
    rest.publish("thread:1", &["a"]).await;
    let token = rest.token("1", &[]);
    assert_eq!(rest.get("/api/ws/replay?topic=thread:1", &token).await.error().0, 403);
    assert_eq!(rest.get("/api/ws/replay?topic=user:2", &token).await.error().0, 403);
    assert_eq!(rest.get("/api/ws/replay?topic=thread:1", "").await.error().0, 401);
    assert_eq!(rest.get("/api/ws/replay?topic=thread:1", KEY).await.ids("events"), ["a"]);
    assert!(rest.get("/api/ws/replay?topic=a%20b", KEY).await.error().1.contains("`topic`"));
    assert_eq!(rest.get("/api/ws/replay?limit=1001", &token).await.error().0, 400);
    assert_eq!(rest.get(&format!("/api/ws/replay?after={}", "x".repeat(9_000)), &token).await.error().0, 400);
}
