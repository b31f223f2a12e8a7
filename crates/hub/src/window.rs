//! The window: a topic's newest events, and their frames in the formats that somebody asked for.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use towline_log::Record;
use towline_protocol::{Epoch, Offset, Position};

use crate::run::Run;
use crate::topic::Served;

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
/// Bodies that are encoded in one go: who waits for another format of the same topic does not wait for a whole window.
const ENCODED_BYTES_MAX: usize = 256 * 1024;

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
    /// Only those that somebody asked for, and almost always one.
    formats: SmallVec<[Encoded; 1]>,
}

/// The frames of one format.
struct Encoded {
    format: usize,
    /// One follows the other without a hole.
    runs: VecDeque<Arc<Run>>,
}

/// What a window has for a cursor.
pub(crate) enum Found {
    /// This.
    Answer(Served),
    /// Records that have to be encoded first; the run then goes to [`Window::add`].
    Missing(Vec<Record>),
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
        for Encoded { runs, .. } in &mut content.formats {
            while runs.front().is_some_and(|run| run.last() <= start) {
                runs.pop_front();
            }
        }
    }

    /// What follows `after` in the history of `epoch`. Frames are made when somebody first needs them, from there on; rarely, somebody needs
    /// older ones too.
    pub(crate) fn find(&mut self, format: usize, epoch: Epoch, after: Offset) -> Found {
        if let Some(served) = self.outside(epoch, after) {
            return Found::Answer(served);
        }
        let head = self.head;
        let Content { records, formats, .. } = &mut **self.content.get_or_insert_default();
        let runs = runs_of(formats, format);
        let first = runs.front().map_or(head, |run| run.frames_after(0).next().map_or(0, |(offset, _)| offset));
        let oldest_wanted = records.partition_point(|record| record.offset() <= after);
        if records.get(oldest_wanted).is_some_and(|record| record.offset() < first) {
            runs.clear();
        }
        let encoded_to = runs.back().map_or(after, |run| run.last());
        let mut bytes = 0;
        let missing: Vec<Record> = records
            .range(records.partition_point(|record| record.offset() <= encoded_to)..)
            .take_while(|record| {
                let wanted = bytes < ENCODED_BYTES_MAX;
                bytes += record.body().len();
                wanted
            })
            .cloned()
            .collect();
        if missing.is_empty() { Found::Answer(Served::Runs(served(runs, after))) } else { Found::Missing(missing) }
    }

    /// Takes the run that was made of what was missing in the history of `epoch`, and serves what follows `after`. What was in the window then
    /// may have left it meanwhile.
    pub(crate) fn add(&mut self, format: usize, run: Run, epoch: Epoch, after: Offset) -> Served {
        if epoch == self.epoch
            && run.last() > self.start
            && let Some(content) = &mut self.content
        {
            runs_of(&mut content.formats, format).push_back(Arc::new(run));
        }
        match (self.outside(epoch, after), &mut self.content) {
            (None, Some(content)) => Served::Runs(served(runs_of(&mut content.formats, format), after)),
            (answer, _) => answer.unwrap_or(Served::Nothing),
        }
    }

    /// What there is to say of a cursor that does not stand inside.
    fn outside(&self, epoch: Epoch, after: Offset) -> Option<Served> {
        if epoch != self.epoch {
            Some(Served::OtherHistory)
        } else if after >= self.head {
            Some(Served::Nothing)
        } else if after < self.start {
            Some(Served::Behind)
        } else {
            None
        }
    }
}

fn runs_of(formats: &mut SmallVec<[Encoded; 1]>, format: usize) -> &mut VecDeque<Arc<Run>> {
    let at = formats.iter().position(|encoded| encoded.format == format).unwrap_or_else(|| {
        formats.push(Encoded { format, runs: VecDeque::new() });
        formats.len() - 1
    });
    &mut formats[at].runs
}

fn served(runs: &VecDeque<Arc<Run>>, after: Offset) -> SmallVec<[Arc<Run>; 2]> {
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
