//! The unified socket's dialect: `{"type", "payload", "timestamp"}` in both directions, with a `correlation_id` where there is one.
//!
//! A type that is not the server's own is a message to the application. Events pass with their own type; a position beside is what tells
//! them from the server's messages.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Stamp, incoming, native, unified_error};
use crate::codes::ErrorCode;
use crate::event::{EVENT_TYPE_BYTES_MAX, EventView, is_label};
use crate::inbox_message::InboxMessage;
use crate::message::{ClientMessage, ClientRequest, Decline, ServerMessage};
use crate::timestamp::write_seconds;

/// What only the server, its agents and other doors say. Taken from a client, it would look to the application as if they had said it.
const SERVERS_OWN: [&str; 19] = [
    "connection_established",
    "subscribe_ack",
    "unsubscribe_ack",
    "message_ack",
    "auth_ack",
    "auth_expiring",
    "gap",
    "caught_up",
    "reconnect",
    "error",
    "welcome",
    "publish",
    "publish_ack",
    "agent_started",
    "agent_thinking",
    "partial_result",
    "tool_executing",
    "tool_completed",
    "agent_completed",
];

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    payload: Option<&'a RawValue>,
    #[serde(borrow, default)]
    correlation_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message_id: Option<&'a RawValue>,
}

/// What is looked for in the payload of a message to the application.
#[derive(Deserialize, Default)]
struct Within<'a> {
    #[serde(borrow, default)]
    thread_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message_id: Option<&'a RawValue>,
}

pub(super) fn decode(text: &str) -> Result<ClientRequest<'_>, Decline> {
    if text.trim().is_empty() {
        return Err(Decline::new(ErrorCode::EmptyMessage, "the message is empty"));
    }
    let incoming: Incoming<'_> = incoming::members(text)?;
    let own_id = incoming.message_id.or(incoming.id);
    let id = incoming::request_id(incoming.correlation_id).or_else(|| incoming::request_id(own_id));
    let kind = incoming::kind(incoming.kind).map_err(|decline| decline.of(id.as_deref()))?;
    let payload = incoming.payload.map_or("{}", RawValue::get);
    let message = match &*kind {
        "ping" => Ok(ClientMessage::Ping),
        "pong" | "heartbeat" | "heartbeat_ack" => Ok(ClientMessage::Pong(None)),
        "auth" => native::auth(payload),
        "subscribe" => native::subscribe(payload),
        "unsubscribe" => native::unsubscribe(payload),
        kind if SERVERS_OWN.contains(&kind) || !is_label(kind, EVENT_TYPE_BYTES_MAX) => {
            let decline = Decline::new(ErrorCode::UnknownType, format!("{:?} is no type for clients", incoming::shown(kind)));
            return Err(decline.of(id.as_deref()));
        }
        _ => {
            let within: Within<'_> = serde_json::from_str(payload).unwrap_or_default();
            return Ok(ClientRequest {
                id,
                message: ClientMessage::Message(InboxMessage {
                    kind,
                    id: incoming::text(own_id.or(within.message_id)),
                    thread_id: incoming::name(within.thread_id),
                    correlation_id: incoming::text(incoming.correlation_id),
                    payload: incoming.payload,
                    bytes: text.len(),
                }),
            });
        }
    };
    // The native texts speak of `data`, which has another name here.
    let decline = |why: String| Decline::new(ErrorCode::InvalidFormat, format!("`{kind}`: {}", why.replace("`data", "`payload")));
    match message {
        Ok(message) => Ok(ClientRequest { id, message }),
        Err(why) => Err(decline(why).of(id.as_deref())),
    }
}

