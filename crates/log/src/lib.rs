//! The contract of an event log. The embedded engine keeps it today; NATS JetStream and Redis Streams will, and nothing above
//! this crate may assume more than what stands here.
//!
//! Order of everything: an event is **appended**, becomes **durable** as its topic's policy says, is **committed** (visible to
//! reads and handed to the topic's follower), and only then **acknowledged**. Nobody sees an event that could still be lost
//! under the promised durability.

mod policy;
mod record;

#[cfg(feature = "conformance")]
pub mod conformance;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub use policy::{Durability, Policies, Retention, TopicPolicy};
pub use record::Record;
pub use towline_protocol::{Epoch, NewEvent, Offset, Position, TopicName};

/// A future that owns all it needs and may be polled on any thread: dropping it stops waiting, never the work; an append whose future was dropped may still happen.
pub type LogFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// An event log engine. All methods may be called from any thread; none blocks the caller.
pub trait EventLog: Send + Sync + 'static {
    /// Appends all events or none, in the order given, and resolves once the durability of every topic concerned holds.
    /// Events of one topic get increasing offsets in the order given. An event whose id was appended to the same topic within
    /// the dedup window is not stored again: its first position comes back, marked as a duplicate (also within one call).
    fn append(&self, events: Vec<NewEvent>) -> LogFuture<Result<Vec<Appended>, AppendError>>;

    /// Reads one page. Never blocks or delays appends. A topic that was never written to reads as empty, not as an error.
    fn read(&self, read: Read) -> LogFuture<Result<Page, ReadError>>;

    /// What the log holds of a topic.
    fn bounds(&self, topic: &TopicName) -> LogFuture<Result<Bounds, ReadError>>;

    /// From the returned position (the head) on, every committed record of the topic is handed to `follower`, in order, without
    /// hole or repetition. One follower per topic: a second call replaces the first.
    fn follow(&self, topic: &TopicName, follower: Arc<dyn Follower>) -> LogFuture<Result<Position, ReadError>>;

    /// Stops handing out the topic's records. A batch already on its way may still arrive.
    fn unfollow(&self, topic: &TopicName);

    /// Whether appends can be taken right now, and why not.
    fn health(&self) -> Health;

    /// Figures for operators, by name, without topics or users.
    fn stats(&self) -> LogStats;

    /// Finishes what was accepted, makes everything durable, and refuses later appends with [`AppendError::Closed`].
    fn close(&self) -> LogFuture<()>;
}

/// Gets a topic's records as they are committed. Called on the engine's thread: hand over and return, never block.
pub trait Follower: Send + Sync + 'static {
    /// `records` follow each other (`prev` of each is the offset of the one before) in `epoch`.
    fn committed(&self, epoch: Epoch, records: &[Record]);

    /// Continuity is lost: the topic's history goes on after `head` in a new epoch.
    fn reset(&self, head: Position);
}

/// The answer to one appended event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Where it stands.
    pub position: Position,
    /// When the log took it, in milliseconds since the Unix epoch (the first time, for a duplicate).
    pub ts_ms: u64,
    /// The id was known: nothing was stored, `position` is the first one's.
    pub duplicate: bool,
}

/// Where a read starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// After this position going forward, before it going backward.
    At(Position),
    /// After (or, backward, before) the event with this id.
    Id(Box<str>),
    /// At the first event taken at or after this time (Unix milliseconds); backward: before that event.
    Time(u64),
    /// Before the first event that is still retained.
    Earliest,
    /// After the last committed event.
    Latest,
}

/// Which way a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Oldest first.
    Forward,
    /// Newest first.
    Backward,
}

/// A request for one page. At least one record is returned if there is one, even if it is larger than `bytes_max`.
#[derive(Debug, Clone)]
pub struct Read {
    /// The topic.
    pub topic: TopicName,
    /// Where to start.
    pub start: Start,
    /// Which way to go.
    pub direction: Direction,
    /// At most this many records.
    pub events_max: usize,
    /// Stop once the bodies have this many bytes.
    pub bytes_max: usize,
}

