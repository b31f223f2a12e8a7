//! Credentials: what is refused for good, and what a fresh token heals.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use towline_client::{StartRequest, StopReason, Subscription, TokenSource, Update};

use crate::peer::{Server, next, within};

/// The last word of a subscription, after which nothing comes.
async fn stopped(watching: &mut Subscription) -> StopReason {
    loop {
        if let Update::Stopped(reason) = next(watching).await {
            assert!(within(watching.next()).await.is_none());
            return reason;
        }
    }
}

/// Tokens `t1`, `t2`, …
fn counting() -> TokenSource {
    let count = Arc::new(AtomicU32::new(0));
    TokenSource::refreshed_by(move || {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(format!("t{number}")) }
    })
}

// proves: A3
#[tokio::test]
async fn a_fixed_token_that_is_refused_is_not_tried_again() {
    let server = Server::start().await;
    let mut watching = server.client().token("old").build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let peer = server.accept().await;
    assert_eq!(peer.headers["authorization"], "Bearer old");
    peer.close(4401, "the token has expired").await;
    assert_eq!(stopped(&mut watching).await, StopReason::Unauthorized("the token has expired".into()));
}

// proves: A3
#[tokio::test]
async fn a_refused_handshake_stops_with_the_servers_reason() {
    for (status, reason) in [
        (401, StopReason::Unauthorized("who are you?".into())),
        (403, StopReason::Forbidden("who are you?".into())),
        (404, StopReason::NotASocket { status: 404, message: "who are you?".into() }),
    ] {
        let server = Server::start().await;
        let mut watching = server.client().build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
        let mut tcp = server.tcp().await;
        let body = r#"{"error":{"code":"UNAUTHORIZED","message":"who are you?","retryable":false}}"#;
        let head = format!("HTTP/1.1 {status} No\r\ncontent-length: {}\r\n\r\n", body.len());
        within(tcp.write_all(format!("{head}{body}").as_bytes())).await.unwrap();
        assert_eq!(stopped(&mut watching).await, reason);
        // Unread requests would turn the close into a reset; by now it does not matter.
        let _ = tcp.read(&mut [0; 4096]).await;
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_by_a_fresh_one() {
    let server = Server::start().await;
    let mut watching = server.client().token(counting()).build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let peer = server.accept().await;
    assert_eq!(peer.headers["authorization"], "Bearer t1");
    peer.close(4401, "expired").await;
    let mut peer = server.accept().await;
    assert_eq!(peer.headers["authorization"], "Bearer t2");
    peer.welcome().await;
    peer.take_subscribe().await;
    // Two refusals without a welcome between them are final.
    peer.close(4401, "expired").await;
    server.accept().await.close(4401, "no, really").await;
    assert_eq!(stopped(&mut watching).await, StopReason::Unauthorized("no, really".into()));
}

#[tokio::test]
async fn an_expiring_token_is_refreshed_on_the_open_socket() {
    let server = Server::start().await;
    let _watching = server.client().token(counting()).build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    peer.say(json!({"type": "auth_expiring", "data": {"expires_at": 1.0, "seconds_left": 30}})).await;
    assert_eq!(peer.hear("auth").await["data"], json!({"token": "t2"}));
}

#[tokio::test]
async fn a_refused_topic_is_told_and_the_last_one_ends_the_subscription() {
    let server = Server::start().await;
    let mut watching = server.client().build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let mut peer = server.accept().await;
    peer.welcome().await;
    let id = peer.hear("subscribe").await["id"].clone();
    let refusal = json!({"topic": "a", "code": "FORBIDDEN", "message": "not yours"});
    peer.say(json!({"type": "subscribe_ack", "correlation_id": id, "data": {"subscriptions": [], "errors": [refusal]}})).await;
    assert_eq!(stopped(&mut watching).await, StopReason::NoTopics("not yours".into()));
}
