//! A frame's header: reading it from any prefix of its bytes, so that the earliest byte that breaks a rule is the one that fails.

use std::fmt;

use crate::error::ProtocolError;

/// The longest header: two bytes, a 64-bit length, a mask.
pub(crate) const HEADER_BYTES_MAX: usize = 14;
/// The longest payload of a control frame (RFC 6455 section 5.5).
pub(crate) const CONTROL_BYTES_MAX: usize = 125;

pub(crate) const FIN: u8 = 0x80;
pub(crate) const MASKED: u8 = 0x80;
/// RSV1: the message is compressed (RFC 7692 section 6).
pub(crate) const COMPRESSED: u8 = 0x40;
const RESERVED: u8 = 0x70;

/// Which end of the connection decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes a client's frames, which must be masked.
    Server,
    /// Takes a server's frames, which must not be masked.
    Client,
}

/// What a frame is (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further fragment of the open message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The start of, or the answer to, the closing handshake.
    Close = 0x8,
    /// Asks for a pong with the same payload.
    Ping = 0x9,
    /// Answers a ping, or comes unasked.
    Pong = 0xa,
}

impl Opcode {
    /// Whether this is a close, ping or pong, which may stand between the fragments of a message.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return Err(ProtocolError::ReservedOpcode(bits)),
        })
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Continuation => "continuation",
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
        })
    }
}

/// What the frames before this one, and the limits, allow it to be.
pub(crate) struct Expected {
    pub role: Role,
    /// Compression was negotiated.
    pub deflate: bool,
    /// A fragmented message is open.
    pub in_message: bool,
    /// Bytes that the open (or a new) message may still grow by.
    pub room_bytes: usize,
    /// The limit to name if `room_bytes` does not suffice.
    pub message_bytes_max: usize,
}

/// A header that kept every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub fin: bool,
    /// The message that begins here is compressed.
    pub compressed: bool,
    pub opcode: Opcode,
    /// Fits the message limit.
    pub payload_bytes: usize,
    /// All zero if the frame is not masked.
    pub key: [u8; 4],
    /// Length of the header itself.
    pub header_bytes: usize,
}

impl Header {
    /// Reads the header at the front of `bytes`; `None` if `bytes` is a proper prefix of a header that keeps every rule so far.
    pub fn parse(bytes: &[u8], expected: &Expected) -> Result<Option<Self>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, compressed) = (first & FIN != 0, first & RESERVED == COMPRESSED);
        if first & RESERVED != 0 && !(compressed && expected.deflate) {
            return Err(ProtocolError::ReservedBits(first));
        }
        let opcode = Opcode::from_bits(first & 0x0f)?;
        // It speaks of a whole message: said once, with its first frame.
        if compressed && !matches!(opcode, Opcode::Text | Opcode::Binary) {
            return Err(ProtocolError::ReservedBits(first));
        }
        match opcode {
            Opcode::Continuation if !expected.in_message => return Err(ProtocolError::UnexpectedContinuation),
            Opcode::Text | Opcode::Binary if expected.in_message => return Err(ProtocolError::InterruptedMessage(opcode)),
            Opcode::Close | Opcode::Ping | Opcode::Pong if !fin => return Err(ProtocolError::FragmentedControl(opcode)),
            _ => {}
        }

        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & MASKED != 0;
        match expected.role {
            Role::Server if !masked => return Err(ProtocolError::Unmasked),
            Role::Client if masked => return Err(ProtocolError::Masked),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(ProtocolError::ControlTooLong(opcode));
        }
        let (length, at) = match short {
            126 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
                Some(wide) => (extended(u16::from_be_bytes(*wide).into(), 126)?, 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
                Some(wide) => (extended(u64::from_be_bytes(*wide), 0x1_0000)?, 10),
                // The top bit is known from the first of the eight bytes.
                None if bytes.get(2).is_some_and(|b| b & 0x80 != 0) => return Err(ProtocolError::LengthTopBit),
                None => return Ok(None),
            },
            length => (u64::from(length), 2),
        };
        // A length that does not fit a usize is longer than any limit.
        let payload_bytes = usize::try_from(length).unwrap_or(usize::MAX);
        if !opcode.is_control() && payload_bytes > expected.room_bytes {
            return Err(ProtocolError::MessageTooBig { bytes_max: expected.message_bytes_max });
        }

        if !masked {
            return Ok(Some(Self { fin, compressed, opcode, payload_bytes, key: [0; 4], header_bytes: at }));
        }
        Ok(bytes.get(at..).and_then(<[u8]>::first_chunk).map(|key| Self {
            fin,
            compressed,
            opcode,
            payload_bytes,
            key: *key,
            header_bytes: at + 4,
        }))
    }
}

/// A length from the 16- or 64-bit field, which may hold only lengths from `least` on.
fn extended(length: u64, least: u64) -> Result<u64, ProtocolError> {
    if length >> 63 != 0 {
        return Err(ProtocolError::LengthTopBit);
    }
    if length < least {
        return Err(ProtocolError::NonMinimalLength(length));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_header_waits_and_the_whole_is_read() {
        let expected =
            Expected { role: Role::Server, deflate: false, in_message: false, room_bytes: 1 << 20, message_bytes_max: 1 << 20 };
        let bytes = [0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 8, 7, 6, 0x55];
        for end in 0..14 {
            assert_eq!(Header::parse(&bytes[..end], &expected), Ok(None), "{end} bytes");
        }
        let whole = Header {
            fin: true,
            compressed: false,
            opcode: Opcode::Binary,
            payload_bytes: 0x1_0000,
            key: [9, 8, 7, 6],
            header_bytes: HEADER_BYTES_MAX,
        };
        assert_eq!(Header::parse(&bytes, &expected), Ok(Some(whole)));
    }
}
