//! Shared secrets and service keys.

use std::time::Duration;

use towline_auth::{
    AuthConfig, AuthError, Authenticator, IdentityKind, InvalidReason, MintClaims, Secret, ServiceKey, SharedSecret, mint,
};
use towline_clock::Clock;
use towline_protocol::{TopicName, TopicPattern};

use crate::{NOW_MS, SECRET};

const SERVICE_KEY: &str = "service-key-for-tests-only";

fn with(config: AuthConfig) -> (Authenticator, Clock) {
    let clock = Clock::manual(NOW_MS);
    (Authenticator::new(config, clock.clone()).unwrap(), clock)
}

fn claims() -> MintClaims {
    MintClaims { subject: "u1".into(), ttl: Duration::from_secs(60), ..MintClaims::default() }
}

#[test]
fn a_minted_token_is_accepted_until_it_expires() {
    let (auth, clock) = with(AuthConfig { shared_secrets: vec![SharedSecret::new(SECRET)], ..AuthConfig::default() });
    let claims = MintClaims { org: Some("o1".into()), publish: vec![TopicPattern::new("thread:*").unwrap()], ..claims() };
    let token = mint(&Secret::new(SECRET), &claims, clock.unix_ms()).unwrap();
    let who = auth.try_authenticate(&token).unwrap().unwrap();
    assert_eq!((&*who.subject, who.org.as_deref()), ("u1", Some("o1")));
    assert!(who.may_publish(&TopicName::new("thread:1").unwrap()));
    clock.advance(Duration::from_secs(60));
    assert_eq!(auth.try_authenticate(&token).unwrap().err(), Some(AuthError::Expired));
    let other = mint(&Secret::new("another-secret-of-thirty-two-bytes-x"), &claims, clock.unix_ms()).unwrap();
    assert_eq!(auth.try_authenticate(&other).unwrap().err(), Some(InvalidReason::Signature.into()));
}

#[test]
fn a_secret_can_be_changed_without_an_outage_and_bound_to_an_issuer() {
    let bound = SharedSecret { issuer: Some("me".into()), audiences: vec!["towline".into()], ..SharedSecret::new(SECRET) };
    let next = "the-next-shared-secret-of-thirty-two-bytes";
    let (auth, clock) = with(AuthConfig { shared_secrets: vec![bound, SharedSecret::new(next)], ..AuthConfig::default() });
    let of = |secret: &str, issuer: Option<&str>, audience: Option<&str>| {
        let claims = MintClaims { issuer: issuer.map(Into::into), audience: audience.map(Into::into), ..claims() };
        auth.try_authenticate(&mint(&Secret::new(secret), &claims, clock.unix_ms()).unwrap()).unwrap()
    };
    assert!(of(SECRET, Some("me"), Some("towline")).is_ok());
    assert!(of(next, None, None).is_ok());
    assert_eq!(of(SECRET, None, Some("towline")).err(), Some(InvalidReason::Issuer.into()));
    assert_eq!(of(SECRET, Some("me"), Some("x")).err(), Some(InvalidReason::Audience.into()));
}

#[test]
fn a_configured_expiry_leeway_moves_the_end_of_tokens_and_sockets_alike() {
    let config = AuthConfig {
        shared_secrets: vec![SharedSecret::new(SECRET)],
        expiry_leeway: Duration::from_secs(10),
        ..AuthConfig::default()
    };
    let (auth, clock) = with(config);
    let token = mint(&Secret::new(SECRET), &claims(), clock.unix_ms()).unwrap();
    clock.advance(Duration::from_secs(69));
    let who = auth.try_authenticate(&token).unwrap().unwrap();
    assert!(!who.expired(clock.unix_ms()));
    clock.advance(Duration::from_secs(1));
    assert!(who.expired(clock.unix_ms()) && auth.try_authenticate(&token).unwrap().is_err());
}

#[test]
fn a_service_is_known_by_its_whole_key_and_acts_by_its_role() {
    let limited = ServiceKey {
        name: "billing".into(),
        secret: "billing-key-for-tests".into(),
        subscribe: vec![],
        publish: vec![TopicPattern::new("billing:*").unwrap()],
    };
    let config =
        AuthConfig { service_keys: vec![ServiceKey::for_everything("agents", SERVICE_KEY), limited], ..AuthConfig::default() };
    let (auth, _) = with(config);
    let topic = |name| TopicName::new(name).unwrap();
    let agents = auth.try_authenticate(SERVICE_KEY).unwrap().unwrap();
    assert_eq!((&*agents.subject, agents.kind, agents.own_topic()), ("agents", IdentityKind::Service, None));
    assert!(agents.may_publish(&topic("user:42")) && agents.may_subscribe(&topic("thread:1")) && agents.expires_at_ms.is_none());
    let billing = auth.try_authenticate("billing-key-for-tests").unwrap().unwrap();
    assert!(billing.may_publish(&topic("billing:1")) && !billing.may_publish(&topic("user:42")));
    assert!(!billing.may_subscribe(&topic("user:billing")), "a service has no user's topic");
    for wrong in [&SERVICE_KEY[1..], &SERVICE_KEY[..10], "service-key-for-tests-onlyx", "SERVICE-KEY-FOR-TESTS-ONLY", " "] {
        assert_eq!(auth.try_authenticate(wrong).unwrap().err(), Some(InvalidReason::Malformed.into()), "{wrong}");
    }
    let token = mint(&Secret::new(SECRET), &claims(), NOW_MS).unwrap();
    assert_eq!(auth.try_authenticate(&token).unwrap().err(), Some(InvalidReason::NothingToCheckWith.into()));
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    let config = AuthConfig {
        shared_secrets: vec![SharedSecret::new(SECRET)],
        service_keys: vec![ServiceKey::for_everything("agents", SERVICE_KEY)],
        ..AuthConfig::default()
    };
    let (auth, _) = with(config.clone());
    let service = auth.try_authenticate(SERVICE_KEY).unwrap().unwrap();
    let shown = format!("{config:?} {auth:?} {service:?} {} {:?}", Secret::new(SECRET), Secret::new(SERVICE_KEY));
    assert!(!shown.contains(SECRET) && !shown.contains(SERVICE_KEY), "{shown}");
}
