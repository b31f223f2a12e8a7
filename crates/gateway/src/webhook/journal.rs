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
