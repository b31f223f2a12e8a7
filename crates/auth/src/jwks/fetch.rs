//! One bounded GET of one configured address: no redirects, no cookies, a total time-out, a cap on the body.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url, redirect};

/// Fetches key documents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Client,
    body_bytes_max: usize,
}

/// Why a document could not be had. For the log; nobody outside sees it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("the request failed: {0}")]
    Request(#[source] reqwest::Error),
    #[error("the answer was {0}, and redirects are not followed")]
    Status(StatusCode),
    #[error("the document is longer than {0} bytes")]
    TooLong(usize),
    #[error("the document is not a JWK set: {0}")]
    NotAKeySet(#[source] serde_json::Error),
    #[error("the fetch was abandoned")]
    Abandoned,
}

impl Fetcher {
    /// A fetcher with its own connections. Fails if the system's trust roots cannot be loaded.
    pub(crate) fn new(timeout: Duration, body_bytes_max: usize) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            // Minutes lie between two fetches; an idle connection would only be found dead.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("towline/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { client, body_bytes_max })
    }

    /// Cancellation safe: dropping the future drops the connection.
    pub(crate) async fn fetch(&self, url: &Url) -> Result<Vec<u8>, FetchError> {
        // The address is operator's business and may carry a key in its query: it stays out of the log.
        let hide = |error: reqwest::Error| FetchError::Request(error.without_url());
        let mut answer = self.client.get(url.clone()).header("accept", "application/json").send().await.map_err(hide)?;
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
