//! What the webhook cannot deliver is kept, shown, and delivered once more on request, also over restarts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use towline_auth::Secret;
use towline_harness::{Clock, Gateway, MemoryLog, Receiver, Reply, SERVICE_KEY, eventually};
use towline_log::EventLog;

use crate::webhook::{gateway, send};

async fn letters(gateway: &Gateway) -> Vec<Value> {
    let (status, page) = gateway.get("/api/v1/webhook/dead-letters", SERVICE_KEY).await;
    assert_eq!(status, 200, "{page}");
    assert_eq!(page["total"].as_u64().unwrap() as usize, page["dead_letters"].as_array().unwrap().len());
    page["dead_letters"].as_array().unwrap().clone()
}

async fn until_letters(gateway: &Gateway, count: usize) -> Vec<Value> {
    eventually("the dead letters are as many as they should", || async { letters(gateway).await.len() == count }).await;
    letters(gateway).await
}

async fn redrive(gateway: &Gateway, credential: &str, request: Value) -> (u16, Value) {
    let url = gateway.url("/api/v1/webhook/redrive");
    let answer = gateway.http().post(url).bearer_auth(credential).json(&request).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn refuses(call: &towline_harness::Call) -> Reply {
    if call.payload()["n"].as_u64().unwrap() % 2 == 1 { Reply::Status(422) } else { Reply::Status(200) }
}

// proves: C9
#[tokio::test]
async fn what_finally_fails_is_kept_and_the_users_next_messages_go_on() {
    let receiver = Receiver::start(refuses).await;
    let gateway = gateway(&receiver, |_| {}).start().await;
    send(gateway.log(), "alice", 0..5).await;
    let calls = receiver.until("the last one", |calls| calls.iter().any(|call| call.payload()["n"] == 4)).await;
    let order: Vec<u64> = calls.iter().map(|call| call.payload()["n"].as_u64().unwrap()).collect();
    assert_eq!(order, [0, 1, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 4], "refusals get five attempts");
    let kept = until_letters(&gateway, 2).await;
    let first = &kept[0];
    assert_eq!(
        (&first["id"], &first["user_id"], &first["type"], &first["reason"], &first["attempts"], &first["last_status"]),
        (&json!("id-alice-1"), &json!("alice"), &json!("user_message"), &json!("refused"), &json!(5), &json!(422))
    );
    assert_eq!(first["position"]["offset"], 2);
    assert_eq!((&first["rounds"], &first["redriving"]), (&json!(0), &json!(false)));
    // All that it takes to deliver it stands in the topic, also when the inbox is trimmed.
    let (_, page) = gateway.get("/api/ws/replay?topic=dead-letter:webhook", SERVICE_KEY).await;
    assert_eq!(page["events"][0]["data"]["message"]["data"]["payload"], json!({"n": 1}));
    assert_eq!(gateway.metric("towline_webhook_dead_letters_total{reason=\"refused\"}").await, 2.0);

    let (status, page) = gateway.get("/api/v1/webhook/dead-letters?limit=1", SERVICE_KEY).await;
    assert_eq!((status, &page["has_more"], &page["dead_letters"][0]["id"]), (200, &json!(true), &json!("id-alice-1")));
    let next = format!("/api/v1/webhook/dead-letters?limit=1&cursor={}", page["cursor"].as_str().unwrap());
    let (_, page) = gateway.get(&next, SERVICE_KEY).await;
    assert_eq!((&page["has_more"], &page["dead_letters"][0]["id"]), (&json!(false), &json!("id-alice-3")));
}

// proves: C9
#[tokio::test]
async fn a_letter_is_delivered_once_more_with_its_id_and_never_twice() {
    let receiver = Receiver::start(refuses).await;
    let (clock, admin) = (Clock::system(), "an-admin-key-of-the-harness-0123456789");
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(clock.clone()));
    let with_admin =
        |builder: towline_harness::GatewayBuilder| builder.config(|config| config.admin.keys_full = vec![Secret::new(admin)]);
    let first = with_admin(gateway(&receiver, |_| {})).log(Arc::clone(&log)).start().await;
    send(&log, "alice", 0..4).await;
    until_letters(&first, 2).await;

    let (status, answer) = redrive(&first, &first.token("alice").mint(), json!({"all": true})).await;
    assert_eq!(status, 403, "{answer}");
    for bad in [json!({}), json!({"all": true, "ids": ["x"]}), json!({"ids": []}), json!({"everything": 1})] {
        assert_eq!(redrive(&first, SERVICE_KEY, bad.clone()).await.0, 400, "{bad}");
    }
    // It fails again: the letter is a new one, and says so.
    let (_, answer) = redrive(&first, SERVICE_KEY, json!({"ids": ["id-alice-1", "unknown"]})).await;
    assert_eq!(answer, json!({"redriven": ["id-alice-1"], "skipped": ["unknown"], "remaining": 1}));
    eventually("it has failed again", || async {
        letters(&first).await.iter().any(|letter| letter["id"] == "id-alice-1" && letter["rounds"] == 1)
    })
    .await;
    assert_eq!(letters(&first).await.len(), 2);

    receiver.answer(|_| Reply::Status(200));
    let before = receiver.calls().len();
    let (_, answer) = redrive(&first, admin, json!({"all": true})).await;
    assert_eq!(answer, json!({"redriven": ["id-alice-3", "id-alice-1"], "skipped": [], "remaining": 0}));
    let calls = receiver.until("both arrive", |calls| calls.len() >= before + 2).await;
    let ids: Vec<&str> = calls[before..].iter().map(|call| &*call.id).collect();
    assert_eq!(ids, ["id-alice-3", "id-alice-1"]);
    let original = calls.iter().find(|call| call.id == "id-alice-1").unwrap();
    assert_eq!(calls.last().unwrap().body, original.body);
    until_letters(&first, 0).await;
    let (_, answer) = redrive(&first, SERVICE_KEY, json!({"ids": ["id-alice-1"]})).await;
    assert_eq!(answer, json!({"redriven": [], "skipped": ["id-alice-1"], "remaining": 0}));
    let (_, audit) = first.get("/api/v1/admin/audit", admin).await;
    assert_eq!(audit["events"][0]["type"], "admin.webhook.redrive", "{audit}");
    drop(first);

    // Another process knows all that.
    let second = gateway(&receiver, |_| {}).log(Arc::clone(&log)).start().await;
    send(&log, "alice", 4..5).await;
    let calls = receiver.until("the next message", |calls| calls.len() >= before + 3).await;
    assert_eq!(&*calls.last().unwrap().id, "id-alice-4");
    assert!(letters(&second).await.is_empty());
}

