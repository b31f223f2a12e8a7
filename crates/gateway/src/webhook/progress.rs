//! How far the messages of `inbox:*` are done, as it is kept over restarts.
//!
//! Messages end out of order, because users do not wait for each other. So what is kept is the position up to which all are done, and the
//! stretches behind it that are done already: after a restart only what was unfinished is delivered again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use towline_protocol::{Epoch, Offset, Position};

/// Stretches that are kept at most: about 20 bytes each. What lies behind them may be delivered again after a restart.
const STRETCHES_MAX: usize = 4_096;

/// What is kept in the log: an upsert, of which only the newest counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Everything up to here is done.
    pub committed: Position,
    /// Offsets behind it that are done too: from and to, both included, ascending.
    pub done: Vec<(Offset, Offset)>,
}

/// What was read and is not done yet.
#[derive(Debug)]
pub struct Progress {
    epoch: Epoch,
    /// Everything up to here was read.
    read_to: Offset,
    /// What was read and is not done, with the time at which the log took it (Unix milliseconds).
    unfinished: BTreeMap<Offset, u64>,
    /// What a former process had done before it ended.
    done_before: Vec<(Offset, Offset)>,
}

impl Progress {
    /// Begins after a position.
    #[must_use]
    pub fn starting_after(position: Position) -> Self {
        Self { epoch: position.epoch, read_to: position.offset, unfinished: BTreeMap::new(), done_before: Vec::new() }
    }

    /// Goes on where a former process ended.
    #[must_use]
    pub fn resuming(saved: Saved) -> Self {
        Self { done_before: saved.done, ..Self::starting_after(saved.committed) }
    }

    /// Where to read on.
    #[must_use]
    pub fn read_position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.read_to }
    }

    /// A message was read. Whether it has to be delivered: not if a former process did.
    pub fn read(&mut self, offset: Offset, ts_ms: u64) -> bool {
        self.read_to = self.read_to.max(offset);
        let at = self.done_before.partition_point(|(_, last)| *last < offset);
        let done = self.done_before.get(at).is_some_and(|(first, _)| *first <= offset);
        if !done {
            self.unfinished.insert(offset, ts_ms);
        }
        !done
    }

    /// Everything up to this position of the same history was read: messages may end before it.
    pub fn read_to(&mut self, position: Position) {
        if position.epoch == self.epoch {
            self.read_to = self.read_to.max(position.offset);
        }
    }

    /// Where to read in order to get the message at an offset.
    #[must_use]
    pub fn before(&self, offset: Offset) -> Position {
        Position { epoch: self.epoch, offset: offset.saturating_sub(1) }
    }

    /// A message was delivered, or is a dead letter, or nobody wants it.
    pub fn finish(&mut self, offset: Offset) {
        self.unfinished.remove(&offset);
    }

    /// How many were read and are not done.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.unfinished.len()
    }

    /// When the log took the oldest that is not done.
    #[must_use]
    pub fn oldest_ms(&self) -> Option<u64> {
        self.unfinished.first_key_value().map(|(_, ts_ms)| *ts_ms)
    }

    /// What to keep.
    #[must_use]
    pub fn saved(&self) -> Saved {
        let first = self.unfinished.first_key_value().map(|(offset, _)| *offset);
        let committed = first.map_or(self.read_to, |first| first.saturating_sub(1));
        let mut done = Vec::new();
        let mut offsets = self.unfinished.keys().copied().peekable();
        while let Some(offset) = offsets.next() {
            let end = offsets.peek().map_or(self.read_to, |next| next - 1);
            if end > offset {
                done.push((offset + 1, end));
            }
            if done.len() == STRETCHES_MAX {
                break;
            }
        }
        // What a former process had done and this one has not read again.
        done.extend(
            self.done_before
                .iter()
                .filter(|(_, last)| *last > self.read_to)
                .map(|(from, to)| ((*from).max(self.read_to + 1), *to)),
        );
        done.truncate(STRETCHES_MAX);
        Saved { committed: Position { epoch: self.epoch, offset: committed }, done }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn at(offset: Offset) -> Position {
        Position { epoch: Epoch(7), offset }
    }

    #[test]
    fn the_lowest_unfinished_message_holds_the_position() {
        let mut progress = Progress::starting_after(at(0));
        for offset in 1..=5 {
            assert!(progress.read(offset, offset * 10));
        }
        progress.finish(2);
        progress.finish(4);
        progress.finish(5);
        assert_eq!(progress.saved(), Saved { committed: at(0), done: vec![(2, 2), (4, 5)] });
        assert_eq!((progress.oldest_ms(), progress.unfinished()), (Some(10), 2));
        progress.finish(1);
        assert_eq!(progress.saved(), Saved { committed: at(2), done: vec![(4, 5)] });
        progress.finish(3);
        assert_eq!(progress.saved(), Saved { committed: at(5), done: vec![] });
    }

    proptest! {
        /// However often it ends in between: a message that was not finished is read again, one that was finished and kept is not.
        #[test]
        fn restarts_forget_nothing(steps in prop::collection::vec((0_u8..3, 0_u64..40), 1..200)) {
            let mut progress = Progress::starting_after(at(0));
            let mut done = BTreeSet::new();
            let mut pending = BTreeSet::new();
            for (step, number) in steps {
                match step {
                    0 => {
                        let next = progress.read_position().offset + 1;
                        let wanted = progress.read(next, next);
                        prop_assert_eq!(wanted, !done.contains(&next), "{}", next);
                        if wanted {
                            pending.insert(next);
                        }
                    }
                    1 => {
                        if let Some(offset) = pending.iter().nth(number as usize % pending.len().max(1)).copied() {
                            pending.remove(&offset);
                            done.insert(offset);
                            progress.finish(offset);
                        }
                    }
                    _ => {
                        let saved = progress.saved();
                        let text = serde_json::to_string(&saved).unwrap();
                        progress = Progress::resuming(serde_json::from_str(&text).unwrap());
                        let committed = saved.committed.offset;
                        prop_assert!((1..=committed).all(|offset| done.contains(&offset)), "{} is committed", committed);
                        pending.clear();
                    }
                }
            }
        }
    }
}
