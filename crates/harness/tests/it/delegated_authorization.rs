//! The application's say: asked once, kept for a while, and never taken for yes when it says anything else.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Gateway, GatewayBuilder, PATIENCE, SERVICE_KEY, eventually};
use towline_protocol::TopicPattern;

use crate::application::{Application, Reply};

fn patterns(list: &[&str]) -> Vec<TopicPattern> {
    list.iter().map(|pattern| TopicPattern::new(pattern).unwrap()).collect()
}

/// Leaves threads to the application.
fn builder(application: &Application) -> GatewayBuilder {
    let mut asked = towline::Config::default();
    application.asked_by(&mut asked);
    Gateway::builder().config(move |config| {
        config.authorization = asked.authorization;
        config.authorization.subscribe = patterns(&["thread:*"]);
        config.users.connections_max = 1_000;
        config.users.messages_per_minute_max = 100_000;
        config.sockets.idle_timeout = Duration::from_secs(1_000_000);
        config.sockets.heartbeat_interval = Duration::from_secs(500_000);
    })
}

/// What a subscription to one topic was answered with: nothing, or an error's code.
async fn subscribed(socket: &mut towline_harness::Socket, topic: &str) -> Option<String> {
    let ack = socket.request("subscribe", json!({ "topics": [topic] })).await;
    ack["data"]["errors"][0]["code"].as_str().map(str::to_owned)
}

fn only(topic: &'static str) -> impl Fn(&Value) -> Reply {
    move |question| Reply::Json(json!({"allow": question["topic"] == topic}))
}

#[tokio::test]
async fn the_application_decides_about_its_topics_on_every_way_to_read_and_is_asked_once() {
    let application = Application::start().await;
    application.answers(only("thread:1"));
    let gateway = builder(&application).start().await;
    // A token's own grant does not count where the application decides.
    let token = gateway.token("alice").org("acme").topics(["thread:2", "news"]).mint();
    let mut alice = gateway.connect_with(&token).await;
    assert_eq!(subscribed(&mut alice, "thread:1").await, None);
    assert_eq!(subscribed(&mut alice, "thread:2").await, Some("FORBIDDEN".into()));
    let (head, question) = application.last();
    assert_eq!(question, json!({"action": "subscribe", "user_id": "alice", "org_id": "acme", "topic": "thread:2"}));
    assert!(head.starts_with("post /may") && head.contains("webhook-signature: v1,") && head.contains("webhook-timestamp: "));
    // Not its own business: tokens, own topics, services.
    assert_eq!(subscribed(&mut alice, "news").await, None);
    assert_eq!(subscribed(&mut alice, "user:alice").await, None);
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    assert_eq!(subscribed(&mut service, "thread:2").await, None);
    assert_eq!(application.questions().len(), 2);
    gateway.publish("thread:1", "x", json!({})).await;
    alice.expect("x", PATIENCE).await;
    // The same answers on the other ways.
    for (topic, status) in [("thread:1", 200), ("thread:2", 403)] {
        assert_eq!(gateway.get(&format!("/api/ws/replay?topic={topic}"), &token).await.0, status, "{topic}");
        let stream = gateway.stream(&format!("/api/v1/stream?topics={topic}"), &token, None).await;
        assert_eq!(stream.err().map_or(200, |refused| refused.0), status, "{topic}");
    }
    let hub = towline_harness::Handshake::new(gateway.address(), "/api/ws").parameter("initial_topics", "thread:1,thread:2");
    let mut hub = hub.token(&token).open().await;
    let (mut acked, mut refused) = (String::new(), String::new());
    while acked.is_empty() {
        let packet = hub.next(PATIENCE).await.unwrap();
        match packet.kind() {
            "subscribe_ack" => acked = packet.text().to_owned(),
            "subscribe_error" => refused = packet.text().to_owned(),
            _ => {}
        }
    }
    assert!(acked.contains("thread:1") && (acked + &refused).contains("FORBIDDEN"));
    assert_eq!(application.questions().len(), 2, "answers are kept");
    assert!(gateway.metric("towline_authorization_cached_total").await >= 6.0);
}

