//! Server-Sent Events: the fallback for clients without WebSocket, over the same cursors.

use serde_json::json;
use towline_harness::{Clock, Gateway, GatewayBuilder, MemoryLog, PATIENCE, Packet, SERVICE_KEY};
use towline_log::TopicName;

fn numbers(packets: &[Packet]) -> Vec<u64> {
    packets.iter().map(|packet| packet["data"]["n"].as_u64().unwrap()).collect()
}

// proves: B10
#[tokio::test]
async fn a_stream_carries_events_as_they_happen() {
    a_stream_carries_events_as_they_happen_over(Gateway::builder()).await;
}

pub(crate) async fn a_stream_carries_events_as_they_happen_over(builder: GatewayBuilder) {
    let gateway = builder.start().await;
    let token = gateway.token("alice").mint();
    // A browser's EventSource can set no header: the token may stand in the query.
    let mut stream = gateway.stream(&format!("/api/v1/stream?topics=user:alice&token={token}"), "", None).await.ok().unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    assert_eq!(stream.headers()["x-accel-buffering"], "no");
    assert!(stream.headers()["cache-control"].to_str().unwrap().contains("no-cache"));
    let welcome = stream.expect("welcome", PATIENCE).await;
    assert_eq!(welcome["data"]["topics"], json!(["user:alice"]));
    let stored = gateway.publish("user:alice", "agent.started", json!({"text": "two\nlines\r\n"})).await;
    let packet = stream.expect("agent.started", PATIENCE).await;
    assert_eq!((packet.id(), packet.data()), (&*stored.id, &json!({"text": "two\nlines\r\n"})));
    assert_eq!(packet.position().unwrap().offset, stored.offset);
    assert!(!stream.last_event_id().is_empty());
}

// proves: B10
#[tokio::test]
async fn a_browser_that_reconnects_goes_on_where_it_was() {
    let gateway = Gateway::start().await;
    let target = "/api/v1/stream?topics=a,b,a&from=earliest";
    gateway.publish_numbered("a", 0, 10).await;
    gateway.publish_numbered("b", 100, 10).await;
    let mut seen = Vec::new();
    let mut id = String::new();
    let mut rounds = 0;
    while seen.len() < 60 {
        let mut stream =
            gateway.stream(target, SERVICE_KEY, Some(&id).filter(|id| !id.is_empty()).map(String::as_str)).await.ok().unwrap();
        stream.expect("welcome", PATIENCE).await;
        if rounds < 4 {
            gateway.publish_numbered("a", 10 + rounds * 5, 5).await;
            gateway.publish_numbered("b", 110 + rounds * 5, 5).await;
        }
        rounds += 1;
        // It reads a few and goes away; what it had not read comes again to its successor.
        seen.extend(numbers(&stream.expect_events(7.min(60 - seen.len())).await));
        id = stream.last_event_id().to_owned();
    }
    let of = |from: u64| seen.iter().copied().filter(|n| (from..from + 100).contains(n)).collect::<Vec<_>>();
    assert_eq!(of(0), (0..30).collect::<Vec<_>>());
    assert_eq!(of(100), (100..130).collect::<Vec<_>>());
    gateway.expect_idle().await;
}

#[tokio::test]
async fn a_stream_starts_where_the_query_says() {
    let gateway = Gateway::start().await;
    let stored = gateway.publish_numbered("a", 0, 10).await;
    let position = format!("{}-{}", stored[4].epoch, stored[4].offset);
    for (query, first) in [
        ("".to_owned(), 10),
        ("&from=latest".to_owned(), 10),
        ("&from=earliest".to_owned(), 0),
        (format!("&after={position}"), 5),
        (format!("&after={}", stored[4].id), 5),
        (format!("&last_event_id={position}"), 5),
        (format!("&last_event_id={}", stored[4].id), 5),
        ("&since=0".to_owned(), 0),
    ] {
        let mut stream = gateway.stream(&format!("/api/v1/stream?topics=a{query}"), SERVICE_KEY, None).await.ok().unwrap();
        stream.expect("welcome", PATIENCE).await;
        let mut events = stream.expect_events(10 - first as usize).await;
        if first == 10 {
            gateway.publish("b", "x", json!({})).await;
        }
        assert_eq!(numbers(&std::mem::take(&mut events)), (first..10).collect::<Vec<_>>(), "{query}");
    }
    for (query, word) in [
        ("", "topics"),
        ("topics=", "topics"),
        ("topics=a%20b", "topics"),
        ("topics=a&since=soon", "since"),
        ("topics=a&from=x", "from"),
    ] {
        let (status, body) = gateway.stream(&format!("/api/v1/stream?{query}"), SERVICE_KEY, None).await.err().unwrap();
        assert_eq!((status, body.contains(word)), (400, true), "{query}: {body}");
    }
    let many: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    let (status, _) =
        gateway.stream(&format!("/api/v1/stream?topics={}", many.join(",")), SERVICE_KEY, None).await.err().unwrap();
    assert_eq!(status, 400);
}

