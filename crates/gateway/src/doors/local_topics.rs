//! The topics that one worker's connections watch, and which connections those are.

use std::sync::Arc;

use hashbrown::HashMap;
use slab::Slab;
use towline_hub::{Attachment, Listener, Topic};
use towline_protocol::{Epoch, TopicName};

/// A seat whose connection has gone. Seats are moved together when half of them are like this.
const EMPTY: u32 = u32::MAX;

/// The topics of one worker.
pub struct LocalTopics {
    listener: Arc<dyn Listener>,
    topics: Slab<LocalTopic>,
    by_name: HashMap<TopicName, u32>,
}

/// One topic and its watchers.
pub struct LocalTopic {
    attachment: Attachment,
    /// The history that all cursors of the worker count in.
    pub(super) epoch: Epoch,
    /// Slots of the connections.
    seats: Vec<u32>,
    empty: usize,
}

impl LocalTopic {
    pub(super) fn topic(&self) -> &Arc<Topic> {
        self.attachment.topic()
    }

    pub(super) fn name(&self) -> &TopicName {
        self.topic().name()
    }

    /// Slots of the connections that watch, in the order in which they came.
    pub(super) fn watchers(&self) -> usize {
        self.seats.len()
    }

    pub(super) fn watcher(&self, seat: usize) -> Option<u32> {
        self.seats.get(seat).copied().filter(|slot| *slot != EMPTY)
    }
}

impl LocalTopics {
    pub(super) fn new(listener: Arc<dyn Listener>) -> Self {
        Self { listener, topics: Slab::new(), by_name: HashMap::new() }
    }

    pub(super) fn listener(&self) -> &Arc<dyn Listener> {
        &self.listener
    }

    pub(super) fn get(&self, number: u32) -> Option<&LocalTopic> {
        self.topics.get(number as usize)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut LocalTopic> {
        self.topics.get_mut(number as usize)
    }

    pub(super) fn number_of(&self, name: &TopicName) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The topic's number; begins to listen if the worker does not yet.
    pub(super) fn open(&mut self, attachment: Attachment, epoch: Epoch) -> u32 {
        let name = attachment.topic().name().clone();
        if let Some(number) = self.number_of(&name) {
            return number;
        }
        let topic = Arc::clone(attachment.topic());
        let number = self.topics.insert(LocalTopic { attachment, epoch, seats: Vec::new(), empty: 0 }) as u32;
        self.by_name.insert(name, number);
        topic.listen(Arc::clone(&self.listener), number);
        number
    }

    /// Gives a connection a seat.
    pub(super) fn sit(&mut self, number: u32, slot: u32) -> u32 {
        let Some(local) = self.topics.get_mut(number as usize) else { return EMPTY };
        if local.seats.is_empty() {
            // Most topics have one watcher: a user's own.
            local.seats.reserve_exact(1);
        }
        local.seats.push(slot);
        local.seats.len() as u32 - 1
    }

    /// Takes a seat back; the topic is let go of when it was the last.
    pub(super) fn leave(&mut self, number: u32, seat: u32) {
        let Some(local) = self.topics.get_mut(number as usize) else { return };
        if let Some(slot) = local.seats.get_mut(seat as usize) {
            *slot = EMPTY;
            local.empty += 1;
        }
        if local.empty == local.seats.len() {
            let gone = self.topics.remove(number as usize);
            self.by_name.remove(gone.name());
            gone.topic().unlisten(&self.listener, number);
        }
    }

    /// Moves the seats of a topic together if half of them are empty; `moved` learns each connection's new seat.
    pub(super) fn tidy(&mut self, number: u32, mut moved: impl FnMut(u32, u32)) {
        let Some(local) = self.topics.get_mut(number as usize) else { return };
        if local.empty * 2 <= local.seats.len() {
            return;
        }
        local.seats.retain(|slot| *slot != EMPTY);
        local.empty = 0;
        for (seat, slot) in local.seats.iter().enumerate() {
            moved(*slot, seat as u32);
        }
    }
}
