//! Who may: where a token may stand, how each door refuses, and which topics a token opens.

use std::time::Duration;

use serde_json::json;
use towline_auth::{MintClaims, Secret, mint};
use towline_harness::{Answer, Binary, Gateway, PAGE, PATIENCE, SERVICE_KEY, TestIssuer};

/// Tokens that must not open anything, with the code that says so.
fn bad_tokens(gateway: &Gateway) -> Vec<(&'static str, String, &'static str)> {
    let good = gateway.token("alice").mint();
    let unsigned = {
        let payload = good.split('.').nth(1).unwrap();
        format!("eyJhbGciOiJub25lIn0.{payload}.")
    };
    let mut tampered = good.clone();
    tampered.pop();
    vec![
        ("nonsense", "nonsense".to_owned(), "INVALID_TOKEN"),
        ("unsigned", unsigned, "INVALID_TOKEN"),
        ("tampered", tampered, "INVALID_TOKEN"),
        ("expired", gateway.token("alice").expired_for(Duration::from_secs(3600)).mint(), "TOKEN_EXPIRED"),
    ]
}

// proves: A5
#[tokio::test]
async fn without_a_token_the_handshake_is_401_everywhere() {
    let gateway = Gateway::start().await;
    for handshake in [gateway.native(), gateway.feed("alice")] {
        for handshake in [handshake.clone(), handshake.origin(PAGE)] {
            let refused = handshake.try_open().await.err().unwrap();
            assert_eq!(refused.status, 401);
            assert!(refused.body.contains("UNAUTHORIZED"), "{}", refused.body);
            assert!(refused.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
        }
    }
    let (status, _) = gateway.stream("/api/v1/stream?topics=user:alice", "", None).await.err().unwrap();
    assert_eq!(status, 401);
    for path in ["/api/v1/agents/events", "/api/v1/agents/activity", "/api/ws/replay?topic=user:alice"] {
        let (status, answer) = gateway.get(path, "").await;
        assert_eq!((status, &answer["error"]["code"]), (401, &json!("UNAUTHORIZED")), "{path}");
    }
    gateway.expect_idle().await;
}

// proves: A5, B3
#[tokio::test]
async fn a_bad_token_is_401_and_for_a_page_4401_with_a_reason_before_anything_else() {
    let gateway = Gateway::start().await;
    for (name, token, code) in bad_tokens(&gateway) {
        for handshake in [gateway.native(), gateway.feed("alice")] {
            let refused = handshake.clone().token(&token).try_open().await.err().unwrap();
            assert_eq!((refused.status, refused.body.contains(code)), (401, true), "{name}: {}", refused.body);
            let (packets, (close, reason)) = handshake.token(&token).origin(PAGE).open().await.until_close().await;
            assert_eq!((packets.len(), close), (0, 4401), "{name}");
            assert!(!reason.is_empty() && !reason.contains(&token), "{name}: {reason}");
        }
        let (status, _) = gateway.stream("/api/v1/stream?topics=user:alice", token.clone(), None).await.err().unwrap();
        assert_eq!(status, 401, "{name}");
        let (status, answer) = gateway.get("/api/v1/agents/events", token).await;
        assert_eq!((status, &answer["error"]["code"]), (401, &json!(code)), "{name}");
    }
    gateway.expect_idle().await;
}

#[tokio::test]
async fn a_token_may_stand_in_the_query_the_header_or_the_subprotocol() {
    let gateway = Gateway::start().await;
    let token = gateway.token("alice").mint();
    let native = || gateway.native();
    for handshake in [native().token(&token), native().bearer(&token), native().token_protocol(&token)] {
        let mut socket = handshake.open().await;
        assert_eq!(socket.headers()["sec-websocket-protocol"], "towline.v1", "a token is never echoed");
        assert_eq!(socket.expect("welcome", PATIENCE).await["data"]["user_id"], "alice");
    }
    // The same one twice is one; different ones are refused, because which of them counts would be anybody's guess.
    native().token(&token).bearer(&token).open().await;
    let refused = native().token(&token).bearer(gateway.token("bob")).try_open().await.err().unwrap();
    assert_eq!(refused.status, 401);
}

// proves: A1
#[tokio::test]
async fn a_token_opens_its_own_topics_and_those_it_grants() {
    let gateway = Gateway::start().await;
    let token = gateway.token("alice").org("acme").topics(["thread:*", "run:7"]).mint();
    let mut alice = gateway.connect_with(token.clone()).await;
    for (topic, open) in [
        ("user:alice", true),
        ("user:bob", false),
        ("user:alice:x", false),
        ("org:acme", true),
        ("org:other", false),
        ("thread:1", true),
        ("thread:", false),
        ("run:7", true),
        ("run:8", false),
        ("system", true),
        ("ops:events", false),
    ] {
        let ack = alice.request("subscribe", json!({"topics": [topic]})).await;
        let accepted = ack["data"]["subscriptions"].as_array().unwrap().len();
        assert_eq!(accepted == 1, open, "{topic}: {}", ack.text());
        if !open {
            assert_eq!(ack["data"]["errors"][0]["code"], "FORBIDDEN", "{topic}");
        }
        let path = format!("/api/v1/stream?topics={topic}");
        let streamed = gateway.stream(&path, token.clone(), None).await.map(drop).map_err(|(status, _)| status);
        assert_eq!(streamed, if open { Ok(()) } else { Err(403) }, "{topic}");
        let (status, _) = gateway.get(&format!("/api/ws/replay?topic={topic}"), token.clone()).await;
        assert_eq!(status, if open { 200 } else { 403 }, "{topic}");
    }
    let (status, _) = gateway.get("/api/v1/agents/events?user_id=bob", token.clone()).await;
    assert_eq!(status, 403);
    let refused = alice.request("subscribe", json!({"topics": ["not a topic", "user:bob"]})).await;
    let codes: Vec<_> = refused["data"]["errors"].as_array().unwrap().iter().map(|error| error["code"].clone()).collect();
    assert_eq!(codes, ["INVALID_TOPIC", "FORBIDDEN"]);
}

#[tokio::test]
async fn only_who_is_granted_publishes() {
    let gateway = Gateway::start().await;
    let plain = gateway.token("alice").mint();
    let granted = gateway.token("worker").publishes(["thread:*"]).mint();
    for (token, topic, allowed) in [
        (plain.clone(), "user:alice", false),
        (plain, "system", false),
        (granted.clone(), "thread:1", true),
        (granted.clone(), "user:worker", false),
        (SERVICE_KEY.to_owned(), "user:anybody", true),
    ] {
        let body = json!({"topic": topic, "type": "x"});
        let (status, answer) = gateway.post_events_as(token.clone(), "", "application/json", &body.to_string()).await;
        assert_eq!(status, if allowed { 200 } else { 403 }, "{topic}: {answer}");
        let mut socket = gateway.connect_with(token).await;
        let ack = socket.request("publish", body).await;
        let result = &ack["data"]["results"][0];
        assert_eq!(result["status"], if allowed { "stored" } else { "refused" }, "{topic}");
        if !allowed {
            assert_eq!(result["error"]["code"], "FORBIDDEN");
        }
    }
    let body = json!([{"topic": "thread:1", "type": "x"}, {"topic": "user:alice", "type": "x"}]).to_string();
    let (status, answer) = gateway.post_events_as(granted, "", "application/json", &body).await;
    assert_eq!((status, &answer["stored"], &answer["refused"]), (200, &json!(1), &json!(1)));
}

// proves: A10
#[tokio::test]
async fn tokens_are_checked_by_the_issuers_published_keys() {
    let issuer = TestIssuer::start().await.unwrap();
    let gateway = Gateway::builder().issuer(&issuer).start().await;
    let now_ms = gateway.clock().unix_ms();
    let mut alice = gateway.connect_with(issuer.token("alice", now_ms)).await;
    alice.subscribe(json!(["user:alice"])).await;
    gateway.publish("user:alice", "x", json!({})).await;
    alice.expect("x", PATIENCE).await;
    let mut feed = gateway.feed("alice").token(issuer.token("alice", now_ms)).open().await;
    feed.expect_quiet().await;
    for claims in [
        json!({"iss": "https://elsewhere.example"}),
        json!({"exp": null}),
        json!({"sub": null}),
        json!({"nbf": now_ms / 1000 + 3600}),
    ] {
        let token = issuer.token_with("alice", now_ms, claims.clone());
        let refused = gateway.native().bearer(token).try_open().await.err().unwrap();
        assert_eq!(refused.status, 401, "{claims}");
    }
    // In-band refresh through the same keys, which are not asked for again.
    let asked = issuer.asked();
    let ack = alice.request("auth", json!({"token": issuer.token("alice", now_ms)})).await;
    assert_eq!((ack.kind(), issuer.asked()), ("auth_ack", asked));
}

// proves: A10
#[tokio::test]
async fn an_issuer_that_is_down_is_try_later_and_not_a_refusal() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.answer(Answer::Status(500));
    let gateway = Gateway::builder().issuer(&issuer).start().await;
    let token = issuer.token("alice", gateway.clock().unix_ms());
    let refused = gateway.native().bearer(&token).try_open().await.err().unwrap();
    assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (503, true), "{}", refused.body);
    let close = gateway.native().bearer(&token).origin(PAGE).open().await.expect_close(PATIENCE).await;
    assert_eq!(close.0, 1013);
    let (status, answer) = gateway.get("/api/v1/agents/events", &token).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("UNAVAILABLE")));
    // Tokens of the shared secret are not concerned.
    gateway.connect("bob").await.expect_quiet().await;
}

