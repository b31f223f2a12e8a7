//! permessage-deflate on the WebSocket doors: offered, agreed upon, shared by all, and bounded.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};
use towline_harness::{Gateway, PATIENCE, RawFrame, RawSocket, SERVICE_KEY};

const OFFER: &str = "permessage-deflate; client_max_window_bits";
const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// First bytes of frames: FIN, perhaps RSV1, and the opcode.
const TEXT: u8 = 0x81;
const COMPRESSED_TEXT: u8 = 0xc1;
const COMPRESSED_BINARY: u8 = 0xc2;

async fn compressing() -> Gateway {
    Gateway::builder().config(|config| config.sockets.compression = true).start().await
}

fn extensions_of(head: &str) -> Option<&str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions")).map(|(_, value)| value)
}

/// A native connection of the service that offers this, behind its `welcome`, and what was agreed upon.
async fn open(gateway: &Gateway, protocol: &str, offer: &str) -> (RawSocket, Option<String>) {
    let mut socket = gateway.raw().await;
    let headers = format!(
        "Authorization: Bearer {SERVICE_KEY}\r\nSec-WebSocket-Protocol: {protocol}\r\nSec-WebSocket-Extensions: {offer}\r\n"
    );
    let answer = socket.upgrade("/ws", &headers).await;
    socket.frame().await.expect("a welcome");
    (socket, extensions_of(&answer.head).map(str::to_owned))
}

fn inflate(payload: &[u8], window_bits: u8) -> Vec<u8> {
    let mut inflater = Decompress::new_with_window_bits(false, window_bits);
    let mut out = Vec::with_capacity(1 << 20);
    // In small pieces, so that the inflater keeps no more history than its window.
    for piece in payload.chunks(16).chain([&TAIL[..]]) {
        inflater.decompress_vec(piece, &mut out, FlushDecompress::Sync).unwrap();
    }
    out
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 100);
    Compress::new(Compression::default(), false).compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    out.truncate(out.len() - TAIL.len());
    out
}

fn json_of(frame: &RawFrame) -> Value {
    let payload = if frame.first_byte & 0x40 == 0 { frame.payload.clone() } else { inflate(&frame.payload, 15) };
    serde_json::from_slice(&payload).unwrap()
}

async fn ask(socket: &mut RawSocket, request: Value) -> RawFrame {
    socket.send_frame(TEXT, request.to_string().as_bytes()).await.unwrap();
    socket.frame().await.unwrap()
}

fn subscribe(from: &str) -> Value {
    json!({"id": "s", "type": "subscribe", "data": {"topics": [{"topic": "a", "from": from}]}})
}

fn event_data() -> Value {
    json!({"step": 3, "hits": (0..20).map(|n| json!({"document": format!("reports/{n}.md"), "score": 0.5})).collect::<Vec<_>>()})
}

// proves: C14
#[tokio::test]
async fn an_event_is_compressed_once_and_the_same_for_all_who_agreed() {
    let gateway = compressing().await;
    let (mut one, agreed) = open(&gateway, "towline.v1", OFFER).await;
    assert_eq!(agreed.as_deref(), Some(AGREED));
    let (mut two, _) = open(&gateway, "towline.v1", "permessage-deflate").await;
    let mut plain = gateway.connect_with(SERVICE_KEY).await;
    assert!(!plain.headers().contains_key("sec-websocket-extensions"), "who offers nothing gets nothing");
    plain.subscribe(json!(["a"])).await;
    for socket in [&mut one, &mut two] {
        let ack = ask(socket, subscribe("latest")).await;
        // What is for one alone is not compressed.
        assert_eq!((ack.first_byte, &json_of(&ack)["type"]), (TEXT, &json!("subscribe_ack")));
    }
    gateway.publish("a", "x", event_data()).await;
    let packet = plain.expect("x", PATIENCE).await;
    let frame = one.frame().await.unwrap();
    assert_eq!(frame.first_byte, COMPRESSED_TEXT);
    assert!(frame.payload.len() * 3 < packet.text().len(), "{} bytes for {}", frame.payload.len(), packet.text().len());
    assert_eq!(two.frame().await, Some(frame.clone()), "the same bytes");
    assert_eq!(&json_of(&frame), packet.json());
}

