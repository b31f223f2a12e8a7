//! What the application is asked: who may be here, and who may follow and publish what.

use std::time::Duration;

use crate::config::setting::Setting;
use crate::config::table::{millis, secs};
use towline_auth::{DelegationConfig, Secret};
use towline_protocol::TopicPattern;

/// The application's say in who may do what. Without an address nobody is asked.
#[derive(Debug, Clone)]
pub struct AuthorizationSettings {
    /// Where questions go by POST.
    pub url: Option<String>,
    /// What questions are signed with; several all sign, so that one can be changed without an outage.
    pub secrets: Vec<Secret>,
    /// Topics about whose followers the application decides alone, whatever tokens and rules grant.
    pub subscribe: Vec<TopicPattern>,
    /// Topics about whose publishers it decides alone.
    pub publish: Vec<TopicPattern>,
    /// Whether it is asked about every user who comes.
    pub connect: bool,
    /// A whole call: longer than a good answer takes, short enough to wait for.
    pub timeout: Duration,
    /// How long an answer is kept that says nothing about it: what a right that was withdrawn lives on.
    pub ttl: Duration,
    /// The longest that an answer is kept, whatever it says.
    pub ttl_max: Duration,
    /// Answers kept, about 300 bytes each.
    pub answers_max: usize,
    /// Calls at once: what the application can bear.
    pub calls_max: usize,
    /// Calls at once about one user, so that nobody's questions hold up everybody's.
    pub calls_per_user_max: usize,
    /// Plain http to other hosts than loopback: for private networks, where nobody sits between and says yes to everything.
    pub allow_http: bool,
}

impl Default for AuthorizationSettings {
    fn default() -> Self {
        let config = DelegationConfig::new("", "");
        Self {
            url: None,
            secrets: Vec::new(),
            subscribe: config.subscribe,
            publish: config.publish,
            connect: config.connect,
            timeout: config.timeout,
            ttl: config.ttl,
            ttl_max: config.ttl_max,
            answers_max: config.answers_max,
            calls_max: config.calls_max,
            calls_per_user_max: config.calls_per_user_max,
            allow_http: config.allow_http,
        }
    }
}

impl AuthorizationSettings {
    /// As the authentication crate takes it, if somebody is to be asked.
    #[must_use]
    pub fn delegation(&self) -> Option<DelegationConfig> {
        Some(DelegationConfig {
            url: self.url.clone()?,
            secrets: self.secrets.clone(),
            subscribe: self.subscribe.clone(),
            publish: self.publish.clone(),
            connect: self.connect,
            timeout: self.timeout,
            ttl: self.ttl,
            ttl_max: self.ttl_max,
            answers_max: self.answers_max,
            calls_max: self.calls_max,
            calls_per_user_max: self.calls_per_user_max,
            allow_http: self.allow_http,
        })
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new("authorization.url", |c| &mut c.authorization.url, "the application's address that says who may do what"),
        Setting::new("authorization.secrets", |c| &mut c.authorization.secrets, "secrets that questions are signed with"),
        Setting::new(
            "authorization.subscribe",
            |c| &mut c.authorization.subscribe,
            "topics about whose followers the application decides",
        ),
        Setting::new(
            "authorization.publish",
            |c| &mut c.authorization.publish,
            "topics about whose publishers the application decides",
        ),
        Setting::new("authorization.connect", |c| &mut c.authorization.connect, "ask about every user who comes"),
        Setting::ranged(
            "authorization.timeout",
            millis(50, 30_000),
            |c| &mut c.authorization.timeout,
            "longest wait for the application's answer",
        ),
        Setting::ranged(
            "authorization.ttl",
            secs(0, 86_400),
            |c| &mut c.authorization.ttl,
            "how long an answer is kept that does not say so; a refusal 5 s at most",
        ),
        Setting::ranged(
            "authorization.ttl_max",
            secs(0, 86_400),
            |c| &mut c.authorization.ttl_max,
            "longest that an answer is kept, whatever it says",
        ),
        Setting::ranged("authorization.answers_max", (1, 10_000_000), |c| &mut c.authorization.answers_max, "answers kept"),
        Setting::ranged("authorization.calls_max", (1, 10_000), |c| &mut c.authorization.calls_max, "calls at once"),
        Setting::ranged(
            "authorization.calls_per_user_max",
            (1, 1_000),
            |c| &mut c.authorization.calls_per_user_max,
            "calls at once about one user",
        ),
        Setting::new(
            "authorization.allow_http",
            |c| &mut c.authorization.allow_http,
            "plain http to other hosts than loopback; in private networks only",
        ),
    ]
}
