//! The sections of the configuration: plain values with their defaults. Names, ranges and sources stand in `table`.

use std::time::Duration;

use towline_auth::{AuthConfig, GrantRule, IssuerConfig, Secret};
use towline_log::{Durability, Retention, TopicPolicy};
use towline_protocol::{EventLimits, TopicPattern};

/// Where the server runs; a few defaults and warnings depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// On a developer's machine.
    #[default]
    Development,
    /// A rehearsal.
    Staging,
    /// For real.
    Production,
}

/// Who may connect and publish.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Secrets of services that may publish and subscribe everywhere.
    pub service_keys: Vec<Secret>,
    /// Shared secret of HS256 tokens.
    pub jwt_secret: Option<Secret>,
    /// What `aud` must hold in tokens signed with `jwt_secret` or by the Clerk issuer; empty: not checked.
    pub audiences: Vec<String>,
    /// Where Clerk (or any one issuer) publishes its keys.
    pub clerk_jwks_url: Option<String>,
    /// What `iss` must be in that issuer's tokens.
    pub clerk_issuer: Option<String>,
    /// Short form of both: `https://{domain}` and `https://{domain}/.well-known/jwks.json`.
    pub clerk_domain: Option<String>,
    /// `Some(true)`: nobody is asked for a token (loopback only). `Some(false)`: never. `None`: only where no issuer and no
    /// secret is configured, the address is loopback and the environment is development.
    pub disabled: Option<bool>,
    /// How far the clocks of issuer and server may differ.
    pub leeway: Duration,
    /// How long after its `exp` a token, and a socket opened with it, still lives.
    pub expiry_leeway: Duration,
    /// A token's socket is warned this long before the token expires.
    pub expiry_warning: Duration,
    /// Further issuers: `[[auth.issuers]]`.
    pub issuers: Vec<IssuerConfig>,
    /// Topics beyond `user:{sub}` and `org:{org_id}`: `[[auth.rules]]`. Without any, everybody with a token may watch `system`.
    pub rules: Vec<GrantRule>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        let auth = AuthConfig::default();
        Self {
            service_keys: Vec::new(),
            jwt_secret: None,
            audiences: Vec::new(),
            clerk_jwks_url: None,
            clerk_issuer: None,
            clerk_domain: None,
            disabled: None,
            leeway: auth.leeway,
            expiry_leeway: auth.expiry_leeway,
            expiry_warning: Duration::from_secs(60),
            issuers: Vec::new(),
            rules: auth.rules,
        }
    }
}

/// The embedded log: how durable, how long, how much.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// A segment is closed and a new one begun at this size. Retention drops whole segments.
    pub segment_bytes: u32,
    /// Durability of topics that no entry of `topics` matches.
    pub durability: Durability,
    /// Retention of those topics.
    pub retention: Retention,
    /// The first pattern that matches a topic decides.
    pub topics: Vec<TopicRule>,
    /// How long an event's id is remembered, so that publishing it again stores nothing.
    pub dedup_window: Duration,
    /// How many ids are remembered at most; about 64 bytes each.
    pub dedup_ids_max: usize,
    /// The longest time that an append of a `relaxed` topic may wait for its sync.
    pub relaxed_sync_interval: Duration,
    /// Events that may wait to be written; more are refused as UNAVAILABLE. Also the most that one request may append.
    pub append_queue_events_max: usize,
    /// Bytes that may wait to be written; more are refused as UNAVAILABLE. Also the most that one request may append.
    pub append_queue_bytes_max: usize,
    /// Reads that may use the disk at once; more wait in line.
    pub reads_max: usize,
}

impl Default for LogSettings {
    fn default() -> Self {
        let towline_log_embedded::Options {
            policies,
            segment_bytes_max,
            append_queue_events_max,
            append_queue_bytes_max,
            reads_max,
            ..
        } = towline_log_embedded::Options::default();
        Self {
            segment_bytes: segment_bytes_max,
            append_queue_events_max,
            append_queue_bytes_max,
            reads_max,
            durability: Durability::default(),
            retention: Retention::default(),
            topics: Vec::new(),
            dedup_window: policies.dedup_window,
            dedup_ids_max: policies.dedup_ids_max,
            relaxed_sync_interval: policies.relaxed_sync_interval,
        }
    }
}

