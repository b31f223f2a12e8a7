//! One client socket: connecting, upgrading, then speaking its wire. Holds no buffer while idle.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::inflate::Inflater;
use super::{frame, text_protocols};

/// What all connections share: where they read to, and what inflates.
type Tools<'a> = (&'a mut [u8], &'a mut Inflater);

/// What is spoken on a socket once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// One message per WebSocket frame; sent as text.
    WebSocket,
    /// The NATS protocol inside binary WebSocket frames.
    NatsWebSocket,
    /// The NATS protocol on plain TCP.
    Nats,
    /// RESP on plain TCP.
    Redis,
    /// HTTP/1.1 with keep-alive.
    Http,
}

/// How a connection begins.
#[derive(Clone, Debug)]
pub struct Opening {
    /// What is spoken.
    pub wire: Wire,
    /// The upgrade request; empty on wires without one.
    pub request: Vec<u8>,
    /// Sent as one message as soon as the connection is open.
    pub greeting: Option<Vec<u8>>,
    /// A message or line that contains these bytes says that the greeting took effect; `None`: open is enough.
    pub ready_when: Option<&'static [u8]>,
}

/// What happened on a connection.
#[derive(Debug)]
pub enum Arrival<'a> {
    /// Connected, and upgraded where the wire wants it.
    Open,
    /// A payload.
    Message(&'a [u8]),
    /// A line without payload, on the NATS wires.
    Line(&'a [u8]),
    /// An answer that says no; the connection may go on.
    Refused(&'a [u8]),
    /// The connection is gone, and why. Nothing follows.
    Closed(&'a str),
}

/// Takes answers for one connection; they are written together.
pub struct Outbox<'a> {
    wire: Wire,
    outgoing: &'a mut Vec<u8>,
    close: &'a mut bool,
}

impl Outbox<'_> {
    /// Queues one message in the framing of the wire.
    pub fn send(&mut self, message: &[u8]) {
        match self.wire {
            Wire::WebSocket => frame::encode(frame::TEXT, message, fastrand::u32(..).to_ne_bytes(), self.outgoing),
            Wire::NatsWebSocket => frame::encode(frame::BINARY, message, fastrand::u32(..).to_ne_bytes(), self.outgoing),
            Wire::Nats | Wire::Redis | Wire::Http => self.outgoing.extend_from_slice(message),
        }
    }

    /// Resets the connection once the closure returns; nothing more is heard of it.
    pub fn close(&mut self) {
        *self.close = true;
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Connecting,
    Upgrading,
    Open,
}

/// The socket and what is left of input and output.
pub struct Connection {
    stream: TcpStream,
    stage: Stage,
    close: bool,
    wire: Wire,
    outgoing: Vec<u8>,
    carry: Vec<u8>,
    /// On [`Wire::NatsWebSocket`]: the operation that the last frame broke off.
    inner: Vec<u8>,
    greeting: Option<Vec<u8>>,
    received: u64,
}

impl Connection {
    /// Begins to connect. Closing resets, so that no port is left waiting behind a run of many short connections.
    pub fn connect(address: SocketAddr, opening: Opening) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))?;
        Ok(Self {
            stream,
            stage: Stage::Connecting,
            close: false,
            wire: opening.wire,
            outgoing: opening.request,
            carry: Vec::new(),
            inner: Vec::new(),
            greeting: opening.greeting,
            received: 0,
        })
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Bytes read since the last call.
    pub fn take_received(&mut self) -> u64 {
        std::mem::take(&mut self.received)
    }

    pub fn outbox(&mut self) -> Outbox<'_> {
        Outbox { wire: self.wire, outgoing: &mut self.outgoing, close: &mut self.close }
    }

    /// Writes what is queued; what the socket does not take stays queued.
    pub fn flush(&mut self) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest) = self.outgoing.get(written..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.outgoing.drain(..written);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // A big burst must not leave its buffer behind on every connection.
        if self.outgoing.capacity() > 64 * 1024 || self.stage != Stage::Open {
            self.outgoing = Vec::new()
        } else {
            self.outgoing.clear()
        }
        Ok(())
    }

    /// Takes the connection as far as it goes; false when it is over.
    pub fn advance(&mut self, ended: bool, tools: Tools<'_>, mut hear: impl FnMut(Arrival<'_>, &mut Outbox<'_>)) -> bool {
        match self.step(ended, tools, &mut hear) {
            Ok(()) => !self.close,
            Err(error) => {
                hear(Arrival::Closed(&error.to_string()), &mut self.outbox());
                false
            }
        }
    }

    fn step(&mut self, ended: bool, tools: Tools<'_>, hear: &mut impl FnMut(Arrival<'_>, &mut Outbox<'_>)) -> io::Result<()> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            if self.stream.peer_addr().is_err() {
                return Ok(());
            }
            if matches!(self.wire, Wire::WebSocket | Wire::NatsWebSocket) {
                self.stage = Stage::Upgrading;
            } else {
                self.opened(hear);
            }
        }
        self.flush()?;
        self.take_in(ended, tools, hear)?;
        if self.outgoing.is_empty() { Ok(()) } else { self.flush() }
    }

    fn opened(&mut self, hear: &mut impl FnMut(Arrival<'_>, &mut Outbox<'_>)) {
        self.stage = Stage::Open;
        if let Some(greeting) = self.greeting.take() {
            self.outbox().send(&greeting);
        }
        hear(Arrival::Open, &mut self.outbox());
    }

    /// Reads until the socket is drained. A short read is the proof under edge-triggered readiness, unless the peer has closed:
    /// then only the end of the stream is.
    fn take_in(
        &mut self,
        ended: bool,
        (buffer, inflater): Tools<'_>,
        hear: &mut impl FnMut(Arrival<'_>, &mut Outbox<'_>),
    ) -> io::Result<()> {
        loop {
            let held = self.carry.len();
            let Some(space) = buffer.get_mut(held..).filter(|space| !space.is_empty()) else {
                return Err(io::Error::other("a message is larger than the loader's buffer"));
            };
            let (room, read) = (space.len(), self.stream.read(space));
            let count = match read {
                Ok(0) => return Err(io::Error::other("closed by the server")),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            self.received += count as u64;
            buffer[..held].copy_from_slice(&self.carry);
            let whole = &buffer[..held + count];
            let consumed = self.understand(whole, inflater, hear)?;
            let left = &whole[consumed..];
            if left.is_empty() {
                // Empty without capacity: an idle connection holds nothing.
                self.carry = Vec::new();
            } else {
                self.carry.clear();
                self.carry.extend_from_slice(left);
            }
            if self.close || (count < room && !ended) {
                return Ok(());
            }
        }
    }

    fn understand(
        &mut self,
        bytes: &[u8],
        inflater: &mut Inflater,
        hear: &mut impl FnMut(Arrival<'_>, &mut Outbox<'_>),
    ) -> io::Result<usize> {
        let mut at = 0;
        if self.stage == Stage::Upgrading {
            let Some((status, end)) = text_protocols::http_head(bytes) else { return Ok(0) };
            if status != 101 {
                return Err(io::Error::other(format!("the upgrade was answered with {status}")));
            }
            at = end;
            self.opened(hear);
        }
        let mut outbox = Outbox { wire: self.wire, outgoing: &mut self.outgoing, close: &mut self.close };
        let rest = &bytes[at..];
        let used = match self.wire {
            Wire::WebSocket => frames(rest, inflater, &mut outbox, |payload, outbox| {
                hear(Arrival::Message(payload), outbox);
                Ok(())
            })?,
            Wire::NatsWebSocket => {
                let inner = &mut self.inner;
                frames(rest, inflater, &mut outbox, |payload, outbox| nats_inside(inner, payload, outbox, hear))?
            }
            Wire::Nats => lines(rest, text_protocols::nats, &mut outbox, hear)?,
            Wire::Redis => lines(rest, text_protocols::redis, &mut outbox, hear)?,
            Wire::Http => lines(rest, text_protocols::http, &mut outbox, hear)?,
        };
        Ok(at + used)
    }
}

