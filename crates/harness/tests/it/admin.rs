//! What operators see and do: who is connected, how far behind and why others left; ending connections; and the server's own end.

use serde_json::{Value, json};
use towline_auth::Secret;
use towline_harness::{Binary, Gateway, PATIENCE, SERVICE_KEY, eventually};

const FULL: &str = "harness-full-admin-key";
const READ: &str = "harness-read-admin-key";

async fn gateway() -> Gateway {
    let keys = |config: &mut towline::Config| {
        config.admin.keys_full = vec![Secret::new(FULL)];
        config.admin.keys_read = vec![Secret::new(READ)];
        config.sockets.window_events = 50;
    };
    Gateway::builder().config(keys).start().await
}

async fn look(gateway: &Gateway, path: &str) -> Value {
    let (status, answer) = gateway.get(&format!("/api/v1/admin/{path}"), READ).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

fn column<'a>(answer: &'a Value, list: &str, field: &str) -> Vec<&'a str> {
    answer[list].as_array().unwrap().iter().filter_map(|row| row[field].as_str()).collect()
}

#[tokio::test]
async fn operators_see_who_is_connected_by_user_door_topic_and_state_and_page_through_all_of_them() {
    let gateway = gateway().await;
    let mut sockets = Vec::new();
    for number in 0..9 {
        let mut socket = gateway.connect(&format!("user-{number}")).await;
        socket.subscribe(json!([format!("user:user-{number}"), "system"])).await;
        sockets.push(socket);
    }
    let _feed = gateway.feed("user-0").token(gateway.token("user-0")).open().await;
    let mut stream = gateway.stream("/api/v1/stream?topics=user:user-1", gateway.token("user-1"), None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    eventually("all are there", || async { look(&gateway, "connections").await["connections"].as_array().unwrap().len() == 11 })
        .await;

    let (mut met, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = look(&gateway, &format!("connections?limit=2&cursor={cursor}")).await;
        assert!(page["connections"].as_array().unwrap().len() <= 2);
        met.extend(column(&page, "connections", "id").into_iter().map(str::to_owned));
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    met.sort();
    met.dedup();
    assert_eq!(met.len(), 11, "everyone is met once: {met:?}");

    let of_user = look(&gateway, "connections?user=user-0").await;
    let mut doors = column(&of_user, "connections", "door");
    doors.sort_unstable();
    assert_eq!(doors, ["feed", "native"]);
    assert_eq!(column(&look(&gateway, "connections?door=sse").await, "connections", "user"), ["user-1"]);
    assert_eq!(look(&gateway, "connections?topic=system").await["connections"].as_array().unwrap().len(), 9);
    assert_eq!(look(&gateway, "connections?topic=user:user-1&state=live").await["connections"].as_array().unwrap().len(), 2);
    assert!(look(&gateway, "connections?state=blocked").await["connections"].as_array().unwrap().is_empty());

    let row = &look(&gateway, "connections?user=user-3").await["connections"][0];
    assert_eq!((row["address"].as_str(), row["subscriptions"].as_u64()), (Some("127.0.0.1"), Some(2)));
    assert!(row["sent_bytes"].as_u64().unwrap() > 100 && row["received_bytes"].as_u64().unwrap() > 50, "{row}");
    gateway.publish("user:user-3", "x", json!({"secret": "CANARY"})).await;
    sockets[3].expect("x", PATIENCE).await;
    let one = look(&gateway, &format!("connections/{}", row["id"].as_str().unwrap())).await;
    let mut topics = column(&one, "subscriptions", "topic");
    topics.sort_unstable();
    assert_eq!(topics, ["system", "user:user-3"]);
    let own = one["subscriptions"].as_array().unwrap().iter().find(|row| row["topic"] == "user:user-3").unwrap();
    assert_eq!((own["after"].as_u64(), own["head"].as_u64(), own["lag_events"].as_u64()), (Some(1), Some(1), Some(0)));
    assert!(!one.to_string().contains("CANARY"));

    for (path, status) in [
        ("connections?limit=0", 400),
        ("connections?state=lost", 400),
        ("connections?cursor=x", 400),
        ("connections/9-9", 404),
        ("connections/x", 404),
    ] {
        assert_eq!(gateway.get(&format!("/api/v1/admin/{path}"), READ).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn the_slowest_are_those_with_the_most_events_to_come() {
    let gateway = gateway().await;
    let mut slow = gateway.native().bearer(gateway.token("slow")).receive_buffer(4096).open().await;
    slow.expect("welcome", PATIENCE).await;
    slow.subscribe(json!(["user:slow"])).await;
    let mut quick = gateway.connect("quick").await;
    quick.subscribe(json!(["user:quick"])).await;
    gateway.publish_padded("user:slow", 0, 3_000, 4_000).await;
    eventually("it is seen to be behind", || async {
        let slowest = look(&gateway, "connections/slowest").await;
        assert_eq!(slowest["complete"], true);
        column(&slowest, "connections", "user") == ["slow"] && slowest["connections"][0]["lag_events"].as_u64() > Some(100)
    })
    .await;
    let behind = &look(&gateway, "connections/slowest").await["connections"][0];
    assert!(["blocked", "lagging", "catching_up"].contains(&behind["state"].as_str().unwrap()), "{behind}");
    assert_eq!(slow.expect_events(3_000).await.len(), 3_000);
    eventually("nobody is behind", || async { look(&gateway, "connections/slowest").await["connections"] == json!([]) }).await;
}

#[tokio::test]
async fn an_operator_ends_a_users_connections_with_4412_and_the_reason_and_it_is_written_down() {
    let gateway = gateway().await;
    let mut alice = gateway.connect("alice").await;
    let mut feed = gateway.feed("alice").token(gateway.token("alice")).open().await;
    let mut bob = gateway.connect("bob").await;
    eventually("all are there", || async { look(&gateway, "connections").await["connections"].as_array().unwrap().len() == 3 })
        .await;

    let reason = json!({"reason": "please talk to support"});
    for credential in [READ, SERVICE_KEY] {
        assert_eq!(gateway.post("/api/v1/admin/users/alice/disconnect", credential, &reason).await.0, 403);
    }
    let answer = gateway.post("/api/v1/admin/users/alice/disconnect", FULL, &reason).await;
    assert_eq!(answer, (200, json!({"disconnected": 2})));
    for socket in [&mut alice, &mut feed] {
        assert_eq!(socket.expect_close(PATIENCE).await, (4412, "please talk to support".to_owned()));
    }
    bob.expect_quiet().await;
    let id = look(&gateway, "connections?user=bob").await["connections"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/admin/connections/{id}/disconnect");
    assert_eq!(gateway.post(&path, FULL, &json!({})).await, (200, json!({"disconnected": 1})));
    assert_eq!(bob.expect_close(PATIENCE).await.0, 4412);
    eventually("they are gone", || async { look(&gateway, "connections").await["connections"] == json!([]) }).await;
    assert_eq!(gateway.post(&path, FULL, &json!({})).await.0, 404);

    let closed = look(&gateway, "connections/closed?user=alice").await;
    let rows = closed["connections"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{closed}");
    for row in rows {
        assert_eq!((row["code"].as_u64(), row["by"].as_str()), (Some(4412), Some("server")), "{row}");
        assert_eq!(row["reason"], "please talk to support");
    }
    assert_eq!(look(&gateway, "connections/closed?code=1000").await["connections"], json!([]));
    let audit = look(&gateway, "audit").await;
    let kinds = column(&audit, "events", "type");
    assert_eq!(kinds, ["admin.connection.disconnect", "admin.connection.disconnect", "admin.user.disconnect"]);
    assert_eq!(
        (&audit["events"][0]["data"]["outcome"], &audit["events"][2]["data"]["detail"]["disconnected"]),
        (&json!("refused"), &json!(2))
    );
    assert_eq!(audit["events"][2]["data"]["target"]["user"], "alice");
    assert_eq!(audit["events"][2]["data"]["address"], "127.0.0.1");
    assert_eq!(gateway.post("/api/v1/admin/users/alice/disconnect", FULL, &json!({"reason": "x".repeat(200)})).await.0, 400);
}

#[tokio::test]
async fn an_operator_drains_the_server_which_ends_in_order_and_keeps_the_audit() {
    let mut binary = Binary::start(&[("TOWLINE_ADMIN_KEYS_FULL", FULL), ("TOWLINE_DRAIN_WINDOW", "200ms")]).await;
    let mut socket = binary.connect("alice").await;
    assert_eq!(binary.post("/api/v1/admin/drain", FULL, &json!({})).await, (200, json!({"draining": true})));
    socket.expect("reconnect", PATIENCE).await;
    assert_eq!(socket.expect_close(PATIENCE).await.0, 1012);
    drop(socket);
    let status = binary.ended().await;
    assert!(status.success(), "{status}: {}", binary.output());
    binary.restart().await;
    let (_, audit) = binary.get("/api/v1/admin/audit", FULL).await;
    assert_eq!(column(&audit, "events", "type"), ["admin.drain"]);
    assert!(!binary.output().contains(FULL), "a key is in the log");
}

#[tokio::test]
async fn operators_see_what_is_watched_by_how_many_how_fast_and_what_the_log_holds() {
    let gateway = gateway().await;
    let mut sockets = Vec::new();
    for number in 0..5 {
        let mut socket = gateway.connect_with(SERVICE_KEY).await;
        socket.subscribe(json!([format!("run:{number}"), "system"])).await;
        sockets.push(socket);
    }
    gateway.publish_numbered("run:3", 0, 7).await;
    gateway.publish_numbered("quiet", 0, 2).await;
    let (mut met, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = look(&gateway, &format!("topics?limit=2&cursor={cursor}")).await;
        assert_eq!(page["complete"], true);
        met.extend(page["topics"].as_array().unwrap().clone());
        match page["cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    let names: Vec<&str> = met.iter().map(|topic| topic["topic"].as_str().unwrap()).collect();
    assert_eq!(names, ["run:0", "run:1", "run:2", "run:3", "run:4", "system"], "in order, and only what is watched");
    assert_eq!((met[5]["subscribers"].as_u64(), met[5]["events_last_minute"].as_u64()), (Some(5), Some(0)));
    assert_eq!((met[3]["subscribers"].as_u64(), met[3]["events_last_minute"].as_u64()), (Some(1), Some(7)));
    assert_eq!(met[3]["head"]["offset"], 7);
    assert_eq!(column(&look(&gateway, "topics?prefix=run:&limit=3").await, "topics", "topic"), ["run:0", "run:1", "run:2"]);

    let quiet = look(&gateway, "topics/quiet").await;
    assert_eq!(
        (quiet["watched"].as_bool(), quiet["events"].as_u64(), quiet["head"]["offset"].as_u64()),
        (Some(false), Some(2), Some(2))
    );
    assert!(quiet["bytes"].as_u64() > Some(0) && quiet["oldest_ts"].as_f64() <= quiet["newest_ts"].as_f64(), "{quiet}");
    let run = look(&gateway, "topics/run:3").await;
    assert_eq!((run["watched"].as_bool(), run["subscribers"].as_u64()), (Some(true), Some(1)));
    assert_eq!(look(&gateway, "topics/never").await["events"], 0);
    assert_eq!(gateway.get("/api/v1/admin/topics/no%20such", READ).await.0, 400);
}

/// Reads lines of a tail until there are so many, those without content left out.
async fn lines(response: &mut reqwest::Response, rest: &mut String, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    while found.len() < count {
        if let Some((line, after)) = rest.split_once('\n') {
            if !line.is_empty() {
                found.push(serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")));
            }
            *rest = after.to_owned();
            continue;
        }
        let piece = tokio::time::timeout(PATIENCE, response.chunk()).await.expect("a line in time").unwrap();
        rest.push_str(std::str::from_utf8(&piece.expect("the tail goes on")).unwrap());
    }
    found
}

#[tokio::test]
async fn a_tail_shows_topics_live_filtered_by_type_from_where_it_is_asked_and_lets_go_when_its_reader_does() {
    let gateway = gateway().await;
    let ask = |query: &str| gateway.http().get(gateway.url(&format!("/api/v1/admin/tail?{query}"))).bearer_auth(READ).send();
    for (query, status) in [("", 400), ("topic=no%20such", 400), ("topic=a&from=never", 400)] {
        assert_eq!(ask(query).await.unwrap().status(), status, "{query}");
    }
    gateway.publish("user:alice", "agent.started", json!({"n": 1})).await;
    let mut live = ask("user=alice&topic=system").await.unwrap();
    let mut filtered = ask("topic=user:alice&type=agent.*&from=earliest").await.unwrap();
    for (topic, kind) in [("user:alice", "note"), ("system", "agent.paused"), ("user:alice", "agent.completed")] {
        gateway.publish(topic, kind, json!({})).await;
    }
    let (mut rest, mut other) = (String::new(), String::new());
    let mut kinds: Vec<String> = Vec::new();
    for line in lines(&mut live, &mut rest, 3).await {
        kinds.push(line["type"].as_str().unwrap().to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["agent.completed", "agent.paused", "note"], "live, from all its topics, each once");
    let found = lines(&mut filtered, &mut other, 2).await;
    assert_eq!((found[0]["type"].as_str(), found[1]["type"].as_str()), (Some("agent.started"), Some("agent.completed")));
    assert_eq!(found[1]["offset"], 3);

    let stream = ask("user=alice&from=earliest").await.unwrap();
    assert_eq!(stream.headers()["content-type"], "application/x-ndjson");
    drop((live, filtered, stream));
    eventually("nothing is watched any more", || async { gateway.server().watched_topics() == 0 }).await;
    // As many as may be, again and again: none is left behind.
    for _ in 0..40 {
        assert_eq!(ask("topic=a").await.unwrap().status(), 200);
        eventually("it is let go of", || async { gateway.server().watched_topics() == 0 }).await;
    }
    let mut open = Vec::new();
    while open.len() < 16 {
        open.push(ask("topic=a").await.unwrap());
    }
    assert_eq!(ask("topic=a").await.unwrap().status(), 429);
}

/// Runs `towline admin …` to its end: whether it went well, and what it printed.
async fn command(binary: &Binary, key: &str, args: &[&str]) -> (bool, String) {
    let own = std::env::current_exe().unwrap();
    let profile = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
    let mut command = std::process::Command::new(profile.join("towline"));
    command.arg("admin").args(args).env("TOWLINE_URL", binary.url("")).env("TOWLINE_ADMIN_KEY", key);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + std::str::from_utf8(&output.stderr).unwrap();
    (output.status.success(), text)
}

#[tokio::test]
async fn the_command_line_shows_and_does_the_same() {
    let mut binary = Binary::start(&[("TOWLINE_ADMIN_KEYS_FULL", FULL), ("TOWLINE_DRAIN_WINDOW", "200ms")]).await;
    let mut alice = binary.connect("alice").await;
    alice.subscribe(json!(["user:alice"])).await;
    let (done, text) = command(&binary, FULL, &["connections"]).await;
    assert!(done && text.lines().count() == 2 && text.contains("alice") && text.contains("native"), "{text}");
    let id = text.lines().nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let (done, text) = command(&binary, FULL, &["connections", &id]).await;
    assert!(done && text.contains("user:alice"), "{text}");
    let (done, text) = command(&binary, FULL, &["topics"]).await;
    assert!(done && text.contains("user:alice"), "{text}");
    let (done, text) = command(&binary, FULL, &["topics", "user:alice"]).await;
    assert!(done && text.contains("\"watched\": true"), "{text}");
    let (done, text) = command(&binary, "not-an-admin-key", &["connections"]).await;
    assert!(!done && text.contains("admin key"), "{text}");
    let (done, text) = command(&binary, FULL, &["disconnect", "--user", "alice", "--reason", "try again"]).await;
    assert!(done && text == "1 disconnected\n", "{text}");
    assert_eq!(alice.expect_close(PATIENCE).await, (4412, "try again".to_owned()));
    let (done, text) = command(&binary, FULL, &["connections", "--closed", "--json"]).await;
    assert!(done && text.contains("try again"), "{text}");
    let (done, text) = command(&binary, FULL, &["audit"]).await;
    assert!(done && text.contains("user.disconnect"), "{text}");
    assert!(command(&binary, FULL, &["drain"]).await.0);
    assert!(binary.ended().await.success());
}
