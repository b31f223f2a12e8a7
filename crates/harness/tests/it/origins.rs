//! Which web pages may connect: judged before the upgrade, on every door.

use serde_json::json;
use towline::config::Environment;
use towline_harness::{Gateway, Handshake, PAGE, PATIENCE};

async fn production() -> Gateway {
    Gateway::builder()
        .config(|config| {
            config.environment = Environment::Production;
            config.origins.allowed = vec!["https://app.example.com".into(), "https://*.tenants.example.com".into()];
        })
        .start()
        .await
}

/// Origins that look like an allowed one, or try to be read as one.
const ATTACKS: [&str; 21] = [
    "null",
    "https://evil.test",
    "https://evil-example.com",
    "https://app.example.com.evil.test",
    "https://app-example.com",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.",
    "https://app.example.com/",
    "https://app.example.com@evil.test",
    "https://app.example.com, https://evil.test",
    "https://app.example.com https://evil.test",
    "https://evil.test#https://app.example.com",
    "https://tenants.example.com",
    "https://a.b.tenants.example.com",
    "https://evil-tenants.example.com",
    "https://.tenants.example.com",
    "https://*.tenants.example.com",
    "http://localhost",
    "http://127.0.0.1:8080",
    "app.example.com",
];

// proves: C5
#[tokio::test]
async fn every_door_refuses_a_page_that_is_not_named_before_anything_else() {
    let gateway = production().await;
    let token = gateway.token("alice").mint();
    for origin in ATTACKS {
        let (hub, unified) = (Handshake::new(gateway.address(), "/api/ws"), Handshake::new(gateway.address(), "/ws"));
        for handshake in [gateway.native(), gateway.feed("alice"), hub, unified] {
            let refused = handshake.clone().token(&token).origin(origin).try_open().await.err();
            let refused = refused.unwrap_or_else(|| panic!("{origin} was let in"));
            assert_eq!(refused.status, 403, "{origin}");
            assert!(refused.body.contains("ORIGIN_NOT_ALLOWED"), "{origin}: {}", refused.body);
        }
        let url = gateway.url(&format!("/api/v1/stream?topics=user:alice&token={token}"));
        let stream = gateway.http().get(url).header("origin", origin).send().await.unwrap();
        assert_eq!(stream.status(), 403, "{origin}");
    }
    // Without a good token it is the same: the page is judged first, and learns nothing about tokens.
    let refused = gateway.native().token("bad").origin("https://evil.test").try_open().await.err().unwrap();
    assert!(refused.status == 403 && refused.body.contains("ORIGIN_NOT_ALLOWED"));
    assert_eq!(gateway.metric("towline_refused_total{reason=\"origin\"}").await, (ATTACKS.len() * 5 + 1) as f64);
    assert_eq!(gateway.server().shared().metrics.ws_connected.get(), 0);
    gateway.expect_idle().await;
}

// proves: C5
#[tokio::test]
async fn named_pages_and_programs_without_a_page_are_let_in() {
    let gateway = production().await;
    let token = gateway.token("alice").mint();
    for origin in [PAGE, "https://APP.example.com", "https://app.example.com:443", "https://one.tenants.example.com"] {
        gateway.native().token(&token).origin(origin).open().await.expect("welcome", PATIENCE).await;
        for path in ["/api/ws", "/ws"] {
            Handshake::new(gateway.address(), path).token(&token).origin(origin).open().await.close().await;
        }
        let mut feed = gateway.feed("alice").token(&token).origin(origin).open().await;
        gateway.publish("user:alice", "x", json!({})).await;
        feed.expect("x", PATIENCE).await;
        let url = gateway.url(&format!("/api/v1/stream?topics=user:alice&token={token}"));
        let stream = gateway.http().get(url).header("origin", origin).send().await.unwrap();
        assert_eq!(stream.status(), 200, "{origin}");
    }
    gateway.native().token(&token).open().await.expect("welcome", PATIENCE).await;
    gateway.expect_idle().await;
}

// proves: C5
#[tokio::test]
async fn two_origins_in_one_handshake_are_refused() {
    let gateway = production().await;
    let token = gateway.token("alice").mint();
    for other in ["https://evil.test", PAGE] {
        let refused = gateway.native().token(&token).origin(PAGE).origin(other).try_open().await.err().unwrap();
        assert_eq!(refused.status, 403, "{other}");
    }
}

// proves: C5
#[tokio::test]
async fn development_takes_the_pages_of_this_machine_and_staging_its_own_hosts() {
    for (environment, origin, allowed) in [
        (Environment::Development, "http://localhost:3000", true),
        (Environment::Development, "http://127.0.0.1:5173", true),
        (Environment::Development, "https://next.staging.example.com", false),
        (Environment::Staging, "https://next.staging.example.com", true),
        (Environment::Staging, "http://localhost:3000", false),
        (Environment::Production, "https://next.staging.example.com", false),
        (Environment::Production, "http://localhost:3000", false),
    ] {
        let gateway = Gateway::builder().config(move |config| {
            config.environment = environment;
            config.origins.staging = vec!["https://*.staging.example.com".into()];
        });
        let gateway = gateway.start().await;
        let token = gateway.token("alice").mint();
        let opened = gateway.native().token(&token).origin(origin).try_open().await;
        assert_eq!(opened.is_ok(), allowed, "{origin} in {environment:?}");
    }
}
