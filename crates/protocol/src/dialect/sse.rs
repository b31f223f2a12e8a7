//! Server-Sent Events. An event is its shared part (the `data:` line); the connection puts its own `id:` line in front,
//! because that line names the positions of all topics of the stream and so differs from client to client.

use super::{Stamp, native};
use crate::codes::ErrorCode;
use crate::event::EventView;
use crate::message::{Decline, ServerMessage};

pub(super) fn one_way() -> Decline {
    Decline::new(ErrorCode::UnknownType, "an event stream takes no messages")
}

pub(super) fn encode_event(event: &EventView<'_>, out: &mut Vec<u8>) {
    // No `event:` line: browsers hand every event to `onmessage`, whatever its type. The type is in the envelope.
    out.extend_from_slice(b"data: ");
    native::encode_event(event, out);
    out.extend_from_slice(b"\n\n");
}

pub(super) fn encode_message(message: &ServerMessage, stamp: Stamp<'_>, out: &mut Vec<u8>) {
    match message {
        // A comment line keeps proxies and clients awake and disturbs nobody.
        ServerMessage::Ping {} | ServerMessage::Pong {} => out.extend_from_slice(b": ping\n\n"),
        ServerMessage::Reconnect { retry_after_ms } => {
            out.extend_from_slice(format!("retry: {retry_after_ms}\n\n").as_bytes());
        }
        _ => {
            out.extend_from_slice(b"event: towline\ndata: ");
            native::encode_message(message, stamp, out);
            out.extend_from_slice(b"\n\n");
        }
    }
}
