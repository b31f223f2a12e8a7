//! Issuers' keys: fetched once, refreshed early, served stale, never asked for in a flood.

use std::time::Duration;

use serde_json::json;
use towline_auth::testing::{Answer, TestIssuer, jwk, key_id};
use towline_auth::{AuthConfig, AuthError, Authenticator, InvalidReason, JwksPolicy, SigningAlgorithm};
use towline_clock::Clock;

use crate::{NOW_MS, bounded, judge, reason, trusting};

const RS256: SigningAlgorithm = SigningAlgorithm::Rs256;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A token signed well under a key id of one's own choice, that lives for days.
fn by_key(issuer: &TestIssuer, key_id: &str) -> String {
    let claims = issuer.claims("u1", NOW_MS, json!({"exp": NOW_MS / 1000 + 7 * 86400}));
    issuer.sign(&json!({"alg": "RS256", "kid": key_id}), &claims, RS256)
}

// proves: A10
#[tokio::test]
async fn every_algorithm_verifies_with_its_published_key() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    for algorithm in SigningAlgorithm::ALL {
        let identity = judge(&auth, &issuer.token_by(*algorithm, "u1", NOW_MS)).await;
        assert!(identity.is_ok(), "{algorithm}: {identity:?}");
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_token_without_a_key_id_needs_a_key_that_is_alone() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, clock) = trusting(&issuer);
    let token = issuer.sign(&json!({"alg": "RS256"}), &issuer.claims("u1", NOW_MS, json!({})), RS256);
    assert!(judge(&auth, &token).await.is_ok(), "the only RSA key");
    issuer.publish(vec![jwk(RS256, "a"), jwk(RS256, "b")]);
    clock.advance(10 * MINUTE);
    assert!(judge(&auth, &by_key(&issuer, "a")).await.is_ok(), "learnt by a refresh");
    assert_eq!(reason(&auth, &token).await, InvalidReason::KeyIdMissing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crowd_at_a_cold_start_makes_one_fetch() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.answer(Answer::Held);
    let (auth, _) = trusting(&issuer);
    let crowd: Vec<_> = (0..200)
        .map(|i| {
            let (auth, token) = (auth.clone(), issuer.token(&format!("u{i}"), NOW_MS));
            tokio::spawn(async move { auth.authenticate(&token).await })
        })
        .collect();
    bounded(issuer.asked_at_least(1)).await;
    issuer.release();
    for one in crowd {
        assert!(bounded(one).await.unwrap().is_ok());
    }
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_unknown_key_ids_makes_one_fetch_per_cool_down() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, clock) = trusting(&issuer);
    assert!(judge(&auth, &by_key(&issuer, "rsa")).await.is_ok());
    let flood = async |round: u32| {
        let attackers: Vec<_> = (0..300)
            .map(|i| {
                let (auth, token) = (auth.clone(), by_key(&issuer, &format!("made-up-{round}-{i}")));
                tokio::spawn(async move { auth.authenticate(&token).await })
            })
            .collect();
        for one in attackers {
            assert_eq!(bounded(one).await.unwrap().err(), Some(InvalidReason::KeyUnknown.into()));
        }
    };
    flood(0).await;
    assert_eq!(issuer.asked(), 2);
    clock.advance(Duration::from_millis(29_999));
    flood(1).await;
    assert_eq!(issuer.asked(), 2);
    assert!(judge(&auth, &by_key(&issuer, "rsa")).await.is_ok(), "honest tokens are not held up");
    clock.advance(Duration::from_millis(1));
    flood(2).await;
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test]
async fn an_unknown_key_id_is_remembered_for_a_while() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, clock) = trusting(&issuer);
    assert_eq!(reason(&auth, &by_key(&issuer, "later")).await, InvalidReason::KeyUnknown);
    assert_eq!(issuer.asked(), 1);
    issuer.publish(vec![jwk(RS256, "later")]);
    clock.advance(Duration::from_secs(119));
    assert_eq!(reason(&auth, &by_key(&issuer, "later")).await, InvalidReason::KeyUnknown);
    assert_eq!(issuer.asked(), 1);
    clock.advance(Duration::from_secs(1));
    assert!(judge(&auth, &by_key(&issuer, "later")).await.is_ok());
}

