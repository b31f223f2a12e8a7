//! Runs: how many are known, how long they may be silent, what ends them.

use std::time::Duration;

use towline_log::{Durability, Retention, TopicPolicy};
use towline_runs::{Limits, Registry};

use crate::config::setting::Setting;
use crate::config::table::secs;

/// The shortest and the longest lease that a run may ask for: shorter ones would be lost to a pause of the network.
pub const LEASE_RANGE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(24 * 3600));

/// Runs and brakes.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Runs known at once, ended ones included: about 1 KiB of memory each. When it is reached, the longest ended are forgotten.
    pub known_max: usize,
    /// Brakes engaged at once: about 300 bytes each.
    pub brakes_max: usize,
    /// The lease of a run that was begun by request and named none.
    pub lease: Duration,
    /// The lease of a run that its first event began: its publisher knows of no leases.
    pub lease_implicit: Duration,
    /// A stopped run that has not acknowledged after this long counts as stuck.
    pub stop_timeout: Duration,
    /// Ended and stopped runs are remembered this long at most; a stopped run's id is refused as long.
    pub remember: Duration,
    /// Types of events that end a run.
    pub terminal_types: Vec<String>,
    /// Long polls for control events at once: a task and a connection each.
    pub waiters_max: usize,
}

impl Default for RunSettings {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            known_max: limits.known_max,
            brakes_max: limits.brakes_max,
            lease: limits.lease,
            lease_implicit: limits.lease_implicit,
            stop_timeout: limits.stop_timeout,
            remember: limits.remember,
            terminal_types: Limits::TERMINAL_TYPES.map(str::to_owned).to_vec(),
            waiters_max: 1_024,
        }
    }
}

impl RunSettings {
    /// As the state machine takes them. `dedup_window` is the log's.
    #[must_use]
    pub fn limits(&self, dedup_window: Duration) -> Limits {
        Limits {
            known_max: self.known_max,
            brakes_max: self.brakes_max,
            lease: self.lease,
            lease_implicit: self.lease_implicit,
            stop_timeout: self.stop_timeout,
            remember: self.remember,
            repeat: dedup_window,
            terminal_types: self.terminal_types.iter().map(|kind| kind.as_str().into()).collect(),
        }
    }

    /// What holds for the topic of runs' states: always on the device, and never trimmed by age, because a stop is in force until it is
    /// forgotten. What is still needed is written again before so many newer records stand behind it.
    #[must_use]
    pub fn state_policy(&self) -> TopicPolicy {
        let events_max = Registry::records_kept(&self.limits(Duration::ZERO));
        TopicPolicy {
            durability: Durability::Fsync,
            retention: Retention { age_max: None, events_max: Some(events_max), bytes_max: None },
        }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged(
            "runs.known_max",
            (100, 1_000_000),
            |c| &mut c.runs.known_max,
            "runs known at once, ended ones included; about 1 KiB each",
        ),
        Setting::ranged("runs.brakes_max", (100, 1_000_000), |c| &mut c.runs.brakes_max, "brakes engaged at once"),
        Setting::ranged("runs.lease", LEASE_RANGE, |c| &mut c.runs.lease, "a silent run is lost after this long"),
        Setting::ranged(
            "runs.lease_implicit",
            LEASE_RANGE,
            |c| &mut c.runs.lease_implicit,
            "the same for runs that their first event began",
        ),
        Setting::ranged(
            "runs.stop_timeout",
            secs(1, 3_600),
            |c| &mut c.runs.stop_timeout,
            "a stopped run that has not acknowledged after this long counts as stuck",
        ),
        Setting::ranged(
            "runs.remember",
            secs(3_600, 365 * 86_400),
            |c| &mut c.runs.remember,
            "how long ended and stopped runs are remembered at most",
        ),
        Setting::new("runs.terminal_types", |c| &mut c.runs.terminal_types, "types of events that end a run"),
        Setting::ranged("runs.waiters_max", (1, 100_000), |c| &mut c.runs.waiters_max, "long polls for control events at once"),
    ]
}