#[tokio::test]
async fn answers_are_kept_as_long_as_they_say_and_no_longer() {
    let application = Application::start().await;
    application.answers(|_| Reply::Json(json!({"allow": true, "ttl_s": 10})));
    let gateway = builder(&application).manual_clock().start().await;
    let token = gateway.token("alice").mint();
    let read = async || gateway.get("/api/ws/replay?topic=thread:1", &token).await.0;
    assert_eq!((read().await, read().await, application.questions().len()), (200, 200, 1));
    application.answers(|_| Reply::Json(json!({"allow": false})));
    gateway.clock().advance(Duration::from_secs(9));
    assert_eq!((read().await, application.questions().len()), (200, 1));
    gateway.clock().advance(Duration::from_secs(1));
    assert_eq!((read().await, read().await, application.questions().len()), (403, 403, 2));
    // A refusal is asked about again soon.
    application.answers(|_| Reply::Json(json!({"allow": true, "ttl_s": 0})));
    gateway.clock().advance(Duration::from_secs(5));
    assert_eq!((read().await, read().await, application.questions().len()), (200, 200, 4));
}

#[tokio::test]
async fn whatever_is_no_clear_answer_is_no_yes_and_may_be_tried_again() {
    let application = Application::start().await;
    let quick = |config: &mut towline::Config| config.authorization.timeout = Duration::from_millis(300);
    let gateway = builder(&application).manual_clock().config(quick).start().await;
    let other = Application::start().await;
    let mut elsewhere = towline::Config::default();
    other.asked_by(&mut elsewhere);
    let location = elsewhere.authorization.url.unwrap();
    let huge = json!({"allow": true, "pad": "x".repeat(200_000)}).to_string();
    let raw = |status, headers: &str, body: &str| Reply::Raw(status, headers.to_owned(), body.to_owned());
    let mut alice = gateway.connect("alice").await;
    for (n, reply) in [
        raw(200, "", "yes"),
        raw(200, "", "{\"allow\":\"true\"}"),
        raw(200, "", "[true]"),
        raw(200, "", ""),
        raw(200, "", &huge),
        raw(302, &format!("location: {location}\r\n"), ""),
        raw(307, &format!("location: {location}\r\n"), ""),
        raw(500, "", "{\"allow\":true}"),
        raw(204, "", ""),
        raw(403, "", "{\"allow\":true}"),
        Reply::Hang,
    ]
    .into_iter()
    .enumerate()
    {
        application.answers(move |_| reply.clone());
        assert_eq!(subscribed(&mut alice, "thread:1").await, Some("UNAVAILABLE".into()), "reply {n}");
        let (status, answer) = gateway.get("/api/ws/replay?topic=thread:1", gateway.token("alice")).await;
        assert_eq!((status, &answer["error"]["retryable"]), (503, &json!(true)), "reply {n}");
        // Past the pause that failures in a row bring.
        gateway.clock().advance(Duration::from_secs(6));
    }
    assert_eq!(other.questions().len(), 0, "redirects are not followed");
    application.answers(only("thread:1"));
    assert_eq!(subscribed(&mut alice, "thread:1").await, None);
}

#[tokio::test]
async fn an_application_that_is_down_is_left_alone_for_a_while() {
    let application = Application::start().await;
    application.answers(|_| Reply::Raw(500, String::new(), String::new()));
    let gateway = builder(&application).manual_clock().start().await;
    let mut alice = gateway.connect("alice").await;
    for n in 0..20 {
        assert_eq!(subscribed(&mut alice, &format!("thread:{n}")).await, Some("UNAVAILABLE".into()));
    }
    assert_eq!(application.questions().len(), 5);
    assert_eq!(gateway.metric("towline_authorization_paused").await, 1.0);
    application.answers(|_| Reply::Json(json!({"allow": true})));
    gateway.clock().advance(Duration::from_secs(6));
    assert_eq!(subscribed(&mut alice, "thread:1").await, None);
    assert_eq!(subscribed(&mut alice, "thread:2").await, None);
    // Gone altogether: what was answered before still holds, the rest is not yes.
    drop(application);
    assert_eq!(subscribed(&mut alice, "thread:1").await, None);
    assert_eq!(subscribed(&mut alice, "thread:3").await, Some("UNAVAILABLE".into()));
}

