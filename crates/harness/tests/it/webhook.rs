//! Messages are handed to an application that fails, hangs, redirects, is slow, and recovers: all arrive, in order per user, signed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::json;
use towline::config::WebhookSettings;
use towline_auth::Secret;
use towline_harness::{Call, Clock, Gateway, GatewayBuilder, Receiver, Reply, SERVICE_KEY, eventually};
use towline_log::{AppendError, EventLog, NewEvent, Policies, TopicName};
use towline_log_embedded::{EmbeddedLog, Options, OsFiles};

pub const SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiB0aGUgaGFybmVzcyAh";

/// Settings that fail and repeat fast.
pub fn settings(receiver: &Receiver) -> WebhookSettings {
    WebhookSettings {
        url: Some(receiver.url()),
        secrets: vec![Secret::new(SECRET)],
        allow_internal: true,
        timeout: Duration::from_millis(500),
        retry_delay: Duration::from_millis(10),
        retry_delay_max: Duration::from_millis(40),
        ..WebhookSettings::default()
    }
}

pub fn gateway(receiver: &Receiver, change: impl FnOnce(&mut WebhookSettings) + Send + 'static) -> GatewayBuilder {
    let mut webhook = settings(receiver);
    change(&mut webhook);
    Gateway::builder().config(move |config| config.webhook = webhook)
}

/// The events of one message, as the doors append them.
pub fn message(user: &str, n: usize, kind: &str) -> Vec<NewEvent> {
    let data =
        json!({"message_id": format!("m{n}"), "user_id": user, "door": "native", "connection_id": "0-1", "payload": {"n": n}});
    let event = |topic: TopicName, id: String| NewEvent {
        topic,
        id: id.into(),
        kind: kind.into(),
        extras: Box::default(),
        data: data.to_string().into_bytes().into(),
    };
    vec![
        event(TopicName::new(&format!("inbox:{user}")).unwrap(), format!("m{n}")),
        event(TopicName::all_inboxes(), format!("id-{user}-{n}")),
    ]
}

pub async fn send(log: &Arc<dyn EventLog>, user: &str, numbers: std::ops::Range<usize>) {
    for n in numbers {
        log.append(message(user, n, "user_message")).await.unwrap();
    }
}

