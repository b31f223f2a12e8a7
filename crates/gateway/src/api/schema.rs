//! Shapes that the code writes or reads by hand, as types, so that the documents can be made from them. Tests hold both together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use towline_protocol::{Epoch, Position, Severity};

/// Envelope v1: an event as sockets with the native dialect, event streams and replay carry it. More fields may come.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// The envelope's version.
    #[schemars(extend("const" = 1))]
    pub v: u8,
    /// The event's id, unique within its topic; also the trace id in the server's logs.
    pub id: String,
    /// Where it was published.
    pub topic: String,
    /// What happened, for example `agent.step_completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the log took it: Unix seconds, with a fraction.
    pub ts: f64,
    /// The topic's history.
    pub epoch: Epoch,
    /// Its number in that history.
    pub offset: u64,
    /// The number of the event before it, where that is not `offset` - 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev: Option<u64>,
    /// The publisher's further attributes.
    #[serde(flatten)]
    pub attributes: Attributes,
    /// The payload.
    pub data: Value,
}

/// An event as the activity feed carries it. More fields may come.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct FeedEvent {
    /// What happened, for example `agent.step_completed`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The payload.
    pub data: Value,
    /// The event's id: the same on sockets, in pages and in the log.
    pub id: String,
    /// The same as `id`.
    pub event_id: String,
    /// Where it was published.
    pub topic: String,
    /// When the log took it, in ISO 8601.
    pub timestamp: String,
    /// The topic's history.
    pub epoch: Epoch,
    /// Its number in that history.
    pub offset: u64,
    /// The number of the event before it, where that is not `offset` - 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prev: Option<u64>,
    /// The publisher's further attributes.
    #[serde(flatten)]
    pub attributes: Attributes,
}

/// What a publisher may say about an event beside its payload.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Attributes {
    /// Ties the event to a request of the application. At most 512 bytes, as all of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// W3C trace context, carried along unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// How much a person should care.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Which kind of agent speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_type: Option<String>,
    /// Which execution of the agent this belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
}

/// An event as a publisher sends it. Unknown fields are ignored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct PublishEvent {
    /// Where it goes: 1 to 200 bytes of letters, digits and `_ - . : @ | + = / ~`.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[A-Za-z0-9_.:@|+=/~-]+$"))]
    pub topic: String,
    /// What happened: 1 to 128 visible ASCII characters without quotes and backslashes.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 128))]
    pub kind: String,
    /// The payload: any JSON value; `{}` if left out. 256 KiB and 64 levels by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// The publisher's own id: the same id within the dedup window is stored once. A UUIDv7 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub id: Option<String>,
    /// Further attributes, delivered with the event.
    #[serde(flatten)]
    pub attributes: Attributes,
}

/// What a client sends on a socket.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ClientBody {
    /// Follow topics. Answered by `subscribe_ack`.
    #[schemars(title = "Subscribe")]
    Subscribe {
        /// Names, or names with a start.
        topics: Vec<TopicStart>,
    },
    /// Follow topics no longer. Answered by `unsubscribe_ack`.
    #[schemars(title = "Unsubscribe")]
    Unsubscribe {
        /// Names.
        topics: Vec<String>,
    },
    /// Append events; for services and tokens with a publish grant. Answered by `publish_ack`.
    #[schemars(title = "Publish")]
    Publish(PublishBody),
    /// A message to the application. Answered by `message_ack`.
    #[schemars(title = "Message")]
    Message(InboxBody),
    /// Are you there? Answered by `pong`.
    #[schemars(title = "ClientPing")]
    Ping {},
    /// Answer to the server's `ping`.
    #[schemars(title = "ClientPong")]
    Pong {
        /// The last event that was handled: its id, or per topic.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_seen: Option<Seen>,
    },
    /// A fresh token for this connection. Answered by `auth_ack`.
    #[schemars(title = "Auth")]
    Auth {
        /// The token.
        token: String,
    },
}

/// A client's message with its envelope. Fields beyond these are ignored.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ClientEnvelope {
    /// The client's own id of the message, at most 128 bytes; its answer carries it as `correlation_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What it asks.
    #[serde(flatten)]
    pub body: ClientBody,
}

/// A message to the application.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct InboxBody {
    /// What kind of message: 1 to 128 visible ASCII characters without quotes and backslashes.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 128))]
    pub kind: String,
    /// What it says: any JSON value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// The user's own id of it: the same id within the dedup window is stored once. A UUIDv7 if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub id: Option<String>,
    /// Which conversation it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_id: Option<String>,
    /// Ties it to what the application answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

