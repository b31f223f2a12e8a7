//! A topic that somebody watches: its window, and the workers to tell when it grows.

use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use smallvec::SmallVec;
use towline_log::{Follower, Record};
use towline_protocol::{Epoch, Offset, Position, TopicName};

use crate::EncodeFrame;
use crate::run::Run;
use crate::window::{Bounds, Window};

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
}

impl TopicSettings {
    pub(crate) fn new(encode: EncodeFrame, bounds: Bounds) -> Self {
        Self { encode, bounds, listeners: RwLock::default() }
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
    #[must_use]
    pub fn serve(&self, format: usize, epoch: Epoch, after: Offset) -> Served {
        let window = &mut self.state.lock().window;
        if epoch != window.epoch {
            Served::OtherHistory
        } else if after >= window.head {
            Served::Nothing
        } else if after < window.start {
            Served::Behind
        } else {
            Served::Runs(window.serve(format, after, self.settings.encode, &self.name))
        }
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
    use super::*;

    #[test]
    fn a_quiet_topic_stays_small() {
        // With the two counters of its Arc.
        assert!(size_of::<Topic>() + 16 <= 112, "{}", size_of::<Topic>() + 16);
    }
}
