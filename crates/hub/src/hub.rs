//! The topics that somebody watches, and how a cursor is placed.

mod census;

use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use towline_log::{Direction, EventLog, Gap, Read, ReadError, Start};
use towline_protocol::{Epoch, Position, StartRequest, TopicName};

use crate::run::Run;
use crate::topic::{Listener, ListenerId, Topic, TopicSettings};
use crate::window::Bounds;
use crate::{EncodeFrame, FORMATS_MAX};

/// What the hub may keep in memory.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Events in a topic's window. A cursor further back reads the log.
    pub window_events_max: usize,
    /// Bytes of event bodies in a topic's window. Frames come on top, about as much again per format in use.
    pub window_bytes_max: usize,
    /// Bytes of event bodies in one page of catch-up. A connection that catches up owns at most two pages of frames.
    pub page_bytes_max: usize,
    /// Pages being read at the same time, over all connections.
    pub pages_in_flight_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window_events_max: 500, window_bytes_max: 1 << 20, page_bytes_max: 128 * 1024, pages_in_flight_max: 64 }
    }
}

/// A page holds at most this many events, however small.
const PAGE_EVENTS_MAX: usize = 4096;
/// Threads attach and detach at the same time; a power of two.
const SHARDS: usize = 16;

struct Watched {
    topic: Arc<Topic>,
    attachments: u32,
}

/// The topics that somebody watches. Cheap to clone.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    log: Arc<dyn EventLog>,
    topic_settings: Arc<TopicSettings>,
    settings: Settings,
    pages: Semaphore,
    /// Keyed by the topic's own name. Lock order: a shard's lock, then the log's own. No topic's lock is taken under it.
    shards: [Mutex<HashTable<Watched>>; SHARDS],
}

/// Keeps a topic watched as long as it lives.
pub struct Attachment {
    hub: Hub,
    topic: Arc<Topic>,
}

/// A cursor's place, and all that its owner must be told.
pub struct Joined {
    /// Keeps the topic watched.
    pub attachment: Attachment,
    /// Delivery begins after this position.
    pub from: Position,
    /// The head at that moment.
    pub head: Position,
    /// What was asked for and cannot be given.
    pub gap: Option<Gap>,
}

/// A piece of the log for a cursor behind the window.
#[derive(Debug)]
pub struct CatchUpPage {
    /// The history it belongs to.
    pub epoch: Epoch,
    /// The frames; `None` if nothing follows the cursor.
    pub run: Option<Arc<Run>>,
    /// What lay between the cursor and the first frame and is gone.
    pub gap: Option<Gap>,
}

impl Hub {
    /// A hub over a log. `encode` writes an event as a frame of the given format, below [`FORMATS_MAX`].
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>, encode: EncodeFrame, settings: Settings) -> Self {
        let pages = Semaphore::new(settings.pages_in_flight_max.max(1));
        let bounds = Bounds { events_max: settings.window_events_max, bytes_max: settings.window_bytes_max };
        let topic_settings = Arc::new(TopicSettings::new(encode, bounds));
        Self(Arc::new(Inner { log, topic_settings, settings, pages, shards: Default::default() }))
    }

    /// Makes a listener known, once, so that topics can name it.
    #[must_use]
    pub fn register(&self, listener: Arc<dyn Listener>) -> ListenerId {
        self.0.topic_settings.register(listener)
    }

    /// The log underneath.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.0.log
    }

    /// How many topics are watched.
    #[must_use]
    pub fn watched_topics(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Starts to watch a topic, or joins those who do.
    ///
    /// # Errors
    /// If the log cannot be read; nothing stays attached.
    pub async fn attach(&self, name: &TopicName) -> Result<Attachment, ReadError> {
        let topic = {
            let hash = hash(name);
            let mut shard = self.shard(hash).lock();
            let watched = match shard.entry(hash, |watched| watched.topic.name() == name, hash_of) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let topic = Arc::new(Topic::new(name.clone(), Arc::clone(&self.0.topic_settings)));
                    entry.insert(Watched { topic, attachments: 0 }).into_mut()
                }
            };
            watched.attachments += 1;
            Arc::clone(&watched.topic)
        };
        let attachment = Attachment { hub: self.clone(), topic };
        if !attachment.topic.is_open() {
            // Whoever comes while this is under way follows too: the same follower again, so nothing is lost or doubled.
            let follower = Arc::clone(&attachment.topic);
            let head = self.0.log.follow(name, follower).await?;
            attachment.topic.open_at(head);
        }
        Ok(attachment)
    }

    /// Places a cursor.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn join(&self, name: &TopicName, start: &StartRequest) -> Result<Joined, ReadError> {
        let attachment = self.attach(name).await?;
        let head = attachment.topic.head();
        if let (Some(head), StartRequest::Latest) = (head, start) {
            return Ok(Joined { attachment, from: head, head, gap: None });
        }
        if let (Some(head), &StartRequest::After(from)) = (head, start)
            && attachment.topic.holds_after(from)
        {
            return Ok(Joined { attachment, from, head, gap: None });
        }
        let start = match start {
            StartRequest::Latest => Start::Latest,
            StartRequest::Earliest => Start::Earliest,
            StartRequest::After(position) => Start::At(*position),
            StartRequest::AfterId(id) => Start::Id(id.clone()),
            StartRequest::Since(ms) => Start::Time(*ms),
        };
        let page = self.read(name, start, 1).await?;
        let from = page.gap.map_or_else(|| page.from_position(), |gap| gap.resume_after);
        let head = Position { epoch: page.epoch, offset: page.head };
        Ok(Joined { attachment, from, head, gap: page.gap })
    }

    /// Reads and encodes what follows a cursor. Waits its turn if many read.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn catch_up(&self, topic: &TopicName, format: usize, after: Position) -> Result<CatchUpPage, ReadError> {
        debug_assert!(format < FORMATS_MAX, "formats are a small fixed table");
        // The semaphore is never closed, so a refusal cannot come.
        let _turn = self.0.pages.acquire().await;
        let page = self.read(topic, Start::At(after), PAGE_EVENTS_MAX).await?;
        let run = Run::encode(&self.0.topic_settings.encode, format, topic, page.epoch, page.records.iter()).map(Arc::new);
        Ok(CatchUpPage { epoch: page.epoch, run, gap: page.gap })
    }

    async fn read(&self, topic: &TopicName, start: Start, events_max: usize) -> Result<towline_log::Page, ReadError> {
        let bytes_max = self.0.settings.page_bytes_max;
        self.0.log.read(Read { topic: topic.clone(), start, direction: Direction::Forward, events_max, bytes_max }).await
    }

    fn shard(&self, hash: u64) -> &Mutex<HashTable<Watched>> {
        &self.0.shards[(hash >> 32) as usize % SHARDS]
    }
}

/// FNV-1a. Names are bounded and clients cannot watch more of them than their grants and their limit allow, so that flooding a bucket gains nobody
/// more than any other load.
fn hash(name: &TopicName) -> u64 {
    name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn hash_of(watched: &Watched) -> u64 {
    hash(watched.topic.name())
}

impl Attachment {
    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let name = self.topic.name();
        let hash = hash(name);
        let mut shard = self.hub.shard(hash).lock();
        let Ok(mut watched) = shard.find_entry(hash, |watched| watched.topic.name() == name) else { return };
        watched.get_mut().attachments -= 1;
        if watched.get().attachments == 0 {
            watched.remove();
            // Under the lock, so that it cannot overtake the follow of whoever comes next.
            self.hub.0.log.unfollow(name);
        }
    }
}
