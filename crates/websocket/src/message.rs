//! What the decoder hands out, and the rules for a close frame's payload.

use crate::error::ProtocolError;
use crate::header::Opcode;

/// A whole message or control frame, unmasked and checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// Answer with a pong that carries the same payload (at most 125 bytes), unless a close was sent.
    Ping(&'a [u8]),
    /// An answer to a ping, or an unasked sign of life.
    Pong(&'a [u8]),
    /// The peer closes, with a code and reason if it gave any. Echo the code, and feed no more bytes: what follows a close means nothing.
    Close(Option<(u16, &'a str)>),
}

impl<'a> Message<'a> {
    /// Makes a message of an unfragmented frame's payload.
    pub(crate) fn from_frame(opcode: Opcode, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        Ok(match opcode {
            Opcode::Text => Self::Text(std::str::from_utf8(payload).map_err(|_| ProtocolError::InvalidText)?),
            Opcode::Binary => Self::Binary(payload),
            Opcode::Ping => Self::Ping(payload),
            Opcode::Pong => Self::Pong(payload),
            Opcode::Close => Self::Close(close(payload)?),
            Opcode::Continuation => return Err(ProtocolError::UnexpectedContinuation),
        })
    }
}

/// A close frame's payload (RFC 6455 section 5.5.1): nothing, or a code and a reason.
fn close(payload: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(ProtocolError::CloseTooShort) };
    };
    let code = u16::from_be_bytes(*code);
    // Section 7.4: 1004–1006 and 1015 never stand in a frame; 1012–1014 were registered after the RFC; up to 2999 is unassigned.
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(ProtocolError::InvalidCloseCode(code));
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
    Ok(Some((code, reason)))
}
