//! What runs may take, and how long they may be silent.

use std::time::Duration;

use hashbrown::HashSet;

/// The longest run id in bytes: it stands in the name of the run's control topic.
pub const RUN_ID_BYTES_MAX: usize = 128;
/// Topics that one run may use: a stop is said on each of them.
pub const TOPICS_MAX: usize = 16;

/// Bounds and times. Each is a setting of the gateway.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Runs that are known at once, ended ones included: about 1 KiB each.
    pub known_max: usize,
    /// Brakes that are engaged at once: about 300 bytes each.
    pub brakes_max: usize,
    /// The lease of a run that was begun explicitly and named none.
    pub lease: Duration,
    /// The lease of a run that its first event began: such publishers know of no leases.
    pub lease_implicit: Duration,
    /// How long a stopped run may take to acknowledge before it counts as stuck, and a resumed one to show a sign of life.
    pub stop_timeout: Duration,
    /// How long ended and stopped runs are remembered at most.
    pub remember: Duration,
    /// How long the log knows an event's id: a repeated terminal event is let through to it that long.
    pub repeat: Duration,
    /// Types of events that end a run.
    pub terminal_types: HashSet<Box<str>>,
}

impl Limits {
    /// The types that end a run if nothing else is configured.
    pub const TERMINAL_TYPES: [&'static str; 10] = [
        "agent.completed",
        "agent.error",
        "agent.cancelled",
        "agent.stopped",
        "agent_completed",
        "run.completed",
        "run.failed",
        "run.cancelled",
        "RUN_FINISHED",
        "RUN_ERROR",
    ];
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            known_max: 50_000,
            brakes_max: 10_000,
            lease: Duration::from_secs(60),
            lease_implicit: Duration::from_secs(15 * 60),
            stop_timeout: Duration::from_secs(30),
            remember: Duration::from_secs(7 * 24 * 3600),
            repeat: Duration::from_secs(10 * 60),
            terminal_types: Self::TERMINAL_TYPES.iter().map(|kind| (*kind).into()).collect(),
        }
    }
}
