//! From a credential to an identity: the one place where all checks come together, in their order.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::Mutex;
use tokio::sync::watch;
use towline_clock::Clock;
use towline_protocol::TopicPattern;

use crate::claims::{ClaimPath, Claims, Leeway, millis, subject_is_valid, substitutable};
use crate::config::{AuthConfig, AuthConfigError, AuthProblem, SharedSecret};
use crate::error::{AuthError, InvalidReason};
use crate::grant::{Grants, RuleBook};
use crate::identity::{Identity, IdentityKind};
use crate::issuer::IssuerConfig;
use crate::jwks::{Fetcher, KeyMark, KeySource, KeyStats, Lookup, root_cause};
use crate::revocation::Revocations;
use crate::service_key::ServiceKeys;
use crate::token::{ClaimedAlgorithm, CompactToken, TOKEN_BYTES_MAX};

/// Whether credentials are demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AuthMode {
    /// Everybody proves who they are.
    #[default]
    Enforced,
    /// A user is whoever they say, and may watch and publish everything. For loopback listeners only; the gateway sees to that.
    Development,
}

/// Judges credentials. Cheap to clone; clones share keys.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    mode: AuthMode,
    services: ServiceKeys,
    secrets: Vec<HeldSecret>,
    sources: Vec<Arc<KeySource>>,
    organisation: Vec<ClaimPath>,
    rules: RuleBook,
    everything: Arc<Grants>,
    leeway: Leeway,
    token_lifetime_max: Option<Duration>,
    revocations: Revocations,
    clock: Clock,
}

struct HeldSecret {
    key: DecodingKey,
    issuer: Option<String>,
    audiences: Vec<String>,
}

/// How far a credential could be judged with what is at hand.
enum Judgement<'a> {
    Done(Result<Arc<Identity>, AuthError>),
    /// The key must be fetched; the number is the source's last landing.
    NeedsKey {
        token: CompactToken<'a>,
        source: Arc<KeySource>,
        seen: u64,
    },
}

impl Authenticator {
    /// Checks the configuration and prepares it. Fetches nothing yet.
    ///
    /// # Errors
    /// [`AuthConfigError`] with every problem that the configuration has.
    pub fn new(config: AuthConfig, clock: Clock) -> Result<Self, AuthConfigError> {
        let checked = config.check()?;
        let sources = key_sources(&config, checked.urls, &clock)?;
        let hold = |shared: &SharedSecret| HeldSecret {
            key: DecodingKey::from_secret(shared.secret.expose().as_bytes()),
            issuer: shared.issuer.clone(),
            audiences: shared.audiences.clone(),
        };
        let all: Vec<_> = TopicPattern::new("*").into_iter().collect();
        Ok(Self(Arc::new(Inner {
            mode: config.mode,
            services: ServiceKeys::new(&config.service_keys),
            secrets: config.shared_secrets.iter().map(hold).collect(),
            sources,
            organisation: config.claims.organisation,
            rules: checked.rules,
            everything: Arc::new(Grants::from_patterns(&all, &all)),
            leeway: Leeway { start: config.leeway, expiry: config.expiry_leeway },
            revocations: Revocations::new(config.revocations_max, config.token_lifetime_max.map(millis)),
            token_lifetime_max: config.token_lifetime_max,
            clock,
        })))
    }

    /// Whether credentials are demanded.
    #[must_use]
    pub fn mode(&self) -> AuthMode {
        self.0.mode
    }

    /// How the issuers' keys are doing, for operators.
    #[must_use]
    pub fn key_stats(&self) -> KeyStats {
        let mut stats = KeyStats::default();
        self.0.sources.iter().for_each(|source| source.add_stats(&mut stats));
        stats
    }

