//! Each attack on tokens that others fell for, by its name. RFC 8725 describes most of them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use towline_auth::testing::{TestIssuer, jwk, key_id};
use towline_auth::{
    AuthConfig, AuthError, Authenticator, InvalidReason, IssuerConfig, SharedSecret, SigningAlgorithm, TOKEN_BYTES_MAX,
};
use towline_clock::Clock;

use crate::{NOW_MS, SECRET, judge, reason, trusting, trusting_all};

const RS256: SigningAlgorithm = SigningAlgorithm::Rs256;
const NOW: u64 = NOW_MS / 1000;

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// An RS256 token with further header fields.
fn with_header(issuer: &TestIssuer, extra: Value) -> String {
    let mut header = json!({"alg": "RS256", "kid": key_id(RS256)});
    header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    issuer.sign(&header, &issuer.claims("u1", NOW_MS, json!({})), RS256)
}

// proves: A10
#[tokio::test]
async fn an_honest_token_is_accepted() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    assert!(auth.try_authenticate(&issuer.token("user_1", NOW_MS)).is_none(), "the key is not here yet");
    let identity = judge(&auth, &issuer.token_with("user_1", NOW_MS, json!({"jti": "t1", "o": {"id": "org_1"}}))).await.unwrap();
    assert_eq!((&*identity.subject, identity.org.as_deref()), ("user_1", Some("org_1")));
    assert_eq!((identity.token_id.as_deref(), identity.issued_at_ms), (Some("t1"), Some(NOW_MS)));
    assert_eq!(identity.expires_at_ms, Some(NOW_MS + 3_600_000));
    assert!(auth.try_authenticate(&issuer.token("user_2", NOW_MS)).unwrap().is_ok(), "now it is");
}

#[tokio::test]
async fn alg_none_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let claims = part(&issuer.claims("u1", NOW_MS, json!({})));
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let token = format!("{}.{claims}.", part(&json!({"alg": alg, "kid": key_id(RS256)})));
        assert_eq!(reason(&auth, &token).await, InvalidReason::Algorithm, "{alg}");
    }
    let unsigned = format!("{}.{claims}.", part(&json!({"alg": "RS256", "kid": key_id(RS256)})));
    assert_eq!(reason(&auth, &unsigned).await, InvalidReason::Signature);
}

/// HS256 made with the issuer's public key, which everybody has, as the secret.
#[tokio::test]
async fn key_confusion_of_a_public_key_as_a_shared_secret_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let public = jwk(RS256, key_id(RS256));
    let modulus = URL_SAFE_NO_PAD.decode(public["n"].as_str().unwrap()).unwrap();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(&modulus));
    let both =
        AuthConfig { issuers: vec![issuer.config()], shared_secrets: vec![SharedSecret::new(SECRET)], ..AuthConfig::default() };
    let both = Authenticator::new(both, Clock::manual(NOW_MS)).unwrap();
    let (keys_only, _) = trusting(&issuer);
    let mut header = Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some(key_id(RS256).to_owned());
    for secret in [modulus, pem.into_bytes(), public["n"].as_str().unwrap().as_bytes().to_vec(), public.to_string().into_bytes()]
    {
        let claims = issuer.claims("u1", NOW_MS, json!({}));
        let token = jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(&secret)).unwrap();
        assert_eq!(reason(&keys_only, &token).await, InvalidReason::Algorithm);
        assert_eq!(reason(&both, &token).await, InvalidReason::Signature);
    }
}

#[tokio::test]
async fn an_algorithm_that_configuration_does_not_name_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let config = IssuerConfig { algorithms: vec![RS256], ..issuer.config() };
    let (auth, _) = trusting_all(vec![config]);
    for algorithm in SigningAlgorithm::ALL {
        let verdict = judge(&auth, &issuer.token_by(*algorithm, "u1", NOW_MS)).await;
        let expected = if *algorithm == RS256 { None } else { Some(InvalidReason::Algorithm.into()) };
        assert_eq!(verdict.err(), expected, "{algorithm}");
    }
}

