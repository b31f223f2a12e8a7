//! A connection's place among its user's: counted in when it opens, counted out when it is gone, whatever way it ended.

use towline_auth::{Identity, IdentityKind};
use towline_protocol::{CloseCode, ErrorBody, ErrorCode, ServerMessage};
use towline_sockets::{ConnectionId, Connections};

use super::door::Heartbeat;
use super::gate::{Gate, Note};
use super::survey::say_goodbye;
use crate::limits::UserConnection;

impl Gate {
    pub(super) fn count_in(&mut self, id: ConnectionId, identity: &Identity) {
        // A service is not a person with tabs; its operators know how many it needs.
        if identity.kind == IdentityKind::Service {
            return;
        }
        let opened = self.shared.limits.users.open(&identity.subject, self.user_connection(id));
        self.shared.metrics.limits.connections_per_user.observe(opened.connections as f64);
        if let Some(oldest) = opened.superseded
            && let Some(mailbox) = self.colleagues.get().and_then(|all| all.get(usize::from(oldest.gate)))
        {
            mailbox.note(Note::Superseded(oldest.id));
        }
    }

    pub(super) fn count_out(&self, id: ConnectionId, identity: &Identity) {
        if identity.kind != IdentityKind::Service {
            self.shared.limits.users.close(&identity.subject, self.user_connection(id));
        }
    }

    pub(super) fn superseded(&mut self, connections: &mut Connections<'_, Self>, id: ConnectionId) {
        let Some((mut io, session)) = connections.get(id) else { return };
        if io.is_closing() {
            return;
        }
        self.shared.metrics.limits.superseded.inc();
        let most = self.shared.config.users.connections_max;
        let reason = format!("you opened more than {most} connections, and this was the oldest");
        if session.door.heartbeat == Heartbeat::Comment {
            // A stream has no close frame.
            let error = ErrorBody::new(ErrorCode::TooManyConnections, reason.as_str());
            self.say(&mut io, session.door, &ServerMessage::Error(error), None);
        }
        say_goodbye(&mut io, CloseCode::Superseded, &reason);
    }

    fn user_connection(&self, id: ConnectionId) -> UserConnection {
        UserConnection { gate: self.number as u16, id }
    }
}
