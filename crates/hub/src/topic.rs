//! A topic that somebody watches: its window, and the workers to tell when it grows.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use towline_log::{Follower, Record};
use towline_protocol::{Epoch, Offset, Position, TopicName};

use crate::run::Run;
use crate::window::{Bounds, Found, Window};
use crate::{EncodeFrame, FORMATS_MAX};

/// Is told that a topic has something new. Called with the topic's lock held: hand over and return.
///
/// Lock order: a topic's lock, then whatever the listener takes (a worker's mailbox). Never the other way round.
pub trait Listener: Send + Sync + 'static {
    /// Said once, and then not again until [`Topic::look`] was called with the same tag.
    fn advanced(&self, tag: u32);
}

/// Names a listener of a hub: topics keep this instead of a pointer, because there may be a million of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerId(u16);

/// What all topics of a hub share.
pub(crate) struct TopicSettings {
    pub(crate) encode: EncodeFrame,
    pub(crate) bounds: Bounds,
    listeners: RwLock<Vec<Arc<dyn Listener>>>,
    /// Held while frames of a topic are made, so that each is made once, whoever needs it first; by the topic's place in memory. Lock order:
    /// before the topic's own.
    encoding: [Mutex<()>; ENCODERS],
}

/// Topics whose frames can be made at the same time: more than any machine has reactor threads in such a hurry.
const ENCODERS: usize = 64;

impl TopicSettings {
    pub(crate) fn new(encode: EncodeFrame, bounds: Bounds) -> Self {
        Self { encode, bounds, listeners: RwLock::default(), encoding: [const { Mutex::new(()) }; ENCODERS] }
    }

    pub(crate) fn register(&self, listener: Arc<dyn Listener>) -> ListenerId {
        let mut listeners = self.listeners.write();
        listeners.push(listener);
        ListenerId((listeners.len() - 1) as u16)
    }
}

/// What a cursor gets.
#[derive(Debug)]
pub enum Served {
    /// Nothing new.
    Nothing,
    /// Frames that follow it.
    Runs(SmallVec<[Arc<Run>; 2]>),
    /// What follows it is no longer in the window: read the log.
    Behind,
    /// The topic's history is another one by now: the listener learns it from [`Topic::look`].
    OtherHistory,
}

/// A topic that somebody watches. 112 bytes and its name while quiet.
pub struct Topic {
    name: TopicName,
    settings: Arc<TopicSettings>,
    state: Mutex<State>,
}

struct State {
    window: Window,
    seats: SmallVec<[Seat; 2]>,
}

struct Seat {
    tag: u32,
    listener: ListenerId,
    told: bool,
}

