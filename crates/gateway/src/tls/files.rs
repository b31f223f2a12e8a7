//! The files that TLS is made of: read, checked against each other, and turned into what handshakes need.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig};
use towline_auth::CertificateFacts;
use towline_clock::Clock;

use crate::config::{ClientCertificates, TlsSettings};

/// A larger file is not one of these.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with the files of TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting}: {path}: {why}")]
pub struct TlsProblem {
    /// Which setting names the file.
    pub setting: &'static str,
    /// The file.
    pub path: String,
    /// What is wrong, and what to do.
    pub why: String,
}

/// The files' content at a moment.
pub(super) struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

/// Files that are good together.
pub struct Checked {
    /// From this Unix time in milliseconds on clients refuse the server's certificate.
    pub not_after_ms: u64,
    pub(super) config: Arc<ServerConfig>,
}

/// Whether the files named in the settings are good; `None` if TLS is off.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(settings: &TlsSettings, clock: &Clock) -> Result<Option<Checked>, TlsProblem> {
    Files::read(settings)?.map(|files| files.prepare(settings, clock)).transpose()
}

impl Files {
    /// The files as they are now; `None` if TLS is off.
    pub(super) fn read(settings: &TlsSettings) -> Result<Option<Self>, TlsProblem> {
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else { return Ok(None) };
        let client_ca = settings.client_ca.as_ref().map(|path| read("tls.client_ca", path)).transpose()?;
        Ok(Some(Self { certificate: read("tls.certificate", certificate)?, key: read("tls.key", key)?, client_ca }))
    }

    /// Tells this content from another. Not for security: who can write the files has the key anyway.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.certificate, &self.key, &self.client_ca).hash(&mut hasher);
        hasher.finish()
    }

    pub(super) fn prepare(&self, settings: &TlsSettings, clock: &Clock) -> Result<Checked, TlsProblem> {
        let chain = certificates("tls.certificate", settings.certificate.as_ref(), &self.certificate)?;
        let in_chain = |why: String| problem("tls.certificate", settings.certificate.as_ref(), why);
        let not_after_ms = CertificateFacts::read(&chain[0]).map_err(|error| in_chain(error.to_string()))?.not_after_ms;
        let in_key = |why: String| problem("tls.key", settings.key.as_ref(), why);
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| in_key(format!("no private key in PEM that this server reads: {error}")))?;
        let provider = Arc::new(default_provider());
        let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => in_key("is not the key of the certificate in `tls.certificate`".to_owned()),
            other => in_key(other.to_string()),
        })?;
        let time: Arc<dyn TimeProvider> = Arc::new(ServersTime(clock.clone()));
        let config = ServerConfig::builder_with_details(Arc::clone(&provider), time)
            .with_safe_default_protocol_versions()
            .map_err(|error| in_chain(error.to_string()))?;
        let mut config = match &self.client_ca {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let roots = authorities(settings.client_ca.as_ref(), pem)?;
                let verifier = verifier(roots, &provider, settings.client_certificates)
                    .map_err(|why| problem("tls.client_ca", settings.client_ca.as_ref(), why))?;
                config.with_client_cert_verifier(verifier)
            }
        }
        .with_cert_resolver(Arc::new(OneCertificate(Arc::new(certified))));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // What a resumed session needs is in its ticket, not in this process.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // A ticket stands for a client certificate as it was judged when the ticket was made; so where certificates say who somebody
        // is, each connection shows its own.
        if self.client_ca.is_none() {
            config.ticketer = Ticketer::new().map_err(|error| in_chain(error.to_string()))?;
            config.send_tls13_tickets = 1;
        }
        Ok(Checked { not_after_ms, config: Arc::new(config) })
    }
}

fn problem(setting: &'static str, path: Option<&PathBuf>, why: String) -> TlsProblem {
    TlsProblem { setting, path: path.map(|path| path.display().to_string()).unwrap_or_default(), why }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsProblem> {
    let fail = |why: String| TlsProblem { setting, path: path.display().to_string(), why };
    let length = std::fs::metadata(path).map_err(|error| fail(error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(fail(format!("has {length} bytes, which is no PEM file of certificates or a key")));
    }
    std::fs::read(path).map_err(|error| fail(error.to_string()))
}

fn certificates(setting: &'static str, path: Option<&PathBuf>, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(problem(setting, path, "holds no certificate in PEM".to_owned())),
        Ok(found) => Ok(found),
        Err(error) => Err(problem(setting, path, format!("is not PEM: {error}"))),
    }
}

fn authorities(path: Option<&PathBuf>, pem: &[u8]) -> Result<RootCertStore, TlsProblem> {
    let mut roots = RootCertStore::empty();
    for authority in certificates("tls.client_ca", path, pem)? {
        roots.add(authority).map_err(|error| problem("tls.client_ca", path, error.to_string()))?;
    }
    Ok(roots)
}

fn verifier(
    roots: RootCertStore,
    provider: &Arc<CryptoProvider>,
    wanted: ClientCertificates,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, String> {
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match wanted {
        ClientCertificates::Optional => builder.allow_unauthenticated(),
        ClientCertificates::Required => builder,
    };
    builder.build().map_err(|error| error.to_string())
}

/// The same certificate for every name: whether it is theirs is for clients to judge.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Certificates are judged by the server's clock.
#[derive(Debug)]
struct ServersTime(Clock);

impl TimeProvider for ServersTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.unix_ms())))
    }
}