// proves: C14
#[tokio::test]
async fn nothing_is_agreed_upon_unless_it_is_switched_on() {
    let gateway = Gateway::start().await;
    let (mut socket, agreed) = open(&gateway, "towline.v1", OFFER).await;
    assert_eq!(agreed, None);
    socket.send_frame(COMPRESSED_TEXT, &deflate(br#"{"type":"ping"}"#)).await.unwrap();
    assert_eq!(socket.close_code().await, 1002);
}

#[tokio::test]
async fn short_frames_stay_as_they_are() {
    let builder = Gateway::builder().config(|config| config.sockets.compression = true);
    let gateway = builder.config(|config| config.sockets.compression_bytes_min = 1_000).start().await;
    let (mut socket, _) = open(&gateway, "towline.v1", OFFER).await;
    ask(&mut socket, subscribe("latest")).await;
    gateway.publish("a", "x", json!({"text": "x".repeat(500)})).await;
    gateway.publish("a", "x", json!({"text": "x".repeat(2_000)})).await;
    let frames = [socket.frame().await.unwrap().first_byte, socket.frame().await.unwrap().first_byte];
    assert_eq!(frames, [TEXT, COMPRESSED_TEXT]);
}

#[tokio::test]
async fn the_binary_encoding_is_compressed_too() {
    let gateway = compressing().await;
    let (mut socket, agreed) = open(&gateway, "towline.v1+msgpack", OFFER).await;
    assert_eq!(agreed.as_deref(), Some(AGREED));
    ask(&mut socket, subscribe("latest")).await;
    gateway.publish("a", "x", event_data()).await;
    let frame = socket.frame().await.unwrap();
    assert_eq!(frame.first_byte, COMPRESSED_BINARY);
    let event: Value = rmp_serde::from_slice(&inflate(&frame.payload, 15)).unwrap();
    assert_eq!(event["data"], event_data());
}

#[tokio::test]
async fn offers_are_answered_by_the_book() {
    let gateway = compressing().await;
    for (offer, agreed) in [
        ("permessage-deflate; server_max_window_bits=10", Some("server_max_window_bits=9")),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate; server_max_window_bits=15",
            Some("server_max_window_bits=15"),
        ),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; unheard_of", None),
        ("permessage-bzip2", None),
    ] {
        let (mut socket, said) = open(&gateway, "towline.v1", offer).await;
        assert_eq!(said, agreed.map(|bits| format!("{AGREED}; {bits}")), "{offer}");
        ask(&mut socket, subscribe("latest")).await;
        gateway.publish("a", "x", event_data()).await;
        let frame = socket.frame().await.unwrap();
        assert_eq!(frame.first_byte, if agreed.is_some() { COMPRESSED_TEXT } else { TEXT }, "{offer}");
        if said.is_some_and(|said| said.ends_with("bits=9")) {
            // Who asked for a small window need not remember more.
            let event: Value = serde_json::from_slice(&inflate(&frame.payload, 9)).unwrap();
            assert_eq!(event["data"], event_data());
        }
    }
    let handshake = gateway.native().bearer(SERVICE_KEY).header("sec-websocket-extensions", "permessage-deflate; =");
    assert_eq!(handshake.try_open().await.err().unwrap().status, 400);
}

// proves: C14
#[tokio::test]
async fn compressed_requests_are_taken_whole_and_in_fragments() {
    let gateway = compressing().await;
    let (mut socket, _) = open(&gateway, "towline.v1", OFFER).await;
    let request = deflate(subscribe("latest").to_string().as_bytes());
    socket.send_frame(COMPRESSED_TEXT, &request).await.unwrap();
    assert_eq!(json_of(&socket.frame().await.unwrap())["type"], "subscribe_ack");
    let publish = json!({"id": "p", "type": "publish", "data": {"topic": "b", "type": "x", "data": event_data()}});
    let publish = deflate(publish.to_string().as_bytes());
    let (head, tail) = publish.split_at(publish.len() / 2);
    socket.send_frame(0x41, head).await.unwrap();
    socket.send_frame(0x89, b"in between").await.unwrap();
    socket.send_frame(0x80, tail).await.unwrap();
    assert_eq!(socket.frame().await.unwrap().payload, b"in between");
    let ack = json_of(&socket.frame().await.unwrap());
    assert_eq!(ack["data"]["results"][0]["status"], "stored", "{ack}");
}

// proves: C14
#[tokio::test]
async fn a_bomb_is_closed_with_1009_and_rubbish_with_1007() {
    let gateway = compressing().await;
    let bomb = deflate(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    for (first_byte, payload, code) in
        [(COMPRESSED_TEXT, &bomb[..], 1009), (COMPRESSED_TEXT, &[0xff; 40], 1007), (0xc9, b"ping", 1002), (0xc0, b"", 1002)]
    {
        let (mut socket, _) = open(&gateway, "towline.v1", OFFER).await;
        socket.send_frame(first_byte, payload).await.unwrap();
        assert_eq!(socket.close_code().await, code);
    }
    gateway.expect_idle().await;
}

/// A page whose token is no good is let in to be told so, and is agreed with about nothing.
// proves: C14
#[tokio::test]
async fn nothing_is_inflated_before_it_is_known_whose_it_is() {
    let gateway = compressing().await;
    let mut socket = gateway.raw().await;
    let headers = format!(
        "Authorization: Bearer nonsense\r\nOrigin: {}\r\nSec-WebSocket-Protocol: towline.v1\r\nSec-WebSocket-Extensions: {OFFER}\r\n",
        towline_harness::PAGE,
    );
    let answer = socket.upgrade("/ws", &headers).await;
    assert_eq!(extensions_of(&answer.head), None);
    assert_eq!(socket.close_code().await, 4401);
    // Without a page there is no connection at all.
    let refused = gateway.native().bearer("nonsense").header("sec-websocket-extensions", OFFER).try_open().await.err().unwrap();
    assert!(refused.status == 401 && !refused.headers.contains_key("sec-websocket-extensions"));
}

/// What is read from the log for one connection alone is not compressed; when it has caught up it gets what all get.
#[tokio::test]
async fn catching_up_is_plain_and_live_is_compressed() {
    let builder = Gateway::builder().config(|config| config.sockets.compression = true);
    let gateway = builder.config(|config| config.sockets.window_events = 5).start().await;
    gateway.publish_padded("a", 0, 50, 300).await;
    let (mut socket, _) = open(&gateway, "towline.v1", OFFER).await;
    ask(&mut socket, subscribe("earliest")).await;
    let mut numbers = Vec::new();
    while numbers.len() < 50 {
        let frame = socket.frame().await.unwrap();
        let message = json_of(&frame);
        if message["type"] == "test.numbered" {
            assert_eq!(frame.first_byte, TEXT);
            numbers.push(message["data"]["n"].as_u64().unwrap());
        }
    }
    assert_eq!(json_of(&socket.frame().await.unwrap())["type"], "caught_up");
    gateway.publish_padded("a", 50, 1, 300).await;
    let live = socket.frame().await.unwrap();
    assert_eq!((live.first_byte, &json_of(&live)["data"]["n"]), (COMPRESSED_TEXT, &json!(50)));
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
}
