//! Runs: begun, kept alive, lost, stopped; what is refused behind a stop, and who hears of it.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Gateway, PATIENCE, SERVICE_KEY, Socket};
use towline_log::AppendError;

const NDJSON: &str = "application/x-ndjson";

pub fn event(run: &str, topic: &str, kind: &str) -> Value {
    json!({"topic": topic, "type": kind, "run_id": run, "data": {"run": run}})
}

/// Publishes for a run as a service, and gives the status of the result or the code of its refusal.
pub async fn publish(gateway: &Gateway, run: &str, topic: &str, kind: &str) -> String {
    let (_, answer) = gateway.post_events("", &event(run, topic, kind).to_string()).await;
    let result = &answer["results"][0];
    let text = if result["status"] == "refused" { &result["error"]["code"] } else { &result["status"] };
    text.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn watch(gateway: &Gateway, topics: Value) -> Socket {
    let mut socket = gateway.connect_with(SERVICE_KEY).await;
    socket.subscribe(topics).await;
    socket
}

// proves: A8
#[tokio::test]
async fn behind_a_stop_nothing_is_taken_on_any_way_in() {
    let gateway = Gateway::start().await;
    let mut reader = watch(&gateway, json!(["user:42", "thread:9"])).await;
    for topic in ["user:42", "thread:9"] {
        assert_eq!(publish(&gateway, "r", topic, "token").await, "stored");
    }
    let (status, stopped) = gateway.post("/api/v1/runs/r/stop", SERVICE_KEY, &json!({"reason": "wrong answer"})).await;
    assert_eq!((status, &stopped["stopped"], &stopped["run"]["state"]), (200, &json!(true), &json!("stopped")), "{stopped}");
    let at: Vec<(&str, u64)> = stopped["notices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|notice| (notice["topic"].as_str().unwrap(), notice["offset"].as_u64().unwrap()))
        .collect();
    assert_eq!(at, [("user:42", 2), ("thread:9", 2), ("control:r", 1), ("control:*", 1)]);

    // REST, one, an array, all or nothing; lines; a socket.
    assert_eq!(publish(&gateway, "r", "user:42", "token").await, "RUN_STOPPED");
    let mixed =
        json!([event("r", "user:42", "token"), event("other", "user:42", "token"), {"topic": "user:42", "type": "plain"}]);
    let (status, answer) = gateway.post_events("", &mixed.to_string()).await;
    let codes: Vec<&Value> = (0..3).map(|n| &answer["results"][n]["error"]["code"]).collect();
    assert_eq!((status, codes), (200, vec![&json!("RUN_STOPPED"), &Value::Null, &Value::Null]));
    let (status, answer) = gateway.post_events("?atomic=true", &mixed.to_string()).await;
    assert_eq!((status, &answer["results"][1]["error"]["code"]), (409, &json!("NOT_ATTEMPTED")));
    assert_eq!(answer["error"]["code"], "RUN_STOPPED");
    let lines = format!("{}\n{}\n", event("r", "thread:9", "token"), event("other", "thread:9", "token"));
    let (_, answer) = gateway.post_events_as(SERVICE_KEY, "", NDJSON, &lines).await;
    assert_eq!(
        (&answer["results"][0]["error"]["code"], &answer["results"][1]["status"]),
        (&json!("RUN_STOPPED"), &json!("stored"))
    );
    let mut agent = gateway.connect_with(SERVICE_KEY).await;
    let ack = agent.request("publish", event("r", "user:42", "token")).await;
    let error = &ack["data"]["results"][0]["error"];
    assert_eq!((&error["code"], &error["retryable"]), (&json!("RUN_STOPPED"), &json!(false)));
    assert!(error["message"].as_str().unwrap().contains("wrong answer"), "{error}");

    // Its acknowledgement and its terminal event, once each.
    assert_eq!(publish(&gateway, "r", "user:42", "run.stop_acknowledged").await, "stored");
    assert_eq!(publish(&gateway, "r", "user:42", "run.stop_acknowledged").await, "RUN_STOPPED");
    assert_eq!(publish(&gateway, "r", "user:42", "agent.cancelled").await, "stored");
    assert_eq!(publish(&gateway, "r", "user:42", "agent.cancelled").await, "RUN_STOPPED");
    let seen = |packets: Vec<towline_harness::Packet>| -> Vec<String> {
        packets
            .iter()
            .map(|packet| format!("{} {}", packet["topic"].as_str().unwrap(), packet["type"].as_str().unwrap()))
            .collect()
    };
    let all = seen(reader.expect_events(9).await);
    let of = |topic: &str| all.iter().filter_map(|seen| seen.strip_prefix(topic)?.strip_prefix(' ')).collect::<Vec<_>>();
    assert_eq!(of("user:42"), ["token", "run.stopped", "token", "plain", "run.stop_acknowledged", "agent.cancelled"]);
    assert_eq!(of("thread:9"), ["token", "run.stopped", "token"]);
    reader.expect_quiet().await;
    assert!(gateway.metric("towline_run_refusals_total{code=\"RUN_STOPPED\"}").await >= 6.0);
    assert_eq!(gateway.metric("towline_run_stops_total{scope=\"run\"}").await, 1.0);
}

#[tokio::test]
async fn a_run_is_begun_listed_inspected_and_kept_alive() {
    let gateway = Gateway::builder().manual_clock().start().await;
    let wanted =
        json!({"run_id": "r1", "user_id": "42", "agent_type": "writer", "thread_id": "9", "title": "Write", "lease_ms": 10_000});
    let (status, run) = gateway.post("/api/v1/runs", SERVICE_KEY, &wanted).await;
    assert_eq!(
        (status, &run["state"], &run["topics"], &run["lease_ms"]),
        (200, &json!("running"), &json!(["user:42"]), &json!(10_000))
    );
    assert_eq!(gateway.post("/api/v1/runs", SERVICE_KEY, &wanted).await.0, 200, "it may be repeated");
    let (_, other) = gateway.post("/api/v1/runs", SERVICE_KEY, &json!({"user_id": "43"})).await;
    assert_eq!(other["run_id"].as_str().unwrap().len(), 36);

    let mine = gateway.token("42").mint();
    let (_, page) = gateway.get("/api/v1/runs", mine.as_str()).await;
    assert_eq!((page["runs"].as_array().unwrap().len(), &page["runs"][0]["run_id"]), (1, &json!("r1")));
    let (_, page) = gateway.get("/api/v1/runs?state=running&limit=1", SERVICE_KEY).await;
    let cursor = page["cursor"].as_str().unwrap();
    let (_, next) = gateway.get(&format!("/api/v1/runs?limit=1&cursor={cursor}"), SERVICE_KEY).await;
    assert_ne!(page["runs"][0]["run_id"], next["runs"][0]["run_id"]);
    assert_eq!(gateway.get("/api/v1/runs/r1", mine.as_str()).await.1["title"], "Write");
    assert_eq!(gateway.get("/api/v1/runs?user_id=43", mine.as_str()).await.0, 403);
    assert_eq!(gateway.get("/api/v1/runs?state=walking", SERVICE_KEY).await.0, 400);

    let mut reader = watch(&gateway, json!(["user:42", "control:*"])).await;
    for _ in 0..3 {
        gateway.clock().advance(Duration::from_secs(9));
        let (status, answer) = gateway.post("/api/v1/runs/r1/heartbeat", SERVICE_KEY, &json!({})).await;
        assert_eq!((status, &answer["state"]), (200, &json!("running")));
    }
    gateway.clock().advance(Duration::from_secs(11));
    let lost = reader.expect("run.lost", PATIENCE).await;
    assert_eq!((&lost["data"]["run_id"], &lost["run_id"], &lost["severity"]), (&json!("r1"), &json!("r1"), &json!("warning")));
    let (_, answer) = gateway.post("/api/v1/runs/r1/heartbeat", SERVICE_KEY, &json!({})).await;
    assert_eq!(answer["state"], "lost");
    assert_eq!(publish(&gateway, "r1", "user:42", "token").await, "RUN_ENDED");
    let (status, error) = gateway.post("/api/v1/runs", SERVICE_KEY, &wanted).await;
    assert_eq!((status, &error["error"]["code"]), (409, &json!("RUN_ENDED")));
    assert_eq!(gateway.metric("towline_runs{state=\"lost\"}").await, 1.0);
}

#[tokio::test]
async fn what_cannot_be_a_run_is_refused_with_its_reason() {
    let gateway = Gateway::start().await;
    for (body, status, code) in [
        (json!({}), 400, "INVALID_FORMAT"),
        (json!({"user_id": "a b"}), 400, "INVALID_FORMAT"),
        (json!({"user_id": "42", "run_id": "a b"}), 400, "INVALID_FORMAT"),
        (json!({"user_id": "42", "lease_ms": 1}), 400, "INVALID_FORMAT"),
        (json!({"user_id": "42", "title": "x".repeat(513)}), 400, "INVALID_FORMAT"),
        (json!({"user_id": "42", "topics": ["no way"]}), 400, "INVALID_TOPIC"),
        (json!({"user_id": "42", "topics": ["control:x"]}), 403, "FORBIDDEN"),
        (json!({"user_id": "42", "topics": vec!["t"; 17]}), 400, "TOO_MANY_TOPICS"),
        (json!("x".repeat(20_000)), 413, "MESSAGE_TOO_LARGE"),
    ] {
        let (got, answer) = gateway.post("/api/v1/runs", SERVICE_KEY, &body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{answer}");
    }
    assert_eq!(publish(&gateway, "a b", "user:42", "token").await, "INVALID_FORMAT");
    for (path, token, status) in [
        ("/api/v1/runs/none/stop", SERVICE_KEY, 404),
        ("/api/v1/runs/none/heartbeat", SERVICE_KEY, 404),
        ("/api/v1/runs", "", 401),
        ("/api/v1/agents/brake", "", 401),
    ] {
        assert_eq!(gateway.post(path, token, &json!({"user_id": "x"})).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn runs_are_their_users_and_their_publishers() {
    let gateway = Gateway::start().await;
    assert_eq!(publish(&gateway, "hers", "user:alice", "token").await, "stored");
    assert_eq!(publish(&gateway, "hers", "thread:9", "token").await, "stored");
    assert_eq!(publish(&gateway, "his", "user:bob", "token").await, "stored");
    assert_eq!(publish(&gateway, "his", "thread:9", "token").await, "stored");
    let (alice, bob) = (gateway.token("alice").mint(), gateway.token("bob").mint());
    let reason = json!({"reason": "x".repeat(513)});
    assert_eq!(gateway.post("/api/v1/runs/hers/stop", alice.as_str(), &reason).await.0, 400);
    for (method, target) in
        [("get", "/api/v1/runs/hers"), ("get", "/api/v1/runs/hers/control?wait_s=0"), ("post", "/api/v1/runs/hers/stop")]
    {
        let answer = match method {
            "get" => gateway.get(target, bob.as_str()).await,
            _ => gateway.post(target, bob.as_str(), &json!({})).await,
        };
        assert_eq!((answer.0, &answer.1["error"]["code"]), (404, &json!("NOT_FOUND")), "{target}");
    }
    // Another user's publisher cannot speak for the run, whatever topics it may publish on.
    let publisher = gateway.token("bob").publishes(["room:*", "user:bob"]).mint();
    let body = event("hers", "room:1", "agent.completed").to_string();
    let (status, answer) = gateway.post_events_as(publisher, "", "application/json", &body).await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("FORBIDDEN")));

    // A user stops their own part of a thread; who is granted the thread, all of it.
    let (_, stopped) = gateway.post("/api/v1/threads/9/stop", alice.as_str(), &json!({})).await;
    assert_eq!(stopped["stopped"], json!(["hers"]));
    assert_eq!(publish(&gateway, "his", "thread:9", "token").await, "stored");
    let moderator = gateway.token("carol").publishes(["control:thread:*"]).mint();
    let (_, stopped) = gateway.post("/api/v1/threads/9/stop", moderator, &json!({})).await;
    assert_eq!(stopped["stopped"], json!(["his"]));
    let (_, run) = gateway.get("/api/v1/runs/his", bob.as_str()).await;
    assert_eq!((&run["stop"]["by"]["id"], &run["stop"]["final"]), (&json!("carol"), &json!(true)));
    // The grant to stop is none to write into control topics.
    let forger = gateway.token("carol").publishes(["control:thread:*"]).mint();
    let (status, _) =
        gateway.post_events_as(forger, "", "application/json", &event("x", "control:thread:9", "run.stopped").to_string()).await;
    assert_eq!(status, 403);
}

#[tokio::test]
async fn agents_hear_of_a_stop_by_socket_stream_and_long_poll() {
    let gateway = Gateway::start().await;
    let publisher = gateway.token("agent").publishes(["room:*"]).mint();
    let body = event("r", "room:1", "token").to_string();
    assert_eq!(gateway.post_events_as(publisher.as_str(), "", "application/json", &body).await.0, 200);

    let mut socket = gateway.connect_with(publisher.as_str()).await;
    let ack = socket.request("subscribe", json!({"topics": ["control:r", "control:someone-elses", "control:*"]})).await;
    assert_eq!(ack["data"]["subscriptions"].as_array().unwrap().len(), 1);
    assert_eq!(ack["data"]["errors"].as_array().unwrap().len(), 2);
    let mut service = watch(&gateway, json!(["control:*"])).await;
    let mut stream = gateway.stream("/api/v1/stream?topics=control:r", publisher.as_str(), None).await.unwrap();
    stream.expect("welcome", PATIENCE).await;
    let (_, none) = gateway.get("/api/v1/runs/r/control?wait_s=0", publisher.as_str()).await;
    assert_eq!((&none["events"], &none["state"]), (&json!([]), &json!("running")));
    let cursor = none["cursor"].as_str().unwrap().to_owned();
    let target = format!("/api/v1/runs/r/control?wait_s=55&after={cursor}");
    let poll = gateway.get(&target, publisher.as_str());
    let stop = async {
        let (status, _) = gateway.post("/api/v1/runs/r/stop", SERVICE_KEY, &json!({})).await;
        assert_eq!(status, 200);
    };
    let ((status, page), ()) = tokio::join!(poll, stop);
    assert_eq!((status, &page["state"], &page["events"][0]["type"]), (200, &json!("stopped"), &json!("run.stopped")));
    let at = page["events"][0]["id"].as_str().unwrap().to_owned();
    for id in [
        socket.expect("run.stopped", PATIENCE).await.id().to_owned(),
        service.expect("run.stopped", PATIENCE).await.id().to_owned(),
        stream.expect("run.stopped", PATIENCE).await.id().to_owned(),
    ] {
        assert_eq!(id, at, "one event on all topics");
    }
    let (_, again) = gateway
        .get(&format!("/api/v1/runs/r/control?wait_s=0&after={}", page["cursor"].as_str().unwrap()), publisher.as_str())
        .await;
    assert_eq!(again["events"], json!([]));
}

#[tokio::test]
async fn long_polls_are_bounded() {
    let gateway = Gateway::builder().config(|config| config.runs.waiters_max = 1).start().await;
    publish(&gateway, "r", "user:42", "token").await;
    let waiting = gateway.get("/api/v1/runs/r/control?wait_s=55", SERVICE_KEY);
    tokio::pin!(waiting);
    let refused = async {
        loop {
            let (status, _) = gateway.get("/api/v1/runs/r/control?wait_s=0", SERVICE_KEY).await;
            if status == 429 {
                return;
            }
        }
    };
    tokio::select! {
        answer = &mut waiting => panic!("nothing happened: {answer:?}"),
        () = refused => {}
    }
    gateway.post("/api/v1/runs/r/stop", SERVICE_KEY, &json!({})).await;
    assert_eq!(waiting.await.0, 200);
}

/// A stop that the log does not take is in force all the same, is told as not durable, and is said once the log takes it.
#[tokio::test]
async fn a_stop_that_cannot_be_written_is_in_force() {
    let gateway = Gateway::start().await;
    publish(&gateway, "r", "user:42", "token").await;
    let mut reader = watch(&gateway, json!(["user:42"])).await;
    gateway.faults().refuse_appends(Some(AppendError::Full));
    let (status, answer) = gateway.post("/api/v1/runs/r/stop", SERVICE_KEY, &json!({})).await;
    assert_eq!((status, &answer["error"]["code"]), (507, &json!("STORAGE_FULL")), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("in force"));
    assert_eq!(publish(&gateway, "r", "user:42", "token").await, "RUN_STOPPED");
    gateway.faults().refuse_appends(None);
    reader.expect("run.stopped", PATIENCE).await;
    assert_eq!(publish(&gateway, "r", "user:42", "token").await, "RUN_STOPPED");
}

/// What began, ended or acknowledged with an event that was not stored did not happen.
#[tokio::test]
async fn an_event_that_is_not_stored_changes_no_run() {
    let gateway = Gateway::start().await;
    gateway.faults().refuse_appends(Some(AppendError::Busy));
    assert_eq!(publish(&gateway, "r", "user:42", "agent.started").await, "UNAVAILABLE");
    assert_eq!(gateway.get("/api/v1/runs/r", SERVICE_KEY).await.0, 404);
    let (status, _) = gateway.post("/api/v1/runs", SERVICE_KEY, &json!({"user_id": "42", "run_id": "s"})).await;
    assert_eq!(status, 503);
    gateway.faults().refuse_appends(None);
    assert_eq!(publish(&gateway, "r", "user:42", "agent.started").await, "stored");
    gateway.faults().refuse_appends(Some(AppendError::Busy));
    assert_eq!(publish(&gateway, "r", "user:42", "agent.completed").await, "UNAVAILABLE");
    assert_eq!(gateway.get("/api/v1/runs/r", SERVICE_KEY).await.1["state"], "running");
    gateway.faults().refuse_appends(None);
    assert_eq!(publish(&gateway, "r", "user:42", "agent.completed").await, "stored");
    assert_eq!(gateway.get("/api/v1/runs/r", SERVICE_KEY).await.1["state"], "ended");
}

/// Nobody but the gateway writes its state, and only services read it.
#[tokio::test]
async fn the_state_of_runs_is_the_gateways_own() {
    let gateway = Gateway::start().await;
    publish(&gateway, "r", "user:42", "token").await;
    assert_eq!(publish(&gateway, "r", "towline:runs", "run").await, "FORBIDDEN");
    let (status, page) = gateway.get("/api/ws/replay?topic=towline:runs", SERVICE_KEY).await;
    assert_eq!((status, &page["events"][0]["data"]["run_id"]), (200, &json!("r")));
    let curious = gateway.token("u").topics(["*"]).mint();
    assert_eq!(gateway.get("/api/ws/replay?topic=towline:runs", curious).await.0, 403);
}