// proves: A10, C11
#[tokio::test]
async fn four_variables_start_a_server_that_asks_for_tokens() {
    let issuer = TestIssuer::start().await.unwrap();
    let keys = issuer.jwks_url();
    let binary = Binary::start(&[("TOWLINE_SERVICE_KEYS", "test"), ("TOWLINE_JWT_SECRET", "x"), ("CLERK_JWKS_URL", &keys)]).await;
    assert_eq!(binary.get("/api/v1/agents/events?user_id=alice", "").await.0, 401);
    assert_eq!(binary.native().try_open().await.err().unwrap().status, 401);
    let (status, _) = binary.post_events_as("test", "", "application/json", r#"{"topic":"user:alice","type":"x"}"#).await;
    assert_eq!(status, 200);
    let claims = MintClaims { subject: "alice".into(), ttl: Duration::from_secs(60), ..MintClaims::default() };
    let by_secret = mint(&Secret::new("x"), &claims, binary.clock().unix_ms()).unwrap();
    for token in [by_secret, issuer.token("alice", binary.clock().unix_ms())] {
        assert_eq!(binary.get("/api/v1/agents/events", &token).await.1["count"], 1);
        let mut socket = binary.connect_with(token).await;
        socket.subscribe(json!([{"topic": "user:alice", "from": "earliest"}])).await;
        socket.expect("x", PATIENCE).await;
    }
    let output = binary.output();
    assert!(
        output.contains("auth.service_keys has a key of 4 bytes") && output.contains("auth.jwt_secret has 1 bytes"),
        "{output}"
    );
}