#[tokio::test]
async fn one_question_is_asked_once_however_many_wait_and_nobodys_questions_take_all_calls() {
    let application = Application::start().await;
    application.answers(|question| match question["topic"].as_str() {
        Some("thread:shared") => Reply::Held,
        _ => Reply::Hang,
    });
    let bounded = |config: &mut towline::Config| {
        config.authorization.timeout = Duration::from_secs(20);
        config.authorization.calls_max = 6;
        config.authorization.calls_per_user_max = 4;
    };
    let gateway = builder(&application).config(bounded).start().await;
    // One user asks for what never comes, all the time.
    let mut greedy = gateway.connect("greedy").await;
    let topics: Vec<String> = (0..50).map(|n| format!("thread:{n}")).collect();
    greedy.send(json!({"type": "subscribe", "data": {"topics": topics}})).await;
    application.asked_at_least(4).await;
    // Twenty sockets of another ask for the same.
    let mut sockets = Vec::new();
    for _ in 0..20 {
        let mut socket = gateway.connect("alice").await;
        socket.send(json!({"id": "s", "type": "subscribe", "data": {"topics": ["thread:shared"]}})).await;
        sockets.push(socket);
    }
    application.asked_at_least(5).await;
    // The waiting gateway serves everybody else meanwhile: the reactor's threads do not wait.
    let mut bob = gateway.connect("bob").await;
    bob.subscribe(json!(["user:bob"])).await;
    gateway.publish("user:bob", "x", json!({})).await;
    bob.expect("x", PATIENCE).await;
    application.release();
    for socket in &mut sockets {
        let ack = socket.expect("subscribe_ack", PATIENCE).await;
        assert_eq!(ack["data"]["errors"], json!([]));
    }
    let questions = application.questions();
    let shared = questions.iter().filter(|question| question["topic"] == "thread:shared").count();
    let greedy = questions.iter().filter(|question| question["user_id"] == "greedy").count();
    assert_eq!((shared, greedy), (1, 4));
    assert!(application.busiest() <= 6);
}

// proves: C1
#[tokio::test]
async fn the_application_is_asked_who_a_user_is_and_may_refuse_them_or_add_topics() {
    let application = Application::start().await;
    application.answers(|question| match question["user_id"].as_str() {
        Some("mallory") => Reply::Json(json!({"allow": false})),
        Some("carol") => Reply::Raw(500, String::new(), String::new()),
        _ => Reply::Json(json!({"allow": true, "topics": ["room:7"]})),
    });
    let gateway = builder(&application).config(|config| config.authorization.connect = true).start().await;
    let mut alice = gateway.connect("alice").await;
    assert_eq!(application.last().1, json!({"action": "connect", "user_id": "alice"}));
    assert_eq!(subscribed(&mut alice, "room:7").await, None);
    assert_eq!(subscribed(&mut alice, "room:8").await, Some("FORBIDDEN".into()));
    for (user, status, close) in [("mallory", 403, 4403), ("carol", 503, 1013)] {
        let handshake = gateway.native().bearer(gateway.token(user));
        assert_eq!(handshake.clone().try_open().await.err().unwrap().status, status, "{user}");
        assert_eq!(handshake.origin(towline_harness::PAGE).open().await.expect_close(PATIENCE).await.0, close, "{user}");
        assert_eq!(gateway.get("/api/v1/agents/events", gateway.token(user)).await.0, status, "{user}");
        assert_eq!(gateway.post("/api/v1/tickets", gateway.token(user), &json!({})).await.0, status, "{user}");
    }
    // Also with a fresh token: what was added stays, because it is added anew.
    let fresh = alice.request("auth", json!({"token": gateway.token("alice").mint()})).await;
    assert_eq!(fresh.kind(), "auth_ack");
    gateway.publish("room:7", "x", json!({})).await;
    alice.expect("x", PATIENCE).await;
    gateway.connect_with(SERVICE_KEY).await;
    assert!(application.questions().iter().all(|question| question["user_id"] != "service-1"));
}