#[tokio::test]
async fn a_signature_by_another_algorithm_than_the_header_says_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let claims = issuer.claims("u1", NOW_MS, json!({}));
    for (says, kid, does) in [
        ("RS256", "rsa", SigningAlgorithm::Ps256),
        ("PS256", "rsa", RS256),
        ("RS256", "rsa", SigningAlgorithm::Rs512),
        ("ES256", "p256", SigningAlgorithm::EdDsa),
        ("EdDSA", "ed25519", SigningAlgorithm::Es256),
    ] {
        let token = issuer.sign(&json!({"alg": says, "kid": kid}), &claims, does);
        assert_eq!(reason(&auth, &token).await, InvalidReason::Signature, "{says} by {does}");
    }
    // A key of one kind is never found for an algorithm of another.
    let token = issuer.sign(&json!({"alg": "RS256", "kid": "p256"}), &claims, RS256);
    assert_eq!(reason(&auth, &token).await, InvalidReason::KeyUnknown);
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let token = issuer.token("u1", NOW_MS);
    let [header, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let forged = format!("{header}.{}.{signature}", part(&issuer.claims("admin", NOW_MS, json!({}))));
    assert_eq!(reason(&auth, &forged).await, InvalidReason::Signature);
    for bad in [format!("{token}A"), format!("{token}="), format!("{token}."), token[..token.len() - 4].to_owned()] {
        assert!(judge(&auth, &bad).await.is_err());
    }
}

/// CVE-2026-25537: libraries skipped the check of an `exp` or `nbf` that was a string.
#[tokio::test]
async fn times_as_strings_are_refused_and_not_skipped() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    for claims in [
        json!({"exp": (NOW + 60).to_string()}),
        json!({"exp": "never"}),
        json!({"exp": (NOW - 60).to_string()}),
        json!({"nbf": (NOW + 3600).to_string()}),
        json!({"nbf": "soon"}),
        json!({"iat": "then"}),
        json!({"exp": [NOW + 60]}),
        json!({"exp": true}),
        json!({"exp": {"value": NOW + 60}}),
        json!({"exp": -1}),
        json!({"exp": (NOW + 60) * 1000}),
    ] {
        let token = issuer.token_with("u1", NOW_MS, claims.clone());
        assert_eq!(reason(&auth, &token).await, InvalidReason::Times, "{claims}");
    }
}

#[tokio::test]
async fn a_token_without_an_expiry_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let token = issuer.token_with("u1", NOW_MS, json!({"exp": null}));
    assert_eq!(reason(&auth, &token).await, InvalidReason::ExpiryMissing);
    let mut claims = issuer.claims("u1", NOW_MS, json!({}));
    claims["exp"] = Value::Null;
    let token = issuer.sign(&json!({"alg": "RS256", "kid": "rsa"}), &claims, RS256);
    assert_eq!(reason(&auth, &token).await, InvalidReason::Times);
}

// proves: A5
#[tokio::test]
async fn an_expired_token_is_refused_from_the_second_on() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, clock) = trusting(&issuer);
    let token = issuer.token_with("u1", NOW_MS, json!({"exp": NOW + 60}));
    let identity = judge(&auth, &token).await.unwrap();
    clock.advance(std::time::Duration::from_millis(59_999));
    assert!(judge(&auth, &token).await.is_ok() && !identity.expired(clock.unix_ms()));
    clock.advance(std::time::Duration::from_millis(1));
    assert_eq!(judge(&auth, &token).await.err(), Some(AuthError::Expired));
    assert!(identity.expired(clock.unix_ms()), "an open socket ends when the token does");
}

#[tokio::test]
async fn a_token_from_the_future_is_refused_beyond_the_leeway() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    for claim in ["nbf", "iat"] {
        let at = |seconds| issuer.token_with("u1", NOW_MS, json!({ claim: NOW + seconds }));
        assert!(judge(&auth, &at(30)).await.is_ok(), "{claim}");
        assert_eq!(judge(&auth, &at(31)).await.err(), Some(AuthError::NotYetValid), "{claim}");
    }
}

