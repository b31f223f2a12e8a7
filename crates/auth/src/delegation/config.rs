//! What an operator may say about asking the application, and all that can be wrong with it.

use std::time::Duration;

use reqwest::Url;
use towline_protocol::TopicPattern;

use super::call::Caller;
use crate::config::{AuthConfigError, AuthProblem};
use crate::issuer::key_address;
use crate::secret::Secret;

/// A signature is attacked off line by whoever sees one question.
const SECRET_BYTES_MIN: usize = 16;

/// How the application is asked.
#[derive(Debug, Clone)]
pub struct DelegationConfig {
    /// Where questions go by POST: https, or http on a loopback host, or on any with `allow_http`.
    pub url: String,
    /// What questions are signed with, each as its bytes stand, or as base64 behind `whsec_`. Several: all sign, so that one can be changed.
    pub secrets: Vec<Secret>,
    /// Topics whose watchers the application decides about, whatever tokens and rules grant.
    pub subscribe: Vec<TopicPattern>,
    /// Topics whose publishers it decides about.
    pub publish: Vec<TopicPattern>,
    /// Whether it is asked about everybody who connects.
    pub connect: bool,
    /// A whole call, and the wait for its turn. Default 2 s.
    pub timeout: Duration,
    /// How long an answer is kept that does not say so itself. Default 60 s; a refusal 5 s at most.
    pub ttl: Duration,
    /// The longest that an answer is kept, whatever it says. Default 1 h.
    pub ttl_max: Duration,
    /// Answers kept, about 300 bytes each. Default 100,000.
    pub answers_max: usize,
    /// Calls at once. Default 64.
    pub calls_max: usize,
    /// Calls at once about one user, so that nobody's questions hold up everybody's. Default 8.
    pub calls_per_user_max: usize,
    /// Whether http is good enough for hosts beyond loopback: whoever sits between can then say yes to everything.
    pub allow_http: bool,
}

impl DelegationConfig {
    /// A configuration with an address and a secret, that decides nothing yet.
    #[must_use]
    pub fn new(url: &str, secret: impl Into<Secret>) -> Self {
        Self {
            url: url.to_owned(),
            secrets: vec![secret.into()],
            subscribe: Vec::new(),
            publish: Vec::new(),
            connect: false,
            timeout: Duration::from_secs(2),
            ttl: Duration::from_secs(60),
            ttl_max: Duration::from_secs(3600),
            answers_max: 100_000,
            calls_max: 64,
            calls_per_user_max: 8,
            allow_http: false,
        }
    }

    /// Finds every problem at once.
    pub(super) fn check(&self) -> Result<Caller, AuthConfigError> {
        let mut problems = Vec::new();
        let mut problem = |setting: &str, message: &str| {
            problems.push(AuthProblem { setting: setting.to_owned(), message: message.to_owned() });
        };
        let url = self.address().map_err(|why| problem("url", &why)).ok();
        let keys: Option<Vec<_>> = self.secrets.iter().map(|secret| secret.signing_bytes()).collect();
        match &keys {
            None => problem("secrets", "has one that begins with whsec_ and is not base64 behind it"),
            Some(keys) if keys.is_empty() => problem("secrets", "is empty: the application must know who asks"),
            Some(keys) if keys.iter().any(|key| key.len() < SECRET_BYTES_MIN) => {
                problem("secrets", "must have 16 bytes at least; make one with `openssl rand -base64 32`");
            }
            Some(_) => {}
        }
        if self.timeout.is_zero() {
            problem("timeout", "must be longer than nothing");
        }
        for (setting, number) in
            [("answers_max", self.answers_max), ("calls_max", self.calls_max), ("calls_per_user_max", self.calls_per_user_max)]
        {
            if number == 0 {
                problem(setting, "must be 1 at least");
            }
        }
        let (Some(url), Some(keys), true) = (url, keys, problems.is_empty()) else { return Err(AuthConfigError(problems)) };
        Caller::new(url, &keys, self.timeout).map_err(|why| {
            let message = format!("nobody can be asked: {why}; are the system's CA certificates installed?");
            AuthConfigError(vec![AuthProblem { setting: "url".to_owned(), message }])
        })
    }

    fn address(&self) -> Result<Url, String> {
        match key_address(&self.url) {
            Err(_) if self.allow_http && self.url.starts_with("http://") => {
                let mut secure = self.url.clone();
                secure.insert(4, 's');
                // The same rules, but for the scheme.
                key_address(&secure)?;
                Url::parse(&self.url).map_err(|error| format!("is not a URL: {error}"))
            }
            other => other,
        }
    }
}
