//! Revoked tokens and users: out within seconds everywhere, and still out after a restart.

use std::time::Duration;

use serde_json::{Value, json};
use towline_auth::Secret;
use towline_harness::{Binary, Endpoint, Gateway, GatewayBuilder, PATIENCE, SERVICE_KEY, TestIssuer};
use towline_log::AppendError;

const ADMIN: &str = "harness-admin-key-0123456789";
const PATH: &str = "/api/v1/admin/revocations";

fn builder() -> GatewayBuilder {
    let patient = Duration::from_secs(1_000_000);
    Gateway::builder().config(move |config| {
        config.admin.keys_full = vec![Secret::new(ADMIN)];
        config.sockets.idle_timeout = patient;
        config.sockets.heartbeat_interval = patient / 2;
    })
}

async fn revoke(gateway: &Endpoint, body: Value) -> Value {
    let (status, answer) = gateway.post(PATH, ADMIN, &body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

async fn withdraw(gateway: &Endpoint, query: &str) -> u16 {
    let request = gateway.http().delete(gateway.url(&format!("{PATH}?{query}"))).bearer_auth(ADMIN);
    request.send().await.unwrap().status().as_u16()
}

/// Whether a token is still taken, by REST and by a handshake.
async fn taken(gateway: &Endpoint, token: &str) -> bool {
    let (status, answer) = gateway.get("/api/v1/agents/events", token).await;
    let handshake = gateway.native().bearer(token).try_open().await;
    assert_eq!(status == 200, handshake.is_ok(), "{answer}");
    if let Err(refused) = handshake {
        assert!(refused.status == 401 && refused.body.contains("revoked"), "{}", refused.body);
    }
    status == 200
}

#[tokio::test]
async fn open_connections_of_a_revoked_user_are_closed_on_all_threads_and_doors() {
    let gateway = builder().config(|config| config.sockets.workers = 3).start().await;
    let token = gateway.token("alice").mint();
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(gateway.connect_with(&token).await);
        sockets.push(gateway.feed("alice").token(&token).open().await);
    }
    let mut stream = gateway.stream("/api/v1/stream?topics=user:alice", &token, None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    let mut bob = gateway.connect("bob").await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    revoke(&gateway, json!({"user_id": "alice", "reason": "lost laptop"})).await;
    for mut socket in sockets {
        let (code, reason) = socket.expect_close(Duration::from_secs(5).max(PATIENCE)).await;
        assert_eq!((code, reason.contains("revoked")), (4401, true), "{reason}");
        assert!(!reason.contains("laptop"), "the reason is the operators'");
    }
    stream.until_end().await;
    assert!(!taken(&gateway, &token).await);
    bob.expect_quiet().await;
    service.expect_quiet().await;
    assert_eq!(gateway.metric("towline_revoked_total{outcome=\"connection\"}").await, 9.0);
    assert_eq!(gateway.metric("towline_revocations").await, 1.0);
}

#[tokio::test]
async fn a_token_is_revoked_by_its_id_and_the_users_other_ones_go_on() {
    let gateway = builder().start().await;
    let (one, two) = (gateway.token("alice").id("t-1").mint(), gateway.token("alice").id("t-2").mint());
    let mut first = gateway.connect_with(&one).await;
    let mut second = gateway.connect_with(&two).await;
    revoke(&gateway, json!({"token_id": "t-1"})).await;
    assert_eq!(first.expect_close(PATIENCE).await.0, 4401);
    assert!(!taken(&gateway, &one).await && taken(&gateway, &two).await);
    // Nor does it refresh an open socket.
    let error = second.request("auth", json!({"token": one})).await;
    assert_eq!((error.kind(), &error["data"]["code"]), ("error", &json!("INVALID_TOKEN")));
    second.expect_quiet().await;
    assert_eq!(withdraw(&gateway, "token_id=t-1").await, 200);
    assert!(taken(&gateway, &one).await);
    assert_eq!(withdraw(&gateway, "token_id=t-1").await, 404);
}

#[tokio::test]
async fn who_signs_in_again_is_let_in_and_a_fresh_token_saves_no_old_one() {
    let gateway = builder().manual_clock().start().await;
    let old = gateway.token("alice").ttl(Duration::from_secs(3600)).mint();
    let mut socket = gateway.connect_with(&old).await;
    gateway.clock().advance(Duration::from_secs(60));
    let between = gateway.token("alice").mint();
    let mut later = gateway.connect_with(&between).await;
    gateway.clock().advance(Duration::from_secs(60));
    // What was issued in the last minute and a half may stay.
    let before = (gateway.clock().unix_ms() - 90_000) as f64 / 1000.0;
    revoke(&gateway, json!({"user_id": "alice", "before": before})).await;
    assert_eq!(socket.expect_close(PATIENCE).await.0, 4401);
    assert!(!taken(&gateway, &old).await && taken(&gateway, &between).await);
    later.expect_quiet().await;
    revoke(&gateway, json!({"user_id": "alice"})).await;
    assert_eq!(later.expect_close(PATIENCE).await.0, 4401);
    assert!(!taken(&gateway, &between).await);
    assert!(taken(&gateway, &gateway.token("alice").mint()).await);
}

#[tokio::test]
async fn tickets_of_a_revoked_user_are_worth_nothing() {
    let gateway = builder().start().await;
    let (_, answer) = gateway.post("/api/v1/tickets", gateway.token("alice"), &json!({})).await;
    revoke(&gateway, json!({"user_id": "alice"})).await;
    let refused = gateway.native().ticket(answer["ticket"].as_str().unwrap()).try_open().await.err().unwrap();
    assert_eq!(refused.status, 401);
    assert_eq!(gateway.metric("towline_tickets_total{outcome=\"revoked\"}").await, 1.0);
}

#[tokio::test]
async fn only_operators_revoke_and_what_they_say_must_make_sense() {
    let gateway = builder().start().await;
    for credential in [SERVICE_KEY.to_owned(), gateway.token("alice").mint(), "nonsense".to_owned()] {
        assert_eq!(gateway.post(PATH, &credential, &json!({"user_id": "bob"})).await.0, 403);
        assert_eq!(gateway.get(PATH, &credential).await.0, 403);
    }
    let future = gateway.clock().unix_ms() / 1000 + 3600;
    for bad in [
        json!({}),
        json!({"user_id": "a", "token_id": "b"}),
        json!({"user_id": ""}),
        json!({"user_id": "a".repeat(129)}),
        json!({"user_id": "a", "before": future}),
        json!({"user_id": "a", "before": "yesterday"}),
        json!({"token_id": "a", "before": 5}),
        json!({"user_id": "a", "reason": "r".repeat(501)}),
        json!({"user_id": "a", "until": 5}),
        json!([]),
    ] {
        assert_eq!(gateway.post(PATH, ADMIN, &bad).await.0, 400, "{bad}");
    }
    // Nobody writes them past the interface either.
    let forged = json!({"topic": "towline:revocations", "type": "revocation.made", "data": {"user_id": "bob", "before_ms": 9e15, "at_ms": 1}});
    assert_eq!(gateway.post_events("", &forged.to_string()).await.0, 403);
    for n in 0..3 {
        revoke(&gateway, json!({"user_id": format!("u{n}"), "reason": "test"})).await;
    }
    let (_, list) = gateway.get(&format!("{PATH}?limit=2"), ADMIN).await;
    assert_eq!((&list["total"], &list["has_more"], list["revocations"].as_array().unwrap().len()), (&json!(3), &json!(true), 2));
    assert_eq!(list["revocations"][0]["user_id"], "u2");
    let (_, one) = gateway.get(&format!("{PATH}?user_id=u1"), ADMIN).await;
    assert_eq!((&one["total"], &one["revocations"][0]["reason"]), (&json!(1), &json!("test")));
    let (_, audit) = gateway.get("/api/v1/admin/audit?limit=1", ADMIN).await;
    assert_eq!(audit["events"][0]["data"]["target"], json!({"user_id": "u2"}));
}

#[tokio::test]
async fn the_table_is_bounded_and_forgets_when_no_token_can_live_any_more() {
    let bounded = |config: &mut towline::Config| {
        config.auth.revocations_max = 2;
        config.auth.token_lifetime_max = Some(Duration::from_secs(3600));
    };
    let gateway = builder().manual_clock().config(bounded).start().await;
    let token = gateway.token("u0").ttl(Duration::from_secs(3600)).mint();
    assert_eq!(gateway.get("/api/v1/agents/events", gateway.token("u0").ttl(Duration::from_secs(3700))).await.0, 401);
    let made = revoke(&gateway, json!({"user_id": "u0"})).await;
    assert_eq!(made["ends_at"].as_f64().unwrap() - made["at"].as_f64().unwrap(), 3600.0);
    revoke(&gateway, json!({"user_id": "u1"})).await;
    assert_eq!(gateway.post(PATH, ADMIN, &json!({"user_id": "u2"})).await.0, 503);
    gateway.clock().advance(Duration::from_secs(3600));
    assert_eq!(gateway.get("/api/v1/agents/events", token).await.1["error"]["code"], "TOKEN_EXPIRED");
    revoke(&gateway, json!({"user_id": "u2"})).await;
    assert_eq!(gateway.get(PATH, ADMIN).await.1["total"], 1);
}

#[tokio::test]
async fn a_revocation_that_the_log_does_not_take_is_not_in_force() {
    let gateway = builder().start().await;
    let token = gateway.token("alice").mint();
    gateway.faults().refuse_appends(Some(AppendError::Full));
    assert_eq!(gateway.post(PATH, ADMIN, &json!({"user_id": "alice"})).await.0, 503);
    gateway.faults().refuse_appends(None);
    assert!(taken(&gateway, &token).await);
}

#[tokio::test]
async fn revocations_outlive_a_kill() {
    let mut binary = Binary::start(&[("TOWLINE_ADMIN_KEYS_FULL", ADMIN), ("TOWLINE_LOG_RETENTION_EVENTS", "1")]).await;
    let alice = binary.token("alice").mint();
    let (bob, carol) = (binary.token("bob").id("bob-1").mint(), binary.token("carol").mint());
    revoke(&binary, json!({"user_id": "alice"})).await;
    revoke(&binary, json!({"token_id": "bob-1"})).await;
    revoke(&binary, json!({"user_id": "carol"})).await;
    assert_eq!(withdraw(&binary, "user_id=carol").await, 200);
    binary.kill();
    binary.restart().await;
    assert!(!taken(&binary, &alice).await && !taken(&binary, &bob).await && taken(&binary, &carol).await);
    assert_eq!(binary.get(PATH, ADMIN).await.1["total"], 2);
}

/// The re-check: an issuer that withdraws a key takes back what it signed, also on sockets that are open.
#[tokio::test]
async fn a_socket_ends_when_its_tokens_key_is_withdrawn() {
    let issuer = TestIssuer::start().await.unwrap();
    let gateway = builder().manual_clock().issuer(&issuer).start().await;
    let now_ms = gateway.clock().unix_ms();
    let long = json!({"exp": now_ms / 1000 + 100_000});
    let mut alice = gateway.connect_with(issuer.token_with("alice", now_ms, long.clone())).await;
    let mut bob = gateway.connect("bob").await;
    let kept = gateway.token("bob").ttl(Duration::from_secs(100_000)).mint();
    assert_eq!(bob.request("auth", json!({"token": kept})).await.kind(), "auth_ack");
    // The same keys again: nothing happens.
    gateway.clock().advance(Duration::from_secs(31 * 60));
    towline_harness::eventually("both were looked at", || async {
        gateway.metric("towline_rechecks_total{outcome=\"kept\"}").await >= 2.0
    })
    .await;
    alice.expect_quiet().await;
    issuer.publish(vec![towline_auth::testing::jwk(towline_auth::SigningAlgorithm::Es256, "p256")]);
    gateway.clock().advance(Duration::from_secs(31 * 60));
    assert_eq!(alice.expect_close(PATIENCE).await.0, 4401);
    bob.expect_quiet().await;
}
