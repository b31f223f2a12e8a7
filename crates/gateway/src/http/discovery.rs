//! `GET /ws/config`: where the unified socket is, what it can do and what it allows. The same for everybody, so it needs no token and
//! says nothing about anybody.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use towline_protocol::message::Features;

use crate::offer;
use crate::shared::Shared;

/// The answer of `/ws/config`.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Discovery {
    /// All of it.
    pub websocket_config: SocketOffer,
}

/// What a client needs to know before it connects.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct SocketOffer {
    /// The version of this answer's form.
    pub version: &'static str,
    /// What there is.
    pub features: Features,
    /// Where it is.
    pub endpoints: Endpoints,
    /// What is in force.
    pub connection_limits: OfferedLimits,
}

/// Paths on this server.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Endpoints {
    /// The unified socket; the native one with the subprotocol `towline.v1`.
    pub websocket: &'static str,
    /// The topic hub.
    pub hub: &'static str,
    /// Server-Sent Events.
    pub stream: &'static str,
    /// Messages to the application over REST.
    pub messages: &'static str,
}

/// Limits, under the names that clients of the unified socket know.
#[derive(Debug, serde::Serialize, schemars::JsonSchema)]
pub struct OfferedLimits {
    /// Connections of one user at once.
    pub max_connections_per_user: Option<u64>,
    /// Messages of one user in a minute.
    pub max_message_rate: Option<u64>,
    /// Bytes of one message to the application.
    pub max_message_size: Option<u64>,
    /// Bytes of any message.
    pub max_frame_size: u64,
    /// Topics of one connection.
    pub max_topics_per_connection: u64,
    /// A silent client is pinged after this many milliseconds.
    pub heartbeat_interval: u64,
    /// A client that was silent for this many milliseconds is closed with 4408.
    pub idle_timeout: u64,
}

pub(super) async fn config(State(shared): State<Arc<Shared>>) -> Json<Discovery> {
    let sockets = &shared.config.sockets;
    let limits = offer::limits(&shared.config);
    Json(Discovery {
        websocket_config: SocketOffer {
            version: "1.0",
            features: offer::features(&shared.config),
            endpoints: Endpoints { websocket: "/ws", hub: "/api/ws", stream: "/api/v1/stream", messages: "/api/v1/messages" },
            connection_limits: OfferedLimits {
                max_connections_per_user: limits.user_connections_max,
                max_message_rate: limits.user_messages_per_minute_max,
                max_message_size: limits.inbox_message_bytes_max,
                max_frame_size: limits.message_bytes_max,
                max_topics_per_connection: limits.topics_max,
                heartbeat_interval: sockets.heartbeat_interval.as_millis() as u64,
                idle_timeout: sockets.idle_timeout.as_millis() as u64,
            },
        },
    })
}
