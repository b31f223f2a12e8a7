//! The REST interface.

use std::time::Duration;

use crate::config::setting::Setting;
use crate::config::table::{KIB, MIB, millis};

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

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
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
