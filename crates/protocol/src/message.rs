//! What clients ask and what servers answer, in the native shapes. Doors with another dialect translate to and from these.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::codes::ErrorCode;
use crate::event::PublishItem;
use crate::inbox_message::InboxMessage;
use crate::position::{Epoch, Offset, Position};

/// A client's message after decoding, whatever door it came through.
#[derive(Debug)]
pub struct ClientRequest<'a> {
    /// The client's own id of the message; its answer carries it as `correlation_id`.
    pub id: Option<Cow<'a, str>>,
    /// What it asks.
    pub message: ClientMessage<'a>,
}

/// What a client can ask.
#[derive(Debug)]
pub enum ClientMessage<'a> {
    /// Follow topics.
    Subscribe(Vec<TopicRequest<'a>>),
    /// Follow them no longer.
    Unsubscribe(Vec<Cow<'a, str>>),
    /// Append events (services, and users with a publish grant).
    Publish(Vec<PublishItem<'a>>),
    /// A message to the application.
    Message(InboxMessage<'a>),
    /// Are you there?
    Ping,
    /// Answer to the server's `ping`; may say what was seen last.
    Pong(Option<LastSeen>),
    /// A fresh token for this connection.
    Auth(Cow<'a, str>),
}

/// What a request asked, where that changes how its refusal looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// To follow topics.
    Subscribe,
    /// To follow them no longer.
    Unsubscribe,
    /// Anything else, or nothing.
    #[default]
    Other,
}

/// One topic of a `subscribe`.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicRequest<'a> {
    /// The topic's name, not yet checked.
    pub topic: Cow<'a, str>,
    /// Where to start.
    pub from: StartRequest,
}

/// Where a subscription, replay or stream starts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StartRequest {
    /// With the next event.
    #[default]
    Latest,
    /// With the first event that is still retained.
    Earliest,
    /// After this position.
    After(Position),
    /// After the event with this id.
    AfterId(Box<str>),
    /// With the first event taken at or after this time, in Unix milliseconds.
    Since(u64),
}

/// The last event a client has handled, as reported in its `pong`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LastSeen {
    /// The id of the last event.
    Id(Box<str>),
    /// Per topic, the last event's id.
    PerTopic(Vec<(Box<str>, Box<str>)>),
}

/// A client's message could not be understood. The connection stays open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decline {
    /// The message's own id, where one could be read.
    pub id: Option<String>,
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was wrong, and what was expected.
    pub message: String,
    /// What the message asked, where that could be read.
    pub asked: Asked,
}

impl Decline {
    /// A decline of a message of which nothing else is known.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { id: None, code, message: message.into(), asked: Asked::Other }
    }

    /// The same with the message's id.
    #[must_use]
    pub fn of(self, id: Option<&str>) -> Self {
        Self { id: id.map(str::to_owned), ..self }
    }
}

/// What a server says on a connection beside events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ServerMessage {
    /// First message of every connection.
    #[schemars(title = "Welcome")]
    Welcome {
        /// Names this connection in logs.
        connection_id: String,
        /// Whom the server takes the client for.
        user_id: String,
        /// Unix seconds.
        server_time: f64,
        /// The server pings a silent client after this long.
        heartbeat_interval_ms: u64,
        /// A client silent for this long is closed with 4408.
        idle_timeout_ms: u64,
        /// Topics the connection follows without asking.
        topics: Vec<String>,
        /// Unix seconds at which the token expires.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        expires_at: Option<f64>,
        /// What one connection may do.
        limits: ConnectionLimits,
        /// What this server offers, on doors whose clients ask for it.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        features: Option<Features>,
    },
    /// Answer to `subscribe`.
    #[schemars(title = "SubscribeAck")]
    SubscribeAck {
        /// The topics that are followed now.
        subscriptions: Vec<Subscribed>,
        /// The topics that are not, and why.
        errors: Vec<TopicRefusal>,
    },
    /// Answer to `unsubscribe`.
    #[schemars(title = "UnsubscribeAck")]
    UnsubscribeAck {
        /// No longer followed.
        topics: Vec<String>,
        /// Those that were not followed.
        errors: Vec<TopicRefusal>,
    },
    /// Answer to `publish`, one result per event in the order given.
    #[schemars(title = "PublishAck")]
    PublishAck {
        /// One per event.
        results: Vec<PublishResult>,
    },
    /// Answer to a message to the application: it is stored, as durably as its topic promises. The same for a message sent again.
    #[schemars(title = "MessageAck")]
    MessageAck {
        /// The message's id.
        id: String,
        /// The user's inbox.
        topic: String,
        /// The history.
        epoch: Epoch,
        /// Its number in the history.
        offset: Offset,
        /// Unix seconds.
        ts: f64,
    },
    /// Answer to `auth`.
    #[schemars(title = "AuthAck")]
    AuthAck {
        /// Unix seconds at which the new token expires.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        expires_at: Option<f64>,
    },
    /// The token expires soon: send `auth` with a fresh one, or the socket is closed with 4401.
    #[schemars(title = "AuthExpiring")]
    AuthExpiring {
        /// Unix seconds.
        expires_at: f64,
        /// Seconds left.
        seconds_left: u64,
    },
    /// Are you there? Answer with `pong`.
    #[schemars(title = "Ping")]
    Ping {},
    /// Answer to the client's `ping`.
    #[schemars(title = "Pong")]
    Pong {},
    /// History that was asked for and cannot be given. Delivery goes on after `resume_after`.
    #[schemars(title = "Gap")]
    Gap {
        /// Where.
        topic: String,
        /// What is missing, and why.
        #[serde(flatten)]
        gap: GapNotice,
    },
    /// Replay has reached the live head.
    #[schemars(title = "CaughtUp")]
    CaughtUp {
        /// Where.
        topic: String,
        /// How many events were replayed.
        replayed: u64,
        /// The history.
        epoch: Epoch,
        /// The last replayed offset.
        offset: Offset,
    },
    /// The server goes away: connect again after the given time and resume.
    #[schemars(title = "Reconnect")]
    Reconnect {
        /// Spread over all clients, so that they do not come back at once.
        retry_after_ms: u64,
    },
    /// A request could not be done, or something went wrong. The connection stays open unless a close frame follows.
    #[schemars(title = "Error")]
    Error(ErrorBody),
}

