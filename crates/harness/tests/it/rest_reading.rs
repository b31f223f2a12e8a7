//! Reading back over REST: what was missed, what happened lately, and replay of a topic.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Gateway, PATIENCE, SERVICE_KEY};

fn numbers(events: &Value) -> Vec<u64> {
    events.as_array().unwrap().iter().map(|event| event["data"]["n"].as_u64().unwrap()).collect()
}

// proves: A4
#[tokio::test]
async fn missed_events_come_oldest_first_and_page_to_the_end_though_their_times_are_equal() {
    // The clock stands: all hundred have the same time.
    let gateway = Gateway::builder().manual_clock().start().await;
    let since = gateway.clock().unix_ms() / 1000;
    gateway.publish_numbered("user:alice", 0, 100).await;
    let token = gateway.token("alice").mint();
    let mut last = String::new();
    for limit in [1, 7, 50, 100, 200] {
        let mut seen = Vec::new();
        let mut target = format!("/api/v1/agents/events?since={since}&limit={limit}");
        loop {
            let (status, page) = gateway.get(&target, token.clone()).await;
            assert_eq!(status, 200, "{page}");
            let part = numbers(&page["events"]);
            assert!(part.len() <= limit && page["count"] == part.len());
            seen.extend(part);
            last = page["cursor"].as_str().unwrap().to_owned();
            target = format!("/api/v1/agents/events?cursor={last}&limit={limit}");
            if page["has_more"] == false {
                break;
            }
        }
        assert_eq!(seen, (0..100).collect::<Vec<_>>(), "limit {limit}");
    }
    // The cursor of the last page is good for what comes later, and for nothing else.
    gateway.publish_numbered("user:bob", 500, 1).await;
    let (_, page) = gateway.get(&format!("/api/v1/agents/events?cursor={last}"), token.clone()).await;
    assert_eq!((&page["events"], &page["has_more"]), (&json!([]), &json!(false)));
    gateway.publish_numbered("user:alice", 100, 1).await;
    let (_, page) = gateway.get(&format!("/api/v1/agents/events?cursor={last}"), token).await;
    assert_eq!(numbers(&page["events"]), [100]);
}

