//! Taking up the state of runs and brakes from the log, before anybody is served.

use std::sync::Arc;

use towline_log::{Direction, Read, ReadError, Start};
use towline_protocol::TopicName;
use towline_runs::{Moment, STATE_TOPIC};

use super::Runs;

/// Records and bytes that are read at a time.
const PAGE_EVENTS_MAX: usize = 4_096;
const PAGE_BYTES_MAX: usize = 4 << 20;

impl Runs {
    /// Reads what the log holds of runs and brakes.
    ///
    /// # Errors
    /// The log cannot be read: a server that does not know what was stopped must not start.
    pub async fn load(self: &Arc<Self>) -> Result<(), ReadError> {
        let Ok(topic) = TopicName::internal(STATE_TOPIC) else { return Ok(()) };
        let now = Moment::of(&self.clock);
        let (mut start, mut records, mut unknown) = (Start::Earliest, 0_usize, 0_usize);
        loop {
            let read = Read {
                topic: topic.clone(),
                start,
                direction: Direction::Forward,
                events_max: PAGE_EVENTS_MAX,
                bytes_max: PAGE_BYTES_MAX,
            };
            let page = self.log.read(read).await?;
            if let Some(gap) = page.gap {
                tracing::error!(reason = ?gap.reason, "a part of the record of runs is missing: stops that stood there may be forgotten");
            }
            let mut registry = self.registry.write();
            for record in &page.records {
                records += 1;
                unknown += usize::from(!registry.load(record.kind(), record.data(), now));
            }
            start = Start::At(page.to_position());
            if page.complete || page.records.is_empty() {
                break;
            }
        }
        let (answer, counts) = self.order(|registry, now| (registry.loaded(now), registry.counts()));
        if unknown > 0 {
            tracing::error!(unknown, "records of runs could not be understood and were passed over");
        }
        if records > 0 {
            tracing::info!(records, runs = counts.runs.iter().sum::<u64>(), brakes = counts.brakes_engaged, "runs taken up");
        }
        if let Err(error) = answer.await {
            tracing::warn!(%error, "what was stopped could not be said again; it is in force, and will be said later");
        }
        Ok(())
    }
}
