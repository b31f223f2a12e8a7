//! What is counted of the webhook.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::seconds;
use crate::webhook::{Outcome, Reason};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfReason {
    reason: &'static str,
}

/// Calls, messages and dead letters of the webhook.
#[derive(Debug)]
pub struct WebhookMetrics {
    /// Attempts that failed and are repeated.
    pub retried: Counter,
    /// Messages of types that are not handed over.
    pub unwanted: Counter,
    /// Times that messages were gone from the log before they were delivered.
    pub gaps: Counter,
    /// Messages that were taken and are not done.
    pub lag: Gauge,
    /// How old the oldest of them is.
    pub oldest_seconds: Gauge,
    /// Calls under way.
    pub in_flight: Gauge,
    /// Dead letters that nobody has redriven with success.
    pub dead_letters_open: Gauge,
    /// 1 after the target answered 410.
    pub stopped: Gauge,
    /// From the log's taking a message to its delivery, in seconds.
    pub delivered_after: Histogram,
    calls: Family<OfOutcome, Counter>,
    dead_letters: Family<OfReason, Counter>,
    call_seconds: Histogram,
}

impl WebhookMetrics {
    pub(super) fn new() -> Self {
        let dead_letters = Family::default();
        // A rule on their growth needs the zero before the first.
        for reason in Reason::ALL {
            dead_letters.get_or_create_owned(&OfReason { reason: reason.as_str() });
        }
        Self {
            retried: Counter::default(),
            unwanted: Counter::default(),
            gaps: Counter::default(),
            lag: Gauge::default(),
            oldest_seconds: Gauge::default(),
            in_flight: Gauge::default(),
            dead_letters_open: Gauge::default(),
            stopped: Gauge::default(),
            delivered_after: seconds(),
            calls: Family::default(),
            dead_letters,
            call_seconds: seconds(),
        }
    }

    pub(super) fn register(&self, towline: &mut Registry) {
        let own = towline.sub_registry_with_prefix("webhook");
        own.register("calls", "Calls by what came of them", self.calls.clone());
        own.register("call_seconds", "Time of a call", self.call_seconds.clone());
        own.register("delivered_after_seconds", "Time from taking a message to its delivery", self.delivered_after.clone());
        own.register("retried", "Calls that failed and are repeated", self.retried.clone());
        own.register("unwanted", "Messages of types that are not handed over", self.unwanted.clone());
        own.register("gaps", "Times that undelivered messages were gone from the log", self.gaps.clone());
        own.register("lag_events", "Messages taken and not done", self.lag.clone());
        own.register("oldest_seconds", "Age of the oldest message that is not done", self.oldest_seconds.clone());
        own.register("in_flight", "Calls under way", self.in_flight.clone());
        own.register("dead_letters", "Messages that became dead letters, by reason", self.dead_letters.clone());
        own.register("dead_letters_open", "Dead letters that are still open", self.dead_letters_open.clone());
        own.register("stopped", "1 after the target answered 410", self.stopped.clone());
    }

    /// Counts a call.
    pub fn called(&self, outcome: Outcome, took: Duration) {
        self.calls.get_or_create(&OfOutcome { outcome: outcome.class() }).inc();
        self.call_seconds.observe(took.as_secs_f64());
    }

    /// Counts a dead letter.
    pub fn dead(&self, reason: Reason) {
        self.dead_letters.get_or_create(&OfReason { reason: reason.as_str() }).inc();
    }
}
