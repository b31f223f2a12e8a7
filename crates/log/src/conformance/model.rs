//! The reference: what a log must answer, kept in the plainest way.

use std::collections::BTreeMap;

use towline_protocol::{Epoch, NewEvent, Offset, Position, TopicName};

use crate::{Appended, Bounds, Direction, EventLog, GapReason, Page, Read, Start};

/// An event that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its offset.
    pub offset: Offset,
    /// When the log took it.
    pub ts_ms: u64,
    /// What was appended.
    pub event: NewEvent,
}

/// All that is known of a topic.
#[derive(Debug, Clone, Default)]
pub struct ModelTopic {
    /// Its epoch, once something was appended or observed.
    pub epoch: Option<Epoch>,
    /// Events up to this offset are gone.
    pub floor: Offset,
    /// All events ever acknowledged, oldest first.
    pub kept: Vec<Kept>,
}

impl ModelTopic {
    /// The last offset, 0 if there is none.
    #[must_use]
    pub fn head(&self) -> Offset {
        self.kept.last().map_or(0, |kept| kept.offset)
    }

    fn retained(&self) -> &[Kept] {
        &self.kept[self.kept.partition_point(|kept| kept.offset <= self.floor)..]
    }
}

/// What a log must answer.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// All topics that were written to.
    pub topics: BTreeMap<TopicName, ModelTopic>,
}

impl Model {
    /// Takes the answers to a call, and checks them: what is new follows what was there, what is a duplicate is known.
    pub fn appended(&mut self, events: &[NewEvent], answers: &[Appended]) {
        assert_eq!(events.len(), answers.len(), "one answer per event");
        for (event, answer) in events.iter().zip(answers) {
            let topic = self.topics.entry(event.topic.clone()).or_default();
            let epoch = *topic.epoch.get_or_insert(answer.position.epoch);
            assert_eq!(answer.position.epoch, epoch, "{}: the epoch changed", event.topic);
            let offset = answer.position.offset;
            if answer.duplicate {
                let first = topic.kept.iter().find(|kept| kept.offset == offset);
                let first = first.unwrap_or_else(|| panic!("{}: a duplicate of an unknown {offset}", event.topic));
                assert_eq!(
                    (&first.event.id, first.ts_ms),
                    (&event.id, answer.ts_ms),
                    "{}: a duplicate of another event",
                    event.topic
                );
                continue;
            }
            let newest = topic.kept.last();
            assert!(offset > topic.head(), "{}: offset {offset} after {}", event.topic, topic.head());
            assert!(newest.is_none_or(|newest| newest.ts_ms <= answer.ts_ms), "{}: time went back", event.topic);
            topic.kept.push(Kept { offset, ts_ms: answer.ts_ms, event: event.clone() });
        }
    }

    /// Takes note of what retention removed; the floor never goes back.
    pub fn trimmed(&mut self, topic: &TopicName, bounds: &Bounds) {
        let entry = self.topics.entry(topic.clone()).or_default();
        assert!(bounds.floor >= entry.floor, "{topic}: the floor went back from {} to {}", entry.floor, bounds.floor);
        assert_eq!(bounds.head, entry.head(), "{topic}: the head");
        entry.floor = bounds.floor;
        assert_eq!(bounds.events, entry.retained().len() as u64, "{topic}: events in {bounds:?}");
    }

