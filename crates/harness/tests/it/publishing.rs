//! Publishing over REST: one event, an array, or NDJSON; by id once; refused items by themselves, or all or nothing.

use serde_json::{Value, json};
use towline_harness::{Gateway, PATIENCE, SERVICE_KEY};

const NDJSON: &str = "application/x-ndjson";

fn statuses(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_str().unwrap()).collect()
}

fn events(count: usize) -> String {
    (0..count).map(|n| json!({"topic": "a", "type": "x", "data": {"n": n}}).to_string() + "\n").collect()
}

#[tokio::test]
async fn one_event_an_array_and_lines_are_stored_in_order() {
    let gateway = Gateway::start().await;
    let mut reader = gateway.connect_with(SERVICE_KEY).await;
    reader.subscribe(json!(["a"])).await;
    let (status, one) = gateway.post_events("", r#"{"topic":"a","type":"x","data":{"n":0}}"#).await;
    assert_eq!((status, &one["stored"], &one["results"][0]["offset"]), (200, &json!(1), &json!(1)));
    let array = json!([{"topic": "a", "type": "x", "data": {"n": 1}}, {"topic": "a", "type": "x", "data": {"n": 2}}]);
    let (status, two) = gateway.post_events("", &array.to_string()).await;
    assert_eq!((status, statuses(&two)), (200, vec!["stored", "stored"]));
    let lines =
        "{\"topic\":\"a\",\"type\":\"x\",\"data\":{\"n\":3}}\r\n\n  \n{\"topic\":\"a\",\"type\":\"x\",\"data\":{\"n\":4}}";
    let (status, three) = gateway.post_events_as(SERVICE_KEY, "", NDJSON, lines).await;
    assert_eq!((status, &three["stored"]), (200, &json!(2)));
    for n in 0..5 {
        assert_eq!(reader.expect("x", PATIENCE).await["data"]["n"], n);
    }
    // An empty array is an answer too.
    let (status, none) = gateway.post_events("", "[]").await;
    assert_eq!((status, &none["results"]), (200, &json!([])));
}

#[tokio::test]
async fn an_id_is_stored_once() {
    let gateway = Gateway::start().await;
    let body = json!([{"topic": "a", "type": "x", "id": "e1"}, {"topic": "b", "type": "x", "id": "e1"}, {"topic": "a", "type": "y", "id": "e1"}]);
    let (_, first) = gateway.post_events("", &body.to_string()).await;
    assert_eq!(statuses(&first), ["stored", "stored", "duplicate"], "an id is unique in its topic");
    let (status, again) = gateway.post_events("", &body.to_string()).await;
    assert_eq!((status, statuses(&again)), (200, vec!["duplicate"; 3]));
    assert_eq!(again["results"][0]["offset"], first["results"][0]["offset"]);
    assert_eq!((&again["duplicates"], &again["stored"]), (&json!(3), &json!(0)));
    let (_, page) = gateway.get("/api/ws/replay?topic=a", SERVICE_KEY).await;
    assert_eq!(page["events"].as_array().unwrap().len(), 1);
    // A socket's publish is the same append.
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    let ack = service.request("publish", json!({"topic": "a", "type": "x", "id": "e1"})).await;
    assert_eq!(ack["data"]["results"][0]["status"], "duplicate");
}

#[tokio::test]
async fn refused_items_say_why_and_stop_no_others() {
    let gateway = Gateway::start().await;
    let body = json!([
        {"topic": "a", "type": "x"}, {"topic": "no way", "type": "x"}, {"topic": "a"}, {"topic": "a", "type": ""}, 7, null,
        {"topic": "a", "type": "x", "id": "with \"quotes\""}, {"topic": "a", "type": "x", "severity": "dire"},
        {"topic": "a", "type": "x", "data": "x".repeat(300_000)}, {"topic": "a", "type": "x", "id": "last"},
    ]);
    let (status, answer) = gateway.post_events("", &body.to_string()).await;
    assert_eq!((status, &answer["stored"], &answer["refused"]), (200, &json!(2), &json!(8)));
    let codes: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|result| &result["error"]["code"]).collect();
    assert_eq!(
        codes,
        [
            &Value::Null,
            &json!("INVALID_TOPIC"),
            &json!("INVALID_FORMAT"),
            &json!("INVALID_FORMAT"),
            &json!("INVALID_FORMAT"),
            &json!("INVALID_FORMAT"),
            &json!("INVALID_FORMAT"),
            &json!("INVALID_FORMAT"),
            &json!("MESSAGE_TOO_LARGE"),
            &Value::Null,
        ]
    );
    assert_eq!(answer["results"][9]["id"], "last");
    // The same line by line.
    let lines: Vec<String> = body.as_array().unwrap().iter().map(Value::to_string).collect();
    let (_, answer) = gateway.post_events_as(SERVICE_KEY, "", NDJSON, &format!("{}\nnot json\n", lines.join("\n"))).await;
    assert_eq!((&answer["stored"], &answer["duplicates"], &answer["refused"]), (&json!(1), &json!(1), &json!(9)));
}

