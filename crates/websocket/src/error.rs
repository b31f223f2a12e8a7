//! How a peer can break the protocol, and the close code that tells it so.

use crate::header::Opcode;

/// What the peer did wrong. The stream has no frame boundary any more: send a close with [`ProtocolError::close_code`] and end the
/// connection. The text says which rule was broken and never contains payload, so it may be logged and sent as the close reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A reserved bit is set where no negotiated extension gives it a meaning (RFC 6455 section 5.2, RFC 7692 section 6). The value is the
    /// frame's first byte.
    #[error("a reserved bit is set in the frame's first byte {0:#04x}, and no negotiated extension explains it")]
    ReservedBits(u8),
    /// Opcodes 3–7 and 11–15 are reserved (section 5.2).
    #[error("opcode {0} is reserved")]
    ReservedOpcode(u8),
    /// Control frames may not be fragmented (section 5.5).
    #[error("a {0} frame may not be fragmented")]
    FragmentedControl(Opcode),
    /// Control frames carry at most 125 bytes (section 5.5).
    #[error("a {0} frame may carry at most 125 bytes")]
    ControlTooLong(Opcode),
    /// Clients must mask (section 5.1).
    #[error("a client's frame must be masked")]
    Unmasked,
    /// Servers must not mask (section 5.1).
    #[error("a server's frame must not be masked")]
    Masked,
    /// The length could have been written in fewer bytes (section 5.2).
    #[error("the payload length {0} is not written in the fewest bytes")]
    NonMinimalLength(u64),
    /// The most significant bit of a 64-bit length must be 0 (section 5.2).
    #[error("the top bit of a 64-bit payload length must be 0")]
    LengthTopBit,
    /// A continuation frame with nothing to continue (section 5.4).
    #[error("a continuation frame without a message to continue")]
    UnexpectedContinuation,
    /// A new message before the fragmented one ended (section 5.4).
    #[error("a new {0} message before the fragmented one ended")]
    InterruptedMessage(Opcode),
    /// The frame would make its message longer than allowed; known from the header alone.
    #[error("the message is longer than the allowed {bytes_max} bytes")]
    MessageTooBig {
        /// The limit in force.
        bytes_max: usize,
    },
    /// A compressed message does not inflate (RFC 7692 section 7.2.2).
    #[error("a compressed message does not inflate")]
    InvalidDeflate,
    /// The message has too many fragments.
    #[error("the message has more than the allowed {fragments_max} fragments")]
    TooManyFragments {
        /// The limit in force.
        fragments_max: u32,
    },
    /// A text message is not UTF-8 (section 8.1).
    #[error("a text message must be valid UTF-8")]
    InvalidText,
    /// A close frame's reason is not UTF-8 (section 5.5.1).
    #[error("a close reason must be valid UTF-8")]
    InvalidCloseReason,
    /// A close frame with half a code (section 5.5.1).
    #[error("a close frame must carry no payload or at least a two-byte code")]
    CloseTooShort,
    /// A close code that may not stand in a frame (section 7.4).
    #[error("close code {0} may not be sent")]
    InvalidCloseCode(u16),
}

impl ProtocolError {
    /// The code of the close frame to answer with: 1002, 1007 or 1009.
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::InvalidText | Self::InvalidCloseReason | Self::InvalidDeflate => 1007,
            Self::MessageTooBig { .. } | Self::TooManyFragments { .. } => 1009,
            _ => 1002,
        }
    }
}
