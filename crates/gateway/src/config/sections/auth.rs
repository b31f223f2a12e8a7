//! Who may connect and publish.

use std::time::Duration;

use crate::config::setting::Meaning::{Opposite, Same};
use crate::config::setting::Setting;
use crate::config::table::secs;
use towline_auth::{AuthConfig, GrantRule, IssuerConfig, Secret};

/// Who may connect and publish.
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Secrets of services that may publish and subscribe everywhere.
    pub service_keys: Vec<Secret>,
    /// Shared secret of HS256 tokens.
    pub jwt_secret: Option<Secret>,
    /// What `aud` must hold in tokens signed with `jwt_secret` or by the Clerk issuer; empty: not checked.
    pub audiences: Vec<String>,
    /// Where Clerk (or any one issuer) publishes its keys.
    pub clerk_jwks_url: Option<String>,
    /// What `iss` must be in that issuer's tokens.
    pub clerk_issuer: Option<String>,
    /// Short form of both: `https://{domain}` and `https://{domain}/.well-known/jwks.json`.
    pub clerk_domain: Option<String>,
    /// `Some(true)`: nobody is asked for a token (loopback only). `Some(false)`: never. `None`: only where no issuer and no
    /// secret is configured, the address is loopback and the environment is development.
    pub disabled: Option<bool>,
    /// How far the clocks of issuer and server may differ.
    pub leeway: Duration,
    /// How long after its `exp` a token, and a socket opened with it, still lives.
    pub expiry_leeway: Duration,
    /// A token's socket is warned this long before the token expires.
    pub expiry_warning: Duration,
    /// Open connections are looked at this often: is the token's key still published, are its topics still allowed. OWASP advises 30 min.
    pub recheck_interval: Duration,
    /// The longest life of a token; longer ones are refused, and revocations are forgotten after it. None: any life, kept for ever.
    pub token_lifetime_max: Option<Duration>,
    /// Revocations in force at once, about 200 bytes each; then no further ones are taken.
    pub revocations_max: usize,
    /// Further issuers: `[[auth.issuers]]`.
    pub issuers: Vec<IssuerConfig>,
    /// Topics beyond `user:{sub}` and `org:{org_id}`: `[[auth.rules]]`. Without any, everybody with a token may watch `system`.
    pub rules: Vec<GrantRule>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        let auth = AuthConfig::default();
        Self {
            service_keys: Vec::new(),
            jwt_secret: None,
            audiences: Vec::new(),
            clerk_jwks_url: None,
            clerk_issuer: None,
            clerk_domain: None,
            disabled: None,
            leeway: auth.leeway,
            expiry_leeway: auth.expiry_leeway,
            expiry_warning: Duration::from_secs(60),
            recheck_interval: Duration::from_secs(30 * 60),
            token_lifetime_max: auth.token_lifetime_max,
            revocations_max: auth.revocations_max,
            issuers: Vec::new(),
            rules: auth.rules,
        }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new("auth.service_keys", |c| &mut c.auth.service_keys, "secrets of services that publish")
            .env("TOWLINE_SERVICE_KEYS"),
        Setting::new("auth.jwt_secret", |c| &mut c.auth.jwt_secret, "shared secret of HS256 tokens").env("TOWLINE_JWT_SECRET"),
        Setting::new("auth.audiences", |c| &mut c.auth.audiences, "what `aud` must hold, for the secret and the Clerk issuer"),
        Setting::new("auth.clerk_jwks_url", |c| &mut c.auth.clerk_jwks_url, "where the issuer publishes its keys")
            .alias("CLERK_JWKS_URL", Same),
        Setting::new("auth.clerk_issuer", |c| &mut c.auth.clerk_issuer, "what `iss` must be").alias("CLERK_ISSUER", Same),
        Setting::new("auth.clerk_domain", |c| &mut c.auth.clerk_domain, "short form of both, for Clerk")
            .alias("CLERK_DOMAIN", Same),
        Setting::new("auth.disabled", |c| &mut c.auth.disabled, "ask nobody for a token; loopback only")
            .alias("AUTH_DISABLED", Same)
            .alias("WEBSOCKET_REQUIRE_AUTH", Opposite),
        Setting::ranged("auth.leeway", secs(0, 120), |c| &mut c.auth.leeway, "how far the clocks may differ"),
        Setting::ranged("auth.expiry_leeway", secs(0, 120), |c| &mut c.auth.expiry_leeway, "how long a token outlives its exp"),
        Setting::ranged(
            "auth.expiry_warning",
            secs(0, 3_600),
            |c| &mut c.auth.expiry_warning,
            "a socket is warned this long before its token expires",
        ),
        Setting::ranged(
            "auth.recheck_interval",
            secs(10, 86_400),
            |c| &mut c.auth.recheck_interval,
            "open connections' keys and topics are looked at again this often",
        ),
        Setting::ranged(
            "auth.token_lifetime_max",
            (None, Some(Duration::from_secs(3_660 * 86_400))),
            |c| &mut c.auth.token_lifetime_max,
            "tokens that live longer are refused, and revocations are forgotten after it; none: any life, kept for ever",
        ),
        Setting::ranged("auth.revocations_max", (1, 10_000_000), |c| &mut c.auth.revocations_max, "revocations in force at once"),
    ]
}
