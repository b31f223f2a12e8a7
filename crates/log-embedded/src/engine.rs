//! The handle: starts the threads, and answers the contract's calls.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Semaphore, oneshot};
use towline_clock::Clock;
use towline_log::{
    AppendError, Appended, Bounds, EventLog, Follower, Health, LogFuture, LogStats, NewEvent, Page, Position, Read, ReadError,
    Start, TopicName,
};

use crate::append_queue::{AppendQueue, Job, QueueLimits};
use crate::counters::{Counters, add};
use crate::dedup::Keying;
use crate::files::{DirectoryLock, Files};
use crate::open_error::OpenError;
use crate::options::Options;
use crate::recovery::{Recovered, recover};
use crate::recovery_report::RecoveryReport;
use crate::segment_cache::SegmentCache;
use crate::shared::{Shared, UpkeepState};
use crate::writer::Writer;
use crate::{off_thread, reader, record_codec, upkeep};

/// The embedded event log. Dropping it closes it, and blocks until what was accepted is durable; [`EventLog::close`] does not block.
///
/// A topic's epoch changes only while the log is opened, so [`Follower::reset`] is never called. Closing lets go of all followers.
///
/// Its futures may be polled anywhere; reads from the disk use the blocking threads of the Tokio runtime that polls them, if one does.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

/// The threads, and what is let go of when they have ended.
struct Threads {
    running: Mutex<Option<Running>>,
}

struct Running {
    writer: JoinHandle<bool>,
    upkeep: JoinHandle<()>,
    lock: Box<dyn DirectoryLock>,
}

impl EmbeddedLog {
    /// Opens the log in `files`, or makes one there. Reads all segments, so call it before serving, not on an async thread.
    ///
    /// # Errors
    /// [`OpenError`] says what an operator must do. Damage is not an error: see [`RecoveryReport::is_damaged`].
    pub fn open(options: Options, files: Arc<dyn Files>, clock: Clock) -> Result<(Self, RecoveryReport), OpenError> {
        let options = options.bounded();
        let keying = Keying::default();
        let Recovered { rebuild, identity, active, report, lock } = recover(&files, &options, &clock, &keying)?;
        let limits = QueueLimits { events_max: options.append_queue_events_max, bytes_max: options.append_queue_bytes_max };
        let shared = Arc::new(Shared {
            queue: AppendQueue::new(limits),
            index: Mutex::new(rebuild.index),
            dedup: Mutex::new(rebuild.dedup),
            keying,
            counters: Counters::default(),
            segments: SegmentCache::default(),
            reads: Arc::new(Semaphore::new(options.reads_max)),
            searches: Arc::new(Semaphore::new(options.reads_max.div_ceil(4))),
            last_ts_ms: AtomicU64::new(rebuild.last_ts_ms),
            full: AtomicBool::new(false),
            upkeep: Mutex::new(UpkeepState { checkpoint_at: clock.uptime(), ..UpkeepState::default() }),
            upkeep_wake: Condvar::new(),
            identity,
            files,
            options,
            clock,
        });
        let io = |doing: &str, source| OpenError::Io { directory: shared.files.location(), doing: doing.to_owned(), source };
        // From here on the log counts as not closed in order, and its epochs as given out.
        shared.checkpoint(&mut shared.upkeep.lock(), &[], false).map_err(|source| io("writing the checkpoint", source))?;
        let writer = Writer::new(shared.clone(), active);
        let writer = thread::Builder::new().name("towline-log".into()).spawn(move || writer.run());
        let writer = writer.map_err(|source| io("starting the writer", source))?;
        let for_upkeep = shared.clone();
        let upkeep = thread::Builder::new().name("towline-upkeep".into()).spawn(move || upkeep::run(&for_upkeep));
        let upkeep = upkeep.map_err(|source| {
            shared.queue.close();
            io("starting the upkeep", source)
        })?;
        let threads = Arc::new(Threads { running: Mutex::new(Some(Running { writer, upkeep, lock })) });
        Ok((Self { shared, threads }, report))
    }

    /// Does now what happens every [`Options::upkeep_interval`]: trims by age, and removes segments with nothing alive in them.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// What the system says; nothing is lost, and the next round tries again.
    pub fn upkeep(&self) -> std::io::Result<()> {
        upkeep::once(&self.shared)
    }
}

