//! A certificate authority for tests: certificates made here, files for a server, configurations for clients.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;

/// An authority with a key of its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    directory: TempDir,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Certified {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// A certificate to be made. Valid from 2020 to 2099 unless said otherwise.
pub struct CertificateRequest<'a> {
    authority: &'a Authority,
    params: CertificateParams,
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    /// Without a source of randomness.
    #[must_use]
    pub fn new() -> Self {
        let mut params = params();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority for tests");
        let key = KeyPair::generate().unwrap_or_else(|error| panic!("a key: {error}"));
        let certificate = params.self_signed(&key).unwrap_or_else(|error| panic!("a certificate: {error}"));
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a temporary directory: {error}"));
        let this = Self { pem: certificate.pem(), issuer: Issuer::new(params, key), directory };
        this.write("ca.pem", &this.pem);
        this
    }

    /// A certificate of a server on this machine.
    #[must_use]
    pub fn server(&self) -> CertificateRequest<'_> {
        let mut params = params();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into()), SanType::DnsName(text("localhost"))];
        CertificateRequest { authority: self, params }
    }

    /// A certificate of a client.
    #[must_use]
    pub fn client(&self) -> CertificateRequest<'_> {
        let mut params = params();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        CertificateRequest { authority: self, params }
    }

    /// Its own certificate as a file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// Puts a certificate and its key into files, over those that are there: `certificate` and `key`.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn install(&self, certified: &Certified) -> (PathBuf, PathBuf) {
        (self.write("certificate.pem", &certified.certificate), self.write("key.pem", &certified.key))
    }

    /// Puts any text into a file of this name, at once.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        let beside = path.with_extension("new");
        std::fs::write(&beside, text).and_then(|()| std::fs::rename(&beside, &path)).unwrap_or_else(|error| panic!("{error}"));
        path
    }

    /// What a client needs to trust this authority's servers, and to show a certificate if it has one.
    ///
    /// # Panics
    /// If the certificate is none.
    #[must_use]
    pub fn client_config(&self, shown: Option<&Certified>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.pem) {
            roots.add(certificate).unwrap_or_else(|error| panic!("{error}"));
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap_or_else(|error| panic!("{error}"));
        let builder = builder.with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(Certified { certificate, key }) => {
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
                builder.with_client_auth_cert(certificates(certificate), key).unwrap_or_else(|error| panic!("{error}"))
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl CertificateRequest<'_> {
    /// With this common name.
    #[must_use]
    pub fn common_name(mut self, name: &str) -> Self {
        self.params.distinguished_name.push(DnType::CommonName, name);
        self
    }

    /// With this DNS name.
    #[must_use]
    pub fn dns(mut self, name: &str) -> Self {
        self.params.subject_alt_names.push(SanType::DnsName(text(name)));
        self
    }

    /// With this URI.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        self.params.subject_alt_names.push(SanType::URI(text(uri)));
        self
    }

    /// Valid until a Unix time.
    #[must_use]
    pub fn until_unix(mut self, unix: Duration) -> Self {
        self.params.not_after = rcgen::date_time_ymd(1970, 1, 1) + unix;
        self
    }

    /// Makes it.
    ///
    /// # Panics
    /// Without a source of randomness.
    #[must_use]
    pub fn make(self) -> Certified {
        let key = KeyPair::generate().unwrap_or_else(|error| panic!("a key: {error}"));
        let certificate = self.params.signed_by(&key, &self.authority.issuer).unwrap_or_else(|error| panic!("{error}"));
        Certified { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2099, 1, 1);
    params
}

fn text(text: &str) -> rcgen::string::Ia5String {
    text.try_into().unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).map(|found| found.unwrap_or_else(|error| panic!("{error}"))).collect()
}
