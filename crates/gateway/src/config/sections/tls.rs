//! TLS in the process, for those without a proxy.

use std::path::PathBuf;
use std::time::Duration;

use towline_auth::NameField;

use crate::config::setting::Setting;
use crate::config::table::millis;

/// TLS in the process. Off unless a certificate is named.
#[derive(Debug, Clone)]
pub struct TlsSettings {
    /// PEM file with the server's certificate, and those between it and its authority.
    pub certificate: Option<PathBuf>,
    /// PEM file with its private key.
    pub key: Option<PathBuf>,
    /// PEM file with the authorities whose certificates clients may show. Without it no client is asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show one.
    pub client_certificates: ClientCertificates,
    /// Where the name of a service stands in its certificate. By default nowhere: who holds a certificate still needs a token.
    pub client_name: NameField,
    /// The names that are services; empty: every name that the authorities certify. Give it if they certify others too.
    pub client_names: Vec<String>,
    /// The files are looked at this often, and taken if they have changed.
    pub reload_interval: Duration,
}

/// Whether a client must show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificates {
    /// It may; a wrong one is refused.
    #[default]
    Optional,
    /// It must.
    Required,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            client_certificates: ClientCertificates::default(),
            client_name: NameField::default(),
            client_names: Vec::new(),
            reload_interval: Duration::from_secs(10),
        }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new("tls.certificate", |c| &mut c.tls.certificate, "PEM file with the server's certificates; turns TLS on"),
        Setting::new("tls.key", |c| &mut c.tls.key, "PEM file with its private key"),
        Setting::new("tls.client_ca", |c| &mut c.tls.client_ca, "PEM file with the authorities of clients' certificates"),
        Setting::new("tls.client_certificates", |c| &mut c.tls.client_certificates, "optional or required"),
        Setting::new(
            "tls.client_name",
            |c| &mut c.tls.client_name,
            "where a certificate names a service, which needs no key then",
        ),
        Setting::new(
            "tls.client_names",
            |c| &mut c.tls.client_names,
            "the names that are services; none: all that are certified",
        ),
        Setting::ranged(
            "tls.reload_interval",
            millis(100, 3_600_000),
            |c| &mut c.tls.reload_interval,
            "the files are looked at this often",
        ),
    ]
}
