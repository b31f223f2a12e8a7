//! What limits and policies refused, and how close users come to them.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::Reason;

/// From one tab to a user who is many.
const CONNECTIONS: [f64; 8] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// Why something is refused. All are there from the beginning, at zero, so that a first refusal is an increase.
const REASONS: [&str; 8] = [
    "origin",
    "address_rate",
    "address_connections",
    "address_pending",
    "user_connections",
    "user_messages",
    "publish_rate",
    "subscribe_rate",
];

/// What limits and policies did.
#[derive(Debug)]
pub struct LimitMetrics {
    /// Connections closed because their user opened newer ones.
    pub superseded: Counter,
    /// Connections that a user has, with each one that is opened.
    pub connections_per_user: Histogram,
    refused: Family<Reason, Counter>,
}

impl Default for LimitMetrics {
    fn default() -> Self {
        let refused = Family::default();
        for reason in REASONS {
            drop(refused.get_or_create(&Reason { reason }));
        }
        Self { superseded: Counter::default(), connections_per_user: Histogram::new(CONNECTIONS), refused }
    }
}

impl LimitMetrics {
    pub(super) fn register(&self, own: &mut Registry) {
        own.register("refused", "Connections, requests and messages refused by policy or limit, by reason", self.refused.clone());
        own.register("superseded", "Connections closed because their user opened newer ones", self.superseded.clone());
        let per_user = self.connections_per_user.clone();
        own.register("connections_per_user", "Connections of a user, counted at each one opened", per_user);
    }

    /// Counts what was refused for one of the reasons in the list above.
    pub fn refused(&self, reason: &'static str) {
        debug_assert!(REASONS.contains(&reason), "{reason} is not in the list");
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}
