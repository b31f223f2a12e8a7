//! Tickets, revocations, re-checks, the application's answers and trusted headers: what became of each, by reason.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// How credentials fare beyond their signature. Outcomes are fixed words.
#[derive(Debug, Default)]
pub struct AccessMetrics {
    tickets: Family<Outcome, Counter>,
    revocations: Gauge,
    revoked: Family<Outcome, Counter>,
    rechecks: Family<Outcome, Counter>,
    identity_headers: Family<Outcome, Counter>,
}

fn count(family: &Family<Outcome, Counter>, outcome: &'static str) {
    family.get_or_create(&Outcome { outcome }).inc();
}

impl AccessMetrics {
    pub(super) fn register(&self, own: &mut Registry) {
        // All there from the beginning, so that a dashboard shows zeros and not gaps.
        for (family, outcomes) in [
            (
                &self.tickets,
                &["issued", "full", "failed", "redeemed", "unknown", "used", "expired", "origin", "ended", "revoked"][..],
            ),
            (&self.revoked, &["authentication", "connection"]),
            (&self.rechecks, &["kept", "dropped", "closed", "unanswered"]),
            (&self.identity_headers, &["taken", "ignored", "refused"]),
        ] {
            outcomes.iter().for_each(|outcome| drop(family.get_or_create(&Outcome { outcome })));
        }
        own.register("tickets", "One-time tickets by what became of them", self.tickets.clone());
        own.register("revocations", "Revocations in force", self.revocations.clone());
        own.register("revoked", "Revoked credentials by where they were met", self.revoked.clone());
        own.register("rechecks", "Sessions looked at again, by what came of it", self.rechecks.clone());
        own.register(
            "identity_headers",
            "Requests with identity headers by what was made of them",
            self.identity_headers.clone(),
        );
    }

    /// Counts a ticket: `issued`, `full`, `redeemed`, or why it was not taken: `unknown`, `used`, `expired`, `origin`, `ended`, `revoked`.
    pub fn ticket(&self, outcome: &'static str) {
        count(&self.tickets, outcome);
    }

    /// Says how many revocations are in force.
    pub fn revocations(&self, number: usize) {
        self.revocations.set(number as i64);
    }

    /// Counts a revoked credential: met at `authentication`, or on an open `connection`.
    pub fn revoked(&self, place: &'static str) {
        count(&self.revoked, place);
    }

    /// Counts a re-check: `kept`, `dropped` (some topics), `closed`, `unanswered`.
    pub fn recheck(&self, outcome: &'static str) {
        count(&self.rechecks, outcome);
    }

    /// Counts a request with identity headers: `taken`, `ignored`, `refused`.
    pub fn identity_headers(&self, outcome: &'static str) {
        count(&self.identity_headers, outcome);
    }
}
