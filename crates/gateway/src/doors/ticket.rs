//! What a connection brings from its handshake to the reactor.

use std::net::IpAddr;
use std::sync::Arc;

use towline_auth::Identity;
use towline_hub::Joined;
use towline_protocol::CloseCode;

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
    /// Cursors that come with the door.
    pub joined: Vec<Joined>,
    /// Counts the connection while it lives.
    pub place: Place,
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
