//! What an operator can see: counters, gauges and histograms, cheap enough for reactor threads.
//!
//! No label ever holds a user, a topic or anything else a client chose: label values come from short fixed lists in the code, so
//! that the number of series is bounded. What the log and the process know themselves is read at scrape time by `scrape`.

mod access;
mod clients;
mod labels;
mod limits;
mod process;
mod runs;
mod scrape;
mod tls;
mod webhook;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use towline_protocol::{ErrorCode, PublishResult};

pub use access::AccessMetrics;
pub use clients::ClientMetrics;
use labels::{Close, Code, Door, DoorOutcome, Request, Route, State, Status};
pub use limits::LimitMetrics;
pub use tls::TlsMetrics;
pub use webhook::WebhookMetrics;

/// All metrics that the gateway's own code counts. Fields are for hot paths: each is one atomic. Methods with labels take a read lock
/// for the look-up; whoever calls one often keeps the returned handle.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// WebSocket handshakes that were completed (`ws_connected_total`).
    pub ws_connected: Counter,
    /// Bytes written to sockets and event streams, frame headers included (`ws_sent_bytes_total`).
    pub ws_sent_bytes: Counter,
    /// Bytes read from sockets after the handshake.
    pub ws_received_bytes: Counter,
    /// Events written to clients.
    pub frames_delivered: Counter,
    /// Messages taken from clients.
    pub messages_received: Counter,
    /// Subscriptions of all connections now.
    pub subscriptions: Gauge,
    /// Subscriptions that fell behind their topic's window.
    pub lagging: Counter,
    /// Subscriptions that began to read the log.
    pub catching_up: Counter,
    /// Subscriptions that came back to the window.
    pub rejoined: Counter,
    /// Log reads for subscriptions that are behind, now.
    pub catch_up_reads: Gauge,
    /// Events delivered from the log and not from a window.
    pub catch_up_events: Counter,
    /// Gaps that clients were told of.
    pub gaps: Counter,
    /// Events replayed until a subscription reached the head.
    pub replay_events: Histogram,
    /// From the log's call to its acknowledgement, in seconds.
    pub append_seconds: Histogram,
    /// From accept to the handshake's answer, accepted or not, in seconds; on a connection that carried requests before, from the request.
    pub handshake_seconds: Histogram,
    /// Connections whose handshake is not finished, now.
    pub handshakes_pending: Gauge,
    /// Connections refused at accept, because too many are open or in a handshake.
    pub accepts_refused: Counter,
    /// Connections closed because they accepted no bytes for too long.
    pub stalled: Counter,
    /// Audit events that could not be stored.
    pub audit_failures: Counter,
    /// Pings sent to silent clients.
    pub heartbeats: Counter,
    /// Tickets, revocations, re-checks.
    pub access: AccessMetrics,
    /// What limits and policies refused.
    pub limits: LimitMetrics,
    /// Clients as such.
    pub clients: ClientMetrics,
    /// Certificates.
    pub tls: TlsMetrics,
    /// Whether the log takes appends; set when somebody looks.
    pub log_ready: Gauge,
    /// The webhook.
    pub webhook: WebhookMetrics,
    connections: Family<Door, Gauge>,
    opened: Family<Door, Counter>,
    handshakes: Family<DoorOutcome, Counter>,
    errors: Family<Code, Counter>,
    closes: Family<Close, Counter>,
    auth_failures: Family<Code, Counter>,
    publish_results: Family<Status, Counter>,
    runs: runs::RunMetrics,
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram, fn() -> Histogram>,
}

