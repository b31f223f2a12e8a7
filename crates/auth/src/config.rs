//! What an operator may say about authentication, and all that can be wrong with it. Reads no file and no environment.

use std::fmt;
use std::time::Duration;

use reqwest::Url;

use crate::authenticator::AuthMode;
use crate::claims::{ClaimPath, subject_is_valid};
use crate::grant::{GrantCondition, GrantRule, RuleBook};
use crate::issuer::{IssuerConfig, key_address};
use crate::jwks::JwksPolicy;
use crate::secret::Secret;
use crate::service_key::{SERVICE_KEY_BYTES_MIN, ServiceKey};

/// HS256 is attacked off line with one captured token, so its secret must have the strength of its hash (RFC 7518 section 3.2).
const SHARED_SECRET_BYTES_MIN: usize = 32;
const LEEWAY_MAX: Duration = Duration::from_secs(120);
/// Nobody issues tokens for less.
const TOKEN_LIFETIME_MIN: Duration = Duration::from_secs(10);
const ENTRIES_MAX: usize = 64;

/// Everything about authentication that is configured.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// Whether credentials are demanded. Default: enforced.
    pub mode: AuthMode,
    /// Issuers whose published keys are trusted. Their subjects share one name space: user `1` of one is user `1` of the other.
    pub issuers: Vec<IssuerConfig>,
    /// Secrets shared with whoever mints HS256 tokens. Several: all are accepted, which is how to change one without an outage.
    pub shared_secrets: Vec<SharedSecret>,
    /// Services and their keys.
    pub service_keys: Vec<ServiceKey>,
    /// Take service keys shorter than 8 bytes: for trying things out, where nobody else reaches the server. Default: no.
    pub short_service_keys: bool,
    /// Where claims are found.
    pub claims: ClaimNames,
    /// How far `nbf` and `iat` may lie in the future because clocks differ. Default 30 s, at most 120 s.
    pub leeway: Duration,
    /// How long after `exp` a token, and a socket opened with it, still lives. Default 0, at most 120 s.
    pub expiry_leeway: Duration,
    /// The longest life of a token, from `iat` (or now) to `exp`; longer ones are refused, and a revocation is forgotten after it. None
    /// (the default): any life, and revocations are kept for ever.
    pub token_lifetime_max: Option<Duration>,
    /// Revocations in force at once. Default 100,000, about 200 bytes each.
    pub revocations_max: usize,
    /// Who may watch and publish what beyond their own topics. Default: everybody with a token may watch `system`.
    pub rules: Vec<GrantRule>,
    /// How issuers' keys are fetched and kept.
    pub jwks: JwksPolicy,
}

impl Default for AuthConfig {
    fn default() -> Self {
        let system = GrantRule { when: GrantCondition::Authenticated, subscribe: vec!["system".to_owned()], publish: Vec::new() };
        Self {
            mode: AuthMode::Enforced,
            issuers: Vec::new(),
            shared_secrets: Vec::new(),
            service_keys: Vec::new(),
            short_service_keys: false,
            claims: ClaimNames::default(),
            leeway: Duration::from_secs(30),
            expiry_leeway: Duration::ZERO,
            token_lifetime_max: None,
            revocations_max: 100_000,
            rules: vec![system],
            jwks: JwksPolicy::default(),
        }
    }
}

/// A secret shared with a minter of HS256 tokens.
#[derive(Debug, Clone)]
pub struct SharedSecret {
    /// The secret, used as its bytes stand: 32 at least, but in development.
    pub secret: Secret,
    /// The exact `iss` that its tokens must carry. None: not looked at.
    pub issuer: Option<String>,
    /// Tokens must name one of these in `aud`. Empty: not looked at.
    pub audiences: Vec<String>,
}

impl SharedSecret {
    /// A secret for tokens of any issuer and audience.
    #[must_use]
    pub fn new(secret: impl Into<Secret>) -> Self {
        Self { secret: secret.into(), issuer: None, audiences: Vec::new() }
    }
}

