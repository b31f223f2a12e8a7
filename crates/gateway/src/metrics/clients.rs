//! How clients fare: how long they stay, how far behind they are, whether they get back what they missed.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::Door;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Behind {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Recovery {
    outcome: &'static str,
}

/// What is counted of clients as such.
#[derive(Debug)]
pub struct ClientMetrics {
    /// Answers and notices of the server itself.
    pub replies: Counter,
    /// How long a message kept its reactor thread; what an append takes comes on top and is `append_seconds`.
    pub message_seconds: Histogram,
    /// Subscriptions that are behind within their topic's window, now.
    pub lagging: Gauge,
    /// Subscriptions that read the log, now.
    pub catching_up: Gauge,
    /// Requests and handshakes that went on from a position or event: reconnections, mostly.
    pub resumptions: Counter,
    /// Topics that were gone on with, nothing missing.
    pub recovered_all: Counter,
    /// Topics that were gone on with, with a gap.
    pub recovered_with_gap: Counter,
    /// Topics that could not be gone on with, because the log could not be read.
    pub recovered_nothing: Counter,
    recoveries: Family<Recovery, Counter>,
    behind: Family<Behind, Gauge>,
    connection_seconds: Family<Door, Histogram, fn() -> Histogram>,
}

/// From 10 µs to 2.6 s: a message is parsed, checked and answered in microseconds.
const MESSAGE_SECONDS: [f64; 9] = [0.000_01, 0.000_04, 0.000_16, 0.000_64, 0.002_56, 0.010_24, 0.040_96, 0.163_84, 2.621_44];
/// From a second to a day.
const LIFE_SECONDS: [f64; 9] = [1.0, 10.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];

fn life() -> Histogram {
    Histogram::new(LIFE_SECONDS)
}

impl Default for ClientMetrics {
    fn default() -> Self {
        let behind = Family::<Behind, Gauge>::default();
        let state = |state: &'static str| behind.get_or_create_owned(&Behind { state });
        let recoveries = Family::<Recovery, Counter>::default();
        let recovery = |outcome: &'static str| recoveries.get_or_create_owned(&Recovery { outcome });
        Self {
            resumptions: Counter::default(),
            recovered_all: recovery("complete"),
            recovered_with_gap: recovery("gap"),
            recovered_nothing: recovery("failed"),
            recoveries,
            replies: Counter::default(),
            message_seconds: Histogram::new(MESSAGE_SECONDS),
            lagging: state("lagging"),
            catching_up: state("catching_up"),
            behind,
            connection_seconds: Family::new_with_constructor(life),
        }
    }
}

impl ClientMetrics {
    pub(super) fn register(&self, own: &mut Registry) {
        own.register("resumptions", "Requests and handshakes that went on from a position", self.resumptions.clone());
        own.register("recoveries", "Topics gone on with from a position, by what was missing", self.recoveries.clone());
        own.register("replies", "Answers and notices of the server itself", self.replies.clone());
        own.register("message_seconds", "Time that a client's message kept its thread", self.message_seconds.clone());
        own.register("subscriptions_behind", "Subscriptions that are not at their topic's head, by state", self.behind.clone());
        own.register("connection_seconds", "How long connections lasted, by door", self.connection_seconds.clone());
    }

    /// Counts a connection that has ended.
    pub fn lasted(&self, door: &'static str, age: Duration) {
        self.connection_seconds.get_or_create(&Door { door }).observe(age.as_secs_f64());
    }
}
