//! Limits per user.

use crate::config::setting::Meaning::Same;
use crate::config::setting::Setting;
use crate::config::table::{KIB, MIB};

/// Limits per user. Services have none of these.
#[derive(Debug, Clone)]
pub struct UserSettings {
    /// Connections of one user at once, of all doors; one more closes the oldest with 4409.
    pub connections_max: u32,
    /// Messages of one user in any 60 seconds, over all connections and REST; more are answered with RATE_LIMITED.
    pub messages_per_minute_max: u32,
    /// Bytes of one message to the application, as it was sent. Some KiB of text are a long message; the limit keeps an inbox readable
    /// and the application's own requests small.
    pub message_bytes_max: usize,
}

impl Default for UserSettings {
    fn default() -> Self {
        Self { connections_max: 5, messages_per_minute_max: 60, message_bytes_max: 10 << 10 }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged(
            "users.connections_max",
            (1, 10_000),
            |c| &mut c.users.connections_max,
            "connections of one user; one more closes the oldest with 4409",
        )
        .alias("WEBSOCKET_MAX_CONNECTIONS_PER_USER", Same),
        Setting::ranged(
            "users.messages_per_minute_max",
            (1, 60_000),
            |c| &mut c.users.messages_per_minute_max,
            "messages of one user in a minute; more are answered with RATE_LIMITED",
        )
        .alias("WEBSOCKET_MAX_MESSAGE_RATE", Same),
        Setting::ranged(
            "users.message_bytes_max",
            (KIB / 4, MIB),
            |c| &mut c.users.message_bytes_max,
            "bytes of one message to the application",
        ),
    ]
}
