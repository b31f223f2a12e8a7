//! The loop: wait, drain all input, write once.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use towline_clock::Clock;
use towline_websocket::{Decoder, Message, Opcode, ProtocolError, Role};

use crate::application::{Application, Ended, Life};
use crate::connection::{Connection, Phase, Stream, deciseconds};
use crate::io::{Connections, Entry, Io, Turn};
use crate::mailbox::{Arrival, ConnectionId, Letter, Mailbox};
use crate::reactor::Settings;
use crate::tls_stream::TlsStream;

/// Wakes a worker for its mailbox.
pub(crate) const WAKE: Token = Token(usize::MAX);
/// One buffer per worker, for all reads.
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// What one connection may feed in before the others get their turn.
const READ_BYTES_PER_TURN: usize = 4 * READ_BUFFER_BYTES;
/// Every connection is looked at once per second, a quarter of them at a time.
const TICK: Duration = Duration::from_millis(250);
const TICK_PARTS: u32 = 4;

/// One thread with its sockets.
pub(crate) struct Worker<A: Application> {
    poll: Poll,
    mailbox: Mailbox<A>,
    settings: Settings,
    clock: Clock,
    application: A,
    slots: Slab<Entry<A::Session>>,
    turn: Turn,
    buffer: Vec<u8>,
    /// The same for what TLS connections read before it is decrypted; empty until there is one.
    cipher: Vec<u8>,
    generation: u32,
    stopping: bool,
}

