//! What an event may carry.

use crate::config::setting::Setting;
use crate::config::table::{KIB, MIB};
use towline_protocol::EventLimits;

/// What an event may carry.
#[derive(Debug, Clone)]
pub struct EventSettings {
    /// Bytes of an event's `data` after white space is removed.
    pub data_bytes_max: usize,
    /// Nesting of arrays and objects in `data`.
    pub depth_max: usize,
    /// Events of one `publish` message or one JSON array. NDJSON has no such limit: it is taken in chunks of this many.
    pub batch_events_max: usize,
}

impl Default for EventSettings {
    fn default() -> Self {
        let limits = EventLimits::default();
        Self { data_bytes_max: limits.data_bytes_max, depth_max: limits.depth_max, batch_events_max: 1_000 }
    }
}

impl EventSettings {
    /// As the protocol's checks take it.
    #[must_use]
    pub fn limits(&self) -> EventLimits {
        EventLimits { data_bytes_max: self.data_bytes_max, depth_max: self.depth_max }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged(
            "events.data_bytes_max",
            (KIB, 64 * MIB),
            |c| &mut c.events.data_bytes_max,
            "bytes of an event's data without white space",
        ),
        Setting::ranged("events.depth_max", (1, 120), |c| &mut c.events.depth_max, "nesting of an event's data"),
        Setting::ranged(
            "events.batch_events_max",
            (1, 100_000),
            |c| &mut c.events.batch_events_max,
            "events of one message or JSON array",
        ),
    ]
}
