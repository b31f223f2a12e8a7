//! The one thread that writes. It takes all that waits, writes it at once, syncs it once, makes it visible, hands it to the followers,
//! and then acknowledges: so hundreds of publishers share a sync, and nobody waits for company.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use towline_log::{AppendError, Durability, Follower};
use towline_protocol::Epoch;

use crate::append_queue::{Job, Taken};
use crate::batch::{Batch, SegmentTail};
use crate::counters::add;
use crate::files::{Files, LogFile, is_full, write_all_at};
use crate::handout::{Handout, Watched};
use crate::index::SegmentState;
use crate::segment::{self, HEADER_BYTES, SegmentHeader};
use crate::shared::Shared;

/// The segment that grows.
pub(crate) struct ActiveSegment {
    pub seq: u32,
    pub file: Arc<dyn LogFile>,
    /// Where the next record goes; everything before it is whole.
    pub end: u32,
    /// Up to here it is on the device.
    pub synced_to: u32,
}

/// The writer's own state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    active: ActiveSegment,
    /// Since when (by the clock's uptime) the segment has bytes that were acknowledged and not synced.
    unsynced_since: Option<Duration>,
    buffer: BytesMut,
    /// A committed batch that goes out with the next one; never kept over an empty queue.
    held: Option<Handout>,
}

/// A commit of more topics than this goes out at once: the gain is in few hot ones, and looking is not free.
const LOOKED_AT_MAX: usize = 64;

/// Why a batch was not committed.
enum CommitError {
    /// No space; the segment is as before, and the next batch may try again.
    Full,
    /// The device failed: nothing more may be written.
    Device(Arc<str>),
}

/// Refuses everything if the writer ends by a panic, so that nobody waits for ever.
struct EndGuard(Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.queue.fail(&"the log's writer ended by a fault in the program: restart".into());
        }
    }
}

impl Writer {
    pub fn new(shared: Arc<Shared>, active: ActiveSegment) -> Self {
        Self { shared, active, unsynced_since: None, buffer: BytesMut::new(), held: None }
    }

    /// Runs until the queue is closed or the device fails. Returns whether everything acknowledged is on the device.
    pub fn run(mut self) -> bool {
        let _guard = EndGuard(self.shared.clone());
        loop {
            let interval = self.shared.options.policies.relaxed_sync_interval;
            let patience = self.unsynced_since.map(|_| interval);
            // Not a wait: where more threads want to run than there are cores, those who are about to append do so first, and share
            // this commit; where a core is free, this returns at once.
            std::thread::yield_now();
            let outcome = match self.shared.queue.take(self.shared.options.batch_bytes_max, patience) {
                Taken::Jobs(jobs) => self.commit_or_answer(jobs).and_then(|()| self.sync_if_due(interval)),
                Taken::Idle => self.sync(),
                Taken::Closed => {
                    self.release();
                    let failed = matches!(self.shared.queue.refusal(), Some(AppendError::Failed(_)));
                    let synced = !failed && (self.unsynced_since.is_none() || self.sync().is_ok());
                    return synced;
                }
            };
            if let Err(why) = outcome {
                self.release();
                self.shared.queue.fail(&why);
                return false;
            }
        }
    }

    /// Commits the jobs or answers each with what went wrong. `Err` ends the writer.
    fn commit_or_answer(&mut self, jobs: Vec<Job>) -> Result<(), Arc<str>> {
        let shared = self.shared.clone();
        let answer = |jobs: Vec<Job>, error: &AppendError| {
            add(&shared.counters.refused, jobs.len() as u64);
            for job in jobs {
                // Whoever no longer waits does not care.
                let _ = job.reply.send(Err(error.clone()));
            }
        };
        let committed = self.commit(jobs);
        if committed.is_err() {
            // What is committed does not share the fate of what is not.
            self.release();
        }
        match committed {
            Ok(()) => Ok(()),
            Err((jobs, CommitError::Device(why))) => {
                answer(jobs, &AppendError::Failed(why.clone()));
                Err(why)
            }
            Err((jobs, CommitError::Full)) => {
                // A full disk does not concern what lives in memory.
                let (in_memory, on_disk) = jobs.into_iter().partition(|job| self.lives_in_memory(job));
                answer(on_disk, &AppendError::Full);
                match self.commit(in_memory) {
                    Ok(()) | Err((_, CommitError::Full)) => Ok(()),
                    Err((_, CommitError::Device(why))) => Err(why),
                }
            }
        }
    }

    fn lives_in_memory(&self, job: &Job) -> bool {
        let policies = &self.shared.options.policies;
        job.events.iter().all(|event| policies.of(event.topic.as_str()).durability == Durability::Memory)
    }

