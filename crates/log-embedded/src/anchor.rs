//! Where a page begins: a pure decision from what was asked and what the log holds.

use towline_log::{Bounds, Direction, Gap, GapReason, Offset, Position, Start};

/// What was asked, with ids and times already looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Anchor {
    At(Position),
    /// The event with the id, or none that is retained.
    Id(Option<Offset>),
    /// The first retained event at or after the time (one past the head if there is none).
    Time(Offset),
    Earliest,
    Latest,
}

impl Anchor {
    /// The anchor of a start that needs no look-up.
    pub fn of(start: &Start) -> Option<Self> {
        match start {
            Start::At(position) => Some(Self::At(*position)),
            Start::Earliest => Some(Self::Earliest),
            Start::Latest => Some(Self::Latest),
            Start::Id(_) | Start::Time(_) => None,
        }
    }
}

/// The page's `from`, and the gap before it if there is one. A gap's `resume_after` is always the page's own beginning.
pub(crate) fn begin(anchor: Anchor, direction: Direction, bounds: &Bounds) -> (Offset, Option<Gap>) {
    let Bounds { epoch, floor, head, .. } = *bounds;
    let forward = direction == Direction::Forward;
    // Where a page begins that could not begin where it was asked to: at the oldest going forward, at the newest going back.
    let open_end = if forward { floor } else { head + 1 };
    let gap = |reason, requested, from| (from, Some(Gap { reason, requested, resume_after: Position { epoch, offset: from } }));
    match anchor {
        Anchor::At(position) => {
            let newest = if forward { head } else { head + 1 };
            let oldest = if forward { floor } else { floor + 1 };
            if position.epoch != epoch || position.offset > newest {
                gap(GapReason::EpochChanged, Some(position), open_end)
            } else if position.offset < oldest && (floor > 0 || forward) {
                gap(GapReason::Trimmed, Some(position), oldest)
            } else {
                // Backward from 0 in an untrimmed topic: before the first event is nothing, and nothing is missing.
                (position.offset.max(oldest), None)
            }
        }
        Anchor::Id(Some(offset)) if offset > floor => (offset, None),
        Anchor::Id(_) => gap(GapReason::UnknownId, None, open_end),
        Anchor::Time(first) => {
            // Retention may have gone on since the time was looked up.
            let first = first.max(floor + 1);
            let from = if forward { first - 1 } else { first };
            // The oldest retained event already answers the time: older ones that would too may have been trimmed.
            if first == floor + 1 && floor > 0 && forward { gap(GapReason::Trimmed, None, from) } else { (from, None) }
        }
        Anchor::Earliest => (if forward { floor } else { floor + 1 }, None),
        Anchor::Latest => (if forward { head } else { head + 1 }, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_protocol::Epoch;

    #[test]
    fn pages_begin_where_asked_or_say_why_not() {
        use Direction::{Backward, Forward};
        let bounds = Bounds { epoch: Epoch(9), floor: 4, head: 10, events: 6, bytes: 0 };
        let at = |offset| Anchor::At(Position { epoch: Epoch(9), offset });
        let old = Anchor::At(Position { epoch: Epoch(8), offset: 7 });
        for (anchor, direction, from, reason) in [
            (at(4), Forward, 4, None),
            (at(10), Forward, 10, None),
            (at(3), Forward, 4, Some(GapReason::Trimmed)),
            (at(11), Forward, 4, Some(GapReason::EpochChanged)),
            (old, Forward, 4, Some(GapReason::EpochChanged)),
            (at(11), Backward, 11, None),
            (at(12), Backward, 11, Some(GapReason::EpochChanged)),
            (at(5), Backward, 5, None),
            (at(4), Backward, 5, Some(GapReason::Trimmed)),
            (old, Backward, 11, Some(GapReason::EpochChanged)),
            (Anchor::Id(Some(6)), Forward, 6, None),
            (Anchor::Id(Some(6)), Backward, 6, None),
            (Anchor::Id(None), Forward, 4, Some(GapReason::UnknownId)),
            (Anchor::Id(None), Backward, 11, Some(GapReason::UnknownId)),
            (Anchor::Time(7), Forward, 6, None),
            (Anchor::Time(7), Backward, 7, None),
            (Anchor::Time(5), Forward, 4, Some(GapReason::Trimmed)),
            (Anchor::Time(11), Forward, 10, None),
            (Anchor::Earliest, Forward, 4, None),
            (Anchor::Earliest, Backward, 5, None),
            (Anchor::Latest, Forward, 10, None),
            (Anchor::Latest, Backward, 11, None),
        ] {
            let (began, gap) = begin(anchor, direction, &bounds);
            assert_eq!((began, gap.map(|gap| gap.reason)), (from, reason), "{anchor:?} {direction:?}");
            assert!(gap.is_none_or(|gap| gap.resume_after == Position { epoch: Epoch(9), offset: from }));
        }
        let empty = Bounds { epoch: Epoch(9), floor: 0, head: 0, events: 0, bytes: 0 };
        assert_eq!(begin(at(0), Forward, &empty), (0, None));
        assert_eq!(begin(at(0), Backward, &empty), (1, None));
        assert_eq!(begin(Anchor::Time(1), Forward, &empty), (0, None));
    }
}
