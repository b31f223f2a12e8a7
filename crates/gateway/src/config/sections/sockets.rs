//! Sockets and event streams.

use std::time::Duration;

use crate::config::setting::Meaning::Milliseconds;
use crate::config::setting::Setting;
use crate::config::table::{KIB, MIB, millis};

/// Sockets and event streams.
#[derive(Debug, Clone)]
pub struct SocketSettings {
    /// A client that was silent this long is pinged.
    pub heartbeat_interval: Duration,
    /// A client that was silent this long is closed with 4408.
    pub idle_timeout: Duration,
    /// A client that accepted no bytes this long is closed with 4410.
    pub stall_timeout: Duration,
    /// From accept to the end of the handshake's headers and, for upgrades, to the 101.
    pub handshake_timeout: Duration,
    /// Connections that have not finished a handshake, at most; more are refused at once.
    pub handshakes_pending_max: usize,
    /// Connections at once, of all doors and REST together.
    pub connections_max: usize,
    /// Bytes of a request's header section.
    pub header_bytes_max: usize,
    /// Header lines of a request.
    pub headers_max: usize,
    /// Bytes of one message from a client; more is closed with 1009.
    pub message_bytes_max: usize,
    /// Topics that one connection may follow at once.
    pub topics_per_connection_max: usize,
    /// Topics that one connection may ask for in a second: each may cost a read of the log. A request that begins below it is taken whole.
    pub subscriptions_per_second_max: u32,
    /// Events of a topic's shared window. A socket that is further behind reads the log.
    pub window_events: usize,
    /// Bytes of a topic's shared window, per dialect in use.
    pub window_bytes: usize,
    /// Bytes of private replies (acks, errors, pongs) that may wait on one connection.
    pub outbox_bytes_max: usize,
    /// Reactor threads; by default one for two cores, because the log's writer and HTTP need the others. Measured on 2 cores: the same
    /// deliveries per second of wall time as with two, and a fifth more appends per second of CPU.
    pub workers: usize,
    /// `TCP_NOTSENT_LOWAT`: unsent bytes that the kernel may hold per socket before it stops asking for more.
    pub notsent_lowat_bytes: u32,
    /// Bytes of one page read from the log for a socket that is behind.
    pub catch_up_page_bytes: usize,
    /// Log reads for sockets that are behind, at once, over all connections.
    pub catch_ups_max: usize,
    /// Errors that one connection may cause in a minute; more is closed with 4429.
    pub errors_max: u32,
    /// Whether clients that offer permessage-deflate get it. Off: it costs CPU per event and helps those whose network is slow or metered.
    pub compression: bool,
    /// Frames below this stay as they are. An envelope alone has about 200 bytes, so that by default nearly all events are compressed.
    pub compression_bytes_min: usize,
    /// zlib's level. From 3 on envelopes hardly get any smaller, and the time goes up.
    pub compression_level: u32,
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            handshakes_pending_max: 4_096,
            connections_max: 1_000_000,
            header_bytes_max: 16 << 10,
            headers_max: 64,
            message_bytes_max: 1 << 20,
            topics_per_connection_max: 200,
            subscriptions_per_second_max: 200,
            window_events: 500,
            window_bytes: 4 << 20,
            outbox_bytes_max: 256 << 10,
            workers: towline_sockets::Settings::default().workers,
            notsent_lowat_bytes: 128 << 10,
            catch_up_page_bytes: 128 << 10,
            catch_ups_max: 64,
            errors_max: 60,
            compression: false,
            compression_bytes_min: 128,
            compression_level: 3,
        }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::ranged(
            "sockets.heartbeat_interval",
            millis(100, 600_000),
            |c| &mut c.sockets.heartbeat_interval,
            "a client silent this long is pinged",
        )
        .alias("WEBSOCKET_HEARTBEAT_INTERVAL", Milliseconds),
        Setting::ranged(
            "sockets.idle_timeout",
            millis(200, 3_600_000),
            |c| &mut c.sockets.idle_timeout,
            "a client silent this long is closed with 4408",
        ),
        Setting::ranged(
            "sockets.stall_timeout",
            millis(100, 3_600_000),
            |c| &mut c.sockets.stall_timeout,
            "a client that accepts no bytes this long is closed with 4410",
        ),
        Setting::ranged(
            "sockets.handshake_timeout",
            millis(100, 120_000),
            |c| &mut c.sockets.handshake_timeout,
            "from accept to the end of the request's headers",
        ),
        Setting::ranged(
            "sockets.handshakes_pending_max",
            (1, 1_000_000),
            |c| &mut c.sockets.handshakes_pending_max,
            "connections that may be in a handshake at once",
        ),
        Setting::ranged(
            "sockets.connections_max",
            (1, 10_000_000),
            |c| &mut c.sockets.connections_max,
            "connections at once, of all doors",
        ),
        Setting::ranged(
            "sockets.header_bytes_max",
            (KIB, MIB),
            |c| &mut c.sockets.header_bytes_max,
            "bytes of a request's header section",
        ),
        Setting::ranged("sockets.headers_max", (8, 1_000), |c| &mut c.sockets.headers_max, "header lines of a request"),
        Setting::ranged(
            "sockets.message_bytes_max",
            (KIB, 64 * MIB),
            |c| &mut c.sockets.message_bytes_max,
            "bytes of one message from a client",
        ),
        Setting::ranged(
            "sockets.topics_per_connection_max",
            (1, 10_000),
            |c| &mut c.sockets.topics_per_connection_max,
            "topics that one connection may follow",
        ),
        Setting::ranged(
            "sockets.subscriptions_per_second_max",
            (1, 50_000),
            |c| &mut c.sockets.subscriptions_per_second_max,
            "topics that one connection may ask for in a second",
        ),
        Setting::ranged("sockets.window_events", (1, 100_000), |c| &mut c.sockets.window_events, "events of a topic's window"),
        Setting::ranged(
            "sockets.window_bytes",
            (4 * KIB, 1 << 30),
            |c| &mut c.sockets.window_bytes,
            "bytes of a topic's window, per dialect in use",
        ),
        Setting::ranged(
            "sockets.outbox_bytes_max",
            (4 * KIB, 64 * MIB),
            |c| &mut c.sockets.outbox_bytes_max,
            "bytes of private replies that may wait on one connection",
        ),
        Setting::ranged("sockets.workers", (1, 1_024), |c| &mut c.sockets.workers, "reactor threads"),
        Setting::ranged(
            "sockets.notsent_lowat_bytes",
            (4_096, 16 << 20),
            |c| &mut c.sockets.notsent_lowat_bytes,
            "unsent bytes that the kernel may hold per socket",
        ),
        Setting::ranged(
            "sockets.catch_up_page_bytes",
            (4 * KIB, 16 * MIB),
            |c| &mut c.sockets.catch_up_page_bytes,
            "bytes of one page for a socket that is behind",
        ),
        Setting::ranged(
            "sockets.catch_ups_max",
            (1, 10_000),
            |c| &mut c.sockets.catch_ups_max,
            "log reads for sockets that are behind, at once",
        ),
        Setting::ranged(
            "sockets.errors_max",
            (1, 1_000_000),
            |c| &mut c.sockets.errors_max,
            "errors of one connection in a minute before 4429",
        ),
        Setting::new(
            "sockets.compression",
            |c| &mut c.sockets.compression,
            "compress events once for all clients that offer permessage-deflate, and take compressed messages",
        ),
        Setting::ranged(
            "sockets.compression_bytes_min",
            (1, MIB),
            |c| &mut c.sockets.compression_bytes_min,
            "events with smaller frames are not compressed",
        ),
        Setting::ranged(
            "sockets.compression_level",
            (1, 9),
            |c| &mut c.sockets.compression_level,
            "how hard to try, as zlib counts: 1 is fast, 9 is small",
        ),
    ]
}