#[tokio::test]
async fn missing_history_is_a_gap_on_a_stream_too() {
    let clock = Clock::system();
    let log = MemoryLog::new(clock.clone());
    let gateway = Gateway::builder().clock(clock).log(std::sync::Arc::new(log.clone())).start().await;
    let stored = gateway.publish_numbered("a", 0, 20).await;
    log.trim(&TopicName::new("a").unwrap(), 5);
    let position = format!("{}-{}", stored[3].epoch, stored[3].offset);
    let mut stream = gateway.stream("/api/v1/stream?topics=a", SERVICE_KEY, Some(&position)).await.ok().unwrap();
    stream.expect("welcome", PATIENCE).await;
    let gap = stream.expect("gap", PATIENCE).await;
    assert_eq!((gap.topic(), &gap["data"]["reason"]), ("a", &json!("trimmed")));
    assert_eq!(gap["data"]["resume_after"]["offset"], stored[14].offset);
    assert_eq!(numbers(&stream.expect_events(5).await), (15..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_that_goes_away_is_forgotten() {
    let gateway = Gateway::start().await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut stream = gateway.stream("/api/v1/stream?topics=a", SERVICE_KEY, None).await.ok().unwrap();
        stream.expect("welcome", PATIENCE).await;
        streams.push(stream);
    }
    let open = gateway.server().shared().metrics.connections("sse");
    assert_eq!((open.get(), gateway.server().watched_topics()), (10, 1));
    drop(streams);
    gateway.expect_idle().await;
}

/// A stream whose reader does not read holds no memory for it: it reads the log when the reader does.
#[tokio::test]
async fn a_slow_reader_gets_everything_in_the_end() {
    a_slow_reader_gets_everything_in_the_end_over(Gateway::builder()).await;
}

pub(crate) async fn a_slow_reader_gets_everything_in_the_end_over(builder: GatewayBuilder) {
    let gateway = builder.config(|config| config.sockets.window_events = 10).start().await;
    let mut raw = gateway.raw_with_receive_buffer(64 * 1024).await;
    let request =
        format!("GET /api/v1/stream?topics=a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SERVICE_KEY}\r\n\r\n");
    raw.send(request.as_bytes()).await.unwrap();
    assert_eq!(raw.response().await.status, 200);
    let mut other = gateway.connect_with(SERVICE_KEY).await;
    other.subscribe(json!(["a"])).await;
    gateway.publish_padded("a", 0, 1_000, 8_000).await;
    // The other one was served meanwhile.
    assert_eq!(numbers(&other.expect_events(1_000).await).len(), 1_000);
    let (mut text, mut next) = (String::new(), 0_u64);
    while next < 1_000 {
        text.push_str(std::str::from_utf8(&raw.chunk().await).unwrap());
        while let Some(end) = text.find("\n\n") {
            if let Some(data) = text[..end].lines().find_map(|line| line.strip_prefix("data: ")) {
                let packet = Packet::new(data).unwrap();
                if packet.kind() == "test.numbered" {
                    assert_eq!(packet["data"]["n"], next);
                    next += 1;
                }
            }
            text.drain(..end + 2);
        }
    }
}

/// The end of a stream has no way to a reader whose socket is full, and an HTTP answer has no deadline of its own: the system gives
/// the connection up. The same for an answer of REST.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_reader_that_never_reads_does_not_hold_its_connection_for_ever() {
    a_reader_that_never_reads_does_not_hold_its_connection_for_ever_over(Gateway::builder()).await;
}

pub(crate) async fn a_reader_that_never_reads_does_not_hold_its_connection_for_ever_over(builder: GatewayBuilder) {
    let gateway = builder.config(|config| config.sockets.stall_timeout = std::time::Duration::from_secs(1)).start().await;
    gateway.publish_padded("user:a", 0, 1_000, 8_000).await;
    let mut readers = Vec::new();
    let replay = "/api/ws/replay?topic=user:a&after=0-0&limit=1000";
    for target in ["/api/v1/stream?topics=user:a&from=earliest", replay] {
        let mut raw = gateway.raw_with_receive_buffer(4 * 1024).await;
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SERVICE_KEY}\r\n\r\n");
        raw.send(request.as_bytes()).await.unwrap();
        readers.push(raw);
    }
    // Both sockets are open on this side, and nobody reads.
    gateway.expect_idle().await;
    drop(readers);
}
