//! RFC 6455 without I/O: the opening handshake as a function of a request's headers, a frame decoder fed with the bytes that arrived,
//! and functions that append frames to a buffer.
//!
//! Does not: read or write sockets, keep time, answer pings or closes (the caller decides, and stops feeding the decoder after
//! [`Message::Close`]), or check `Origin`. One extension is known, permessage-deflate without context takeover; a reserved bit is an error
//! unless that was negotiated.
//!
//! ```
//! use towline_websocket::{Decoder, Limits, Message, Opcode, Role, write_masked_frame};
//!
//! let mut bytes = Vec::new();
//! write_masked_frame(&mut bytes, Opcode::Text, b"hello", [1, 2, 3, 4]);
//! let (mut decoder, limits) = (Decoder::new(Role::Server), Limits::default());
//! let mut input = &mut bytes[..];
//! while let Some(message) = decoder.next(&limits, &mut input)? {
//!     assert_eq!(message, Message::Text("hello"));
//! }
//! assert!(decoder.is_idle());
//! # Ok::<(), towline_websocket::ProtocolError>(())
//! ```

mod assembly;
mod decoder;
mod deflate;
mod encode;
mod error;
pub mod extensions;
pub mod handshake;
mod header;
mod mask;
mod message;

pub use decoder::{Decoder, Limits};
pub use deflate::{Window, deflate};
pub use encode::{close_payload, write_compressed_header, write_frame, write_header, write_masked_frame};
pub use error::ProtocolError;
pub use header::{Opcode, Role};
pub use message::Message;