pub(super) fn encode_event(event: &EventView<'_>, out: &mut Vec<u8>) {
    out.reserve(200 + event.topic.len() + event.extras.len() + event.data.len());
    // Topics, ids and types hold no character that JSON would escape: their constructors refuse those.
    out.extend_from_slice(br#"{"type":""#);
    out.extend_from_slice(event.kind.as_bytes());
    out.extend_from_slice(br#"","payload":"#);
    out.extend_from_slice(event.data);
    out.extend_from_slice(br#","timestamp":"#);
    write_seconds(event.ts_ms, out);
    out.extend_from_slice(br#","id":""#);
    out.extend_from_slice(event.id.as_bytes());
    out.extend_from_slice(br#"","topic":""#);
    out.extend_from_slice(event.topic.as_bytes());
    out.push(b'"');
    native::write_position(event, out);
    out.extend_from_slice(event.extras);
    out.push(b'}');
}

#[derive(Serialize)]
struct Outgoing<'a, T> {
    #[serde(rename = "type")]
    kind: &'a str,
    payload: T,
    timestamp: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    id: &'a str,
}

pub(super) fn encode_message(message: &ServerMessage, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    if let ServerMessage::Error(error) = message {
        return write("error", unified_error::payload(error, stamp.ts_ms), stamp, out);
    }
    // Plain structs of strings and numbers always serialise.
    let mut json = serde_json::to_value(message).unwrap_or_default();
    let payload = json["data"].take();
    match message {
        ServerMessage::Welcome { .. } => write("connection_established", established(payload), stamp, out),
        ServerMessage::Ping {} => {
            write("heartbeat", serde_json::json!({ "server_time": stamp.ts_ms as f64 / 1000.0 }), stamp, out)
        }
        _ => write(json["type"].as_str().unwrap_or_default(), payload, stamp, out),
    }
}

/// The limits, under the names that service discovery gives them.
fn established(mut payload: Value) -> Value {
    let heartbeat = payload["heartbeat_interval_ms"].clone();
    if let Some(limits) = payload["limits"].as_object_mut() {
        for (ours, theirs) in [
            ("user_connections_max", "max_connections_per_user"),
            ("user_messages_per_minute_max", "max_message_rate"),
            ("inbox_message_bytes_max", "max_message_size"),
            ("topics_max", "max_topics_per_connection"),
            ("message_bytes_max", "max_frame_size"),
        ] {
            if let Some(value) = limits.remove(ours) {
                limits.insert(theirs.to_owned(), value);
            }
        }
        limits.insert("heartbeat_interval".to_owned(), heartbeat);
    }
    payload
}

fn write<T: Serialize>(kind: &str, payload: T, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    let timestamp = stamp.ts_ms as f64 / 1000.0;
    let outgoing = Outgoing { kind, payload, timestamp, correlation_id: stamp.correlation_id, id: stamp.id };
    // Plain structs of strings and numbers always serialise, and a Vec takes all bytes.
    let _ = serde_json::to_writer(out, &outgoing);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::message::{Asked, ConnectionLimits, ErrorBody};
    use crate::position::Epoch;

    fn encoded(message: &ServerMessage) -> Value {
        let mut out = Vec::new();
        encode_message(message, Stamp { id: "t", ts_ms: 1_500, correlation_id: Some("c"), asked: Asked::Other }, &mut out);
        let packet: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&packet["timestamp"], &packet["correlation_id"]), (&json!(1.5), &json!("c")));
        assert!(packet["payload"].is_object(), "{packet}");
        packet
    }

    // proves: C3
    #[test]
    fn system_messages_have_their_names() {
        let limits = ConnectionLimits {
            message_bytes_max: 1,
            topics_max: 2,
            inbox_message_bytes_max: Some(3),
            user_connections_max: Some(4),
            user_messages_per_minute_max: Some(5),
        };
        let welcome = ServerMessage::Welcome {
            connection_id: "0-1".into(),
            user_id: "u".into(),
            server_time: 1.5,
            heartbeat_interval_ms: 30_000,
            idle_timeout_ms: 60_000,
            topics: vec!["user:u".into()],
            expires_at: None,
            limits,
            features: None,
        };
        let packet = encoded(&welcome);
        assert_eq!((&packet["type"], &packet["payload"]["user_id"]), (&json!("connection_established"), &json!("u")));
        assert_eq!(
            packet["payload"]["limits"],
            json!({
                "max_frame_size": 1, "max_topics_per_connection": 2, "max_message_size": 3, "max_connections_per_user": 4,
                "max_message_rate": 5, "heartbeat_interval": 30_000,
            })
        );
        assert_eq!(encoded(&ServerMessage::Ping {})["type"], "heartbeat");
        assert_eq!(encoded(&ServerMessage::Pong {})["type"], "pong");
        assert_eq!(encoded(&ServerMessage::AuthAck { expires_at: None })["type"], "auth_ack");
        let error = encoded(&ServerMessage::Error(ErrorBody::new(ErrorCode::JsonParse, "not JSON")));
        assert_eq!((&error["type"], &error["payload"]["code"]), (&json!("error"), &json!("JSON_PARSE_ERROR")));
    }

    // proves: C3
    #[test]
    fn whatever_is_not_the_servers_own_is_a_message_to_the_application() {
        for kind in ["user_message", "agent_request", "send_message", "example_message", "start_agent", "message"] {
            let text = json!({
                "type": kind, "payload": {"content": "x", "thread_id": 7}, "timestamp": 1, "correlation_id": "c1", "message_id": "m1",
            });
            let text = text.to_string();
            let request = decode(&text).unwrap();
            assert_eq!(request.id.as_deref(), Some("c1"));
            let ClientMessage::Message(message) = request.message else { panic!("{text}") };
            assert_eq!((&*message.kind, message.id.as_deref(), message.thread_id.as_deref()), (kind, Some("m1"), Some("7")));
            assert_eq!((message.correlation_id.as_deref(), message.bytes), (Some("c1"), text.len()));
        }
        assert!(matches!(decode(r#"{"type":"heartbeat"}"#).unwrap().message, ClientMessage::Pong(None)));
        let text = r#"{"type":"subscribe","payload":{"topics":["thread:1"]}}"#;
        assert!(matches!(decode(text).unwrap().message, ClientMessage::Subscribe(topics) if topics.len() == 1));
    }

    #[test]
    fn declines_have_the_contracts_codes() {
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(129));
        for (text, code) in [
            ("", ErrorCode::EmptyMessage),
            (" \n", ErrorCode::EmptyMessage),
            ("{", ErrorCode::JsonParse),
            ("[]", ErrorCode::InvalidFormat),
            ("{}", ErrorCode::MissingType),
            (r#"{"type":7}"#, ErrorCode::InvalidType),
            (r#"{"type":null}"#, ErrorCode::MissingType),
            (r#"{"type":""}"#, ErrorCode::UnknownType),
            (r#"{"type":"a b"}"#, ErrorCode::UnknownType),
            (r#"{"type":"error"}"#, ErrorCode::UnknownType),
            (r#"{"type":"agent_started"}"#, ErrorCode::UnknownType),
            (&long, ErrorCode::UnknownType),
            (r#"{"type":"subscribe","payload":{}}"#, ErrorCode::InvalidFormat),
        ] {
            assert_eq!(decode(text).unwrap_err().code, code, "{text}");
        }
        assert!(decode(r#"{"type":"auth"}"#).unwrap_err().message.contains("`payload.token`"));
    }

    // proves: C3
    #[test]
    fn an_events_own_type_passes_with_its_position_beside() {
        for kind in
            ["agent_started", "agent_thinking", "partial_result", "tool_executing", "tool_completed", "agent_completed", "x"]
        {
            let extras = br#","correlation_id":"c""#;
            let view = EventView {
                topic: "user:1",
                epoch: Epoch(1),
                offset: 2,
                prev: 1,
                ts_ms: 1_500,
                id: "e",
                kind,
                extras,
                data: br#"{"a":1}"#,
            };
            let mut out = Vec::new();
            encode_event(&view, &mut out);
            let expected = json!({
                "type": kind, "payload": {"a": 1}, "timestamp": 1.5, "id": "e", "topic": "user:1", "epoch": "1", "offset": 2,
                "correlation_id": "c",
            });
            assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), expected);
        }
    }
}
