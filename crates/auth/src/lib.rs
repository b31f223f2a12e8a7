//! Who may: turns a credential into an [`Identity`], and an identity plus a topic into yes or no.
//!
//! A credential is a JWT, checked against an issuer's published keys or a shared secret, or a service key, or a client certificate that
//! the TLS handshake has verified. The rules are those of RFC 8725
//! (JWT best current practices), and each lesson that other systems paid for is a test named after it.
//!
//! What it does not do: it opens no socket but to the configured key addresses and to the application, where that is asked, knows no HTTP framework and no door, keeps no
//! sessions, and decides nothing about open connections: it says when an identity ends, the gateway acts on it.
//!
//! Invariants:
//! - The algorithm comes from configuration and the key, never from the token; the token's can only fail to match.
//! - An address that keys are fetched from comes from configuration, never from a token.
//! - A key is found by (issuer, address, key id, algorithm): one issuer's key never checks another's token.
//! - Nothing that holds a secret prints it, and no error text carries a part of a credential.
//!
//! ```
//! use std::time::Duration;
//! use towline_auth::{AuthConfig, Authenticator, MintClaims, Secret, SharedSecret, mint};
//! use towline_clock::Clock;
//! use towline_protocol::TopicName;
//!
//! let secret = "32 bytes or more, from a generator";
//! let clock = Clock::system();
//! let config = AuthConfig { shared_secrets: vec![SharedSecret::new(secret)], ..AuthConfig::default() };
//! let auth = Authenticator::new(config, clock.clone())?;
//!
//! let claims = MintClaims { subject: "42".into(), ttl: Duration::from_secs(60), ..MintClaims::default() };
//! let token = mint(&Secret::new(secret), &claims, clock.unix_ms())?;
//! let who = auth.try_authenticate(&token).expect("no key has to be fetched for a shared secret")?;
//! assert!(who.may_subscribe(&TopicName::new("user:42")?) && !who.may_subscribe(&TopicName::new("user:43")?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod admin_key;
mod algorithm;
mod authenticator;
mod certificate;
mod claims;
mod config;
mod delegation;
mod error;
pub mod extract;
mod grant;
mod identity;
mod issuer;
mod jwks;
mod mint;
mod revocation;
mod secret;
mod service_key;
mod template;
#[cfg(feature = "testing")]
pub mod testing;
mod ticket;
mod token;

pub use admin_key::{ADMIN_KEY_BYTES_MIN, AdminKey, AdminKeys, AdminRole};
pub use algorithm::SigningAlgorithm;
pub use authenticator::{AuthMode, Authenticator};
pub use certificate::{CertificateError, CertificateFacts, NameField};
pub use claims::{ClaimPath, SUBJECT_BYTES_MAX};
pub use config::{AuthConfig, AuthConfigError, AuthProblem, ClaimNames, SharedSecret};
pub use delegation::{Action, Answer, AnswerError, AskError, Delegation, DelegationConfig, DelegationStats, Question};
pub use error::{AuthError, InvalidReason};
pub use grant::{GrantCondition, GrantRule};
pub use identity::{Identity, IdentityKind};
pub use issuer::IssuerConfig;
pub use jwks::{JwksPolicy, KeyStats};
pub use mint::{MintClaims, MintError, mint};
pub use revocation::{Revocation, Revocations, RevocationsFull, Revoked};
pub use secret::Secret;
pub use service_key::{SERVICE_KEY_BYTES_MIN, ServiceKey};
pub use ticket::{IssueError, IssuedTicket, TicketFault, TicketPolicy, Tickets};
pub use token::{InspectedToken, TOKEN_BYTES_MAX, inspect};
