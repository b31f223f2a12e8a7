//! One scrape: the counted metrics, and what log, keys and process say about themselves at this moment.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use towline_auth::{DelegationStats, KeyStats};
use towline_log::LogStats;

use super::{Metrics, process};

/// A figure that somebody else keeps.
#[derive(Debug, Clone, Copy)]
struct Figure {
    /// Its name, without `_total`.
    name: &'static str,
    /// What it counts.
    help: &'static str,
    /// Its value.
    value: Reading,
}

/// A value at a moment.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// Only ever grows.
    Counter(u64),
    /// Only ever grows, with a fraction.
    Seconds(f64),
    /// Goes up and down.
    Gauge(u64),
}

impl Metrics {
    /// The text for `/metrics`, in the OpenMetrics format.
    #[must_use]
    pub fn scrape(&self, log: &LogStats, keys: &KeyStats, asked: &DelegationStats) -> String {
        let mut figures = log_figures(log);
        figures.extend(key_figures(keys));
        figures.extend(delegation_figures(asked));
        figures.extend(process_figures());
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Figures(figures)));
        let mut text = String::with_capacity(16 << 10);
        // Writing to a string does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &registry);
        let _ = encode_eof(&mut text);
        text
    }
}

fn figure(name: &'static str, help: &'static str, value: Reading) -> Figure {
    Figure { name, help, value }
}

fn log_figures(log: &LogStats) -> Vec<Figure> {
    use Reading::{Counter, Gauge, Seconds};
    vec![
        figure("towline_log_appended", "Events stored", Counter(log.appended_total)),
        figure("towline_log_duplicates", "Events recognised as already stored", Counter(log.duplicates_total)),
        figure("towline_log_refused", "Appends refused or failed", Counter(log.refused_total)),
        figure("towline_log_commits", "Group commits", Counter(log.commits_total)),
        figure("towline_log_syncs", "Syncs to the device", Counter(log.syncs_total)),
        figure("towline_log_sync_seconds", "Time spent in syncs", Seconds(log.sync_micros_total as f64 / 1e6)),
        figure("towline_log_trimmed", "Events removed by retention", Counter(log.trimmed_total)),
        figure("towline_log_topics", "Topics known", Gauge(log.topics)),
        figure("towline_log_disk_bytes", "Bytes on disk", Gauge(log.disk_bytes)),
        figure("towline_log_segments", "Segments on disk", Gauge(log.segments)),
    ]
}

fn key_figures(keys: &KeyStats) -> [Figure; 6] {
    use Reading::{Counter, Gauge};
    [
        figure("towline_jwks_issuers", "Issuers with published keys", Gauge(keys.issuers)),
        figure("towline_jwks_issuers_known", "Issuers whose keys are at hand", Gauge(keys.issuers_known)),
        figure("towline_jwks_keys", "Keys at hand", Gauge(keys.keys)),
        figure("towline_jwks_fetches", "Fetches of keys that ended", Counter(keys.fetches_total)),
        figure("towline_jwks_failures", "Fetches of keys that failed", Counter(keys.failures_total)),
        figure("towline_jwks_age_seconds", "Age of the keys fetched longest ago", Gauge(keys.oldest.as_secs())),
    ]
}

fn delegation_figures(asked: &DelegationStats) -> [Figure; 9] {
    use Reading::{Counter, Gauge};
    [
        figure("towline_authorization_allowed", "Calls to the application that said yes", Counter(asked.allowed_total)),
        figure("towline_authorization_refused", "Calls to the application that said no", Counter(asked.refused_total)),
        figure("towline_authorization_cached", "Questions that a kept answer settled", Counter(asked.cached_total)),
        figure("towline_authorization_timeouts", "Calls to the application that took too long", Counter(asked.timeouts_total)),
        figure("towline_authorization_failures", "Calls to the application without an answer", Counter(asked.failures_total)),
        figure("towline_authorization_busy", "Questions not asked: too many waited", Counter(asked.busy_total)),
        figure(
            "towline_authorization_paused_questions",
            "Questions not asked: calls had failed in a row",
            Counter(asked.paused_total),
        ),
        figure("towline_authorization_paused", "Whether nobody is asked for a while", Gauge(asked.paused.into())),
        figure("towline_authorization_answers", "Answers kept", Gauge(asked.answers)),
    ]
}

fn process_figures() -> Vec<Figure> {
    use Reading::{Gauge, Seconds};
    let Some(process) = process::read() else { return Vec::new() };
    vec![
        figure("process_resident_memory_bytes", "Resident memory", Gauge(process.resident_bytes)),
        figure("towline_memory_limit_bytes", "Memory that the process may use", Gauge(process.memory_limit_bytes)),
        figure("process_open_fds", "Open file descriptors", Gauge(process.open_fds)),
        figure("process_max_fds", "Most file descriptors allowed", Gauge(process.max_fds)),
        figure("process_cpu_seconds", "CPU time used", Seconds(process.cpu_seconds)),
        figure("process_threads", "Threads", Gauge(process.threads)),
    ]
}

struct Figures(Vec<Figure>);

impl fmt::Debug for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Figures").field(&self.0.len()).finish()
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for figure in &self.0 {
            match figure.value {
                Reading::Counter(value) => write(&mut encoder, figure, &ConstCounter::new(value))?,
                Reading::Seconds(value) => write(&mut encoder, figure, &ConstCounter::new(value))?,
                Reading::Gauge(value) => write(&mut encoder, figure, &ConstGauge::new(value))?,
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut DescriptorEncoder<'_>, figure: &Figure, metric: &dyn EncodeMetric) -> Result<(), fmt::Error> {
    metric.encode(encoder.encode_descriptor(figure.name, figure.help, None, metric.metric_type())?)
}
