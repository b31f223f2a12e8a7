//! One socket: what it owns, and how bytes get in and out of it.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::time::Duration;

use towline_websocket::{Decoder, Role};

use crate::application::Ended;
use crate::mailbox::is_interrupted;
use crate::pipe::Source;
use crate::platform;
use crate::tls_stream::{Input, TlsStream};

/// Deciseconds of the worker's clock: small enough to keep three per connection, and good for 13 years.
pub(crate) type Deciseconds = u32;

pub(crate) fn deciseconds(since_start: Duration) -> Deciseconds {
    // Starts at 1, so that 0 can mean "never".
    (since_start.as_millis() / 100) as u32 + 1
}

pub(crate) enum Stream {
    Tcp(mio::net::TcpStream),
    /// Boxed, so that a plain connection does not pay for it.
    Tls(Box<TlsStream>),
    Pipe(Source),
}

impl Stream {
    /// What the worker watches for readiness.
    pub(crate) fn socket(&mut self) -> Option<&mut mio::net::TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Tls(stream) => Some(&mut stream.socket),
            Self::Pipe(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// A close frame is on its way; what still comes in is read and thrown away, so that the peer is not reset before it saw it.
    Closing(Ended),
    Dead(Ended),
}

/// Bytes that belong to this connection alone and go out before anything else: the rest of a frame that was cut, then replies.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    written: usize,
}

pub(crate) struct Connection {
    pub(crate) stream: Stream,
    pub(crate) decoder: Decoder,
    pending: Option<Box<Pending>>,
    /// Input that came before the application paused.
    #[allow(clippy::box_collection, reason = "a thin pointer: this is empty on all but a few connections")]
    pub(crate) unread: Option<Box<Vec<u8>>>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) opened_at: Deciseconds,
    pub(crate) heard_at: Deciseconds,
    pub(crate) wrote_at: Deciseconds,
    /// Since when the socket has taken nothing of what it was offered; 0 while it takes.
    pub(crate) blocked_at: Deciseconds,
    pub(crate) closing_at: Deciseconds,
    pub(crate) generation: u32,
    pub(crate) phase: Phase,
    pub(crate) paused: bool,
    /// Reading stopped before the socket was empty: no readiness event will come for what is left.
    pub(crate) input_left: bool,
    pub(crate) flush_queued: bool,
}

impl Connection {
    pub(crate) fn new(stream: Stream, generation: u32, now: Deciseconds) -> Self {
        Self {
            stream,
            decoder: Decoder::new(Role::Server),
            pending: None,
            unread: None,
            sent_bytes: 0,
            received_bytes: 0,
            opened_at: now,
            heard_at: now,
            wrote_at: now,
            blocked_at: 0,
            closing_at: 0,
            generation,
            phase: Phase::Open,
            paused: false,
            input_left: false,
            flush_queued: false,
        }
    }

    pub(crate) fn is_websocket(&self) -> bool {
        !matches!(self.stream, Stream::Pipe(_))
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.as_ref().map_or(0, |pending| pending.bytes.len() - pending.written)
    }

    /// Nothing waits and the socket takes more.
    pub(crate) fn is_clear(&self) -> bool {
        self.pending.is_none() && self.blocked_at == 0 && self.phase == Phase::Open
    }

