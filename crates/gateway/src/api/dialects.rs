//! Shapes of the topic hub and the unified socket as types, so that the documents can be made from them. Tests hold them to the dialects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use towline_protocol::Epoch;

use super::schema::{Attributes, TopicStart};

/// An event as the unified socket carries it. More fields may come.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct UnifiedEvent {
    /// What happened, for example `agent_started`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it was published with.
    pub payload: Value,
    /// When the log took it: Unix seconds, with a fraction.
    pub timestamp: f64,
    /// The event's id: the same through all doors.
    pub id: String,
    /// Where it was published.
    pub topic: String,
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

/// What a client sends on the unified socket. A type that is not the server's own is a message to the application.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct UnifiedMessage {
    /// `ping`, `pong`, `heartbeat`, `auth`, `subscribe`, `unsubscribe`, or the application's own type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// The client's own time; not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Value>,
    /// Comes back with the answer, at most 128 bytes; a message to the application keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The client's own id of a message to the application: the same id within the dedup window is stored once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// What a client sends on the topic hub. The members may also stand in `data`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HubMessage {
    /// Follow topics. Answered by `subscribe_ack`, or `subscribe_error` where nothing was accepted.
    #[schemars(title = "HubSubscribe")]
    Subscribe {
        /// Names, or names with a start.
        topics: Vec<TopicStart>,
        /// Comes back with the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
    },
    /// Follow topics no longer. Answered by `unsubscribe_ack` or `unsubscribe_error`.
    #[schemars(title = "HubUnsubscribe")]
    Unsubscribe {
        /// Names.
        topics: Vec<String>,
        /// Comes back with the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
    },
    /// A message into a thread. Answered by `message_ack`.
    #[schemars(title = "HubSendMessage")]
    SendMessage {
        /// Which thread.
        thread_id: String,
        /// What is said.
        content: Value,
        /// The message's own id: the same id within the dedup window is stored once. Comes back with the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message_id: Option<String>,
    },
    /// Are you there? Answered by `pong`.
    #[schemars(title = "HubPing")]
    Ping {},
    /// Answer to the server's `ping`.
    #[schemars(title = "HubPong")]
    Pong {
        /// The last event that was seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
    },
    /// A fresh token for this connection. Answered by `auth_ack`.
    #[schemars(title = "HubAuth")]
    Auth {
        /// The token.
        token: String,
    },
}

#[cfg(test)]
mod tests {
    use towline_protocol::{Dialect, EventView};

    use super::*;

    #[test]
    fn what_the_unified_dialect_writes_is_what_the_documents_say() {
        let view = EventView {
            topic: "user:1",
            epoch: Epoch(7),
            offset: 9,
            prev: 3,
            ts_ms: 1_500,
            id: "e1",
            kind: "agent_started",
            extras: br#","correlation_id":"c","title":"T""#,
            data: b"[1]",
        };
        let mut out = Vec::new();
        Dialect::Unified.encode_event(&view, &mut out);
        let written: Value = serde_json::from_slice(&out).unwrap();
        let event: UnifiedEvent = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(event).unwrap(), written, "no field is missing in `UnifiedEvent`");
    }

    #[test]
    fn what_the_documents_say_is_what_the_other_dialects_read() {
        let id = || Some("m".to_owned());
        for message in [
            HubMessage::Subscribe { topics: vec![TopicStart::Name("a".into())], message_id: id() },
            HubMessage::Unsubscribe { topics: vec!["a".into()], message_id: id() },
            HubMessage::SendMessage { thread_id: "t".into(), content: "x".into(), message_id: id() },
            HubMessage::Ping {},
            HubMessage::Pong { id: id() },
            HubMessage::Auth { token: "t".into() },
        ] {
            let text = serde_json::to_string(&message).unwrap();
            Dialect::Hub.decode(&text).unwrap_or_else(|decline| panic!("{text}: {decline:?}"));
        }
        for (kind, payload) in
            [("ping", "{}"), ("auth", r#"{"token":"t"}"#), ("subscribe", r#"{"topics":["a"]}"#), ("user_message", "1")]
        {
            let payload = Some(serde_json::from_str(payload).unwrap());
            let message = UnifiedMessage { kind: kind.into(), payload, timestamp: None, correlation_id: id(), message_id: id() };
            let text = serde_json::to_string(&message).unwrap();
            let request = Dialect::Unified.decode(&text).unwrap_or_else(|decline| panic!("{text}: {decline:?}"));
            assert_eq!(request.id.as_deref(), Some("m"));
        }
    }
}
