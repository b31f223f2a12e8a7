//! The compact form of a JWT: three base64url parts. Reads them strictly and totally; checks no signature.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::algorithm::SigningAlgorithm;
use crate::claims::Claims;
use crate::error::InvalidReason;

/// The longest credential in bytes. Real tokens have 0.5 to 3 KiB; what is longer is refused before anything is decoded.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
const KEY_ID_BYTES_MAX: usize = 256;

/// A token taken apart, nothing in it proven yet.
pub(crate) struct CompactToken<'a> {
    /// `header.payload`, what the signature covers.
    pub(crate) signed: &'a str,
    /// The signature, still in base64url.
    pub(crate) signature: &'a str,
    pub(crate) algorithm: ClaimedAlgorithm,
    pub(crate) key_id: Option<Box<str>>,
    pub(crate) claims: Claims,
}

/// What the token says it was signed with. It chooses among what is configured and can bring in nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClaimedAlgorithm {
    /// HS256, the only algorithm of shared secrets here.
    Shared,
    Signed(SigningAlgorithm),
}

/// The fields that matter. `jku`, `jwk`, `x5u` and `x5c` are not among them: a token does not choose its own key.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
}

/// Even `"crit": null` counts: RFC 7515 section 4.1.11 allows only a non-empty list.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'a> CompactToken<'a> {
    /// Takes a token apart.
    pub(crate) fn parse(token: &'a str) -> Result<Self, InvalidReason> {
        let (signed, header, payload, signature) = split(token)?;
        let header: Header = serde_json::from_str(&decode(header)?).map_err(|_| InvalidReason::Malformed)?;
        if header.crit {
            return Err(InvalidReason::Critical);
        }
        if header.typ.as_deref().is_some_and(|typ| !access_token_type(typ)) {
            return Err(InvalidReason::Kind);
        }
        if header.kid.as_deref().is_some_and(|kid| kid.len() > KEY_ID_BYTES_MAX) {
            return Err(InvalidReason::KeyUnknown);
        }
        let algorithm = match &*header.alg {
            "HS256" => ClaimedAlgorithm::Shared,
            other => ClaimedAlgorithm::Signed(SigningAlgorithm::from_str(other).map_err(|_| InvalidReason::Algorithm)?),
        };
        let claims: Map<String, Value> = serde_json::from_str(&decode(payload)?).map_err(|_| InvalidReason::Malformed)?;
        let key_id = header.kid.map(String::into_boxed_str);
        Ok(Self { signed, signature, algorithm, key_id, claims: Claims::new(claims) })
    }
}

/// RFC 8725 section 3.11: a logout token or a proof of possession from the same issuer is no access token.
fn access_token_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

fn split(token: &str) -> Result<(&str, &str, &str, &str), InvalidReason> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(InvalidReason::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(InvalidReason::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(InvalidReason::Malformed)?;
    if payload.contains('.') {
        return Err(InvalidReason::Malformed);
    }
    Ok((signed, header, payload, signature))
}

/// JSON is UTF-8 throughout; read from bytes, it would be checked only where a field is looked at.
fn decode(part: &str) -> Result<String, InvalidReason> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidReason::Malformed)?;
    String::from_utf8(bytes).map_err(|_| InvalidReason::Malformed)
}

/// What a token says about itself. **Nothing in it is verified**: for people who look at a token, never for a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct InspectedToken {
    /// The header as it stands, all fields, unverified.
    pub unverified_header: Map<String, Value>,
    /// The claims as they stand, unverified.
    pub unverified_claims: Map<String, Value>,
}

/// Decodes a token without checking its signature, its times or anything else.
///
/// Total: any text gives a result or a reason, never a panic.
///
/// # Errors
/// [`InvalidReason::TooLong`] or [`InvalidReason::Malformed`].
pub fn inspect(token: &str) -> Result<InspectedToken, InvalidReason> {
    let (_, header, payload, _) = split(token)?;
    let object = |part| serde_json::from_str(&decode(part)?).map_err(|_| InvalidReason::Malformed);
    Ok(InspectedToken { unverified_header: object(header)?, unverified_claims: object(payload)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(header: &str, payload: &str) -> String {
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
    }

    fn refusal(header: &str) -> InvalidReason {
        CompactToken::parse(&token(header, "{}")).err().unwrap()
    }

    #[test]
    fn the_parts_are_told_apart() {
        let text = token(r#"{"alg":"RS256","kid":"k1","typ":"JWT","extra":{"a":1}}"#, r#"{"sub":"u"}"#);
        let token = CompactToken::parse(&text).unwrap();
        assert_eq!(token.algorithm, ClaimedAlgorithm::Signed(SigningAlgorithm::Rs256));
        assert_eq!((token.key_id.as_deref(), token.signature), (Some("k1"), "c2ln"));
        assert_eq!(format!("{}.c2ln", token.signed), text);
        let inspected = inspect(&text).unwrap();
        assert_eq!(inspected.unverified_claims["sub"], "u");
        assert_eq!(inspected.unverified_header["extra"]["a"], 1);
    }

    // Found by fuzzing: a field that nobody looks at was not checked.
    #[test]
    fn bytes_that_are_not_utf8_are_refused_wherever_they_stand() {
        let text = format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(b"{\"alg\":\"RS256\",\"unknown\":\"\xb5\"}"));
        assert_eq!(CompactToken::parse(&text).err(), Some(InvalidReason::Malformed));
    }

    #[test]
    fn headers_that_are_no_access_tokens_are_refused() {
        assert_eq!(refusal(r#"{"alg":"none"}"#), InvalidReason::Algorithm);
        assert_eq!(refusal(r#"{"alg":"None"}"#), InvalidReason::Algorithm);
        assert_eq!(refusal(r#"{"alg":"HS384"}"#), InvalidReason::Algorithm);
        assert_eq!(refusal(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#), InvalidReason::Critical);
        assert_eq!(refusal(r#"{"alg":"RS256","crit":null}"#), InvalidReason::Critical);
        assert_eq!(refusal(r#"{"alg":"RS256","typ":"logout+jwt"}"#), InvalidReason::Kind);
        assert_eq!(refusal(r#"{"alg":"RS256","kid":7}"#), InvalidReason::Malformed);
        assert_eq!(refusal(r#"{"alg":"RS256","alg":"HS256"}"#), InvalidReason::Malformed);
        assert_eq!(refusal(r#"{"kid":"k"}"#), InvalidReason::Malformed);
        assert_eq!(refusal(&format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(257))), InvalidReason::KeyUnknown);
    }

    #[test]
    fn only_three_strict_base64url_parts_are_a_token() {
        for bad in ["", ".", "..", "...", "a.b", "e30.e30.a.b", "e30=.e30.", "e30.e30", "é.é.é", "e30.W10.x"] {
            assert!(CompactToken::parse(bad).is_err(), "{bad}");
            assert!(inspect(bad).is_err(), "{bad}");
        }
        assert_eq!(inspect(&"a".repeat(TOKEN_BYTES_MAX + 1)), Err(InvalidReason::TooLong));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*", header in "\\PC*", payload in "\\PC*") {
            let _ = inspect(&text);
            let _ = CompactToken::parse(&text);
            let _ = inspect(&token(&header, &payload));
            let _ = CompactToken::parse(&token(&header, &payload));
        }
    }
}
