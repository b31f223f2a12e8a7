//! The names in the environment that settings had in the systems before: each is not only read but does what it says.

use serde_json::json;
use towline_harness::{Binary, PATIENCE, TestIssuer};

const CHAT: &str = "https://chat.example.com";

// proves: C11
#[tokio::test]
async fn every_older_name_is_enforced_by_the_real_binary() {
    let issuer = TestIssuer::start().await.unwrap();
    let (keys, name) = (issuer.jwks_url(), issuer.issuer());
    let binary = Binary::start(&[
        // What the harness sets itself would win over the older names.
        ("TOWLINE_ORIGINS_ALLOWED", ""),
        ("TOWLINE_USERS_CONNECTIONS_MAX", ""),
        ("TOWLINE_USERS_MESSAGES_PER_MINUTE_MAX", ""),
        ("TOWLINE_JWT_SECRET", ""),
        ("ENVIRONMENT", "production"),
        ("WEBSOCKET_ALLOWED_ORIGINS", CHAT),
        ("WEBSOCKET_ENABLE_CORS", "false"),
        ("WEBSOCKET_MAX_CONNECTIONS_PER_USER", "1"),
        ("WEBSOCKET_MAX_MESSAGE_RATE", "2"),
        ("WEBSOCKET_HEARTBEAT_INTERVAL", "1500"),
        ("WEBSOCKET_REQUIRE_AUTH", "true"),
        ("CLERK_JWKS_URL", &keys),
        ("CLERK_ISSUER", &name),
    ])
    .await;
    let token = issuer.token("alice", binary.clock().unix_ms());
    assert_eq!(binary.native().try_open().await.err().unwrap().status, 401, "WEBSOCKET_REQUIRE_AUTH");
    // In production not even pages of this machine may connect unless they are named.
    for origin in ["http://localhost:3000", "https://app.example.com"] {
        let refused = binary.native().bearer(&token).origin(origin).try_open().await.err().unwrap();
        assert_eq!(refused.status, 403, "ENVIRONMENT, WEBSOCKET_ALLOWED_ORIGINS: {origin}");
    }
    let mut first = binary.native().bearer(&token).origin(CHAT).open().await;
    let welcome = first.expect("welcome", PATIENCE).await;
    assert_eq!(welcome["data"]["heartbeat_interval_ms"], 1_500, "WEBSOCKET_HEARTBEAT_INTERVAL");
    let request = binary.http().get(binary.url("/api/v1/agents/events")).bearer_auth(&token).header("origin", CHAT);
    let answer = request.send().await.unwrap();
    assert!(answer.status() == 200 && !answer.headers().contains_key("access-control-allow-origin"), "WEBSOCKET_ENABLE_CORS");
    let mut second = binary.native().bearer(&token).open().await;
    second.expect("welcome", PATIENCE).await;
    assert_eq!(first.expect_close(PATIENCE).await.0, 4409, "WEBSOCKET_MAX_CONNECTIONS_PER_USER");
    second.subscribe(json!(["user:alice"])).await;
    second.subscribe(json!(["user:alice"])).await;
    let refused = second.request("subscribe", json!({"topics": ["user:alice"]})).await;
    assert_eq!(refused["data"]["code"], "RATE_LIMITED", "WEBSOCKET_MAX_MESSAGE_RATE");
}

// proves: C11
#[tokio::test]
async fn auth_disabled_asks_nobody_for_a_token() {
    let binary = Binary::start(&[("AUTH_DISABLED", "true")]).await;
    let mut socket = binary.native().parameter("user_id", "alice").open().await;
    assert_eq!(socket.expect("welcome", PATIENCE).await["data"]["user_id"], "alice");
}
