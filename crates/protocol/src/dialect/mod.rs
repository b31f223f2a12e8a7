//! Dialects: one pair of pure functions each, decode and encode. A door is a route that speaks one of them.

mod feed;
mod hub;
mod incoming;
mod native;
mod native_binary;
mod sse;
mod unified;
mod unified_error;

use crate::event::EventView;
use crate::message::{Asked, ClientRequest, Decline, ServerMessage};

/// A message dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `towline.v1`: envelope v1 in both directions.
    Native,
    /// The activity feed: `{"type", "data", …}`.
    Feed,
    /// Server-Sent Events whose data is envelope v1. One way.
    Sse,
    /// `towline.v1+msgpack`: the same as the first, in MessagePack.
    NativeBinary,
    /// The topic hub: envelope v1 from the server, flat or enveloped requests from the client. Its events are the native ones.
    Hub,
    /// The unified socket: `{"type", "payload", "timestamp"}` in both directions.
    Unified,
}

/// What an answer belongs to: stamped on every server message.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// The message's own id: the trace id that is in the logs too.
    pub id: &'a str,
    /// Now, in Unix milliseconds.
    pub ts_ms: u64,
    /// The client's id of the request that this answers.
    pub correlation_id: Option<&'a str>,
    /// What that request asked.
    pub asked: Asked,
}

impl Dialect {
    /// All dialects.
    pub const ALL: [Self; 6] = [Self::Native, Self::Feed, Self::Sse, Self::NativeBinary, Self::Hub, Self::Unified];
    /// Those whose events look different; the position of each is its [`Dialect::format`].
    pub const FORMATS: [Self; 5] = [Self::Native, Self::Feed, Self::Sse, Self::NativeBinary, Self::Unified];

    /// The number of the form that its events have. Dialects that differ in their requests only share the frames of their events.
    #[must_use]
    pub fn format(self) -> usize {
        match self {
            Self::Native | Self::Hub => 0,
            Self::Feed => 1,
            Self::Sse => 2,
            Self::NativeBinary => 3,
            Self::Unified => 4,
        }
    }

    /// Whether what the server sends are binary messages. Text messages are taken all the same.
    #[must_use]
    pub fn is_binary(self) -> bool {
        matches!(self, Self::NativeBinary)
    }

    /// What a client's binary message says as text, for [`Dialect::decode`]; `None` if this dialect takes no binary messages. A text longer
    /// than `text_bytes_max` is declined before it is whole.
    #[must_use]
    pub fn text_of(self, bytes: &[u8], text_bytes_max: usize) -> Option<Result<String, Decline>> {
        match self {
            Self::NativeBinary => Some(native_binary::text_of(bytes, text_bytes_max)),
            Self::Native | Self::Feed | Self::Sse | Self::Hub | Self::Unified => None,
        }
    }

    /// Understands a client's text message.
    ///
    /// # Errors
    /// A [`Decline`] that says what was wrong; the connection stays open.
    pub fn decode(self, text: &str) -> Result<ClientRequest<'_>, Decline> {
        match self {
            Self::Native | Self::NativeBinary => native::decode(text),
            Self::Feed => feed::decode(text),
            Self::Sse => Err(sse::one_way()),
            Self::Hub => hub::decode(text),
            Self::Unified => unified::decode(text),
        }
    }

    /// Appends a stored event. The same event gives the same bytes to every subscriber.
    pub fn encode_event(self, event: &EventView<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Native | Self::Hub => native::encode_event(event, out),
            Self::Feed => feed::encode_event(event, out),
            Self::Sse => sse::encode_event(event, out),
            Self::NativeBinary => native_binary::encode_event(event, out),
            Self::Unified => unified::encode_event(event, out),
        }
    }

    /// Appends a server message.
    pub fn encode_message(self, message: &ServerMessage, stamp: Stamp<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Native => native::encode_message(message, stamp, out),
            Self::Feed => feed::encode_message(message, stamp, out),
            Self::Sse => sse::encode_message(message, stamp, out),
            Self::NativeBinary => native_binary::encode_message(message, stamp, out),
            Self::Hub => hub::encode_message(message, stamp, out),
            Self::Unified => unified::encode_message(message, stamp, out),
        }
    }
}