// proves: C9
#[tokio::test]
async fn a_redrive_that_was_begun_survives_a_kill() {
    let receiver = Receiver::start(refuses).await;
    let log: Arc<dyn EventLog> = Arc::new(MemoryLog::new(Clock::system()));
    let first = gateway(&receiver, |_| {}).log(Arc::clone(&log)).start().await;
    send(&log, "alice", 1..2).await;
    until_letters(&first, 1).await;
    receiver.answer(|_| Reply::Hang);
    redrive(&first, SERVICE_KEY, json!({"all": true})).await;
    assert_eq!(letters(&first).await[0]["redriving"], true);
    let (_, answer) = redrive(&first, SERVICE_KEY, json!({"all": true})).await;
    assert_eq!(answer, json!({"redriven": [], "skipped": [], "remaining": 0}), "it is under way already");
    drop(first);

    receiver.answer(|_| Reply::Status(200));
    let before = receiver.calls().len();
    let second = gateway(&receiver, |_| {}).log(Arc::clone(&log)).start().await;
    let calls = receiver.until("it arrives", |calls| calls.len() > before).await;
    assert_eq!(&*calls[before].id, "id-alice-1");
    until_letters(&second, 0).await;
}

#[tokio::test]
async fn a_message_that_nobody_answers_is_given_up_when_it_is_old() {
    let receiver = Receiver::start(|_| Reply::Status(503)).await;
    let gateway = gateway(&receiver, |webhook| webhook.retry_for = Duration::from_secs(3_600)).manual_clock().start().await;
    send(gateway.log(), "alice", 0..1).await;
    receiver.until("an attempt", |calls| !calls.is_empty()).await;
    eventually("it is repeated", || async { gateway.metric("towline_webhook_retried_total").await == 1.0 }).await;
    assert!(letters(&gateway).await.is_empty());
    gateway.clock().advance(Duration::from_secs(3_601));
    eventually("it is a dead letter", || async {
        // What is written down waits for company, by the clock.
        gateway.clock().advance(Duration::from_secs(1));
        !letters(&gateway).await.is_empty()
    })
    .await;
    let kept = letters(&gateway).await;
    assert_eq!(
        (&kept[0]["reason"], &kept[0]["last_outcome"], &kept[0]["last_status"]),
        (&json!("expired"), &json!("busy"), &json!(503))
    );
}

// proves: C9
#[tokio::test]
async fn one_user_cannot_fill_the_place_of_all() {
    let receiver = Receiver::start(|call| if call.user() == "greedy" { Reply::Hang } else { Reply::Status(200) }).await;
    let gateway = gateway(&receiver, |webhook| {
        webhook.waiting_per_user_max = 10;
        webhook.waiting_max = 1_000;
    });
    let gateway = gateway.start().await;
    send(gateway.log(), "greedy", 0..30).await;
    send(gateway.log(), "alice", 0..3).await;
    receiver.until("alice's messages", |calls| calls.iter().filter(|call| call.user() == "alice").count() == 3).await;
    let kept = until_letters(&gateway, 20).await;
    assert!(
        kept.iter().all(|letter| letter["reason"] == "backlog" && letter["attempts"] == 0 && letter.get("last_status").is_none())
    );
    assert_eq!(kept[0]["id"], "id-greedy-10", "the first ten wait, in order");
}

#[tokio::test]
async fn without_a_webhook_there_is_nothing() {
    let gateway = Gateway::start().await;
    let (status, answer) = gateway.get("/api/v1/webhook/dead-letters", SERVICE_KEY).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("NOT_FOUND")));
    assert_eq!(redrive(&gateway, SERVICE_KEY, json!({"all": true})).await.0, 404);
}
