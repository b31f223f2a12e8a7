//! Tokens judged per second on one thread, keys at hand: `cargo run --release -p towline-auth --example verify_speed --features testing`.

use std::hint::black_box;
use std::time::Duration;

use serde_json::json;
use towline_auth::testing::TestIssuer;
use towline_auth::{AuthConfig, AuthError, Authenticator, MintClaims, Secret, ServiceKey, SharedSecret, SigningAlgorithm, mint};
use towline_clock::Clock;

const SECRET: &str = "a-shared-secret-of-thirty-two-bytes-and-more";
const SERVICE_KEY: &str = "a-service-key-of-thirty-two-bytes-and-more";
const PER_ROUND: u32 = 2_000;
const ROUNDS: u32 = 5;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Clock::system();
    let issuer = TestIssuer::start().await?;
    let config = AuthConfig {
        issuers: vec![issuer.config()],
        shared_secrets: vec![SharedSecret::new(SECRET)],
        service_keys: vec![ServiceKey::for_everything("agents", SERVICE_KEY)],
        ..AuthConfig::default()
    };
    let auth = Authenticator::new(config, clock.clone())?;
    let now_ms = clock.unix_ms();
    let claims =
        MintClaims { subject: "user_2abcdefghijklmnopqrstuvwx".into(), ttl: Duration::from_secs(3600), ..MintClaims::default() };
    println!("{:<22} {:>12} {:>10}", "credential", "per second", "us each");
    for algorithm in [SigningAlgorithm::Rs256, SigningAlgorithm::Ps256, SigningAlgorithm::Es256, SigningAlgorithm::EdDsa] {
        measure(&auth, &clock, algorithm.as_str(), &issuer.token_by(algorithm, &claims.subject, now_ms)).await?;
    }
    // The shape of a Clerk session token: more claims, an organisation inside another claim.
    let session = json!({"azp": "https://app.example.com", "fva": [0, -1], "jti": "0f5b0dc3e8a1c1f3a2b4", "nbf": now_ms / 1000 - 10,
        "sid": "sess_2abcdefghijklmnopqrstuvwx", "sts": "active", "v": 2, "o": {"id": "org_2abc", "rol": "admin", "slg": "acme"}});
    measure(&auth, &clock, "RS256, session token", &issuer.token_with(&claims.subject, now_ms, session)).await?;
    measure(&auth, &clock, "HS256", &mint(&Secret::new(SECRET), &claims, now_ms)?).await?;
    measure(&auth, &clock, "service key", SERVICE_KEY).await?;
    Ok(())
}

/// Prints the best of some rounds: what the code costs when nobody interrupts it.
async fn measure(auth: &Authenticator, clock: &Clock, name: &str, credential: &str) -> Result<(), AuthError> {
    auth.authenticate(credential).await?;
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = clock.uptime();
        for _ in 0..PER_ROUND {
            let verdict = black_box(auth.try_authenticate(black_box(credential)));
            verdict.unwrap_or(Err(AuthError::KeysUnavailable))?;
        }
        best = best.min(clock.uptime().saturating_sub(started));
    }
    let each_us = best.as_secs_f64() * 1e6 / f64::from(PER_ROUND);
    println!("{name:<22} {:>12.0} {each_us:>10.2}", 1e6 / each_us);
    Ok(())
}
