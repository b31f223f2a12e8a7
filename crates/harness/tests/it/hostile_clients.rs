//! Clients that mean harm: each is stopped, costs little, and the honest are served meanwhile and afterwards.

use std::time::Duration;

use serde_json::{Value, json};
use towline_harness::{Binary, Endpoint, Gateway, GatewayBuilder, PATIENCE, RawSocket, SERVICE_KEY, client_frame, eventually};

const MIB: u64 = 1 << 20;

/// Whoever is slower than this is not a client. Short here, so that the tests are.
fn impatient(builder: GatewayBuilder) -> GatewayBuilder {
    builder.config(|config| config.sockets.handshake_timeout = Duration::from_millis(300))
}

/// An honest client is served.
async fn serves(endpoint: &Endpoint) {
    let mut honest = endpoint.connect("honest").await;
    honest.subscribe(json!(["user:honest"])).await;
    endpoint.publish("user:honest", "x", json!({})).await;
    honest.expect("x", PATIENCE).await;
    honest.close().await;
}

async fn upgraded(endpoint: &Endpoint) -> RawSocket {
    let mut raw = endpoint.raw().await;
    let token = endpoint.token("mallory").mint();
    raw.upgrade("/ws", &format!("Sec-WebSocket-Protocol: towline.v1\r\nAuthorization: Bearer {token}\r\n")).await;
    assert_eq!(raw.frame().await.unwrap().first_byte, 0x81, "welcome");
    raw
}

#[tokio::test]
async fn a_silent_socket_is_dropped() {
    let gateway = impatient(Gateway::builder()).start().await;
    let mut sockets = Vec::new();
    for _ in 0..20 {
        sockets.push(gateway.raw().await);
    }
    serves(&gateway).await;
    for mut socket in sockets {
        socket.until_end().await;
    }
    gateway.expect_idle().await;
    assert_eq!(gateway.metric("towline_handshakes_total{door=\"http\",outcome=\"timeout\"}").await, 20.0);
    assert_eq!(gateway.server().shared().metrics.handshakes_pending.get(), 0);
}

