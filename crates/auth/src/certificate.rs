//! What a client's certificate says about who it is. Whether it may be believed was decided before: by whoever verified its chain.

use std::fmt;

use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Where in a certificate a service's name stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameField {
    /// Nowhere: a certificate opens the connection and says nothing more.
    #[default]
    None,
    /// A DNS name among the subject's alternative names.
    Dns,
    /// A URI among them, such as a SPIFFE id.
    Uri,
    /// The subject's common name.
    CommonName,
}

/// A certificate, as far as this server is interested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// From this Unix time in milliseconds on it is no longer valid.
    pub not_after_ms: u64,
    dns: Vec<String>,
    uris: Vec<String>,
    common_name: Option<String>,
}

/// The bytes are no certificate of X.509.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateError(String);

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a certificate: {}", self.0)
    }
}

impl std::error::Error for CertificateError {}

impl CertificateFacts {
    /// Reads a certificate in DER (RFC 5280). Verifies nothing.
    ///
    /// # Errors
    /// It is none.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let bad = |error: x509_cert::der::Error| CertificateError(error.to_string());
        let certificate = Certificate::from_der(der).map_err(bad)?;
        let content = certificate.tbs_certificate();
        let not_after = content.validity().not_after.to_unix_duration();
        let mut facts = Self {
            not_after_ms: u64::try_from(not_after.as_millis()).unwrap_or(u64::MAX),
            dns: Vec::new(),
            uris: Vec::new(),
            // In an encoding of the last century it is no name.
            common_name: content.subject().common_name().ok().flatten().map(|name| name.value().into_owned()),
        };
        if let Some((_, names)) = content.get_extension::<SubjectAltName>().map_err(bad)? {
            for name in names.0 {
                match name {
                    GeneralName::DnsName(name) => facts.dns.push(name.as_str().to_owned()),
                    GeneralName::UniformResourceIdentifier(uri) => facts.uris.push(uri.as_str().to_owned()),
                    _ => {}
                }
            }
        }
        Ok(facts)
    }

    /// The service's name: the first in this field that is among `allowed`, or the first at all if nobody is listed.
    #[must_use]
    pub fn name(&self, field: NameField, allowed: &[String]) -> Option<&str> {
        let names = match field {
            NameField::None => &[][..],
            NameField::Dns => &self.dns,
            NameField::Uri => &self.uris,
            NameField::CommonName => self.common_name.as_slice(),
        };
        names.iter().find(|name| allowed.is_empty() || allowed.contains(name)).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::string::Ia5String;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;

    fn der(sans: Vec<SanType>, common_name: Option<&str>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = sans;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn ia5(text: &str) -> Ia5String {
        Ia5String::try_from(text).unwrap()
    }

    #[test]
    fn the_name_stands_where_the_configuration_says() {
        let sans = vec![
            SanType::DnsName(ia5("billing.internal")),
            SanType::DnsName(ia5("old-billing.internal")),
            SanType::URI(ia5("spiffe://prod/billing")),
        ];
        let facts = CertificateFacts::read(&der(sans, Some("Billing"))).unwrap();
        assert_eq!(facts.not_after_ms, 1_927_843_200_000);
        for (field, name) in [
            (NameField::None, None),
            (NameField::Dns, Some("billing.internal")),
            (NameField::Uri, Some("spiffe://prod/billing")),
            (NameField::CommonName, Some("Billing")),
        ] {
            assert_eq!(facts.name(field, &[]), name, "{field:?}");
        }
        let allowed = ["old-billing.internal".to_owned()];
        assert_eq!(facts.name(NameField::Dns, &allowed), Some("old-billing.internal"));
        assert_eq!(facts.name(NameField::Uri, &allowed), None);
        let bare = CertificateFacts::read(&der(vec![], None)).unwrap();
        assert_eq!(bare.name(NameField::CommonName, &[]), None);
    }

    #[test]
    fn what_is_cut_or_changed_is_no_certificate_or_another() {
        let whole = der(vec![SanType::DnsName(ia5("a.example"))], Some("a"));
        for end in 0..whole.len() {
            assert!(CertificateFacts::read(&whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            // Whatever it is now: no panic.
            let _ = CertificateFacts::read(&changed);
        }
    }
}
