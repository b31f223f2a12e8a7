//! Catch-up: a cursor behind its topic's window reads the log, page by page, at its socket's pace, until the window has what follows.

use towline_hub::CatchUpPage;
use towline_log::{Gap, ReadError};
use towline_protocol::{CloseCode, Position, ServerMessage};
use towline_sockets::Io;

use super::delivery::Written;
use super::gate::{Gate, Note, read_failed};
use super::requests::HISTORY_CHANGED;
use super::session::{CatchUp, Page, Session, State};

/// One page is written while the next is read.
const PAGES_MAX: usize = 2;

impl Gate {
    pub(super) fn begin_catch_up(&mut self, io: &mut Io<'_>, session: &mut Session, at: usize) {
        // One subscription at a time: the others go on when it is done.
        if session.catch_up.is_some() {
            return;
        }
        let subscription = &mut session.subscriptions[at];
        self.enter(subscription, State::CatchingUp);
        self.shared.metrics.catching_up.inc();
        self.catch_up_serial = self.catch_up_serial.wrapping_add(1);
        let (topic, serial, after) = (subscription.topic, self.catch_up_serial, subscription.after);
        session.catch_up = Some(Box::new(CatchUp { topic, serial, ..CatchUp::default() }));
        self.read_page(io, session, after);
    }

    fn read_page(&mut self, io: &Io<'_>, session: &mut Session, after: u64) {
        let format = session.own_format();
        let Some(catch_up) = session.catch_up.as_mut() else { return };
        let Some(local) = self.topics.get(catch_up.topic) else { return };
        catch_up.reading = true;
        let (hub, mailbox) = (self.hub.clone(), self.mailbox.clone());
        let (name, after) = (local.name().clone(), Position { epoch: local.epoch, offset: after });
        let (id, serial) = (io.id(), catch_up.serial);
        self.shared.metrics.catch_up_reads.inc();
        self.runtime.spawn(async move {
            let page = hub.catch_up(&name, format, after).await;
            mailbox.note(Note::Page(id, serial, page));
        });
    }

    pub(super) fn page_came(
        &mut self,
        io: &mut Io<'_>,
        session: &mut Session,
        serial: u32,
        page: Result<CatchUpPage, ReadError>,
    ) {
        // A page of a catch-up that was given up meanwhile is for nobody.
        let Some(catch_up) = session.catch_up.as_mut().filter(|catch_up| catch_up.serial == serial) else { return };
        catch_up.reading = false;
        let number = catch_up.topic;
        let Some(at) = session.subscription(number) else { return };
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.say(io, session.door, &ServerMessage::Error(read_failed(&error)), None);
                return self.close(io, CloseCode::Internal, "the log could not be read; reconnect to resume");
            }
        };
        let after = session.subscriptions[at].after;
        let Some(catch_up) = session.catch_up.as_mut() else { return };
        let Some(local) = self.topics.get(number) else { return };
        let before = page.gap.map_or_else(|| catch_up.end(after), |gap| gap.resume_after.offset);
        let end = page.run.as_ref().map_or(before, |run| run.last());
        catch_up.at_head = page.run.is_none() || local.topic().holds_after(Position { epoch: page.epoch, offset: end });
        catch_up.dry = page.run.is_none();
        if page.gap.is_some() || page.run.is_some() {
            catch_up.pages.push_back(Page { gap: page.gap, run: page.run, end });
        }
        self.write_pages(io, session);
        if io.is_clear() {
            self.deliver(io, session);
        }
    }

    /// What the cursor was at is gone: the client is told, and the cursor goes on where history does. False if it cannot.
    fn cross_gap(&mut self, io: &mut Io<'_>, session: &mut Session, at: usize, gap: Gap) -> bool {
        let Some(local) = self.topics.get(session.subscriptions[at].topic) else { return false };
        if local.epoch != gap.resume_after.epoch {
            // The topic's other cursors here count in the old history; whoever resumes is told of the new one.
            self.close(io, CloseCode::Internal, HISTORY_CHANGED);
            return false;
        }
        let name = local.name().clone();
        session.subscriptions[at].after = gap.resume_after.offset;
        self.say_gap(io, session, &name, gap);
        true
    }

    pub(super) fn write_pages(&mut self, io: &mut Io<'_>, session: &mut Session) {
        let Some(number) = session.catch_up.as_ref().map(|catch_up| catch_up.topic) else { return };
        let Some(at) = session.subscription(number) else { return };
        loop {
            let Some(catch_up) = session.catch_up.as_ref() else { return };
            // Read ahead before writing, so that the disk and the socket work at the same time.
            if !catch_up.at_head && !catch_up.reading && catch_up.pages.len() < PAGES_MAX && !io.is_blocked() {
                let after = catch_up.end(session.subscriptions[at].after);
                self.read_page(io, session, after);
            }
            let Some(page) = session.catch_up.as_mut().and_then(|catch_up| catch_up.pages.front_mut()) else { break };
            if !io.is_clear() {
                return;
            }
            if let Some(gap) = page.gap.take() {
                if !self.cross_gap(io, session, at, gap) {
                    return;
                }
                continue;
            }
            if let Some(run) = page.run.clone() {
                let replayed = session.subscriptions[at].replayed;
                let written = self.write_runs(io, session, at, std::slice::from_ref(&run));
                self.shared.metrics.catch_up_events.inc_by(u64::from(session.subscriptions[at].replayed - replayed));
                if let Written::Part = written {
                    return;
                }
            }
            if let Some(catch_up) = session.catch_up.as_mut() {
                catch_up.pages.pop_front();
            }
        }
        if session.catch_up.as_ref().is_some_and(|catch_up| catch_up.at_head && !catch_up.reading) {
            self.rejoin(io, session, at);
        }
    }

    /// The window had what follows when the last page was read: if it still has, the cursor is served from it again.
    fn rejoin(&mut self, io: &mut Io<'_>, session: &mut Session, at: usize) {
        let Some(catch_up) = session.catch_up.as_mut() else { return };
        let Some(local) = self.topics.get(catch_up.topic) else { return };
        let after = Position { epoch: local.epoch, offset: session.subscriptions[at].after };
        let Some(head) = local.topic().head() else { return };
        if after.offset < head.offset && !local.topic().holds_after(after) {
            if catch_up.dry {
                // The log has nothing more and the window does not go back so far: continuity cannot be proven.
                self.close(io, CloseCode::Internal, HISTORY_CHANGED);
            } else {
                catch_up.at_head = false;
                self.read_page(io, session, after.offset);
            }
            return;
        }
        session.catch_up = None;
        self.enter(&mut session.subscriptions[at], State::Live);
        self.shared.metrics.rejoined.inc();
    }

    /// Lets go of pages that a stuck socket does not take; they are read again when it does.
    pub(super) fn give_up_pages(&mut self, session: &mut Session) {
        if let Some(catch_up) = session.catch_up.as_mut()
            && !catch_up.pages.is_empty()
        {
            // A page that is being read now would leave a hole: its number no longer counts.
            self.catch_up_serial = self.catch_up_serial.wrapping_add(1);
            let (topic, serial) = (catch_up.topic, self.catch_up_serial);
            **catch_up = CatchUp { topic, serial, ..CatchUp::default() };
        }
    }
}
