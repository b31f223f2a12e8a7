//! `towline.v1`: envelope v1 in both directions.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Stamp, incoming};
use crate::codes::ErrorCode;
use crate::event::{EventView, PublishItem, write_json_string};
use crate::inbox_message::InboxMessage;
use crate::message::{ClientMessage, ClientRequest, Decline, LastSeen, ServerMessage, StartRequest, TopicRequest};
use crate::position::Position;
use crate::timestamp::{parse_ms, write_decimal, write_seconds};
use crate::topic::TopicName;

#[derive(Deserialize)]
struct Incoming<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

pub(super) fn decode(text: &str) -> Result<ClientRequest<'_>, Decline> {
    let incoming: Incoming<'_> = incoming::members(text)?;
    let id = incoming::request_id(incoming.id);
    let kind = incoming::kind(incoming.kind).map_err(|decline| decline.of(id.as_deref()))?;
    let data = incoming.data.map_or("{}", RawValue::get);
    let message = match &*kind {
        "subscribe" => subscribe(data),
        "unsubscribe" => unsubscribe(data),
        "publish" => publish(data),
        "message" => inbox_message(data, text.len()),
        "ping" => Ok(ClientMessage::Ping),
        "pong" => pong(data),
        "auth" => auth(data),
        other => {
            let shown = incoming::shown(other);
            let known = "subscribe, unsubscribe, publish, message, ping, pong, auth";
            let decline = Decline::new(ErrorCode::UnknownType, format!("unknown type {shown:?}; known are {known}"));
            return Err(decline.of(id.as_deref()));
        }
    };
    match message {
        Ok(message) => Ok(ClientRequest { id, message }),
        Err(why) => Err(Decline::new(ErrorCode::InvalidFormat, format!("`{kind}`: {why}")).of(id.as_deref())),
    }
}

/// Where to start, as it stands in JSON: `"latest"`, `"earliest"`, `{"epoch","offset"}`, `{"id"}` or `{"ts"}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum StartJson<'a> {
    Word(#[serde(borrow)] Cow<'a, str>),
    Position(Position),
    Id { id: String },
    Time { ts: TimeJson },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TimeJson {
    Number(f64),
    Text(String),
}

/// A topic with its start. An entry may also be the bare name: told apart by hand, because serde's untagged enums cannot hold raw JSON.
#[derive(Deserialize)]
struct TopicJson<'a> {
    #[serde(borrow)]
    topic: Cow<'a, str>,
    #[serde(borrow, default)]
    from: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TopicsJson<'a> {
    #[serde(borrow)]
    topics: Vec<&'a RawValue>,
}

pub(super) fn subscribe(data: &str) -> Result<ClientMessage<'_>, String> {
    let body: TopicsJson<'_> = serde_json::from_str(data).map_err(|_| "`data.topics` must be an array".to_owned())?;
    topic_requests(body.topics).map(ClientMessage::Subscribe)
}

/// Topics as a `subscribe` of any dialect names them.
pub(super) fn topic_requests(list: Vec<&RawValue>) -> Result<Vec<TopicRequest<'_>>, String> {
    let mut topics = Vec::with_capacity(list.len());
    for raw in list {
        let expected = |_| "each of `data.topics` must be a name or {\"topic\", \"from\"}".to_owned();
        topics.push(if raw.get().starts_with('{') {
            let TopicJson { topic, from } = serde_json::from_str(raw.get()).map_err(expected)?;
            let from = from.map_or(Ok(StartRequest::Latest), |raw| start(raw.get()))?;
            TopicRequest { topic, from }
        } else {
            TopicRequest { topic: serde_json::from_str(raw.get()).map_err(expected)?, from: StartRequest::Latest }
        });
    }
    Ok(topics)
}

fn start(json: &str) -> Result<StartRequest, String> {
    let expected = || {
        "`from` must be \"latest\", \"earliest\", {\"epoch\",\"offset\"} (resume after it), {\"id\"} (after that event) or {\"ts\"}"
            .to_owned()
    };
    match serde_json::from_str(json).map_err(|_| expected())? {
        StartJson::Word(word) => match &*word {
            "latest" => Ok(StartRequest::Latest),
            "earliest" => Ok(StartRequest::Earliest),
            other => other.parse().map(StartRequest::After).map_err(|_| expected()),
        },
        StartJson::Position(position) => Ok(StartRequest::After(position)),
        StartJson::Id { id } => Ok(StartRequest::AfterId(id.into())),
        StartJson::Time { ts } => {
            let text = match ts {
                TimeJson::Number(number) => number.to_string(),
                TimeJson::Text(text) => text,
            };
            parse_ms(&text).map(StartRequest::Since).map_err(|error| format!("`from.ts`: {error}"))
        }
    }
}