impl<A: Application> Worker<A> {
    pub(crate) fn new(poll: Poll, mailbox: Mailbox<A>, settings: Settings, clock: Clock, application: A) -> Self {
        let now = deciseconds(clock.uptime());
        let turn = Turn {
            now,
            flush: Vec::new(),
            resume: Vec::new(),
            dead: Vec::new(),
            sent_bytes: 0,
            received_bytes: 0,
            reasons: VecDeque::new(),
        };
        Self {
            poll,
            mailbox,
            settings,
            clock,
            application,
            slots: Slab::new(),
            turn,
            buffer: vec![0; READ_BUFFER_BYTES],
            cipher: Vec::new(),
            generation: 0,
            stopping: false,
        }
    }

    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut letters = Vec::new();
        // Ticks come at real time even when a test drives the clock that the decisions use.
        let pace = Clock::system();
        let (mut next_tick, mut part) = (TICK, 0);
        while !self.stopping {
            let wait = if self.turn.resume.is_empty() { next_tick.saturating_sub(pace.uptime()) } else { Duration::ZERO };
            if let Err(error) = self.poll.poll(&mut events, Some(wait))
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "waiting for sockets failed; this worker ends");
                break;
            }
            self.turn.now = deciseconds(self.clock.uptime());
            for event in &events {
                if event.token() != WAKE {
                    self.ready(event);
                }
            }
            self.mailbox.empty(&mut letters);
            for letter in letters.drain(..) {
                self.open_letter(letter);
            }
            for id in std::mem::take(&mut self.turn.resume) {
                self.read(id, true);
            }
            self.flush_all();
            self.application.turn_ends(&mut Connections { slots: &mut self.slots, turn: &mut self.turn });
            self.flush_all();
            if pace.uptime() >= next_tick {
                next_tick = pace.uptime() + TICK;
                part = (part + 1) % TICK_PARTS;
                self.tick(part);
            }
            self.bury();
        }
        for id in (Connections::<A> { slots: &mut self.slots, turn: &mut self.turn }).ids() {
            if let Some(entry) = self.slots.get_mut(id.slot as usize) {
                entry.connection.die(Ended::ByServer(1001));
                self.turn.dead.push(id);
            }
        }
        self.bury();
    }

    fn ready(&mut self, event: &Event) {
        let id = ConnectionId::of(event.token());
        if event.is_writable() {
            self.take_more(id);
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            self.read(id, event.is_read_closed() || event.is_error());
        }
    }

    /// The socket takes bytes again.
    fn take_more(&mut self, id: ConnectionId) {
        let Some(connection) = connection(&mut self.slots, id) else { return };
        if connection.blocked_at != 0 {
            connection.blocked_at = 0;
            self.flush(id);
        }
    }

    fn open_letter(&mut self, letter: Letter<A>) {
        match letter {
            Letter::Arrive(arrival, ticket) => self.welcome(arrival, ticket),
            Letter::Note(note) => {
                self.application.note(&mut Connections { slots: &mut self.slots, turn: &mut self.turn }, note);
            }
            Letter::PipeWritable(id) => self.take_more(id),
            Letter::PipeClosed(id) => {
                if let Some(connection) = connection(&mut self.slots, id) {
                    connection.die(Ended::ByPeer(None));
                    self.turn.dead.push(id);
                }
            }
            Letter::Stop => self.stopping = true,
        }
    }

    fn welcome(&mut self, arrival: Arrival, ticket: A::Ticket) {
        self.generation = self.generation.wrapping_add(1) & 0x7fff_ffff;
        let slot = self.slots.vacant_key();
        let id = ConnectionId { slot: slot as u32, generation: self.generation };
        let (stream, unread) = match arrival {
            Arrival::WebSocket(stream, unread) => (Stream::Tcp(mio::net::TcpStream::from_std(stream)), unread),
            Arrival::Tls(stream, session, unread) => {
                (Stream::Tls(Box::new(TlsStream::new(mio::net::TcpStream::from_std(stream), *session))), unread)
            }
            Arrival::Stream(source) => {
                let mailbox = self.mailbox.clone();
                source.on_change(Box::new(move |writable| {
                    mailbox.post(if writable { Letter::PipeWritable(id) } else { Letter::PipeClosed(id) });
                }));
                (Stream::Pipe(source), Vec::new())
            }
        };
        let mut connection = Connection::new(stream, self.generation, self.turn.now);
        if !unread.is_empty() {
            self.turn.received_bytes += unread.len() as u64;
            connection.received_bytes += unread.len() as u64;
            connection.unread = Some(Box::new(unread));
            self.turn.resume.push(id);
        }
        let session = self.application.opened(&mut Io { connection: &mut connection, turn: &mut self.turn, id }, ticket);
        self.slots.insert(Entry { connection, session });
        let Some(entry) = self.slots.get_mut(slot) else { return };
        if let Some(stream) = entry.connection.stream.socket() {
            let both = Interest::READABLE | Interest::WRITABLE;
            if let Err(error) = self.poll.registry().register(stream, id.token(), both) {
                tracing::warn!(%error, "a socket could not be watched");
                entry.connection.die(Ended::Lost);
                self.turn.dead.push(id);
                return;
            }
        }
        // Whoever is there may be given something at once.
        entry.connection.flush_queued = true;
        self.turn.flush.push(id);
    }

    /// Reads what there is, up to the turn's share. A read that does not fill the buffer has emptied the socket (what comes later
    /// is a new event) unless the end of the stream may follow: then it goes on `to_end`.
    fn read(&mut self, id: ConnectionId, to_end: bool) {
        let mut share = READ_BYTES_PER_TURN;
        loop {
            let Some(connection) = connection(&mut self.slots, id) else { return };
            if connection.paused || connection.pending_bytes() > self.settings.replies_bytes_max {
                connection.input_left = true;
                return;
            }
            if share == 0 {
                self.turn.resume.push(id);
                return;
            }
            let mut buffer = std::mem::take(&mut self.buffer);
            let from_before = connection.unread.take();
            let filled = if let Some(mut unread) = from_before {
                connection.heard_at = self.turn.now;
                self.take_input(id, &mut unread);
                self.buffer = buffer;
                continue;
            } else {
                connection.read(&mut buffer, &mut self.cipher, self.turn.now)
            };
            let more = match filled {
                Err(_) => {
                    connection.die(Ended::Lost);
                    self.turn.dead.push(id);
                    false
                }
                Ok(None) => {
                    connection.input_left = false;
                    false
                }
                Ok(Some(input)) => {
                    connection.heard_at = self.turn.now;
                    share = share.saturating_sub(input.taken);
                    self.turn.received_bytes += input.bytes as u64;
                    connection.input_left = to_end || input.more;
                    let more = connection.input_left;
                    self.take_input(id, &mut buffer[..input.bytes]);
                    more
                }
            };
            self.buffer = buffer;
            if !more {
                return;
            }
        }
    }

    fn take_input(&mut self, id: ConnectionId, mut input: &mut [u8]) {
        let Some(entry) = entry(&mut self.slots, id) else { return };
        // After a violation nothing that follows has a meaning; it is read only so that the close frame is not lost to a reset.
        if let Phase::Closing(Ended::Violation(_)) = entry.connection.phase {
            return;
        }
        let mut decoder = std::mem::replace(&mut entry.connection.decoder, Decoder::new(Role::Server));
        loop {
            let Entry { connection, session } = &mut *entry;
            let next = decoder.next(&self.settings.limits, &mut input);
            let open = connection.phase == Phase::Open;
            let mut io = Io { connection, turn: &mut self.turn, id };
            match next {
                Ok(None) => break,
                Ok(Some(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if open {
                        self.application.message(&mut io, session, message);
                    }
                }
                Ok(Some(Message::Ping(payload))) => io.send_as(Opcode::Pong, payload),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(said))) => {
                    peer_closes(&mut io, said.map(|(code, _)| code));
                    break;
                }
                Err(error) => {
                    violation(&mut io, &error);
                    break;
                }
            }
            if matches!(io.connection.phase, Phase::Dead(_)) {
                break;
            }
            if io.connection.paused || io.connection.pending_bytes() > self.settings.replies_bytes_max {
                if !input.is_empty() {
                    io.connection.unread = Some(Box::new(input.to_vec()));
                    io.connection.input_left = true;
                }
                break;
            }
        }
        entry.connection.decoder = decoder;
    }

    fn flush_all(&mut self) {
        while let Some(id) = self.turn.flush.pop() {
            self.flush(id);
        }
    }

    /// Writes what waits; where nothing waits any more, the application may write, and input that was held up goes on.
    fn flush(&mut self, id: ConnectionId) {
        let Some(entry) = entry(&mut self.slots, id) else { return };
        let Entry { connection, session } = entry;
        connection.flush_queued = false;
        let before = connection.pending_bytes();
        let clear = connection.flush(self.turn.now);
        self.turn.sent_bytes += (before - connection.pending_bytes()) as u64;
        if clear && let Phase::Closing(_) = connection.phase {
            connection.finish_writing(self.turn.now);
        }
        if connection.is_clear() {
            self.application.writable(&mut Io { connection, turn: &mut self.turn, id }, session);
        }
        let held_up = connection.input_left && !connection.paused;
        if held_up && connection.pending_bytes() <= self.settings.replies_bytes_max {
            self.turn.resume.push(id);
        }
        Io { connection, turn: &mut self.turn, id }.note_death();
    }

    fn tick(&mut self, part: u32) {
        let slots: Vec<usize> =
            self.slots.iter().map(|(slot, _)| slot).filter(|slot| *slot as u32 % TICK_PARTS == part).collect();
        for slot in slots {
            let Some(Entry { connection, session }) = self.slots.get_mut(slot) else { continue };
            let id = ConnectionId { slot: slot as u32, generation: connection.generation };
            let closing_for = Duration::from_millis(u64::from(self.turn.now.saturating_sub(connection.closing_at)) * 100);
            match connection.phase {
                Phase::Open => self.application.tick(&mut Io { connection, turn: &mut self.turn, id }, session),
                Phase::Closing(ended) if closing_for > self.settings.close_timeout => {
                    connection.die(ended);
                    self.turn.dead.push(id);
                }
                _ => {}
            }
        }
        self.flush_all();
    }

    /// Lets go of the dead. Last in every turn, so that a slot is not reused while its number is still in a list.
    fn bury(&mut self) {
        for id in std::mem::take(&mut self.turn.dead) {
            let Some(entry) = entry(&mut self.slots, id) else { continue };
            let Phase::Dead(ended) = entry.connection.phase else { continue };
            let mut entry = self.slots.remove(id.slot as usize);
            if let Some(stream) = entry.connection.stream.socket() {
                // Closing the descriptor takes it out of the queue anyway.
                let _ = self.poll.registry().deregister(stream);
            }
            let Connection { opened_at, sent_bytes, received_bytes, .. } = entry.connection;
            let age = Duration::from_millis(u64::from(self.turn.now.saturating_sub(opened_at)) * 100);
            let life = Life { age, sent_bytes, received_bytes, reason: self.turn.take_reason(id) };
            self.application.closed(id, entry.session, ended, life);
        }
    }
}

fn entry<S>(slots: &mut Slab<Entry<S>>, id: ConnectionId) -> Option<&mut Entry<S>> {
    slots.get_mut(id.slot as usize).filter(|entry| entry.connection.generation == id.generation)
}

fn connection<S>(slots: &mut Slab<Entry<S>>, id: ConnectionId) -> Option<&mut Connection> {
    let connection = &mut entry(slots, id)?.connection;
    (!matches!(connection.phase, Phase::Dead(_))).then_some(connection)
}

fn peer_closes(io: &mut Io<'_>, code: Option<u16>) {
    match io.connection.phase {
        Phase::Open => {
            // RFC 6455, 5.5.1: answer with the same code, then the server closes the connection first.
            let echo = code.unwrap_or(1000);
            io.begin_close(Ended::ByPeer(code), echo, "");
        }
        Phase::Closing(ended) => {
            io.connection.die(ended);
            io.note_death();
        }
        Phase::Dead(_) => {}
    }
}

fn violation(io: &mut Io<'_>, error: &ProtocolError) {
    let code = error.close_code();
    if let Phase::Closing(ended) = io.connection.phase {
        io.connection.die(ended);
        io.note_death();
    }
    io.begin_close(Ended::Violation(code), code, &error.to_string());
}