/// One page of a topic.
#[derive(Debug, Clone)]
pub struct Page {
    /// The topic's epoch.
    pub epoch: Epoch,
    /// The records, in the direction of the read.
    pub records: Vec<Record>,
    /// Where the page begins. Forward: its records follow this offset. Backward: its records precede this offset
    /// (head + 1 when reading from the latest).
    pub from: Offset,
    /// Where the next page begins: pass it as [`Start::At`] to go on. Forward: the last record's offset, or `from` if there is none.
    pub to: Offset,
    /// The last committed offset when the page was read.
    pub head: Offset,
    /// Nothing is left in this direction (forward: `to` is the head; backward: nothing older is retained).
    pub complete: bool,
    /// What the caller asked for and can no longer get; `records` begin where history goes on.
    pub gap: Option<Gap>,
}

impl Page {
    /// Where the page begins, as a position.
    #[must_use]
    pub fn from_position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.from }
    }

    /// Where the next page begins, as a position.
    #[must_use]
    pub fn to_position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.to }
    }
}

/// History that cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The position that was asked for, where it was one.
    pub requested: Option<Position>,
    /// The caller may continue after this position, and has then missed what lies before it.
    pub resume_after: Position,
}

/// Why history cannot be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// Retention removed it.
    Trimmed,
    /// The position belongs to another epoch, or lies beyond the head: continuity cannot be proven.
    EpochChanged,
    /// No retained event has this id.
    UnknownId,
    /// The stored bytes were damaged; the operator was told what was lost.
    Damaged,
}

/// What a log holds of a topic. `floor` == `head` means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The topic's epoch.
    pub epoch: Epoch,
    /// Records up to and including this offset are gone (0: none is gone).
    pub floor: Offset,
    /// The last committed offset (0: none was ever written).
    pub head: Offset,
    /// How many records are retained.
    pub events: u64,
    /// How many bytes their bodies have. An engine may estimate the share of a block of which a part is trimmed.
    pub bytes: u64,
}

/// Why an append was refused. Nothing of the call was stored, unless it says otherwise.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The disk is full. Retry when space was freed; what was acknowledged is safe.
    #[error("the log's disk is full: free space or lower retention; nothing was stored")]
    Full,
    /// Too many appends are waiting. Retry after a pause.
    #[error("too many appends are waiting: retry")]
    Busy,
    /// An event or the whole call is larger than the log takes. Do not retry unchanged.
    #[error("the log does not take this: {0}")]
    Invalid(Arc<str>),
    /// The engine is closing.
    #[error("the log is closing")]
    Closed,
    /// The device failed. After a failed sync it is unknown whether the bytes survived: the engine refuses all further appends
    /// until it is restarted and has verified what is on disk.
    #[error("the log failed and refuses appends until it is restarted: {0}")]
    Failed(Arc<str>),
}

/// Why a read failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Stored bytes do not match their checksum. The operator finds segment and place in the message.
    #[error("the log is damaged: {0}")]
    Damaged(Arc<str>),
    /// The device failed.
    #[error("the log cannot be read: {0}")]
    Failed(Arc<str>),
}

/// Whether appends can be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Ready,
    /// Not now; the text says why and what to do.
    Refusing(Arc<str>),
}

/// Figures for operators. Counters only ever grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Events stored.
    pub appended_total: u64,
    /// Events recognised as already stored.
    pub duplicates_total: u64,
    /// Appends refused or failed.
    pub refused_total: u64,
    /// Group commits.
    pub commits_total: u64,
    /// Syncs to the device.
    pub syncs_total: u64,
    /// Microseconds spent in syncs.
    pub sync_micros_total: u64,
    /// Topics known.
    pub topics: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Events removed by retention.
    pub trimmed_total: u64,
}
