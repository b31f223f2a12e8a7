//! What an application can do to its connections.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use slab::Slab;
use towline_websocket::{self as websocket, Opcode};

use crate::application::{Application, Ended};
use crate::connection::{Connection, Deciseconds, Phase};
use crate::mailbox::ConnectionId;

/// What a worker keeps beside its connections.
pub(crate) struct Turn {
    pub(crate) now: Deciseconds,
    /// Connections with something queued in this turn.
    pub(crate) flush: Vec<ConnectionId>,
    /// Connections whose input must be looked at again without waiting for readiness.
    pub(crate) resume: Vec<ConnectionId>,
    pub(crate) dead: Vec<ConnectionId>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// Why this side closed the connections that are closing now: the last ones, at most [`REASONS_MAX`].
    pub(crate) reasons: VecDeque<(ConnectionId, Box<str>)>,
}

/// Reasons kept until their connections are gone. More are closed at once only when all are, and then for one reason.
const REASONS_MAX: usize = 256;

impl Turn {
    fn keep_reason(&mut self, id: ConnectionId, reason: &str) {
        if self.reasons.len() == REASONS_MAX {
            self.reasons.pop_front();
        }
        self.reasons.push_back((id, reason.into()));
    }

    pub(crate) fn take_reason(&mut self, id: ConnectionId) -> Option<Box<str>> {
        let at = self.reasons.iter().position(|(of, _)| *of == id)?;
        self.reasons.remove(at).map(|(_, reason)| reason)
    }
}

pub(crate) struct Entry<S> {
    pub(crate) connection: Connection,
    pub(crate) session: S,
}

/// One connection, for the length of a call.
pub struct Io<'a> {
    pub(crate) connection: &'a mut Connection,
    pub(crate) turn: &'a mut Turn,
    pub(crate) id: ConnectionId,
}

impl Io<'_> {
    /// Which connection this is.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Queues one text message (or, on a stream, its bytes) behind what was queued before. It goes out at the end of the turn.
    pub fn send(&mut self, payload: &[u8]) {
        self.send_as(Opcode::Text, payload);
    }

    /// Queues one binary message.
    pub fn send_binary(&mut self, payload: &[u8]) {
        self.send_as(Opcode::Binary, payload);
    }

    /// Queues a whole frame that was made elsewhere, as a compressed one is.
    pub fn send_frame(&mut self, frame: &[u8]) {
        if self.connection.phase == Phase::Open {
            self.connection.queue().extend_from_slice(frame);
            self.flush_later();
        }
    }

    /// From now on the peer's messages may be compressed: it was agreed upon.
    pub fn allow_compressed(&mut self) {
        self.connection.decoder.allow_compressed();
    }

    /// Queues a ping control frame; nothing on a stream.
    pub fn ping(&mut self) {
        if self.connection.is_websocket() {
            self.send_as(Opcode::Ping, b"");
        }
    }

    pub(crate) fn send_as(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.connection.phase != Phase::Open {
            return;
        }
        let websocket = self.connection.is_websocket();
        let queue = self.connection.queue();
        if websocket {
            websocket::write_frame(queue, opcode, payload);
        } else {
            queue.extend_from_slice(payload);
        }
        self.flush_later();
    }

    /// Whether nothing of this connection's own waits and the socket takes more: the condition for [`Io::write`].
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.connection.is_clear()
    }

    /// Whether the socket is full.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.connection.blocked_at != 0
    }

    /// How long the socket has taken nothing of what it was offered.
    #[must_use]
    pub fn blocked_for(&self) -> Duration {
        self.since(self.connection.blocked_at)
    }

    /// How long nothing was heard from the peer.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.since(self.connection.heard_at)
    }

    /// How long nothing was written to the peer.
    #[must_use]
    pub fn quiet_for(&self) -> Duration {
        self.since(self.connection.wrote_at)
    }

    /// How long the connection has been there.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.since(self.connection.opened_at)
    }

    /// Bytes written to the peer so far.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.connection.sent_bytes
    }

    /// Bytes read from the peer so far.
    #[must_use]
    pub fn received_bytes(&self) -> u64 {
        self.connection.received_bytes
    }

    /// Whether a goodbye is on its way.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.connection.phase != Phase::Open
    }

    fn since(&self, at: Deciseconds) -> Duration {
        if at == 0 { Duration::ZERO } else { Duration::from_millis(u64::from(self.turn.now.saturating_sub(at)) * 100) }
    }

    /// Writes whole frames that many connections share, without a copy. Returns how many bytes the socket took; if it ended
    /// inside a frame, the rest of that frame goes to [`Io::hold`] and nothing else may be written before.
    /// Zero if the connection [is not clear](Io::is_clear).
    pub fn write(&mut self, slices: &[IoSlice<'_>]) -> usize {
        if !self.connection.is_clear() {
            return 0;
        }
        let taken = self.connection.write(slices, self.turn.now);
        self.turn.sent_bytes += taken as u64;
        self.note_death();
        taken
    }

    /// Keeps the rest of a frame that was cut. At most one frame is copied, so a slow connection owns no more than that.
    pub fn hold(&mut self, rest: &[u8]) {
        self.connection.queue().extend_from_slice(rest);
    }

    /// Stops handing out messages. What came in already waits; the peer is slowed down by its own socket.
    pub fn pause(&mut self) {
        self.connection.paused = true;
    }

    /// Goes on where [`Io::pause`] stopped.
    pub fn resume(&mut self) {
        if std::mem::take(&mut self.connection.paused) {
            self.turn.resume.push(self.id);
        }
    }

    /// Says goodbye: what is queued goes out, then a close frame with this code, then nothing. The reason is cut at 123 bytes.
    pub fn close(&mut self, code: u16, reason: &str) {
        self.begin_close(Ended::ByServer(code), code, reason);
    }

    /// Closes a socket that is full: makes room for the close frame beyond the usual bound, so that the peer learns the code
    /// when it reads again.
    pub fn close_blocked(&mut self, code: u16, reason: &str) {
        self.connection.make_room();
        self.begin_close(Ended::ByServer(code), code, reason);
    }

    pub(crate) fn begin_close(&mut self, ended: Ended, code: u16, reason: &str) {
        if self.connection.phase != Phase::Open {
            return;
        }
        if self.connection.is_websocket() {
            self.send_as(Opcode::Close, &websocket::close_payload(code, reason));
        } else {
            self.flush_later();
        }
        if !reason.is_empty() {
            self.turn.keep_reason(self.id, reason);
        }
        self.connection.phase = Phase::Closing(ended);
        self.connection.closing_at = self.turn.now;
        // The peer's own close frame has to be read, whatever the application was waiting for.
        self.resume();
    }

    pub(crate) fn flush_later(&mut self) {
        if !std::mem::replace(&mut self.connection.flush_queued, true) {
            self.turn.flush.push(self.id);
        }
    }

    pub(crate) fn note_death(&mut self) {
        if let Phase::Dead(_) = self.connection.phase {
            self.turn.dead.push(self.id);
        }
    }
}

