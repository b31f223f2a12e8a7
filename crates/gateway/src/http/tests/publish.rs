//! `POST /api/v1/events`.

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::*;

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

fn event(id: &str) -> String {
    json!({"topic": "user:1", "type": "agent.started", "id": id, "data": {"n": 1}}).to_string()
}

#[tokio::test]
async fn one_event_is_stored_once_however_often_it_is_published() {
    let rest = Rest::new();
    let first = rest.post("", KEY, event("a")).await;
    assert_eq!(first.status, 200);
    let result = first.json()["results"][0].clone();
    assert_eq!(
        (&result["status"], &result["id"], &result["topic"], &result["offset"]),
        (&json!("stored"), &json!("a"), &json!("user:1"), &json!(1))
    );
    let again = rest.post_as("", "", &[("x-api-key", KEY)], event("a")).await;
    let second = again.json();
    assert_eq!((again.status.as_u16(), &second["duplicates"], &second["stored"]), (200, &json!(1), &json!(0)));
    assert_eq!(second["results"][0]["offset"], 1, "the position is the first one's");
}

#[tokio::test]
async fn a_bad_item_is_refused_by_itself_and_said_why() {
    let rest = Rest::new();
    let body = format!(
        "[{}, [\"user:1\",\"x\"], {{\"topic\":\"a b\",\"type\":\"x\"}}, {{\"topic\":\"a\"}}, {}]",
        event("a"),
        event("b")
    );
    let answer = rest.post("", KEY, body).await;
    let json = answer.json();
    assert_eq!((answer.status.as_u16(), &json["stored"], &json["refused"]), (200, &json!(2), &json!(3)));
    let codes: Vec<_> = json["results"].as_array().unwrap().iter().map(|r| r["error"]["code"].as_str().unwrap_or("-")).collect();
    assert_eq!(codes, ["-", "INVALID_FORMAT", "INVALID_TOPIC", "INVALID_FORMAT", "-"]);
    assert!(json.get("error").is_none(), "something was accepted");
}

#[tokio::test]
async fn atomic_stores_all_or_nothing() {
    let rest = Rest::new();
    let refused = rest.post("?atomic=true", KEY, format!("[{}, {{\"topic\":\"a\"}}, {}]", event("a"), event("b"))).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    let json = refused.json();
    assert_eq!(
        (&json["stored"], &json["results"][0]["error"]["code"], &json["results"][0]["id"]),
        (&json!(0), &json!("NOT_ATTEMPTED"), &json!("a"))
    );
    assert_eq!(json["error"]["code"], "INVALID_FORMAT", "the reason, and not its consequence");
    assert_eq!(rest.get("/api/v1/agents/events?user_id=1", KEY).await.json()["count"], 0);
    let stored = rest.post("?atomic=true", KEY, format!("[{}, {}]", event("a"), event("b"))).await;
    assert_eq!(stored.json()["stored"], 2);
}

#[tokio::test]
async fn who_may_not_publish_is_told_so() {
    let rest = Rest::new();
    let nobody = rest.post("", "", event("a")).await;
    assert_eq!(nobody.status, 401);
    assert_eq!(nobody.headers["www-authenticate"], "Bearer realm=\"towline\"");
    let stranger = rest.post("", "not-a-key-of-ours", event("a")).await;
    assert_eq!(stranger.status, 401);
    assert!(stranger.headers["www-authenticate"].to_str().unwrap().contains("error=\"invalid_token\""));
    let user = rest.post("", &rest.token("1", &[]), event("a")).await;
    assert_eq!(
        (user.status.as_u16(), user.json()["error"]["code"].as_str().unwrap()),
        (403, "FORBIDDEN"),
        "not even to one's own topic"
    );
    let granted = rest.token("1", &["user:1"]);
    let mixed = format!("[{}, {{\"topic\":\"user:2\",\"type\":\"x\"}}]", event("a"));
    let json = rest.post("", &granted, mixed).await.json();
    assert_eq!((&json["stored"], &json["results"][1]["error"]["code"]), (&json!(1), &json!("FORBIDDEN")));
}

