//! What an opening found, in terms that an operator can act on.

use std::fmt;

/// The most topics that a report lists by name.
pub(crate) const NAMED_MAX: usize = 100;

/// What an opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// There was no log: an empty one was made.
    pub created: bool,
    /// The log had been closed in order.
    pub clean: bool,
    /// Segments on disk.
    pub segments: u64,
    /// Records read and verified.
    pub records: u64,
    /// Topics known.
    pub topics: u64,
    /// Bytes at the end that an interrupted write had left, and that were never acknowledged. They were cut off.
    pub torn_bytes_cut: u64,
    /// Everything that was damaged. Empty is good.
    pub damage: Vec<Damage>,
    /// Events that are known to be lost.
    pub events_lost: u64,
    /// Which events those are; the first [`LostEvents`] of at most a hundred topics.
    pub lost: Vec<LostEvents>,
    /// How many topics began a new epoch, because that nothing is missing could not be proven.
    pub epochs_changed: u64,
}

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: String,
    /// First byte that could not be used.
    pub from: u64,
    /// One past the last byte that could not be used.
    pub to: u64,
    /// What is wrong, and what was done.
    pub what: String,
    /// Under which name the damaged file was kept.
    pub kept_as: Option<String>,
}

/// Events of a topic that are lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostEvents {
    /// The topic.
    pub topic: String,
    /// Offset of the first lost event.
    pub first: u64,
    /// Offset of the last lost event.
    pub last: u64,
}

impl RecoveryReport {
    /// Whether anything that had been acknowledged may be missing.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        !self.damage.is_empty() || self.events_lost > 0
    }

    pub(crate) fn lose(&mut self, topic: &str, first: u64, last: u64) {
        self.events_lost += last - first + 1;
        if self.lost.len() < NAMED_MAX {
            self.lost.push(LostEvents { topic: topic.to_owned(), first, last });
        }
    }
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { segments, records, topics, .. } = self;
        if self.created {
            return write!(f, "made a new log");
        }
        let ended = if self.clean { "closed in order" } else { "not closed in order" };
        write!(f, "opened the log ({ended}): {segments} segments, {records} records, {topics} topics")?;
        if self.torn_bytes_cut > 0 {
            write!(f, "; cut {} bytes of an interrupted write that was never acknowledged", self.torn_bytes_cut)?;
        }
        if self.epochs_changed > 0 {
            write!(f, "; {} topics began a new epoch", self.epochs_changed)?;
        }
        for Damage { file, from, to, what, kept_as } in &self.damage {
            write!(f, "\n  DAMAGED {file}, bytes {from} to {to}: {what}")?;
            if let Some(kept_as) = kept_as {
                write!(f, "; the damaged file is kept as {kept_as}")?;
            }
        }
        for LostEvents { topic, first, last } in &self.lost {
            write!(f, "\n  LOST {topic}: events {first} to {last}")?;
        }
        if self.is_damaged() {
            write!(
                f,
                "\n  {} events are known to be lost; at a topic's end more may be. What could be read is served, under new epochs, so that clients are told. \
                 Check the disk; restore the kept files from a backup if there is one",
                self.events_lost
            )?;
        }
        Ok(())
    }
}