impl Topic {
    pub(crate) fn new(name: TopicName, settings: Arc<TopicSettings>) -> Self {
        Self { name, settings, state: Mutex::new(State { window: Window::closed(), seats: SmallVec::new() }) }
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// The window begins at the position from which the log hands records out; later calls change nothing.
    pub(crate) fn open_at(&self, position: Position) {
        let mut state = self.state.lock();
        if !state.window.open {
            state.window = Window::starting_at(position);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().window.open
    }

    /// The last position in the window; `None` before the topic is open.
    #[must_use]
    pub fn head(&self) -> Option<Position> {
        self.state.lock().head()
    }

    /// Whether everything after this position is in the window.
    #[must_use]
    pub fn holds_after(&self, position: Position) -> bool {
        let window = &self.state.lock().window;
        window.open && window.epoch == position.epoch && (window.start..=window.head).contains(&position.offset)
    }

    /// Asks to be told. `tag` comes back in [`Listener::advanced`] and names this listener in [`Topic::look`].
    pub fn listen(&self, listener: ListenerId, tag: u32) {
        self.state.lock().seats.push(Seat { tag, listener, told: false });
    }

    /// Is told no longer.
    pub fn unlisten(&self, listener: ListenerId, tag: u32) {
        self.state.lock().seats.retain(|seat| !(seat.tag == tag && seat.listener == listener));
    }

    /// Opens the eyes of a listener again and returns the epoch and head that it is looking at.
    pub fn look(&self, listener: ListenerId, tag: u32) -> Option<Position> {
        let mut state = self.state.lock();
        for seat in &mut state.seats {
            if seat.tag == tag && seat.listener == listener {
                seat.told = false;
            }
        }
        state.head()
    }

    /// What follows `after` in the history of `epoch`.
    ///
    /// Frames that nobody has asked for yet are made now, without the topic's lock: the log's writer, which takes it, never waits for them.
    #[must_use]
    pub fn serve(&self, format: usize, epoch: Epoch, after: Offset) -> Served {
        debug_assert!(format < FORMATS_MAX, "formats are few");
        if let Found::Answer(served) = self.state.lock().window.find(format, epoch, after) {
            return served;
        }
        let place = std::ptr::from_ref(self) as usize / size_of::<Self>();
        let _one_at_a_time = self.settings.encoding[place % ENCODERS].lock();
        // Another may have made them while this one waited.
        let missing = match self.state.lock().window.find(format, epoch, after) {
            Found::Answer(served) => return served,
            Found::Missing(missing) => missing,
        };
        let Some(run) = Run::encode(&self.settings.encode, format, &self.name, epoch, missing.iter()) else {
            return Served::Nothing;
        };
        self.state.lock().window.add(format, run, epoch, after)
    }
}

impl Follower for Topic {
    fn committed(&self, epoch: Epoch, records: &[Record]) {
        let Some(first) = records.first() else { return };
        let mut state = self.state.lock();
        if !state.window.open || state.window.epoch != epoch {
            state.window = Window::starting_at(Position { epoch, offset: first.prev() });
        }
        for record in records {
            state.window.push(record, self.settings.bounds);
        }
        state.tell(&self.settings);
    }

    fn reset(&self, head: Position) {
        let mut state = self.state.lock();
        state.window = Window::starting_at(head);
        state.tell(&self.settings);
    }
}

impl State {
    fn head(&self) -> Option<Position> {
        self.window.open.then_some(Position { epoch: self.window.epoch, offset: self.window.head })
    }

    fn tell(&mut self, settings: &TopicSettings) {
        if self.seats.iter().all(|seat| seat.told) {
            return;
        }
        let listeners = settings.listeners.read();
        for seat in &mut self.seats {
            if !std::mem::replace(&mut seat.told, true)
                && let Some(listener) = listeners.get(usize::from(seat.listener.0))
            {
                listener.advanced(seat.tag);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use towline_log::Record;
    use towline_protocol::{EventLimits, NewEvent};

    use super::*;

    #[test]
    fn a_quiet_topic_stays_small() {
        // With the two counters of its Arc.
        assert!(size_of::<Topic>() + 16 <= 112, "{}", size_of::<Topic>() + 16);
    }

    const EPOCH: Epoch = Epoch(7);

    fn records(from: Offset, count: u64) -> Vec<Record> {
        let item = serde_json::from_str(r#"{"topic":"a","type":"x"}"#).unwrap();
        let event = NewEvent::accept(&item, &EventLimits::default()).unwrap();
        (from..from + count).map(|offset| Record::from_event(&event, offset, offset - 1, 0)).collect()
    }

    fn topic(encode: EncodeFrame, events_max: usize) -> Arc<Topic> {
        let settings = TopicSettings::new(encode, Bounds { events_max, bytes_max: 1 << 20 });
        let topic = Topic::new(TopicName::new("a").unwrap(), Arc::new(settings));
        topic.open_at(Position::start_of(EPOCH));
        Arc::new(topic)
    }

    /// Frame: the format and the offset, one byte each.
    fn write(format: usize, event: &towline_protocol::EventView<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(&[format as u8, event.offset as u8]);
    }

    fn offsets(topic: &Topic, format: usize, mut after: Offset) -> Vec<Offset> {
        let mut all = Vec::new();
        while let Served::Runs(runs) = topic.serve(format, EPOCH, after) {
            for (offset, frame) in runs.iter().flat_map(|run| run.frames_after(after)) {
                assert_eq!(frame, [format as u8, offset as u8]);
                all.push(offset);
            }
            after = *all.last().unwrap();
        }
        all
    }

    #[test]
    fn many_readers_of_many_formats_have_each_frame_made_once_per_format() {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let topic = topic(
            Arc::new(move |format, event, out| {
                counter.fetch_add(1, Ordering::Relaxed);
                write(format, event, out);
            }),
            500,
        );
        topic.committed(EPOCH, &records(1, 200));
        std::thread::scope(|scope| {
            for reader in 0..8 {
                let topic = &topic;
                scope.spawn(move || assert_eq!(offsets(topic, reader % 2, 0), (1..=200).collect::<Vec<_>>()));
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 2 * 200);
    }

    /// The encoder itself moves the window on, as the log's writer may at any moment: it does not wait for frames.
    #[test]
    fn the_window_moves_on_while_frames_are_made() {
        for (next, events_max, expected) in [(11, 20, (1..=11).collect()), (11, 5, vec![]), (12, 5, vec![])] {
            let behind: Arc<Mutex<Option<Arc<Topic>>>> = Arc::default();
            let writer = Arc::clone(&behind);
            let topic = topic(
                Arc::new(move |format, event, out| {
                    if let Some(topic) = writer.lock().take() {
                        topic.committed(EPOCH, &records(next, 8)[..1]);
                        if events_max == 5 {
                            topic.committed(EPOCH, &records(next + 1, 8));
                        }
                    }
                    write(format, event, out);
                }),
                events_max,
            );
            topic.committed(EPOCH, &records(1, 10));
            let start = topic.head().unwrap().offset.saturating_sub(events_max as u64);
            *behind.lock() = Some(Arc::clone(&topic));
            let seen = offsets(&topic, 0, start);
            assert_eq!(seen, expected);
            if events_max == 5 {
                // Its place has left the window: the log has the rest, and those who stand further on are served whole.
                assert!(matches!(topic.serve(0, EPOCH, start), Served::Behind));
                let head = topic.head().unwrap().offset;
                assert_eq!(offsets(&topic, 0, head - 5), (head - 4..=head).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn another_history_is_not_mixed_with_frames_of_the_old_one() {
        let behind: Arc<Mutex<Option<Arc<Topic>>>> = Arc::default();
        let writer = Arc::clone(&behind);
        let topic = topic(
            Arc::new(move |format, event, out| {
                if let Some(topic) = writer.lock().take() {
                    topic.reset(Position::start_of(Epoch(8)));
                }
                write(format, event, out);
            }),
            20,
        );
        topic.committed(EPOCH, &records(1, 10));
        *behind.lock() = Some(Arc::clone(&topic));
        assert!(matches!(topic.serve(0, EPOCH, 0), Served::OtherHistory));
        topic.committed(Epoch(8), &records(1, 3));
        let Served::Runs(runs) = topic.serve(0, Epoch(8), 0) else { panic!("nothing is served") };
        assert_eq!(runs.iter().map(|run| run.len()).sum::<usize>(), 3);
    }
}