/// Durability and retention of the topics that a pattern matches: an entry of `[[log.topics]]`.
#[derive(Debug, Clone)]
pub struct TopicRule {
    /// Which topics.
    pub pattern: TopicPattern,
    /// What holds for them.
    pub policy: TopicPolicy,
}

impl LogSettings {
    /// As the embedded engine takes it.
    #[must_use]
    pub fn options(&self) -> towline_log_embedded::Options {
        towline_log_embedded::Options {
            policies: self.policies(),
            segment_bytes_max: self.segment_bytes,
            append_queue_events_max: self.append_queue_events_max,
            append_queue_bytes_max: self.append_queue_bytes_max,
            reads_max: self.reads_max,
            ..towline_log_embedded::Options::default()
        }
    }

    /// As the log's engines take it.
    #[must_use]
    pub fn policies(&self) -> towline_log::Policies {
        towline_log::Policies {
            rules: self.topics.iter().map(|rule| (rule.pattern.clone(), rule.policy)).collect(),
            fallback: TopicPolicy { durability: self.durability, retention: self.retention },
            dedup_window: self.dedup_window,
            dedup_ids_max: self.dedup_ids_max,
            relaxed_sync_interval: self.relaxed_sync_interval,
        }
    }
}

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
            window_events: 500,
            window_bytes: 4 << 20,
            outbox_bytes_max: 256 << 10,
            workers: towline_sockets::Settings::default().workers,
            notsent_lowat_bytes: 128 << 10,
            catch_up_page_bytes: 128 << 10,
            catch_ups_max: 64,
            errors_max: 60,
        }
    }
}

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

/// The REST interface.
#[derive(Debug, Clone)]
pub struct RestSettings {
    /// Bytes of a JSON body. NDJSON is streamed and bounded per line by `line_bytes_max` only.
    pub body_bytes_max: usize,
    /// Bytes of one NDJSON line.
    pub line_bytes_max: usize,
    /// The longest pause between two pieces of a request's body.
    pub body_timeout: Duration,
    /// The longest a request may take to be answered, streamed bodies apart.
    pub request_timeout: Duration,
    /// Idle keep-alive connections are closed after this long.
    pub keep_alive_timeout: Duration,
    /// Bytes of publish requests that are worked on at once, over all connections; more are answered with RATE_LIMITED.
    pub publish_bytes_max: usize,
}

impl Default for RestSettings {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            line_bytes_max: 1 << 20,
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(75),
            publish_bytes_max: 512 << 20,
        }
    }
}

/// Leaving in good order.
#[derive(Debug, Clone)]
pub struct DrainSettings {
    /// Clients are told to come back at times spread over this long.
    pub window: Duration,
    /// After this long the process exits, whatever is still open.
    pub timeout: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { window: Duration::from_secs(5), timeout: Duration::from_secs(20) }
    }
}

/// Which web pages may connect. Read and kept; the policy itself is not enforced yet.
#[derive(Debug, Clone, Default)]
pub struct OriginSettings {
    /// Exact origins (`https://app.example.com`).
    pub allowed: Vec<String>,
    /// Whether REST answers carry CORS headers.
    pub cors: bool,
}

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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text in `towline dev` on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line.
    Json,
    /// For people.
    Text,
}

/// What the process says about itself.
#[derive(Debug, Clone)]
pub struct LoggingSettings {
    /// Which lines: `info`, `warn`, `towline=debug,info` …
    pub filter: String,
    /// How they look.
    pub format: LogFormat,
    /// Published events that get a line of their own in a second, with their id as `trace_id`; further ones are only counted.
    pub events_per_second_max: u32,
    /// Successful requests that get a line in a second; failed ones are bounded apart from them.
    pub requests_per_second_max: u32,
}

impl Default for LoggingSettings {
    fn default() -> Self {
        Self { filter: "info".to_owned(), format: LogFormat::Auto, events_per_second_max: 100, requests_per_second_max: 100 }
    }
}
