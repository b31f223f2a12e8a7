//! One topic of a subscription: what was delivered last, and whether the next event follows it.
//!
//! The server says where each event stands, and this is where its word is checked: the consumer is never handed a repetition, and
//! never led past a hole without being told.

use towline_protocol::message::Subscribed;
use towline_protocol::{GapNotice, Position, StartRequest};

use crate::event::Event;

/// How many times in a row the same hole is met by asking the topic again, before the connection itself is given up.
const HOLES_MAX: u32 = 3;

/// One topic of a subscription.
#[derive(Debug, Clone)]
pub(crate) struct Track {
    /// Where the caller wanted to begin; used until the server has said where that is.
    start: StartRequest,
    /// Everything up to here was delivered, skipped by the caller's choice, or reported as a gap.
    last: Option<Position>,
    /// The id of the last event delivered, for `pong`.
    last_id: Option<String>,
    /// The request whose answer opens the topic on this connection. Until then its events belong to an older cursor and are dropped.
    awaiting: Option<String>,
    open: bool,
    holes_in_a_row: u32,
    last_gap: Option<GapNotice>,
}

/// What to do with an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It follows: hand it on.
    Next,
    /// Seen before, or of a cursor that is no longer valid: drop it.
    Drop,
    /// Something between `after` and the event is missing: ask the topic again from `after`.
    Hole { after: Position },
    /// Asking again did not help: give up the connection and start afresh from `after`.
    Broken { after: Position },
}

impl Track {
    pub(crate) fn new(start: StartRequest) -> Self {
        let last = match start {
            StartRequest::After(position) => Some(position),
            _ => None,
        };
        Self { start, last, last_id: None, awaiting: None, open: false, holes_in_a_row: 0, last_gap: None }
    }

    /// Where to ask the server to begin.
    pub(crate) fn resume_from(&self) -> StartRequest {
        self.last.map_or_else(|| self.start.clone(), StartRequest::After)
    }

    pub(crate) fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// The request `id` asks for this topic.
    pub(crate) fn asked(&mut self, id: &str) {
        self.awaiting = Some(id.to_owned());
        self.open = false;
    }

    /// Whether the answer to request `id` is about this topic's present cursor.
    pub(crate) fn awaits(&self, id: Option<&str>) -> bool {
        self.awaiting.is_some() && self.awaiting.as_deref() == id
    }

    /// The connection is gone, and with it the server's cursor.
    pub(crate) fn closed(&mut self) {
        self.awaiting = None;
        self.open = false;
    }

    /// The server follows the topic now. Gives the gap to report, if history is missing.
    pub(crate) fn opened(&mut self, answer: &Subscribed) -> Option<GapNotice> {
        self.awaiting = None;
        self.open = true;
        let gap = match (&answer.gap, self.last) {
            (Some(gap), _) => Some(gap.clone()),
            // The server may begin earlier than asked, what repeats is dropped; but it may not begin later without a word.
            (None, Some(last)) if answer.from.epoch != last.epoch || answer.from.offset > last.offset => Some(GapNotice {
                reason: towline_protocol::GapCause::EpochChanged,
                requested: Some(last),
                resume_after: answer.from,
            }),
            (None, _) => None,
        };
        match gap {
            Some(gap) => self.gap(gap),
            None => {
                self.last.get_or_insert(answer.from);
                None
            }
        }
    }

    /// History is missing and delivery goes on after the gap. Gives it back unless it was reported before.
    pub(crate) fn gap(&mut self, gap: GapNotice) -> Option<GapNotice> {
        if self.last_gap.as_ref() == Some(&gap) {
            return None;
        }
        self.last = Some(gap.resume_after);
        self.last_gap = Some(gap.clone());
        Some(gap)
    }

