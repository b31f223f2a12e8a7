//! Publishing is repeated until each event's fate is known, and always with the same ids.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use towline_client::{ErrorCode, Publish, PublishError, PublishResult, Settings};

use crate::peer::{Server, quick, within};

/// Reads one request and gives its head and its JSON body.
async fn take(tcp: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        assert_ne!(within(tcp.read_buf(&mut bytes)).await.unwrap(), 0, "the request was cut");
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
        if let Ok(body) = serde_json::from_slice(&bytes[end + 4..]) {
            assert_eq!(bytes.len(), end + 4 + length);
            return (head, body);
        }
    }
}

async fn answer(mut tcp: TcpStream, status: u16, headers: &str, body: &Value) {
    let body = body.to_string();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    within(tcp.write_all(format!("{head}{body}").as_bytes())).await.unwrap();
}

fn stored(event: &Value, offset: u64, status: &str) -> Value {
    json!({"status": status, "id": event["id"], "topic": event["topic"], "epoch": "1", "offset": offset, "ts": 1.0})
}

fn refused(code: &str, retryable: bool) -> Value {
    json!({"status": "refused", "error": {"code": code, "message": "no", "retryable": retryable}})
}

#[tokio::test]
async fn a_lost_answer_is_repeated_with_the_same_ids() {
    let server = Server::start().await;
    let client = server.client().token("key").build().unwrap();
    let publishing = tokio::spawn(async move { client.publish([Publish::new("a", "x"), Publish::new("a", "y")]).await });

    let mut tcp = server.tcp().await;
    let (head, first) = take(&mut tcp).await;
    assert!(head.starts_with("post /api/v1/events http/1.1") && head.contains("authorization: bearer key"), "{head}");
    // The events may have been stored: nobody knows.
    drop(tcp);

    let mut tcp = server.tcp().await;
    let (_, second) = take(&mut tcp).await;
    assert_eq!(first, second);
    answer(tcp, 503, "retry-after: 0\r\n", &json!({"error": {"message": "draining"}})).await;

    let mut tcp = server.tcp().await;
    let (_, third) = take(&mut tcp).await;
    assert_eq!(first, third);
    let results = json!({"results": [stored(&third[0], 7, "duplicate"), stored(&third[1], 8, "stored")]});
    answer(tcp, 200, "", &results).await;

    let results = within(publishing).await.unwrap().unwrap();
    assert!(matches!(&results[..], [PublishResult::Duplicate(a), PublishResult::Stored(b)] if a.offset == 7 && b.offset == 8));
}

#[tokio::test]
async fn what_is_refused_for_now_is_repeated_and_what_is_refused_for_good_is_not() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let events = ["a", "b", "c"].map(|topic| Publish::new(topic, "x").id(format!("id-{topic}")));
    let publishing = tokio::spawn(async move { client.publish(events).await });

    let mut tcp = server.tcp().await;
    let (_, sent) = take(&mut tcp).await;
    let results = json!({"results": [refused("UNAVAILABLE", true), refused("FORBIDDEN", false), stored(&sent[2], 1, "stored")]});
    answer(tcp, 207, "", &results).await;

    let mut tcp = server.tcp().await;
    let (_, again) = take(&mut tcp).await;
    assert_eq!(again, json!([sent[0]]));
    answer(tcp, 200, "", &json!({"results": [stored(&again[0], 2, "stored")]})).await;

    let results = within(publishing).await.unwrap().unwrap();
    let [PublishResult::Stored(a), PublishResult::Refused { error, .. }, PublishResult::Stored(c)] = &results[..] else {
        panic!("{results:?}");
    };
    assert_eq!((a.id.as_str(), error.code, c.id.as_str()), ("id-a", ErrorCode::Forbidden, "id-c"));
}

#[tokio::test]
async fn a_refused_credential_is_told_at_once() {
    let server = Server::start().await;
    let client = server.client().token("old").build().unwrap();
    let publishing = tokio::spawn(async move { client.publish([Publish::new("a", "x")]).await });
    let mut tcp = server.tcp().await;
    take(&mut tcp).await;
    answer(tcp, 401, "", &json!({"error": {"code": "TOKEN_EXPIRED", "message": "expired"}})).await;
    let error = within(publishing).await.unwrap().unwrap_err();
    assert!(matches!(&error, PublishError::Denied(body) if body.message == "expired"), "{error:?}");
}

#[tokio::test]
async fn patience_has_an_end() {
    let server = Server::start().await;
    let url = server.url();
    drop(server);
    let settings = Settings { publish_patience: Duration::from_millis(300), ..quick() };
    let client = towline_client::Client::builder(url).settings(settings).build().unwrap();
    let error = within(client.publish([Publish::new("a", "x")])).await.unwrap_err();
    assert!(matches!(error, PublishError::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn large_numbers_of_events_go_in_bounded_requests_and_keep_their_order() {
    let server = Server::start().await;
    let client = server.client().build().unwrap();
    let events: Vec<_> = (0..600).map(|n| Publish::new("a", "x").id(format!("e{n}"))).collect();
    let publishing = tokio::spawn(async move { client.publish(events).await });
    let mut seen = 0;
    while seen < 600 {
        let mut tcp = server.tcp().await;
        let (_, sent) = take(&mut tcp).await;
        let sent = sent.as_array().unwrap();
        assert!(sent.len() <= 256);
        let results: Vec<_> = sent.iter().zip(seen..).map(|(event, offset)| stored(event, offset, "stored")).collect();
        seen += sent.len() as u64;
        answer(tcp, 200, "", &json!({ "results": results })).await;
    }
    let results = within(publishing).await.unwrap().unwrap();
    for (n, result) in results.iter().enumerate() {
        assert!(matches!(result, PublishResult::Stored(at) if at.id == format!("e{n}")), "{n}: {result:?}");
    }
}