/// Where the claims are that Towline reads beside the registered ones.
#[derive(Debug, Clone)]
pub struct ClaimNames {
    /// The organisation; the first that is there counts. Default: `org_id`, then Clerk's `o.id`.
    pub organisation: Vec<ClaimPath>,
    /// Lists of patterns that the holder may watch; all count. Default: `topics` and `towline.subscribe`.
    pub subscribe: Vec<ClaimPath>,
    /// Lists of patterns that the holder may publish on; all count. Default: `towline.publish`.
    pub publish: Vec<ClaimPath>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            organisation: vec!["org_id".into(), "o.id".into()],
            subscribe: vec!["topics".into(), "towline.subscribe".into()],
            publish: vec!["towline.publish".into()],
        }
    }
}

/// One thing wrong with an [`AuthConfig`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthProblem {
    /// Which field: `issuers[0].jwks_url`.
    pub setting: String,
    /// What is wrong and what to do. Never contains a secret.
    pub message: String,
}

impl fmt::Display for AuthProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.setting, self.message)
    }
}

/// Everything that is wrong with an [`AuthConfig`]: at least one problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthConfigError(pub Vec<AuthProblem>);

impl fmt::Display for AuthConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration of authentication is not usable")?;
        self.0.iter().try_for_each(|problem| write!(f, "; {problem}"))
    }
}

impl std::error::Error for AuthConfigError {}

/// What a configuration becomes once it is found good.
pub(crate) struct Checked {
    pub(crate) rules: RuleBook,
    /// The address of each issuer's keys, in the order of `issuers`.
    pub(crate) urls: Vec<Url>,
}

impl AuthConfig {
    /// Finds every problem at once.
    pub(crate) fn check(&self) -> Result<Checked, AuthConfigError> {
        let mut problems = Vec::new();
        let mut problem = |setting: String, message: String| problems.push(AuthProblem { setting, message });
        self.check_presence(&mut problem);
        self.check_secrets(&mut problem);
        self.check_service_keys(&mut problem);
        let urls = self.check_issuers(&mut problem);
        self.jwks.check(&mut problem);
        let rules = RuleBook::new(&self.rules, &self.claims, &mut problem);
        if problems.is_empty() { Ok(Checked { rules, urls }) } else { Err(AuthConfigError(problems)) }
    }

    fn check_presence(&self, problem: &mut impl FnMut(String, String)) {
        if self.mode == AuthMode::Enforced
            && self.issuers.is_empty()
            && self.shared_secrets.is_empty()
            && self.service_keys.is_empty()
        {
            let what = "nobody could connect: configure an issuer, a shared secret or a service key, or use development mode";
            problem("mode".to_owned(), what.to_owned());
        }
        for (setting, value) in [("leeway", self.leeway), ("expiry_leeway", self.expiry_leeway)] {
            if value > LEEWAY_MAX {
                problem(setting.to_owned(), format!("at most {} s are allowed, not {} s", LEEWAY_MAX.as_secs(), value.as_secs()));
            }
        }
        if self.token_lifetime_max.is_some_and(|most| most < TOKEN_LIFETIME_MIN) {
            let seconds = TOKEN_LIFETIME_MIN.as_secs();
            problem("token_lifetime_max".to_owned(), format!("must be {seconds} s at least, or left out for tokens of any life"));
        }
        let counts = [self.issuers.len(), self.shared_secrets.len(), self.service_keys.len()];
        for (setting, count) in ["issuers", "shared_secrets", "service_keys"].into_iter().zip(counts) {
            if count > ENTRIES_MAX {
                problem(setting.to_owned(), format!("at most {ENTRIES_MAX} are supported, not {count}"));
            }
        }
    }

    fn check_secrets(&self, problem: &mut impl FnMut(String, String)) {
        for (i, shared) in self.shared_secrets.iter().enumerate() {
            let bytes = shared.secret.expose().len();
            let enough = if self.mode == AuthMode::Development { 1 } else { SHARED_SECRET_BYTES_MIN };
            if bytes < enough {
                problem(
                    format!("shared_secrets[{i}].secret"),
                    format!(
                        "has {bytes} bytes and needs {enough}: anybody who sees one token can search for a short secret off line; \
                         make one with `openssl rand -base64 32`"
                    ),
                );
            }
        }
    }

