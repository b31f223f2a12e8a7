//! The table of all settings: key, range, older names, one line of help. Lists of tables (`[[auth.issuers]]`, `[[auth.rules]]`,
//! `[[log.topics]]`) are in `lists`.

use std::time::Duration;

use super::setting::Meaning::{Milliseconds, Opposite, Same};
use super::setting::Setting;

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

fn secs(from: u64, to: u64) -> (Duration, Duration) {
    (Duration::from_secs(from), Duration::from_secs(to))
}

fn millis(from: u64, to: u64) -> (Duration, Duration) {
    (Duration::from_millis(from), Duration::from_millis(to))
}

/// All settings, in the order in which they are printed.
#[must_use]
pub fn settings() -> Vec<Setting> {
    let mut all = general();
    all.extend(auth());
    all.extend(log());
    all.extend(sockets());
    all.extend(rest());
    all.extend(others());
    all
}

fn general() -> Vec<Setting> {
    vec![
        Setting::new("listen", |c| &mut c.listen, "address and port of the server"),
        Setting::new("data_dir", |c| &mut c.data_dir, "directory of the log's files"),
        Setting::new("environment", |c| &mut c.environment, "development, staging or production").alias("ENVIRONMENT", Same),
    ]
}

fn auth() -> Vec<Setting> {
    vec![
        Setting::new("auth.service_keys", |c| &mut c.auth.service_keys, "secrets of services that publish")
            .env("TOWLINE_SERVICE_KEYS"),
        Setting::new("auth.jwt_secret", |c| &mut c.auth.jwt_secret, "shared secret of HS256 tokens").env("TOWLINE_JWT_SECRET"),
        Setting::new("auth.audiences", |c| &mut c.auth.audiences, "what `aud` must hold, for the secret and the Clerk issuer"),
        Setting::new("auth.clerk_jwks_url", |c| &mut c.auth.clerk_jwks_url, "where the issuer publishes its keys")
            .alias("CLERK_JWKS_URL", Same),
        Setting::new("auth.clerk_issuer", |c| &mut c.auth.clerk_issuer, "what `iss` must be").alias("CLERK_ISSUER", Same),
        Setting::new("auth.clerk_domain", |c| &mut c.auth.clerk_domain, "short form of both, for Clerk")
            .alias("CLERK_DOMAIN", Same),
        Setting::new("auth.disabled", |c| &mut c.auth.disabled, "ask nobody for a token; loopback only")
            .alias("AUTH_DISABLED", Same)
            .alias("WEBSOCKET_REQUIRE_AUTH", Opposite),
        Setting::ranged("auth.leeway", secs(0, 120), |c| &mut c.auth.leeway, "how far the clocks may differ"),
        Setting::ranged("auth.expiry_leeway", secs(0, 120), |c| &mut c.auth.expiry_leeway, "how long a token outlives its exp"),
        Setting::ranged(
            "auth.expiry_warning",
            secs(0, 3_600),
            |c| &mut c.auth.expiry_warning,
            "a socket is warned this long before its token expires",
        ),
    ]
}

fn log() -> Vec<Setting> {
    vec![
        Setting::ranged(
            "log.segment_bytes",
            (64 << 10, 1 << 30),
            |c| &mut c.log.segment_bytes,
            "size at which a segment is closed; retention drops whole segments",
        ),
        Setting::new("log.durability", |c| &mut c.log.durability, "what holds before an event is acknowledged"),
        Setting::new("log.retention_age", |c| &mut c.log.retention.age_max, "events older than this go; none: no limit"),
        Setting::new("log.retention_events", |c| &mut c.log.retention.events_max, "events kept per topic; none: no limit"),
        Setting::new("log.retention_bytes", |c| &mut c.log.retention.bytes_max, "bytes kept per topic; none: no limit"),
        Setting::ranged("log.dedup_window", secs(0, 86_400), |c| &mut c.log.dedup_window, "how long event ids are remembered"),
        Setting::ranged(
            "log.dedup_ids_max",
            (0, 100_000_000),
            |c| &mut c.log.dedup_ids_max,
            "how many event ids are remembered; about 64 bytes each",
        ),
        Setting::ranged(
            "log.relaxed_sync_interval",
            millis(1, 60_000),
            |c| &mut c.log.relaxed_sync_interval,
            "longest wait of a relaxed append for its sync",
        ),
        Setting::ranged(
            "log.append_queue_events_max",
            (1_000, 10_000_000),
            |c| &mut c.log.append_queue_events_max,
            "events that may wait to be written",
        ),
        Setting::ranged(
            "log.append_queue_bytes_max",
            (MIB, 1 << 30),
            |c| &mut c.log.append_queue_bytes_max,
            "bytes that may wait to be written",
        ),
        Setting::ranged("log.reads_max", (1, 512), |c| &mut c.log.reads_max, "reads that may use the disk at once"),
    ]
}

fn sockets() -> Vec<Setting> {
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
    ]
}

fn rest() -> Vec<Setting> {
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
        Setting::ranged("rest.body_bytes_max", (KIB, 256 * MIB), |c| &mut c.rest.body_bytes_max, "bytes of a JSON body"),
        Setting::ranged("rest.line_bytes_max", (KIB, 64 * MIB), |c| &mut c.rest.line_bytes_max, "bytes of an NDJSON line"),
        Setting::ranged(
            "rest.body_timeout",
            millis(100, 600_000),
            |c| &mut c.rest.body_timeout,
            "longest pause between two pieces of a body",
        ),
        Setting::ranged(
            "rest.request_timeout",
            millis(100, 600_000),
            |c| &mut c.rest.request_timeout,
            "longest time to an answer, streamed bodies apart",
        ),
        Setting::ranged(
            "rest.keep_alive_timeout",
            millis(100, 3_600_000),
            |c| &mut c.rest.keep_alive_timeout,
            "idle connections are closed after this long",
        ),
        Setting::ranged(
            "rest.publish_bytes_max",
            (64 * MIB, 1 << 38),
            |c| &mut c.rest.publish_bytes_max,
            "bytes of publish requests that are worked on at once",
        ),
    ]
}

fn others() -> Vec<Setting> {
    vec![
        Setting::ranged("drain.window", secs(0, 600), |c| &mut c.drain.window, "clients come back spread over this long"),
        Setting::ranged("drain.timeout", secs(1, 3_600), |c| &mut c.drain.timeout, "the process exits after this long"),
        Setting::new("origins.allowed", |c| &mut c.origins.allowed, "web origins that may connect (kept, not enforced yet)")
            .alias("WEBSOCKET_ALLOWED_ORIGINS", Same),
        Setting::new("origins.cors", |c| &mut c.origins.cors, "CORS headers on REST (kept, not sent yet)")
            .alias("WEBSOCKET_ENABLE_CORS", Same),
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
        Setting::new("logging.filter", |c| &mut c.logging.filter, "which log lines: info, towline=debug,info").env("TOWLINE_LOG"),
        Setting::new("logging.format", |c| &mut c.logging.format, "auto, json or text"),
        Setting::ranged(
            "logging.events_per_second_max",
            (0, 1_000_000),
            |c| &mut c.logging.events_per_second_max,
            "published events that get a log line of their own",
        ),
        Setting::ranged(
            "logging.requests_per_second_max",
            (0, 1_000_000),
            |c| &mut c.logging.requests_per_second_max,
            "successful requests that get a log line; failed ones get up to 1,000",
        ),
    ]
}