/// What of a user was taken with a 2xx, in order.
fn taken(calls: &[Call], user: &str) -> Vec<u64> {
    let taken = calls
        .iter()
        .filter(|call| call.user() == user && matches!(call.reply, Reply::Status(200..=299) | Reply::Endless | Reply::After(_)));
    taken.map(|call| call.payload()["n"].as_u64().unwrap()).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<u64> {
    range.collect()
}

/// Checks a call as a receiver by the specification would: without any code of the gateway.
fn is_signed(call: &Call, secret: &str) -> bool {
    let key = base64::engine::general_purpose::STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
    let signed = [call.id.as_bytes(), b".", call.timestamp.as_bytes(), b".", &call.body].concat();
    call.signature.split(' ').filter_map(|part| part.strip_prefix("v1,")).any(|signature| {
        let signature = base64::engine::general_purpose::STANDARD.decode(signature).unwrap();
        aws_lc_rs::hmac::verify(&key, &signed, &signature).is_ok()
    })
}

// proves: C9
#[tokio::test]
async fn messages_arrive_signed_and_in_order_per_user() {
    let receiver = Receiver::start(|_| Reply::Status(204)).await;
    let other = "whsec_YW5vdGhlciBzZWNyZXQsIGZvciByb3RhdGlvbiEh";
    let gateway = gateway(&receiver, |webhook| webhook.secrets.push(Secret::new(other))).start().await;
    let users = ["alice", "bob", "carol"];
    for n in 0..30 {
        send(gateway.log(), users[n % 3], n..n + 1).await;
    }
    let calls = receiver.until("all messages", |calls| calls.len() >= 30).await;
    assert_eq!(calls.len(), 30);
    for (first, user) in (0..3).zip(users) {
        assert_eq!(taken(&calls, user), (0..10).map(|n| first + 3 * n).collect::<Vec<u64>>(), "{user}");
    }
    for call in &calls {
        assert!(is_signed(call, SECRET) && is_signed(call, other), "{call:?}");
        let n = call.payload()["n"].as_u64().unwrap();
        assert_eq!(call.id, format!("id-{}-{n}", call.user()));
        let timestamp = call.timestamp.parse::<u64>().unwrap() * 1000;
        assert!(gateway.clock().unix_ms().abs_diff(timestamp) < 60_000);
        assert_eq!(call.json["type"], "user_message");
        assert_eq!(call.json["data"]["message_id"], format!("m{n}"));
        assert!(call.json["timestamp"].as_str().unwrap().ends_with('Z') && call.json.as_object().unwrap().len() == 3);
    }
    eventually("nothing is left", || async { gateway.metric("towline_webhook_lag_events").await == 0.0 }).await;
    assert_eq!(gateway.metric("towline_webhook_calls_total{outcome=\"delivered\"}").await, 30.0);
}

// proves: C9
#[tokio::test]
async fn whatever_goes_wrong_a_message_is_repeated_unchanged_until_it_is_taken() {
    let mut script = [
        Reply::Status(500),
        Reply::RetryAfter(503, 0),
        Reply::Redirect("/elsewhere"),
        Reply::Hang,
        Reply::Close,
        Reply::Status(429),
        Reply::Status(404),
        Reply::Endless,
    ]
    .into_iter();
    let receiver = Receiver::start(move |_| script.next().unwrap_or(Reply::Status(200))).await;
    let gateway = gateway(&receiver, |_| {}).start().await;
    send(gateway.log(), "alice", 0..3).await;
    let calls = receiver.until("all are taken", |calls| taken(calls, "alice").len() == 3).await;
    assert_eq!(calls.len(), 10);
    assert_eq!(taken(&calls, "alice"), numbers(0..3));
    assert!(calls.iter().all(|call| call.path == "/hook"), "a redirect is a failure and not followed");
    assert!(calls[..8].iter().all(|call| call.id == calls[0].id && call.body == calls[0].body && is_signed(call, SECRET)));
    let counted = gateway.metrics().await;
    for line in [
        "towline_webhook_calls_total{outcome=\"failed\"} 1\n",
        "towline_webhook_calls_total{outcome=\"busy\"} 2\n",
        "towline_webhook_calls_total{outcome=\"refused\"} 2\n",
        "towline_webhook_calls_total{outcome=\"timeout\"} 1\n",
        "towline_webhook_calls_total{outcome=\"unreachable\"} 1\n",
        "towline_webhook_retried_total 7\n",
    ] {
        assert!(counted.contains(line), "{line} is missing in\n{counted}");
    }
}

// proves: C9
#[tokio::test]
async fn users_who_fail_hold_nobody_else_up() {
    let receiver =
        Receiver::start(|call| if call.user().starts_with("failing") { Reply::Hang } else { Reply::Status(200) }).await;
    let gateway = gateway(&receiver, |webhook| {
        webhook.concurrency_max = 4;
        webhook.timeout = Duration::from_secs(5);
    });
    let gateway = gateway.start().await;
    // The first attempts of these take every place, and their repetitions would again.
    for n in 0..4 {
        send(gateway.log(), &format!("failing-{n}"), 0..3).await;
    }
    receiver.until("every place is taken", |calls| calls.len() >= 4).await;
    send(gateway.log(), "alice", 0..40).await;
    let calls = receiver.until("alice's messages", |calls| taken(calls, "alice").len() == 40).await;
    assert_eq!(taken(&calls, "alice"), numbers(0..40));
    assert!(calls.iter().filter(|call| call.user() != "alice").all(|call| call.payload()["n"] == 0), "they wait for their first");
    assert_eq!(gateway.get("/readyz", "").await.0, 200, "who cannot deliver can still take");
    assert!(gateway.metric("towline_webhook_lag_events").await >= 12.0);
}

async fn open(directory: &std::path::Path, clock: &Clock) -> Arc<dyn EventLog> {
    let mut opened = None;
    // Whoever had it before may still be closing it.
    eventually("the log opens", || {
        let (files, clock) = (Arc::new(OsFiles::new(directory)), clock.clone());
        opened = EmbeddedLog::open(Options { policies: Policies::default(), ..Options::default() }, files, clock).ok();
        let done = opened.is_some();
        async move { done }
    })
    .await;
    Arc::new(opened.unwrap().0)
}

// proves: C9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_nothing_and_reorder_nothing() {
    const USERS: usize = 5;
    const EACH: usize = 40;
    let receiver = Receiver::start(|_| match fastrand::u8(..10) {
        0 => Reply::Status(503),
        1 => Reply::Close,
        2 => Reply::After(Duration::from_millis(5)),
        3 => Reply::Status(500),
        _ => Reply::Status(200),
    })
    .await;
    let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    for round in 0..5 {
        let log = open(directory.path(), &clock).await;
        let gateway = gateway(&receiver, |webhook| webhook.attempts_max = 1_000).log(Arc::clone(&log)).start().await;
        let before = receiver.calls().len();
        for n in round * EACH / 5..(round + 1) * EACH / 5 {
            for user in 0..USERS {
                log.append(message(&format!("user-{user}"), n, "user_message")).await.unwrap();
            }
        }
        if round < 4 {
            receiver.until("it delivers", |calls| calls.len() > before + 10).await;
        } else {
            receiver
                .until("all are taken", |calls| {
                    let taken: BTreeSet<_> = calls
                        .iter()
                        .filter(|call| matches!(call.reply, Reply::Status(200) | Reply::After(_)))
                        .map(|call| &call.id)
                        .collect();
                    taken.len() == USERS * EACH
                })
                .await;
        }
        // Dropped where it stands: calls are cut off, nothing is written down.
        drop((gateway, log));
    }
    let mut firsts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut last: HashMap<String, u64> = HashMap::new();
    for call in receiver.calls() {
        let (user, n) = (call.user().to_owned(), call.payload()["n"].as_u64().unwrap());
        let seen = firsts.entry(user.clone()).or_default();
        if !seen.contains(&n) {
            assert!(
                last.get(&user).is_none_or(|last| n >= *last),
                "{user}: {n} arrives for the first time after {:?}",
                last.get(&user)
            );
            seen.push(n);
        }
        last.insert(user, n);
    }
    assert_eq!(firsts.len(), USERS);
    for (user, seen) in firsts {
        assert_eq!(seen, numbers(0..EACH as u64), "{user}");
    }
}