    fn check_service_keys(&self, problem: &mut impl FnMut(String, String)) {
        let bytes_min = if self.short_service_keys { 1 } else { SERVICE_KEY_BYTES_MIN };
        for (i, key) in self.service_keys.iter().enumerate() {
            let secret = key.secret.expose();
            if secret.len() < bytes_min || secret.len() > crate::TOKEN_BYTES_MAX {
                let message =
                    format!("must have {bytes_min} to {} bytes; make one with `openssl rand -base64 32`", crate::TOKEN_BYTES_MAX);
                problem(format!("service_keys[{i}].secret"), message);
            }
            if !secret.bytes().all(|b| b.is_ascii_graphic()) {
                problem(format!("service_keys[{i}].secret"), "may have visible ASCII characters only".to_owned());
            }
            if !subject_is_valid(&key.name) {
                let message = format!("{:?} must have 1 to 128 bytes of letters, digits and _ - . @ | + = / ~", key.name);
                problem(format!("service_keys[{i}].name"), message);
            }
            for (j, other) in self.service_keys[..i].iter().enumerate() {
                if other.name == key.name {
                    problem(format!("service_keys[{i}].name"), format!("is the same as that of service_keys[{j}]"));
                }
                if other.secret == key.secret {
                    problem(format!("service_keys[{i}].secret"), format!("is the same as that of service_keys[{j}]"));
                }
            }
        }
    }

    fn check_issuers(&self, problem: &mut impl FnMut(String, String)) -> Vec<Url> {
        let mut urls = Vec::with_capacity(self.issuers.len());
        for (i, issuer) in self.issuers.iter().enumerate() {
            match key_address(&issuer.jwks_url) {
                Ok(url) => urls.push(url),
                Err(why) => problem(format!("issuers[{i}].jwks_url"), why),
            }
            if issuer.issuer.as_deref() == Some("") {
                problem(format!("issuers[{i}].issuer"), "is empty; leave it out to accept any".to_owned());
            }
            if issuer.algorithms.is_empty() {
                problem(format!("issuers[{i}].algorithms"), "names none, so no token could be valid".to_owned());
            }
            if let Some(j) = self.issuers[..i].iter().position(|other| other.issuer == issuer.issuer) {
                let message = format!("is the same as that of issuers[{j}], so nobody could say whose keys count");
                problem(format!("issuers[{i}].issuer"), message);
            }
        }
        urls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(config: &AuthConfig) -> Vec<String> {
        config.check().err().map(|error| error.0.into_iter().map(|p| p.setting).collect()).unwrap_or_default()
    }

    #[test]
    fn all_problems_are_reported_together_and_none_shows_a_secret() {
        let config = AuthConfig {
            issuers: vec![
                IssuerConfig::new(Some("a"), "http://example.com/jwks"),
                IssuerConfig::new(Some("a"), "https://user:hunter2@example.com/"),
            ],
            shared_secrets: vec![SharedSecret::new("hunter2")],
            service_keys: vec![ServiceKey::for_everything("a:b", "hunter2"), ServiceKey::for_everything("x", "with space")],
            leeway: Duration::from_secs(121),
            rules: vec![GrantRule {
                when: GrantCondition::Authenticated,
                subscribe: vec!["user:{sub}*".into()],
                publish: vec![],
            }],
            ..AuthConfig::default()
        };
        let found = settings(&config);
        for setting in [
            "leeway",
            "shared_secrets[0].secret",
            "service_keys[0].secret",
            "service_keys[0].name",
            "service_keys[1].secret",
            "issuers[0].jwks_url",
            "issuers[1].jwks_url",
            "issuers[1].issuer",
            "rules[0].subscribe",
        ] {
            assert!(found.iter().any(|s| s == setting), "{setting} is missing in {found:?}");
        }
        assert!(!config.check().err().unwrap().to_string().contains("hunter2"));
    }

    #[test]
    fn a_short_secret_is_refused_but_in_development() {
        let short = vec![SharedSecret::new("short")];
        let enforced = AuthConfig { shared_secrets: short.clone(), ..AuthConfig::default() };
        assert_eq!(settings(&enforced), ["shared_secrets[0].secret"]);
        let development = AuthConfig { mode: AuthMode::Development, shared_secrets: short, ..AuthConfig::default() };
        assert!(settings(&development).is_empty());
        assert_eq!(settings(&AuthConfig::default()), ["mode"]);
    }
}