pub(super) fn unsubscribe(data: &str) -> Result<ClientMessage<'_>, String> {
    #[derive(Deserialize)]
    struct Names<'a> {
        #[serde(borrow)]
        topics: Vec<Cow<'a, str>>,
    }
    let body: Names<'_> = serde_json::from_str(data).map_err(|_| "`data.topics` must be an array of names".to_owned())?;
    Ok(ClientMessage::Unsubscribe(body.topics))
}

fn publish(data: &str) -> Result<ClientMessage<'_>, String> {
    #[derive(Deserialize)]
    struct Batch<'a> {
        #[serde(borrow)]
        events: Vec<PublishItem<'a>>,
    }
    #[derive(Deserialize)]
    struct HasEvents<'a> {
        #[serde(borrow, default)]
        events: Option<&'a RawValue>,
    }
    // One event is the usual case, and reading it twice would be its greatest cost. The word may also stand in its payload.
    let has_events = data.contains("\"events\"")
        && serde_json::from_str::<HasEvents<'_>>(data).map_err(|error| format!("`data`: {error}"))?.events.is_some();
    let events = if has_events {
        serde_json::from_str::<Batch<'_>>(data).map_err(|error| format!("`data.events`: {error}"))?.events
    } else {
        vec![serde_json::from_str(data).map_err(|error| format!("`data`: {error}"))?]
    };
    Ok(ClientMessage::Publish(events))
}

fn inbox_message(data: &str, bytes: usize) -> Result<ClientMessage<'_>, String> {
    InboxMessage::read(data, bytes).map(ClientMessage::Message).map_err(|refusal| format!("`data`: {}", refusal.message))
}

fn pong(data: &str) -> Result<ClientMessage<'_>, String> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Seen {
        Id(String),
        PerTopic(std::collections::BTreeMap<String, String>),
    }
    #[derive(Deserialize)]
    struct Body {
        #[serde(default)]
        last_seen: Option<Seen>,
    }
    let body: Body = serde_json::from_str(data)
        .map_err(|_| "`data.last_seen` must be an event id or an object of topic to event id".to_owned())?;
    Ok(ClientMessage::Pong(body.last_seen.map(|seen| match seen {
        Seen::Id(id) => LastSeen::Id(id.into()),
        Seen::PerTopic(map) => LastSeen::PerTopic(map.into_iter().map(|(topic, id)| (topic.into(), id.into())).collect()),
    })))
}

pub(super) fn auth(data: &str) -> Result<ClientMessage<'_>, String> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        token: Cow<'a, str>,
    }
    let body: Body<'_> = serde_json::from_str(data).map_err(|_| "`data.token` must be a string".to_owned())?;
    Ok(ClientMessage::Auth(body.token))
}

