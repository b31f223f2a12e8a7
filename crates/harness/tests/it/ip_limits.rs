//! What one address may do, directly and behind a trusted proxy.

use std::time::Duration;

use serde_json::json;
use towline::Config;
use towline::peers::Networks;
use towline_harness::{Gateway, GatewayBuilder, Handshake, PATIENCE, SERVICE_KEY, eventually};

fn networks(text: &str) -> Networks {
    text.parse().unwrap()
}

/// No address is exempt, and nothing is limited but what the test says.
fn limited(change: impl FnOnce(&mut Config) + Send + 'static) -> GatewayBuilder {
    Gateway::builder().manual_clock().config(|config| {
        config.addresses.exempt = Networks::default();
        config.addresses.handshakes_per_second_max = None;
        config.addresses.connections_max = None;
        config.addresses.handshakes_pending_max = None;
        change(config);
    })
}

fn from(handshake: Handshake, client: &str) -> Handshake {
    handshake.header("x-forwarded-for", client)
}

#[tokio::test]
async fn handshakes_too_fast_are_429_with_when_to_come_back() {
    let gateway = limited(|config| {
        config.addresses.handshakes_per_second_max = Some(1);
        config.addresses.handshakes_burst = 3;
    });
    let gateway = gateway.start().await;
    let token = gateway.token("alice").mint();
    for _ in 0..3 {
        gateway.native().bearer(&token).open().await.close().await;
    }
    let refused = gateway.native().bearer(&token).try_open().await.err().unwrap();
    assert_eq!((refused.status, refused.headers["retry-after"].to_str().unwrap()), (429, "1"));
    assert!(
        refused.body.contains("TOO_MANY_CONNECTIONS") && refused.body.contains("\"retry_after_ms\":1000"),
        "{}",
        refused.body
    );
    // A door is a door, with a good token or without one; REST is not.
    assert_eq!(gateway.feed("alice").try_open().await.err().unwrap().status, 429);
    assert_eq!(gateway.stream("/api/v1/stream?topics=user:alice", &token, None).await.err().unwrap().0, 429);
    for _ in 0..20 {
        gateway.publish("user:alice", "x", json!({})).await;
    }
    // What the client writes into headers changes nothing: it is no trusted proxy.
    for client in ["203.0.113.9", "127.0.0.1"] {
        let refused = from(gateway.native(), client).bearer(&token).header("forwarded", "for=203.0.113.9");
        assert_eq!(refused.try_open().await.err().unwrap().status, 429);
    }
    gateway.clock().advance(Duration::from_secs(1));
    gateway.native().bearer(&token).open().await.close().await;
    assert_eq!(gateway.native().bearer(&token).try_open().await.err().unwrap().status, 429);
    assert_eq!(gateway.metric("towline_refused_total{reason=\"address_rate\"}").await, 6.0);
    gateway.expect_idle().await;
}

#[tokio::test]
async fn connections_of_one_address_have_a_limit_whatever_they_are() {
    let gateway = limited(|config| config.addresses.connections_max = Some(3)).start().await;
    let socket = gateway.connect("alice").await;
    let mut stream = gateway.stream("/api/v1/stream?topics=user:bob", gateway.token("bob"), None).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    let mut idle = gateway.raw().await;
    idle.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(idle.response().await.status, 200);
    // The fourth is answered, once, and not kept.
    let mut fourth = gateway.raw().await;
    fourth.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let answer = fourth.response().await;
    assert_eq!(answer.status, 429);
    assert!(answer.head.to_ascii_lowercase().contains("retry-after: 5") && answer.body.contains("TOO_MANY_CONNECTIONS"));
    fourth.until_end().await;
    assert_eq!(gateway.native().bearer(gateway.token("alice")).try_open().await.err().unwrap().status, 429);
    assert_eq!(gateway.server().shared().metrics.connections("native").get(), 1);
    // Whatever way one ends, its place is free again.
    drop(idle);
    eventually("there is room again", || async { gateway.native().bearer(SERVICE_KEY).try_open().await.is_ok() }).await;
    drop((socket, stream));
    gateway.expect_idle().await;
}

#[tokio::test]
async fn silent_connections_of_one_address_leave_room_for_others() {
    let gateway = limited(|config| config.addresses.handshakes_pending_max = Some(2)).start().await;
    let (mut one, _two) = (gateway.raw().await, gateway.raw().await);
    let metrics = gateway.server().shared().metrics.clone();
    eventually("they are waited for", || async { metrics.handshakes_pending.get() == 2 }).await;
    assert_eq!(gateway.raw().await.until_end().await, 0, "the third is dropped");
    // Who has asked something is not silent any more.
    one.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(one.response().await.status, 200);
    let mut socket = gateway.connect("alice").await;
    socket.expect_quiet().await;
    assert_eq!(gateway.metric("towline_refused_total{reason=\"address_pending\"}").await, 1.0);
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_has_its_own_limits_and_the_proxy_none() {
    let gateway = limited(|config| {
        config.proxies.trusted = networks("127.0.0.0/8");
        config.addresses.connections_max = Some(2);
        config.addresses.handshakes_per_second_max = Some(1);
        config.addresses.handshakes_burst = 4;
        config.addresses.handshakes_pending_max = Some(1);
    });
    let gateway = gateway.start().await;
    let open = |client: &str| from(gateway.native(), client).bearer(gateway.token("alice")).try_open();
    let mut open_sockets = Vec::new();
    for client in ["203.0.113.1", "203.0.113.2", "2001:db8::1", "198.51.100.1, 203.0.113.3"] {
        open_sockets.extend([open(client).await.ok().unwrap(), open(client).await.ok().unwrap()]);
        assert_eq!(open(client).await.err().unwrap().status, 429, "{client} has two already");
    }
    assert_eq!(open("2001:db8::2").await.err().unwrap().status, 429, "the same network of IPv6");
    assert_eq!(open("203.0.113.1, 203.0.113.3").await.err().unwrap().status, 429, "what stands further left counts for nothing");
    // The proxy itself, and more connections of it than any client may have.
    for _ in 0..6 {
        open_sockets.push(gateway.connect("proxy").await);
    }
    // A place is given back with its connection.
    open_sockets.truncate(1);
    gateway.clock().advance(Duration::from_secs(10));
    eventually("the clients' places are free", || async { gateway.server().shared().limits.addresses.addresses() == 1 }).await;
    open_sockets.push(open("203.0.113.1").await.ok().unwrap());
    assert_eq!(open("203.0.113.1").await.err().unwrap().status, 429);
    drop(open_sockets);
    gateway.expect_idle().await;
}

#[tokio::test]
async fn this_machine_is_exempt_unless_it_is_said() {
    let gateway = Gateway::builder().config(|config| {
        config.addresses.connections_max = Some(1);
        config.addresses.handshakes_per_second_max = Some(1);
        config.addresses.handshakes_burst = 1;
    });
    let gateway = gateway.start().await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(gateway.connect("alice").await);
    }
    assert_eq!(gateway.server().shared().limits.addresses.addresses(), 0);
}
