//! One bounded GET of one configured address: no redirects, no cookies, a total time-out, a cap on the body.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};

/// Fetches one issuer's key document.
pub(crate) struct Fetcher {
    client: Client,
    url: Url,
    body_bytes_max: usize,
}

/// Why a document could not be had. For the log; nobody outside sees it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the request failed")]
    Request(#[source] reqwest::Error),
    #[error("the answer was {0}, and redirects are not followed")]
    Status(StatusCode),
    #[error("the document is longer than {0} bytes")]
    TooLong(usize),
    #[error("the document is not a JWK set")]
    NotAKeySet(#[source] serde_json::Error),
    #[error("the fetch was abandoned")]
    Abandoned,
}

/// The error at the bottom, such as "connection refused": the top often only says that something failed.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl Fetcher {
    /// A fetcher for one address. Fails if it needs TLS and the system's trust roots cannot be loaded.
    pub(crate) fn new(url: Url, timeout: Duration, body_bytes_max: usize) -> Result<Self, reqwest::Error> {
        let builder = Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            // Minutes lie between two fetches; an idle connection would only be found dead.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("towline/", env!("CARGO_PKG_VERSION")));
        // Only a loopback host is asked without TLS: no proxy can reach it, and a machine without trust roots can run it.
        let builder = if url.scheme() == "http" { builder.no_proxy().tls_certs_only([]) } else { builder.https_only(true) };
        Ok(Self { client: builder.build()?, url, body_bytes_max })
    }

    /// Where the keys are, without what may be secret in the address.
    pub(crate) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Cancellation safe: dropping the future drops the connection.
    pub(crate) async fn fetch(&self) -> Result<Vec<u8>, FetchError> {
        // The address is the operator's business and may carry a key in its query: it stays out of the log.
        let hide = |error: reqwest::Error| FetchError::Request(error.without_url());
        let mut answer = self.client.get(self.url.clone()).header("accept", "application/json").send().await.map_err(hide)?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(hide)? {
            if body.len() + chunk.len() > self.body_bytes_max {
                return Err(FetchError::TooLong(self.body_bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}
