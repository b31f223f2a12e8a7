//! What is looked at once a second per connection: is it alive, does it take what it is given, does its token still hold.

use std::time::Duration;

use towline_protocol::{CloseCode, ServerMessage};
use towline_sockets::Io;

use super::door::Heartbeat;
use super::gate::Gate;
use super::requests::seconds;
use super::session::Session;

/// A socket that has taken nothing for this long gives back the pages it holds; they are read again when it goes on.
const PAGES_HELD: Duration = Duration::from_secs(2);

impl Gate {
    pub(super) fn watch(&mut self, io: &mut Io<'_>, session: &mut Session) {
        if self.expiry(io, session) || self.revoked(io, session) {
            return;
        }
        self.recheck_if_due(io, session);
        let sockets = &self.shared.config.sockets;
        if io.blocked_for() >= sockets.stall_timeout {
            self.shared.metrics.stalled.inc();
            let reason = "no bytes were accepted for too long; reconnect and resume";
            return io.close_blocked(CloseCode::Stalled.number(), reason);
        }
        if io.blocked_for() >= PAGES_HELD {
            self.give_up_pages(session);
        }
        self.heartbeat(io, session);
    }

    fn heartbeat(&mut self, io: &mut Io<'_>, session: &mut Session) {
        let sockets = &self.shared.config.sockets;
        let interval = sockets.heartbeat_interval;
        let expects_answer = session.door.heartbeat != Heartbeat::Comment;
        if expects_answer && io.silent_for() >= sockets.idle_timeout {
            return self.close(io, CloseCode::HeartbeatTimeout, "nothing was heard from you for too long");
        }
        if io.silent_for() < interval {
            session.pinged = false;
        }
        // Who was active on both sides needs no ping; who answers nothing gets one, not one a second.
        let asks = expects_answer && !session.pinged && io.silent_for() >= interval;
        if !asks && io.quiet_for() < interval || io.is_blocked() {
            return;
        }
        session.pinged = true;
        self.shared.metrics.heartbeats.inc();
        if session.door.heartbeat != Heartbeat::Comment {
            io.ping();
        }
        if session.door.heartbeat != Heartbeat::Frame {
            self.say(io, session.door, &ServerMessage::Ping {}, None);
        }
    }

    /// True if the connection was closed.
    fn expiry(&mut self, io: &mut Io<'_>, session: &mut Session) -> bool {
        let Some(expires_at_ms) = session.identity.as_ref().and_then(|identity| identity.expires_at_ms) else { return false };
        let now_ms = self.shared.clock.unix_ms();
        if now_ms >= expires_at_ms {
            self.close(io, CloseCode::Unauthorized, "the token has expired; get a fresh one");
            return true;
        }
        let left = Duration::from_millis(expires_at_ms - now_ms);
        if left <= self.shared.config.auth.expiry_warning && !session.warned_of_expiry {
            session.warned_of_expiry = true;
            let warning = ServerMessage::AuthExpiring { expires_at: seconds(expires_at_ms), seconds_left: left.as_secs() };
            self.say(io, session.door, &warning, None);
        }
        false
    }
}
