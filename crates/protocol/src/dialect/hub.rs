//! The topic hub's dialect: envelope v1 from the server; from the client flat messages, or envelopes with the same members in `data`.
//!
//! Events are the native ones. Answers differ: what was refused altogether is a `subscribe_error`, and each answer names its request as
//! `message_id` too.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Stamp, incoming, native};
use crate::codes::ErrorCode;
use crate::inbox_message::InboxMessage;
use crate::message::{
    Asked, ClientMessage, ClientRequest, Decline, ErrorBody, LastSeen, ServerMessage, Subscribed, TopicRefusal,
};

/// Everything that a message may have, at its top or in its `data`.
#[derive(Deserialize, Default)]
struct Members<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    correlation_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    topics: Option<&'a RawValue>,
    #[serde(borrow, default)]
    token: Option<&'a RawValue>,
    #[serde(borrow, default)]
    thread_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    last_seen: Option<&'a RawValue>,
    #[serde(borrow, default)]
    last_id: Option<&'a RawValue>,
}

/// The shortest `message_id` of a `send_message` that is taken for the message's own id, in bytes: no counter is as long.
const MESSAGE_ID_BYTES_MIN: usize = 16;

pub(super) fn decode(text: &str) -> Result<ClientRequest<'_>, Decline> {
    let top: Members<'_> = incoming::members(text)?;
    // An envelope's members are in its `data`. Whichever level has a member is read: a request must never be taken for another one
    // because its client wrapped it differently.
    let data = top.data.filter(|data| data.get().starts_with('{'));
    let inner: Members<'_> = data.and_then(|data| serde_json::from_str(data.get()).ok()).unwrap_or_default();
    let message_id = inner.message_id.or(top.message_id);
    let id = incoming::request_id(message_id).or_else(|| incoming::request_id(top.id));
    let kind = incoming::kind(top.kind).map_err(|decline| decline.of(id.as_deref()))?;
    let asked = match &*kind {
        "subscribe" => Asked::Subscribe,
        "unsubscribe" => Asked::Unsubscribe,
        _ => Asked::Other,
    };
    let message = match &*kind {
        "subscribe" => topics(inner.topics.or(top.topics)).and_then(native::topic_requests).map(ClientMessage::Subscribe),
        "unsubscribe" => topics(inner.topics.or(top.topics)).and_then(names).map(ClientMessage::Unsubscribe),
        "send_message" => {
            let correlation_id = inner.correlation_id.or(top.correlation_id);
            let thread_id = incoming::name(inner.thread_id.or(top.thread_id));
            let content = inner.content.or(top.content);
            // As it was sent: what an application wants to know of a message stands beside its content.
            let payload = data.or_else(|| serde_json::from_str(text).ok());
            match (thread_id, content) {
                (Some(thread_id), Some(_)) => Ok(ClientMessage::Message(InboxMessage {
                    kind: "send_message".into(),
                    // A counter that begins anew on each connection names a request, not a message: taken for the message's own, the
                    // second "3" would be a repetition of the first and lost.
                    id: incoming::text(message_id).filter(|id| id.len() >= MESSAGE_ID_BYTES_MIN),
                    thread_id: Some(thread_id),
                    correlation_id: incoming::text(correlation_id),
                    payload,
                    bytes: text.len(),
                })),
                _ => Err("`thread_id` and `content` must be there".to_owned()),
            }
        }
        "ping" => Ok(ClientMessage::Ping),
        "pong" => Ok(ClientMessage::Pong(last_seen(&top, &inner))),
        "auth" => match incoming::text(inner.token.or(top.token)) {
            Some(token) => Ok(ClientMessage::Auth(token)),
            None => Err("`token` must be a string".to_owned()),
        },
        other => {
            let shown = incoming::shown(other);
            let known = "subscribe, unsubscribe, send_message, ping, pong, auth";
            let decline = Decline::new(ErrorCode::UnknownType, format!("unknown type {shown:?}; known are {known}"));
            return Err(decline.of(id.as_deref()));
        }
    };
    match message {
        Ok(message) => Ok(ClientRequest { id, message }),
        Err(why) => {
            let decline = Decline::new(ErrorCode::InvalidFormat, format!("`{kind}`: {why}")).of(id.as_deref());
            Err(Decline { asked, ..decline })
        }
    }
}