#[tokio::test]
async fn a_drain_lets_calls_end_and_writes_down_what_is_done() {
    let receiver =
        Receiver::start(
            |call| if call.payload()["n"] == 3 { Reply::After(Duration::from_millis(200)) } else { Reply::Status(200) },
        )
        .await;
    let (directory, clock) = (tempfile::tempdir().unwrap(), Clock::system());
    let log = open(directory.path(), &clock).await;
    let mut first = gateway(&receiver, |_| {}).log(Arc::clone(&log)).start().await;
    send(&log, "alice", 0..5).await;
    receiver.until("the slow call is under way", |calls| calls.len() == 4).await;
    first.drain().await;
    assert_eq!(receiver.answered(), 4, "the call under way came to its end");
    assert_eq!(receiver.calls().len(), 4, "and no other began");
    drop((first, log));

    let log = open(directory.path(), &clock).await;
    let second = gateway(&receiver, |_| {}).log(Arc::clone(&log)).start().await;
    send(&log, "alice", 5..6).await;
    let calls = receiver.until("the rest", |calls| calls.len() >= 6).await;
    assert_eq!(taken(&calls, "alice"), numbers(0..6), "nothing comes twice after a drain");
    drop(second);
}

#[tokio::test]
async fn retry_after_is_waited_for() {
    let mut first = true;
    let receiver = Receiver::start(move |call| {
        if call.user() == "alice" && std::mem::take(&mut first) { Reply::RetryAfter(503, 100) } else { Reply::Status(200) }
    })
    .await;
    let gateway = gateway(&receiver, |_| {}).manual_clock().start().await;
    let retried = || async { gateway.metric("towline_webhook_retried_total").await == 1.0 };
    send(gateway.log(), "alice", 0..1).await;
    eventually("the first attempt has failed", retried).await;
    gateway.clock().advance(Duration::from_secs(99));
    // Whoever comes now shows that the gateway has looked at its clock again.
    send(gateway.log(), "bob", 0..1).await;
    let calls = receiver.until("bob's message", |calls| calls.len() >= 2).await;
    assert_eq!(calls[1].user(), "bob");
    gateway.clock().advance(Duration::from_secs(2));
    let calls = receiver.until("alice's message", |calls| calls.len() >= 3).await;
    assert_eq!((calls[2].user(), calls.len()), ("alice", 3));
}