pub(super) fn encode_event(event: &EventView<'_>, out: &mut Vec<u8>) {
    out.reserve(160 + event.topic.len() + event.extras.len() + event.data.len());
    // Topics, ids and types hold no character that JSON would escape: their constructors refuse those.
    out.extend_from_slice(br#"{"v":1,"id":""#);
    out.extend_from_slice(event.id.as_bytes());
    out.extend_from_slice(br#"","topic":""#);
    out.extend_from_slice(event.topic.as_bytes());
    out.extend_from_slice(br#"","type":""#);
    out.extend_from_slice(event.kind.as_bytes());
    out.extend_from_slice(br#"","ts":"#);
    write_seconds(event.ts_ms, out);
    write_position(event, out);
    out.extend_from_slice(event.extras);
    out.extend_from_slice(br#","data":"#);
    out.extend_from_slice(event.data);
    out.push(b'}');
}

/// Appends `,"epoch":…,"offset":…`, and `prev` where numbers are not consecutive: all that a client needs to see a hole by itself.
pub(super) fn write_position(event: &EventView<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","epoch":""#);
    write_hex(event.epoch.0, out);
    out.extend_from_slice(br#"","offset":"#);
    write_decimal(event.offset, out);
    if event.prev + 1 != event.offset {
        out.extend_from_slice(br#","prev":"#);
        write_decimal(event.prev, out);
    }
}

fn write_hex(value: u64, out: &mut Vec<u8>) {
    let digits = (16 - value.leading_zeros() as usize / 4).max(1);
    for at in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (at * 4)) as usize & 15]);
    }
}

pub(super) fn encode_message(message: &ServerMessage, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    let topic = match message {
        ServerMessage::Gap { topic, .. } | ServerMessage::CaughtUp { topic, .. } => topic,
        _ => TopicName::CONNECTION,
    };
    out.extend_from_slice(br#"{"v":1,"id":""#);
    out.extend_from_slice(stamp.id.as_bytes());
    out.extend_from_slice(br#"","topic":""#);
    out.extend_from_slice(topic.as_bytes());
    out.extend_from_slice(br#"","ts":"#);
    write_seconds(stamp.ts_ms, out);
    if let Some(id) = stamp.correlation_id {
        write_member("correlation_id", id, out);
    }
    out.push(b',');
    // The message is an object of its own: its members go on where the envelope's end.
    let open_brace = out.len();
    // Plain structs of strings and numbers always serialise, and a Vec takes all bytes.
    let _ = serde_json::to_writer(&mut *out, message);
    out.remove(open_brace);
}

/// Appends `,"name":"value"`.
pub(super) fn write_member(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    write_json_string(value, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    fn start_of(json: &str) -> Result<StartRequest, String> {
        start(json)
    }

    #[test]
    fn every_start_is_read() {
        let position = Position { epoch: Epoch(0xab), offset: 3 };
        assert_eq!(start_of(r#""latest""#), Ok(StartRequest::Latest));
        assert_eq!(start_of(r#""earliest""#), Ok(StartRequest::Earliest));
        assert_eq!(start_of(r#"{"epoch":"ab","offset":3}"#), Ok(StartRequest::After(position)));
        assert_eq!(start_of(r#""ab-3""#), Ok(StartRequest::After(position)));
        assert_eq!(start_of(r#"{"id":"x"}"#), Ok(StartRequest::AfterId("x".into())));
        assert_eq!(start_of(r#"{"ts":1.5}"#), Ok(StartRequest::Since(1500)));
        assert_eq!(start_of(r#"{"ts":"1970-01-01T00:00:02Z"}"#), Ok(StartRequest::Since(2000)));
        for bad in ["1", "null", "{}", r#""soon""#, r#"{"epoch":"zz","offset":1}"#, r#"{"ts":"soon"}"#] {
            assert!(start_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn topics_are_named_bare_or_with_a_start() {
        let text = r#"{"type":"subscribe","data":{"topics":["a",{"topic":"b"},{"topic":"c","from":"earliest"}]}}"#;
        let ClientMessage::Subscribe(topics) = decode(text).unwrap().message else { panic!("not a subscribe") };
        let read: Vec<_> = topics.iter().map(|t| (&*t.topic, &t.from)).collect();
        assert_eq!(read, [("a", &StartRequest::Latest), ("b", &StartRequest::Latest), ("c", &StartRequest::Earliest)]);
        for bad in ["7", "[\"a\",\"b\"]", "{}", "null", r#"{"topic":"a","from":"soon"}"#] {
            assert!(decode(&format!(r#"{{"type":"subscribe","data":{{"topics":[{bad}]}}}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn declines_name_what_was_wrong_and_echo_the_id() {
        for (text, code, word, id) in [
            ("nonsense", ErrorCode::JsonParse, "not JSON", None),
            ("[]", ErrorCode::InvalidFormat, "object", None),
            (r#"{"id":"7"}"#, ErrorCode::MissingType, "`type`", Some("7")),
            (r#"{"id":"7","type":7}"#, ErrorCode::InvalidType, "string", Some("7")),
            (r#"{"id":7,"type":"dance"}"#, ErrorCode::UnknownType, "dance", None),
            (r#"{"id":"7","type":"subscribe"}"#, ErrorCode::InvalidFormat, "topics", Some("7")),
            (r#"{"id":"7","type":"auth","data":{}}"#, ErrorCode::InvalidFormat, "token", Some("7")),
            (r#"{"type":"publish","data":{"topic":"a"}}"#, ErrorCode::InvalidFormat, "type", None),
        ] {
            let decline = decode(text).unwrap_err();
            assert_eq!((decline.code, decline.id.as_deref()), (code, id), "{text}");
            assert!(decline.message.contains(word), "{text}: {}", decline.message);
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_batches_are_read() {
        let text = r#"{"v":1,"future":true,"id":"p","type":"publish","data":{"events":[{"topic":"a","type":"x","new":1},{"topic":"b","type":"y"}]}}"#;
        let request = decode(text).unwrap();
        assert!(matches!(request.message, ClientMessage::Publish(items) if items.len() == 2));
    }

    #[test]
    fn an_event_is_envelope_v1() {
        let view = EventView {
            topic: "user:1",
            epoch: Epoch(0x19a),
            offset: 9,
            prev: 7,
            ts_ms: 1_719_958_453_042,
            id: "e1",
            kind: "agent.started",
            extras: br#","title":"T""#,
            data: br#"{"a":1}"#,
        };
        let mut out = Vec::new();
        encode_event(&view, &mut out);
        assert_eq!(
            std::str::from_utf8(&out).unwrap(),
            r#"{"v":1,"id":"e1","topic":"user:1","type":"agent.started","ts":1719958453.042,"epoch":"19a","offset":9,"prev":7,"title":"T","data":{"a":1}}"#
        );
        out.clear();
        encode_event(&EventView { prev: 8, ..view }, &mut out);
        assert!(!String::from_utf8(out).unwrap().contains("prev"));
    }
}