    /// Judges a JWT or service key without waiting. None: its issuer's keys must be fetched first; use [`Self::authenticate`].
    ///
    /// Within a runtime it may start a refresh of keys in the background.
    #[must_use]
    pub fn try_authenticate(&self, credential: &str) -> Option<Result<Arc<Identity>, AuthError>> {
        match self.judge(credential) {
            Judgement::Done(result) => Some(result.and_then(|identity| self.0.unrevoked(identity))),
            Judgement::NeedsKey { .. } => None,
        }
    }

    /// Judges a JWT or service key; fetches the issuer's keys if need be, for at most `jwks.fetch_timeout`.
    ///
    /// Cancellation safe: a fetch under way goes on for the others.
    ///
    /// # Errors
    /// [`AuthError`] says why it is refused and, by its code, whether the same credential may succeed later.
    pub async fn authenticate(&self, credential: &str) -> Result<Arc<Identity>, AuthError> {
        let judged = match self.judge(credential) {
            Judgement::Done(result) => result,
            Judgement::NeedsKey { token, source, seen } => {
                source.fetched(seen, token.key_id.as_deref()).await;
                match self.0.judge_signed(&token, &source, true) {
                    Ok(result) => result,
                    Err(_seen) => Err(AuthError::KeysUnavailable),
                }
            }
        };
        judged.and_then(|identity| self.0.unrevoked(identity))
    }

    /// Which credentials were ended before their time.
    #[must_use]
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    /// Whether an identity that was judged some time ago still stands: not expired, not revoked, signed with a key that its issuer still
    /// publishes. May fetch the issuer's keys, for at most `jwks.fetch_timeout`; while they cannot be had, nothing speaks against the key.
    ///
    /// Cancellation safe.
    ///
    /// # Errors
    /// [`AuthError`] says why it stands no longer.
    pub async fn recheck(&self, identity: &Identity) -> Result<(), AuthError> {
        if identity.expired(self.0.clock.unix_ms()) {
            return Err(AuthError::Expired);
        }
        if let Some(mark) = identity.signed_by
            && let Some(source) = self.0.sources.get(usize::from(mark.source))
            && !source.still_publishes(mark.key).await
        {
            return Err(InvalidReason::KeyUnknown.into());
        }
        if self.0.revocations.revokes(identity) { Err(AuthError::Revoked) } else { Ok(()) }
    }

    /// The identity that a trusted proxy vouches for in headers. Rules apply to it as to a token that says no more than these two.
    ///
    /// # Errors
    /// [`InvalidReason::Subject`] or [`InvalidReason::Organisation`] if a name breaks the rules, [`AuthError::Revoked`].
    pub fn vouched_identity(&self, user: &str, org: Option<&str>) -> Result<Arc<Identity>, AuthError> {
        if !subject_is_valid(user) {
            return Err(InvalidReason::Subject.into());
        }
        if org.is_some_and(|org| !substitutable(org)) {
            return Err(InvalidReason::Organisation.into());
        }
        let mut claims = serde_json::Map::new();
        claims.insert("sub".to_owned(), user.into());
        claims.extend(org.map(|org| ("org_id".to_owned(), org.into())));
        let identity = Arc::new(Identity {
            subject: user.into(),
            org: org.map(Into::into),
            kind: IdentityKind::User,
            expires_at_ms: None,
            token_id: None,
            // The proxy has just looked.
            issued_at_ms: Some(self.0.clock.unix_ms()),
            signed_by: None,
            grants: self.0.rules.grants_for(&Claims::new(claims))?,
            added: None,
        });
        self.0.unrevoked(identity)
    }

    /// The identity of somebody who says they are `user`, in development mode. It may watch and publish everything.
    ///
    /// # Errors
    /// [`AuthError::Missing`] if authentication is enforced, [`InvalidReason::Subject`] if the name breaks the rules for subjects.
    pub fn development_identity(&self, user: &str) -> Result<Arc<Identity>, AuthError> {
        if self.0.mode == AuthMode::Enforced {
            return Err(AuthError::Missing);
        }
        if !subject_is_valid(user) {
            return Err(InvalidReason::Subject.into());
        }
        self.0.unrevoked(Arc::new(Identity {
            subject: user.into(),
            org: None,
            kind: IdentityKind::Anonymous,
            expires_at_ms: None,
            token_id: None,
            issued_at_ms: Some(self.0.clock.unix_ms()),
            signed_by: None,
            grants: Arc::clone(&self.0.everything),
            added: None,
        }))
    }

