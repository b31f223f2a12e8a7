//! Credentials: where a request carries them, and what stands in them.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::value::RawValue;
use towline_auth::extract::{Credential, Places, credential, redact_query};
use towline_auth::{
    Answer, AuthConfig, Authenticator, CertificateFacts, NameField, SUBJECT_BYTES_MAX, SharedSecret, TOKEN_BYTES_MAX, inspect,
};
use towline_clock::Clock;

/// Known to the targets that sign; no input can hold a signature made with it.
const SECRET: &str = "a secret of the fuzz targets alone";
const NOW_MS: u64 = 1_700_000_000_000;

/// Three lines: an `Authorization` header, a query string, a `Sec-WebSocket-Protocol` header.
pub fn places(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let (header, query, protocol) = (lines.next(), lines.next(), lines.next());
    let places = Places { authorization: header.as_slice(), query, protocols: protocol.as_slice() };
    if let Ok(Some(Credential::Token(text) | Credential::Ticket(text))) = credential(places) {
        assert!((1..=TOKEN_BYTES_MAX).contains(&text.len()));
    }

    let once = redact_query(text);
    assert_eq!(redact_query(&once), once, "what is redacted is redacted");
    let target = format!("{text}&token=hunter2-hunter2&x=1");
    assert!(text.contains("hunter2") || !redact_query(&target).contains("hunter2"), "a token reaches the log");
}

/// A credential as it arrives: without the secret, nobody gets in.
pub fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let judged = authenticator().try_authenticate(text);
    assert!(judged.is_some_and(|judged| judged.is_err()), "a forged token is accepted");
    let _ = inspect(text);
}

/// A token's header and claims, on a line each, rightly signed: what a trusted issuer may write is still checked.
pub fn claims(data: &[u8]) {
    let (header, claims) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&br#"{"alg":"HS256"}"#[..], data),
    };
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let Ok(signature) = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256) else { return };
    let Some(Ok(identity)) = authenticator().try_authenticate(&format!("{signed}.{signature}")) else { return };

    // Only the field itself is read: elsewhere JSON may hold numbers that no type holds.
    let field = |part, name| {
        let object: BTreeMap<String, &RawValue> = serde_json::from_slice(part).ok()?;
        serde_json::from_str::<String>(object.get(name)?.get()).ok()
    };
    assert_eq!(field(header, "alg"), Some("HS256".to_owned()));
    assert_eq!(field(claims, "sub"), Some(String::from(&*identity.subject)));
    assert!((1..=SUBJECT_BYTES_MAX).contains(&identity.subject.len()));
    assert!(identity.own_topic().is_some_and(|own| identity.may_subscribe(&own)), "everybody may watch their own topic");
    assert!(
        identity.expires_at_ms.is_some_and(|end| end > NOW_MS) && !identity.expired(NOW_MS),
        "a token must end, and later than now"
    );
}

/// What the application says when it is asked: only a clear yes is one.
pub fn authorization_answer(data: &[u8]) {
    let Ok(answer) = Answer::read(data) else { return };
    let object: BTreeMap<String, &RawValue> = serde_json::from_slice(data).expect("an answer is a JSON object");
    assert_eq!(object.get("allow").map(|value| value.get()), Some(if answer.allow { "true" } else { "false" }));
    assert!(answer.topics.len() <= 64);
}

/// A client's certificate in DER.
pub fn certificate(data: &[u8]) {
    let Ok(facts) = CertificateFacts::read(data) else { return };
    assert_eq!(facts.name(NameField::None, &[]), None);
    for field in [NameField::Dns, NameField::Uri, NameField::CommonName] {
        let Some(name) = facts.name(field, &[]) else { continue };
        assert!(name.len() <= 2 * data.len(), "a name is a part of its certificate");
        if let Ok(service) = authenticator().certified_service(name, facts.not_after_ms) {
            assert!((1..=SUBJECT_BYTES_MAX).contains(&service.subject.len()) && service.own_topic().is_none());
        }
    }
}

fn authenticator() -> &'static Authenticator {
    static AUTHENTICATOR: OnceLock<Authenticator> = OnceLock::new();
    AUTHENTICATOR.get_or_init(|| {
        let config = AuthConfig { shared_secrets: vec![SharedSecret::new(SECRET)], ..AuthConfig::default() };
        Authenticator::new(config, Clock::manual(NOW_MS)).expect("the configuration is good")
    })
}
