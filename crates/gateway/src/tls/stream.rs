//! A connection with TLS on it while it speaks HTTP: the session between hyper and the socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::rt::ReadBufCursor;
use rustls::ServerConfig;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use towline_sockets::{TlsError, TlsSession};

/// What is read from a socket at once, on the stack.
const CIPHER_BYTES: usize = 8 * 1024;
/// The first byte of a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// Said to whoever speaks HTTP without TLS: a browser shows it.
const PLAIN_HTTP: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 56\r\nConnection: close\r\n\r\n\
    this port speaks TLS: ask again with https:// or wss://\n";

/// A connection behind its TLS handshake.
pub struct TlsSocket {
    socket: TcpStream,
    session: Box<TlsSession>,
    /// Decrypted and not asked for yet: at most one read's worth.
    plain: Vec<u8>,
    taken: usize,
}

/// Why a connection did not get through the handshake.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// It speaks HTTP, and was told to use TLS.
    #[error("plain HTTP on a port with TLS")]
    PlainHttp,
    /// The peer broke the protocol, or has no right certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The connection ended.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl TlsSocket {
    /// Shakes hands. Takes as long as the peer does: give it a deadline. Dropping it drops the connection.
    ///
    /// # Errors
    /// There is no session; the peer was told as far as it listens.
    pub async fn accept(socket: TcpStream, config: Arc<ServerConfig>) -> Result<Self, AcceptError> {
        let session = Box::new(TlsSession::new(config)?);
        let mut this = Self { socket, session, plain: Vec::new(), taken: 0 };
        let mut first = true;
        while this.session.is_handshaking() {
            this.socket.readable().await?;
            let mut cipher = [0; CIPHER_BYTES];
            let count = match this.socket.try_read(&mut cipher) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
            // TLS never begins with a letter, a request always does.
            if std::mem::take(&mut first) && cipher[0] != HANDSHAKE && cipher[0].is_ascii_uppercase() {
                // Whether it is heard is the peer's affair.
                let _ = this.socket.try_write(PLAIN_HTTP);
                return Err(AcceptError::PlainHttp);
            }
            let plain = &mut this.plain;
            let received = this.session.receive(&mut cipher[..count], |piece| plain.extend_from_slice(piece));
            let flushed = std::future::poll_fn(|context| this.poll_unsent(context)).await;
            received?;
            flushed?;
        }
        Ok(this)
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &TlsSession {
        &self.session
    }

    /// Its parts, for the reactor: the socket, the session, and what was decrypted and not asked for.
    #[must_use]
    pub fn into_parts(mut self) -> (TcpStream, Box<TlsSession>, Vec<u8>) {
        self.plain.drain(..self.taken);
        (self.socket, self.session, self.plain)
    }

    fn poll_unsent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.session.unsent().is_empty() {
            match self.socket.try_write(self.session.unsent()) {
                Ok(sent) => self.session.sent(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.socket.poll_write_ready(context))?,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Read for TlsSocket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.taken < this.plain.len() {
                let count = buffer.remaining().min(this.plain.len() - this.taken);
                buffer.put_slice(&this.plain[this.taken..this.taken + count]);
                this.taken += count;
                if this.taken == this.plain.len() {
                    (this.plain, this.taken) = (Vec::new(), 0);
                }
                return Poll::Ready(Ok(()));
            }
            if this.session.is_over() {
                return Poll::Ready(Ok(()));
            }
            ready!(this.socket.poll_read_ready(context))?;
            let mut cipher = [0; CIPHER_BYTES];
            match this.socket.try_read(&mut cipher) {
                // Without the farewell of TLS; HTTP knows by itself whether something is missing.
                Ok(0) => return Poll::Ready(Ok(())),
                Ok(count) => {
                    let plain = &mut this.plain;
                    let received = this.session.receive(&mut cipher[..count], |piece| plain.extend_from_slice(piece));
                    // An alert, or the answer to a new key; if the socket is full it goes out with what is written next.
                    if let Poll::Ready(Err(error)) = this.poll_unsent(context) {
                        return Poll::Ready(Err(error));
                    }
                    if let Err(error) = received
                        && this.plain.is_empty()
                    {
                        return Poll::Ready(Err(violation(error)));
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl hyper::rt::Write for TlsSocket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_unsent(context))?;
        let taken = self.session.seal(bytes).map_err(violation)?;
        match self.poll_unsent(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_unsent(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A session that is broken has nothing more to say.
        let _ = self.session.close();
        ready!(self.poll_unsent(context))?;
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

fn violation(error: TlsError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(super::PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{}", body.len());
    }
}
