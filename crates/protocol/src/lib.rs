//! Wire types, dialects, error and close codes: the only place where they are defined.
//!
//! No I/O, no clock, no configuration. Everything here is a value or a pure function, so that server, clients, tests and
//! documents are generated from, or checked against, one definition.

pub mod codes;
pub mod event;
pub mod position;
pub mod topic;

pub use codes::{AfterClose, CloseCode, ErrorCode};
pub use event::{EventLimits, EventView, NewEvent, PublishItem, Refusal, Severity};
pub use position::{Epoch, Offset, Position};
pub use topic::{TopicName, TopicPattern};
