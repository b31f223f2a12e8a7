//! A socket of the reactor with TLS on it: the same contract as the plain one, so that whoever writes need not know.

use std::io::{self, IoSlice, Read, Write};

use crate::mailbox::is_interrupted;
use crate::tls::{SEAL_BYTES_MAX, TlsError, TlsSession};

/// What is read from a socket at once. With the rest of a record that came before it stays below the worker's own buffer.
pub(crate) const CIPHER_BYTES: usize = 32 * 1024;

/// A connection behind its handshake.
pub(crate) struct TlsStream {
    pub(crate) socket: mio::net::TcpStream,
    session: TlsSession,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Input {
    /// Bytes for the application: none if only a part of a record came.
    pub(crate) bytes: usize,
    /// Bytes off the wire.
    pub(crate) taken: usize,
    /// There may be more: no readiness event will say so.
    pub(crate) more: bool,
}

impl TlsStream {
    pub(crate) fn new(socket: mio::net::TcpStream, session: TlsSession) -> Self {
        Self { socket, session }
    }

    /// Reads once and decrypts into `plain`. An error also at the end, in order or not.
    pub(crate) fn read(&mut self, cipher: &mut Vec<u8>, plain: &mut [u8]) -> io::Result<Input> {
        if self.session.is_over() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        cipher.resize(CIPHER_BYTES, 0);
        let taken = self.socket.read(cipher)?;
        if taken == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut filled = 0;
        let received = self.session.receive(&mut cipher[..taken], |piece| {
            // It fits: see CIPHER_BYTES.
            if let Some(room) = plain.get_mut(filled..filled + piece.len()) {
                room.copy_from_slice(piece);
                filled += piece.len();
            }
        });
        // An alert, or the answer to a new key.
        let flushed = self.flush();
        if let Err(error) = received
            && filled == 0
        {
            return Err(violation(error));
        }
        flushed?;
        // What was said in order before the end, or before the peer went wrong, is heard; the next read says the rest.
        Ok(Input { bytes: filled, taken, more: taken == CIPHER_BYTES || self.session.is_over() })
    }

    /// Takes what lies behind the first `skip` bytes of `slices`, at most one record of it. What was taken is sure to go out before
    /// anything else, if not at once.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>], skip: usize) -> io::Result<usize> {
        if !self.flush()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut skip = skip;
        let mut gathered = Vec::new();
        let mut rest = slices.iter().filter_map(|slice| {
            let cut = skip.min(slice.len());
            skip -= cut;
            (cut < slice.len()).then(|| &slice[cut..])
        });
        let first = rest.next().unwrap_or_default();
        let record = if first.len() >= SEAL_BYTES_MAX {
            first
        } else {
            match rest.next() {
                None => first,
                Some(second) => {
                    gathered.extend_from_slice(first);
                    for slice in std::iter::once(second).chain(rest) {
                        let room = SEAL_BYTES_MAX - gathered.len();
                        gathered.extend_from_slice(&slice[..slice.len().min(room)]);
                    }
                    &gathered
                }
            }
        };
        let taken = self.session.seal(record).map_err(violation)?;
        self.flush()?;
        Ok(taken)
    }

    /// Sends what was encrypted. False if the socket takes no more of it now.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while !self.session.unsent().is_empty() {
            match self.socket.write(self.session.unsent()) {
                Ok(sent) => self.session.sent(sent),
                Err(error) if is_interrupted(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Whether something waits for the socket.
    pub(crate) fn is_full(&self) -> bool {
        !self.session.unsent().is_empty()
    }

    /// Says that nothing more comes. False if that, or what goes before it, has yet to be [flushed](Self::flush).
    pub(crate) fn finish(&mut self) -> io::Result<bool> {
        self.session.close().map_err(violation)?;
        if !self.flush()? {
            return Ok(false);
        }
        self.socket.shutdown(std::net::Shutdown::Write)?;
        Ok(true)
    }
}

fn violation(error: TlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