#[tokio::test]
async fn bodies_that_cannot_be_understood_or_are_too_large_are_refused_as_a_whole() {
    let rest = Rest::with(|config| {
        config.rest.body_bytes_max = 2_000;
        config.events.batch_events_max = 3;
    });
    for (body, status, code) in [
        ("".to_owned(), 400, "JSON_PARSE_ERROR"),
        ("{\"topic\":".to_owned(), 400, "JSON_PARSE_ERROR"),
        ("\"user:1\"".to_owned(), 400, "INVALID_FORMAT"),
        ("[1,2,3,4]".to_owned(), 413, "MESSAGE_TOO_LARGE"),
        ("x".repeat(2_001), 413, "MESSAGE_TOO_LARGE"),
    ] {
        let answer = rest.post("", KEY, body).await;
        let (found, error) = answer.error();
        assert_eq!(found, status, "{error}");
        assert!(error.starts_with(code), "{error}");
    }
    // The same without a declared length.
    let pieces = (0..30).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 100])));
    let answer = rest.post("", KEY, Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(answer.status, 413);
    assert_eq!(rest.post("?atomic=maybe", KEY, event("a")).await.error().0, 400);
}

#[tokio::test]
async fn an_empty_array_is_no_error() {
    let answer = Rest::new().post("", KEY, "[]").await;
    assert_eq!((answer.status.as_u16(), answer.json()["stored"].clone()), (200, json!(0)));
}

