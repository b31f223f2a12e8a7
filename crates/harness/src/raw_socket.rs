//! Bytes over TCP, for requests and frames that no client library would send.

use std::io;
use std::net::SocketAddr;

use crate::patience::PATIENCE;
use crate::transcript::Transcript;
use crate::wire::{Wire, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A TCP connection.
pub struct RawSocket {
    stream: Wire,
    /// Read and not yet asked for.
    buffer: Vec<u8>,
    transcript: Transcript,
}

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct RawResponse {
    /// Its status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    /// The body, as far as `content-length` says.
    pub body: String,
}

/// A frame from a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    /// FIN, reserved bits and opcode.
    pub first_byte: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl RawFrame {
    /// The code of a close frame; 0 for any other.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match (self.first_byte, &*self.payload) {
            (0x88, [high, low, ..]) => u16::from_be_bytes([*high, *low]),
            _ => 0,
        }
    }
}

/// A client's frame: `first_byte` is FIN, reserved bits and opcode. Without a mask it breaks RFC 6455.
#[must_use]
pub fn client_frame(first_byte: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first_byte];
    match payload.len() {
        length @ 0..=125 => frame.push(masked | length as u8),
        length @ 126..=65_535 => {
            frame.push(masked | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let key = mask.unwrap_or_default();
    frame.extend_from_slice(mask.as_ref().map_or(&[], |key| &key[..]));
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

impl RawSocket {
    /// Connects.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::of(connect(address, None, None).await)
    }

    /// Connects with a small kernel buffer for what is not read.
    pub async fn connect_with_receive_buffer(address: SocketAddr, bytes: u32) -> Self {
        Self::of(connect(address, Some(bytes), None).await)
    }

    pub(crate) fn of(stream: Wire) -> Self {
        Self { stream, buffer: Vec::new(), transcript: Transcript::new("a raw socket") }
    }

    /// Makes a WebSocket handshake by hand, and returns the answer. `target` is path and query; `headers` are whole lines with their line
    /// breaks.
    ///
    /// # Panics
    /// If the answer is not 101.
    pub async fn upgrade(&mut self, target: &str, headers: &str) -> RawResponse {
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        self.send(request.as_bytes()).await.unwrap_or_else(|error| self.transcript.fail(error));
        let answer = self.response().await;
        if answer.status != 101 {
            self.transcript.fail(format_args!("expected 101, got {} {}", answer.head, answer.body));
        }
        if !answer.head.to_ascii_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=") {
            self.transcript.fail("the accept key is wrong");
        }
        answer
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// The server has gone.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let shown = &bytes[..bytes.len().min(200)];
        self.transcript.sent(format!("{} bytes: {}", bytes.len(), shown.escape_ascii()));
        self.stream.write_all(bytes).await
    }

    /// Sends a masked frame.
    ///
    /// # Errors
    /// The server has gone.
    pub async fn send_frame(&mut self, first_byte: u8, payload: &[u8]) -> io::Result<()> {
        self.send(&client_frame(first_byte, payload, Some([7, 11, 13, 17]))).await
    }

    /// Ends this side's half of the connection.
    ///
    /// # Errors
    /// The server has gone.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// An HTTP answer.
    ///
    /// # Panics
    /// If none comes.
    pub async fn response(&mut self) -> RawResponse {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await {
                self.transcript.fail(format_args!("no HTTP answer, but {:?}", self.buffer.escape_ascii().to_string()));
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
        };
        let length = header("content-length").and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        while self.buffer.len() < head_end + length && self.fill().await {}
        let end = self.buffer.len().min(head_end + length);
        let body = String::from_utf8_lossy(&self.buffer[head_end..end]).into_owned();
        self.buffer.drain(..end);
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        RawResponse { status, head, body }
    }

    /// The next frame; `None` if the connection ends before one is whole.
    pub async fn frame(&mut self) -> Option<RawFrame> {
        loop {
            if let Some((frame, length)) = parse_frame(&self.buffer) {
                self.buffer.drain(..length);
                self.transcript.received(format!("{:#04x}: {}", frame.first_byte, frame.payload.escape_ascii()));
                return Some(frame);
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// The close code that comes, after whatever else comes first; 1006 if the connection ends without one.
    pub async fn close_code(&mut self) -> u16 {
        while let Some(frame) = self.frame().await {
            if frame.first_byte == 0x88 {
                return frame.close_code();
            }
        }
        1006
    }

    /// Reads to the end of the connection and returns how many bytes came.
    ///
    /// # Panics
    /// If it does not end.
    pub async fn until_end(&mut self) -> usize {
        let mut total = self.buffer.len();
        self.buffer.clear();
        while self.fill().await {
            total += self.buffer.len();
            self.buffer.clear();
        }
        total
    }

    /// The next chunk of a body in chunked transfer coding (RFC 9112, 7.1); empty at its end.
    ///
    /// # Panics
    /// If the connection ends within one.
    pub async fn chunk(&mut self) -> Vec<u8> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let size = std::str::from_utf8(&self.buffer[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
                let Some(size) = size else { self.transcript.fail("the chunk has no size") };
                if self.buffer.len() >= end + 2 + size + 2 {
                    let chunk = self.buffer[end + 2..end + 2 + size].to_vec();
                    self.buffer.drain(..end + 2 + size + 2);
                    return chunk;
                }
            }
            if !self.fill().await {
                self.transcript.fail("the connection ended within a chunk");
            }
        }
    }

    /// False if the connection has ended, in order or not.
    async fn fill(&mut self) -> bool {
        match tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await {
            Ok(Ok(count)) => count > 0,
            Ok(Err(error)) => {
                self.transcript.remark(error.to_string());
                false
            }
            Err(_) => self.transcript.fail(format_args!("nothing came for {PATIENCE:?}, and the connection did not end")),
        }
    }
}

fn parse_frame(bytes: &[u8]) -> Option<(RawFrame, usize)> {
    let (first_byte, length) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match length {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        short => (2, usize::from(short)),
    };
    let payload = bytes.get(start..start + length)?.to_vec();
    Some((RawFrame { first_byte, payload }, start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_written_and_read_by_the_book() {
        // RFC 6455, 5.7: a masked "Hello", and an unmasked one.
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(client_frame(0x81, b"Hello", Some([0x37, 0xfa, 0x21, 0x3d])), masked);
        let plain = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        assert_eq!(parse_frame(&plain), Some((RawFrame { first_byte: 0x81, payload: b"Hello".to_vec() }, 7)));
        assert_eq!(parse_frame(&plain[..6]), None);
        assert_eq!(parse_frame(&client_frame(0x82, &[7; 300], None)).unwrap().0.payload, [7; 300]);
    }
}
