//! Wire types, dialects, error and close codes: the only place where they are defined.
//!
//! No I/O, no clock, no configuration. Everything here is a value or a pure function, so that server, clients, tests and
//! documents are generated from, or checked against, one definition.

pub mod codes;
pub mod cursor;
pub mod dialect;
pub mod event;
pub mod inbox_message;
pub mod message;
pub mod msgpack;
pub mod position;
pub mod timestamp;
pub mod topic;

pub use codes::{AfterClose, CloseCode, ErrorCode};
pub use dialect::{Dialect, Stamp};
pub use event::{EventLimits, EventView, NewEvent, PublishItem, Refusal, Severity};
pub use inbox_message::InboxMessage;
pub use message::{
    Asked, ClientMessage, ClientRequest, Decline, ErrorBody, GapCause, GapNotice, PublishResult, ServerMessage, StartRequest,
    StoredAt, TopicRequest,
};
pub use position::{Epoch, Offset, Position};
pub use topic::{TopicName, TopicPattern};
