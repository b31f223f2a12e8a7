//! Judges tokens and keys as the gateway does: against a real issuer on loopback, with time in the test's hands.
#![allow(clippy::unwrap_used, reason = "a test may unwrap in its helpers too")]

mod access;
mod attacks;
mod keys;
mod secrets;

use std::sync::Arc;
use std::time::Duration;

use towline_auth::testing::TestIssuer;
use towline_auth::{AuthConfig, AuthError, Authenticator, Identity, InvalidReason, IssuerConfig, JwksPolicy};
use towline_clock::Clock;

/// Where every manual clock starts.
const NOW_MS: u64 = 1_760_000_000_000;
const SECRET: &str = "a-shared-secret-of-thirty-two-bytes-and-more";

/// An authenticator that trusts one issuer.
fn trusting(issuer: &TestIssuer) -> (Authenticator, Clock) {
    trusting_all(vec![issuer.config()])
}

fn trusting_all(issuers: Vec<IssuerConfig>) -> (Authenticator, Clock) {
    let clock = Clock::manual(NOW_MS);
    // Long enough that a busy machine does not fail a fetch that should succeed.
    let jwks = JwksPolicy { fetch_timeout: Duration::from_secs(60), ..JwksPolicy::default() };
    let config = AuthConfig { issuers, jwks, ..AuthConfig::default() };
    (Authenticator::new(config, clock.clone()).unwrap(), clock)
}

/// Fails instead of hanging.
async fn bounded<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("it should have ended long ago")
}

async fn judge(auth: &Authenticator, credential: &str) -> Result<Arc<Identity>, AuthError> {
    bounded(auth.authenticate(credential)).await
}

async fn reason(auth: &Authenticator, credential: &str) -> InvalidReason {
    match judge(auth, credential).await {
        Err(AuthError::Invalid(reason)) => reason,
        other => panic!("expected an invalid credential, got {other:?}"),
    }
}
