//! What the gate keeps per connection. One per open socket, so every byte counts.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use towline_auth::Identity;
use towline_hub::Run;
use towline_log::Gap;
use towline_protocol::Offset;
use towline_sockets::websocket::Window;

use super::door::Door;
use super::encoding::Format;
use crate::server::Place;

/// One connection. About 100 bytes, plus 32 per subscription.
pub struct Session {
    pub(super) door: &'static Door,
    /// `None` for a connection that is told why it may not be here, and nothing else.
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) subscriptions: Vec<Subscription>,
    /// At most one subscription at a time reads the log.
    pub(super) catch_up: Option<Box<CatchUp>>,
    /// Requests whose answer is being made elsewhere.
    pub(super) in_flight: u16,
    /// A subscribe or auth is being worked on: later requests wait, so that answers keep their order.
    pub(super) awaiting: bool,
    pub(super) pinged: bool,
    pub(super) warned_of_expiry: bool,
    /// Re-checks in a row that nobody answered.
    pub(super) unanswered: u8,
    /// Delivered events are compressed so.
    pub(super) compression: Option<Window>,
    errors: u16,
    errors_since_s: u32,
    /// Topics asked for in the second `subscribed_s`.
    subscribed: u16,
    subscribed_s: u32,
    /// From where, if it is one that may be here.
    pub(super) client: Option<IpAddr>,
    /// Which revocations were looked at: those up to this change of the table. 0: none yet.
    pub(super) revocations_seen: u32,
    /// When the identity and its topics are looked at again, uptime in seconds.
    pub(super) recheck_at_s: u32,
    pub(super) _place: Place,
}

/// A cursor.
pub struct Subscription {
    /// Everything up to here was written.
    pub(super) after: Offset,
    /// Replay ends here; 0 if there is none to report.
    pub(super) replay_to: Offset,
    /// The topic's number in this worker.
    pub(super) topic: u32,
    /// The subscription's place among the topic's.
    pub(super) seat: u32,
    /// Events written while replaying.
    pub(super) replayed: u32,
    pub(super) state: State,
}

/// Where a cursor is served from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The window, and it is at its head.
    Live,
    /// The window, and the socket is slower than the topic.
    Lagging,
    /// The log.
    CatchingUp,
}

/// Pages of the log on their way to one cursor.
#[derive(Default)]
pub struct CatchUp {
    /// Which subscription's.
    pub(super) topic: u32,
    /// Tells a page of this catch-up from one of an earlier one.
    pub(super) serial: u32,
    /// At most two: one that is written, one read ahead.
    pub(super) pages: VecDeque<Page>,
    pub(super) reading: bool,
    /// What follows the pages was in the window when the last one was read.
    pub(super) at_head: bool,
    /// The log had nothing after the cursor.
    pub(super) dry: bool,
}

/// A page of the log that waits for its socket.
pub struct Page {
    /// What is missing before it. Said in its turn: what was read before the gap is written before it.
    pub(super) gap: Option<Gap>,
    /// Its frames; `None` if nothing follows the gap.
    pub(super) run: Option<Arc<Run>>,
    /// The cursor's place behind it.
    pub(super) end: Offset,
}

impl CatchUp {
    /// Where the pages at hand lead a cursor that stands at `after`.
    pub(super) fn end(&self, after: Offset) -> Offset {
        self.pages.back().map_or(after, |page| page.end)
    }
}

const ERRORS_WINDOW: Duration = Duration::from_secs(60);

impl Session {
    pub(super) fn new(door: &'static Door, identity: Option<Arc<Identity>>, place: Place) -> Self {
        Self {
            door,
            identity,
            subscriptions: Vec::new(),
            catch_up: None,
            in_flight: 0,
            awaiting: false,
            pinged: false,
            warned_of_expiry: false,
            unanswered: 0,
            compression: None,
            errors: 0,
            errors_since_s: 0,
            subscribed: 0,
            subscribed_s: 0,
            client: None,
            revocations_seen: 0,
            recheck_at_s: 0,
            _place: place,
        }
    }

    /// What events from the windows look like, which many share.
    pub(super) fn format(&self) -> usize {
        Format::new(self.door.dialect, self.compression).number()
    }

    /// What events from the log look like, which are read for this connection alone: compressing them would cost more than reading them.
    pub(super) fn own_format(&self) -> usize {
        Format::new(self.door.dialect, None).number()
    }

    pub(super) fn subscription(&self, topic: u32) -> Option<usize> {
        self.subscriptions.iter().position(|subscription| subscription.topic == topic)
    }

    /// Counts topics that the client asks for, or says how long it has to wait because it asked for `most` in this second already.
    pub(super) fn ask_for(&mut self, topics: usize, uptime: Duration, most: u32) -> Result<(), Duration> {
        let now_s = uptime.as_secs() as u32;
        if now_s != self.subscribed_s {
            (self.subscribed, self.subscribed_s) = (0, now_s);
        }
        if u32::from(self.subscribed) >= most {
            return Err(Duration::from_secs(u64::from(now_s) + 1).saturating_sub(uptime));
        }
        self.subscribed = self.subscribed.saturating_add(u16::try_from(topics).unwrap_or(u16::MAX));
        Ok(())
    }

    /// Counts an error that the client caused; true if there were too many within a minute.
    pub(super) fn too_many_errors(&mut self, uptime: Duration, errors_max: u32) -> bool {
        let now_s = uptime.as_secs() as u32;
        if now_s.saturating_sub(self.errors_since_s) >= ERRORS_WINDOW.as_secs() as u32 {
            self.errors_since_s = now_s;
            self.errors = 0;
        }
        self.errors = self.errors.saturating_add(1);
        u32::from(self.errors) > errors_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stays_small() {
        assert!(size_of::<Session>() <= 112, "{}", size_of::<Session>());
        assert!(size_of::<Subscription>() <= 32, "{}", size_of::<Subscription>());
    }

    #[test]
    fn topics_are_asked_for_within_a_second() {
        let mut session = Session::new(&super::super::door::NATIVE, None, Place::default());
        let at = |ms| Duration::from_millis(ms);
        assert_eq!((session.ask_for(5, at(1_000), 10), session.ask_for(200, at(1_100), 10)), (Ok(()), Ok(())));
        assert_eq!(session.ask_for(1, at(1_250), 10), Err(at(750)));
        assert_eq!(session.ask_for(1, at(2_000), 10), Ok(()));
    }

    #[test]
    fn errors_are_counted_within_a_minute() {
        let mut session = Session::new(&super::super::door::NATIVE, None, Place::default());
        let at = Duration::from_secs(1000);
        assert!(!session.too_many_errors(at, 2) && !session.too_many_errors(at, 2) && session.too_many_errors(at, 2));
        assert!(!session.too_many_errors(at + ERRORS_WINDOW, 2));
    }
}