#[tokio::test]
async fn another_issuer_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let own = issuer.issuer();
    for other in [
        json!(null),
        json!("https://evil.example"),
        json!(format!("{own}/")),
        json!(own[..own.len() - 1]),
        json!([own]),
        json!(""),
    ] {
        let token = issuer.token_with("u1", NOW_MS, json!({ "iss": other }));
        assert_eq!(reason(&auth, &token).await, InvalidReason::Issuer, "{other}");
    }
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let config = IssuerConfig { audiences: vec!["towline".into(), "other".into()], ..issuer.config() };
    let (auth, _) = trusting_all(vec![config]);
    for good in [json!("towline"), json!(["x", "other"])] {
        assert!(judge(&auth, &issuer.token_with("u1", NOW_MS, json!({ "aud": good }))).await.is_ok(), "{good}");
    }
    for bad in [json!(null), json!("towline2"), json!(["x"]), json!([]), json!({"towline": 1}), json!([["towline"]]), json!("")] {
        let token = issuer.token_with("u1", NOW_MS, json!({ "aud": bad }));
        assert_eq!(reason(&auth, &token).await, InvalidReason::Audience, "{bad}");
    }
}

#[tokio::test]
async fn critical_extensions_are_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    for crit in [json!(["b64"]), json!([]), json!(null), json!("exp")] {
        assert_eq!(reason(&auth, &with_header(&issuer, json!({ "crit": crit }))).await, InvalidReason::Critical, "{crit}");
    }
}

#[tokio::test]
async fn another_kind_of_token_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "JOSE"] {
        assert_eq!(reason(&auth, &with_header(&issuer, json!({ "typ": typ }))).await, InvalidReason::Kind, "{typ}");
    }
    for typ in ["JWT", "at+jwt", "application/at+JWT"] {
        assert!(judge(&auth, &with_header(&issuer, json!({ "typ": typ }))).await.is_ok(), "{typ}");
    }
}

/// CVE-2026-32301: an address of keys taken from the token makes the server fetch whatever the attacker wants.
#[tokio::test]
async fn keys_that_a_token_brings_or_points_to_are_never_fetched_or_used() {
    let issuer = TestIssuer::start().await.unwrap();
    let attacker = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let pointers = json!({"jku": attacker.jwks_url(), "x5u": attacker.jwks_url(), "jwk": jwk(RS256, "mine"), "x5c": ["AAAA"]});
    assert!(judge(&auth, &with_header(&issuer, pointers.clone())).await.is_ok(), "they are ignored");
    let mut named = pointers;
    named["kid"] = "mine".into();
    assert_eq!(reason(&auth, &with_header(&issuer, named)).await, InvalidReason::KeyUnknown);
    let elsewhere = attacker.token("u1", NOW_MS);
    assert_eq!(reason(&auth, &elsewhere).await, InvalidReason::Issuer, "its iss names an address that nobody configured");
    assert_eq!(attacker.asked(), 0);
}

/// CVE-2026-49998: keys cached by `kid` alone let one tenant's key sign another tenant's users in.
#[tokio::test]
async fn two_issuers_with_one_key_id_cannot_cross() {
    let first = TestIssuer::start().await.unwrap();
    let second = TestIssuer::start().await.unwrap();
    first.publish(vec![jwk(RS256, "shared")]);
    second.publish(vec![jwk(SigningAlgorithm::Es256, "shared")]);
    let (auth, _) = trusting_all(vec![first.config(), second.config()]);
    let token = |iss: &TestIssuer, algorithm: SigningAlgorithm| {
        let header = json!({"alg": algorithm.as_str(), "kid": "shared"});
        iss.sign(&header, &iss.claims("u1", NOW_MS, json!({})), algorithm)
    };
    assert!(judge(&auth, &token(&first, RS256)).await.is_ok());
    assert!(judge(&auth, &token(&second, SigningAlgorithm::Es256)).await.is_ok());
    // Signed with a key that is trusted, but for the other issuer.
    assert_eq!(reason(&auth, &token(&second, RS256)).await, InvalidReason::KeyUnknown);
    assert_eq!(reason(&auth, &token(&first, SigningAlgorithm::Es256)).await, InvalidReason::KeyUnknown);
}