#[tokio::test]
async fn atomic_stores_all_or_nothing() {
    let gateway = Gateway::start().await;
    let body = json!([{"topic": "a", "type": "x"}, {"topic": "no way", "type": "x"}, {"topic": "a", "type": "y"}]);
    let (status, answer) = gateway.post_events("?atomic=true", &body.to_string()).await;
    assert_eq!((status, statuses(&answer)), (400, vec!["refused"; 3]));
    assert_eq!(answer["results"][0]["error"]["code"], "NOT_ATTEMPTED");
    assert_eq!(answer["results"][1]["error"]["code"], "INVALID_TOPIC");
    let (_, page) = gateway.get("/api/ws/replay?topic=a", SERVICE_KEY).await;
    assert_eq!(page["events"], json!([]));
    let good = json!([{"topic": "a", "type": "x"}, {"topic": "b", "type": "y"}]);
    let (status, answer) = gateway.post_events("?atomic=true", &good.to_string()).await;
    assert_eq!((status, &answer["stored"]), (200, &json!(2)));
    assert_eq!(gateway.post_events("?atomic=maybe", "[]").await.0, 400);
}

#[tokio::test]
async fn each_refusal_of_a_whole_request_has_its_status() {
    let gateway = Gateway::builder()
        .config(|config| {
            config.events.batch_events_max = 10;
            config.rest.body_bytes_max = 100_000;
        })
        .start()
        .await;
    for (body, status, code) in [
        ("", 400, "JSON_PARSE_ERROR"),
        ("nonsense", 400, "JSON_PARSE_ERROR"),
        ("[{]", 400, "JSON_PARSE_ERROR"),
        (r#"{"type":"x"}"#, 400, "INVALID_FORMAT"),
        (r#"{"topic":"a b","type":"x"}"#, 400, "INVALID_TOPIC"),
    ] {
        let (got, answer) = gateway.post_events("", body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{body}: {answer}");
    }
    let many = format!("[{}]", [r#"{"topic":"a","type":"x"}"#; 11].join(","));
    let (status, answer) = gateway.post_events("", &many).await;
    assert_eq!((status, answer["error"]["message"].as_str().unwrap().contains("NDJSON")), (413, true));
    let large = json!({"topic": "a", "type": "x", "data": "x".repeat(100_000)}).to_string();
    assert_eq!(gateway.post_events("", &large).await.0, 413);
    assert_eq!(gateway.post_events_as("", "", "application/json", "[]").await.0, 401);
    assert_eq!(gateway.post_events_as("wrong-key", "", "application/json", "[]").await.0, 401);
    assert_eq!(gateway.http().delete(gateway.url("/api/v1/events")).send().await.unwrap().status(), 405);
    let (status, answer) = gateway.get("/api/v1/nothing", SERVICE_KEY).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("NOT_FOUND")));
}

/// Lines are stored as they arrive, however many.
#[tokio::test]
async fn lines_have_no_limit_in_number() {
    let gateway = Gateway::start().await;
    let (status, answer) = gateway.post_events_as(SERVICE_KEY, "", NDJSON, &events(12_000)).await;
    assert_eq!((status, &answer["stored"], &answer["results_truncated"]), (200, &json!(12_000), &json!(true)));
    let mut reader = gateway.connect_with(SERVICE_KEY).await;
    reader.subscribe(json!([{"topic": "a", "from": "earliest"}])).await;
    let packets = reader.expect_events(12_000).await;
    assert!(packets.iter().enumerate().all(|(n, packet)| packet["data"]["n"] == n));
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_alone() {
    let gateway = Gateway::builder().config(|config| config.rest.line_bytes_max = 10_000).start().await;
    let long = json!({"topic": "a", "type": "x", "data": "x".repeat(50_000)});
    let body = format!("{}{long}\n{}", events(1), events(1));
    let (status, answer) = gateway.post_events_as(SERVICE_KEY, "", NDJSON, &body).await;
    assert_eq!((status, statuses(&answer)), (200, vec!["stored", "refused", "stored"]));
    assert_eq!(answer["results"][1]["error"]["code"], "MESSAGE_TOO_LARGE");
}
