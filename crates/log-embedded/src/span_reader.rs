//! Reads the records of one topic out of segments: big blocks, and records that are slices of them.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use towline_log::{ReadError, Record, TopicName};

use crate::files::{LogFile, read_full_at};
use crate::record_codec::{self, DecodeError, FIXED_BYTES, FRAME_HEAD_BYTES};
use crate::segment;
use crate::shared::Shared;
use crate::topic_index::{STRETCH_BYTES, Span};

/// The most that is read at once: large enough for the disk's full speed, small enough for many readers.
const BLOCK_BYTES_MAX: u32 = 512 * 1024;

/// A span and what is needed to read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stretch {
    pub span: Span,
    /// Where the segment's committed bytes end.
    pub segment_end: u32,
    /// Up to here it is worth reading ahead: further records of the topic lie close by.
    pub worth_until: u32,
}

impl Stretch {
    /// Whether the topic's own records are at least half of what is read for them. If not, they are copied out: a record must
    /// not keep a block in memory that is mostly other topics' bytes.
    fn is_dense(&self) -> bool {
        let read = self.worth_until.saturating_sub(self.span.position).min(STRETCH_BYTES);
        u64::from(self.span.bytes) * 2 >= u64::from(read)
    }
}

/// Says where to read ahead to in each of several spans that follow each other.
pub(crate) fn plan_ahead(stretches: &mut [Stretch], topic: &TopicName) {
    let overhead = (FRAME_HEAD_BYTES + FIXED_BYTES + topic.as_str().len()) as u32;
    let mut behind: Option<Stretch> = None;
    for stretch in stretches.iter_mut().rev() {
        let Span { segment, position, bytes, .. } = stretch.span;
        let own = if stretch.span.count() == 1 { bytes.saturating_add(overhead) } else { STRETCH_BYTES };
        let end = position.saturating_add(own).min(stretch.segment_end);
        stretch.worth_until = match behind {
            Some(next) if next.span.segment == segment && next.span.position <= end.saturating_add(STRETCH_BYTES) => {
                next.worth_until.max(end)
            }
            _ => end,
        };
        behind = Some(*stretch);
    }
}

/// Why a walk ended early.
#[derive(Debug)]
pub(crate) enum WalkError {
    /// The segment was removed by retention since the span was looked up: look again.
    Removed,
    /// Anything that the caller must be told.
    Read(ReadError),
}

/// Walks over spans of one topic, keeping the block that it read last.
pub(crate) struct SpanReader<'a> {
    shared: &'a Shared,
    topic: &'a TopicName,
    segment: u32,
    salt: u32,
    file: Option<Arc<dyn LogFile>>,
    block: Bytes,
    block_at: u32,
}

impl<'a> SpanReader<'a> {
    pub fn new(shared: &'a Shared, topic: &'a TopicName) -> Self {
        Self { shared, topic, segment: 0, salt: 0, file: None, block: Bytes::new(), block_at: 0 }
    }

    /// Hands the stretch's records to `visit`, in order, until it breaks. Each is verified: checksum, topic and offset.
    pub fn walk(&mut self, stretch: &Stretch, mut visit: impl FnMut(Record) -> ControlFlow<()>) -> Result<(), WalkError> {
        let span = stretch.span;
        self.open(span.segment)?;
        let mut at = span.position;
        let mut expected = span.first;
        while expected < span.next {
            let within = self.load(at, stretch)?;
            let bytes = &self.block[within..];
            let Ok(frame) = record_codec::layout(bytes) else { return Err(self.damaged(at, "not a record")) };
            let frame_bytes = frame.frame_bytes;
            if frame.topic == self.topic.as_str() {
                if !record_codec::verify(bytes, &frame, self.salt) {
                    return Err(self.damaged(at, "the checksum does not match"));
                }
                if frame.offset != expected {
                    return Err(self.damaged(at, "another record than the index says"));
                }
                let end = within + frame_bytes;
                let body = self.block.slice(end - frame.body.len()..end);
                let body = if stretch.is_dense() { body } else { Bytes::copy_from_slice(&body) };
                let record = Record::new(
                    frame.offset,
                    frame.offset.saturating_sub(1),
                    frame.ts_ms,
                    body,
                    frame.id_len.into(),
                    frame.kind_len.into(),
                    frame.extras_len,
                );
                let Some(record) = record else { return Err(self.damaged(at, "id or type is not ASCII")) };
                expected += 1;
                if visit(record).is_break() {
                    return Ok(());
                }
            }
            // A frame's end lies inside the block, whose positions have 32 bits.
            at += frame_bytes as u32;
        }
        Ok(())
    }

    fn open(&mut self, segment: u32) -> Result<(), WalkError> {
        if self.segment == segment && self.file.is_some() {
            return Ok(());
        }
        match self.shared.segments.get(&*self.shared.files, segment) {
            Ok(file) => {
                self.file = Some(file);
                self.segment = segment;
                self.salt = segment::salt(self.shared.identity.log_id, segment);
                self.block = Bytes::new();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(WalkError::Removed),
            Err(error) => {
                Err(WalkError::Read(ReadError::Failed(format!("opening {}: {error}", segment::file_name(segment)).into())))
            }
        }
    }

    /// Makes sure that the block has one whole frame at `at`, and says where in the block that is.
    fn load(&mut self, at: u32, stretch: &Stretch) -> Result<usize, WalkError> {
        let mut needed = FRAME_HEAD_BYTES;
        loop {
            if let Some(within) = at.checked_sub(self.block_at).map(|within| within as usize)
                && within < self.block.len()
            {
                match record_codec::layout(&self.block[within..]) {
                    Ok(_) => return Ok(within),
                    Err(DecodeError::Incomplete { needed: more }) => needed = more,
                    Err(error) => return Err(self.damaged(at, &error.to_string())),
                }
            }
            if u64::from(at) + needed as u64 > u64::from(stretch.segment_end) {
                return Err(self.damaged(at, "the record runs past the segment's end"));
            }
            self.refill(at, needed, stretch)?;
        }
    }

    fn refill(&mut self, at: u32, needed: usize, stretch: &Stretch) -> Result<(), WalkError> {
        let ahead = stretch.worth_until.saturating_sub(at).min(BLOCK_BYTES_MAX) as usize;
        let len = ahead.max(needed).min((stretch.segment_end - at) as usize);
        let mut block = vec![0; len];
        let Some(file) = &self.file else { return Err(WalkError::Removed) };
        let read = read_full_at(&**file, at.into(), &mut block).map_err(|error| {
            WalkError::Read(ReadError::Failed(format!("reading {}: {error}", segment::file_name(self.segment)).into()))
        })?;
        if read < needed {
            return Err(self.damaged(at, "the file is shorter than the log"));
        }
        block.truncate(read);
        self.block = block.into();
        self.block_at = at;
        Ok(())
    }

    fn damaged(&self, at: u32, what: &str) -> WalkError {
        let name = segment::file_name(self.segment);
        tracing::error!(segment = name, position = at, what, "the log is damaged; restart to have it verified and repaired");
        let text = format!("{name} at byte {at}: {what}; restart to have the log verified, and see what its report says is lost");
        WalkError::Read(ReadError::Damaged(text.into()))
    }
}