    /// The identity of a service that proved its name by a certificate. It may watch and publish everything, as one with a service key.
    ///
    /// # Errors
    /// [`InvalidReason::Subject`] if the name breaks the rules for subjects.
    pub fn certified_service(&self, name: &str, expires_at_ms: u64) -> Result<Arc<Identity>, AuthError> {
        if !subject_is_valid(name) {
            return Err(InvalidReason::Subject.into());
        }
        Ok(Arc::new(Identity {
            subject: name.into(),
            org: None,
            kind: IdentityKind::Service,
            expires_at_ms: Some(expires_at_ms),
            token_id: None,
            issued_at_ms: None,
            signed_by: None,
            grants: Arc::clone(&self.0.everything),
            added: None,
        }))
    }

    fn judge<'a>(&self, credential: &'a str) -> Judgement<'a> {
        let inner = &self.0;
        if credential.is_empty() {
            return Judgement::Done(Err(AuthError::Missing));
        }
        if credential.len() > TOKEN_BYTES_MAX {
            return Judgement::Done(Err(InvalidReason::TooLong.into()));
        }
        if let Some(service) = inner.services.find(credential) {
            return Judgement::Done(Ok(service));
        }
        let token = match CompactToken::parse(credential) {
            Ok(token) => token,
            Err(reason) => return Judgement::Done(Err(reason.into())),
        };
        if token.algorithm == ClaimedAlgorithm::Shared {
            return Judgement::Done(inner.judge_shared(&token));
        }
        match inner.source_for(&token.claims) {
            Err(reason) => Judgement::Done(Err(reason.into())),
            Ok(source) => match inner.judge_signed(&token, &source, false) {
                Ok(result) => Judgement::Done(result),
                Err(seen) => Judgement::NeedsKey { token, source, seen },
            },
        }
    }
}

impl Inner {
    /// The source of keys for a token: chosen by its `iss` among those configured, so that no other issuer's key is ever tried.
    fn source_for(&self, claims: &Claims) -> Result<Arc<KeySource>, InvalidReason> {
        if self.sources.is_empty() {
            return Err(InvalidReason::NothingToCheckWith);
        }
        let named = self.sources.iter().find(|source| source.issuer.is_some() && source.issuer.as_deref() == claims.issuer());
        let source = named.or_else(|| self.sources.iter().find(|source| source.issuer.is_none()));
        source.cloned().ok_or(InvalidReason::Issuer)
    }

    /// Judges a token of an issuer; `Err` holds the source's last landing if the key must be fetched.
    fn judge_signed(
        &self,
        token: &CompactToken<'_>,
        source: &Arc<KeySource>,
        fetched: bool,
    ) -> Result<Result<Arc<Identity>, AuthError>, u64> {
        let ClaimedAlgorithm::Signed(algorithm) = token.algorithm else { return Ok(Err(InvalidReason::Algorithm.into())) };
        if !source.algorithms.contains(&algorithm) {
            return Ok(Err(InvalidReason::Algorithm.into()));
        }
        let key = match source.find(token.key_id.as_deref(), algorithm, fetched) {
            Lookup::Key(key) => key,
            Lookup::Unknown if token.key_id.is_none() => return Ok(Err(InvalidReason::KeyIdMissing.into())),
            Lookup::Unknown => return Ok(Err(InvalidReason::KeyUnknown.into())),
            Lookup::Unavailable => return Ok(Err(AuthError::KeysUnavailable)),
            Lookup::Fetch(seen) => return Err(seen),
        };
        if !key.verifies(token.signed, token.signature, algorithm) {
            return Ok(Err(InvalidReason::Signature.into()));
        }
        let mark = KeyMark { source: source.number, key: key.fingerprint() };
        Ok(self.identity(&token.claims, source.issuer.as_deref(), &source.audiences, Some(mark)))
    }

