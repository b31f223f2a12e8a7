//! What an application must answer to.

use std::time::Duration;

use crate::io::{Connections, Io};
use crate::mailbox::ConnectionId;
use towline_websocket::Message;

/// The decisions. One instance per worker, owned by its thread: nothing here is shared, so nothing is locked.
///
/// All calls are synchronous and must not block: slow work goes elsewhere and comes back as a [`Application::Note`].
pub trait Application: Sized + 'static {
    /// What the application keeps per connection.
    type Session: 'static;
    /// What a connection brings when it arrives.
    type Ticket: Send + 'static;
    /// What other threads tell a worker.
    type Note: Send + 'static;

    /// A connection arrived.
    fn opened(&mut self, io: &mut Io<'_>, ticket: Self::Ticket) -> Self::Session;

    /// A whole message came in: text or binary; control frames are dealt with before.
    fn message(&mut self, io: &mut Io<'_>, session: &mut Self::Session, message: Message<'_>);

    /// The socket took all that was waiting and takes more.
    fn writable(&mut self, io: &mut Io<'_>, session: &mut Self::Session);

    /// Another thread says something.
    fn note(&mut self, connections: &mut Connections<'_, Self>, note: Self::Note);

    /// All input of this turn is dealt with: the moment to write what is new, once for everything that came together.
    fn turn_ends(&mut self, connections: &mut Connections<'_, Self>);

    /// About once a second per connection, for time-outs and heartbeats.
    fn tick(&mut self, io: &mut Io<'_>, session: &mut Self::Session);

    /// The connection is gone. Called exactly once for each that was opened.
    fn closed(&mut self, id: ConnectionId, session: Self::Session, ended: Ended, life: Life);
}

/// What a connection was, told at its end.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// How long it lasted.
    pub age: Duration,
    /// Bytes written to it.
    pub sent_bytes: u64,
    /// Bytes read from it.
    pub received_bytes: u64,
    /// What this side gave as the reason, if it closed it, and not too many others were closed since.
    pub reason: Option<Box<str>>,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// This side closed it, with this code (1000 for a stream that is no WebSocket).
    ByServer(u16),
    /// The peer closed it, with this code if it said one.
    ByPeer(Option<u16>),
    /// The peer broke the protocol; this is the code it was told.
    Violation(u16),
    /// The network did.
    Lost,
}

impl Ended {
    /// The close code as RFC 6455 counts them: 1005 where the peer gave none, 1006 where there was no close frame.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::ByServer(code) | Self::ByPeer(Some(code)) | Self::Violation(code) => code,
            Self::ByPeer(None) => 1005,
            Self::Lost => 1006,
        }
    }
}