#[tokio::test]
async fn one_byte_at_a_time_is_dropped() {
    let gateway = impatient(Gateway::builder()).start().await;
    let mut socket = gateway.raw().await;
    let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Pad: {}\r\n\r\n", "x".repeat(10_000));
    let mut sent = 0;
    for byte in request.as_bytes() {
        if socket.send(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(sent < request.len(), "it was let finish");
    serves(&gateway).await;
    gateway.expect_idle().await;
}

/// More who say nothing than may be in a handshake: the next is turned away, and nobody who is served is hurt.
#[tokio::test]
async fn unfinished_handshakes_have_a_limit() {
    let gateway = impatient(Gateway::builder()).config(|config| config.sockets.handshakes_pending_max = 3).start().await;
    let mut established = gateway.connect("alice").await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(gateway.raw().await);
    }
    let metrics = gateway.server().shared().metrics.clone();
    eventually("they are all waited for", || async { metrics.handshakes_pending.get() == 3 }).await;
    assert_eq!(gateway.raw().await.until_end().await, 0, "the fourth is closed at once");
    assert_eq!(metrics.accepts_refused.get(), 1);
    established.expect_quiet().await;
    for mut socket in sockets {
        socket.until_end().await;
    }
    serves(&gateway).await;
    drop(established);
    gateway.expect_idle().await;
}

#[tokio::test]
async fn two_thousand_headers_are_431() {
    let gateway = Gateway::start().await;
    let mut socket = gateway.raw().await;
    let headers: String = (0..2_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let _ = socket.send(format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n").as_bytes()).await;
    assert_eq!(socket.response().await.status, 431);
    drop(socket);
    serves(&gateway).await;
    gateway.expect_idle().await;
}

#[tokio::test]
async fn a_header_of_20_mb_is_431_and_held_by_nobody() {
    let binary = Binary::start(&[]).await;
    serves(&binary).await;
    let before = binary.resident_bytes();
    let mut socket = binary.raw().await;
    let mut refused = socket.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: ").await.is_err();
    let piece = vec![b'x'; 64 << 10];
    for _ in 0..320 {
        refused = refused || socket.send(&piece).await.is_err();
    }
    assert!(refused, "20 MB were read");
    let grown = binary.resident_bytes().saturating_sub(before);
    assert!(grown < 8 * MIB, "the server grew by {grown} bytes");
    serves(&binary).await;
    // A header only just too long is told why.
    let mut socket = binary.raw().await;
    let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "x".repeat(20_000));
    let _ = socket.send(request.as_bytes()).await;
    assert_eq!(socket.response().await.status, 431);
}

#[tokio::test]
async fn tiny_fragments_end_at_their_limit() {
    tiny_fragments_end_at_their_limit_over(Gateway::builder()).await;
}

pub(crate) async fn tiny_fragments_end_at_their_limit_over(builder: GatewayBuilder) {
    let gateway = builder.start().await;
    let mut socket = upgraded(&gateway).await;
    let mut flood = client_frame(0x01, b"", Some([1, 2, 3, 4]));
    for _ in 0..5_000 {
        flood.extend(client_frame(0x00, b"x", Some([1, 2, 3, 4])));
    }
    let _ = socket.send(&flood).await;
    let code = socket.close_code().await;
    assert!([1008, 1009].contains(&code), "{code}");
    drop(socket);
    serves(&gateway).await;
    gateway.expect_idle().await;
}

/// Pings without end from somebody who reads no pong: the server stops reading instead of keeping answers.
#[tokio::test]
async fn a_ping_flood_without_reading_is_held_back() {
    let binary = Binary::start(&[]).await;
    let mut raw = RawSocket::connect_with_receive_buffer(binary.address(), 4096).await;
    raw.upgrade("/ws", &format!("Sec-WebSocket-Protocol: towline.v1\r\nAuthorization: Bearer {}\r\n", binary.token("m").mint()))
        .await;
    let before = binary.resident_bytes();
    let flood: Vec<u8> = (0..1_000).flat_map(|_| client_frame(0x89, &[b'x'; 125], Some([1, 2, 3, 4]))).collect();
    let mut sent = 0;
    // 128 MB would be sent; the server takes what it can answer, and the rest waits on this side.
    for _ in 0..1_000 {
        match tokio::time::timeout(Duration::from_millis(500), raw.send(&flood)).await {
            Ok(Ok(())) => sent += flood.len(),
            _ => break,
        }
    }
    let grown = binary.resident_bytes().saturating_sub(before);
    println!("{sent} bytes of pings were taken, the server grew by {grown}");
    assert!(sent < 100 << 20, "nothing held it back");
    assert!(grown < 16 * MIB, "the server grew by {grown} bytes");
    serves(&binary).await;
}

#[tokio::test]
async fn garbage_is_refused_at_every_stage() {
    garbage_is_refused_at_every_stage_over(Gateway::builder()).await;
}

pub(crate) async fn garbage_is_refused_at_every_stage_over(builder: GatewayBuilder) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let gateway = impatient(builder).start().await;
    for _ in 0..20 {
        let garbage: Vec<u8> = (0..random.usize(1..5_000)).map(|_| random.u8(..)).collect();
        let mut before = gateway.raw().await;
        let _ = before.send(&garbage).await;
        before.until_end().await;
        let mut after = upgraded(&gateway).await;
        let _ = after.send(&garbage).await;
        // Whatever the bytes happen to mean, nothing stays open for them.
        let _ = after.finish().await;
        after.until_end().await;
        let mut text = upgraded(&gateway).await;
        text.send_frame(0x81, &garbage).await.unwrap();
        let code = text.close_code().await;
        assert!(code == 1007 || std::str::from_utf8(&garbage).is_ok(), "seed {seed}: {code}");
    }
    serves(&gateway).await;
    gateway.expect_idle().await;
}

/// Peers that go away without a word, at every stage.
#[tokio::test]
async fn half_open_connections_are_let_go_of() {
    half_open_connections_are_let_go_of_over(Gateway::builder()).await;
}

pub(crate) async fn half_open_connections_are_let_go_of_over(builder: GatewayBuilder) {
    let gateway = impatient(builder).start().await;
    let mut early = gateway.raw().await;
    early.send(b"GET /livez HTT").await.unwrap();
    early.finish().await.unwrap();
    early.until_end().await;
    let mut late = upgraded(&gateway).await;
    late.send_frame(0x81, br#"{"id":"1","type":"subscribe","data":{"topics":["user:mallory"]}}"#).await.unwrap();
    late.frame().await.unwrap();
    late.finish().await.unwrap();
    late.until_end().await;
    // In the middle of a frame, of a fragmented message, and of a handshake whose answer nobody waits for.
    let mut cut = upgraded(&gateway).await;
    cut.send(&client_frame(0x81, &[b'x'; 1_000], Some([1, 2, 3, 4]))[..500]).await.unwrap();
    drop(cut);
    let mut cut = upgraded(&gateway).await;
    cut.send_frame(0x01, b"{").await.unwrap();
    drop(cut);
    for _ in 0..20 {
        let mut gone = gateway.raw().await;
        let token = gateway.token("m").mint();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: towline.v1, jwt.{token}\r\n\r\n"
        );
        gone.send(request.as_bytes()).await.unwrap();
    }
    serves(&gateway).await;
    gateway.expect_idle().await;
}

#[tokio::test]
async fn frames_against_the_rules_are_closed_with_their_code() {
    frames_against_the_rules_are_closed_with_their_code_over(Gateway::builder()).await;
}

pub(crate) async fn frames_against_the_rules_are_closed_with_their_code_over(builder: GatewayBuilder) {
    let gateway = builder.start().await;
    let mask = Some([1, 2, 3, 4]);
    let announcing = |length: u64| [&[0x81, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    for (name, bytes, code) in [
        ("announces 2^63 bytes", announcing(1 << 63), 1002),
        ("announces 2^63 - 1 bytes", announcing((1 << 63) - 1), 1009),
        ("announces 2 MiB", announcing(2 << 20), 1009),
        ("unmasked", client_frame(0x81, b"{}", None), 1002),
        ("reserved bit", client_frame(0xc1, b"{}", mask), 1002),
        ("reserved opcode", client_frame(0x83, b"{}", mask), 1002),
        ("fragmented ping", client_frame(0x09, b"", mask), 1002),
        ("large ping", client_frame(0x89, &[0; 126], mask), 1002),
        ("continuation of nothing", client_frame(0x80, b"x", mask), 1002),
        ("text that is not UTF-8", client_frame(0x81, b"\xff\xfe", mask), 1007),
        ("close code that may not be sent", client_frame(0x88, &1005_u16.to_be_bytes(), mask), 1002),
        ("binary", client_frame(0x82, b"{}", mask), 1003),
    ] {
        let mut socket = upgraded(&gateway).await;
        socket.send(&bytes).await.unwrap();
        assert_eq!(socket.close_code().await, code, "{name}");
        socket.until_end().await;
    }
    serves(&gateway).await;
    gateway.expect_idle().await;
}

#[tokio::test]
async fn a_line_without_end_is_not_collected() {
    let binary = Binary::start(&[]).await;
    serves(&binary).await;
    let before = binary.resident_bytes();
    let body = format!("{{\"topic\":\"a\",\"type\":\"x\",\"data\":\"{}", "x".repeat(40 << 20));
    let (status, answer) = binary.post_events_as(SERVICE_KEY, "", "application/x-ndjson", &body).await;
    assert_eq!((status, &answer["refused"]), (413, &json!(1)), "{answer}");
    let grown = binary.resident_bytes().saturating_sub(before);
    println!("a line of 40 MiB: the server grew by {grown} bytes");
    assert!(grown < 24 * MIB, "the server grew by {grown} bytes");
    serves(&binary).await;
}

#[tokio::test]
async fn ten_thousand_topics_at_once_are_one_error() {
    let gateway = Gateway::start().await;
    let mut mallory = gateway.connect_with(SERVICE_KEY).await;
    let topics: Vec<String> = (0..10_000).map(|n| format!("t{n}")).collect();
    let error = mallory.request("subscribe", json!({"topics": topics})).await;
    assert_eq!((error.kind(), &error["data"]["code"]), ("error", &json!("TOO_MANY_TOPICS")));
    assert_eq!(gateway.server().watched_topics(), 0);
    mallory.expect_quiet().await;
    let ack = mallory.request("unsubscribe", json!({"topics": topics})).await;
    assert!(ack.kind() == "error" || ack.text().len() < 2 << 20, "the answer is larger than the question");
    mallory.close().await;
    serves(&gateway).await;
    gateway.expect_idle().await;
}

#[tokio::test]
async fn json_nested_without_end_is_refused() {
    let gateway = Gateway::start().await;
    let mut service = gateway.connect_with(SERVICE_KEY).await;
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [
        deep.clone(),
        format!(r#"{{"id":"d","type":"ping","data":{deep}}}"#),
        format!(r#"{{"id":"d","type":"subscribe","data":{{"topics":[{deep}]}}}}"#),
        format!(r#"{{"id":"d","type":"publish","data":{{"topic":"a","type":"x","data":{deep}}}}}"#),
    ] {
        service.send_text(text).await;
        let answer = service.next(PATIENCE).await.unwrap();
        let refused = answer.kind() == "error" || answer["data"]["results"][0]["status"] == "refused" || answer.kind() == "pong";
        assert!(refused, "{}", answer.text());
    }
    let (status, _) = gateway.post_events("", &format!(r#"{{"topic":"a","type":"x","data":{deep}}}"#)).await;
    assert_eq!(status, 400);
    let (_, page) = gateway.get("/api/ws/replay?topic=a", SERVICE_KEY).await;
    assert_eq!(page["events"], Value::Array(Vec::new()));
    service.close().await;
    serves(&gateway).await;
    gateway.expect_idle().await;
}

/// Requests sent on and on, whose answers nobody reads: they wait with the sender, and others are served.
#[tokio::test]
async fn requests_whose_answers_are_not_read_are_held_back() {
    requests_whose_answers_are_not_read_are_held_back_over(Gateway::builder()).await;
}

pub(crate) async fn requests_whose_answers_are_not_read_are_held_back_over(builder: GatewayBuilder) {
    let gateway = builder.start().await;
    let mut mallory = gateway.raw_with_receive_buffer(4096).await;
    mallory.upgrade("/ws", &format!("Sec-WebSocket-Protocol: towline.v1\r\nAuthorization: Bearer {SERVICE_KEY}\r\n")).await;
    let request =
        client_frame(0x81, br#"{"id":"xxxxxxxxxxxxxxxx","type":"publish","data":{"topic":"a","type":"x"}}"#, Some([9, 9, 9, 9]));
    let flood: Vec<u8> = std::iter::repeat_n(request, 2_000).flatten().collect();
    let mut held_back = false;
    for _ in 0..200 {
        if tokio::time::timeout(Duration::from_secs(1), mallory.send(&flood)).await.is_err() {
            held_back = true;
            break;
        }
    }
    assert!(held_back, "400,000 requests were taken");
    serves(&gateway).await;
    drop(mallory);
    gateway.expect_idle().await;
}
