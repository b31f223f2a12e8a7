//! Messages to the application that come in on a socket.

use towline_auth::Identity;
use towline_protocol::message::StoredAt;
use towline_protocol::{InboxMessage, ServerMessage};
use towline_sockets::Io;

use super::gate::Gate;
use super::publishing::Wanted;
use super::session::Session;
use crate::inbox::{self, Sender};

impl Gate {
    /// Puts a message into its inbox; it is answered once it is as durable as promised.
    pub(super) fn take_message(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        identity: &Identity,
        id: Option<&str>,
        message: &InboxMessage<'_>,
    ) {
        let connection = self.connection_name(io.id());
        let sender = Sender { identity, door: session.door.name, connection: Some(&connection) };
        match inbox::prepare(&sender, message, &self.shared.config) {
            Ok(prepared) => self.store_soon(io, session, id, Wanted::MessageAck, prepared),
            Err(refusal) => self.complain(io, session, refusal.into(), id),
        }
    }

    pub(super) fn acknowledge(&mut self, io: &mut Io<'_>, session: &Session, correlation_id: Option<&str>, at: StoredAt) {
        let StoredAt { id, topic, epoch, offset, ts } = at;
        self.say(io, session.door, &ServerMessage::MessageAck { id, topic, epoch, offset, ts }, correlation_id);
    }
}