#[tokio::test]
async fn ndjson_is_taken_line_by_line_in_order() {
    let rest = Rest::with(|config| {
        config.events.batch_events_max = 10;
        config.rest.line_bytes_max = 1_000;
    });
    let mut body = String::new();
    for n in 0..95 {
        body.push_str(&event(&format!("e{n:02}")));
        body.push('\n');
    }
    body.push_str("\n not json \n[1]\n");
    body.push_str(&format!("{{\"topic\":\"user:1\",\"type\":\"x\",\"data\":\"{}\"}}\n", "x".repeat(1_000)));
    body.push_str(&event("last"));
    // Cut anywhere.
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        body.as_bytes().chunks(37).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let answer = rest.post_as("", KEY, &[NDJSON], Body::from_stream(stream::iter(pieces))).await;
    let json = answer.json();
    assert_eq!((&json["stored"], &json["refused"]), (&json!(96), &json!(3)), "{}", answer.text);
    let codes: Vec<_> =
        json["results"].as_array().unwrap()[95..98].iter().map(|r| r["error"]["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["JSON_PARSE_ERROR", "INVALID_FORMAT", "MESSAGE_TOO_LARGE"]);
    let ids = rest.get("/api/v1/agents/events?user_id=1&limit=200", KEY).await.ids("events");
    let expected: Vec<String> = (0..95).map(|n| format!("e{n:02}")).chain(["last".to_owned()]).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn ndjson_can_be_answered_line_by_line() {
    let rest = Rest::new();
    let body = format!("{}\nnonsense\n{}\n", event("a"), event("b"));
    let answer = rest.post_as("", KEY, &[NDJSON, ("accept", "application/x-ndjson")], body).await;
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let statuses: Vec<_> = lines[..3].iter().map(|line| line["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["stored", "refused", "stored"]);
    assert_eq!(lines[3], json!({"stored": 2, "duplicates": 0, "refused": 1}));
    assert_eq!(rest.post_as("?atomic=1", KEY, &[NDJSON], "").await.error().0, 400);
}

#[tokio::test]
async fn what_came_before_a_body_broke_off_is_stored_and_an_unfinished_line_is_not() {
    let rest = Rest::new();
    let whole = format!("{}\n{}", event("a"), event("unfinished"));
    let pieces = [Ok(Bytes::from(whole)), Err(std::io::Error::other("gone"))];
    let answer = rest.post_as("", KEY, &[NDJSON], Body::from_stream(stream::iter(pieces))).await;
    let json = answer.json();
    assert_eq!((&json["stored"], json["error"]["message"].as_str().unwrap()), (&json!(1), "the body broke off"));
    assert_eq!(rest.get("/api/v1/agents/events?user_id=1", KEY).await.ids("events"), ["a"]);
}

#[tokio::test]
async fn a_long_body_has_all_its_events_stored_and_only_the_first_results_in_one_answer() {
    let rest = Rest::new();
    let lines: String = (0..10_050).map(|n| format!("{}\n", event(&n.to_string()))).collect();
    let answer = rest.post_as("", KEY, &[NDJSON], lines).await;
    let json = answer.json();
    assert_eq!((&json["stored"], &json["results_truncated"]), (&json!(10_050), &json!(true)));
    assert_eq!(json["results"].as_array().unwrap().len(), 10_000);
}

#[tokio::test]
async fn a_body_that_stands_still_is_given_up() {
    let rest = Rest::with(|config| config.rest.body_timeout = Duration::from_millis(20));
    for headers in [&[][..], &[NDJSON]] {
        let answer = rest.post_as("", KEY, headers, Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>())).await;
        assert_eq!(answer.error().1, "INVALID_FORMAT: the body did not arrive in time");
    }
}

#[tokio::test]
async fn requests_beyond_the_memory_for_them_are_asked_to_wait() {
    let rest = Rest::with(|config| config.rest.publish_bytes_max = 1 << 10);
    let place = rest.shared.reserve_publish_bytes(1).unwrap();
    let answer = rest.post("", KEY, event("a")).await;
    assert_eq!((answer.status.as_u16(), answer.headers["retry-after"].to_str().unwrap()), (429, "1"));
    drop(place);
}

#[tokio::test]
async fn in_development_anybody_publishes_from_this_machine_only() {
    let rest = Rest::development();
    assert_eq!(rest.post("", "", event("a")).await.json()["stored"], 1);
    assert_eq!(rest.post("", "some-token-nobody-can-check", event("b")).await.json()["stored"], 1);
    let foreign = rest.post_as("", "", &[("origin", "https://evil.example")], event("c")).await;
    assert_eq!(foreign.error().0, 403);
    let rebound = rest.post_as("", "", &[("host", "evil.example")], event("c")).await;
    assert_eq!(rebound.error().0, 403);
}

#[tokio::test]
async fn an_endless_body_ends_with_its_token_and_with_the_server() {
    let rest = Rest::new();
    let (token, clock) = (rest.token("1", &["user:1"]), rest.shared.clock.clone());
    let pieces = stream::iter(["a", "b"]).map(move |id| {
        if id == "b" {
            clock.advance(Duration::from_secs(3_600));
        }
        Ok::<_, std::io::Error>(Bytes::from(event(id) + "\n"))
    });
    let json = rest.post_as("", &token, &[NDJSON], Body::from_stream(pieces)).await.json();
    assert_eq!((&json["stored"], &json["error"]["code"]), (&json!(1), &json!("TOKEN_EXPIRED")));

    let rest = Rest::with(|config| config.drain.window = Duration::ZERO);
    let endless = stream::iter([Ok::<_, std::io::Error>(Bytes::from(event("c") + "\n"))]).chain(stream::pending());
    let publishing = rest.post_as("", KEY, &[NDJSON], Body::from_stream(endless));
    let stored = async {
        while rest.shared.log.stats().appended_total == 0 {
            tokio::task::yield_now().await;
        }
        rest.shared.begin_drain();
    };
    let (answer, ()) = tokio::join!(publishing, stored);
    assert_eq!((&answer.json()["stored"], &answer.json()["error"]["code"]), (&json!(1), &json!("UNAVAILABLE")));
}
