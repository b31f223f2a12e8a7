//! Makes HS256 tokens for the command line, tests and small set-ups without an identity provider.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};
use towline_protocol::TopicPattern;

use crate::claims::{subject_is_valid, substitutable};
use crate::secret::Secret;

/// What a minted token says.
#[derive(Debug, Clone, Default)]
pub struct MintClaims {
    /// `sub`: 1 to 128 bytes that may stand in a topic name.
    pub subject: String,
    /// `org_id`.
    pub org: Option<String>,
    /// How long it lives from now.
    pub ttl: Duration,
    /// `jti`: by it the token can be revoked.
    pub token_id: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
    /// `aud`.
    pub audience: Option<String>,
    /// Patterns it may watch (`towline.subscribe`).
    pub subscribe: Vec<TopicPattern>,
    /// Patterns it may publish on (`towline.publish`).
    pub publish: Vec<TopicPattern>,
}

/// A token could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// The server would refuse this subject.
    #[error("the subject may have 1 to 128 bytes of letters, digits and _ - . @ | + = / ~")]
    Subject,
    /// The server would refuse this organisation.
    #[error("the organisation may have 1 to 128 bytes of letters, digits and _ - . @ | + = ~")]
    Organisation,
    /// Nothing to sign with.
    #[error("the secret is empty")]
    SecretEmpty,
    /// The signature failed.
    #[error("the token could not be signed")]
    Signing,
}

/// Makes a token that is valid from `now_ms` (Unix milliseconds) for the claims' `ttl`, rounded up to a second.
///
/// # Errors
/// [`MintError`] if the server would refuse what the token says.
pub fn mint(secret: &Secret, claims: &MintClaims, now_ms: u64) -> Result<String, MintError> {
    if !subject_is_valid(&claims.subject) {
        return Err(MintError::Subject);
    }
    if claims.org.as_deref().is_some_and(|org| !substitutable(org)) {
        return Err(MintError::Organisation);
    }
    if secret.expose().is_empty() {
        return Err(MintError::SecretEmpty);
    }
    let ttl_ms = u64::try_from(claims.ttl.as_millis()).unwrap_or(u64::MAX);
    let mut payload = Map::new();
    let mut put = |name: &str, value: Value| payload.insert(name.to_owned(), value);
    put("sub", json!(claims.subject));
    put("iat", json!(now_ms / 1000));
    put("exp", json!(now_ms.saturating_add(ttl_ms).div_ceil(1000)));
    let optional = [("org_id", &claims.org), ("jti", &claims.token_id), ("iss", &claims.issuer), ("aud", &claims.audience)];
    for (name, value) in optional.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        put(name, json!(value));
    }
    if !claims.subscribe.is_empty() || !claims.publish.is_empty() {
        put("towline", json!({"subscribe": claims.subscribe, "publish": claims.publish}));
    }
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &payload, &key).map_err(|_| MintError::Signing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect;

    #[test]
    fn a_minted_token_says_what_was_asked_for() {
        let claims = MintClaims {
            subject: "u1".into(),
            org: Some("o1".into()),
            ttl: Duration::from_secs(60),
            publish: vec![TopicPattern::new("thread:*").unwrap()],
            ..MintClaims::default()
        };
        let token = mint(&Secret::new("s"), &claims, 1_000_500).unwrap();
        let said = inspect(&token).unwrap();
        assert_eq!(said.unverified_header["alg"], "HS256");
        let expected = json!({"sub": "u1", "org_id": "o1", "iat": 1000, "exp": 1061,
                              "towline": {"subscribe": [], "publish": ["thread:*"]}});
        assert_eq!(Value::Object(said.unverified_claims), expected);
    }

    #[test]
    fn what_the_server_would_refuse_is_not_minted() {
        let of = |subject: &str, org: Option<&str>| {
            let claims = MintClaims { subject: subject.into(), org: org.map(Into::into), ..MintClaims::default() };
            mint(&Secret::new("s"), &claims, 0)
        };
        assert_eq!(of("", None), Err(MintError::Subject));
        assert_eq!(of("a:b", None), Err(MintError::Subject));
        assert_eq!(of("a", Some("o:1")), Err(MintError::Organisation));
        assert_eq!(
            mint(&Secret::new(""), &MintClaims { subject: "a".into(), ..MintClaims::default() }, 0),
            Err(MintError::SecretEmpty)
        );
    }
}