/// One event, or several.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PublishBody {
    /// Several.
    Many {
        /// In the order in which they are stored.
        events: Vec<PublishEvent>,
    },
    /// One.
    One(Box<PublishEvent>),
}

/// A topic, and where to start.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TopicStart {
    /// With the next event.
    Name(String),
    /// Somewhere else.
    From {
        /// Its name.
        topic: String,
        /// Where to start.
        from: StartAt,
    },
}

/// Where a subscription starts.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StartAt {
    /// `latest` or `earliest`.
    Word(StartWord),
    /// After a position.
    After(Position),
    /// After an event.
    AfterId {
        /// Its id.
        id: String,
    },
    /// At a time.
    Since {
        /// Unix seconds.
        ts: f64,
    },
}

/// Where a subscription starts, in a word.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartWord {
    /// With the next event.
    Latest,
    /// With the first event that is still retained.
    Earliest,
}

/// What was seen last.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Seen {
    /// An event's id.
    Id(String),
    /// Per topic, an event's id.
    PerTopic(std::collections::BTreeMap<String, String>),
}

#[cfg(test)]
mod tests {
    use towline_protocol::{ClientMessage, Dialect, EventLimits, EventView, NewEvent};

    use super::*;

    fn publish_event() -> PublishEvent {
        let text = |text: &str| Some(text.to_owned());
        PublishEvent {
            topic: "user:1".into(),
            kind: "x".into(),
            data: Some(serde_json::json!({"a": 1})),
            id: text("e1"),
            attributes: Attributes {
                correlation_id: text("c"),
                traceparent: text("t"),
                title: text("T"),
                severity: Some(Severity::Warning),
                agent_type: text("a"),
                run_id: text("r"),
            },
        }
    }

    #[test]
    fn what_the_dialects_write_is_what_the_documents_say() {
        let json = serde_json::to_string(&publish_event()).unwrap();
        let event = NewEvent::accept(&serde_json::from_str(&json).unwrap(), &EventLimits::default()).unwrap();
        let view = EventView {
            topic: event.topic.as_str(),
            epoch: Epoch(7),
            offset: 9,
            prev: 3,
            ts_ms: 1_500,
            id: &event.id,
            kind: &event.kind,
            extras: &event.extras,
            data: &event.data,
        };
        let written = |dialect: Dialect| -> Value {
            let mut out = Vec::new();
            dialect.encode_event(&view, &mut out);
            serde_json::from_slice(&out).unwrap()
        };
        let native = written(Dialect::Native);
        let envelope: Envelope = serde_json::from_value(native.clone()).unwrap();
        assert_eq!(serde_json::to_value(envelope).unwrap(), native, "no field is missing in `Envelope`");
        let feed = written(Dialect::Feed);
        let event: FeedEvent = serde_json::from_value(feed.clone()).unwrap();
        assert_eq!(serde_json::to_value(event).unwrap(), feed, "no field is missing in `FeedEvent`");
    }

    #[test]
    fn what_the_documents_say_is_what_the_native_dialect_reads() {
        let topics = vec![
            TopicStart::Name("a".into()),
            TopicStart::From { topic: "b".into(), from: StartAt::Word(StartWord::Earliest) },
            TopicStart::From { topic: "c".into(), from: StartAt::After(Position { epoch: Epoch(1), offset: 2 }) },
            TopicStart::From { topic: "d".into(), from: StartAt::AfterId { id: "e".into() } },
            TopicStart::From { topic: "e".into(), from: StartAt::Since { ts: 1.5 } },
        ];
        for body in [
            ClientBody::Subscribe { topics },
            ClientBody::Unsubscribe { topics: vec!["a".into()] },
            ClientBody::Publish(PublishBody::One(Box::new(publish_event()))),
            ClientBody::Publish(PublishBody::Many { events: vec![publish_event()] }),
            ClientBody::Message(InboxBody {
                kind: "user_message".into(),
                data: Some(serde_json::json!({"content": "x"})),
                id: Some("m".into()),
                thread_id: Some("t".into()),
                correlation_id: Some("c".into()),
            }),
            ClientBody::Ping {},
            ClientBody::Pong { last_seen: Some(Seen::Id("e".into())) },
            ClientBody::Pong { last_seen: Some(Seen::PerTopic([("a".into(), "e".into())].into())) },
            ClientBody::Auth { token: "t".into() },
        ] {
            let text = serde_json::to_string(&ClientEnvelope { id: Some("1".into()), body }).unwrap();
            let request = Dialect::Native.decode(&text).unwrap_or_else(|decline| panic!("{text}: {decline:?}"));
            assert_eq!(request.id.as_deref(), Some("1"));
            if let ClientMessage::Subscribe(topics) = request.message {
                assert_eq!(topics.len(), 5);
            }
        }
    }
}
