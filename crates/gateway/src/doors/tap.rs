//! A tap: cursors that are no connection's, for an operator who looks at topics live. Woken like a reactor thread is, served from the log.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use towline_hub::{Attachment, Hub, Joined, Listener, ListenerId};
use towline_log::{Direction, Gap, Read, ReadError, Record, Start};
use towline_protocol::{Epoch, Position, StartRequest, TopicName};

/// Taps at the same time.
const TAPS_MAX: usize = 16;
const PAGE_EVENTS_MAX: usize = 256;
const PAGE_BYTES_MAX: usize = 256 * 1024;

/// Where taps are opened.
pub struct Taps {
    hub: Hub,
    listener: ListenerId,
    bells: Arc<Bells>,
    free: Arc<Semaphore>,
}

/// Lock order: a topic's lock, then this one.
#[derive(Default)]
struct Bells(Mutex<Slab<Arc<Notify>>>);

impl Listener for Bells {
    fn advanced(&self, tag: u32) {
        // A bell of a tap that has just been closed may be another's by now, who looks once for nothing.
        if let Some(bell) = self.0.lock().get(tag as usize) {
            bell.notify_one();
        }
    }
}

/// Cursors of an operator. Dropping it lets go of the topics.
pub struct Tap {
    hub: Hub,
    listener: ListenerId,
    bells: Arc<Bells>,
    bell: Arc<Notify>,
    tag: u32,
    cursors: Vec<Cursor>,
    _place: OwnedSemaphorePermit,
}

struct Cursor {
    attachment: Attachment,
    after: Position,
    /// What could not be given at the beginning.
    gap: Option<Gap>,
}

/// A piece of a topic.
pub struct Drawn {
    /// The topic.
    pub topic: TopicName,
    /// The history it belongs to.
    pub epoch: Epoch,
    /// What lay before and is gone.
    pub gap: Option<Gap>,
    /// Its events.
    pub records: Vec<Record>,
}

impl Taps {
    pub(super) fn new(hub: &Hub) -> Self {
        let bells = Arc::new(Bells::default());
        let listener = hub.register(Arc::clone(&bells) as Arc<dyn Listener>);
        Self { hub: hub.clone(), listener, bells, free: Arc::new(Semaphore::new(TAPS_MAX)) }
    }

    /// Opens a tap; `None` if too many are open.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub(super) async fn open(&self, topics: &[TopicName], start: &StartRequest) -> Result<Option<Tap>, ReadError> {
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else { return Ok(None) };
        let mut cursors = Vec::with_capacity(topics.len());
        for topic in topics {
            let Joined { attachment, from, gap, .. } = self.hub.join(topic, start).await?;
            cursors.push(Cursor { attachment, after: from, gap });
        }
        let bell = Arc::new(Notify::new());
        let tag = self.bells.0.lock().insert(Arc::clone(&bell)) as u32;
        for cursor in &cursors {
            cursor.attachment.topic().listen(self.listener, tag);
        }
        // What came between the join and now rang nobody.
        bell.notify_one();
        let (hub, listener, bells) = (self.hub.clone(), self.listener, Arc::clone(&self.bells));
        Ok(Some(Tap { hub, listener, bells, bell, tag, cursors, _place: place }))
    }
}

impl Tap {
    /// Waits until there may be something new, at most so long; whether there may.
    pub async fn wait(&self, most: Duration) -> bool {
        tokio::time::timeout(most, self.bell.notified()).await.is_ok()
    }

    /// The next piece of any topic; `None` if all cursors are at their heads: [`Tap::wait`] then. Cancellation safe.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn draw(&mut self) -> Result<Option<Drawn>, ReadError> {
        for cursor in &mut self.cursors {
            let topic = cursor.attachment.topic();
            let head = topic.look(self.listener, self.tag);
            if cursor.gap.is_none() && head.is_none_or(|head| head == cursor.after) {
                continue;
            }
            let name = topic.name().clone();
            let (start, direction) = (Start::At(cursor.after), Direction::Forward);
            let read = Read { topic: name.clone(), start, direction, events_max: PAGE_EVENTS_MAX, bytes_max: PAGE_BYTES_MAX };
            let page = self.hub.log().read(read).await?;
            cursor.after = page.to_position();
            let gap = cursor.gap.take().or(page.gap);
            if gap.is_some() || !page.records.is_empty() {
                return Ok(Some(Drawn { topic: name, epoch: page.epoch, gap, records: page.records }));
            }
        }
        Ok(None)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        for cursor in &self.cursors {
            cursor.attachment.topic().unlisten(self.listener, self.tag);
        }
        self.bells.0.lock().try_remove(self.tag as usize);
    }
}
