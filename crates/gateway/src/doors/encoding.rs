//! Between messages and frames: what a frame of each dialect is, and what a binary message says.

use towline_protocol::{CloseCode, Dialect, ErrorBody, EventView};
use towline_sockets::Io;
use towline_sockets::websocket::{Opcode, write_header};

use super::gate::Gate;
use super::session::Session;

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

/// Writes an event as a frame: once per format, whoever and how many read it.
pub(super) fn encode_frame(format: usize, event: &EventView<'_>, out: &mut Vec<u8>) {
    let dialect = Dialect::FORMATS[format];
    if dialect == Dialect::Sse {
        dialect.encode_event(event, out);
        return;
    }
    // Almost every frame's header has four bytes (payloads of 126 to 65,535 bytes): leave room for that and mend the rest.
    const USUAL_HEADER: [u8; 4] = [0; 4];
    let start = out.len();
    out.extend_from_slice(&USUAL_HEADER);
    dialect.encode_event(event, out);
    let payload = out.len() - start - USUAL_HEADER.len();
    let mut header = Vec::with_capacity(10);
    let opcode = if dialect.is_binary() { Opcode::Binary } else { Opcode::Text };
    write_header(&mut header, opcode, payload);
    out.splice(start..start + USUAL_HEADER.len(), header);
}
