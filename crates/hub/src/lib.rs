//! Topics, shared windows, cursors: where replay and live delivery are one mechanism.
//!
//! A topic with subscribers keeps a **window**: its newest events, encoded once per format in use. A subscriber is an offset. Inside the
//! window it is served from the shared frames; behind it, from pages of the log, until its offset lies in the window again. Nothing here
//! knows sockets, tokens, dialects or which engine keeps the log.

mod hub;
mod run;
mod topic;
mod window;

pub use hub::{Attachment, CatchUpPage, Hub, Joined, Settings};
pub use run::{Frame, Progress, Run, progress, slices};
pub use topic::{Listener, ListenerId, Served, Topic};

use towline_protocol::EventView;

/// Writes one event as a whole frame in the given format. The same event always gives the same bytes.
pub type EncodeFrame = fn(format: usize, event: &EventView<'_>, out: &mut Vec<u8>);

/// How many formats there may be.
pub const FORMATS_MAX: usize = 5;