    /// Compares a page with what the model knows; `Err` says what is wrong.
    pub fn check(&self, read: &Read, page: &Page) -> Result<(), String> {
        let none = ModelTopic::default();
        let topic = self.topics.get(&read.topic).unwrap_or(&none);
        let fail = |what: String| Err(format!("{read:?}: {what}"));
        if topic.epoch.is_some_and(|epoch| epoch != page.epoch) {
            return fail(format!("epoch {} instead of {:?}", page.epoch, topic.epoch));
        }
        if page.head != topic.head() {
            return fail(format!("head {} instead of {}", page.head, topic.head()));
        }
        let forward = read.direction == Direction::Forward;
        let (after, reason) = topic.begin(&read.start, forward, page.epoch);
        if page.gap.map(|gap| gap.reason) != reason {
            return fail(format!("gap {:?} instead of {reason:?}", page.gap));
        }
        if let Some(gap) = page.gap
            && gap.resume_after != page.from_position()
        {
            return fail(format!("the gap says to resume after {}, the page begins at {}", gap.resume_after, page.from));
        }
        let expected: Vec<&Kept> = match forward {
            true => topic.retained().iter().filter(|kept| kept.offset > after).collect(),
            false => topic.retained().iter().rev().filter(|kept| kept.offset < after).collect(),
        };
        if page.records.is_empty() != expected.is_empty() || page.records.len() > expected.len() {
            return fail(format!("{} records of {}", page.records.len(), expected.len()));
        }
        if page.records.len() > read.events_max.max(1) {
            return fail(format!("{} records are too many", page.records.len()));
        }
        let but_last = page.records.len().saturating_sub(1);
        if page.records.iter().take(but_last).map(|record| record.body().len()).sum::<usize>() >= read.bytes_max.max(1) {
            return fail("more bytes than asked for".into());
        }
        for (record, kept) in page.records.iter().zip(&expected) {
            let event = &kept.event;
            let same = record.offset() == kept.offset
                && record.ts_ms() == kept.ts_ms
                && record.id() == &*event.id
                && record.kind() == &*event.kind
                && record.extras() == &*event.extras
                && record.data() == &*event.data;
            if !same {
                return fail(format!("{record:?} instead of {kept:?}"));
            }
            let before = topic.kept.iter().rev().find(|other| other.offset < kept.offset).map_or(0, |other| other.offset);
            if record.prev() != before {
                return fail(format!("offset {} follows {before}, not {}", kept.offset, record.prev()));
            }
        }
        let to = page.records.last().map_or(page.from, crate::Record::offset);
        if page.to != to {
            return fail(format!("`to` is {} after a page up to {to}", page.to));
        }
        if page.complete != (page.records.len() == expected.len()) {
            return fail(format!("complete: {} with {} of {}", page.complete, page.records.len(), expected.len()));
        }
        Ok(())
    }

    /// Reads every topic page by page in both directions and compares each page. Panics on the first difference.
    pub async fn check_all(&self, log: &dyn EventLog, events_max: usize) {
        for name in self.topics.keys() {
            for (start, direction) in [(Start::Earliest, Direction::Forward), (Start::Latest, Direction::Backward)] {
                let mut read = Read { topic: name.clone(), start, direction, events_max, bytes_max: 1 << 20 };
                loop {
                    let page = log.read(read.clone()).await.unwrap_or_else(|error| panic!("{read:?}: {error}"));
                    self.check(&read, &page).unwrap_or_else(|what| panic!("{what}"));
                    if page.complete {
                        break;
                    }
                    read.start = Start::At(page.to_position());
                }
            }
        }
    }
}

impl ModelTopic {
    /// The offset that the expected records follow (forward) or precede (backward), and the gap before them.
    fn begin(&self, start: &Start, forward: bool, epoch: Epoch) -> (Offset, Option<GapReason>) {
        let (floor, head) = (self.floor, self.head());
        let open_end = if forward { floor } else { head + 1 };
        let oldest = if forward { floor } else { floor + 1 };
        match start {
            Start::Earliest => (oldest, None),
            Start::Latest => (if forward { head } else { head + 1 }, None),
            Start::At(Position { epoch: asked, offset }) => {
                let newest = if forward { head } else { head + 1 };
                if *asked != epoch || *offset > newest {
                    (open_end, Some(GapReason::EpochChanged))
                } else if *offset < oldest && floor > 0 {
                    (oldest, Some(GapReason::Trimmed))
                } else {
                    (*offset, None)
                }
            }
            Start::Id(id) => match self.retained().iter().rev().find(|kept| kept.event.id == *id) {
                Some(kept) => (kept.offset, None),
                None => (open_end, Some(GapReason::UnknownId)),
            },
            Start::Time(ts_ms) => {
                let retained = self.retained();
                let at = retained.partition_point(|kept| kept.ts_ms < *ts_ms);
                // Whether older events would have answered too is known no longer.
                let gap = (forward && at == 0 && floor > 0).then_some(GapReason::Trimmed);
                match (retained.get(at), forward) {
                    (Some(first), true) => (first.offset - 1, gap),
                    (Some(first), false) => (first.offset, None),
                    (None, true) => (head, gap),
                    (None, false) => (head + 1, None),
                }
            }
        }
    }
}
