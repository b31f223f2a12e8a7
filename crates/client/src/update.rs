//! What a subscription tells its consumer.

use std::time::Duration;

use towline_protocol::{ErrorBody, ErrorCode, GapCause, GapNotice, Position};

use crate::event::Event;

/// One thing that happened to a subscription, in the order in which it happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Update {
    /// A connection stands. The first is a start, each later one a resumption.
    Connected {
        /// The connection's name in the server's logs.
        connection_id: String,
        /// Whom the server takes the client for.
        user_id: String,
        /// There was a connection before.
        resumed: bool,
    },
    /// A topic is followed from here on.
    Subscribed {
        /// Which.
        topic: String,
        /// Its events begin behind this position.
        from: Position,
        /// Up to here they are replay.
        to: Position,
    },
    /// A topic may not be followed; the others go on.
    Refused {
        /// Which.
        topic: String,
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// The next event of its topic.
    Event(Box<Event>),
    /// History is lost for good: the server cannot give it. Delivery goes on behind it.
    Gap(Gap),
    /// An event did not follow the one before it. The topic was asked again from `after`: nothing is lost, the server or the way
    /// to it is at fault.
    Hole(Hole),
    /// Replay has reached the live events.
    CaughtUp {
        /// Where.
        topic: String,
        /// How many events were replayed.
        replayed: u64,
        /// The last of them.
        position: Position,
    },
    /// The connection is gone; another attempt follows after `retry_in`.
    Disconnected {
        /// The close code, where the server sent one.
        code: Option<u16>,
        /// For people.
        reason: String,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// The token expires soon and this client has no way to get another.
    AuthExpiring {
        /// Until the server closes the connection.
        remaining: Duration,
    },
    /// The server answered a request with an error, and the connection stands.
    Error(ErrorBody),
    /// The last update: the client does not try again.
    Stopped(StopReason),
}

/// History that the server can no longer give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Where.
    pub topic: String,
    /// Why.
    pub reason: GapCause,
    /// What was asked for, where it was a position.
    pub requested: Option<Position>,
    /// Delivery goes on behind this position.
    pub resume_after: Position,
}

impl Gap {
    pub(crate) fn new(topic: &str, notice: GapNotice) -> Self {
        Self { topic: topic.to_owned(), reason: notice.reason, requested: notice.requested, resume_after: notice.resume_after }
    }
}

/// An event that did not follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hole {
    /// Where.
    pub topic: String,
    /// The last event that did.
    pub after: Position,
    /// The one that did not.
    pub got: Position,
}

/// Why a client no longer tries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopReason {
    /// The credential was refused, and there is no other.
    #[error("not authenticated: {0}")]
    Unauthorized(String),
    /// The credential is good and does not allow this.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// None of the topics may be followed.
    #[error("none of the topics may be followed: {0}")]
    NoTopics(String),
    /// The server ended the connection in a way that says: do not come back.
    #[error("the server ended the connection with code {code}: {reason}")]
    Closed {
        /// The close code.
        code: u16,
        /// For people.
        reason: String,
    },
    /// The server does not take such requests at all: a wrong address, or not a Towline server.
    #[error("the server answered {status} instead of opening a socket: {message}")]
    NotASocket {
        /// The HTTP status.
        status: u16,
        /// For people.
        message: String,
    },
}
