//! The reactor: a few threads, each with its own sockets, none with a buffer while idle.
//!
//! A worker waits for readiness, reads into one buffer that all its connections share, and writes straight from memory that all
//! subscribers share. What a connection owns while idle is its file descriptor, a decoder's few bytes and the application's session.
//!
//! This crate decides nothing about messages: an [`Application`] does, through plain synchronous calls. It knows RFC 6455 only as far as
//! control frames and closing go; and it knows no topics, tokens or logs.

mod application;
mod connection;
mod io;
mod mailbox;
mod pipe;
mod platform;
mod reactor;
mod tls;
mod tls_stream;
mod worker;

pub use application::{Application, Ended, Life};
pub use io::{Connections, Io};
pub use mailbox::{Arrival, ConnectionId, Mailbox, MailboxFull};
pub use pipe::{PipeBody, Source};
pub use platform::{give_up_after, prepare_socket};
pub use reactor::{Reactor, Settings};
pub use tls::{SEAL_BYTES_MAX, TlsError, TlsSession};
pub use towline_websocket as websocket;
