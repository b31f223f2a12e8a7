//! Leaving: every client is told to come back, at times spread over a window, so that they do not all arrive elsewhere at once.

use std::time::Duration;

use towline_protocol::{CloseCode, ServerMessage};
use towline_sockets::{ConnectionId, Connections};

use super::gate::Gate;

/// Who leaves when. Latest first, so that the next is at the end.
pub struct Drain {
    due: Vec<(Duration, ConnectionId)>,
}

impl Gate {
    pub(super) fn begin_drain(&mut self, connections: &mut Connections<'_, Self>) {
        let now = self.shared.clock.uptime();
        let window = self.shared.config.drain.window;
        let mut due: Vec<_> = connections.ids().into_iter().map(|id| (now + window.mul_f64(fastrand::f64()), id)).collect();
        due.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        self.drain = Some(Drain { due });
    }

    pub(super) fn continue_drain(&mut self, connections: &mut Connections<'_, Self>) {
        let Some(mut drain) = self.drain.take() else { return };
        let now = self.shared.clock.uptime();
        let mut publishing = Vec::new();
        while let Some((at, id)) = drain.due.pop_if(|(at, _)| *at <= now) {
            let Some((mut io, session)) = connections.get(id) else { continue };
            if session.in_flight > 0 {
                // What it has published is answered first; it can begin nothing more.
                session.awaiting = true;
                io.pause();
                publishing.push((at, id));
                continue;
            }
            // Not all of them at the next second: the same window again, from each one's own moment.
            let retry_after_ms = fastrand::u64(100..=(self.shared.config.drain.window.as_millis() as u64).max(100));
            if session.door.talks {
                self.say(&mut io, session.door, &ServerMessage::Reconnect { retry_after_ms }, None);
            }
            self.close(&mut io, CloseCode::Restart, &format!("the server restarts; reconnect in {retry_after_ms} ms"));
        }
        drain.due.extend(publishing);
        self.drain = Some(drain);
    }
}
