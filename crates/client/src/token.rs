//! Where a client's credential comes from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Why a token source could not give a token. The text is for people and must not hold the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no token: {0}")]
pub struct TokenError(pub String);

type Fetching = Pin<Box<dyn Future<Output = Result<String, TokenError>> + Send>>;

/// Where a client's credential (a JWT or a service key) comes from. Never shown by `Debug`.
#[derive(Clone, Default)]
pub enum TokenSource {
    /// No credential: a server in development mode.
    #[default]
    None,
    /// One that never changes; once it is refused, the client stops.
    Static(Arc<str>),
    /// Asked before each connection, when the server says that the token expires soon, and after a refusal.
    Refreshed(Arc<dyn Fn() -> Fetching + Send + Sync>),
}

impl TokenSource {
    /// Asks `fetch` whenever a fresh token is needed. A fetch that fails is retried with the connection's back-off.
    pub fn refreshed_by<F, Fut>(fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, TokenError>> + Send + 'static,
    {
        Self::Refreshed(Arc::new(move || Box::pin(fetch())))
    }

    /// Whether asking again may give another token.
    pub(crate) fn can_refresh(&self) -> bool {
        matches!(self, Self::Refreshed(_))
    }

    /// The token to use now. Dropping the future abandons the fetch.
    pub(crate) async fn get(&self) -> Result<Option<String>, TokenError> {
        match self {
            Self::None => Ok(None),
            Self::Static(token) => Ok(Some(token.to_string())),
            Self::Refreshed(fetch) => fetch().await.map(Some),
        }
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Static(_) => "Static(…)",
            Self::Refreshed(_) => "Refreshed(…)",
        })
    }
}

impl From<&str> for TokenSource {
    fn from(token: &str) -> Self {
        Self::Static(token.into())
    }
}

impl From<String> for TokenSource {
    fn from(token: String) -> Self {
        Self::Static(token.into())
    }
}

impl<T: Into<TokenSource>> From<Option<T>> for TokenSource {
    fn from(token: Option<T>) -> Self {
        token.map_or(Self::None, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_keeps_the_secret() {
        let shown =
            format!("{:?} {:?}", TokenSource::from("s3cret"), TokenSource::refreshed_by(|| async { Ok("s3cret".into()) }));
        assert_eq!(shown, "Static(…) Refreshed(…)");
    }
}
