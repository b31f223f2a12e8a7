//! The claims of a token and the checks on them. Knows no key and no signature.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{AuthError, InvalidReason};

/// The longest subject, organisation or token id in bytes. It is kept with each connection and stands in topic names of at most 200.
pub const SUBJECT_BYTES_MAX: usize = 128;

/// The last second of the year 9999. A larger `exp` is milliseconds by mistake, and would never expire.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// Where a claim is found: a key as it stands (`https://example.com/org`), else keys to descend by (`o.id`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClaimPath(Box<str>);

impl ClaimPath {
    /// Takes a path. Any text is one.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }
}

impl From<&str> for ClaimPath {
    fn from(path: &str) -> Self {
        Self::new(path)
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The payload of a token.
pub(crate) struct Claims(Map<String, Value>);

/// When a token was issued and when it ends, in Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) issued_at_ms: Option<u64>,
    pub(crate) expires_at_ms: u64,
}

/// How far clocks may differ.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leeway {
    pub(crate) start: Duration,
    pub(crate) expiry: Duration,
}

impl Claims {
    pub(crate) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// The claim at a path, if there is one that is not null.
    pub(crate) fn at(&self, path: &ClaimPath) -> Option<&Value> {
        let found = match self.0.get(&*path.0) {
            Some(value) => Some(value),
            None => {
                let mut keys = path.0.split('.');
                let first = self.0.get(keys.next()?)?;
                keys.try_fold(first, |value, key| value.get(key))
            }
        };
        found.filter(|value| !value.is_null())
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        self.0.get("iss").and_then(Value::as_str)
    }

    /// Whether `aud` names one of `audiences`; true if none is configured.
    pub(crate) fn audience_is_among(&self, audiences: &[String]) -> bool {
        let named = |value: &Value| value.as_str().is_some_and(|name| audiences.iter().any(|a| a == name));
        audiences.is_empty()
            || match self.0.get("aud") {
                Some(Value::Array(list)) => list.iter().any(named),
                Some(value) => named(value),
                None => false,
            }
    }

    /// Checks `exp` (required), `nbf` and `iat` against the time.
    pub(crate) fn validity(&self, now_ms: u64, leeway: Leeway) -> Result<Validity, AuthError> {
        let expires = self.time_ms("exp")?.ok_or(InvalidReason::ExpiryMissing)?;
        let expires_at_ms = expires.saturating_add(millis(leeway.expiry));
        let issued_at_ms = self.time_ms("iat")?;
        let not_before_ms = self.time_ms("nbf")?;
        if now_ms >= expires_at_ms {
            return Err(AuthError::Expired);
        }
        let latest_start = now_ms.saturating_add(millis(leeway.start));
        if [issued_at_ms, not_before_ms].into_iter().flatten().any(|start| start > latest_start) {
            return Err(AuthError::NotYetValid);
        }
        Ok(Validity { issued_at_ms, expires_at_ms })
    }

    /// A NumericDate in milliseconds. A string is refused and not skipped: libraries that skipped it let expired tokens in.
    fn time_ms(&self, name: &str) -> Result<Option<u64>, InvalidReason> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        match value.as_f64() {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was just checked")]
            Some(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Ok(Some((seconds * 1000.0) as u64)),
            _ => Err(InvalidReason::Times),
        }
    }

    pub(crate) fn subject(&self) -> Result<&str, InvalidReason> {
        match self.0.get("sub") {
            None => Err(InvalidReason::SubjectMissing),
            Some(Value::String(subject)) if subject.is_empty() => Err(InvalidReason::SubjectMissing),
            Some(Value::String(subject)) if subject_is_valid(subject) => Ok(subject),
            Some(_) => Err(InvalidReason::Subject),
        }
    }

