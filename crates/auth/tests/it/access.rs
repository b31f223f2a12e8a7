//! What an identity may watch and publish, from token to topic.

use jsonwebtoken::{EncodingKey, Header};
use proptest::prelude::*;
use serde_json::{Value, json};
use towline_auth::testing::TestIssuer;
use towline_auth::{
    AuthConfig, AuthError, AuthMode, Authenticator, GrantCondition, GrantRule, Identity, IdentityKind, InvalidReason,
    SharedSecret,
};
use towline_clock::Clock;
use towline_protocol::TopicName;

use crate::{NOW_MS, SECRET, judge, trusting};

fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

fn may_watch(who: &Identity, name: &str) -> bool {
    who.may_subscribe(&topic(name))
}

fn may_publish(who: &Identity, name: &str) -> bool {
    who.may_publish(&topic(name))
}

// proves: A1
#[tokio::test]
async fn a_user_watches_their_own_topics_and_nobody_elses() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let who = judge(&auth, &issuer.token_with("u1", NOW_MS, json!({"org_id": "o1"}))).await.unwrap();
    assert_eq!((who.kind, who.own_topic()), (IdentityKind::User, Some(topic("user:u1"))));
    for yes in ["user:u1", "org:o1", "system"] {
        assert!(may_watch(&who, yes), "{yes}");
    }
    for no in ["user:u2", "user:u12", "user:u", "user:u1:x", "user:", "user", "org:o2", "org:u1", "thread:1", "system:x", "u1"] {
        assert!(!may_watch(&who, no), "{no}");
    }
    let without_org = judge(&auth, &issuer.token("u1", NOW_MS)).await.unwrap();
    assert!(!may_watch(&without_org, "org:o1") && !may_watch(&without_org, "org:"));
    for no in ["user:u1", "org:o1", "system"] {
        assert!(!may_publish(&who, no), "{no}: nobody publishes by default");
    }
}

#[tokio::test]
async fn claims_grant_further_topics() {
    let issuer = TestIssuer::start().await.unwrap();
    let (auth, _) = trusting(&issuer);
    let claims = json!({"topics": ["news:*"], "towline": {"subscribe": ["thread:1"], "publish": ["thread:1"]}});
    let who = judge(&auth, &issuer.token_with("u1", NOW_MS, claims)).await.unwrap();
    assert!(may_watch(&who, "news:x") && may_watch(&who, "thread:1") && may_watch(&who, "user:u1") && may_watch(&who, "system"));
    assert!(!may_watch(&who, "thread:2"));
    assert!(may_publish(&who, "thread:1") && !may_publish(&who, "news:x"));
}

#[tokio::test]
async fn rules_grant_topics_with_the_tokens_values() {
    let issuer = TestIssuer::start().await.unwrap();
    let admins = GrantCondition::ClaimContains { claim: "roles".into(), value: "admin".into() };
    let rule = |when: &GrantCondition, subscribe: &str, publish: &[&str]| GrantRule {
        when: when.clone(),
        subscribe: vec![subscribe.into()],
        publish: publish.iter().map(|p| (*p).into()).collect(),
    };
    let config = AuthConfig {
        issuers: vec![issuer.config()],
        rules: vec![
            rule(&GrantCondition::Authenticated, "project:{tenant}:*", &["inbox:{sub}"]),
            rule(&admins, "audit:{org_id}:*", &["announce"]),
        ],
        ..AuthConfig::default()
    };
    let auth = Authenticator::new(config, Clock::manual(NOW_MS)).unwrap();
    let admin = json!({"tenant": "t1", "org_id": "o1", "roles": ["admin"]});
    let admin = judge(&auth, &issuer.token_with("u1", NOW_MS, admin)).await.unwrap();
    assert!(may_watch(&admin, "project:t1:x") && may_watch(&admin, "audit:o1:x") && may_publish(&admin, "announce"));
    assert!(may_publish(&admin, "inbox:u1") && !may_publish(&admin, "inbox:u2") && !may_watch(&admin, "project:t2:x"));
    let user = judge(&auth, &issuer.token_with("u2", NOW_MS, json!({"org_id": "o1", "roles": ["user"]}))).await.unwrap();
    assert!(!may_watch(&user, "audit:o1:x") && !may_publish(&user, "announce") && !may_watch(&user, "project:t1:x"));
    assert!(!may_watch(&user, "system"), "the default rule was replaced");
    let smuggler = judge(&auth, &issuer.token_with("u3", NOW_MS, json!({"tenant": "*"}))).await.unwrap();
    assert!(!may_watch(&smuggler, "project:t1:x") && !may_watch(&smuggler, "project:x:y"));
}

