//! Runs: consecutive frames of a topic, encoded once and written by many.

use std::io::IoSlice;
use std::sync::Arc;

use smallvec::SmallVec;
use towline_log::Record;
use towline_protocol::{Epoch, Offset, TopicName};

use crate::EncodeFrame;

/// Where one frame ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The event's offset.
    pub offset: Offset,
    /// The byte behind the frame's last, within the run.
    pub end: u32,
}

/// Consecutive frames in one piece of memory. Never empty.
#[derive(Debug)]
pub struct Run {
    bytes: Vec<u8>,
    frames: SmallVec<[Frame; 1]>,
}

impl Run {
    /// Encodes records; `None` if there are none.
    #[must_use]
    pub fn encode<'a>(
        encode: &EncodeFrame,
        format: usize,
        topic: &TopicName,
        epoch: Epoch,
        records: impl Iterator<Item = &'a Record>,
    ) -> Option<Self> {
        let mut run = Self { bytes: Vec::new(), frames: SmallVec::new() };
        for record in records {
            encode(format, &record.view(topic, epoch), &mut run.bytes);
            run.frames.push(Frame { offset: record.offset(), end: run.bytes.len() as u32 });
        }
        (!run.frames.is_empty()).then_some(run)
    }

    /// The offset of the last frame.
    #[must_use]
    pub fn last(&self) -> Offset {
        self.frames.last().map_or(0, |frame| frame.offset)
    }

    /// How many frames there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Never: a run has at least one frame.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many bytes the frames have.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// The frames behind `after`, one by one, with their offsets.
    pub fn frames_after(&self, after: Offset) -> impl Iterator<Item = (Offset, &[u8])> {
        let first = self.first_after(after);
        (first..self.frames.len())
            .map(|at| (self.frames[at].offset, &self.bytes[self.start_of(at)..self.frames[at].end as usize]))
    }

    fn first_after(&self, after: Offset) -> usize {
        self.frames.partition_point(|frame| frame.offset <= after)
    }

    fn start_of(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.frames[at - 1].end as usize }
    }
}

/// The bytes of all frames behind `after`, ready for one write.
#[must_use]
pub fn slices(runs: &[Arc<Run>], after: Offset) -> SmallVec<[IoSlice<'_>; 8]> {
    runs.iter()
        .map(|run| &run.bytes[run.start_of(run.first_after(after))..])
        .filter(|bytes| !bytes.is_empty())
        .map(IoSlice::new)
        .collect()
}

/// How far a write came.
#[derive(Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The last frame of which at least one byte was taken: the cursor moves here, because `rest` is sure to follow.
    pub after: Offset,
    /// How many frames that were.
    pub frames: u64,
    /// The rest of the last frame, empty if it went out whole.
    pub rest: &'a [u8],
    /// All frames went out, or are in `rest`.
    pub complete: bool,
}

/// Reads off how far a write of [`slices`] came that took `taken` bytes.
#[must_use]
pub fn progress(runs: &[Arc<Run>], after: Offset, taken: usize) -> Progress<'_> {
    let mut progress = Progress { after, frames: 0, rest: &[], complete: false };
    let mut left = taken;
    for run in runs {
        let first = run.first_after(after);
        let start = run.start_of(first);
        let size = run.bytes.len() - start;
        if left >= size {
            left -= size;
            if first < run.frames.len() {
                progress.after = run.last();
                progress.frames += (run.frames.len() - first) as u64;
            }
            continue;
        }
        if left == 0 {
            return progress;
        }
        let stop = start + left;
        let cut = run.frames.partition_point(|frame| (frame.end as usize) < stop);
        let frame = run.frames[cut];
        progress.after = frame.offset;
        progress.frames += (cut - first + 1) as u64;
        progress.rest = &run.bytes[stop..frame.end as usize];
        return progress;
    }
    progress.complete = true;
    progress
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_log::NewEvent;

    fn run(offsets: std::ops::RangeInclusive<u64>) -> Arc<Run> {
        let records: Vec<Record> = offsets
            .map(|offset| {
                let event = NewEvent {
                    topic: TopicName::new("t").unwrap(),
                    id: "i".into(),
                    kind: "k".into(),
                    extras: [].into(),
                    data: vec![b'x'; offset as usize].into(),
                };
                Record::from_event(&event, offset, offset - 1, 0)
            })
            .collect();
        let encode: EncodeFrame = Arc::new(|_, event, out| out.extend_from_slice(event.data));
        Arc::new(Run::encode(&encode, 0, &TopicName::new("t").unwrap(), Epoch(1), records.iter()).unwrap())
    }

    #[test]
    fn a_write_of_any_length_moves_the_cursor_to_the_frame_it_cut() {
        // Frames of 1, 2, 3 | 4, 5 bytes; the cursor stands after the first.
        let runs = [run(1..=3), run(4..=5)];
        let total: usize = slices(&runs, 1).iter().map(|slice| slice.len()).sum();
        assert_eq!(total, 2 + 3 + 4 + 5);
        for (taken, after, frames, rest, complete) in [
            (0, 1, 0, 0, false),
            (1, 2, 1, 1, false),
            (2, 2, 1, 0, false),
            (3, 3, 2, 2, false),
            (5, 3, 2, 0, false),
            (6, 4, 3, 3, false),
            (9, 4, 3, 0, false),
            (13, 5, 4, 1, false),
            (14, 5, 4, 0, true),
        ] {
            let progress = progress(&runs, 1, taken);
            assert_eq!(
                (progress.after, progress.frames, progress.rest.len(), progress.complete),
                (after, frames, rest, complete),
                "{taken}"
            );
        }
        assert!(slices(&runs, 5).is_empty());
    }
}
