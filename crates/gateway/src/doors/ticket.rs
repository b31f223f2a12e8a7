//! What a connection brings from its handshake to the reactor.

use std::net::IpAddr;
use std::sync::Arc;

use towline_auth::Identity;
use towline_hub::Joined;
use towline_log::ReadError;
use towline_protocol::message::TopicRefusal;
use towline_protocol::{CloseCode, TopicName};
use towline_sockets::websocket::extensions::Deflate;

use super::door::Door;
use crate::server::Place;

/// An unauthenticated connection has no session: it is told why and closed. Only [`Ticket::Admitted`] becomes one.
pub enum Ticket {
    /// Somebody who may be here.
    Admitted(Box<Admission>),
    /// Somebody who may not, and whose browser cannot see a handshake's status.
    Refused(Refused),
}

/// Somebody who may be here.
pub struct Admission {
    /// Through which door.
    pub door: &'static Door,
    /// Who.
    pub identity: Arc<Identity>,
    /// From where.
    pub client: IpAddr,
    /// The compression that was agreed upon.
    pub compression: Option<Deflate>,
    /// Cursors that come with the door.
    pub joined: Vec<Joined>,
    /// Topics that its address asked for besides: answered like a `subscribe`.
    pub asked: Option<JoinedTopics>,
    /// Counts the connection while it lives.
    pub place: Place,
}

/// Topics that somebody asked for: what became of those that are allowed, and those that are not.
#[derive(Default)]
pub struct JoinedTopics {
    /// Each with its cursor.
    pub joined: Vec<(TopicName, Result<Joined, ReadError>)>,
    /// Followed already: their cursors stay where they are.
    pub kept: Vec<TopicName>,
    /// With the reasons.
    pub refused: Vec<TopicRefusal>,
}

/// Somebody who may not be here.
pub struct Refused {
    /// Through which door.
    pub door: &'static Door,
    /// The close frame's code…
    pub code: CloseCode,
    /// …and reason.
    pub reason: String,
    /// Counts the connection while it lives.
    pub place: Place,
}
