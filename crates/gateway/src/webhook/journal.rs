//! What is to be written down, and the one append that is under way. Dead letters, marks and progress go into the log together, in one call
//! that is stored whole or not at all: so a message is a dead letter exactly if the kept progress no longer waits for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use towline_protocol::{NewEvent, Offset};

use super::schedule::Work;
use super::{Redriven, letter};
use crate::webhook::progress::Progress;

/// Bytes of one append, by and large. A log takes more in one call.
const BATCH_BYTES_MAX: usize = 512 << 10;
/// The progress is written this often at most; dead letters and marks wait for it.
const INTERVAL: Duration = Duration::from_millis(200);
/// The pause after an append that was refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Something to write down, and what follows when it is.
pub enum Entry {
    /// Something is a dead letter. `user`: whose line waits for this, if one does.
    Dead { user: Option<Arc<str>>, sender: Arc<str>, work: Work, webhook_id: Box<str>, event: NewEvent },
    /// A letter was delivered after all.
    Redelivered { user: Arc<str>, letter: Offset, event: NewEvent },
    /// Letters shall be delivered once more.
    Redrive { letters: Vec<Offset>, events: Vec<NewEvent>, answer: oneshot::Sender<Redriven>, redriven: Redriven },
}

impl Entry {
    /// Its events in the log.
    pub fn events(&self) -> &[NewEvent] {
        match self {
            Self::Dead { event, .. } | Self::Redelivered { event, .. } => std::slice::from_ref(event),
            Self::Redrive { events, .. } => events,
        }
    }

    fn bytes(&self) -> usize {
        self.events().iter().map(NewEvent::body_bytes).sum()
    }
}

/// The queue of entries. Bounded by those who fill it: one entry per call under way, one page of messages that find no place, one request
/// to redrive at a time.
#[derive(Default)]
pub struct Journal {
    waiting: VecDeque<Entry>,
    under_way: Option<Vec<Entry>>,
    /// The progress has changed since it was written.
    changed: bool,
    not_before: Duration,
}

impl Journal {
    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        self.waiting.push_back(entry);
    }

    /// The progress has changed.
    pub fn progress_changed(&mut self) {
        self.changed = true;
    }

    /// Entries that are not written down yet.
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.under_way.as_ref().map_or(0, Vec::len)
    }

    /// Whether everything is written down.
    pub fn is_settled(&self) -> bool {
        self.waiting.is_empty() && self.under_way.is_none() && !self.changed
    }

    /// When the next append may begin, if there is something to write.
    pub fn due_at(&self) -> Option<Duration> {
        (self.under_way.is_none() && !self.is_settled()).then_some(self.not_before)
    }

    /// The next append at `now` (uptime), if it is time; then one of [`Journal::written`] and [`Journal::refused`] follows. What becomes a
    /// dead letter by it is finished in `progress`.
    pub fn next(&mut self, now: Duration, progress: &mut Progress) -> Option<Vec<NewEvent>> {
        if self.due_at().is_none_or(|due| now < due) {
            return None;
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = self.waiting.front()
            && (batch.is_empty() || bytes + entry.bytes() <= BATCH_BYTES_MAX)
            && let Some(entry) = self.waiting.pop_front()
        {
            bytes += entry.bytes();
            if let Entry::Dead { work: Work::Message(offset), .. } = entry {
                progress.finish(offset);
            }
            batch.push(entry);
        }
        let mut events: Vec<NewEvent> = batch.iter().flat_map(|entry| entry.events().iter().cloned()).collect();
        events.push(letter::cursor(&progress.saved()));
        self.changed = false;
        self.under_way = Some(batch);
        Some(events)
    }

    /// The append is stored: its entries, in the order of its events.
    pub fn written(&mut self, now: Duration) -> Vec<Entry> {
        self.not_before = now + INTERVAL;
        self.under_way.take().unwrap_or_default()
    }

    /// The append was refused: its entries come again, together, so that no progress is ever written without its dead letters.
    pub fn refused(&mut self, now: Duration) {
        self.not_before = now + REFUSED_PAUSE;
        self.changed = true;
        for entry in self.under_way.take().unwrap_or_default().into_iter().rev() {
            self.waiting.push_front(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use towline_protocol::{Epoch, Position};

    use super::*;
    use crate::webhook::message::Message;
    use crate::webhook::progress::Saved;
    use crate::webhook::verdict::Reason;

    const NOW: Duration = Duration::from_secs(100);

    fn dead(offset: Offset, bytes: usize) -> Entry {
        let position = Position { epoch: Epoch(1), offset };
        let body = Bytes::from(format!("\"{}\"", "x".repeat(bytes)));
        let id: Box<str> = format!("m{offset}").into();
        let message = Message { id: id.clone(), kind: "x".into(), user: "u".into(), position, taken_ms: 0, round: 0, body };
        let event = letter::letter(&message, Reason::Refused, 5, None, None);
        Entry::Dead { user: None, sender: "u".into(), work: Work::Message(offset), webhook_id: id, event }
    }

    fn read(offsets: std::ops::RangeInclusive<Offset>) -> Progress {
        let mut progress = Progress::starting_after(Position::start_of(Epoch(1)));
        for offset in offsets {
            progress.read(offset, 0);
        }
        progress
    }

    /// The ids of an append's dead letters, and the position that it keeps.
    fn append(events: &[NewEvent]) -> (Vec<&str>, Offset) {
        let (cursor, letters) = events.split_last().unwrap();
        let saved: Saved = serde_json::from_slice(&cursor.data).unwrap();
        (letters.iter().map(|letter| &*letter.id).collect(), saved.committed.offset)
    }

    // proves: C9
    #[test]
    fn progress_is_never_written_without_the_dead_letters_that_it_no_longer_waits_for() {
        let (mut journal, mut progress) = (Journal::default(), read(1..=3));
        progress.finish(1);
        journal.push(dead(2, 10));
        let events = journal.next(NOW, &mut progress).unwrap();
        assert_eq!(append(&events), (vec!["m2.0"], 2));
        assert!(journal.next(NOW, &mut progress).is_none(), "one append at a time");
        journal.refused(NOW);
        assert!(journal.next(NOW, &mut progress).is_none(), "not at once again");
        progress.finish(3);
        let events = journal.next(NOW + REFUSED_PAUSE, &mut progress).unwrap();
        assert_eq!(append(&events), (vec!["m2.0"], 3));
        assert_eq!(journal.written(NOW).len(), 1);
        assert!(journal.is_settled() && journal.next(NOW + INTERVAL, &mut progress).is_none());
    }

    #[test]
    fn an_append_is_bounded_and_what_is_behind_it_is_still_waited_for() {
        let (mut journal, mut progress) = (Journal::default(), read(1..=3));
        for offset in 1..=3 {
            journal.push(dead(offset, BATCH_BYTES_MAX / 2));
        }
        let events = journal.next(NOW, &mut progress).unwrap();
        assert_eq!(append(&events), (vec!["m1.0"], 1));
        journal.refused(NOW);
        let events = journal.next(NOW + REFUSED_PAUSE, &mut progress).unwrap();
        assert_eq!(append(&events), (vec!["m1.0"], 1), "the same ones again");
        journal.written(NOW);
        let events = journal.next(NOW + INTERVAL, &mut progress).unwrap();
        assert_eq!(append(&events), (vec!["m2.0"], 2));
    }
}
