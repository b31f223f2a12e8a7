//! The emergency brake (A8): its states, who may use it, and that it survives restarts.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Clock, Gateway, MemoryLog, PATIENCE, Packet, SERVICE_KEY, Socket, eventually};

use crate::runs::publish;

/// The next packet of a type; others may come before it.
async fn until(socket: &mut Socket, kind: &str) -> Packet {
    loop {
        let packet = socket.next(PATIENCE).await.unwrap_or_else(|| panic!("no {kind} came"));
        if packet.kind() == kind {
            return packet;
        }
    }
}

async fn status(gateway: &Gateway, token: &str) -> Value {
    let (status, answer) = gateway.get("/api/v1/agents/brake/status", token).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

// proves: A8
#[tokio::test]
async fn a_user_brakes_and_resumes_and_everybody_is_told() {
    let gateway = Gateway::start().await;
    let token = gateway.token("42").mint();
    let mut feed = gateway.feed("42").bearer(token.as_str()).open().await;
    for run in ["a", "b"] {
        assert_eq!(publish(&gateway, run, "user:42", "agent.started").await, "stored");
    }
    assert_eq!(publish(&gateway, "else", "user:43", "agent.started").await, "stored");
    assert_eq!(status(&gateway, &token).await["state"], "running");

    let (code, answer) = gateway.post("/api/v1/agents/brake", token.as_str(), &json!({"reason": "it deletes mail"})).await;
    assert_eq!((code, &answer["state"]), (200, &json!("pausing")), "{answer}");
    assert!(answer["activated_at"].as_str().unwrap().ends_with('Z'));
    let activated = until(&mut feed, "system.brake.activated").await;
    assert_eq!((&activated["data"]["state"], &activated["severity"]), (&json!("pausing"), &json!("warning")));
    assert_eq!(activated["data"]["reason"], "it deletes mail");
    assert_eq!(publish(&gateway, "a", "user:42", "token").await, "RUN_STOPPED");
    assert_eq!(publish(&gateway, "new", "user:42", "agent.started").await, "BRAKE_ENGAGED");
    let (code, error) = gateway.post("/api/v1/runs", SERVICE_KEY, &json!({"user_id": "42"})).await;
    assert_eq!((code, &error["error"]["code"]), (409, &json!("BRAKE_ENGAGED")));
    assert_eq!(publish(&gateway, "else", "user:43", "token").await, "stored", "another user's");
    let (code, again) = gateway.post("/api/v1/agents/brake", token.as_str(), &json!({})).await;
    assert_eq!((code, &again["state"], &again["notices"]), (200, &json!("pausing"), &json!([])));
    assert_eq!(again["activated_at"], answer["activated_at"]);

    assert_eq!(publish(&gateway, "a", "user:42", "run.stop_acknowledged").await, "stored");
    assert_eq!(publish(&gateway, "b", "user:42", "agent.cancelled").await, "stored");
    assert_eq!(until(&mut feed, "system.brake.paused").await["data"]["state"], "paused");
    let now = status(&gateway, &token).await;
    assert_eq!((&now["state"], &now["paused_tasks_count"], &now["stuck_tasks"]), (&json!("paused"), &json!(2), &json!([])));
    assert_eq!(gateway.metric("towline_brakes_engaged").await, 1.0);

    let (code, answer) = gateway.post("/api/v1/agents/resume", token.as_str(), &json!({})).await;
    assert_eq!((code, &answer["state"]), (200, &json!("resuming")), "{answer}");
    assert_eq!(until(&mut feed, "system.brake.resumed").await["data"]["state"], "resuming");
    until(&mut feed, "run.resumed").await;
    assert_eq!(publish(&gateway, "a", "user:42", "token").await, "stored");
    assert_eq!(publish(&gateway, "b", "user:42", "token").await, "RUN_ENDED");
    until(&mut feed, "token").await;
    assert_eq!(until(&mut feed, "system.brake.resumed").await["data"]["state"], "running");
    assert_eq!(status(&gateway, &token).await["state"], "running");
    assert_eq!(publish(&gateway, "new", "user:42", "agent.started").await, "stored");
    let (_, idle) = gateway.post("/api/v1/agents/resume", token.as_str(), &json!({})).await;
    assert_eq!((&idle["state"], &idle["notices"]), (&json!("running"), &json!([])));
}

/// An agent that hears of its resumption on its control topic publishes at once, and is not told that it is stopped.
// proves: A8
#[tokio::test]
async fn who_hears_of_a_resumption_may_go_on_at_once() {
    let gateway = Gateway::start().await;
    let token = gateway.token("42").mint();
    assert_eq!(publish(&gateway, "a", "user:42", "agent.started").await, "stored");
    let mut agent = gateway.connect_with(SERVICE_KEY).await;
    agent.subscribe(json!(["control:a"])).await;
    let say = |kind: &str| json!({"topic": "user:42", "type": kind, "run_id": "a"});
    let nothing = json!({});
    for _ in 0..50 {
        gateway.post("/api/v1/agents/brake", token.as_str(), &nothing).await;
        agent.expect("run.stopped", PATIENCE).await;
        agent.request("publish", say("run.stop_acknowledged")).await;
        let resuming = gateway.post("/api/v1/agents/resume", token.as_str(), &nothing);
        let going_on = async {
            agent.expect("run.resumed", PATIENCE).await;
            agent.request("publish", say("token")).await
        };
        let (_, answer) = tokio::join!(resuming, going_on);
        assert_eq!(answer["data"]["results"][0]["status"], "stored", "{}", answer.text());
    }
}

// proves: A8
#[tokio::test]
async fn partial_after_thirty_seconds_and_all_states_survive_restarts() {
    let clock = Clock::manual(1_800_000_000_000);
    let log = MemoryLog::new(clock.clone());
    let start = || Gateway::builder().clock(clock.clone()).log(std::sync::Arc::new(log.clone())).start();
    let gateway = start().await;
    let token = gateway.token("42").ttl(Duration::from_secs(7_200)).mint();
    for run in ["good", "deaf"] {
        publish(&gateway, run, "user:42", "agent.started").await;
    }
    gateway.post("/api/v1/agents/brake", token.as_str(), &json!({})).await;
    drop(gateway);

    let gateway = start().await;
    assert_eq!(status(&gateway, &token).await["state"], "pausing");
    assert_eq!(publish(&gateway, "good", "user:42", "token").await, "RUN_STOPPED");
    assert_eq!(publish(&gateway, "new", "user:42", "token").await, "BRAKE_ENGAGED");
    publish(&gateway, "good", "user:42", "run.stop_acknowledged").await;
    let mut feed = gateway.feed("42").bearer(token.as_str()).open().await;
    clock.advance(Duration::from_secs(30));
    let partial = until(&mut feed, "system.brake.partial").await;
    assert_eq!((&partial["data"]["state"], &partial["data"]["paused_tasks_count"]), (&json!("partial"), &json!(1)));
    assert_eq!(partial["data"]["stuck_tasks"][0]["run_id"], "deaf");
    drop(gateway);

    let gateway = start().await;
    let now = status(&gateway, &token).await;
    assert_eq!((&now["state"], &now["stuck_tasks"][0]["run_id"]), (&json!("partial"), &json!("deaf")));
    let (_, answer) = gateway.post("/api/v1/agents/resume", token.as_str(), &json!({})).await;
    assert_eq!(answer["state"], "resuming");
    drop(gateway);

    let gateway = start().await;
    assert_eq!(status(&gateway, &token).await["state"], "resuming");
    assert_eq!(publish(&gateway, "deaf", "user:42", "token").await, "RUN_STOPPED", "it never acknowledged");
    clock.advance(Duration::from_secs(30));
    eventually("the brake waits no longer", || async { status(&gateway, &token).await["state"] == "running" }).await;
    assert_eq!(publish(&gateway, "good", "user:42", "token").await, "stored");
}

// proves: A8
#[tokio::test]
async fn only_the_user_services_and_the_granted_may_brake() {
    let gateway = Gateway::start().await;
    let (alice, bob) = (gateway.token("alice").mint(), gateway.token("bob").mint());
    publish(&gateway, "r", "user:alice", "token").await;
    for path in [
        "/api/v1/users/alice/brake",
        "/api/v1/users/alice/resume",
        "/api/v1/organizations/acme/brake",
        "/api/v1/organizations/acme/resume",
    ] {
        let (status, answer) = gateway.post(path, bob.as_str(), &json!({})).await;
        assert_eq!((status, &answer["error"]["code"]), (403, &json!("FORBIDDEN")), "{path}");
    }
    assert_eq!(gateway.post("/api/v1/agents/brake?user_id=alice", bob.as_str(), &json!({})).await.0, 403);
    assert_eq!(gateway.get("/api/v1/users/alice/brake/status", bob.as_str()).await.0, 403);
    // A member of the organisation may not brake it; who is granted may.
    let member = gateway.token("bob").org("acme").mint();
    assert_eq!(gateway.post("/api/v1/organizations/acme/brake", member, &json!({})).await.0, 403);
    let admin = gateway.token("carol").publishes(["control:org:acme"]).mint();
    assert_eq!(gateway.post("/api/v1/organizations/acme/brake", admin.as_str(), &json!({})).await.1["state"], "paused");
    assert_eq!(gateway.post("/api/v1/organizations/other/brake", admin, &json!({})).await.0, 403);
    assert_eq!(publish(&gateway, "r", "user:alice", "token").await, "stored");

    assert_eq!(gateway.post("/api/v1/users/alice/brake", alice.as_str(), &json!({})).await.1["state"], "pausing");
    assert_eq!(gateway.get("/api/v1/users/alice/brake/status", SERVICE_KEY).await.1["state"], "pausing");
    assert_eq!(gateway.get("/api/v1/agents/brake/status?user_id=alice", SERVICE_KEY).await.1["state"], "pausing");
    assert_eq!(gateway.get("/api/v1/agents/brake/status", SERVICE_KEY).await.0, 400, "a service has no runs of its own");
    assert_eq!(gateway.post("/api/v1/users/alice/resume", SERVICE_KEY, &json!({})).await.1["state"], "running");
}

// proves: A8
#[tokio::test]
async fn an_organisations_brake_covers_its_runs() {
    let gateway = Gateway::start().await;
    let mut reader = gateway.connect_with(SERVICE_KEY).await;
    reader.subscribe(json!(["org:acme"])).await;
    for (run, user, org) in [("a", "1", "acme"), ("b", "2", "acme"), ("c", "3", "other")] {
        let (status, _) =
            gateway.post("/api/v1/runs", SERVICE_KEY, &json!({"run_id": run, "user_id": user, "org_id": org})).await;
        assert_eq!(status, 200);
    }
    let (_, answer) = gateway.post("/api/v1/organizations/acme/brake", SERVICE_KEY, &json!({})).await;
    assert_eq!((&answer["state"], &answer["scope"]), (&json!("pausing"), &json!({"kind": "org", "id": "acme"})));
    assert_eq!(reader.expect("system.brake.activated", PATIENCE).await["data"]["scope"]["id"], "acme");
    assert_eq!(publish(&gateway, "a", "user:1", "token").await, "RUN_STOPPED");
    assert_eq!(publish(&gateway, "b", "user:2", "token").await, "RUN_STOPPED");
    assert_eq!(publish(&gateway, "c", "user:3", "token").await, "stored");
    assert_eq!(gateway.metric("towline_run_stops_total{scope=\"org\"}").await, 2.0);
}

/// A release that the log does not take leaves the brake engaged: nothing may go on that is not announced.
#[tokio::test]
async fn a_release_that_cannot_be_written_is_none() {
    let gateway = Gateway::start().await;
    publish(&gateway, "r", "user:42", "token").await;
    gateway.post("/api/v1/users/42/brake", SERVICE_KEY, &json!({})).await;
    publish(&gateway, "r", "user:42", "run.stop_acknowledged").await;
    gateway.faults().refuse_appends(Some(towline_log::AppendError::Full));
    assert_eq!(gateway.post("/api/v1/users/42/resume", SERVICE_KEY, &json!({})).await.0, 503);
    gateway.faults().refuse_appends(None);
    assert_eq!(publish(&gateway, "r", "user:42", "token").await, "RUN_STOPPED");
    assert_eq!(gateway.post("/api/v1/users/42/resume", SERVICE_KEY, &json!({})).await.1["state"], "resuming");
    assert_eq!(publish(&gateway, "r", "user:42", "token").await, "stored");
}

#[tokio::test]
async fn in_development_anybody_is_who_they_say() {
    let gateway = Gateway::builder().development().start().await;
    let brake = |path: &str| gateway.url(path);
    let answer = gateway.http().post(brake("/api/v1/agents/brake?user_id=demo")).send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["state"], "paused");
    let answer = gateway.http().post(brake("/api/v1/agents/brake")).send().await.unwrap();
    assert_eq!(answer.status(), 400);
}
