//! What happens to runs by itself, looked at again and again by the server's clock.

use std::sync::Arc;
use std::time::Duration;

use super::Runs;

/// How often leases and time-outs are looked at. They are seconds long; a look at runs that are all well takes a shared lock for
/// a few microseconds per thousand.
const TICK: Duration = Duration::from_millis(250);

impl Runs {
    /// Looks after runs until it is dropped.
    pub async fn keep_up(self: Arc<Self>) {
        let mut failing = false;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if !self.has_unsaid() && !self.read(|registry, now| registry.is_due(now)) {
                continue;
            }
            let unsaid = self.unsaid();
            let (answer, ()) = self.order(|registry, now| {
                let mut events = registry.upkeep(now);
                // Behind the states, which may have been lost with them.
                events.extend(unsaid);
                (events, ())
            });
            let failed = answer.await.err();
            if let Some(error) = failed.as_ref().filter(|_| !failing) {
                tracing::warn!(%error, "what happened to runs could not be written; it is in force, and will be written again");
            }
            failing = failed.is_some();
        }
    }
}
