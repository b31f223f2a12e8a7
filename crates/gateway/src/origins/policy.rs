//! The policy of a server: what it allows in its environment.

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue};

use super::origin::Origin;
use super::pattern::OriginPattern;
use crate::config::{Environment, OriginSettings};

/// Which pages may use a server.
#[derive(Debug, Clone)]
pub struct OriginPolicy {
    patterns: Vec<OriginPattern>,
    /// Pages of this machine, on any port.
    local: bool,
}

/// What a request says about the page that sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// No browser, or a request within the page's own origin that is not worth a header to it.
    Unnamed,
    /// A page that may, and its origin as it was sent.
    Allowed(HeaderValue),
    /// A page that may not, or something that no browser sends.
    Refused,
}

impl OriginPolicy {
    /// Development allows the pages of this machine, staging its own hosts, and all of them the allowed ones. What cannot be read
    /// allows nothing; a configuration that was loaded has none of that.
    #[must_use]
    pub fn new(environment: Environment, settings: &OriginSettings) -> Self {
        let staging = if environment == Environment::Staging { settings.staging.as_slice() } else { &[] };
        let patterns = settings.allowed.iter().chain(staging).filter_map(|text| OriginPattern::parse(text).ok()).collect();
        Self { patterns, local: environment == Environment::Development }
    }

    /// Judges a request.
    #[must_use]
    pub fn judge(&self, headers: &HeaderMap) -> Page {
        let mut values = headers.get_all(ORIGIN).iter();
        match (values.next(), values.next()) {
            (None, _) => Page::Unnamed,
            (Some(value), None) if value.to_str().is_ok_and(|text| self.allows(text)) => Page::Allowed(value.clone()),
            // Two origins are none: whoever stands between may have looked at the other one.
            _ => Page::Refused,
        }
    }

    fn allows(&self, text: &str) -> bool {
        let Ok(origin) = Origin::parse(text) else { return false };
        self.local && origin.is_local() || self.patterns.iter().any(|pattern| pattern.matches(&origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(environment: Environment, origins: &[&str]) -> Page {
        let settings = OriginSettings {
            allowed: vec!["https://app.example.com".into()],
            staging: vec!["https://*.staging.example.com".into()],
            ..OriginSettings::default()
        };
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append(ORIGIN, HeaderValue::from_bytes(origin.as_bytes()).unwrap());
        }
        OriginPolicy::new(environment, &settings).judge(&headers)
    }

    // proves: C5
    #[test]
    fn each_environment_has_its_pages() {
        use Environment::{Development, Production, Staging};
        for (origin, allowed_in) in [
            ("https://app.example.com", &[Development, Staging, Production][..]),
            ("https://a.staging.example.com", &[Staging]),
            ("http://localhost:3000", &[Development]),
            ("http://127.0.0.1:8080", &[Development]),
            ("http://[::1]:8080", &[Development]),
            ("http://localhost.evil.test", &[]),
            ("https://evil.test", &[]),
            ("null", &[]),
        ] {
            for environment in [Development, Staging, Production] {
                let expected = match allowed_in.contains(&environment) {
                    true => Page::Allowed(HeaderValue::from_static(origin)),
                    false => Page::Refused,
                };
                assert_eq!(judge(environment, &[origin]), expected, "{origin} in {environment:?}");
            }
        }
    }

    // proves: C5
    #[test]
    fn a_request_names_one_page_or_none() {
        let production = |origins: &[&str]| judge(Environment::Production, origins);
        assert_eq!(production(&[]), Page::Unnamed);
        for several in
            [&["https://app.example.com", "https://evil.test"][..], &["https://app.example.com", "https://app.example.com"]]
        {
            assert_eq!(production(several), Page::Refused, "{several:?}");
        }
        for bad in ["", "https://app.example.com https://evil.test", "https://app.example.com\u{e9}"] {
            assert_eq!(production(&[bad]), Page::Refused, "{bad:?}");
        }
    }
}