#[tokio::test]
async fn an_entry_without_an_issuer_does_not_stand_in_for_a_named_one() {
    let named = TestIssuer::start().await.unwrap();
    let any = TestIssuer::start().await.unwrap();
    any.publish(vec![jwk(SigningAlgorithm::Es256, "k")]);
    let (auth, _) = trusting_all(vec![IssuerConfig::new(None, &any.jwks_url()), named.config()]);
    let header = json!({"alg": "ES256", "kid": "k"});
    let own = any.sign(&header, &any.claims("u1", NOW_MS, json!({})), SigningAlgorithm::Es256);
    assert!(judge(&auth, &own).await.is_ok());
    let posing = any.sign(&header, &named.claims("u1", NOW_MS, json!({})), SigningAlgorithm::Es256);
    assert_eq!(reason(&auth, &posing).await, InvalidReason::KeyUnknown);
}

#[tokio::test]
async fn a_subject_that_could_reach_into_other_topics_is_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    for bad in ["*", "a*", "a:b", "user:1", "a b", "a,b", "a\n", "é", "$connection", "a>", &"x".repeat(129)] {
        assert_eq!(reason(&auth, &issuer.token(bad, NOW_MS)).await, InvalidReason::Subject, "{bad:?}");
    }
    for bad in [json!(7), json!(["u"]), json!({"id": "u"}), json!(true)] {
        let token = issuer.token_with("u1", NOW_MS, json!({ "sub": bad }));
        assert_eq!(reason(&auth, &token).await, InvalidReason::Subject, "{bad}");
    }
    assert_eq!(reason(&auth, &issuer.token_with("u1", NOW_MS, json!({"sub": null}))).await, InvalidReason::SubjectMissing);
    assert_eq!(reason(&auth, &issuer.token("", NOW_MS)).await, InvalidReason::SubjectMissing);
    for good in ["user_2abc", "auth0|123", "x@example.com", &"x".repeat(128)] {
        assert!(judge(&auth, &issuer.token(good, NOW_MS)).await.is_ok(), "{good}");
    }
}

#[tokio::test]
async fn an_oversized_token_is_refused_before_it_is_decoded() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let token = issuer.token_with("u1", NOW_MS, json!({"padding": "x".repeat(TOKEN_BYTES_MAX)}));
    assert_eq!(reason(&auth, &token).await, InvalidReason::TooLong);
    assert_eq!(issuer.asked(), 0);
}

#[tokio::test]
async fn deep_nesting_and_garbage_are_refused() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let deep = format!("{}{}", "[".repeat(2000), "]".repeat(2000));
    let header = part(&json!({"alg": "RS256", "kid": "rsa"}));
    for payload in [format!("{{\"sub\":{deep}}}"), "null".into(), "[]".into(), "{".into(), String::new(), "\u{0}".into()] {
        let token = format!("{header}.{}.AA", URL_SAFE_NO_PAD.encode(payload));
        assert_eq!(reason(&auth, &token).await, InvalidReason::Malformed);
    }
    assert_eq!(judge(&auth, "").await.err(), Some(AuthError::Missing));
    assert_eq!(reason(&auth, "not-a-token").await, InvalidReason::Malformed);
}

#[tokio::test]
async fn refusals_and_debug_output_never_repeat_the_credential() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let token = issuer.token_with("u1", NOW_MS, json!({"exp": NOW - 1}));
    let error = judge(&auth, &token).await.unwrap_err();
    let shown = format!("{error} {error:?} {} {} {auth:?}", error.public_message(), error.close_reason());
    assert!(token.split('.').all(|part| !shown.contains(part)));
}
