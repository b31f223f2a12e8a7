//! One signed POST to the one configured address: no redirects, no cookies, a total time-out, a cap on the body.
//!
//! Signed as Standard Webhooks (standardwebhooks.com) say, so that any of their libraries checks it: HMAC-SHA256 over
//! `{id}.{seconds}.{body}`.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, StatusCode, Url, redirect};

use super::answer::{Answer, AnswerError, BODY_BYTES_MAX};
use crate::jwks::root_cause;
use crate::secret::Secret;

/// Why there is no answer. None of them is the user's fault, and all may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The application took too long.
    #[error("the application took too long")]
    Timeout,
    /// It cannot be reached, or broke off.
    #[error("the application cannot be reached")]
    Unreachable,
    /// It answered with this status. Redirects are not followed.
    #[error("the application answered with status {0}")]
    Status(u16),
    /// Its answer is longer than an answer is.
    #[error("the application's answer is too long")]
    TooLong,
    /// Its answer is none.
    #[error("the application's answer is not one: {0}")]
    Malformed(#[from] AnswerError),
    /// Too many questions wait for their turn.
    #[error("too many questions are waiting for the application")]
    Busy,
    /// It failed several times in a row and is left alone for some seconds.
    #[error("the application is left alone for a while, because calls failed in a row")]
    Paused,
    /// The server is going away.
    #[error("the question was given up")]
    Abandoned,
}

/// Asks one application.
pub(super) struct Caller {
    client: Client,
    url: Url,
    keys: Vec<hmac::Key>,
}

impl Caller {
    pub(super) fn new(url: Url, keys: &[Vec<u8>], timeout: Duration) -> Result<Self, String> {
        let builder = Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("towline/", env!("CARGO_PKG_VERSION")));
        // Without TLS there is nothing to trust, and a machine without trust roots can ask.
        let builder = if url.scheme() == "http" { builder.no_proxy().tls_certs_only([]) } else { builder.https_only(true) };
        let client = builder.build().map_err(|error| root_cause(&error))?;
        Ok(Self { client, url, keys: keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect() })
    }

    /// Cancellation safe: dropping the future drops the connection.
    pub(super) async fn call(&self, id: &str, unix_ms: u64, body: String) -> Result<Answer, AskError> {
        let failed = |error: reqwest::Error| {
            // The address is the operator's business and may carry a key in its query: it stays out of the log.
            let error = error.without_url();
            tracing::debug!(cause = root_cause(&error), "the application could not be asked");
            if error.is_timeout() { AskError::Timeout } else { AskError::Unreachable }
        };
        let seconds = unix_ms / 1000;
        let request = self
            .client
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("accept", "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", self.signature(id, seconds, &body))
            .body(body);
        let mut answer = request.send().await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(AskError::Status(answer.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > BODY_BYTES_MAX {
                return Err(AskError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer::read(&body)?)
    }

    /// One signature per secret, separated by spaces.
    fn signature(&self, id: &str, seconds: u64, body: &str) -> String {
        let signed = format!("{id}.{seconds}.{body}");
        let one = |key| format!("v1,{}", STANDARD.encode(hmac::sign(key, signed.as_bytes())));
        self.keys.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

impl Secret {
    /// The bytes that sign: base64 behind `whsec_`, else the text itself. None if the base64 is none.
    pub(super) fn signing_bytes(&self) -> Option<Vec<u8>> {
        match self.expose().strip_prefix("whsec_") {
            Some(encoded) => STANDARD.decode(encoded).ok(),
            None => Some(self.expose().as_bytes().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the Standard Webhooks specification's libraries.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let key = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").signing_bytes().unwrap();
        let url = Url::parse("http://127.0.0.1:9/").unwrap();
        let caller = Caller::new(url, &[key.clone(), key], Duration::from_secs(1)).unwrap();
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let signature = caller.signature("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signature, format!("{one} {one}"));
        assert!(Secret::new("whsec_!").signing_bytes().is_none());
    }
}