    fn commit(&mut self, jobs: Vec<Job>) -> Result<(), (Vec<Job>, CommitError)> {
        if self.active.end >= self.shared.options.segment_bytes_max
            && !jobs.iter().all(|job| self.lives_in_memory(job))
            && let Err(error) = self.rotate()
        {
            return Err((jobs, error));
        }
        let ts_ms = self.shared.clock.unix_ms().max(self.shared.last_ts_ms.load(Ordering::SeqCst));
        self.shared.last_ts_ms.store(ts_ms, Ordering::SeqCst);
        let salt = segment::salt(self.shared.identity.log_id, self.active.seq);
        let tail = SegmentTail { salt, synced_to: self.active.synced_to };
        let mut batch = Batch::place(&self.shared, &jobs, std::mem::take(&mut self.buffer), ts_ms, tail);
        if let Err(error) = self.write(&batch) {
            self.unpin(&batch);
            batch.bytes.clear();
            self.buffer = batch.bytes;
            return Err((jobs, error));
        }
        self.publish(batch, jobs);
        Ok(())
    }

    /// Writes and, if promised, syncs. After `Full` the segment is as before.
    fn write(&mut self, batch: &Batch) -> Result<(), CommitError> {
        if batch.bytes.is_empty() {
            return Ok(());
        }
        if let Err(error) = write_all_at(&*self.active.file, self.active.end.into(), &batch.bytes) {
            let cut = self.active.file.set_len(self.active.end.into());
            return match cut {
                Ok(()) if is_full(&error) => {
                    self.shared.full.store(true, Ordering::SeqCst);
                    Err(CommitError::Full)
                }
                _ => Err(device(&self.active, "writing", &error)),
            };
        }
        self.shared.full.store(false, Ordering::SeqCst);
        if batch.must_sync {
            self.sync().map_err(CommitError::Device)?;
            // `end` moves when the batch is published; what was synced includes it already.
            self.active.synced_to = self.active.end + batch.bytes.len() as u32;
        } else if self.unsynced_since.is_none() {
            self.unsynced_since = Some(self.shared.clock.uptime());
        }
        Ok(())
    }

    /// Makes a written batch visible, hands it out and acknowledges it, in this order.
    fn publish(&mut self, mut batch: Batch, jobs: Vec<Job>) {
        let base = self.active.end;
        // Batches are bounded far below what is left of 32 bits behind a segment's limit.
        self.active.end += batch.bytes.len() as u32;
        let mut handed: Vec<(Arc<dyn Follower>, usize)> = Vec::new();
        let mut trimmed = 0;
        {
            let mut index = self.shared.index.lock();
            let mut live = 0;
            for (at, part) in batch.topics.iter_mut().enumerate() {
                let Some(topic) = index.get_mut(part.id) else { continue };
                topic.pinned = false;
                if part.placed.is_empty() {
                    continue;
                }
                topic.relaxed = part.durability == Durability::Relaxed;
                for placed in &part.placed {
                    match &placed.memory {
                        Some(record) => topic.push_memory(record.clone()),
                        None => {
                            live += 1;
                            // The batch lies within the segment, whose positions have 32 bits.
                            let position = base + placed.start as u32;
                            topic.push(self.active.seq, position, placed.frame_bytes, placed.body_bytes);
                        }
                    }
                }
                if let Some(follower) = &topic.follower {
                    handed.push((follower.clone(), at));
                }
            }
            if let Some(segment) = index.segments.get_mut(&self.active.seq) {
                segment.end = self.active.end;
                segment.live += live;
                if live > 0 {
                    segment.note(base, batch.ts_ms);
                }
            }
            for part in batch.topics.iter().filter(|part| !part.placed.is_empty()) {
                trimmed += index.enforce_limits(part.id);
            }
        }
        if trimmed > 0 {
            add(&self.shared.counters.trimmed, trimmed);
        }
        self.remember(&batch);
        let watched = |(follower, at): (Arc<dyn Follower>, usize)| {
            let part = &batch.topics[at];
            Watched { follower, topic: part.id, epoch: Epoch(part.epoch), records: part.records(&batch.bytes) }
        };
        let handout = Handout {
            watched: handed.into_iter().map(watched).collect(),
            answers: jobs.into_iter().map(|job| job.reply).zip(batch.answers).collect(),
        };
        batch.bytes.clear();
        self.buffer = batch.bytes;
        // A publisher that is faster than the device would have its followers called for each commit, and each call may be a write to
        // thousands of sockets. So what more is waiting for the same topics goes out together: at most two commits, and
        // never longer than work is waiting.
        if self.held.is_none() && self.more_is_coming(&handout) {
            self.held = Some(handout);
            return;
        }
        self.release_with(handout);
    }