#[tokio::test]
async fn after_410_everything_rests_until_somebody_resumes_it() {
    let receiver = Receiver::start(|_| Reply::Status(410)).await;
    let gateway = gateway(&receiver, |webhook| webhook.concurrency_max = 2).start().await;
    send(gateway.log(), "alice", 0..3).await;
    eventually("it stops", || async { gateway.metric("towline_webhook_stopped").await == 1.0 }).await;
    receiver.answer(|_| Reply::Status(200));
    let url = gateway.url("/api/v1/webhook/resume");
    let calls = receiver.calls();
    assert_eq!(calls.len(), 1);
    let refused = gateway.http().post(&url).bearer_auth(gateway.token("alice").mint()).send().await.unwrap();
    assert_eq!(refused.status(), 403, "a user cannot");
    assert_eq!(gateway.http().post(&url).bearer_auth(SERVICE_KEY).send().await.unwrap().status(), 200);
    let calls = receiver.until("all arrive", |calls| calls.len() >= 4).await;
    assert_eq!(taken(&calls, "alice"), numbers(0..3));
    eventually("it goes on", || async { gateway.metric("towline_webhook_stopped").await == 0.0 }).await;
}

#[tokio::test]
async fn only_wanted_types_are_handed_over() {
    let receiver = Receiver::start(|_| Reply::Status(200)).await;
    let gateway = gateway(&receiver, |webhook| webhook.types = vec!["agent_request".to_owned()]).start().await;
    for (n, kind) in ["user_message", "agent_request", "user_message", "agent_request"].into_iter().enumerate() {
        gateway.log().append(message("alice", n, kind)).await.unwrap();
    }
    let calls = receiver.until("the wanted ones", |calls| calls.len() >= 2).await;
    assert_eq!(taken(&calls, "alice"), [1, 3]);
    eventually("the others are done too", || async { gateway.metric("towline_webhook_lag_events").await == 0.0 }).await;
    assert_eq!(gateway.metric("towline_webhook_unwanted_total").await, 2.0);
}

#[tokio::test]
async fn a_log_that_refuses_delays_what_is_written_down_and_nothing_else() {
    let receiver = Receiver::start(|call| if call.payload()["n"] == 1 { Reply::Status(400) } else { Reply::Status(200) }).await;
    let gateway = gateway(&receiver, |_| {}).start().await;
    send(gateway.log(), "alice", 0..3).await;
    // From here on nothing can be stored: also not that the second message is a dead letter.
    receiver.until("the refusals begin", |calls| calls.len() >= 2).await;
    gateway.faults().refuse_appends(Some(AppendError::Full));
    let calls = receiver
        .until("the attempts are used up", |calls| calls.iter().filter(|call| call.payload()["n"] == 1).count() == 5)
        .await;
    assert!(taken(&calls, "alice").len() == 1, "the third message waits until the dead letter is durable");
    gateway.faults().refuse_appends(None);
    receiver.until("the third message", |calls| taken(calls, "alice") == [0, 2]).await;
    assert_eq!(gateway.metric("towline_webhook_dead_letters_open").await, 1.0);
}
