//! One-time tickets: who gets one, what it opens, and that it opens it once.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Binary, Endpoint, Gateway, PAGE, PATIENCE, SERVICE_KEY};

/// A ticket for a page of the application.
async fn ticket(gateway: &Endpoint, token: impl Into<String>) -> String {
    let (status, answer) = gateway.post("/api/v1/tickets", token, &json!({"origin": PAGE})).await;
    assert_eq!(status, 200, "{answer}");
    answer["ticket"].as_str().unwrap().to_owned()
}

/// How many tickets fared like this.
async fn counted(gateway: &Endpoint, outcome: &str) -> f64 {
    gateway.metric(&format!("towline_tickets_total{{outcome=\"{outcome}\"}}")).await
}

// proves: C1
#[tokio::test]
async fn a_ticket_opens_one_connection_of_its_user_on_any_door() {
    let gateway = Gateway::start().await;
    let token = gateway.token("alice").topics(["thread:7"]).mint();
    let mut native = gateway.native().origin(PAGE).ticket(&ticket(&gateway, &token).await).open().await;
    assert_eq!(native.expect("welcome", PATIENCE).await["data"]["user_id"], "alice");
    // It carries what its token granted.
    let ack = native.subscribe(json!(["thread:7", "user:alice"])).await;
    assert_eq!(ack["data"]["errors"], json!([]));
    let mut feed = gateway.feed("alice").origin(PAGE).ticket(&ticket(&gateway, &token).await).open().await;
    let target = format!("/api/v1/stream?topics=user:alice&ticket={}", ticket(&gateway, &token).await);
    let answer = gateway.http().get(gateway.url(&target)).header("origin", PAGE).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let protocol = format!("ticket.{}", ticket(&gateway, &token).await);
    let mut socket = gateway.native().origin(PAGE).protocol(&protocol).open().await;
    socket.expect("welcome", PATIENCE).await;
    gateway.publish("user:alice", "x", json!({})).await;
    native.expect("x", PATIENCE).await;
    feed.expect("x", PATIENCE).await;
    assert_eq!((counted(&gateway, "issued").await, counted(&gateway, "redeemed").await), (4.0, 4.0));
    // Somebody else's feed stays somebody else's.
    let ticket = ticket(&gateway, &token).await;
    assert_eq!(gateway.feed("bob").origin(PAGE).ticket(&ticket).open().await.expect_close(PATIENCE).await.0, 4403);
}

// proves: C1, A5
#[tokio::test]
async fn a_ticket_that_is_unknown_used_late_or_stolen_is_refused_in_the_same_words() {
    const OTHER_PAGE: &str = "https://www.example.com";
    let two_pages = |config: &mut towline::Config| config.origins.allowed.push(OTHER_PAGE.parse().unwrap());
    let gateway = Gateway::builder().manual_clock().config(two_pages).start().await;
    let token = gateway.token("alice").mint();
    let mut refusals: Vec<(u16, String)> = Vec::new();
    let mut browsers: Vec<(u16, String)> = Vec::new();
    for fault in ["unknown", "used", "expired", "origin"] {
        for browser in [false, true] {
            let mut good = ticket(&gateway, &token).await;
            let page = if fault == "origin" { OTHER_PAGE } else { PAGE };
            match fault {
                "unknown" => good = "A".repeat(43),
                "used" => drop(gateway.native().origin(PAGE).ticket(&good).open().await),
                "expired" => gateway.clock().advance(Duration::from_secs(31)),
                _ => {}
            }
            let handshake = gateway.native().ticket(&good);
            if browser {
                let (packets, close) = handshake.origin(page).open().await.until_close().await;
                assert!(packets.is_empty(), "{fault}");
                browsers.push(close);
            } else {
                // Without an Origin it is the wrong one, too.
                let refused = handshake.try_open().await.err().unwrap();
                refusals.push((refused.status, refused.body));
            }
        }
    }
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0] && refusal.0 == 401), "{refusals:?}");
    assert!(browsers.iter().all(|close| *close == browsers[0] && close.0 == 4401), "{browsers:?}");
    for (outcome, count) in [("unknown", 2.0), ("used", 2.0), ("expired", 2.0), ("origin", 2.0)] {
        assert_eq!(counted(&gateway, outcome).await, count, "{outcome}");
    }
    gateway.expect_idle().await;
}

