//! What the process says about itself.

use crate::config::setting::Setting;

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

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
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