// proves: A4
#[tokio::test]
async fn since_is_a_time_in_either_form_and_anything_else_is_a_400_that_says_so() {
    let gateway = Gateway::builder().manual_clock().start().await;
    let begin_ms = gateway.clock().unix_ms();
    gateway.publish_numbered("user:alice", 0, 5).await;
    gateway.clock().advance(Duration::from_secs(60));
    gateway.publish_numbered("user:alice", 5, 5).await;
    let token = gateway.token("alice").mint();
    // 1,800,000,000 is 2027-01-15T08:00:00Z.
    assert_eq!(begin_ms, 1_800_000_000_000);
    for (since, first) in [
        ("1800000060", 5),
        ("1800000060.0", 5),
        ("1800000059.9", 5),
        ("1800000061", 10),
        ("0", 0),
        ("2027-01-15T08:01:00Z", 5),
        ("2027-01-15T09:01:00%2B01:00", 5),
        ("2027-01-15T08:00:30.5Z", 5),
        ("2027-01-15T08:00:00Z", 0),
    ] {
        let (status, page) = gateway.get(&format!("/api/v1/agents/events?since={since}"), token.clone()).await;
        assert_eq!((status, numbers(&page["events"])), (200, (first..10).collect()), "{since}");
    }
    for (query, word) in [
        ("since=yesterday", "since"),
        ("since=2027-13-01T00:00:00Z", "since"),
        ("since=-5", "since"),
        ("since=NaN", "since"),
        ("since=1e999", "since"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=ten", "limit"),
        ("cursor=!!!", "cursor"),
        ("since=1&since=2", "since"),
    ] {
        let (status, answer) = gateway.get(&format!("/api/v1/agents/events?{query}"), token.clone()).await;
        assert_eq!(status, 400, "{query}: {answer}");
        assert!(answer["error"]["message"].as_str().unwrap().contains(word), "{query}: {answer}");
    }
}

// proves: A4
#[tokio::test]
async fn an_unknown_user_has_an_empty_list() {
    let gateway = Gateway::start().await;
    for target in ["/api/v1/agents/events?user_id=nobody", "/api/v1/agents/events?user_id=nobody&since=1"] {
        let (status, page) = gateway.get(target, SERVICE_KEY).await;
        assert_eq!((status, &page["events"], &page["count"], &page["has_more"]), (200, &json!([]), &json!(0), &json!(false)));
    }
    let (status, page) = gateway.get("/api/v1/agents/activity?user_id=nobody", SERVICE_KEY).await;
    assert_eq!((status, &page["activities"], &page["total"], &page["has_more"]), (200, &json!([]), &json!(0), &json!(false)));
    let (status, _) = gateway.get("/api/v1/agents/events", SERVICE_KEY).await;
    assert_eq!(status, 400, "a service has no events of its own");
}

// proves: A7
#[tokio::test]
async fn activity_is_newest_first_by_cursor_and_by_offset() {
    let gateway = Gateway::builder().manual_clock().start().await;
    gateway.publish_numbered("user:alice", 0, 45).await;
    let token = gateway.token("alice").mint();
    let newest_first: Vec<u64> = (0..45).rev().collect();
    let (_, page) = gateway.get("/api/v1/agents/activity", token.clone()).await;
    assert_eq!(
        (numbers(&page["activities"]), &page["total"], &page["has_more"]),
        (newest_first[..20].to_vec(), &json!(45), &json!(true))
    );
    for limit in [1, 7, 20, 100] {
        let (mut by_cursor, mut by_offset) = (Vec::new(), Vec::new());
        let mut target = format!("/api/v1/agents/activity?limit={limit}");
        loop {
            let (_, page) = gateway.get(&target, token.clone()).await;
            by_cursor.extend(numbers(&page["activities"]));
            // What happens meanwhile shifts nothing.
            if page["has_more"] == false {
                break;
            }
            target = format!("/api/v1/agents/activity?limit={limit}&cursor={}", page["cursor"].as_str().unwrap());
        }
        loop {
            let target = format!("/api/v1/agents/activity?limit={limit}&offset={}", by_offset.len());
            let (_, page) = gateway.get(&target, token.clone()).await;
            by_offset.extend(numbers(&page["activities"]));
            if page["has_more"] == false {
                break;
            }
        }
        assert_eq!((&by_cursor, &by_offset), (&newest_first, &newest_first), "limit {limit}");
    }
    let (_, page) = gateway.get("/api/v1/agents/activity?offset=100", token.clone()).await;
    assert_eq!((&page["activities"], &page["has_more"]), (&json!([]), &json!(false)));
    for query in ["limit=0", "limit=101", "offset=-1", "offset=x", "cursor=!", "offset=100000"] {
        let (status, answer) = gateway.get(&format!("/api/v1/agents/activity?{query}"), token.clone()).await;
        assert_eq!(status, 400, "{query}: {answer}");
    }
}

/// New events between two pages do not shift a cursor.
// proves: A7
#[tokio::test]
async fn paging_back_is_not_disturbed_by_what_comes_meanwhile() {
    let gateway = Gateway::start().await;
    gateway.publish_numbered("user:alice", 0, 30).await;
    let token = gateway.token("alice").mint();
    let mut seen = Vec::new();
    let mut target = "/api/v1/agents/activity?limit=10".to_owned();
    for round in 0..3 {
        let (_, page) = gateway.get(&target, token.clone()).await;
        seen.extend(numbers(&page["activities"]));
        target = format!("/api/v1/agents/activity?limit=10&cursor={}", page["cursor"].as_str().unwrap());
        gateway.publish_numbered("user:alice", 100 + round, 1).await;
    }
    assert_eq!(seen, (0..30).rev().collect::<Vec<_>>());
}

// proves: B5
#[tokio::test]
async fn replay_gives_what_followed_an_event() {
    let gateway = Gateway::start().await;
    let stored = gateway.publish_numbered("thread:1", 0, 25).await;
    let token = gateway.token("alice").topics(["thread:*"]).mint();
    let position = format!("{}-{}", stored[9].epoch, stored[9].offset);
    for after in [&stored[9].id, &position] {
        let mut seen = Vec::new();
        let mut target = format!("/api/ws/replay?topic=thread:1&limit=4&after={after}");
        loop {
            let (status, page) = gateway.get(&target, token.clone()).await;
            assert_eq!(status, 200, "{page}");
            for event in page["events"].as_array().unwrap() {
                assert_eq!((&event["v"], &event["topic"]), (&json!(1), &json!("thread:1")), "envelope v1");
            }
            seen.extend(numbers(&page["events"]));
            if page["complete"] == true {
                assert_eq!(page["to"], json!({"epoch": stored[24].epoch, "offset": stored[24].offset}));
                break;
            }
            target = format!("/api/ws/replay?topic=thread:1&limit=4&after={}", page["cursor"].as_str().unwrap());
        }
        assert_eq!(seen, (10..25).collect::<Vec<_>>());
    }
    let (_, page) = gateway.get("/api/ws/replay?topic=thread:1&after=never-published", token.clone()).await;
    assert_eq!((&page["gap"]["reason"], numbers(&page["events"]).len()), (&json!("unknown_id"), 25));
    let (_, page) = gateway.get("/api/ws/replay?topic=thread:1&after=dead-3", token.clone()).await;
    assert_eq!(page["gap"]["reason"], "epoch_changed");
    for (query, status) in
        [("topic=not%20one", 400), ("topic=thread:1&limit=0", 400), ("topic=thread:1&limit=1001", 400), ("topic=other", 403)]
    {
        assert_eq!(gateway.get(&format!("/api/ws/replay?{query}"), token.clone()).await.0, status, "{query}");
    }
    // Without a topic it is the user's own.
    gateway.publish_numbered("user:alice", 7, 1).await;
    let (_, page) = gateway.get("/api/ws/replay", token).await;
    assert_eq!(numbers(&page["events"]), [7]);
}

/// What a client missed on its socket it finds over REST, by the id that it saw last.
// proves: A4, B5
#[tokio::test]
async fn rest_fills_what_a_socket_missed() {
    let gateway = Gateway::start().await;
    let mut alice = gateway.connect("alice").await;
    alice.subscribe(json!(["user:alice"])).await;
    gateway.publish_numbered("user:alice", 0, 3).await;
    let last = alice.expect_events(3).await.pop().unwrap();
    alice.close().await;
    gateway.publish_numbered("user:alice", 3, 4).await;
    let token = gateway.token("alice").mint();
    let (_, page) = gateway.get(&format!("/api/ws/replay?topic=user:alice&after={}", last.id()), token).await;
    assert_eq!(numbers(&page["events"]), [3, 4, 5, 6]);
    let mut alice = gateway.connect("alice").await;
    alice.subscribe(json!([{"topic": "user:alice", "from": {"id": last.id()}}])).await;
    for event in page["events"].as_array().unwrap() {
        let packet = alice.expect("test.numbered", PATIENCE).await;
        assert_eq!(packet.json(), event, "the same envelope by both ways");
    }
}