    fn more_is_coming(&self, handout: &Handout) -> bool {
        (1..=LOOKED_AT_MAX).contains(&handout.watched.len()) && {
            let index = self.shared.index.lock();
            let watched: Vec<_> =
                handout.watched.iter().filter_map(|watched| Some(index.get(watched.topic)?.name.clone())).collect();
            drop(index);
            self.shared.queue.holds_any_of(&watched)
        }
    }

    /// Hands out what was held, if anything was.
    fn release(&mut self) {
        if let Some(held) = self.held.take() {
            held.hand_out();
        }
    }

    /// Hands out what was held and what has come since, as if it had been one batch.
    fn release_with(&mut self, handout: Handout) {
        match self.held.take() {
            Some(held) => held.joined_by(handout).hand_out(),
            None => handout.hand_out(),
        }
    }

    fn remember(&self, batch: &Batch) {
        let counters = &self.shared.counters;
        add(&counters.commits, 1);
        add(&counters.appended, batch.stored);
        add(&counters.duplicates, batch.duplicates);
        let mut dedup = self.shared.dedup.lock();
        for (key, first) in &batch.ids {
            dedup.insert(*key, *first);
        }
    }

    fn unpin(&self, batch: &Batch) {
        let mut index = self.shared.index.lock();
        for part in &batch.topics {
            if let Some(topic) = index.get_mut(part.id) {
                topic.pinned = false;
            }
            index.forget_if_blank(part.id);
        }
    }

    fn sync_if_due(&mut self, interval: Duration) -> Result<(), Arc<str>> {
        match self.unsynced_since {
            Some(since) if self.shared.clock.uptime().saturating_sub(since) >= interval => self.sync(),
            _ => Ok(()),
        }
    }

    /// Syncs the segment. An error is final: the kernel may have dropped the bytes, and a second sync would not say so.
    fn sync(&mut self) -> Result<(), Arc<str>> {
        let before = self.shared.clock.uptime();
        let result = self.active.file.sync();
        let counters = &self.shared.counters;
        let took = self.shared.clock.uptime().saturating_sub(before);
        add(&counters.sync_micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        add(&counters.syncs, 1);
        self.unsynced_since = None;
        self.active.synced_to = self.active.end;
        result.map_err(|error| match device(&self.active, "syncing", &error) {
            CommitError::Device(why) => why,
            CommitError::Full => "syncing failed".into(),
        })
    }

    /// Seals the segment and begins the next. On `Full` the old one stays in use.
    fn rotate(&mut self) -> Result<(), CommitError> {
        if self.unsynced_since.is_some() {
            self.sync().map_err(CommitError::Device)?;
        }
        let Some(seq) = self.active.seq.checked_add(1) else {
            return Err(CommitError::Device("the log has used up its segment numbers".into()));
        };
        let header = SegmentHeader {
            seq,
            log_id: self.shared.identity.log_id,
            created_ms: self.shared.clock.unix_ms(),
            previous_end: self.active.end,
        };
        match create_segment(&*self.shared.files, &header) {
            Ok(file) => {
                self.shared.index.lock().segments.insert(seq, SegmentState::empty());
                self.active = ActiveSegment { seq, file, end: HEADER_BYTES, synced_to: HEADER_BYTES };
                tracing::debug!(segment = seq, "began a segment");
                Ok(())
            }
            Err(error) => {
                // Were it left, recovery would take it for the interrupted creation that it is.
                let _ = self.shared.files.remove(&segment::file_name(seq));
                if is_full(&error) {
                    self.shared.full.store(true, Ordering::SeqCst);
                    Err(CommitError::Full)
                } else {
                    Err(device(&self.active, "beginning the segment after", &error))
                }
            }
        }
    }
}

fn device(active: &ActiveSegment, doing: &str, error: &io::Error) -> CommitError {
    let name = segment::file_name(active.seq);
    tracing::error!(segment = name, %error, "{doing} the log failed; no more appends until a restart");
    CommitError::Device(format!("{doing} {name}: {error}").into())
}

/// Makes a segment that survives a crash from here on.
pub(crate) fn create_segment(files: &dyn Files, header: &SegmentHeader) -> io::Result<Arc<dyn LogFile>> {
    let file = files.create(&segment::file_name(header.seq))?;
    write_all_at(&*file, 0, &header.encode())?;
    file.sync()?;
    files.sync_directory()?;
    Ok(file)
}