/// All connections of a worker.
pub struct Connections<'a, A: Application> {
    pub(crate) slots: &'a mut Slab<Entry<A::Session>>,
    pub(crate) turn: &'a mut Turn,
}

impl<A: Application> Connections<'_, A> {
    /// The connection with this id, unless it is gone.
    pub fn get(&mut self, id: ConnectionId) -> Option<(Io<'_>, &mut A::Session)> {
        let entry = self.slots.get_mut(id.slot as usize)?;
        if entry.connection.generation != id.generation || matches!(entry.connection.phase, Phase::Dead(_)) {
            return None;
        }
        Some((Io { connection: &mut entry.connection, turn: self.turn, id }, &mut entry.session))
    }

    /// The connection that sits in this slot now.
    pub fn in_slot(&mut self, slot: u32) -> Option<(Io<'_>, &mut A::Session)> {
        let generation = self.slots.get(slot as usize)?.connection.generation;
        self.get(ConnectionId { slot, generation })
    }

    /// The session in this slot, also if its connection has ended and only waits for [`Application::closed`]: for whoever keeps
    /// places in step that `closed` gives back.
    pub fn session_in_slot(&mut self, slot: u32) -> Option<&mut A::Session> {
        Some(&mut self.slots.get_mut(slot as usize)?.session)
    }

    /// Ids of all open connections.
    #[must_use]
    pub fn ids(&self) -> Vec<ConnectionId> {
        let id = |(slot, entry): (usize, &Entry<A::Session>)| ConnectionId {
            slot: slot as u32,
            generation: entry.connection.generation,
        };
        self.slots.iter().map(id).collect()
    }

    /// No slot from here on is in use: for whoever walks through them a few at a time.
    #[must_use]
    pub fn slots_end(&self) -> u32 {
        self.slots.capacity() as u32
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Bytes written since the last call.
    pub fn take_sent_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.turn.sent_bytes)
    }

    /// Bytes read since the last call, frame headers included.
    pub fn take_received_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.turn.received_bytes)
    }
}