#[tokio::test]
async fn a_new_key_is_learnt_at_once_when_a_token_names_it() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    assert!(judge(&auth, &by_key(&issuer, "rsa")).await.is_ok());
    issuer.publish(vec![jwk(RS256, "rotated")]);
    assert!(judge(&auth, &by_key(&issuer, "rotated")).await.is_ok());
    assert_eq!(reason(&auth, &by_key(&issuer, "rsa")).await, InvalidReason::KeyUnknown, "the old one is gone");
}

#[tokio::test]
async fn keys_are_refreshed_in_the_background_while_old_ones_serve() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, clock) = trusting(&issuer);
    let token = by_key(&issuer, "rsa");
    assert!(judge(&auth, &token).await.is_ok());
    issuer.answer(Answer::Held);
    issuer.publish(vec![jwk(RS256, "rotated")]);
    clock.advance(10 * MINUTE - Duration::from_millis(1));
    assert!(auth.try_authenticate(&token).unwrap().is_ok());
    clock.advance(Duration::from_millis(1));
    assert!(auth.try_authenticate(&token).unwrap().is_ok(), "nobody waits for the refresh");
    bounded(issuer.asked_at_least(2)).await;
    issuer.release();
    assert!(judge(&auth, &by_key(&issuer, "rotated")).await.is_ok(), "waits for the refresh under way");
    assert_eq!(issuer.asked(), 2);
    assert_eq!(reason(&auth, &token).await, InvalidReason::KeyUnknown, "a withdrawn key is out");
}

#[tokio::test]
async fn stale_keys_serve_for_a_day_while_the_issuer_is_down() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, clock) = trusting(&issuer);
    let token = by_key(&issuer, "rsa");
    assert!(judge(&auth, &token).await.is_ok());
    issuer.answer(Answer::Status(503));
    clock.advance(24 * HOUR);
    assert!(judge(&auth, &token).await.is_ok(), "24 h old");
    bounded(issuer.asked_at_least(2)).await;
    assert_eq!(judge(&auth, &by_key(&issuer, "new")).await.err(), Some(AuthError::KeysUnavailable), "who knows");
    clock.advance(Duration::from_millis(1));
    assert_eq!(judge(&auth, &token).await.err(), Some(AuthError::KeysUnavailable), "older than that");
    issuer.answer(Answer::Keys);
    clock.advance(Duration::from_secs(30));
    assert!(judge(&auth, &token).await.is_ok(), "and back");
}

#[tokio::test]
async fn after_a_failure_the_issuer_is_left_alone_for_the_cool_down() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.answer(Answer::Status(500));
    let (auth, clock) = trusting(&issuer);
    let token = by_key(&issuer, "rsa");
    for _ in 0..50 {
        assert_eq!(judge(&auth, &token).await.err(), Some(AuthError::KeysUnavailable));
    }
    assert_eq!(issuer.asked(), 1);
    assert_eq!(auth.try_authenticate(&token).unwrap().err(), Some(AuthError::KeysUnavailable), "said without waiting");
    issuer.answer(Answer::Keys);
    clock.advance(Duration::from_secs(30));
    assert!(judge(&auth, &token).await.is_ok());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let issuer = TestIssuer::start().await.unwrap();
    let elsewhere = TestIssuer::start().await.unwrap();
    issuer.answer(Answer::Redirect(elsewhere.jwks_url()));
    let (auth, _) = trusting(&issuer);
    assert_eq!(judge(&auth, &by_key(&issuer, "rsa")).await.err(), Some(AuthError::KeysUnavailable));
    assert_eq!((issuer.asked(), elsewhere.asked()), (1, 0));
}

