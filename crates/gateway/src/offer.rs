//! What this server offers and allows, as its clients are told: the values that are in force.

use towline_protocol::message::{ConnectionLimits, Features};

use crate::config::Config;

/// What one connection and one user may do.
#[must_use]
pub fn limits(config: &Config) -> ConnectionLimits {
    ConnectionLimits {
        message_bytes_max: config.sockets.message_bytes_max as u64,
        topics_max: config.sockets.topics_per_connection_max as u64,
        inbox_message_bytes_max: Some(config.users.message_bytes_max as u64),
        user_connections_max: Some(u64::from(config.users.connections_max)),
        user_messages_per_minute_max: Some(u64::from(config.users.messages_per_minute_max)),
    }
}

/// What there is.
#[must_use]
pub fn features(config: &Config) -> Features {
    Features {
        json_first: true,
        auth_required: !config.development,
        heartbeat_supported: true,
        reconnection_supported: true,
        replay_supported: true,
        rooms_supported: true,
        durable_messages: true,
        token_refresh_supported: true,
        binary_supported: true,
        compression_supported: config.sockets.compression,
    }
}