    pub(crate) fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.pending.get_or_insert_default().bytes
    }

    /// Writes what waits. True if nothing waits any more.
    pub(crate) fn flush(&mut self, now: Deciseconds) -> bool {
        if let Stream::Tls(stream) = &mut self.stream {
            let flushed = stream.flush();
            if !self.settle(flushed, now) {
                return false;
            }
        }
        let Some(mut pending) = self.pending.take() else { return true };
        pending.written += self.write(&[IoSlice::new(&pending.bytes[pending.written..])], now);
        if pending.written < pending.bytes.len() && !matches!(self.phase, Phase::Dead(_)) {
            self.pending = Some(pending);
            return false;
        }
        true
    }

    /// Writes until the socket takes no more; returns how much it took.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>], now: Deciseconds) -> usize {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        let mut taken = 0;
        // Almost always one system call: the first takes all, or the second says that the socket is full.
        while taken < total {
            let result = match (&mut self.stream, taken) {
                (Stream::Tcp(stream), 0) => match slices {
                    // The plain call is cheaper in the kernel, and a run of frames is one piece of memory.
                    [slice] => stream.write(slice),
                    _ => stream.write_vectored(slices),
                },
                (Stream::Tcp(stream), _) => stream.write_vectored(&rest_of(slices, taken)),
                (Stream::Tls(stream), _) => stream.write(slices, taken),
                (Stream::Pipe(source), _) => match source.write(&rest_of(slices, taken)) {
                    Some(0) => Err(io::ErrorKind::WouldBlock.into()),
                    Some(n) => Ok(n),
                    None => Err(io::ErrorKind::BrokenPipe.into()),
                },
            };
            match result {
                Ok(n) => {
                    taken += n;
                    self.sent_bytes += n as u64;
                    self.wrote_at = now;
                    self.blocked_at = if let Stream::Tls(stream) = &self.stream
                        && stream.is_full()
                    {
                        now
                    } else {
                        0
                    };
                }
                Err(error) if is_interrupted(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.blocked_at == 0 || taken > 0 {
                        self.blocked_at = now;
                    }
                    break;
                }
                Err(_) => {
                    self.die(Ended::Lost);
                    break;
                }
            }
        }
        taken
    }

    /// Whether the socket has taken what was written, as far as this side keeps it. Notes if it has not, or is gone.
    fn settle(&mut self, flushed: io::Result<bool>, now: Deciseconds) -> bool {
        match flushed {
            Ok(true) => true,
            Ok(false) => {
                if self.blocked_at == 0 {
                    self.blocked_at = now;
                }
                false
            }
            Err(_) => {
                self.die(Ended::Lost);
                false
            }
        }
    }

    /// Reads once; `None` if there is nothing to read now. An error also if the peer has finished.
    pub(crate) fn read(&mut self, buffer: &mut [u8], cipher: &mut Vec<u8>, now: Deciseconds) -> io::Result<Option<Input>> {
        loop {
            let read = match &mut self.stream {
                Stream::Tcp(stream) => match stream.read(buffer) {
                    Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(n) => Ok(Input { bytes: n, taken: n, more: n == buffer.len() }),
                    Err(error) => Err(error),
                },
                Stream::Tls(stream) => {
                    let read = stream.read(cipher, buffer);
                    if stream.is_full() && self.blocked_at == 0 {
                        self.blocked_at = now;
                    }
                    read
                }
                Stream::Pipe(_) => return Ok(None),
            };
            match read {
                Ok(input) => {
                    self.received_bytes += input.bytes as u64;
                    return Ok(Some(input));
                }
                Err(error) if is_interrupted(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends the connection, keeping the first reason.
    pub(crate) fn die(&mut self, ended: Ended) {
        self.phase = match self.phase {
            Phase::Open => Phase::Dead(ended),
            Phase::Closing(first) => Phase::Dead(first),
            Phase::Dead(first) => Phase::Dead(first),
        };
    }

    /// Nothing is written after a close frame; the peer sees the end of the stream behind it.
    pub(crate) fn finish_writing(&mut self, now: Deciseconds) {
        match &mut self.stream {
            Stream::Tls(stream) => {
                // If it is full the worker comes back here once it has taken what waits.
                let finished = stream.finish();
                self.settle(finished, now);
            }
            Stream::Tcp(stream) => {
                let _ = stream.shutdown(std::net::Shutdown::Write);
            }
            Stream::Pipe(source) => {
                source.end();
                let ended = Ended::Lost;
                self.die(ended);
            }
        }
    }

    pub(crate) fn make_room(&mut self) {
        if let Some(socket) = self.stream.socket() {
            platform::make_room(socket);
        }
        self.blocked_at = 0;
    }
}

fn rest_of<'a>(slices: &'a [IoSlice<'a>], skip: usize) -> Vec<IoSlice<'a>> {
    let mut skip = skip;
    let mut rest = Vec::with_capacity(slices.len());
    for slice in slices {
        let cut = skip.min(slice.len());
        skip -= cut;
        if cut < slice.len() {
            rest.push(IoSlice::new(&slice[cut..]));
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_small() {
        // mio's socket knows more about itself in debug builds: then it is 16 bytes, else 4.
        let socket = size_of::<mio::net::TcpStream>().next_multiple_of(8);
        assert_eq!(size_of::<Stream>(), socket + 8);
        assert!(size_of::<Connection>() <= 112 + socket, "{}", size_of::<Connection>());
    }
}
