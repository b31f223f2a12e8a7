//! What the process writes about itself: one JSON object per line, or text for a person at a terminal.
//!
//! A line never holds a credential, a query or a payload: those who log pass names, ids and codes, and nothing here could tell them apart.

use std::io::IsTerminal as _;

use towline_clock::Clock;
use towline_protocol::PublishResult;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LoggingSettings};
use crate::line_rate::LineRate;

/// Sends the lines to standard output. `for_people`: text rather than JSON if standard output is a terminal and nobody chose.
/// Only the first call in a process has an effect.
pub fn init(settings: &LoggingSettings, for_people: bool) {
    let terminal = std::io::stdout().is_terminal();
    let text = match settings.format {
        LogFormat::Auto => for_people && terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    // The configuration's check has read it before.
    let filter = EnvFilter::try_new(&settings.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter);
    let _ = if text {
        lines.with_ansi(terminal).with_target(false).try_init()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
}

/// Gives published events lines of their own, so that an envelope's id leads to the log, as far as the rate allows.
#[derive(Debug)]
pub struct EventLines(LineRate);

impl EventLines {
    /// At most so many lines in a second.
    #[must_use]
    pub fn new(per_second_max: u32) -> Self {
        Self(LineRate::new(per_second_max))
    }

    /// Writes a line per result, or less if the rate is used up.
    pub fn write(&self, clock: &Clock, results: &[PublishResult]) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        for result in results {
            let Some(left_out) = self.0.take(clock) else { return };
            if left_out > 0 {
                tracing::info!(left_out, "events of an earlier second had no line of their own");
            }
            match result {
                PublishResult::Stored(at) => {
                    tracing::info!(trace_id = at.id, epoch = %at.epoch, offset = at.offset, "event stored");
                }
                PublishResult::Duplicate(at) => {
                    tracing::info!(trace_id = at.id, epoch = %at.epoch, offset = at.offset, "event known already");
                }
                // A refused id may be anything; the refusal's code is in the metrics and the request's line.
                PublishResult::Refused { error, .. } => tracing::info!(code = error.code.as_str(), "event refused"),
            }
        }
    }
}

/// Failures that get a line in a second, whatever is configured: a stranger can cause them, and must not fill a disk with them.
const FAILURES_PER_SECOND_MAX: u32 = 1_000;

/// Decides which answered requests get a line: successes and failures have rates of their own, so that the first never hide the second.
#[derive(Debug)]
pub struct RequestLines {
    successes: LineRate,
    failures: LineRate,
}

impl RequestLines {
    /// At most so many lines of successful requests in a second.
    #[must_use]
    pub fn new(successes_per_second_max: u32) -> Self {
        Self { successes: LineRate::new(successes_per_second_max), failures: LineRate::new(FAILURES_PER_SECOND_MAX) }
    }

    /// Whether the request that is answered with `status` now gets a line.
    pub fn take(&self, clock: &Clock, status: u16) -> bool {
        let (rate, failed) = if status < 400 { (&self.successes, false) } else { (&self.failures, true) };
        let left_out = rate.take(clock);
        if let Some(left_out @ 1..) = left_out {
            tracing::info!(left_out, failed, "requests of an earlier second had no line of their own");
        }
        left_out.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_successes_leaves_the_failures_their_lines() {
        let clock = Clock::manual(0);
        let lines = RequestLines::new(2);
        let successes = (0..100).filter(|_| lines.take(&clock, 200)).count();
        let failures = (0..5_000).filter(|_| lines.take(&clock, 401)).count();
        assert_eq!((successes, failures), (2, FAILURES_PER_SECOND_MAX as usize));
        assert!(!RequestLines::new(0).take(&clock, 304));
        assert!(RequestLines::new(0).take(&clock, 500));
    }
}
