//! Certificates: when the one in use expires, and how its successors fare.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Certificate {
    certificate: &'static str,
}

/// TLS as an operator watches it. Handshakes are among those of the doors, under the door `tls`.
#[derive(Debug, Default)]
pub struct TlsMetrics {
    /// Certificates taken from their files while running.
    pub reloads: Counter,
    /// New certificates that were not good.
    pub reload_failures: Counter,
    /// A family, so that there is no such line without TLS.
    expires: Family<Certificate, Gauge>,
}

impl TlsMetrics {
    pub(super) fn register(&self, own: &mut Registry) {
        own.register("tls_reloads", "Certificates taken from their files while running", self.reloads.clone());
        own.register("tls_reload_failures", "New certificates that were not good", self.reload_failures.clone());
        let expires = "When the certificate in use expires, Unix seconds; absent without TLS";
        own.register("tls_certificate_expires_at_seconds", expires, self.expires.clone());
    }

    /// Notes when the server's certificate expires, in Unix milliseconds.
    pub fn certificate_expires(&self, not_after_ms: u64) {
        let seconds = i64::try_from(not_after_ms / 1000).unwrap_or(i64::MAX);
        self.expires.get_or_create(&Certificate { certificate: "server" }).set(seconds);
    }
}
