//! Whom Towline trusts to sign tokens, and where that one's keys are.

use reqwest::Url;

use crate::algorithm::SigningAlgorithm;

/// An issuer with published keys.
#[derive(Debug, Clone)]
pub struct IssuerConfig {
    /// The exact `iss` of its tokens. None: tokens with any or no `iss` that no other entry names; only one entry may say so.
    pub issuer: Option<String>,
    /// Where its keys are: https, or http on a loopback host.
    pub jwks_url: String,
    /// Tokens must name one of these in `aud`. Empty: `aud` is not looked at.
    pub audiences: Vec<String>,
    /// The algorithms it signs with. Default: all asymmetric ones; a published key's own `alg` narrows it.
    pub algorithms: Vec<SigningAlgorithm>,
}

impl IssuerConfig {
    /// An issuer by the address of its keys.
    #[must_use]
    pub fn new(issuer: Option<&str>, jwks_url: &str) -> Self {
        Self {
            issuer: issuer.map(str::to_owned),
            jwks_url: jwks_url.to_owned(),
            audiences: Vec::new(),
            algorithms: SigningAlgorithm::ALL.to_vec(),
        }
    }

    /// A Clerk instance by its domain, with or without `https://`: issuer, address of the keys and RS256 follow from it.
    #[must_use]
    pub fn clerk(domain: &str) -> Self {
        let domain = domain.trim().trim_start_matches("https://").trim_end_matches('/');
        let algorithms = vec![SigningAlgorithm::Rs256];
        Self { algorithms, ..Self::new(Some(&format!("https://{domain}")), &format!("https://{domain}/.well-known/jwks.json")) }
    }

    /// The issuer that Clerk's customary settings describe, each absent or not: `CLERK_DOMAIN`, `CLERK_JWKS_URL`, `CLERK_ISSUER`.
    ///
    /// An address or issuer that is given wins over what follows from the domain; with an issuer alone, its keys are at the well-known
    /// path below it. None if nothing is given.
    #[must_use]
    pub fn from_clerk_settings(domain: Option<&str>, jwks_url: Option<&str>, issuer: Option<&str>) -> Option<Self> {
        let mut config = match (domain, jwks_url, issuer) {
            (Some(domain), _, _) => Self::clerk(domain),
            (None, Some(url), _) => Self::new(None, url),
            (None, None, Some(issuer)) => Self::new(None, &format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/'))),
            (None, None, None) => return None,
        };
        if let Some(url) = jwks_url {
            url.clone_into(&mut config.jwks_url);
        }
        if let Some(issuer) = issuer {
            config.issuer = Some(issuer.to_owned());
        }
        Some(config)
    }
}

/// Keys that travel in the clear can be swapped by anybody on the way, so only a loopback host may be spoken to without TLS.
pub(crate) fn key_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    let host = url.host_str().ok_or("names no host")?;
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let loopback = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if !url.username().is_empty() || url.password().is_some() {
        return Err("may not carry a user name or password".to_owned());
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback => Ok(url),
        "http" => Err("must be https: only a loopback host may be asked without TLS".to_owned()),
        _ => Err("must be an https address".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_addresses_are_https_or_loopback() {
        for good in ["https://example.com/jwks", "http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost/x"] {
            assert!(key_address(good).is_ok(), "{good}");
        }
        let bad = ["http://example.com/", "http://localhost.evil.com/", "http://127.0.0.1.evil.com/", "file:///etc/passwd", "x"];
        for bad in bad.into_iter().chain(["http://10.0.0.1/", "http://0.0.0.0/", "ftp://127.0.0.1/", "http://u@127.0.0.1/"]) {
            assert!(key_address(bad).is_err(), "{bad}");
        }
    }

    // proves: A10
    #[test]
    fn clerks_address_follows_from_its_domain() {
        for domain in ["clerk.example.com", "https://clerk.example.com/", " clerk.example.com"] {
            let issuer = IssuerConfig::clerk(domain);
            assert_eq!(issuer.jwks_url, "https://clerk.example.com/.well-known/jwks.json");
            assert_eq!(issuer.issuer.as_deref(), Some("https://clerk.example.com"));
        }
    }

    // proves: C11
    #[test]
    fn clerks_settings_complete_each_other() {
        let of = |domain, url, issuer| {
            IssuerConfig::from_clerk_settings(domain, url, issuer).map(|config| (config.issuer, config.jwks_url))
        };
        let expect = |issuer: Option<&str>, url: &str| Some((issuer.map(str::to_owned), url.to_owned()));
        assert_eq!(of(None, None, None), None);
        assert_eq!(of(Some("c.dev"), None, None), expect(Some("https://c.dev"), "https://c.dev/.well-known/jwks.json"));
        assert_eq!(of(None, Some("https://k/j"), None), expect(None, "https://k/j"));
        assert_eq!(of(None, Some("https://k/j"), Some("https://i")), expect(Some("https://i"), "https://k/j"));
        assert_eq!(of(None, None, Some("https://i/")), expect(Some("https://i/"), "https://i/.well-known/jwks.json"));
        assert_eq!(of(Some("c.dev"), Some("https://k/j"), Some("https://i")), expect(Some("https://i"), "https://k/j"));
    }
}