fn frames(
    bytes: &[u8],
    inflater: &mut Inflater,
    outbox: &mut Outbox<'_>,
    mut data: impl FnMut(&[u8], &mut Outbox<'_>) -> io::Result<()>,
) -> io::Result<usize> {
    let mut at = 0;
    loop {
        match frame::parse(&bytes[at..]) {
            frame::Parsed::Frame { opcode, compressed, payload, length } => {
                at += length;
                match opcode {
                    frame::TEXT | frame::BINARY if compressed => data(inflater.message(payload)?, outbox)?,
                    frame::TEXT | frame::BINARY => data(payload, outbox)?,
                    frame::PING => frame::encode(frame::PONG, payload, fastrand::u32(..).to_ne_bytes(), outbox.outgoing),
                    frame::PONG => {}
                    frame::CLOSE => {
                        let (code, reason) = payload.split_at_checked(2).unwrap_or_default();
                        let code = code.iter().fold(0u16, |code, byte| code << 8 | u16::from(*byte));
                        let why = format!("closed by the server with {code} {}", String::from_utf8_lossy(reason));
                        return Err(io::Error::other(why));
                    }
                    _ => return Err(io::Error::other("a frame with an unknown opcode")),
                }
            }
            frame::Parsed::Incomplete => return Ok(at),
            frame::Parsed::Unexpected => {
                return Err(io::Error::other("a masked or fragmented frame, or one of an unknown extension"));
            }
        }
    }
}

/// NATS cuts its stream into frames where it likes.
fn nats_inside(
    inner: &mut Vec<u8>,
    payload: &[u8],
    outbox: &mut Outbox<'_>,
    hear: &mut impl FnMut(Arrival<'_>, &mut Outbox<'_>),
) -> io::Result<()> {
    if inner.is_empty() {
        let used = lines(payload, text_protocols::nats, outbox, hear)?;
        inner.extend_from_slice(&payload[used..]);
        return Ok(());
    }
    inner.extend_from_slice(payload);
    let joined = std::mem::take(inner);
    let used = lines(&joined, text_protocols::nats, outbox, hear)?;
    inner.extend_from_slice(&joined[used..]);
    Ok(())
}

fn lines(
    bytes: &[u8],
    parse: impl Fn(&[u8]) -> text_protocols::Parsed<'_>,
    outbox: &mut Outbox<'_>,
    hear: &mut impl FnMut(Arrival<'_>, &mut Outbox<'_>),
) -> io::Result<usize> {
    use text_protocols::Parsed;
    let mut at = 0;
    while at < bytes.len() {
        at += match parse(&bytes[at..]) {
            Parsed::Message { body, length } => {
                hear(Arrival::Message(body), outbox);
                length
            }
            Parsed::Line { line, length } => {
                if line == b"PING" {
                    outbox.send(b"PONG\r\n");
                } else {
                    hear(Arrival::Line(line), outbox);
                }
                length
            }
            Parsed::Refused { why, length } => {
                hear(Arrival::Refused(why), outbox);
                length
            }
            Parsed::Incomplete => break,
            Parsed::Unexpected => return Err(io::Error::other("an answer that was not understood")),
        };
    }
    Ok(at)
}
