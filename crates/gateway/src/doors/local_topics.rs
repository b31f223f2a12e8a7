//! The topics that one worker's connections watch, and which connections those are.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;
use smallvec::SmallVec;
use towline_hub::{Attachment, ListenerId, Topic};
use towline_protocol::{Epoch, TopicName};

/// A seat whose connection has gone. Seats are moved together when half of them are like this.
const EMPTY: u32 = u32::MAX;

/// The topics of one worker.
pub struct LocalTopics {
    listener: ListenerId,
    topics: Slab<LocalTopic>,
    /// Numbers, keyed by their topic's name.
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// One topic and its watchers.
pub struct LocalTopic {
    attachment: Attachment,
    /// The history that all cursors of the worker count in.
    pub(super) epoch: Epoch,
    /// Slots of the connections. Most topics have one watcher: a person's own.
    seats: SmallVec<[u32; 4]>,
    empty: u32,
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
    pub(super) fn new(listener: ListenerId) -> Self {
        Self { listener, topics: Slab::new(), by_name: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }

    pub(super) fn listener(&self) -> ListenerId {
        self.listener
    }

    pub(super) fn get(&self, number: u32) -> Option<&LocalTopic> {
        self.topics.get(number as usize)
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut LocalTopic> {
        self.topics.get_mut(number as usize)
    }

    pub(super) fn number_of(&self, name: &TopicName) -> Option<u32> {
        let hash = self.hasher.hash_one(name.as_str());
        self.by_name.find(hash, |number| self.topics[*number as usize].name() == name).copied()
    }

    /// The topic's number; begins to listen if the worker does not yet.
    pub(super) fn open(&mut self, attachment: Attachment, epoch: Epoch) -> u32 {
        if let Some(number) = self.number_of(attachment.topic().name()) {
            return number;
        }
        let topic = Arc::clone(attachment.topic());
        let number = self.topics.insert(LocalTopic { attachment, epoch, seats: SmallVec::new(), empty: 0 }) as u32;
        let (topics, hasher) = (&self.topics, &self.hasher);
        let hash = |number: &u32| hasher.hash_one(topics[*number as usize].name().as_str());
        self.by_name.insert_unique(hash(&number), number, hash);
        topic.listen(self.listener, number);
        number
    }

    /// Gives a connection a seat.
    pub(super) fn sit(&mut self, number: u32, slot: u32) -> u32 {
        let Some(local) = self.topics.get_mut(number as usize) else { return EMPTY };
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
        if local.empty as usize == local.seats.len() {
            let hash = self.hasher.hash_one(local.name().as_str());
            if let Ok(entry) = self.by_name.find_entry(hash, |other| *other == number) {
                entry.remove();
            }
            let gone = self.topics.remove(number as usize);
            gone.topic().unlisten(self.listener, number);
        }
    }

    /// Moves the seats of a topic together if half of them are empty; `moved` learns each connection's new seat.
    pub(super) fn tidy(&mut self, number: u32, mut moved: impl FnMut(u32, u32)) {
        let Some(local) = self.topics.get_mut(number as usize) else { return };
        if local.empty as usize * 2 <= local.seats.len() {
            return;
        }
        local.seats.retain(|slot| *slot != EMPTY);
        local.seats.shrink_to_fit();
        local.empty = 0;
        for (seat, slot) in local.seats.iter().enumerate() {
            moved(*slot, seat as u32);
        }
    }
}
