//! What the process writes about itself: one JSON object per line, or text for a person at a terminal.
//!
//! A line never holds a credential, a query or a payload: those who log pass names, ids and codes, and nothing here could tell them apart.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicU64, Ordering};

use towline_clock::Clock;
use towline_protocol::PublishResult;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LoggingSettings};

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

/// Gives published events lines of their own, so that an envelope's id leads to the log, up to a rate at which lines cost less than the work.
#[derive(Debug)]
pub struct EventLines {
    per_second_max: u32,
    /// The second, and above its 32 low bits how many lines it had: one word, so that no lock is needed.
    used: AtomicU64,
}

impl EventLines {
    /// At most so many lines in a second.
    #[must_use]
    pub fn new(per_second_max: u32) -> Self {
        Self { per_second_max, used: AtomicU64::new(0) }
    }

    /// Writes a line per result, or less if the rate is used up.
    pub fn write(&self, clock: &Clock, results: &[PublishResult]) {
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let second = clock.uptime().as_secs() & u64::from(u32::MAX);
        for result in results {
            let Some(left_out) = self.take(second) else { return };
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

    /// Takes a line of this second. None: it has no more. Else how many an earlier second had to leave out.
    fn take(&self, second: u64) -> Option<u64> {
        let per_second_max = u64::from(self.per_second_max);
        let before = self.used.load(Ordering::Relaxed);
        let (then, used) = (before & u64::from(u32::MAX), before >> 32);
        if then == second {
            let now = (used.saturating_add(1).min(u64::from(u32::MAX)) << 32) | second;
            // A lost race costs one line's count, which is not worth a loop on a hot path.
            let _ = self.used.compare_exchange_weak(before, now, Ordering::Relaxed, Ordering::Relaxed);
            return (used < per_second_max).then_some(0);
        }
        if per_second_max == 0 {
            return None;
        }
        let won = self.used.compare_exchange(before, (1 << 32) | second, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        Some(if won { used.saturating_sub(per_second_max) } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_lines_and_the_next_one_says_what_was_left_out() {
        let lines = EventLines::new(2);
        let taken: Vec<_> = (0..5).map(|_| lines.take(7)).collect();
        assert_eq!(taken, [Some(0), Some(0), None, None, None]);
        assert_eq!(lines.take(8), Some(3));
        assert_eq!(lines.take(8), Some(0));
        assert_eq!(lines.take(8), None);
        assert_eq!(EventLines::new(0).take(1), None);
    }
}