fn topics(raw: Option<&RawValue>) -> Result<Vec<&RawValue>, String> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or_else(|| "`topics` must be an array".to_owned())
}

fn names(list: Vec<&RawValue>) -> Result<Vec<Cow<'_, str>>, String> {
    let names: Option<Vec<_>> = list.into_iter().map(|raw| incoming::text(Some(raw))).collect();
    names.ok_or_else(|| "each of `topics` must be a name".to_owned())
}

/// A `pong` may say what was seen last in several ways; in none of them is it more than a report.
fn last_seen(top: &Members<'_>, inner: &Members<'_>) -> Option<LastSeen> {
    // In an envelope the `id` beside `data` is the packet's own.
    let flat_id = if top.data.is_none() { top.id } else { None };
    let raw = [inner.last_seen, top.last_seen, inner.last_id, top.last_id, inner.id, flat_id].into_iter().flatten().next();
    incoming::text(raw).map(|id| LastSeen::Id(id.into()))
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u8,
    id: &'a str,
    topic: &'a str,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    data: T,
}

#[derive(Serialize)]
struct Accepted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    topics: Vec<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    subscriptions: &'a [Subscribed],
    errors: Vec<RefusedTopic<'a>>,
}

#[derive(Serialize)]
struct Refused<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    error: &'a str,
    error_code: &'static str,
    code: ErrorCode,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    topics: Vec<&'a str>,
    errors: Vec<RefusedTopic<'a>>,
}

#[derive(Serialize)]
struct RefusedTopic<'a> {
    topic: &'a str,
    error: &'a str,
    error_code: &'static str,
    code: ErrorCode,
}

impl<'a> From<&'a TopicRefusal> for RefusedTopic<'a> {
    fn from(refusal: &'a TopicRefusal) -> Self {
        Self { topic: &refusal.topic, error: &refusal.message, error_code: error_code(refusal.code), code: refusal.code }
    }
}

/// The hub's own clients know four codes; where one of them says the same, it is what they get. Others pass as they are.
fn error_code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::InvalidTopic | ErrorCode::InvalidPosition | ErrorCode::TooManyTopics => ErrorCode::InvalidFormat.as_str(),
        ErrorCode::InvalidToken | ErrorCode::TokenExpired => ErrorCode::Unauthorized.as_str(),
        other => other.as_str(),
    }
}

pub(super) fn encode_message(message: &ServerMessage, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    let message_id = stamp.correlation_id;
    match message {
        ServerMessage::SubscribeAck { subscriptions, errors } => {
            let topics = subscriptions.iter().map(|subscription| &*subscription.topic).collect();
            answer("subscribe", Accepted { message_id, topics, subscriptions, errors: listed(errors) }, errors, stamp, out);
        }
        ServerMessage::UnsubscribeAck { topics, errors } => {
            let topics = topics.iter().map(String::as_str).collect();
            answer(
                "unsubscribe",
                Accepted { message_id, topics, subscriptions: &[], errors: listed(errors) },
                errors,
                stamp,
                out,
            );
        }
        ServerMessage::Error(ErrorBody { code, message, retryable, retry_after_ms }) => {
            let kind = match stamp.asked {
                Asked::Subscribe => "subscribe_error",
                Asked::Unsubscribe => "unsubscribe_error",
                Asked::Other => "error",
            };
            let (error_code, retryable) = (error_code(*code), *retryable);
            let refused = Refused {
                message_id,
                error: message,
                error_code,
                code: *code,
                retryable,
                retry_after_ms: *retry_after_ms,
                topics: Vec::new(),
                errors: Vec::new(),
            };
            write(kind, refused, stamp, out);
        }
        other => {
            native::encode_message(other, stamp, out);
            if let Some(id) = message_id {
                out.pop();
                native::write_member("message_id", id, out);
                out.push(b'}');
            }
        }
    }
}

fn listed(errors: &[TopicRefusal]) -> Vec<RefusedTopic<'_>> {
    errors.iter().map(RefusedTopic::from).collect()
}

