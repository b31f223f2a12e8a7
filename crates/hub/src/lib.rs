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

use std::sync::Arc;

use towline_protocol::EventView;

/// Writes one event as a whole frame in the given format. The same event always gives the same bytes. It may take its time: no lock that the
/// log waits for is held meanwhile.
pub type EncodeFrame = Arc<dyn Fn(usize, &EventView<'_>, &mut Vec<u8>) + Send + Sync>;

/// How many formats there may be: a topic that somebody watches in all of them keeps each of its newest events that often.
pub const FORMATS_MAX: usize = 32;
