//! Runs in the gateway: the one place where the state machine of `towline-runs` meets the log.
//!
//! Who asks whether an event of a run is taken appends it before it lets go of the lock, and a stop appends its notices under the same
//! lock, for writing. The log takes appends in the order of the calls, so everything of a run that was taken stands before the stop's
//! position, on every topic, and nothing behind it.
//!
//! Lock order: the registry → the log's own locks. Nothing below calls back into this module.

mod admit;
mod load;
mod order;
mod speaker;
mod upkeep;

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use towline_clock::Clock;
use towline_log::{Appended, EventLog};
use towline_protocol::{NewEvent, TopicName};
use towline_runs::{Counts, Moment, Registry};

use crate::config::RunSettings;

pub use admit::{Tag, Taken};
pub use order::{Done, Placed};
pub use speaker::Speaker;

/// Notices that could not be appended and wait to be said again. Beyond this many the oldest are dropped, and an error says so: the
/// states themselves are not among them and stay in force.
const UNSAID_MAX: usize = 10_000;
/// Events of one call of the log, so that a brake on very many runs fits its queue.
const EVENTS_PER_CALL_MAX: usize = 1_000;

/// All runs and brakes of a server.
pub struct Runs {
    registry: RwLock<Registry>,
    log: Arc<dyn EventLog>,
    clock: Clock,
    /// Sees to it that what an append brings with it is settled even if nobody waits for its answer.
    runtime: Option<Handle>,
    unsaid: Mutex<VecDeque<NewEvent>>,
    /// Grows when something was appended to control topics.
    told: watch::Sender<u64>,
    /// Long polls that may wait at once.
    waiters: Arc<Semaphore>,
}

impl Runs {
    /// No runs yet. What the log holds of them is taken up by [`Runs::load`].
    #[must_use]
    pub fn new(settings: &RunSettings, dedup_window: std::time::Duration, clock: Clock, log: Arc<dyn EventLog>) -> Arc<Self> {
        Arc::new(Self {
            registry: RwLock::new(Registry::new(settings.limits(dedup_window))),
            log,
            clock,
            runtime: Handle::try_current().ok(),
            unsaid: Mutex::default(),
            told: watch::Sender::new(0),
            waiters: Arc::new(Semaphore::new(settings.waiters_max)),
        })
    }

    /// Looks at the registry.
    pub fn read<T>(&self, look: impl FnOnce(&Registry, Moment) -> T) -> T {
        look(&self.registry.read(), Moment::of(&self.clock))
    }

    /// How many there are.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.registry.read().counts()
    }

    /// Hears of each append to control topics.
    pub(crate) fn told(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }

    /// Places for long polls.
    pub(crate) fn waiters(&self) -> Arc<Semaphore> {
        Arc::clone(&self.waiters)
    }

    /// Whether a topic is the control topic of a run that this one began or whose user they are.
    #[must_use]
    pub fn may_follow_control(&self, speaker: &Speaker, topic: &TopicName) -> bool {
        let Some(run_id) = topic.as_str().strip_prefix("control:") else { return false };
        self.registry.read().owners(run_id).is_some_and(|owners| speaker.owns(owners))
    }
}

/// The answer of an append: one for each event.
type Positions = Vec<Appended>;
