//! The window: a topic's newest events, and their frames in the formats that somebody asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use towline_log::Record;
use towline_protocol::{Epoch, Offset, Position, TopicName};

use crate::run::Run;
use crate::{EncodeFrame, FORMATS_MAX};

/// A window is bounded by both.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// One write serves at most this much, so that one subscriber far back in the window does not hold up the sweep.
const SERVED_BYTES_MAX: usize = 256 * 1024;
/// And at most so many pieces: a limit of the system call is 1024.
const SERVED_RUNS_MAX: usize = 64;

/// 40 bytes until the first event: most topics of a big server are people's own and quiet.
pub(crate) struct Window {
    pub(crate) epoch: Epoch,
    /// The window holds every event after this offset…
    pub(crate) start: Offset,
    /// …up to and including this one.
    pub(crate) head: Offset,
    content: Option<Box<Content>>,
    /// The log has said where the window begins.
    pub(crate) open: bool,
}

#[derive(Default)]
struct Content {
    records: VecDeque<Record>,
    bytes: usize,
    formats: [Option<VecDeque<Arc<Run>>>; FORMATS_MAX],
}

impl Window {
    pub(crate) fn closed() -> Self {
        Self { open: false, ..Self::starting_at(Position::start_of(Epoch(0))) }
    }

    pub(crate) fn starting_at(position: Position) -> Self {
        Self { epoch: position.epoch, start: position.offset, head: position.offset, content: None, open: true }
    }

    pub(crate) fn push(&mut self, record: &Record, bounds: Bounds) {
        if record.prev() != self.head {
            // Not the next one: what lies between is in the log, where cursors behind the window look anyway.
            if record.offset() <= self.head {
                return;
            }
            *self = Self::starting_at(Position { epoch: self.epoch, offset: record.prev() });
        }
        self.head = record.offset();
        let content = self.content.get_or_insert_default();
        content.bytes += record.body().len();
        content.records.push_back(record.clone());
        while content.records.len() > bounds.events_max || content.bytes > bounds.bytes_max {
            let Some(gone) = content.records.pop_front() else { break };
            content.bytes -= gone.body().len();
            self.start = gone.offset();
        }
        let start = self.start;
        for runs in content.formats.iter_mut().flatten() {
            while runs.front().is_some_and(|run| run.last() <= start) {
                runs.pop_front();
            }
        }
    }

    /// The runs that hold what follows `after`, which must lie in the window.
    pub(crate) fn serve(
        &mut self,
        format: usize,
        after: Offset,
        encode: EncodeFrame,
        topic: &TopicName,
    ) -> SmallVec<[Arc<Run>; 2]> {
        let Content { records, formats, .. } = &mut **self.content.get_or_insert_default();
        let runs = formats[format].get_or_insert_default();
        // Frames are made when somebody first needs them, from there on; rarely, somebody needs older ones too.
        let first = runs.front().map_or(self.head, |run| run.frames_after(0).next().map_or(0, |(offset, _)| offset));
        let oldest_wanted = records.partition_point(|record| record.offset() <= after);
        if records.get(oldest_wanted).is_some_and(|record| record.offset() < first) {
            runs.clear();
        }
        let encoded_to = runs.back().map_or(after, |run| run.last());
        let missing = records.partition_point(|record| record.offset() <= encoded_to);
        if let Some(run) = Run::encode(encode, format, topic, self.epoch, records.range(missing..)) {
            runs.push_back(Arc::new(run));
        }
        let mut served = SmallVec::new();
        let mut bytes = 0;
        for run in runs.range(runs.partition_point(|run| run.last() <= after)..) {
            if served.len() == SERVED_RUNS_MAX || bytes > SERVED_BYTES_MAX {
                break;
            }
            bytes += run.byte_len();
            served.push(Arc::clone(run));
        }
        served
    }
}
