//! Limits per user.

use crate::config::setting::Meaning::Same;
use crate::config::setting::Setting;

/// Limits per user. Read and kept; they are not enforced yet.
#[derive(Debug, Clone)]
pub struct UserSettings {
    /// Connections of one user at once.
    pub connections_max: u32,
    /// Messages of one user in a minute.
    pub messages_per_minute_max: u32,
}

impl Default for UserSettings {
    fn default() -> Self {
        Self { connections_max: 5, messages_per_minute_max: 60 }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged(
            "users.connections_max",
            (1, 1_000_000),
            |c| &mut c.users.connections_max,
            "connections of one user (kept, not enforced yet)",
        )
        .alias("WEBSOCKET_MAX_CONNECTIONS_PER_USER", Same),
        Setting::ranged(
            "users.messages_per_minute_max",
            (1, 1_000_000),
            |c| &mut c.users.messages_per_minute_max,
            "messages of one user in a minute (kept, not enforced yet)",
        )
        .alias("WEBSOCKET_MAX_MESSAGE_RATE", Same),
    ]
}