#[tokio::test]
async fn a_huge_document_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, clock) = trusting(&issuer);
    let padded = |bytes: usize| {
        let keys = json!({"keys": [jwk(RS256, "rsa")]}).to_string();
        format!("{}{keys}", " ".repeat(bytes - keys.len())).into_bytes()
    };
    issuer.answer(Answer::Document(padded(256 * 1024 + 1)));
    assert_eq!(judge(&auth, &by_key(&issuer, "rsa")).await.err(), Some(AuthError::KeysUnavailable));
    issuer.answer(Answer::Document(padded(256 * 1024)));
    clock.advance(Duration::from_secs(30));
    assert!(judge(&auth, &by_key(&issuer, "rsa")).await.is_ok());
}

#[tokio::test]
async fn a_document_that_is_no_key_set_is_a_failure() {
    for document in ["", "null", "[]", "{}", "<html></html>", r#"{"keys":7}"#] {
        let issuer = TestIssuer::start().await.unwrap();
        issuer.answer(Answer::Document(document.into()));
        let (auth, _) = trusting(&issuer);
        assert_eq!(judge(&auth, &by_key(&issuer, "rsa")).await.err(), Some(AuthError::KeysUnavailable), "{document}");
    }
}

/// The issuer sends a head and never the rest, so that any time-out will do: the test takes a short one.
#[tokio::test]
async fn a_hanging_issuer_is_given_up() {
    assert_eq!(JwksPolicy::default().fetch_timeout, Duration::from_secs(5));
    let issuer = TestIssuer::start().await.unwrap();
    issuer.answer(Answer::Hang);
    let jwks = JwksPolicy { fetch_timeout: Duration::from_millis(50), ..JwksPolicy::default() };
    let config = AuthConfig { issuers: vec![issuer.config()], jwks, ..AuthConfig::default() };
    let auth = Authenticator::new(config, Clock::manual(NOW_MS)).unwrap();
    assert_eq!(judge(&auth, &by_key(&issuer, "rsa")).await.err(), Some(AuthError::KeysUnavailable));
}

#[tokio::test]
async fn a_client_that_goes_away_neither_cancels_nor_repeats_the_fetch() {
    let issuer = TestIssuer::start().await.unwrap();
    issuer.answer(Answer::Held);
    let (auth, _) = trusting(&issuer);
    let token = by_key(&issuer, "rsa");
    for _ in 0..50 {
        let (auth, token) = (auth.clone(), token.clone());
        let leaver = tokio::spawn(async move { auth.authenticate(&token).await });
        bounded(issuer.asked_at_least(1)).await;
        leaver.abort();
        assert!(bounded(leaver).await.unwrap_err().is_cancelled());
    }
    issuer.release();
    assert!(judge(&auth, &token).await.is_ok());
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn a_weak_or_misplaced_key_in_the_set_is_not_used() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let mut for_encryption = jwk(RS256, key_id(RS256));
    for_encryption["use"] = "enc".into();
    let published_secret = json!({"kty": "oct", "kid": key_id(RS256), "alg": "HS256", "k": "c2VjcmV0"});
    issuer.publish(vec![for_encryption, published_secret]);
    assert_eq!(reason(&auth, &by_key(&issuer, "rsa")).await, InvalidReason::KeyUnknown);
}

#[tokio::test]
async fn an_operator_sees_how_the_keys_are_doing() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, clock) = trusting(&issuer);
    let before = auth.key_stats();
    assert_eq!((before.issuers, before.issuers_known, before.fetches_total), (1, 0, 0));
    assert!(judge(&auth, &issuer.token("u1", NOW_MS)).await.is_ok());
    clock.advance(MINUTE);
    let after = auth.key_stats();
    assert_eq!((after.issuers_known, after.fetches_total, after.failures_total), (1, 1, 0));
    assert!(after.keys > 0);
    assert_eq!(after.oldest, MINUTE);
}
