//! Handing people's messages to the application by webhook.

use std::time::Duration;

use towline_auth::Secret;

use crate::config::setting::Setting;
use crate::config::table::{millis, secs};

/// Handing people's messages to the application by webhook. Without a URL it is off.
#[derive(Debug, Clone)]
pub struct WebhookSettings {
    /// Where messages are posted.
    pub url: Option<String>,
    /// What they are signed with (`whsec_…`, Standard Webhooks); each of them signs, so that one can be replaced without a pause.
    pub secrets: Vec<Secret>,
    /// From the beginning of a call to the end of its answer.
    pub timeout: Duration,
    /// Calls that the application may answer with a failure (5xx other than 502 to 504) before the message is a dead letter. Refusals
    /// (3xx, 4xx) get at most five; a target that does not answer at all is tried until `retry_for` is over.
    pub attempts_max: u32,
    /// A message older than this is a dead letter once a call for it failed. Less than the inbox's retention, or the log trims it first.
    pub retry_for: Duration,
    /// The longest pause before the second call; it doubles with each further one. The real one is a random part of it.
    pub retry_delay: Duration,
    /// It doubles up to this: what a user waits at most after the application is back.
    pub retry_delay_max: Duration,
    /// Calls at once. Repetitions take at most half of them, so that users whose calls hang do not hold those of others.
    pub concurrency_max: usize,
    /// Which types of messages; empty: all.
    pub types: Vec<String>,
    /// Whether the address may be one of this machine or an inner network, and plain `http` is taken in production.
    pub allow_internal: bool,
    /// Messages that may wait in memory, of all users; about 100 bytes each. While that many wait, no more are read.
    pub waiting_max: usize,
    /// Messages of one user that may wait; further ones become dead letters, so that one user cannot fill the place of all.
    pub waiting_per_user_max: usize,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            url: None,
            secrets: Vec::new(),
            timeout: Duration::from_secs(20),
            attempts_max: 15,
            retry_for: Duration::from_secs(3 * 24 * 3600),
            retry_delay: Duration::from_secs(1),
            retry_delay_max: Duration::from_secs(5 * 60),
            concurrency_max: 32,
            types: Vec::new(),
            allow_internal: false,
            waiting_max: 200_000,
            waiting_per_user_max: 5_000,
        }
    }
}

/// The rows of this section.
pub(in crate::config) fn rows() -> Vec<Setting> {
    vec![
        Setting::new("webhook.url", |c| &mut c.webhook.url, "where people's messages are posted; none: nowhere"),
        Setting::new("webhook.secret", |c| &mut c.webhook.secrets, "what they are signed with (whsec_…); all of a list sign"),
        Setting::ranged("webhook.timeout", millis(100, 120_000), |c| &mut c.webhook.timeout, "longest time of one call"),
        Setting::ranged(
            "webhook.attempts_max",
            (1, 10_000),
            |c| &mut c.webhook.attempts_max,
            "calls answered with a failure before a message is a dead letter",
        ),
        Setting::ranged(
            "webhook.retry_for",
            secs(1, 30 * 86_400),
            |c| &mut c.webhook.retry_for,
            "a message older than this is a dead letter once a call failed",
        ),
        Setting::ranged(
            "webhook.retry_delay",
            millis(10, 60_000),
            |c| &mut c.webhook.retry_delay,
            "longest pause before the second call; doubles",
        ),
        Setting::ranged(
            "webhook.retry_delay_max",
            millis(10, 86_400_000),
            |c| &mut c.webhook.retry_delay_max,
            "longest pause between two calls",
        ),
        Setting::ranged("webhook.concurrency_max", (2, 1_024), |c| &mut c.webhook.concurrency_max, "calls at once"),
        Setting::new("webhook.types", |c| &mut c.webhook.types, "which types of messages; none: all"),
        Setting::new(
            "webhook.allow_internal",
            |c| &mut c.webhook.allow_internal,
            "the target may be on this machine or an inner network",
        ),
        Setting::ranged(
            "webhook.waiting_max",
            (1_000, 10_000_000),
            |c| &mut c.webhook.waiting_max,
            "messages that may wait in memory; beyond, no more are read",
        ),
        Setting::ranged(
            "webhook.waiting_per_user_max",
            (1, 1_000_000),
            |c| &mut c.webhook.waiting_per_user_max,
            "messages of one user that may wait; beyond, they are dead letters",
        ),
    ]
}