// proves: A10
#[test]
fn development_mode_believes_a_name_and_enforced_mode_does_not() {
    let config = AuthConfig { mode: AuthMode::Development, ..AuthConfig::default() };
    let auth = Authenticator::new(config, Clock::manual(NOW_MS)).unwrap();
    let who = auth.development_identity("u1").unwrap();
    assert_eq!((who.kind, who.expires_at_ms, auth.mode()), (IdentityKind::Anonymous, None, AuthMode::Development));
    assert!(may_watch(&who, "user:u2") && may_publish(&who, "anything"));
    for bad in ["", "a:b", "*", "a b"] {
        assert_eq!(auth.development_identity(bad).err(), Some(AuthError::Invalid(InvalidReason::Subject)), "{bad}");
    }
    assert_eq!(auth.try_authenticate("x.y.z").unwrap().err(), Some(InvalidReason::Malformed.into()));

    let config = AuthConfig { shared_secrets: vec![SharedSecret::new(SECRET)], ..AuthConfig::default() };
    let auth = Authenticator::new(config, Clock::manual(NOW_MS)).unwrap();
    assert_eq!(auth.development_identity("u1").err(), Some(AuthError::Missing));
}

#[test]
fn an_identity_is_small() {
    let subject_bytes = 32;
    let reference_counts = 16;
    assert!(size_of::<Identity>() + reference_counts + subject_bytes <= 160, "{} bytes", size_of::<Identity>());
}

/// Texts out of the characters that matter for topics, so that hostile ones are met often.
fn text() -> impl Strategy<Value = String> {
    "[ab:*/.{} ]{0,4}"
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map(text(), inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Whatever the claims are, judging them is total, and without a grant nobody reaches another's topics.
    #[test]
    fn no_claims_reach_into_anothers_topics(sub in text(), org in json_value(), team in json_value(), other in "[ab./]{1,4}") {
        let rule = GrantRule {
            when: GrantCondition::Authenticated,
            subscribe: vec!["room:{sub}:*".into(), "org:{org_id}:*".into(), "team:{team}/*".into()],
            publish: vec!["inbox/{sub}".into()],
        };
        let config = AuthConfig { shared_secrets: vec![SharedSecret::new(SECRET)], rules: vec![rule], ..AuthConfig::default() };
        let auth = Authenticator::new(config, Clock::manual(NOW_MS)).unwrap();
        let claims = json!({"sub": sub, "org_id": org, "team": team, "exp": NOW_MS / 1000 + 60});
        let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        if let Ok(who) = auth.try_authenticate(&token).unwrap() {
            prop_assert_eq!(&*who.subject, &*sub);
            for (prefix, own) in [("user:", Some(&*sub)), ("org:", who.org.as_deref())] {
                prop_assert_eq!(may_watch(&who, &format!("{prefix}{other}")), own == Some(&*other));
            }
            prop_assert_eq!(may_watch(&who, &format!("room:{other}:x")), *sub == *other && !sub.contains('/'));
            prop_assert_eq!(may_watch(&who, &format!("org:{other}:x")), who.org.as_deref() == Some(&*other));
            let teams = claims["team"].as_str().is_some_and(|team| !team.contains('/') && other.starts_with(&format!("{team}/")));
            prop_assert_eq!(may_watch(&who, &format!("team:{other}x")), teams && !claims["team"].as_str().unwrap_or("").is_empty());
            prop_assert_eq!(may_publish(&who, &format!("inbox/{other}")), *sub == *other && !sub.contains('/'));
        }
    }

    /// Claims of any shape under any name that Towline reads.
    #[test]
    fn any_signed_claims_are_judged_without_panic(
        name in "(sub|exp|nbf|iat|iss|aud|jti|org_id|o|topics|towline)",
        value in json_value(),
    ) {
        let config = AuthConfig { shared_secrets: vec![SharedSecret::new(SECRET)], ..AuthConfig::default() };
        let auth = Authenticator::new(config, Clock::manual(NOW_MS)).unwrap();
        let mut claims = json!({"sub": "u", "exp": NOW_MS / 1000 + 60});
        claims[&name] = value;
        let token = jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
        let _ = auth.try_authenticate(&token).unwrap();
    }
}
