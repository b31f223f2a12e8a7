//! `GET /api/v1/agents/events` and `/activity`.

use serde_json::json;

use super::*;

// proves: A4
#[tokio::test]
async fn missed_events_come_oldest_first_and_equal_times_lose_nothing() {
    let rest = Rest::new();
    let token = rest.token("1", &[]);
    // The clock stands still: all have the same time.
    let ids: Vec<String> = (0..7).map(|n| format!("e{n}")).collect();
    rest.publish("user:1", &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    rest.publish("user:2", &["other"]).await;
    let mut seen = Vec::new();
    let mut path = "/api/v1/agents/events?since=1719958453.042&limit=2".to_owned();
    loop {
        let page = rest.get(&path, &token).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let json = page.json();
        assert_eq!(json["count"], page.ids("events").len());
        seen.extend(page.ids("events"));
        if json["has_more"] == false {
            break;
        }
        path = format!("/api/v1/agents/events?limit=2&cursor={}", json["cursor"].as_str().unwrap());
    }
    assert_eq!(seen, ids);
}

// proves: A4
#[tokio::test]
async fn a_page_has_the_shape_of_the_socket_and_its_cursor_goes_on_later() {
    let rest = Rest::new();
    let token = rest.token("1", &[]);
    let empty = rest.get("/api/v1/agents/events", &token).await.json();
    assert_eq!((&empty["events"], &empty["count"], &empty["has_more"]), (&json!([]), &json!(0), &json!(false)));
    rest.publish("user:1", &["a"]).await;
    let page = rest.get(&format!("/api/v1/agents/events?cursor={}", empty["cursor"].as_str().unwrap()), &token).await.json();
    let event = &page["events"][0];
    assert_eq!((&event["type"], &event["id"], &event["event_id"]), (&json!("x"), &json!("a"), &json!("a")));
    assert_eq!(event["timestamp"], "2024-07-02T22:14:13.042Z");
    rest.shared.clock.advance(Duration::from_secs(60));
    rest.publish("user:1", &["b"]).await;
    let next = rest.get(&format!("/api/v1/agents/events?cursor={}", page["cursor"].as_str().unwrap()), &token).await;
    assert_eq!(next.ids("events"), ["b"]);
    for since in ["2024-07-02T22:15:00Z", "2024-07-02T22:15:00%2B00:00", "1719958500", "1719958500000"] {
        assert_eq!(rest.get(&format!("/api/v1/agents/events?since={since}"), &token).await.ids("events"), ["b"], "{since}");
    }
}

// proves: A4
#[tokio::test]
async fn what_is_wrong_with_a_parameter_is_said() {
    let rest = Rest::new();
    let token = rest.token("1", &[]);
    for (query, word) in [
        ("since=yesterday", "`since`: not a time; give ISO 8601"),
        ("since=-5", "`since`"),
        ("limit=0", "`limit`: must be a whole number from 1 to 200"),
        ("limit=201", "`limit`"),
        ("limit=ten", "`limit`"),
        ("cursor=garbage!", "`cursor`: is not a cursor"),
        ("limit=1&limit=2", "`limit`: is given more than once"),
        ("since=%ff", "`since`"),
    ] {
        let (status, error) = rest.get(&format!("/api/v1/agents/events?{query}"), &token).await.error();
        assert_eq!(status, 400, "{query}: {error}");
        assert!(error.contains(word), "{query}: {error}");
    }
}

#[tokio::test]
async fn nobody_reads_anothers_feed() {
    let rest = Rest::new();
    rest.publish("user:1", &["a"]).await;
    let stranger = rest.token("2", &[]);
    for path in ["events", "activity"] {
        let at = |query: &str| format!("/api/v1/agents/{path}{query}");
        assert_eq!(rest.get(&at("?user_id=1"), &stranger).await.status, 403);
        assert_eq!(rest.get(&at(""), "").await.status, 401);
        assert_eq!(rest.get(&at(""), KEY).await.error().0, 400, "a service key has no user of its own");
        assert_eq!(rest.get(&at("?user_id=1"), KEY).await.status, 200);
        assert_eq!(rest.get(&at("?user_id=a%20b"), KEY).await.error().0, 400);
    }
    assert_eq!(rest.get("/api/v1/agents/events?user_id=nobody", KEY).await.json()["count"], 0);
    let token = rest.token("1", &[]);
    for (path, list) in [("v1/agents/events", "events"), ("v1/agents/activity", "activities")] {
        assert_eq!(rest.get(&format!("/api/{path}?token={token}"), "").await.ids(list), ["a"], "{path}");
        assert_eq!(rest.get(&format!("/api/{path}?token=wrong"), "").await.status, 401, "{path}");
    }
    let replay = rest.get(&format!("/api/ws/replay?topic=user:1&token={token}"), "").await;
    assert_eq!(replay.status, 200, "{}", replay.text);
}

// proves: A10
#[tokio::test]
async fn in_development_the_url_says_who_it_is() {
    let rest = Rest::development();
    rest.publish("user:1", &["a"]).await;
    assert_eq!(rest.get("/api/v1/agents/events?user_id=1", "").await.ids("events"), ["a"]);
    let (status, error) = rest.get("/api/v1/agents/events", "").await.error();
    assert!(status == 400 && error.contains("`user_id`"), "{error}");
}

// proves: A7
#[tokio::test]
async fn activity_comes_newest_first_by_cursor_or_offset() {
    let rest = Rest::new();
    let token = rest.token("1", &[]);
    rest.publish("user:1", &["a", "b", "c", "d", "e"]).await;
    let first = rest.get("/api/v1/agents/activity?limit=2", &token).await;
    let json = first.json();
    assert_eq!(first.ids("activities"), ["e", "d"]);
    assert_eq!((&json["total"], &json["has_more"]), (&json!(5), &json!(true)));
    let at = format!("/api/v1/agents/activity?limit=2&cursor={}", json["cursor"].as_str().unwrap());
    // What comes in between moves no page.
    rest.publish("user:1", &["f"]).await;
    assert_eq!(rest.get(&at, &token).await.ids("activities"), ["c", "b"]);
    let last = rest.get("/api/v1/agents/activity?limit=2&offset=4", &token).await;
    assert_eq!((last.ids("activities"), last.json()["has_more"].clone()), (vec!["b".to_owned(), "a".to_owned()], json!(false)));
    let beyond = rest.get("/api/v1/agents/activity?offset=100", &token).await.json();
    assert_eq!((&beyond["activities"], &beyond["has_more"]), (&json!([]), &json!(false)));
    let nobody = rest.get("/api/v1/agents/activity", &rest.token("9", &[])).await.json();
    assert_eq!((&nobody["activities"], &nobody["total"], &nobody["has_more"]), (&json!([]), &json!(0), &json!(false)));
    for bad in [
        "limit=101",
        "limit=0",
        "offset=-1",
        "offset=10001",
        "cursor=x",
        &format!("offset=1&cursor={}", json["cursor"].as_str().unwrap()),
    ] {
        assert_eq!(rest.get(&format!("/api/v1/agents/activity?{bad}"), &token).await.status, 400, "{bad}");
    }
}