#[tokio::test]
async fn the_application_decides_who_publishes_and_results_keep_their_order() {
    let application = Application::start().await;
    application.answers(|question| {
        let topic = question["topic"].as_str().unwrap_or_default();
        if topic == "thread:down" {
            return Reply::Raw(500, String::new(), String::new());
        }
        Reply::Json(json!({"allow": topic == "thread:1"}))
    });
    let leave = |config: &mut towline::Config| config.authorization.publish = patterns(&["thread:*"]);
    let gateway = builder(&application).config(leave).start().await;
    let token = gateway.token("alice").publishes(["news"]).mint();
    let topics = ["thread:1", "thread:2", "news", "other", "thread:down", "thread:1"];
    let events: Vec<Value> =
        topics.iter().enumerate().map(|(n, topic)| json!({"topic": topic, "type": "x", "id": format!("e{n}")})).collect();
    let verdicts = |results: &Value| -> Vec<String> {
        let verdict = |result: &Value| result["error"]["code"].as_str().unwrap_or(result["status"].as_str().unwrap()).to_owned();
        results.as_array().unwrap().iter().map(verdict).collect()
    };
    let expected = ["stored", "FORBIDDEN", "stored", "FORBIDDEN", "UNAVAILABLE", "stored"];
    let mut alice = gateway.connect_with(&token).await;
    let ack = alice.request("publish", json!({ "events": events })).await;
    assert_eq!(verdicts(&ack["data"]["results"]), expected);
    let ids: Vec<_> = ack["data"]["results"].as_array().unwrap().iter().map(|result| result["id"].clone()).collect();
    assert_eq!(ids, ["e0", "e1", "e2", "e3", "e4", "e5"]);
    // Known before: duplicates now.
    let again = ["duplicate", "FORBIDDEN", "duplicate", "FORBIDDEN", "UNAVAILABLE", "duplicate"];
    let (_, answer) = gateway.post_events_as(&token, "", "application/json", &json!(events).to_string()).await;
    assert_eq!(verdicts(&answer["results"]), again);
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
    let (_, answer) = gateway.post_events_as(&token, "", "application/x-ndjson", &lines).await;
    assert_eq!(verdicts(&answer["results"]), again);
    // With `atomic` one refusal keeps all back.
    let (status, answer) = gateway.post_events_as(&token, "?atomic=true", "application/json", &json!(events).to_string()).await;
    assert_eq!((status, &answer["stored"]), (403, &json!(0)));
}

#[tokio::test]
async fn a_right_that_was_withdrawn_ends_on_open_connections_at_the_next_look() {
    let application = Application::start().await;
    let gateway = builder(&application).manual_clock().config(|config| config.authorization.connect = true).start().await;
    let token = gateway.token("alice").ttl(Duration::from_secs(100_000)).mint();
    let mut alice = gateway.connect_with(&token).await;
    alice.subscribe(json!(["thread:1", "thread:2", "user:alice"])).await;
    let mut stream = gateway.stream("/api/v1/stream?topics=thread:1", &token, None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    application.answers(|question| Reply::Json(json!({"allow": question["topic"] != "thread:1"})));
    gateway.clock().advance(Duration::from_secs(31 * 60));
    let error = alice.expect("error", PATIENCE).await;
    assert_eq!((&error["data"]["code"], error.text().contains("thread:1")), (&json!("FORBIDDEN"), true));
    stream.expect("error", PATIENCE).await;
    stream.until_end().await;
    for topic in ["thread:1", "thread:2"] {
        gateway.publish(topic, "x", json!({})).await;
    }
    assert_eq!(alice.expect("x", PATIENCE).await.topic(), "thread:2");
    // Silence is waited out, but not for ever.
    application.answers(|_| Reply::Raw(500, String::new(), String::new()));
    let unanswered = async || gateway.metric("towline_rechecks_total{outcome=\"unanswered\"}").await;
    for n in 1..10 {
        gateway.clock().advance(if n == 1 { Duration::from_secs(61 * 60) } else { Duration::from_secs(181) });
        eventually("it was looked at again", async || unanswered().await >= f64::from(n)).await;
    }
    alice.expect_quiet().await;
    gateway.clock().advance(Duration::from_secs(181));
    assert_eq!(alice.expect_close(PATIENCE).await.0, 1013);
    // And a user who is refused altogether goes at once.
    application.answers(|_| Reply::Json(json!({"allow": true, "ttl_s": 0})));
    gateway.clock().advance(Duration::from_secs(6));
    let mut again = gateway.connect_with(&token).await;
    application.answers(|_| Reply::Json(json!({"allow": false})));
    gateway.clock().advance(Duration::from_secs(31 * 60));
    assert_eq!(again.expect_close(PATIENCE).await.0, 4403);
}
