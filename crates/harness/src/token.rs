//! Tokens for tests: HS256, signed with the gateway's own secret.

use std::time::Duration;

use towline_auth::{MintClaims, Secret, mint};
use towline_clock::Clock;
use towline_protocol::TopicPattern;

/// A token to be made.
#[derive(Debug, Clone)]
pub struct Token {
    secret: Secret,
    clock: Clock,
    claims: MintClaims,
    age: Duration,
}

impl Token {
    /// A token that another secret than the harness's signs.
    #[must_use]
    pub fn signed_by(secret: &str, clock: Clock, subject: &str) -> Self {
        Self::new(Secret::new(secret), clock, subject)
    }

    pub(crate) fn new(secret: Secret, clock: Clock, subject: &str) -> Self {
        let claims = MintClaims { subject: subject.to_owned(), ttl: Duration::from_secs(3600), ..MintClaims::default() };
        Self { secret, clock, claims, age: Duration::ZERO }
    }

    /// Its organisation.
    #[must_use]
    pub fn org(mut self, org: &str) -> Self {
        self.claims.org = Some(org.to_owned());
        self
    }

    /// Its `jti`.
    #[must_use]
    pub fn id(mut self, id: &str) -> Self {
        self.claims.token_id = Some(id.to_owned());
        self
    }

    /// How long it lives from now (an hour if nothing is said).
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.claims.ttl = ttl;
        self
    }

    /// Makes it a token that ended this long ago.
    #[must_use]
    pub fn expired_for(mut self, long: Duration) -> Self {
        self.claims.ttl = Duration::from_secs(60);
        self.age = long + self.claims.ttl;
        self
    }

    /// Patterns of topics that it may watch beyond its own.
    #[must_use]
    pub fn topics<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.claims.subscribe = patterns.into_iter().map(pattern).collect();
        self
    }

    /// Patterns of topics that it may publish on.
    #[must_use]
    pub fn publishes<'a>(mut self, patterns: impl IntoIterator<Item = &'a str>) -> Self {
        self.claims.publish = patterns.into_iter().map(pattern).collect();
        self
    }

    /// The token as text.
    ///
    /// # Panics
    /// If the server would refuse what it says.
    #[must_use]
    pub fn mint(&self) -> String {
        let now_ms = self.clock.unix_ms().saturating_sub(self.age.as_millis() as u64);
        mint(&self.secret, &self.claims, now_ms).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl From<Token> for String {
    fn from(token: Token) -> Self {
        token.mint()
    }
}

fn pattern(text: &str) -> TopicPattern {
    TopicPattern::new(text).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}
