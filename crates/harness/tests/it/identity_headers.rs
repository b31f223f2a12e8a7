//! Identities in headers: from trusted proxies they count, from anybody else they are words.

use serde_json::json;
use towline_harness::{Gateway, GatewayBuilder, Handshake, PATIENCE, SERVICE_KEY};

const GATEWAY_USER: &str = "x-amzn-request-context-userid";
const GATEWAY_ORG: &str = "x-amzn-request-context-orgid";

fn trusting(networks: &'static str) -> GatewayBuilder {
    Gateway::builder().config(move |config| {
        config.identity_headers.enabled = true;
        config.proxies.trusted = networks.parse().unwrap();
    })
}

fn with(mut handshake: Handshake, headers: &[(&str, &str)]) -> Handshake {
    for (name, value) in headers {
        handshake = handshake.header(name, value);
    }
    handshake
}

// proves: D1
#[tokio::test]
async fn a_trusted_proxy_says_who_it_is_on_every_door() {
    let gateway = trusting("127.0.0.0/8").start().await;
    for (user, org) in [("x-user-id", "x-org-id"), (GATEWAY_USER, GATEWAY_ORG)] {
        let mut native = with(gateway.native(), &[(user, "alice"), (org, "acme")]).open().await;
        assert_eq!(native.expect("welcome", PATIENCE).await["data"]["user_id"], "alice");
        let ack = native.subscribe(json!(["user:alice", "org:acme", "system"])).await;
        assert_eq!(ack["data"]["errors"], json!([]), "{user}");
        let ack = native.request("subscribe", json!({"topics": ["user:bob", "org:other", "thread:1"]})).await;
        assert_eq!(ack["data"]["errors"].as_array().unwrap().len(), 3);
    }
    let mut feed = with(gateway.feed("alice"), &[("x-user-id", "alice")]).open().await;
    gateway.publish("user:alice", "x", json!({})).await;
    feed.expect("x", PATIENCE).await;
    assert_eq!(with(gateway.feed("bob"), &[("x-user-id", "alice")]).try_open().await.err().unwrap().status, 403);
    let events = gateway.http().get(gateway.url("/api/v1/agents/events")).header("x-user-id", "alice").send().await.unwrap();
    assert_eq!(events.status(), 200);
    // Nothing said, nobody there: proxies map what is missing to nothing.
    assert_eq!(with(gateway.native(), &[("x-user-id", "")]).try_open().await.err().unwrap().status, 401);
    assert_eq!(with(gateway.native(), &[("x-org-id", "acme")]).try_open().await.err().unwrap().status, 401);
    assert_eq!(gateway.metric("towline_identity_headers_total{outcome=\"ignored\"}").await, 0.0);
}

// proves: D1
#[tokio::test]
async fn from_anybody_else_the_headers_are_passed_over_and_counted() {
    // Another network is trusted, and what a client says about where it comes from changes nothing.
    let gateway = trusting("10.0.0.0/8").start().await;
    let said = [("x-user-id", "alice"), ("x-forwarded-for", "10.0.0.1"), ("forwarded", "for=10.0.0.1")];
    assert_eq!(with(gateway.native(), &said).try_open().await.err().unwrap().status, 401);
    // They do no harm to a good token either.
    let mut bob = with(gateway.native().bearer(gateway.token("bob")), &said).open().await;
    assert_eq!(bob.expect("welcome", PATIENCE).await["data"]["user_id"], "bob");
    assert_eq!(gateway.metric("towline_identity_headers_total{outcome=\"ignored\"}").await, 2.0);
    // Switched off, nobody's count, whoever is trusted.
    let off = trusting("127.0.0.0/8").config(|config| config.identity_headers.enabled = false).start().await;
    assert_eq!(with(off.native(), &said).try_open().await.err().unwrap().status, 401);
}

// proves: D1
#[tokio::test]
async fn headers_that_contradict_each_other_or_the_token_are_refused() {
    let gateway = trusting("127.0.0.1").start().await;
    let token = gateway.token("alice").org("acme").mint();
    let refused = async |handshake: Handshake| {
        let refused = handshake.try_open().await.err().unwrap();
        (refused.status, refused.body.contains("INVALID_TOKEN"))
    };
    for headers in [
        &[("x-user-id", "alice"), ("x-user-id", "alice")][..],
        &[("x-user-id", "alice"), (GATEWAY_USER, "bob")],
        &[("x-user-id", "alice"), ("x-org-id", "a"), (GATEWAY_ORG, "b")],
        &[("x-user-id", "a:b")],
        &[("x-user-id", "*")],
        &[("x-user-id", "alice, bob")],
        &[("x-user-id", "alice"), ("x-org-id", "a/b")],
    ] {
        assert_eq!(refused(with(gateway.native(), headers)).await, (401, true), "{headers:?}");
    }
    for headers in [&[("x-user-id", "bob")][..], &[("x-org-id", "other")], &[("x-user-id", "alice"), ("x-org-id", "other")]] {
        assert_eq!(refused(with(gateway.native().bearer(&token), headers)).await, (401, true), "{headers:?}");
    }
    assert_eq!(refused(with(gateway.native().bearer(SERVICE_KEY), &[("x-user-id", "service-1")])).await, (401, true));
    assert_eq!(refused(with(gateway.native().bearer("nonsense"), &[("x-user-id", "alice")])).await, (401, true));
    // Where they agree, the token counts, with all that it grants and its end.
    let agreeing = with(gateway.native().bearer(&token), &[("x-user-id", "alice"), ("x-org-id", "acme")]);
    let welcome = agreeing.open().await.expect("welcome", PATIENCE).await;
    assert!(welcome["data"]["expires_at"].is_number());
    assert_eq!(gateway.metric("towline_identity_headers_total{outcome=\"refused\"}").await, 12.0);
}