/// One answer: what was accepted with the refused ones beside, or, where nothing was accepted, an error.
fn answer(request: &str, accepted: Accepted<'_>, refusals: &[TopicRefusal], stamp: Stamp<'_>, out: &mut Vec<u8>) {
    match refusals.first() {
        Some(first) if accepted.topics.is_empty() => {
            let refused = Refused {
                message_id: accepted.message_id,
                error: &first.message,
                error_code: error_code(first.code),
                code: first.code,
                retryable: first.code.retryable(),
                retry_after_ms: None,
                topics: refusals.iter().map(|refusal| &*refusal.topic).collect(),
                errors: accepted.errors,
            };
            write(&format!("{request}_error"), refused, stamp, out);
        }
        _ => write(&format!("{request}_ack"), accepted, stamp, out),
    }
}

fn write<T: Serialize>(kind: &str, data: T, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    let (ts, message_id) = (stamp.ts_ms as f64 / 1000.0, stamp.correlation_id);
    let topic = crate::topic::TopicName::CONNECTION;
    let envelope = Envelope { v: 1, id: stamp.id, topic, ts, correlation_id: message_id, message_id, kind, data };
    // Plain structs of strings and numbers always serialise, and a Vec takes all bytes.
    let _ = serde_json::to_writer(out, &envelope);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::message::{StartRequest, TopicRequest};
    use crate::position::{Epoch, Position};

    fn both(kind: &str, members: &Value) -> [String; 2] {
        let mut flat = members.clone();
        flat["type"] = kind.into();
        let enveloped = json!({"v": 1, "id": "packet-1", "topic": "system", "ts": 1, "type": kind, "data": members});
        [flat.to_string(), enveloped.to_string()]
    }

    // proves: B2
    #[test]
    fn flat_and_enveloped_requests_say_the_same() {
        for text in
            both("subscribe", &json!({"topics": ["thread:1", {"topic": "system", "from": "earliest"}], "message_id": "m1"}))
        {
            let request = decode(&text).unwrap();
            assert_eq!(request.id.as_deref(), Some("m1"), "{text}");
            let ClientMessage::Subscribe(topics) = request.message else { panic!("{text}") };
            let start = |topic: &'static str, from| TopicRequest { topic: topic.into(), from };
            assert_eq!(topics, [start("thread:1", StartRequest::Latest), start("system", StartRequest::Earliest)]);
        }
        for text in both("unsubscribe", &json!({"topics": ["thread:1"], "message_id": "m2"})) {
            let request = decode(&text).unwrap();
            assert!(matches!(request.message, ClientMessage::Unsubscribe(topics) if topics == ["thread:1"]), "{text}");
        }
        for (message_id, own) in
            [("m3", None), ("0190ab12-0000-7000-8000-00000000000f", Some("0190ab12-0000-7000-8000-00000000000f"))]
        {
            let content = json!({"thread_id": 7, "content": "hello", "message_id": message_id, "metadata": {"a": 1}});
            for text in both("send_message", &content) {
                let request = decode(&text).unwrap();
                assert_eq!(request.id.as_deref(), Some(message_id));
                let ClientMessage::Message(message) = request.message else { panic!("{text}") };
                assert_eq!(
                    (&*message.kind, message.id.as_deref(), message.thread_id.as_deref()),
                    ("send_message", own, Some("7"))
                );
                let payload: Value = serde_json::from_str(message.payload.unwrap().get()).unwrap();
                assert_eq!((&payload["content"], &payload["metadata"]), (&json!("hello"), &json!({"a": 1})));
            }
        }
        for text in both("auth", &json!({"token": "t"})) {
            assert!(matches!(decode(&text).unwrap().message, ClientMessage::Auth(token) if token == "t"));
        }
    }

    #[test]
    fn a_pong_reports_what_was_seen_last_wherever_it_stands() {
        for text in [
            r#"{"type":"pong","id":"e1"}"#,
            r#"{"type":"pong","last_id":"e1"}"#,
            r#"{"type":"pong","id":"packet","data":{"id":"e1"}}"#,
            r#"{"type":"pong","id":"packet","data":{"last_seen":"e1"}}"#,
        ] {
            let message = decode(text).unwrap().message;
            assert!(matches!(&message, ClientMessage::Pong(Some(LastSeen::Id(id))) if &**id == "e1"), "{text}: {message:?}");
        }
        assert!(matches!(decode(r#"{"type":"pong","id":"packet","data":{}}"#).unwrap().message, ClientMessage::Pong(None)));
    }

    #[test]
    fn declines_say_what_was_asked_and_by_whom() {
        for (text, code, id, asked) in [
            (r#"{"type":"subscribe","message_id":"m"}"#, ErrorCode::InvalidFormat, Some("m"), Asked::Subscribe),
            (r#"{"type":"subscribe","topics":"a","id":"m"}"#, ErrorCode::InvalidFormat, Some("m"), Asked::Subscribe),
            (
                r#"{"type":"unsubscribe","data":{"topics":[7],"message_id":"m"}}"#,
                ErrorCode::InvalidFormat,
                Some("m"),
                Asked::Unsubscribe,
            ),
            (r#"{"type":"send_message","content":"x","message_id":"m"}"#, ErrorCode::InvalidFormat, Some("m"), Asked::Other),
            (r#"{"type":"publish","data":{}}"#, ErrorCode::UnknownType, None, Asked::Other),
            (r#"{"topics":[]}"#, ErrorCode::MissingType, None, Asked::Other),
            (r#"{"type":["subscribe"]}"#, ErrorCode::InvalidType, None, Asked::Other),
            ("", ErrorCode::JsonParse, None, Asked::Other),
        ] {
            let decline = decode(text).unwrap_err();
            assert_eq!((decline.code, decline.id.as_deref(), decline.asked), (code, id, asked), "{text}");
        }
    }

    fn encoded(message: &ServerMessage, asked: Asked) -> Value {
        let mut out = Vec::new();
        encode_message(message, Stamp { id: "t", ts_ms: 1_500, correlation_id: Some("m1"), asked }, &mut out);
        let packet: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (&packet["v"], &packet["id"], &packet["ts"], &packet["topic"]),
            (&json!(1), &json!("t"), &json!(1.5), &json!("$connection"))
        );
        assert_eq!((&packet["message_id"], &packet["correlation_id"]), (&json!("m1"), &json!("m1")));
        packet
    }

    // proves: B2
    #[test]
    fn what_was_refused_altogether_is_an_error_and_a_part_of_it_is_beside() {
        let at = Position { epoch: Epoch(1), offset: 2 };
        let subscribed = Subscribed { topic: "system".into(), from: at, to: at, complete: true, gap: None };
        let refusal = |code| TopicRefusal { topic: "user:2".into(), code, message: "no".into() };
        let part = ServerMessage::SubscribeAck { subscriptions: vec![subscribed], errors: vec![refusal(ErrorCode::Forbidden)] };
        let packet = encoded(&part, Asked::Subscribe);
        assert_eq!((&packet["type"], &packet["data"]["topics"]), (&json!("subscribe_ack"), &json!(["system"])));
        assert_eq!(
            packet["data"]["errors"][0],
            json!({"topic": "user:2", "error": "no", "error_code": "FORBIDDEN", "code": "FORBIDDEN"})
        );

        for (code, word) in [
            (ErrorCode::Forbidden, "FORBIDDEN"),
            (ErrorCode::NotFound, "NOT_FOUND"),
            (ErrorCode::InvalidTopic, "INVALID_FORMAT"),
            (ErrorCode::TokenExpired, "UNAUTHORIZED"),
        ] {
            let nothing = ServerMessage::SubscribeAck { subscriptions: Vec::new(), errors: vec![refusal(code)] };
            let packet = encoded(&nothing, Asked::Subscribe);
            assert_eq!((&packet["type"], &packet["data"]["error_code"]), (&json!("subscribe_error"), &json!(word)));
            assert_eq!((&packet["data"]["topics"], &packet["data"]["message_id"]), (&json!(["user:2"]), &json!("m1")));
        }
        let malformed = ServerMessage::Error(ErrorBody::new(ErrorCode::InvalidFormat, "`topics`"));
        assert_eq!(encoded(&malformed, Asked::Subscribe)["type"], "subscribe_error");
        assert_eq!(encoded(&malformed, Asked::Other)["type"], "error");
        let gone = ServerMessage::UnsubscribeAck { topics: Vec::new(), errors: vec![refusal(ErrorCode::NotFound)] };
        assert_eq!(encoded(&gone, Asked::Unsubscribe)["type"], "unsubscribe_error");
        assert_eq!(encoded(&ServerMessage::Pong {}, Asked::Other)["type"], "pong");
    }
}
