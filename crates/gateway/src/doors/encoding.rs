//! Between messages and frames: what a frame of each format is, and what a binary message says.

use std::sync::Arc;

use towline_hub::{EncodeFrame, FORMATS_MAX};
use towline_protocol::{CloseCode, Dialect, ErrorBody, EventView};
use towline_sockets::Io;
use towline_sockets::websocket::{Opcode, Window, deflate, write_compressed_header, write_header};

use super::gate::Gate;
use super::session::Session;
use crate::config::SocketSettings;

impl Gate {
    /// A binary message: where the door speaks a binary encoding, it is a request like one in text.
    pub(super) fn binary_request(&mut self, io: &mut Io<'_>, session: &mut Session, bytes: &[u8]) {
        match session.door.dialect.text_of(bytes, self.shared.config.sockets.message_bytes_max) {
            Some(Ok(text)) => self.request(io, session, &text),
            Some(Err(decline)) => {
                self.shared.metrics.messages_received.inc();
                self.complain(io, session, ErrorBody::new(decline.code, decline.message), None);
            }
            None => self.close(io, CloseCode::Unsupported, "binary messages are not taken here; send JSON text"),
        }
    }
}

/// How the events of a connection look: one for all connections whose dialect and compression are alike, so that each event is encoded and
/// compressed once for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    dialect: Dialect,
    /// How far back the compression refers; `None` if there is none.
    window: Option<Window>,
}

const WINDOWS: [Option<Window>; 3] = [None, Some(Window::Full), Some(Window::Small)];
const _: () = assert!(Dialect::FORMATS.len() * WINDOWS.len() <= FORMATS_MAX);

impl Format {
    pub(super) fn new(dialect: Dialect, window: Option<Window>) -> Self {
        Self { dialect, window }
    }

    /// The hub's number for it.
    pub(super) fn number(self) -> usize {
        let window = WINDOWS.iter().position(|window| *window == self.window).unwrap_or(0);
        window * Dialect::FORMATS.len() + self.dialect.format()
    }

    fn of(number: usize) -> Self {
        let dialects = Dialect::FORMATS.len();
        Self { dialect: Dialect::FORMATS[number % dialects], window: WINDOWS[number / dialects] }
    }

    /// Writes an event as a frame: once per format, whoever and how many read it.
    fn encode(self, event: &EventView<'_>, compression: Compression, out: &mut Vec<u8>) {
        let Self { dialect, window } = self;
        if dialect == Dialect::Sse {
            dialect.encode_event(event, out);
            return;
        }
        // Almost every frame's header has four bytes (payloads of 126 to 65,535 bytes): leave room for that and mend the rest.
        const USUAL_HEADER: [u8; 4] = [0; 4];
        let start = out.len();
        out.extend_from_slice(&USUAL_HEADER);
        let payload = start + USUAL_HEADER.len();
        dialect.encode_event(event, out);
        let opcode = if dialect.is_binary() { Opcode::Binary } else { Opcode::Text };
        let mut header = Vec::with_capacity(10);
        let mut shorter = Vec::new();
        if let Some(window) = window
            && out.len() - payload >= compression.bytes_min
            && deflate(&out[payload..], compression.level, window, &mut shorter)
        {
            out.truncate(payload);
            out.extend_from_slice(&shorter);
            write_compressed_header(&mut header, opcode, shorter.len());
        } else {
            write_header(&mut header, opcode, out.len() - payload);
        }
        out.splice(start..payload, header);
    }
}

/// When and how hard to compress.
#[derive(Debug, Clone, Copy)]
struct Compression {
    bytes_min: usize,
    level: u32,
}

/// The hub's way to make frames.
pub(super) fn encoder(sockets: &SocketSettings) -> EncodeFrame {
    let compression = Compression { bytes_min: sockets.compression_bytes_min, level: sockets.compression_level };
    Arc::new(move |format, event, out| Format::of(format).encode(event, compression, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_a_number_of_its_own() {
        let mut numbers = Vec::new();
        for dialect in Dialect::FORMATS {
            for window in WINDOWS {
                let format = Format::new(dialect, window);
                assert_eq!(Format::of(format.number()), format);
                numbers.push(format.number());
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..Dialect::FORMATS.len() * WINDOWS.len()).collect::<Vec<_>>());
    }
}
