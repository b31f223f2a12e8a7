//! The embedded engine of the event log: segmented append-only files of our own, one writer, group commit.
//!
//! Bird's-eye view. [`EmbeddedLog`] is a handle. Appends go through a bounded queue to one writer thread, which places what waits
//! (`batch`), writes and syncs it once (`writer`), updates the index, calls the followers and acknowledges. Reads are planned under
//! the index's lock and read from the segments outside it (`reader`, `span_reader`, `search`). A third thread trims by age and
//! removes dead segments (`upkeep`). Opening reads and verifies everything (`recovery`, `rebuild`, `segment_scan`, `repair`).
//!
//! Not here, on purpose: compaction of segments in which little is alive, indexes on disk, replication, backup.

mod anchor;
mod append_queue;
mod batch;
mod checkpoint;
mod counters;
mod dedup;
mod engine;
mod files;
mod handout;
mod index;
mod off_thread;
mod open_error;
mod options;
mod platform;
mod reader;
mod rebuild;
mod record_codec;
mod recovery;
mod recovery_report;
mod repair;
mod search;
mod segment;
mod segment_cache;
mod segment_scan;
mod shared;
#[cfg(feature = "testing")]
mod simulated_device;
#[cfg(feature = "testing")]
mod simulated_files;
mod span_reader;
mod topic_index;
mod torn_tail;
mod upkeep;
mod writer;

pub use checkpoint::{Checkpoint, TopicState};
pub use engine::EmbeddedLog;
pub use files::{DirectoryLock, Files, LogFile, OsFiles};
pub use open_error::OpenError;
pub use options::Options;
pub use record_codec::{DecodeError, Frame, RECORD_BYTES_MAX, decode_record};
pub use recovery_report::{Damage, LostEvents, RecoveryReport};
pub use segment::{HeaderError, SegmentHeader};
#[cfg(feature = "testing")]
pub use simulated_files::SimulatedFiles;
