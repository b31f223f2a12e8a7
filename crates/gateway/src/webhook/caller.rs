//! One call: the request signed and sent, its answer judged by status and thrown away.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use towline_clock::Clock;

use super::message::Message;
use super::resolver::{InternalAddress, PublicOnly};
use super::retry_after;
use super::signature::Signer;
use super::target::target;
use super::verdict::Outcome;
use crate::config::Config;

/// Bytes of an answer that are read, so that its connection can be used again; a longer one costs its connection.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// What an answer's body may take, once its status is known.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Calls the target.
pub struct Caller {
    client: Client,
    url: Url,
    signer: Signer,
    clock: Clock,
}

impl Caller {
    /// A caller for a configuration that names a target; none if it names none.
    ///
    /// # Errors
    /// What is wrong with the settings: the key, and why.
    pub fn new(config: &Config, clock: &Clock) -> Result<Option<Self>, (&'static str, String)> {
        Self::resolving(config, clock, PublicOnly::of_system())
    }

    fn resolving(config: &Config, clock: &Clock, names: PublicOnly) -> Result<Option<Self>, (&'static str, String)> {
        let settings = &config.webhook;
        let Some(text) = &settings.url else { return Ok(None) };
        let url = target(text, settings, config.environment).map_err(|why| ("webhook.url", why))?;
        let signer = Signer::new(&settings.secrets).map_err(|why| ("webhook.secret", why))?;
        let mut builder = Client::builder()
            .timeout(settings.timeout)
            // A redirect would be another target than the one that was judged; by the specification it is a failure.
            .redirect(redirect::Policy::none())
            // A proxy would resolve the name by itself, out of our sight.
            .no_proxy()
            .referer(false)
            .pool_max_idle_per_host(settings.concurrency_max)
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("towline/", env!("CARGO_PKG_VERSION")));
        if !settings.allow_internal {
            builder = builder.dns_resolver(Arc::new(names));
        }
        // Without TLS no trust roots are needed, and a machine without them can run it.
        builder = if url.scheme() == "http" { builder.tls_certs_only([]) } else { builder.https_only(true) };
        let client = builder.build().map_err(|error| ("webhook.url", format!("no calls can be made: {error}")))?;
        Ok(Some(Self { client, url, signer, clock: clock.clone() }))
    }

    /// The target's host, for log lines: the rest of the address may hold a secret.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Posts a message. Takes at most `webhook.timeout` and a second. Cancellation safe: dropping the future drops the connection.
    pub async fn call(&self, message: &Message) -> Outcome {
        let timestamp_s = self.clock.unix_ms() / 1000;
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &*message.id)
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", self.signer.sign(&message.id, timestamp_s, &message.body))
            .body(message.body.clone());
        match request.send().await {
            Ok(answer) => self.answered(answer).await,
            Err(error) => self.broken(&error),
        }
    }

    /// Whether the target can be reached, without giving it a message.
    ///
    /// # Errors
    /// Why not.
    pub async fn probe(&self) -> Result<u16, String> {
        match self.client.head(self.url.clone()).send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(root_cause(&error)),
        }
    }

    async fn answered(&self, mut answer: Response) -> Outcome {
        let status = answer.status().as_u16();
        let header = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let pause = header.and_then(|value| retry_after::pause(value, self.clock.unix_ms()));
        let read_out = async {
            let mut left = ANSWER_BYTES_MAX;
            while let Ok(Some(piece)) = answer.chunk().await {
                match left.checked_sub(piece.len()) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
        };
        // The status was the answer; a body that does not end changes nothing about it.
        let _ = tokio::time::timeout(ANSWER_TIMEOUT, read_out).await;
        Outcome::Answered(status, pause)
    }

    fn broken(&self, error: &reqwest::Error) -> Outcome {
        let outcome = match error {
            _ if causes(error).any(|cause| cause.is::<InternalAddress>()) => Outcome::Internal,
            _ if error.is_timeout() => Outcome::Timeout,
            _ => Outcome::Unreachable,
        };
        tracing::debug!(host = self.host(), outcome = outcome.class(), why = root_cause(error), "a webhook call broke");
        outcome
    }
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source())
}

/// The error at the bottom, such as "connection refused". Never the address.
fn root_cause(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| "the call failed".to_owned(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tokio::net::TcpListener;
    use towline_protocol::{Epoch, Position};

    use super::*;

    fn message() -> Message {
        let position = Position { epoch: Epoch(1), offset: 1 };
        let body = Bytes::from_static(b"{}");
        Message { id: "a".into(), kind: "x".into(), user: "u".into(), position, taken_ms: 0, round: 0, body }
    }

    fn caller(port: u16, allow_internal: bool, names: PublicOnly) -> Caller {
        let mut config = Config::default();
        config.webhook.url = Some(format!("http://app.example.com:{port}/hook"));
        config.webhook.secrets = vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()];
        config.webhook.allow_internal = allow_internal;
        config.webhook.timeout = Duration::from_secs(2);
        Caller::resolving(&config, &Clock::system(), names).unwrap().unwrap()
    }

    /// A public name whose owner lets it point at this machine: nothing is connected to.
    // proves: C9
    #[tokio::test]
    async fn a_name_that_is_turned_inwards_is_not_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inwards = PublicOnly::of(|_| {
            let found = ["127.0.0.1:0", "[::ffff:127.0.0.1]:0", "[::1]:0"];
            Box::pin(async move { Ok(found.map(|address| address.parse().unwrap()).to_vec()) })
        });
        let caller = caller(port, false, inwards);
        assert_eq!(caller.call(&message()).await, Outcome::Internal);
        assert!(caller.probe().await.unwrap_err().contains("allow_internal"));
        let nobody = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
        assert!(nobody.is_err(), "somebody connected");
    }
}