impl Threads {
    /// Ends the threads; blocks until everything accepted is answered. A second call waits for the first.
    fn finish(&self, shared: &Shared) {
        shared.queue.close();
        // Held to the end: whoever closes too waits for it.
        let mut slot = self.running.lock();
        let Some(running) = slot.take() else { return };
        let me = thread::current().id();
        if running.writer.thread().id() == me || running.upkeep.thread().id() == me {
            // The last handle was dropped by a follower, on the writer itself: it ends on its own, without a clean checkpoint.
            return;
        }
        let synced = running.writer.join().unwrap_or(false);
        shared.upkeep.lock().stop = true;
        shared.upkeep_wake.notify_all();
        if running.upkeep.join().is_err() {
            tracing::error!("the log's upkeep had ended by a fault in the program");
        }
        if synced && let Err(error) = shared.checkpoint(&mut shared.upkeep.lock(), &[], true) {
            tracing::warn!(%error, "could not note that the log was closed in order; the next opening will verify it as after a crash");
        }
        shared.index.lock().drop_followers();
        drop(running.lock);
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.threads.finish(&self.shared);
    }
}

impl EventLog for EmbeddedLog {
    fn append(&self, events: Vec<NewEvent>) -> LogFuture<Result<Vec<Appended>, AppendError>> {
        let refuse = |error: AppendError| -> LogFuture<Result<Vec<Appended>, AppendError>> {
            add(&self.shared.counters.refused, 1);
            Box::pin(ready(Err(error)))
        };
        if let Some(why) = events.iter().find_map(|event| record_codec::check(event).err()) {
            return refuse(AppendError::Invalid(why.into()));
        }
        let bytes = events.iter().map(record_codec::encoded_bytes).sum();
        let (reply, answer) = oneshot::channel();
        // Queued now and not when first polled: calls are stored in the order in which they were made.
        if let Err(error) = self.shared.queue.push(Job { events, bytes, reply }) {
            return refuse(error);
        }
        Box::pin(async move {
            let ended = || AppendError::Failed("the log's writer ended before it answered".into());
            answer.await.unwrap_or_else(|_| Err(ended()))
        })
    }

    fn read(&self, read: Read) -> LogFuture<Result<Page, ReadError>> {
        let shared = self.shared.clone();
        Box::pin(async move {
            if let Some(page) = reader::read_without_disk(&shared, &read) {
                return Ok(page);
            }
            let search = match read.start {
                Start::Id(_) => shared.searches.clone().acquire_owned().await.ok(),
                _ => None,
            };
            let permit = shared.reads.clone().acquire_owned().await;
            let reading = off_thread::run(move || {
                let page = reader::read(&shared, &read);
                drop((permit, search));
                page
            });
            reading.await.unwrap_or_else(|_| Err(ReadError::Failed("the read was stopped".into())))
        })
    }

    fn bounds(&self, topic: &TopicName) -> LogFuture<Result<Bounds, ReadError>> {
        Box::pin(ready(Ok(self.shared.index.lock().bounds(topic.as_str()))))
    }

    fn follow(&self, topic: &TopicName, follower: Arc<dyn Follower>) -> LogFuture<Result<Position, ReadError>> {
        let mut index = self.shared.index.lock();
        let id = index.find_or_insert(topic);
        let head = index.get_mut(id).map(|topic| {
            topic.follower = Some(follower);
            topic.head_position()
        });
        let lost = || ReadError::Failed("the topic could not be entered into the index".into());
        Box::pin(ready(head.ok_or_else(lost)))
    }

    fn unfollow(&self, topic: &TopicName) {
        let mut index = self.shared.index.lock();
        if let Some(id) = index.find(topic.as_str()) {
            let _former = index.get_mut(id).and_then(|topic| topic.follower.take());
            index.forget_if_blank(id);
        }
    }

    fn health(&self) -> Health {
        match self.shared.queue.refusal() {
            Some(error) => Health::Refusing(error.to_string().into()),
            None if self.shared.full.load(Ordering::SeqCst) => Health::Refusing(AppendError::Full.to_string().into()),
            None => Health::Ready,
        }
    }

    fn stats(&self) -> LogStats {
        let index = self.shared.index.lock();
        LogStats {
            topics: index.topics() as u64,
            segments: index.segments.len() as u64,
            disk_bytes: index.segments.values().map(|segment| u64::from(segment.end)).sum(),
            ..self.shared.counters.snapshot()
        }
    }

    fn close(&self) -> LogFuture<()> {
        let (shared, threads) = (self.shared.clone(), self.threads.clone());
        // Refused from now on, not from the first poll on.
        shared.queue.close();
        Box::pin(async move {
            let finishing = off_thread::run(move || threads.finish(&shared));
            if finishing.await.is_err() {
                tracing::error!("closing the log was stopped");
            }
        })
    }
}
