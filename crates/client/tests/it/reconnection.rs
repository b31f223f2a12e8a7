//! Connections come and go; the consumer sees one unbroken history.

use std::time::Duration;

use serde_json::json;
use towline_client::{Hole, Settings, StartRequest, Update};

use crate::peer::{Server, event, events, next, quick, within};

// proves: A3
#[tokio::test]
async fn every_topic_resumes_from_its_last_event_and_repetitions_are_dropped() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let mut watching = client.subscribe([("a", StartRequest::Earliest), ("b", StartRequest::Latest)]).unwrap();

    let (mut peer, asked) = server.serve().await;
    assert_eq!(asked, json!({"a": "earliest", "b": "latest"}));
    peer.event("a", 1).await;
    peer.event("b", 1).await;
    peer.event("a", 2).await;
    assert_eq!(events(&mut watching, 3).await, ["a 1", "b 1", "a 2"]);
    // Without a close frame: the cable is cut.
    drop(peer);

    let (mut peer, asked) = server.serve().await;
    assert_eq!(asked, json!({"a": {"epoch": "1", "offset": 2}, "b": {"epoch": "1", "offset": 1}}));
    for offset in [1, 2, 3] {
        peer.event("a", offset).await;
    }
    peer.event("b", 2).await;
    assert_eq!(events(&mut watching, 2).await, ["a 3", "b 2"]);
}

#[tokio::test]
async fn a_topic_without_events_resumes_from_where_it_was_opened() {
    let server = Server::start().await;
    let mut watching = server.client().build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let (peer, _) = server.serve().await;
    // Only once the consumer knows the position is the answer surely processed.
    while !matches!(next(&mut watching).await, Update::Subscribed { .. }) {}
    drop(peer);
    let (_peer, asked) = server.serve().await;
    assert_eq!(asked, json!({"a": {"epoch": "1", "offset": 0}}));
}

#[tokio::test]
async fn a_hole_is_reported_and_filled_by_asking_again() {
    let server = Server::start().await;
    let mut watching = server.client().build().unwrap().subscribe([("a", StartRequest::Earliest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    peer.event("a", 1).await;
    peer.event("a", 3).await;
    assert_eq!(peer.take_subscribe().await, json!({"a": {"epoch": "1", "offset": 1}}));
    for offset in [2, 3, 4] {
        peer.event("a", offset).await;
    }
    let mut told = Vec::new();
    while told.last().map(String::as_str) != Some("4") {
        match next(&mut watching).await {
            Update::Event(event) => told.push(event.position.offset.to_string()),
            Update::Hole(Hole { after, got, .. }) => told.push(format!("hole {after} {got}")),
            _ => {}
        }
    }
    assert_eq!(told, ["1", "hole 1-1 1-3", "2", "3", "4"]);
}

#[tokio::test]
async fn a_gap_is_told_and_delivery_goes_on_behind_it() {
    let server = Server::start().await;
    let mut watching = server.client().build().unwrap().subscribe([("a", StartRequest::Earliest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    let gap = json!({"topic": "a", "reason": "trimmed", "resume_after": {"epoch": "1", "offset": 40}});
    peer.say(json!({"type": "gap", "topic": "a", "data": gap})).await;
    peer.event("a", 41).await;
    loop {
        match next(&mut watching).await {
            Update::Gap(gap) => {
                assert_eq!(gap.resume_after.to_string(), "1-40");
                break;
            }
            Update::Event(event) => panic!("{} before the gap", event.position),
            _ => {}
        }
    }
    assert_eq!(events(&mut watching, 1).await, ["a 41"]);
}

#[tokio::test]
async fn a_restarting_servers_hint_is_honoured() {
    let server = Server::start().await;
    let mut watching = server.client().build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    peer.say(json!({"type": "reconnect", "data": {"retry_after_ms": 150}})).await;
    peer.close(1012, "restarting").await;
    loop {
        if let Update::Disconnected { code, reason, retry_in } = next(&mut watching).await {
            assert_eq!((code, reason.as_str(), retry_in), (Some(1012), "restarting", Duration::from_millis(150)));
            break;
        }
    }
    server.serve().await;
    assert!(matches!(next(&mut watching).await, Update::Connected { resumed: true, .. }));
}

#[tokio::test]
async fn a_silent_server_is_asked_and_then_left() {
    let server = Server::start().await;
    let settings = Settings { idle_timeout: Duration::from_millis(100), ..quick() };
    let _watching = server.client().settings(settings).build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    peer.hear("ping").await;
    assert_eq!(peer.hear_close().await, 4408);
    server.serve().await;
}

// proves: B5
#[tokio::test]
async fn pings_are_answered_with_the_last_event_seen() {
    let server = Server::start().await;
    let mut watching = server.client().build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    peer.event("a", 1).await;
    peer.say(json!({"type": "ping", "data": {}})).await;
    assert_eq!(peer.hear("pong").await["data"], json!({"last_seen": {"a": "a-1"}}));
    assert_eq!(events(&mut watching, 1).await, ["a 1"]);
}

// proves: A3
#[tokio::test]
async fn dropping_the_subscription_closes_the_socket_and_ends_reconnection() {
    let server = Server::start().await;
    let watching = server.client().build().unwrap().subscribe([("a", StartRequest::Latest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    drop(watching);
    assert_eq!(peer.hear_close().await, 1000);
    drop(peer);
    // A further client of the same server is the next to connect: the dropped one did not come back in between.
    let other = server.client().token("other").build().unwrap();
    let _watching = other.subscribe([("b", StartRequest::Latest)]).unwrap();
    assert_eq!(server.accept().await.headers["authorization"], "Bearer other");
}

#[tokio::test]
async fn frames_that_cannot_be_trusted_end_the_connection_and_not_the_client() {
    let server = Server::start().await;
    let mut watching = server.client().build().unwrap().subscribe([("a", StartRequest::Earliest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    peer.event("a", 1).await;
    peer.say(json!("nonsense")).await;
    assert_eq!(peer.hear_close().await, 1002);
    let (mut peer, asked) = server.serve().await;
    assert_eq!(asked, json!({"a": {"epoch": "1", "offset": 1}}));
    peer.event("a", 2).await;
    assert_eq!(events(&mut watching, 2).await, ["a 1", "a 2"]);
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_not_taken() {
    let server = Server::start().await;
    let settings = Settings { message_bytes_max: 10_000, ..quick() };
    let mut watching = server.client().settings(settings).build().unwrap().subscribe([("a", StartRequest::Earliest)]).unwrap();
    let (mut peer, _) = server.serve().await;
    peer.say(event("a", 1, json!({"text": "x".repeat(20_000)}))).await;
    loop {
        match next(&mut watching).await {
            Update::Event(_) => panic!("the message was taken"),
            Update::Disconnected { .. } => break,
            _ => {}
        }
    }
}

#[tokio::test]
async fn an_encrypted_address_with_something_else_behind_it_is_an_error_and_no_panic() {
    let server = Server::start().await;
    let client = towline_client::Client::builder(server.url().replace("http:", "https:")).settings(quick()).build().unwrap();
    let mut watching = client.subscribe([("a", StartRequest::Latest)]).unwrap();
    let tcp = server.tcp().await;
    within(tcp.writable()).await.unwrap();
    tcp.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    assert!(matches!(next(&mut watching).await, Update::Disconnected { .. }));
}
