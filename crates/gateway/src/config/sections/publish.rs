//! Limits per publisher.

use crate::config::setting::Setting;

/// Limits per publisher: a service by its key, a user by the token's subject, over all connections and REST.
#[derive(Debug, Clone)]
pub struct PublishSettings {
    /// Events of one publisher in a second, on average. No limit by default: who may publish is trusted by name.
    pub events_per_second_max: Option<u32>,
    /// Events at once, before the average counts.
    pub events_burst: u32,
}

impl Default for PublishSettings {
    fn default() -> Self {
        Self { events_per_second_max: None, events_burst: 5_000 }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged_or_none(
            "publish.events_per_second_max",
            (1, 10_000_000),
            |c| &mut c.publish.events_per_second_max,
            "events of one key or user in a second; none: no limit",
        ),
        Setting::ranged(
            "publish.events_burst",
            (1, 10_000_000),
            |c| &mut c.publish.events_burst,
            "events of one of them at once",
        ),
    ]
}