    fn judge_shared(&self, token: &CompactToken<'_>) -> Result<Arc<Identity>, AuthError> {
        if self.secrets.is_empty() {
            // With issuers configured this is key confusion: HS256 made with a public key as its secret.
            let nothing = self.sources.is_empty();
            return Err(if nothing { InvalidReason::NothingToCheckWith } else { InvalidReason::Algorithm }.into());
        }
        let signs = |secret: &&HeldSecret| {
            jsonwebtoken::crypto::verify(token.signature, token.signed.as_bytes(), &secret.key, Algorithm::HS256).unwrap_or(false)
        };
        let secret = self.secrets.iter().find(signs).ok_or(InvalidReason::Signature)?;
        self.identity(&token.claims, secret.issuer.as_deref(), &secret.audiences, None)
    }

    /// The identity that the claims of a token with a valid signature describe.
    fn identity(
        &self,
        claims: &Claims,
        issuer: Option<&str>,
        audiences: &[String],
        signed_by: Option<KeyMark>,
    ) -> Result<Arc<Identity>, AuthError> {
        if issuer.is_some() && claims.issuer() != issuer {
            return Err(InvalidReason::Issuer.into());
        }
        if !claims.audience_is_among(audiences) {
            return Err(InvalidReason::Audience.into());
        }
        let now_ms = self.clock.unix_ms();
        let validity = claims.validity(now_ms, self.leeway)?;
        if let Some(most) = self.token_lifetime_max {
            let began_ms = validity.issued_at_ms.unwrap_or(now_ms);
            if validity.expires_at_ms.saturating_sub(began_ms) > millis(most + self.leeway.expiry) {
                return Err(InvalidReason::Lifetime.into());
            }
        }
        Ok(Arc::new(Identity {
            subject: claims.subject()?.into(),
            org: claims.organisation(&self.organisation)?,
            kind: IdentityKind::User,
            expires_at_ms: Some(validity.expires_at_ms),
            token_id: claims.token_id()?.map(Into::into),
            issued_at_ms: validity.issued_at_ms,
            signed_by,
            grants: self.rules.grants_for(claims)?,
            added: None,
        }))
    }

    fn unrevoked(&self, identity: Arc<Identity>) -> Result<Arc<Identity>, AuthError> {
        if self.revocations.revokes(&identity) { Err(AuthError::Revoked) } else { Ok(identity) }
    }
}

fn key_sources(config: &AuthConfig, urls: Vec<reqwest::Url>, clock: &Clock) -> Result<Vec<Arc<KeySource>>, AuthConfigError> {
    let source = |(i, (issuer, url)): (usize, (&IssuerConfig, _))| {
        let fetcher = Fetcher::new(url, config.jwks.fetch_timeout, config.jwks.body_bytes_max).map_err(|error| {
            let message = format!("keys cannot be fetched: {}; are the system's CA certificates installed?", root_cause(&error));
            AuthConfigError(vec![AuthProblem { setting: format!("issuers[{i}].jwks_url"), message }])
        })?;
        Ok(Arc::new(KeySource {
            number: i as u16,
            issuer: issuer.issuer.clone(),
            audiences: issuer.audiences.clone(),
            algorithms: issuer.algorithms.clone(),
            fetcher,
            policy: config.jwks.clone(),
            clock: clock.clone(),
            state: Mutex::default(),
            landed: watch::Sender::new(0),
        }))
    };
    config.issuers.iter().zip(urls).enumerate().map(source).collect()
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticator")
            .field("mode", &self.0.mode)
            .field("issuers", &self.0.sources.len())
            .finish_non_exhaustive()
    }
}
