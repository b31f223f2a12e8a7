//! TLS on the server's side, without a socket: bytes from the peer become plaintext, plaintext becomes bytes for the peer.
//!
//! A session holds no buffer while nothing is under way: what came and is not a whole record yet, and what the socket has not taken
//! yet, is all that it keeps beside the keys. So it costs little while idle, and the same session serves an HTTP connection first and a
//! reactor afterwards.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus};

/// The most plaintext that one call of [`TlsSession::seal`] takes: one record (RFC 8446, 5.1). A socket that is full holds up no more.
pub const SEAL_BYTES_MAX: usize = 16 * 1024;
/// A record with everything that may be added to it (RFC 8446, 5.2; the same for TLS 1.2).
const RECORD_BYTES_MAX: usize = 5 + SEAL_BYTES_MAX + 2_048;
/// A handshake's longest message: a client's certificates with all between.
const HANDSHAKE_BYTES_MAX: usize = 32 * 1024;
/// What sealing adds to a record at most, and a key update that goes out before it.
const SEAL_OVERHEAD_BYTES: usize = 128;

/// Why a session cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The peer broke the protocol, or the two sides have nothing in common.
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
    /// The peer's message is longer than any that has a meaning.
    #[error("a TLS message is too long")]
    TooLong,
    /// The session has ended, or not begun.
    #[error("the TLS session does not take data now")]
    NotOpen,
}

/// One side of a connection: the server's.
pub struct TlsSession {
    connection: UnbufferedServerConnection,
    /// What rustls has seen and not let go of: it must find exactly this in front of what comes next, also when it encrypts.
    partial: Vec<u8>,
    /// For the peer, and not taken by the socket yet.
    unsent: Vec<u8>,
    sent: usize,
    ended: bool,
    closing: bool,
    /// rustls refuses to be asked again after an error.
    broken: bool,
}

impl TlsSession {
    /// A session before its handshake.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        let connection = UnbufferedServerConnection::new(config)?;
        Ok(Self { connection, partial: Vec::new(), unsent: Vec::new(), sent: 0, ended: false, closing: false, broken: false })
    }

    /// Takes what came from the peer; `plain` gets what it says, in pieces. Something may have to be sent afterwards, also after an error:
    /// the alert that tells the peer.
    ///
    /// # Errors
    /// The peer is wrong; nothing more can be received.
    pub fn receive(&mut self, fresh: &mut [u8], mut plain: impl FnMut(&[u8])) -> Result<(), TlsError> {
        if self.broken {
            return Err(TlsError::NotOpen);
        }
        let received = self.receive_some(fresh, &mut plain);
        self.broken = received.is_err();
        received
    }

    fn receive_some(&mut self, fresh: &mut [u8], plain: &mut impl FnMut(&[u8])) -> Result<(), TlsError> {
        if self.partial.is_empty() {
            let used = self.process(fresh, plain)?;
            self.partial.extend_from_slice(&fresh[used..]);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(fresh);
            let used = self.process(&mut joined, plain)?;
            joined.drain(..used);
            joined.shrink_to_fit();
            self.partial = joined;
        }
        let most = if self.is_handshaking() { HANDSHAKE_BYTES_MAX } else { RECORD_BYTES_MAX };
        if self.partial.len() > most { Err(TlsError::TooLong) } else { Ok(()) }
    }

    /// Works through `buffer` as far as it holds whole messages; returns how much of it is done with.
    fn process(&mut self, buffer: &mut [u8], plain: &mut impl FnMut(&[u8])) -> Result<usize, TlsError> {
        let mut at = 0;
        loop {
            let UnbufferedStatus { mut discard, state, .. } = self.connection.process_tls_records(&mut buffer[at..]);
            let more = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        plain(record.payload);
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(data)) => {
                    encode(data, &mut self.unsent);
                    true
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    true
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    true
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_) | ConnectionState::Closed) => false,
                // Early data is not offered.
                Ok(_) => return Err(TlsError::NotOpen),
                Err(error) => {
                    while self.connection.wants_write() {
                        match self.connection.process_tls_records(&mut buffer[at + discard..]).state {
                            Ok(ConnectionState::EncodeTlsData(alert)) => encode(alert, &mut self.unsent),
                            _ => break,
                        }
                    }
                    return Err(error.into());
                }
            };
            at += discard;
            if !more {
                return Ok(at);
            }
        }
    }

    /// Encrypts at most [`SEAL_BYTES_MAX`] of plaintext; it is then among the [unsent](Self::unsent). Returns how much it took.
    ///
    /// # Errors
    /// The session is not open.
    pub fn seal(&mut self, plaintext: &[u8]) -> Result<usize, TlsError> {
        let plaintext = &plaintext[..plaintext.len().min(SEAL_BYTES_MAX)];
        self.write(plaintext.len(), |traffic, out| traffic.encrypt(plaintext, out))?;
        Ok(plaintext.len())
    }

    /// Tells the peer that nothing more comes. Only the first call does something.
    ///
    /// # Errors
    /// The session is not open.
    pub fn close(&mut self) -> Result<(), TlsError> {
        if std::mem::replace(&mut self.closing, true) {
            return Ok(());
        }
        self.write(0, |traffic, out| traffic.queue_close_notify(out))
    }

    fn write(
        &mut self,
        bytes: usize,
        mut write: impl FnMut(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::server::ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        if self.broken {
            return Err(TlsError::NotOpen);
        }
        loop {
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(&mut self.partial);
            match state.inspect_err(|_| self.broken = true)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let start = self.unsent.len();
                    let mut room = bytes + SEAL_OVERHEAD_BYTES;
                    loop {
                        self.unsent.resize(start + room, 0);
                        match write(&mut traffic, &mut self.unsent[start..]) {
                            Ok(written) => {
                                self.unsent.truncate(start + written);
                                return Ok(());
                            }
                            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size }))
                                if required_size > room =>
                            {
                                room = required_size;
                            }
                            Err(_) => {
                                self.unsent.truncate(start);
                                return Err(TlsError::NotOpen);
                            }
                        }
                    }
                }
                ConnectionState::EncodeTlsData(data) => encode(data, &mut self.unsent),
                ConnectionState::TransmitTlsData(transmit) => transmit.done(),
                ConnectionState::PeerClosed => self.ended = true,
                _ => return Err(TlsError::NotOpen),
            }
            self.partial.drain(..discard);
        }
    }

    /// What the peer must be sent.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        &self.unsent[self.sent..]
    }

    /// So much of [`Self::unsent`] was sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
        if self.sent >= self.unsent.len() {
            // No buffer while idle.
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
    }

    /// Whether the handshake is not finished.
    #[must_use]
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether nothing more can come: the peer said so, or went wrong.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended || self.broken
    }

    /// The client's certificates, its own first, if it was asked for some and gave them. They have been verified.
    #[must_use]
    pub fn client_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }
}

impl std::fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSession").field("handshaking", &self.is_handshaking()).finish_non_exhaustive()
    }
}

fn encode(mut data: EncodeTlsData<'_, rustls::server::ServerConnectionData>, out: &mut Vec<u8>) {
    let start = out.len();
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = data.encode(&mut []) {
        out.resize(start + required_size, 0);
        let written = data.encode(&mut out[start..]).unwrap_or_default();
        out.truncate(start + written);
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
