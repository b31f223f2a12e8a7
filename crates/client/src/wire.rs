//! `towline.v1` seen from the client: what it reads, and what it writes. In MessagePack a message is put into its other clothes on the
//! way out and out of them on the way in.

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::Message;
use towline_protocol::msgpack::{self, MsgpackError};
use towline_protocol::{ServerMessage, StartRequest, TopicName};

use crate::client::Encoding;
use crate::event::Event;

/// The subprotocol that client and server agree on.
pub(crate) fn subprotocol(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json => "towline.v1",
        Encoding::MessagePack => "towline.v1+msgpack",
    }
}

/// A message as it travels.
pub(crate) fn message(text: String, encoding: Encoding) -> Message {
    let mut bytes = Vec::new();
    // What this client writes is JSON; were it not, the server says so.
    match encoding {
        Encoding::MessagePack if msgpack::from_json(&text, &mut bytes).is_ok() => Message::binary(bytes),
        _ => Message::text(text),
    }
}

/// The text of a binary message, at most this long.
///
/// # Errors
/// Why it is none.
pub(crate) fn text_of(bytes: &[u8], bytes_max: usize) -> Result<String, MsgpackError> {
    msgpack::to_json(bytes, bytes_max)
}

/// A frame from the server.
#[derive(Debug)]
pub(crate) enum Incoming {
    Event(Box<Event>),
    Message {
        message: Box<ServerMessage>,
        correlation_id: Option<String>,
    },
    /// A message of a kind that this client does not know: a newer server. To be ignored.
    Unknown,
}

/// Reads a frame.
///
/// # Errors
/// The frame is not an envelope, or an event without what makes it one. Continuity can then no longer be proven on this connection.
pub(crate) fn read(text: &str) -> serde_json::Result<Incoming> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow, default)]
        offset: Option<&'a RawValue>,
        #[serde(default)]
        correlation_id: Option<String>,
    }
    let head: Head<'_> = serde_json::from_str(text)?;
    // An application may name its events as it likes, `ping` too; a place in a history is what only events have.
    if head.offset.is_some() {
        return Event::parse(text).map(|event| Incoming::Event(Box::new(event)));
    }
    Ok(match serde_json::from_str::<ServerMessage>(text) {
        Ok(message) => Incoming::Message { message: Box::new(message), correlation_id: head.correlation_id },
        Err(_) => Incoming::Unknown,
    })
}

/// Asks for topics.
pub(crate) fn subscribe(id: &str, topics: &[(TopicName, StartRequest)]) -> String {
    let topics: Vec<_> = topics.iter().map(|(topic, from)| json!({"topic": topic, "from": start(from)})).collect();
    json!({"v": 1, "id": id, "type": "subscribe", "data": {"topics": topics}}).to_string()
}

/// Asks whether anybody is there.
pub(crate) fn ping() -> String {
    json!({"v": 1, "type": "ping"}).to_string()
}

/// Answers a ping, with the last event seen of each topic.
pub(crate) fn pong<'a>(last_seen: impl Iterator<Item = (&'a TopicName, &'a str)>) -> String {
    let seen: serde_json::Map<String, serde_json::Value> =
        last_seen.map(|(topic, id)| (topic.as_str().to_owned(), id.into())).collect();
    if seen.is_empty() {
        return json!({"v": 1, "type": "pong"}).to_string();
    }
    json!({"v": 1, "type": "pong", "data": {"last_seen": seen}}).to_string()
}

/// Hands in a fresh token.
pub(crate) fn auth(token: &str) -> String {
    json!({"v": 1, "id": "auth", "type": "auth", "data": {"token": token}}).to_string()
}

fn start(from: &StartRequest) -> serde_json::Value {
    match from {
        StartRequest::Latest => json!("latest"),
        StartRequest::Earliest => json!("earliest"),
        StartRequest::After(position) => json!(position),
        StartRequest::AfterId(id) => json!({ "id": id }),
        StartRequest::Since(ms) => json!({ "ts": *ms as f64 / 1000.0 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_protocol::{Asked, ClientMessage, Dialect, Epoch, Position, Stamp, TopicRequest};

    #[test]
    fn the_server_reads_what_the_client_writes() {
        let starts = [
            StartRequest::Latest,
            StartRequest::Earliest,
            StartRequest::After(Position { epoch: Epoch(0xabc), offset: 7 }),
            StartRequest::AfterId("e-1".into()),
            StartRequest::Since(1_719_958_453_042),
        ];
        let topics: Vec<_> = starts.iter().map(|s| (TopicName::new("user:1").unwrap(), s.clone())).collect();
        let text = subscribe("s1", &topics);
        let request = Dialect::Native.decode(&text).unwrap();
        assert_eq!(request.id.as_deref(), Some("s1"));
        let expected: Vec<_> = starts.into_iter().map(|from| TopicRequest { topic: "user:1".into(), from }).collect();
        assert!(matches!(request.message, ClientMessage::Subscribe(topics) if topics == expected));
        assert!(matches!(Dialect::Native.decode(&ping()).unwrap().message, ClientMessage::Ping));
        let none = std::iter::empty();
        assert!(matches!(Dialect::Native.decode(&pong(none)).unwrap().message, ClientMessage::Pong(None)));
        let seen = pong([(&TopicName::new("t").unwrap(), "e9")].into_iter());
        assert!(matches!(Dialect::Native.decode(&seen).unwrap().message, ClientMessage::Pong(Some(_))));
        assert!(matches!(Dialect::Native.decode(&auth("a\"b")).unwrap().message, ClientMessage::Auth(t) if t == "a\"b"));
    }

    #[test]
    fn the_client_reads_what_the_server_writes() {
        let message = ServerMessage::CaughtUp { topic: "t".into(), replayed: 3, epoch: Epoch(1), offset: 3 };
        let mut out = Vec::new();
        Dialect::Native.encode_message(
            &message,
            Stamp { id: "m", ts_ms: 1, correlation_id: Some("s1"), asked: Asked::Other },
            &mut out,
        );
        let Incoming::Message { message: got, correlation_id } = read(std::str::from_utf8(&out).unwrap()).unwrap() else {
            panic!("not a message");
        };
        assert_eq!((*got, correlation_id.as_deref()), (message, Some("s1")));
    }

    #[test]
    fn an_event_named_like_a_message_is_an_event_and_the_unknown_is_ignored() {
        let text = r#"{"id":"e","topic":"t","type":"ping","ts":1,"epoch":"1","offset":4,"data":{}}"#;
        assert!(matches!(read(text).unwrap(), Incoming::Event(event) if event.kind == "ping"));
        assert!(matches!(read(r#"{"type":"from_the_future","data":{}}"#).unwrap(), Incoming::Unknown));
        for bad in ["", "nonsense", "7", r#"{"offset":"x"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
