//! A log that misbehaves on request: late, refusing, unreadable, or silent towards its followers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use towline_log::{
    AppendError, Appended, Bounds, Epoch, EventLog, Follower, Health, LogFuture, LogStats, NewEvent, Page, Position, Read,
    ReadError, Record, TopicName,
};

/// A log around another. With no fault set it is the other.
pub struct FaultyLog {
    inner: Arc<dyn EventLog>,
    faults: Faults,
    /// Where delays are waited for: whoever polls a log's future need not have a timer.
    runtime: Handle,
}

/// The faults of a [`FaultyLog`], to be set while it is in use. Cheap to clone.
#[derive(Clone, Default)]
pub struct Faults(Arc<Inner>);

#[derive(Default)]
struct Inner {
    refusal: Mutex<Option<AppendError>>,
    forgetful: AtomicBool,
    unreadable: Mutex<Option<ReadError>>,
    acknowledge_after_ms: AtomicU64,
    read_after_ms: AtomicU64,
    reads_held: watch::Sender<bool>,
    appends: AtomicU64,
    reads: AtomicU64,
    /// Lock order: this lock, then a follower's own.
    deliveries: Mutex<Deliveries>,
}

#[derive(Default)]
struct Deliveries {
    held: bool,
    waiting: HashMap<TopicName, VecDeque<Delivery>>,
}

enum Delivery {
    Committed(Arc<dyn Follower>, Epoch, Vec<Record>),
    Reset(Arc<dyn Follower>, Position),
}

impl FaultyLog {
    /// Wraps a log.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    #[must_use]
    pub fn around(inner: Arc<dyn EventLog>) -> (Arc<Self>, Faults) {
        let faults = Faults::default();
        (Arc::new(Self { inner, faults: faults.clone(), runtime: Handle::current() }), faults)
    }

    /// What `work` answers, once `delay` is over too.
    fn late<T: Send + 'static>(&self, work: LogFuture<T>, delay: impl Future<Output = ()> + Send + 'static) -> LogFuture<T> {
        let (sender, receiver) = oneshot::channel();
        self.runtime.spawn(async move {
            let answer = work.await;
            delay.await;
            let _ = sender.send(answer);
        });
        Box::pin(async move {
            match receiver.await {
                Ok(answer) => answer,
                // The test is over, and with it the runtime that would have answered.
                Err(_) => std::future::pending().await,
            }
        })
    }
}

impl Faults {
    /// Refuses all appends with this error, or takes them again.
    pub fn refuse_appends(&self, error: Option<AppendError>) {
        *self.0.refusal.lock() = error;
    }

    /// Takes appends and does not say where they stand, which an engine must not do.
    pub fn forget_positions(&self) {
        self.0.forgetful.store(true, Ordering::SeqCst);
    }

    /// Fails all reads with this error, or answers them again.
    pub fn fail_reads(&self, error: Option<ReadError>) {
        *self.0.unreadable.lock() = error;
    }

    /// Acknowledges appends this much after they were stored and handed to the followers.
    pub fn acknowledge_after(&self, delay: Duration) {
        self.0.acknowledge_after_ms.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Answers reads this much after they were made: what they say is then out of date.
    pub fn read_after(&self, delay: Duration) {
        self.0.read_after_ms.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Keeps the answers of reads that are made from now on until [`Faults::release_reads`]: they say what was true before.
    pub fn hold_reads(&self) {
        self.0.reads_held.send_replace(true);
    }

    /// Gives the answers that were kept, and later ones at once.
    pub fn release_reads(&self) {
        self.0.reads_held.send_replace(false);
    }

    /// Keeps what followers should get until [`Faults::release_deliveries`].
    pub fn hold_deliveries(&self) {
        self.0.deliveries.lock().held = true;
    }

    /// Hands over what was kept, in order, and everything later at once.
    pub fn release_deliveries(&self) {
        let mut deliveries = self.0.deliveries.lock();
        deliveries.held = false;
        for delivery in deliveries.waiting.drain().flat_map(|(_, waiting)| waiting) {
            delivery.hand_over();
        }
    }

    /// How many appends were asked for.
    #[must_use]
    pub fn appends(&self) -> u64 {
        self.0.appends.load(Ordering::SeqCst)
    }

    /// How many reads were asked for.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.0.reads.load(Ordering::SeqCst)
    }

    fn deliver(&self, topic: &TopicName, delivery: Delivery) {
        let mut deliveries = self.0.deliveries.lock();
        if deliveries.held {
            deliveries.waiting.entry(topic.clone()).or_default().push_back(delivery);
        } else {
            delivery.hand_over();
        }
    }
}

impl Delivery {
    fn hand_over(self) {
        match self {
            Self::Committed(follower, epoch, records) => follower.committed(epoch, &records),
            Self::Reset(follower, head) => follower.reset(head),
        }
    }
}

/// Stands between the log and the real follower.
struct Relay {
    topic: TopicName,
    faults: Faults,
    follower: Arc<dyn Follower>,
}

impl Follower for Relay {
    fn committed(&self, epoch: Epoch, records: &[Record]) {
        self.faults.deliver(&self.topic, Delivery::Committed(Arc::clone(&self.follower), epoch, records.to_vec()));
    }

    fn reset(&self, head: Position) {
        self.faults.deliver(&self.topic, Delivery::Reset(Arc::clone(&self.follower), head));
    }
}

impl EventLog for FaultyLog {
    fn append(&self, events: Vec<NewEvent>) -> LogFuture<Result<Vec<Appended>, AppendError>> {
        self.faults.0.appends.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.faults.0.refusal.lock().clone() {
            return Box::pin(std::future::ready(Err(error)));
        }
        if self.faults.0.forgetful.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Ok(Vec::new())));
        }
        let ms = self.faults.0.acknowledge_after_ms.load(Ordering::SeqCst);
        let appending = self.inner.append(events);
        if ms == 0 { appending } else { self.late(appending, async move { tokio::time::sleep(Duration::from_millis(ms)).await }) }
    }

    fn read(&self, read: Read) -> LogFuture<Result<Page, ReadError>> {
        self.faults.0.reads.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = self.faults.0.unreadable.lock().clone() {
            return Box::pin(std::future::ready(Err(error)));
        }
        let ms = self.faults.0.read_after_ms.load(Ordering::SeqCst);
        let reading = self.inner.read(read);
        let mut held = self.faults.0.reads_held.subscribe();
        if ms == 0 && !*held.borrow() {
            return reading;
        }
        self.late(reading, async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            // An error means that the test is over.
            let _ = held.wait_for(|held| !*held).await;
        })
    }

    fn bounds(&self, topic: &TopicName) -> LogFuture<Result<Bounds, ReadError>> {
        self.inner.bounds(topic)
    }

    fn follow(&self, topic: &TopicName, follower: Arc<dyn Follower>) -> LogFuture<Result<Position, ReadError>> {
        if let Some(error) = self.faults.0.unreadable.lock().clone() {
            return Box::pin(std::future::ready(Err(error)));
        }
        self.inner.follow(topic, Arc::new(Relay { topic: topic.clone(), faults: self.faults.clone(), follower }))
    }

    fn unfollow(&self, topic: &TopicName) {
        self.inner.unfollow(topic);
    }

    fn health(&self) -> Health {
        match &*self.faults.0.refusal.lock() {
            Some(error) => Health::Refusing(error.to_string().into()),
            None => self.inner.health(),
        }
    }

    fn stats(&self) -> LogStats {
        self.inner.stats()
    }

    fn close(&self) -> LogFuture<()> {
        self.inner.close()
    }
}