/// From 100 µs to 26 s, each bucket four times the one before: an fsync and a stuck disk both show.
const SECONDS: [f64; 10] = [0.0001, 0.0004, 0.0016, 0.0064, 0.0256, 0.1024, 0.4096, 1.6384, 6.5536, 26.2144];
/// From one event to ten million.
const EVENTS: [f64; 8] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6, 1e7];

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let transitions = Family::<State, Counter>::default();
        let state = |to: &'static str| transitions.get_or_create_owned(&State { to });
        let mut metrics = Self {
            registry: Registry::default(),
            ws_connected: Counter::default(),
            ws_sent_bytes: Counter::default(),
            ws_received_bytes: Counter::default(),
            frames_delivered: Counter::default(),
            messages_received: Counter::default(),
            subscriptions: Gauge::default(),
            lagging: state("lagging"),
            catching_up: state("catching_up"),
            rejoined: state("rejoined"),
            catch_up_reads: Gauge::default(),
            catch_up_events: Counter::default(),
            gaps: Counter::default(),
            replay_events: Histogram::new(EVENTS),
            append_seconds: seconds(),
            handshake_seconds: seconds(),
            handshakes_pending: Gauge::default(),
            accepts_refused: Counter::default(),
            stalled: Counter::default(),
            audit_failures: Counter::default(),
            heartbeats: Counter::default(),
            access: AccessMetrics::default(),
            limits: LimitMetrics::default(),
            clients: ClientMetrics::default(),
            tls: TlsMetrics::default(),
            log_ready: Gauge::default(),
            webhook: WebhookMetrics::new(),
            connections: Family::default(),
            opened: Family::default(),
            handshakes: Family::default(),
            errors: Family::default(),
            closes: Family::default(),
            auth_failures: Family::default(),
            publish_results: Family::default(),
            runs: runs::RunMetrics::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
        };
        metrics.register(transitions);
        metrics
    }

    fn register(&mut self, transitions: Family<State, Counter>) {
        let mut registry = Registry::default();
        registry.register("ws_connected", "WebSocket handshakes completed", self.ws_connected.clone());
        registry.register("ws_sent_bytes", "Bytes written to sockets and event streams", self.ws_sent_bytes.clone());
        registry.register("ws_received_bytes", "Bytes read from sockets", self.ws_received_bytes.clone());
        let own = registry.sub_registry_with_prefix("towline");
        self.clients.register(own);
        own.register("log_ready", "1 if the log takes appends", self.log_ready.clone());
        own.register("frames_delivered", "Events written to clients", self.frames_delivered.clone());
        own.register("messages_received", "Messages taken from clients", self.messages_received.clone());
        own.register("connections", "Open connections by door", self.connections.clone());
        own.register("connections_opened", "Connections opened by door", self.opened.clone());
        own.register("subscriptions", "Subscriptions now", self.subscriptions.clone());
        own.register("subscription_transitions", "Subscriptions that changed state, by the new one", transitions);
        own.register("catch_up_reads", "Log reads in flight for subscriptions that are behind", self.catch_up_reads.clone());
        own.register("catch_up_events", "Events delivered from the log", self.catch_up_events.clone());
        own.register("gaps", "Gaps that clients were told of", self.gaps.clone());
        own.register("replay_events", "Events replayed per subscription", self.replay_events.clone());
        own.register("append_seconds", "Time from append to acknowledgement", self.append_seconds.clone());
        own.register("publish_results", "Published events by what became of them", self.publish_results.clone());
        own.register("handshakes", "Handshakes by door and outcome", self.handshakes.clone());
        own.register("handshake_seconds", "Time from accept to the handshake's answer", self.handshake_seconds.clone());
        own.register("handshakes_pending", "Connections in a handshake", self.handshakes_pending.clone());
        own.register("accepts_refused", "Connections refused at accept", self.accepts_refused.clone());
        own.register("errors", "Errors sent to clients by code", self.errors.clone());
        own.register("closes", "Connections closed by close code", self.closes.clone());
        own.register("auth_failures", "Credentials refused by code", self.auth_failures.clone());
        self.limits.register(own);
        own.register("stalled", "Connections closed for accepting no bytes", self.stalled.clone());
        own.register("audit_failures", "Audit events that could not be stored", self.audit_failures.clone());
        own.register("heartbeats", "Pings sent to silent clients", self.heartbeats.clone());
        own.register("http_requests", "HTTP requests by method, route and status", self.requests.clone());
        own.register("http_request_seconds", "Time to a request's answer by route", self.request_seconds.clone());
        self.access.register(own);
        self.webhook.register(own);
        self.tls.register(own);
        self.runs.register(own);
        self.registry = registry;
    }

    /// Open connections of a door (`native`, `feed`, `hub`, `unified`, `sse`).
    #[must_use]
    pub fn connections(&self, door: &'static str) -> Gauge {
        self.connections.get_or_create_owned(&Door { door })
    }

    /// Connections ever opened of a door.
    #[must_use]
    pub fn connections_opened(&self, door: &'static str) -> Counter {
        self.opened.get_or_create_owned(&Door { door })
    }

    /// Counts a handshake: `accepted`, `unauthorized`, `forbidden`, `invalid`, `timeout`, `overload` …
    pub fn handshake(&self, door: &'static str, outcome: &'static str) {
        self.handshakes.get_or_create(&DoorOutcome { door, outcome }).inc();
    }

    /// Counts an error that a client was sent.
    pub fn error(&self, code: ErrorCode) {
        self.errors.get_or_create(&Code { code: code.as_str() }).inc();
    }

    /// Counts the end of a connection by its close code (1006 where there was no close frame). Numbers that clients made up share one label.
    pub fn closed(&self, code: u16) {
        self.closes.get_or_create(&Close::of(code)).inc();
    }

    /// Counts a refused credential.
    pub fn auth_failure(&self, code: ErrorCode) {
        self.auth_failures.get_or_create(&Code { code: code.as_str() }).inc();
    }

    /// Counts what became of published events.
    pub fn published(&self, results: &[PublishResult]) {
        let (mut stored, mut duplicates, mut refused) = (0, 0, 0);
        for result in results {
            match result {
                PublishResult::Stored(_) => stored += 1,
                PublishResult::Duplicate(_) => duplicates += 1,
                PublishResult::Refused { error, .. } => {
                    refused += 1;
                    self.error(error.code);
                    self.runs.refused(error.code);
                }
            }
        }
        for (status, count) in [("stored", stored), ("duplicate", duplicates), ("refused", refused)] {
            if count > 0 {
                self.publish_results.get_or_create(&Status { status }).inc_by(count);
            }
        }
    }

    /// Sets how many runs and brakes there are.
    pub fn set_runs(&self, counts: &towline_runs::Counts) {
        self.runs.set(counts);
    }

    /// Counts runs that were stopped by a stop of a `run`, `thread`, `user` or `org`.
    pub fn stopped(&self, scope: &'static str, runs: usize) {
        self.runs.stopped(scope, runs);
    }

    /// Counts an answered request. `route` is the route's pattern, never the path that was asked for.
    pub(crate) fn request(&self, method: &http::Method, route: &str, status: u16, seconds: f64) {
        let method = labels::method(method);
        self.requests.get_or_create(&Request { method, route: route.to_owned(), status }).inc();
        self.request_seconds.get_or_create(&Route { route: route.to_owned() }).observe(seconds);
    }
}

#[cfg(test)]
mod tests {
    use towline_log::LogStats;

    use super::*;

    // proves: B9
    #[test]
    fn the_names_that_dashboards_rely_on_are_there() {
        let metrics = Metrics::new();
        metrics.ws_connected.inc();
        metrics.ws_sent_bytes.inc_by(42);
        metrics.connections("native").inc();
        metrics.closed(4401);
        metrics.closed(3999);
        metrics.closed(3998);
        metrics.error(ErrorCode::TooLarge);
        let text = metrics.scrape(
            &LogStats { appended_total: 7, ..LogStats::default() },
            &towline_auth::KeyStats::default(),
            &towline_auth::DelegationStats::default(),
        );
        for line in [
            "ws_connected_total 1\n",
            "ws_sent_bytes_total 42\n",
            "towline_connections{door=\"native\"} 1\n",
            "towline_closes_total{code=\"4401\"} 1\n",
            "towline_closes_total{code=\"other\"} 2\n",
            "towline_errors_total{code=\"MESSAGE_TOO_LARGE\"} 1\n",
            "towline_log_appended_total 7\n",
            "towline_jwks_failures_total 0\n",
            "towline_subscription_transitions_total{to=\"rejoined\"} 0\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
