//! Reading ahead: pages of `inbox:*` become lines of the schedule, as far as there is place.

use std::sync::Arc;
use std::time::Duration;

use towline_log::{Direction, Page, Read, Start};

use super::{Engine, Happened};
use crate::webhook::message::{Message, sender};
use crate::webhook::progress::Progress;
use crate::webhook::schedule::Work;
use crate::webhook::verdict::Reason;

/// Messages of one page that is read ahead.
const PAGE_EVENTS_MAX: usize = 512;
/// Bytes of one page.
const PAGE_BYTES_MAX: usize = 1 << 20;

impl Engine {
    /// What is to be read after the last message.
    pub(super) fn look(&mut self) {
        let read_to = self.progress.read_position();
        self.behind |= self.arrivals.head().is_some_and(|head| head.epoch != read_to.epoch || head.offset > read_to.offset);
    }

    /// Reads a page ahead, if all of it finds a place.
    pub(super) fn read(&mut self, now: Duration) {
        let room = self.schedule.room() >= PAGE_EVENTS_MAX.min(self.shared.config.webhook.waiting_max)
            && self.journal.waiting() < PAGE_EVENTS_MAX;
        if !self.behind || self.reading || self.gone || !room || now < self.read_not_before {
            return;
        }
        self.reading = true;
        let read = Read {
            topic: self.inbox.clone(),
            start: Start::At(self.progress.read_position()),
            direction: Direction::Forward,
            events_max: PAGE_EVENTS_MAX,
            bytes_max: PAGE_BYTES_MAX,
        };
        let page = self.shared.log.read(read);
        self.tasks.spawn(async move { Happened::Read(page.await) });
    }

    /// Takes in what was read.
    pub(super) fn page(&mut self, page: &Page) -> bool {
        self.reading = false;
        // An empty topic gets its epoch with its first event; nothing is missing then.
        let first = self.progress.read_position().offset == 0;
        if let Some(gap) = page.gap
            && first
            && gap.resume_after.offset == 0
        {
            self.progress = Progress::starting_after(gap.resume_after);
        } else if let Some(gap) = page.gap {
            let metrics = &self.shared.metrics.webhook;
            metrics.gaps.inc();
            tracing::error!(reason = ?gap.reason, from = %self.progress.read_position(), to = %gap.resume_after, "messages that were not delivered yet are gone from the log");
            if gap.resume_after.epoch != self.progress.read_position().epoch {
                // Offsets of the former history mean nothing any more.
                let idle = self.progress.unfinished() == 0;
                self.progress = Progress::starting_after(gap.resume_after);
                self.journal.progress_changed();
                if !idle {
                    return false;
                }
            }
        }
        let shared = Arc::clone(&self.shared);
        let wanted = &shared.config.webhook.types;
        for record in &page.records {
            let offset = record.offset();
            if !self.progress.read(offset, record.ts_ms()) {
                continue;
            }
            if !wanted.is_empty() && !wanted.iter().any(|kind| kind == record.kind()) {
                self.progress.finish(offset);
                self.shared.metrics.webhook.unwanted.inc();
                continue;
            }
            let user = sender(record.data());
            if self.schedule.takes(&user) {
                self.schedule.offer(&user, Work::Message(offset), record.ts_ms());
            } else {
                let message = Message::of_record(record, page.epoch);
                self.dead(None, Work::Message(offset), &message, Reason::Backlog, 0, None);
            }
        }
        self.progress.read_to(page.to_position());
        self.journal.progress_changed();
        self.behind = !page.complete;
        if page.complete {
            self.look();
        }
        true
    }
}