    pub(crate) fn token_id(&self) -> Result<Option<&str>, InvalidReason> {
        match self.0.get("jti") {
            None => Ok(None),
            Some(Value::String(id)) if id.len() <= SUBJECT_BYTES_MAX => Ok(Some(id)),
            Some(_) => Err(InvalidReason::TokenId),
        }
    }

    /// The organisation: the first of `paths` that holds anything.
    pub(crate) fn organisation(&self, paths: &[ClaimPath]) -> Result<Option<Box<str>>, InvalidReason> {
        let Some(value) = paths.iter().find_map(|path| self.at(path)) else { return Ok(None) };
        let text = scalar_text(value).ok_or(InvalidReason::Organisation)?;
        if text.is_empty() {
            return Ok(None);
        }
        if substitutable(&text) { Ok(Some(text)) } else { Err(InvalidReason::Organisation) }
    }
}

/// A string, or an integer as its digits: what may stand in a topic name.
pub(crate) fn scalar_text(value: &Value) -> Option<Box<str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Number(number) if number.is_u64() => Some(number.to_string().into()),
        _ => None,
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a subject may exist: its own topic `user:{sub}` must be a valid name, and no other user's topic may lie inside it.
/// Hence no colon, which separates the parts of topics: `user:a:*` must never reach somebody whose subject is `a:b`.
pub(crate) fn subject_is_valid(subject: &str) -> bool {
    (1..=SUBJECT_BYTES_MAX).contains(&subject.len()) && subject.bytes().all(|b| b == b'/' || plain(b))
}

/// Whether a claim's value may be put into a topic pattern: as for subjects, and without `/`, the other separator.
pub(crate) fn substitutable(value: &str) -> bool {
    (1..=SUBJECT_BYTES_MAX).contains(&value.len()) && value.bytes().all(plain)
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'@' | b'|' | b'+' | b'=' | b'~')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;
    const LEEWAY: Leeway = Leeway { start: Duration::from_secs(30), expiry: Duration::ZERO };

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().unwrap().clone())
    }

    #[test]
    fn a_claim_is_found_by_its_whole_name_first_and_by_descent_else() {
        let claims = claims(json!({"a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "n": null}));
        assert_eq!(claims.at(&"a.b".into()), Some(&json!(1)));
        assert_eq!(claims.at(&"a.c.d".into()), Some(&json!(3)));
        for absent in ["n", "a.x", "x.y", "", "a.b.c"] {
            assert_eq!(claims.at(&absent.into()), None, "{absent}");
        }
    }

    #[test]
    fn times_in_milliseconds_by_mistake_are_refused_and_fractions_are_not() {
        let at = |exp: Value| claims(json!({ "exp": exp })).validity(NOW_MS, LEEWAY);
        assert_eq!(at(json!(NOW_MS + 60_000)), Err(InvalidReason::Times.into()));
        assert_eq!(at(json!(-1)), Err(InvalidReason::Times.into()));
        assert_eq!(at(json!(1e300)), Err(InvalidReason::Times.into()));
        assert_eq!(at(json!(1_700_000_000.5)).unwrap().expires_at_ms, NOW_MS + 500);
        assert_eq!(at(json!(1_700_000_000)), Err(AuthError::Expired));
    }

    #[test]
    fn an_organisation_is_read_from_the_first_claim_that_has_one() {
        let paths = ["org_id".into(), ClaimPath::new("o.id")];
        let of = |value| claims(value).organisation(&paths);
        assert_eq!(of(json!({"o": {"id": "org_1"}})).unwrap().as_deref(), Some("org_1"));
        assert_eq!(of(json!({"org_id": 7})).unwrap().as_deref(), Some("7"));
        assert_eq!(of(json!({"org_id": ""})), Ok(None));
        assert_eq!(of(json!({})), Ok(None));
        for bad in ["a:b", "*", "a/b", "a b", &"x".repeat(129)] {
            assert_eq!(of(json!({ "org_id": bad })), Err(InvalidReason::Organisation), "{bad}");
        }
    }
}