/// What one connection may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ConnectionLimits {
    /// Bytes of one message from the client.
    pub message_bytes_max: u64,
    /// Topics followed at once.
    pub topics_max: u64,
    /// Bytes of one message to the application.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inbox_message_bytes_max: Option<u64>,
    /// Connections of one user at once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_connections_max: Option<u64>,
    /// Messages of one user in a minute.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_messages_per_minute_max: Option<u64>,
}

/// What a server offers, under the names that clients of the unified door know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Features {
    /// Messages are JSON text.
    pub json_first: bool,
    /// A token is asked for.
    pub auth_required: bool,
    /// A silent client is pinged, and a silent socket closed.
    pub heartbeat_supported: bool,
    /// A client that comes back continues where it was.
    pub reconnection_supported: bool,
    /// History of any retained length is replayed, or a gap is told.
    pub replay_supported: bool,
    /// Topics can be followed and left.
    pub rooms_supported: bool,
    /// Messages to the application are stored before they are acknowledged.
    pub durable_messages: bool,
    /// A token can be renewed on the open connection.
    pub token_refresh_supported: bool,
    /// The native protocol is spoken in MessagePack too.
    pub binary_supported: bool,
    /// Frames are compressed for clients that agree to it.
    pub compression_supported: bool,
}

/// A topic that is followed now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Subscribed {
    /// Its name.
    pub topic: String,
    /// Delivery begins after this position.
    pub from: Position,
    /// The head when the answer was made; up to here it is replay.
    pub to: Position,
    /// Nothing between what was asked for and `from` is missing.
    pub complete: bool,
    /// What is missing, if something is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gap: Option<GapNotice>,
}

/// A topic that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TopicRefusal {
    /// As it was sent, cut at 200 bytes.
    pub topic: String,
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

/// History that cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct GapNotice {
    /// Why.
    pub reason: GapCause,
    /// What was asked for, where it was a position.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requested: Option<Position>,
    /// Delivery goes on after this position.
    pub resume_after: Position,
}

/// Why history cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// Retention removed it.
    Trimmed,
    /// Another epoch, or beyond the head: continuity cannot be proven.
    EpochChanged,
    /// No retained event has this id.
    UnknownId,
    /// Stored bytes were damaged.
    Damaged,
}

/// What became of one published event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum PublishResult {
    /// Stored, as durably as its topic promises.
    #[schemars(title = "Stored")]
    Stored(StoredAt),
    /// The id was known: nothing was stored again; the position is the first one's.
    #[schemars(title = "Duplicate")]
    Duplicate(StoredAt),
    /// Not stored.
    #[schemars(title = "Refused")]
    Refused {
        /// The id the publisher gave, if any.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        id: Option<String>,
        /// Why.
        error: ErrorBody,
    },
}

/// Where an event was stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StoredAt {
    /// The event's id.
    pub id: String,
    /// Its topic.
    pub topic: String,
    /// The history.
    pub epoch: Epoch,
    /// Its number in the history.
    pub offset: Offset,
    /// Unix seconds.
    pub ts: f64,
}

/// An error, the same on sockets and in REST answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what was wrong and what to do.
    pub message: String,
    /// The same request may succeed later unchanged.
    pub retryable: bool,
    /// When it may: after this many milliseconds, not before. Only where the server knows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

impl ErrorBody {
    /// An error with its text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retryable: code.retryable(), retry_after_ms: None }
    }

    /// Says when to try again; rounded up, so that who waits that long does not come too early.
    #[must_use]
    pub fn retry_after(mut self, wait: std::time::Duration) -> Self {
        self.retry_after_ms = Some(wait.as_micros().div_ceil(1_000).max(1) as u64);
        self
    }
}

impl From<crate::event::Refusal> for ErrorBody {
    fn from(refusal: crate::event::Refusal) -> Self {
        Self::new(refusal.code, refusal.message)
    }
}
