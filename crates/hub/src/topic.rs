//! A topic that somebody watches: its window, and the workers to tell when it grows.

use std::sync::Arc;

use parking_lot::Mutex;
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

/// What a cursor gets.
#[derive(Debug)]
pub enum Served {
    /// Nothing new.
    Nothing,
    /// Frames that follow it.
    Runs(SmallVec<[Arc<Run>; 2]>),
    /// What follows it is no longer in the window: read the log.
    Behind,
}

/// A topic that somebody watches.
pub struct Topic {
    name: TopicName,
    encode: EncodeFrame,
    bounds: Bounds,
    state: Mutex<State>,
}

struct State {
    window: Option<Window>,
    listeners: SmallVec<[Seat; 1]>,
}

struct Seat {
    listener: Arc<dyn Listener>,
    tag: u32,
    told: bool,
}

impl Topic {
    pub(crate) fn new(name: TopicName, encode: EncodeFrame, bounds: Bounds) -> Self {
        Self { name, encode, bounds, state: Mutex::new(State { window: None, listeners: SmallVec::new() }) }
    }

    /// The topic's name.
    #[must_use]
    pub fn name(&self) -> &TopicName {
        &self.name
    }

    /// The window begins at the position from which the log hands records out; later calls change nothing.
    pub(crate) fn open_at(&self, position: Position) {
        self.state.lock().window.get_or_insert_with(|| Window::starting_at(position));
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().window.is_some()
    }

    /// The last position in the window; `None` before the topic is open.
    #[must_use]
    pub fn head(&self) -> Option<Position> {
        self.state.lock().window.as_ref().map(|w| Position { epoch: w.epoch, offset: w.head })
    }

    /// Whether everything after this position is in the window.
    #[must_use]
    pub fn holds_after(&self, position: Position) -> bool {
        let state = self.state.lock();
        state.window.as_ref().is_some_and(|w| w.epoch == position.epoch && (w.start..=w.head).contains(&position.offset))
    }

    /// Asks to be told. `tag` comes back in [`Listener::advanced`] and names this listener in [`Topic::look`].
    pub fn listen(&self, listener: Arc<dyn Listener>, tag: u32) {
        self.state.lock().listeners.push(Seat { listener, tag, told: false });
    }

    /// Is told no longer.
    pub fn unlisten(&self, listener: &Arc<dyn Listener>, tag: u32) {
        self.state.lock().listeners.retain(|seat| !(seat.tag == tag && Arc::ptr_eq(&seat.listener, listener)));
    }

    /// Opens the eyes of a listener again and returns the epoch and head that it is looking at.
    pub fn look(&self, listener: &Arc<dyn Listener>, tag: u32) -> Option<Position> {
        let mut state = self.state.lock();
        for seat in &mut state.listeners {
            if seat.tag == tag && Arc::ptr_eq(&seat.listener, listener) {
                seat.told = false;
            }
        }
        state.window.as_ref().map(|w| Position { epoch: w.epoch, offset: w.head })
    }

    /// What follows `after`, which must be an offset of the window's epoch.
    #[must_use]
    pub fn serve(&self, format: usize, after: Offset) -> Served {
        let mut state = self.state.lock();
        let Some(window) = state.window.as_mut() else { return Served::Nothing };
        if after >= window.head {
            Served::Nothing
        } else if after < window.start {
            Served::Behind
        } else {
            Served::Runs(window.serve(format, after, self.encode, &self.name))
        }
    }
}

impl Follower for Topic {
    fn committed(&self, epoch: Epoch, records: &[Record]) {
        let Some(first) = records.first() else { return };
        let mut state = self.state.lock();
        let start = Position { epoch, offset: first.prev() };
        let window = state.window.get_or_insert_with(|| Window::starting_at(start));
        if window.epoch != epoch {
            *window = Window::starting_at(start);
        }
        for record in records {
            window.push(record, self.bounds);
        }
        state.tell();
    }

    fn reset(&self, head: Position) {
        let mut state = self.state.lock();
        state.window = Some(Window::starting_at(head));
        state.tell();
    }
}

impl State {
    fn tell(&mut self) {
        for seat in &mut self.listeners {
            if !std::mem::replace(&mut seat.told, true) {
                seat.listener.advanced(seat.tag);
            }
        }
    }
}