// proves: C1
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_handshakes_with_one_ticket_one_succeeds() {
    let gateway = Gateway::start().await;
    let ticket = ticket(&gateway, gateway.token("alice")).await;
    let handshakes = (0..100).map(|_| {
        let handshake = gateway.native().ticket(&ticket).origin(PAGE);
        tokio::spawn(async move {
            let mut socket = handshake.open().await;
            match socket.receive(PATIENCE).await {
                Ok(packet) => assert_eq!(packet.unwrap().kind(), "welcome"),
                Err((code, _)) => {
                    assert_eq!(code, 4401);
                    return None;
                }
            }
            Some(socket)
        })
    });
    let mut open = Vec::new();
    for handshake in handshakes.collect::<Vec<_>>() {
        open.extend(handshake.await.unwrap());
    }
    assert_eq!(open.len(), 1);
    assert_eq!((counted(&gateway, "redeemed").await, counted(&gateway, "used").await), (1.0, 99.0));
}

#[tokio::test]
async fn a_ticket_is_for_users_with_a_token_bound_to_where_it_was_asked_for_and_no_way_to_another_ticket() {
    let gateway = Gateway::start().await;
    let ask = |token: String, body: Value| {
        let gateway = &gateway;
        async move {
            let (status, answer) = gateway.post("/api/v1/tickets", token, &body).await;
            (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned())
        }
    };
    let token = gateway.token("alice").mint();
    assert_eq!(ask("nonsense".into(), json!({})).await, (401, "INVALID_TOKEN".into()));
    assert_eq!(ask(SERVICE_KEY.into(), json!({})).await, (403, "FORBIDDEN".into()));
    for origin in ["null", "https://app.example.com/", "app", ""] {
        assert_eq!(ask(token.clone(), json!({ "origin": origin })).await.0, 400, "{origin}");
    }
    let renewed = gateway.http().post(gateway.url(&format!("/api/v1/tickets?ticket={}", ticket(&gateway, &token).await)));
    assert_eq!(renewed.send().await.unwrap().status(), 401);
    // A page's own Origin counts, and it may not name another.
    let page = |body: &'static str| gateway.http().post(gateway.url("/api/v1/tickets")).header("origin", PAGE).body(body);
    let answer: Value = page("").bearer_auth(&token).send().await.unwrap().json().await.unwrap();
    assert_eq!((&answer["origin"], &answer["expires_in_s"]), (&json!(PAGE), &json!(30.0)));
    let other = page(r#"{"origin":"https://www.example.com"}"#).bearer_auth(&token).send().await.unwrap();
    assert_eq!(other.status(), 400);
    // Without any origin: for those who send none.
    let (_, answer) = gateway.post("/api/v1/tickets", &token, &json!({})).await;
    assert_eq!(answer["origin"], Value::Null);
    gateway.native().ticket(answer["ticket"].as_str().unwrap()).open().await.expect("welcome", PATIENCE).await;
    // Beside another credential it would be anybody's guess which one counts.
    let both = gateway.native().bearer(&token).ticket(&ticket(&gateway, &token).await).try_open().await.err().unwrap();
    assert_eq!(both.status, 401);
}

#[tokio::test]
async fn a_user_has_a_share_of_the_table_and_the_oldest_ticket_goes_first() {
    let gateway = Gateway::builder().config(|config| config.tickets.per_user_max = 2).start().await;
    let mut tickets = Vec::new();
    for _ in 0..3 {
        tickets.push(ticket(&gateway, gateway.token("alice")).await);
    }
    assert_eq!(gateway.native().ticket(&tickets[0]).origin(PAGE).open().await.expect_close(PATIENCE).await.0, 4401);
    for ticket in &tickets[1..] {
        gateway.native().ticket(ticket).origin(PAGE).open().await.expect("welcome", PATIENCE).await;
    }
}

#[tokio::test]
async fn in_development_a_ticket_stands_for_whoever_asked_and_a_bad_one_for_nobody() {
    let gateway = Gateway::builder().development().start().await;
    let (status, answer) = gateway.post("/api/v1/tickets?user_id=alice", "", &json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let ticket = answer["ticket"].as_str().unwrap();
    let mut socket = gateway.native().ticket(ticket).open().await;
    assert_eq!(socket.expect("welcome", PATIENCE).await["data"]["user_id"], "alice");
    assert_eq!(gateway.native().ticket(ticket).try_open().await.err().unwrap().status, 401);
}

#[tokio::test]
async fn tickets_never_reach_the_log_lines() {
    let binary = Binary::start(&[("TOWLINE_LOG", "debug")]).await;
    let first = ticket(&binary, binary.token("alice")).await;
    binary.native().ticket(&first).origin(PAGE).open().await.expect("welcome", PATIENCE).await;
    for _ in 0..2 {
        let closed = binary.native().protocol(&format!("ticket.{first}")).origin(PAGE).open().await.until_close().await;
        assert_eq!(closed.1.0, 4401);
    }
    assert!(!binary.output().contains(&first), "a ticket stands in the log");
}
