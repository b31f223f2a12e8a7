//! From a user's message to the application, with the real binary killed in between: by webhook, and to a service that follows `inbox:*`.
//! Needs the binary built.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use towline_client::{Client, Position, Settings, StartRequest, Update};
use towline_harness::{Binary, PATIENCE, Receiver, Reply, SERVICE_KEY};

use crate::webhook::SECRET;

const USERS: usize = 4;
const EACH: usize = 30;

async fn start(receiver: &Receiver) -> Binary {
    let url = receiver.url();
    Binary::start(&[
        ("TOWLINE_WEBHOOK_URL", &*url),
        ("TOWLINE_WEBHOOK_SECRET", SECRET),
        ("TOWLINE_WEBHOOK_ALLOW_INTERNAL", "true"),
        ("TOWLINE_WEBHOOK_RETRY_DELAY", "10ms"),
        ("TOWLINE_WEBHOOK_RETRY_DELAY_MAX", "50ms"),
        ("TOWLINE_USERS_MESSAGES_PER_MINUTE_MAX", "60000"),
    ])
    .await
}

/// Sends a user's messages one after another, each until it is acknowledged, as a client with ids of its own does.
async fn send(url: String, tokens: Vec<String>, acknowledged: Arc<watch::Sender<usize>>) {
    let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap();
    for n in 0..EACH {
        for token in &tokens {
            let message = json!({"type": "user_message", "id": format!("m{n}"), "data": {"n": n}});
            loop {
                let answer = http.post(&url).bearer_auth(token).json(&message).send().await;
                if answer.is_ok_and(|answer| answer.status() == 200) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            acknowledged.send_modify(|count| *count += 1);
        }
    }
}

/// A service with its own cursor: it ends by itself now and then, and goes on after the last position that it kept.
async fn follow(url: String) -> Vec<(String, u64, Position)> {
    let mut seen: Vec<(String, u64, Position)> = Vec::new();
    let settings = Settings {
        reconnect_delay: Duration::from_millis(20),
        reconnect_delay_max: Duration::from_millis(100),
        ..Settings::default()
    };
    while seen.len() < USERS * EACH {
        let client = Client::builder(url.clone()).token(SERVICE_KEY).settings(settings.clone()).build().unwrap();
        let from = seen.last().map_or(StartRequest::Earliest, |(_, _, position)| StartRequest::After(*position));
        let mut following = client.subscribe([("inbox:*", from)]).unwrap();
        for _ in 0..25 {
            if seen.len() == USERS * EACH {
                break;
            }
            match tokio::time::timeout(PATIENCE * 2, following.next()).await.expect("nothing came").expect("it stopped") {
                Update::Event(event) => {
                    let data: Value = event.data().unwrap();
                    let (user, n) = (data["user_id"].as_str().unwrap().to_owned(), data["payload"]["n"].as_u64().unwrap());
                    seen.push((user, n, event.position));
                }
                Update::Gap(_) | Update::Hole(_) | Update::Stopped(_) | Update::Refused { .. } => panic!("something is missing"),
                _ => {}
            }
        }
    }
    seen
}

// proves: C9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_users_were_acknowledged_reaches_the_application_both_ways_over_kills() {
    let receiver = Receiver::start(|_| if fastrand::u8(..8) == 0 { Reply::Status(503) } else { Reply::Status(200) }).await;
    let mut binary = start(&receiver).await;
    let acknowledged = Arc::new(watch::Sender::new(0));
    let tokens = (0..USERS).map(|user| binary.token(&format!("user-{user}")).mint()).collect();
    let sending = tokio::spawn(send(binary.url("/api/v1/messages"), tokens, Arc::clone(&acknowledged)));
    let following = tokio::spawn(follow(binary.url("")));
    let mut count = acknowledged.subscribe();
    for kill in 1..=3 {
        count.wait_for(|count| *count >= kill * USERS * EACH / 4).await.unwrap();
        binary.restart().await;
    }
    sending.await.unwrap();
    let calls = receiver
        .until("all are taken", |calls| {
            let taken: BTreeSet<_> = calls.iter().filter(|call| call.reply == Reply::Status(200)).map(|call| &call.id).collect();
            taken.len() == USERS * EACH
        })
        .await;
    let in_order: Vec<u64> = (0..EACH as u64).collect();
    let mut firsts: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for call in &calls {
        let seen = firsts.entry(call.user()).or_default();
        let n = call.payload()["n"].as_u64().unwrap();
        if !seen.contains(&n) {
            seen.push(n);
        }
        assert_eq!(call.json["data"]["door"], "rest");
    }
    assert!(firsts.len() == USERS && firsts.values().all(|seen| *seen == in_order), "{firsts:?}");
    let followed = following.await.unwrap();
    assert_eq!(followed.len(), USERS * EACH, "each once");
    for user in 0..USERS {
        let name = format!("user-{user}");
        let numbers: Vec<u64> = followed.iter().filter(|(by, ..)| *by == name).map(|(_, n, _)| *n).collect();
        assert_eq!(numbers, in_order, "{name}");
    }
}

async fn towline(server: &Binary, args: &[&str]) -> Output {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
    let mut command = Command::new(profile.join("towline"));
    command.args(args).env("TOWLINE_URL", server.url("")).env("TOWLINE_KEY", SERVICE_KEY).env_remove("TOWLINE_TOKEN");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

// proves: C9
#[tokio::test]
async fn dead_letters_are_listed_and_redriven_at_a_terminal() {
    let receiver = Receiver::start(|_| Reply::Status(400)).await;
    let server = start(&receiver).await;
    for id in ["m1", "m2"] {
        let message = json!({"type": "user_message", "id": id, "data": {}}).to_string();
        let (status, answer) = server.post_text("/api/v1/messages", server.token("ann"), &message).await;
        assert_eq!(status, 200, "{answer}");
    }
    receiver.until("both are refused", |calls| calls.len() == 10).await;
    towline_harness::eventually("both are dead letters", || async {
        server.metric("towline_webhook_dead_letters_open").await == 2.0
    })
    .await;
    let listed = towline(&server, &["webhook", "list"]).await;
    let text = String::from_utf8(listed.stdout).unwrap();
    let letters: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        letters.len() == 2 && letters.iter().all(|letter| letter["user_id"] == "ann" && letter["last_status"] == 400),
        "{text}"
    );

    receiver.answer(|_| Reply::Status(200));
    let id = letters[1]["id"].as_str().unwrap();
    let one = towline(&server, &["webhook", "redrive", "--id", id, "--id", "unknown"]).await;
    let (told, complaint) = (String::from_utf8(one.stdout).unwrap(), String::from_utf8(one.stderr).unwrap());
    assert!(!one.status.success() && told.starts_with("1 delivered") && complaint.contains("unknown"), "{told}{complaint}");
    let all = towline(&server, &["webhook", "redrive", "--all"]).await;
    assert!(all.status.success(), "{all:?}");
    let calls = receiver.until("both arrive", |calls| calls.len() == 12).await;
    assert_eq!(calls[10].id, id);
    assert_eq!(calls[11].id, letters[0]["id"].as_str().unwrap());
    let neither = towline(&server, &["webhook", "redrive"]).await;
    assert!(!neither.status.success());
}