    /// Checks an event against what came before it.
    pub(crate) fn judge(&mut self, event: &Event) -> Verdict {
        let Some(last) = self.last.filter(|_| self.open) else {
            return Verdict::Drop;
        };
        let same = event.position.epoch == last.epoch;
        if same && event.position.offset <= last.offset {
            return Verdict::Drop;
        }
        if same && event.prev() <= last.offset {
            self.last = Some(event.position);
            self.last_id = Some(event.id.clone());
            self.holes_in_a_row = 0;
            self.last_gap = None;
            return Verdict::Next;
        }
        self.open = false;
        self.holes_in_a_row += 1;
        if self.holes_in_a_row < HOLES_MAX {
            return Verdict::Hole { after: last };
        }
        self.holes_in_a_row = 0;
        Verdict::Broken { after: last }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use towline_protocol::{Epoch, GapCause};

    fn at(epoch: u64, offset: u64) -> Position {
        Position { epoch: Epoch(epoch), offset }
    }

    fn event(epoch: u64, offset: u64, prev: u64) -> Event {
        Event::parse(&format!(
            r#"{{"id":"e{offset}","topic":"t","type":"x","ts":1,"epoch":"{epoch:x}","offset":{offset},"prev":{prev},"data":{{}}}}"#
        ))
        .unwrap()
    }

    fn ack(from: Position, gap: Option<GapNotice>) -> Subscribed {
        Subscribed { topic: "t".into(), from, to: from, complete: gap.is_none(), gap }
    }

    fn open(from: Position) -> Track {
        let mut track = Track::new(StartRequest::After(from));
        track.asked("1");
        assert!(track.awaits(Some("1")) && !track.awaits(Some("2")) && !track.awaits(None));
        assert_eq!(track.opened(&ack(from, None)), None);
        track
    }

    #[test]
    fn followers_pass_repetitions_drop_holes_stop() {
        let mut track = open(at(1, 4));
        assert_eq!(track.judge(&event(1, 5, 4)), Verdict::Next);
        assert_eq!(track.judge(&event(1, 5, 4)), Verdict::Drop);
        // Numbers may have holes as long as the chain of `prev` has none.
        assert_eq!(track.judge(&event(1, 9, 5)), Verdict::Next);
        assert_eq!(track.last_id(), Some("e9"));
        assert_eq!(track.judge(&event(1, 11, 10)), Verdict::Hole { after: at(1, 9) });
        // Nothing passes until the topic was asked again.
        assert_eq!(track.judge(&event(1, 10, 9)), Verdict::Drop);
        assert_eq!(track.resume_from(), StartRequest::After(at(1, 9)));
    }

    #[test]
    fn the_same_hole_again_and_again_gives_up_the_connection() {
        let mut track = open(at(1, 4));
        for expected in
            [Verdict::Hole { after: at(1, 4) }, Verdict::Hole { after: at(1, 4) }, Verdict::Broken { after: at(1, 4) }]
        {
            assert_eq!(track.judge(&event(1, 6, 5)), expected);
            track.asked("n");
            track.opened(&ack(at(1, 4), None));
        }
    }

    #[test]
    fn another_epoch_without_a_word_is_a_hole() {
        let mut track = open(at(1, 4));
        assert_eq!(track.judge(&event(2, 5, 4)), Verdict::Hole { after: at(1, 4) });
    }

    #[test]
    fn gaps_are_reported_once_and_delivery_goes_on_behind_them() {
        let gap = GapNotice { reason: GapCause::Trimmed, requested: Some(at(1, 4)), resume_after: at(1, 20) };
        let mut track = open(at(1, 4));
        track.asked("2");
        assert_eq!(track.opened(&ack(at(1, 20), Some(gap.clone()))), Some(gap.clone()));
        assert_eq!(track.gap(gap.clone()), None);
        assert_eq!(track.judge(&event(1, 21, 20)), Verdict::Next);
        // A server that silently begins later than asked is not believed.
        track.asked("3");
        let silent = track.opened(&ack(at(1, 30), None)).unwrap();
        assert_eq!((silent.requested, silent.resume_after), (Some(at(1, 21)), at(1, 30)));
    }

    #[test]
    fn before_the_answer_nothing_passes() {
        let mut track = Track::new(StartRequest::Latest);
        assert_eq!(track.judge(&event(1, 5, 4)), Verdict::Drop);
        track.asked("1");
        assert_eq!(track.judge(&event(1, 5, 4)), Verdict::Drop);
        track.opened(&ack(at(1, 7), None));
        assert_eq!(track.resume_from(), StartRequest::After(at(1, 7)));
    }

    proptest! {
        /// Whatever the network does to a history, what passes is the history, in order, each once, up to the first hole.
        #[test]
        fn what_passes_is_a_gapless_prefix(sent in proptest::collection::vec(1_u64..30, 0..100)) {
            let mut track = open(at(1, 0));
            let mut passed = Vec::new();
            for offset in sent {
                match track.judge(&event(1, offset, offset - 1)) {
                    Verdict::Next => passed.push(offset),
                    Verdict::Drop => {}
                    Verdict::Hole { after } | Verdict::Broken { after } => {
                        prop_assert_eq!(after.offset, passed.len() as u64);
                        track.asked("again");
                        track.opened(&ack(after, None));
                    }
                }
            }
            prop_assert_eq!(&passed, &(1..=passed.len() as u64).collect::<Vec<_>>());
        }
    }
}
